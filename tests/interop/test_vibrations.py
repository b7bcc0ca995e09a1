"""Vibrations: both routes, PySCF's own, slopes of energies, and textbook formulae."""

import numpy as np
import pytest
from pyscf import dft
from pyscf.hessian import thermo
from scipy import constants

from deepchem_dft import KohnSham, Molecule
from deepchem_dft.errors import InputError
from deepchem_dft.interop.relaxation import relax
from deepchem_dft.interop.thermochemistry import ideal_gas, symmetry_number
from deepchem_dft.interop.vibrations import frequencies, untrusted
from deepchem_dft.units import HARTREE_TO_KCAL
from deepchem_dft.xc.names import get_xc

WATER = "O 0 0 0.2217; H 0 1.4309 -0.8867; H 0 -1.4309 -0.8867"
OH = "O 0 0 0; H 0 0 1.85"
HARTREE = constants.physical_constants["Hartree energy"][0]


@pytest.mark.parametrize(
    "geometry, spin",
    [pytest.param(WATER, 0, marks=pytest.mark.slow), ("H 0 0 0; F 0 0 1.85", 0), (OH, 1)],
    ids=["water", "HF", "OH"],
)
def test_both_routes_give_the_same_vibrations(geometry, spin):
    molecule = Molecule(geometry, "sto-3g", spin=spin)
    one, other = (frequencies(molecule, "pbe", way) for way in ("analytic", "differences"))
    np.testing.assert_allclose(one.wavenumbers, other.wavenumbers, atol=1.0)
    np.testing.assert_allclose(one.intensities, other.intensities, atol=0.05)
    np.testing.assert_allclose(one.hessian, other.hessian, atol=2e-3)
    assert one.intensities.max() > 1.0 and one.route != other.route
    assert "not stationary" in one.notes[0] and one.largest_force > 1e-3


def test_a_stretch_is_the_curvature_of_the_energy():
    def energy(r: float) -> float:
        return KohnSham(Molecule(f"H 0 0 0; F 0 0 {r}", "sto-3g"), "pbe", tol=1e-8).run().energy.item()

    at, step = 1.85, 0.02
    constant = (energy(at + step) - 2 * energy(at) + energy(at - step)) / step**2
    found = frequencies(Molecule(f"H 0 0 0; F 0 0 {at}", "sto-3g"), "pbe")
    mass = 1.008 * 18.998 / (1.008 + 18.998) * constants.atomic_mass / constants.m_e
    speed = np.sqrt(constant / mass) * HARTREE / (constants.h * constants.c * 100)
    assert found.wavenumbers == pytest.approx([speed], abs=2.0)
    # of Cartesian displacements, as Gaussian and PySCF have it, and not of the distance
    light, heavy, both = 1.008, 18.998, 1.008 + 18.998
    assert 1 / found.reduced_masses == pytest.approx([heavy / light / both + light / heavy / both], rel=1e-3)
    shares = dict(found.movers(0, least=0.0))
    assert shares[0] == pytest.approx(18.998 / (1.008 + 18.998), rel=1e-3)


def test_close_to_the_route_of_pyscf_alone():
    molecule = Molecule(WATER, "sto-3g")
    mf = dft.RKS(molecule.pyscf_mol.copy(), xc="pbe")
    mf.verbose, mf.conv_tol = 0, 1e-10
    own = thermo.harmonic_analysis(mf.mol, mf.run().Hessian().kernel())
    found = frequencies(molecule, "pbe")
    np.testing.assert_allclose(found.wavenumbers, own["freq_wavenumber"], atol=5)
    gas = thermo.thermo(mf, own["freq_au"], 400.0, 2e5)
    ours = found.thermochemistry(400.0, 2e5)
    assert (ours.symmetry_number, gas["sym_number"][0]) == (2, 2)
    for name, key in (("zero_point", "ZPE"), ("enthalpy", "H_tot"), ("gibbs", "G_tot")):
        assert abs(getattr(ours, name) - gas[key][0]) * HARTREE_TO_KCAL < 0.1, name


def test_thermochemistry_of_a_diatomic_is_the_textbooks():
    molecule, temperature, pressure = Molecule("H 0 0 0; H 0 0 1.4", "sto-3g"), 500.0, 1e6
    found = frequencies(molecule, "pbe", "differences")
    gas = found.thermochemistry(temperature, pressure)
    k_t = constants.k * temperature
    mass = 1.008 * constants.atomic_mass
    quantum = constants.h * constants.c * 100 * found.wavenumbers[0]
    inertia = mass / 2 * (1.4 * constants.physical_constants["Bohr radius"][0]) ** 2
    translation = (2 * np.pi * 2 * mass * k_t / constants.h**2) ** 1.5 * k_t / pressure
    rotation = 8 * np.pi**2 * inertia * k_t / (2 * constants.h**2)
    vibration = 1 / (1 - np.exp(-quantum / k_t))
    heat = quantum / (np.exp(quantum / k_t) - 1)
    entropy = constants.k * (np.log(translation * rotation * vibration) + 2.5 + 1.0) + heat / temperature
    enthalpy = 3.5 * k_t + quantum / 2 + heat
    assert gas.zero_point * HARTREE == pytest.approx(quantum / 2, rel=1e-6)
    assert gas.entropy * HARTREE == pytest.approx(entropy, rel=1e-4)
    assert (gas.enthalpy - gas.energy) * HARTREE == pytest.approx(enthalpy, rel=1e-4)
    assert gas.gibbs == pytest.approx(gas.enthalpy - temperature * gas.entropy, abs=1e-12)


def test_an_open_shell_has_the_entropy_of_its_spin():
    apart = [
        ideal_gas(Molecule("O 0 0 0", "sto-3g", spin=spin), 0.0, np.zeros(0)).entropy * HARTREE
        for spin in (2, 0)
    ]
    assert apart[0] - apart[1] == pytest.approx(constants.k * np.log(3), rel=1e-6)


@pytest.mark.parametrize(
    "name, wanted", [("H2O", 2), ("NH3", 3), ("CH4", 12), ("C6H6", 12), ("CO2", 2), ("HCN", 1), ("CH3OH", 1)]
)
def test_symmetry_numbers_survive_what_a_relaxation_leaves(name, wanted):
    build = pytest.importorskip("ase.build")
    atoms = build.molecule(name)
    noise = np.random.default_rng(1).normal(size=atoms.positions.shape)
    for scale in (0.0, 1e-3):
        geometry = (atoms.get_chemical_symbols(), atoms.positions + scale * noise)
        assert symmetry_number(Molecule(geometry, "sto-3g", unit="angstrom")) == wanted


def test_a_flat_ammonia_is_a_transition_state():
    flat = "N 0 0 0; H 0 1.94 0; H 1.68 -0.97 0; H -1.68 -0.97 0"
    found = frequencies(Molecule(flat, "sto-3g"), "lda")
    assert found.imaginary == [0] and found.wavenumbers[0] < -300
    assert any("1 imaginary" in note and "transition state" in note and "N1" in note for note in found.notes)
    # the umbrella: all move along z
    np.testing.assert_allclose(found.modes[0][:, :2], 0.0, atol=0.02)
    gas = found.thermochemistry()
    real = found.wavenumbers[1:].sum() * constants.h * constants.c * 100 / 2
    assert gas.zero_point * HARTREE == pytest.approx(real, rel=1e-5)


def test_analytic_only_where_it_is_as_good():
    fine, coarse = (Molecule(WATER, "sto-3g", grid_level=level) for level in (3, 1))
    assert untrusted(fine, get_xc("r2scan")) is None and "level 1" in untrusted(coarse, get_xc("pbe"))
    assert "quadrature" in untrusted(fine, get_xc("wb97m-v"))
    found = frequencies(Molecule("H 0 0 0; H 0 0 1.4", "sto-3g", grid_level=0), "r2scan")
    assert found.route.startswith("differences of forces (not PySCF's")
    with pytest.raises(InputError, match="whole electrons"):
        frequencies(Molecule("H 0 0 0; H 0 0 1.4", "sto-3g", nelec=(0.5, 0.5)), "pbe")
    with pytest.raises(InputError, match="hessian"):
        frequencies(fine, "pbe", "exact")
    with pytest.raises(InputError, match="temperature"):
        found.thermochemistry(-1.0)


def test_vibrations_of_ase_with_our_calculator(tmp_path):
    ase = pytest.importorskip("ase")
    from ase.thermochemistry import IdealGasThermo
    from ase.vibrations import Vibrations

    from deepchem_dft.interop.ase import KohnShamCalculator

    molecule = Molecule("H 0 0 0; F 0 0 1.85", "sto-3g", grid_level=1)
    ours = frequencies(molecule, "pbe", "differences")
    atoms = ase.Atoms("HF", molecule.positions * ase.units.Bohr)
    atoms.calc = KohnShamCalculator("pbe", basis="sto-3g", grid_level=1, tol=1e-8)
    vibrations = Vibrations(atoms, name=str(tmp_path / "vib"), delta=0.005)
    vibrations.run()
    theirs = vibrations.get_frequencies()
    assert theirs[-1].real == pytest.approx(ours.wavenumbers[0], abs=2)
    gas = IdealGasThermo(
        vibrations.get_energies()[-1:],
        "linear",
        atoms=atoms,
        natoms=2,
        symmetrynumber=1,
        spin=0,
        potentialenergy=atoms.get_potential_energy(),
    )
    theirs = gas.get_gibbs_energy(298.15, 101325, verbose=False) / ase.units.Hartree
    assert theirs == pytest.approx(ours.thermochemistry().gibbs, abs=0.1 / HARTREE_TO_KCAL)


@pytest.mark.slow
@pytest.mark.parametrize(
    "geometry", [WATER, "C 0 0 -1; O 0 0 1.28; H 0 1.76 -2.1; H 0 -1.76 -2.1"], ids=["water", "formaldehyde"]
)
@pytest.mark.parametrize("xc", ["b3lyp", "pbe"])
def test_optimised_as_pyscf_does(geometry, xc):
    """Geometry, wavenumbers and Gibbs energy within 5 cm-1 and 0.1 kcal/mol of PySCF and geomeTRIC."""
    solver = pytest.importorskip("pyscf.geomopt.geometric_solver")
    start = Molecule(geometry, "def2-svp")
    found = frequencies(relax(start, xc, fmax=1e-4).molecule, xc)
    mf = dft.RKS(start.pyscf_mol.copy(), xc=xc)
    mf.verbose, mf.conv_tol = 0, 1e-10
    mf.mol.verbose = 0
    mol = solver.optimize(mf, convergence_gmax=1e-4, convergence_grms=7e-5)
    own = dft.RKS(mol, xc=xc)
    own.verbose, own.conv_tol = 0, 1e-10
    analysis = thermo.harmonic_analysis(mol, own.run().Hessian().kernel())
    np.testing.assert_allclose(found.wavenumbers, analysis["freq_wavenumber"], atol=5)
    gas, ours = thermo.thermo(own, analysis["freq_au"]), found.thermochemistry()
    sigma = constants.k / HARTREE * 298.15 * np.log(2 / gas["sym_number"][0])  # PySCF's may see none
    assert ours.symmetry_number == 2 and not found.imaginary and found.notes == ()
    assert abs(ours.gibbs - sigma - gas["G_tot"][0]) * HARTREE_TO_KCAL < 0.1
    assert abs(ours.enthalpy - gas["H_tot"][0]) * HARTREE_TO_KCAL < 0.1
