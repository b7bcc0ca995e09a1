"""Every functional that ships runs: here, in PySCF with forces and response, and in ASE."""

import numpy as np
import pytest
from pyscf import dft, gto

from deepchem_dft import KohnSham, Molecule, zoo
from deepchem_dft.interop.pyscf import to_pyscf

WATER = "O 0 0 0.2217; H 0 1.4309 -0.8867; H 0 -1.4309 -0.8867"
SYSTEMS = {"H2O": (WATER, 0), "NH": ("N 0 0 0; H 0 0 1.96", 2)}
NAMES = [name for name in zoo.names() if zoo.card(name).kind == "functional"]


def test_there_are_functionals_of_each_rung():
    families = {zoo.load(name).family for name in NAMES}
    hybrids = [name for name in NAMES if zoo.load(name).exchange_terms]
    ensembles = [name for name in NAMES if zoo.card(name).members > 1]
    assert {"lda", "gga", "mgga"} <= families and hybrids and ensembles


def in_pyscf(name: str, geometry: str, spin: int, level: int = 1):
    mol = gto.M(atom=geometry, unit="bohr", basis="6-31g", spin=spin, verbose=0)
    mf = (dft.UKS if spin else dft.RKS)(mol)
    mf.grids.level, mf.conv_tol, mf.conv_tol_grad = level, 1e-12, 1e-7
    return to_pyscf(mf, zoo.functional(name))


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("name", NAMES)
def test_energy_in_pyscf_is_that_of_our_own_field(name, system):
    geometry, spin = SYSTEMS[system]
    ours = KohnSham(
        Molecule(geometry, "6-31g", spin=spin, grid_level=1), zoo.functional(name), tol=1e-7
    ).run()
    theirs = in_pyscf(name, geometry, spin)
    assert theirs.kernel() == pytest.approx(float(ours.energy.detach()), abs=1e-8)
    assert theirs.converged


@pytest.mark.parametrize("name", NAMES)
def test_forces_in_pyscf_are_finite_differences(name):
    def energy(shift: float) -> float:
        moved = WATER.replace("1.4309 -0.8867; H", f"{1.4309 + shift:.10f} -0.8867; H")
        mf = in_pyscf(name, moved, 0, level=0)
        value = mf.kernel()
        assert mf.converged
        return value

    mf = in_pyscf(name, WATER, 0, level=0)
    mf.kernel()
    gradient = mf.nuc_grad_method()
    gradient.grid_response = True
    step = 2e-3
    expected = (8 * (energy(step) - energy(-step)) - energy(2 * step) + energy(-2 * step)) / (12 * step)
    assert gradient.kernel()[1, 1] == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_response_fitting_and_solvent_run(name):
    mf = in_pyscf(name, WATER, 0, level=2)
    mf.kernel()
    excited = mf.TDA().set(nstates=2).run()
    assert np.all(excited.e > 0.1)
    fitted = in_pyscf(name, WATER, 0, level=2).density_fit()
    assert fitted.kernel() == pytest.approx(mf.e_tot, abs=1e-3)
    solvated = in_pyscf(name, WATER, 0, level=2).PCM()
    assert -0.05 < solvated.kernel() - mf.e_tot < 0.0


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_dynamics_conserve_energy(name):
    ase = pytest.importorskip("ase")
    from ase import units
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
    from ase.md.verlet import VelocityVerlet

    from deepchem_dft.interop.ase import KohnShamCalculator

    atoms = ase.Atoms("OH2", [[0, 0, 0.1173], [0, 0.7572, -0.4692], [0, -0.7572, -0.4692]])
    atoms.calc = KohnShamCalculator(xc=f"zoo:{name}", basis="6-31g", grid_level=2)
    MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=np.random.default_rng(0))
    before = atoms.get_total_energy()
    VelocityVerlet(atoms, timestep=0.25 * units.fs).run(100)
    assert abs(atoms.get_total_energy() - before) / units.Hartree < 1e-4
