"""The ASE calculator: our energies and forces in ASE's units, reused orbitals, ASE's errors."""

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("ase", reason="ASE is not installed")

from ase import Atoms, io, units
from ase.calculators.calculator import CalculatorSetupError, PropertyNotImplementedError, SCFError
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from deepchem_dft.interop.ase import KohnShamCalculator
from deepchem_dft.molecule import Molecule
from deepchem_dft.scf import KohnSham
from deepchem_dft.xc.ensemble import EnsembleXC
from deepchem_dft.xc.hybrid import HybridXC

WATER = [(0.0, 0.0, 0.12), (0.0, 0.76, -0.47), (0.0, -0.76, -0.47)]  # Angstrom
QUICK = {"basis": "sto-3g", "grid_level": 0}


def functional() -> HybridXC:
    """PBE with an untrained network on top."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 1)).double()
    return HybridXC("pbe", net, aweight0=0.05, family="mgga")


def water(**options) -> Atoms:
    atoms = Atoms("OH2", WATER)
    atoms.calc = KohnShamCalculator(**{"xc": "pbe", **QUICK, **options})
    return atoms


def imidogen(**options) -> Atoms:
    atoms = Atoms("NH", [(0, 0, 0), (0, 0, 1.04)])
    atoms.calc = KohnShamCalculator(**{"xc": "pbe", **QUICK, **options})
    return atoms


def fock_builds(atoms: Atoms) -> int:
    atoms.get_potential_energy()
    return atoms.calc.result.iterations


def test_energy_forces_and_dipole_in_the_units_of_ase():
    atoms = water(xc=functional())
    geometry = (list("OHH"), np.array(WATER) / units.Bohr)
    molecule = Molecule(geometry, "sto-3g", grid_level=0)
    ours = KohnSham(molecule, functional()).run()
    assert atoms.get_potential_energy() == pytest.approx(
        float(ours.energy.detach()) * units.Hartree, abs=1e-6
    )
    np.testing.assert_allclose(
        atoms.get_forces(), ours.forces().numpy() * units.Hartree / units.Bohr, atol=1e-5
    )
    np.testing.assert_allclose(
        atoms.get_dipole_moment(), ours.dipole.detach().numpy() * units.Bohr, atol=1e-6
    )
    # points along the axis, from the oxygen to the hydrogens
    assert atoms.get_dipole_moment()[2] < -0.2
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()


def test_forces_are_finite_differences():
    atoms = water(xc=functional(), tol=1e-8)
    atoms.rattle(0.03, seed=0)
    found = atoms.get_forces()[1, 1]
    energies = []
    for shift in 1e-3, -2e-3:
        atoms.positions[1, 1] += shift
        energies.append(atoms.get_potential_energy())
    assert found == pytest.approx((energies[1] - energies[0]) / 2e-3, abs=2e-4)


def test_one_solution_serves_all_properties(monkeypatch):
    runs = []
    run = KohnSham.run
    monkeypatch.setattr(KohnSham, "run", lambda *a, **k: runs.append(1) or run(*a, **k))
    atoms = water()
    for _ in range(2):
        atoms.get_potential_energy(), atoms.get_forces(), atoms.get_dipole_moment()
    assert len(runs) == 1
    atoms.set_cell([9, 9, 9])  # vacuum
    atoms.get_potential_energy()
    assert len(runs) == 1
    atoms.positions[0, 0] += 0.01
    atoms.get_potential_energy()
    assert len(runs) == 2


def test_orbitals_are_reused_where_they_fit():
    atoms = water()
    first = fock_builds(atoms)
    atoms.positions[1, 1] += 0.001
    moved = atoms.get_potential_energy()
    assert atoms.calc.result.iterations < first
    fresh = water()
    fresh.positions[:] = atoms.positions
    assert moved == pytest.approx(fresh.get_potential_energy(), abs=1e-7)

    atoms.calc.set(basis="6-31g")  # nothing of the old basis is left
    assert atoms.calc.result is None
    other_basis = water(basis="6-31g")
    other_basis.positions[:] = atoms.positions
    assert atoms.get_potential_energy() == pytest.approx(other_basis.get_potential_energy(), abs=1e-9)

    other = imidogen(spin=2)
    calculator = atoms.calc
    calculator.set(**QUICK, spin=2)
    other.calc, own = calculator, other.get_potential_energy()
    assert other.get_potential_energy() == pytest.approx(own, abs=1e-9)


def test_charge_and_spin_come_from_the_atoms_or_the_calculator():
    def energy(charge: int, spin: int) -> float:
        geometry = (["N", "H"], np.array([(0, 0, 0), (0, 0, 1.04)]) / units.Bohr)
        molecule = Molecule(geometry, "sto-3g", charge, spin, grid_level=0)
        return float(KohnSham(molecule, "pbe").run().energy) * units.Hartree

    atoms = imidogen()
    atoms.set_initial_magnetic_moments([2.2, -0.2])
    assert atoms.get_potential_energy() == pytest.approx(energy(0, 2), abs=1e-6)
    assert atoms.get_magnetic_moment() == 2.0
    atoms.set_initial_charges([0.6, 0.4])
    atoms.set_initial_magnetic_moments([-1.0, 0.0])  # the same energy as +1
    assert atoms.get_potential_energy() == pytest.approx(energy(1, 1), abs=1e-6)
    atoms.calc = KohnShamCalculator(xc="pbe", charge=0, spin=2, **QUICK)
    assert atoms.get_potential_energy() == pytest.approx(energy(0, 2), abs=1e-6)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda atoms: setattr(atoms, "pbc", True), "periodic"),
        (lambda atoms: atoms.set_initial_charges([1, 0, 0]), "cannot have spin 0"),
        (lambda atoms: atoms.set_initial_charges([0.4, 0, 0]), "no whole number"),
        (lambda atoms: atoms.calc.set(basis="nonsense"), "nonsense"),
        (lambda atoms: atoms.calc.set(xc="pbee"), "unknown functional"),
        (lambda atoms: atoms.calc.set(xc="zoo:no-such-functional"), "no-such-functional"),
        (lambda atoms: atoms.calc.set(functional="pbe"), "unknown parameter 'functional'"),
        (lambda atoms: setattr(atoms, "positions", np.zeros((3, 3))), "coincide"),
    ],
    ids=["periodic", "radical", "charges", "basis", "xc", "zoo", "parameter", "positions"],
)
def test_mistakes_are_the_errors_of_ase(change, message):
    atoms = water()
    with pytest.raises(CalculatorSetupError, match=message):
        change(atoms)
        atoms.get_potential_energy()


def test_no_convergence_is_the_error_of_ase_and_leaves_nothing_behind():
    atoms = water(max_iter=2)
    for _ in range(2):
        with pytest.raises(SCFError, match="did not converge"):
            atoms.get_forces()
    assert atoms.calc.results == {} and atoms.calc.result is None
    atoms.calc.set(max_iter=100)
    assert np.isfinite(atoms.get_forces()).all()


def test_unknown_properties_are_the_error_of_ase():
    with pytest.raises(PropertyNotImplementedError):
        water().get_stress()


def test_results_can_be_written_and_read(tmp_path):
    atoms = water(xc=functional())
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    assert atoms.calc.todict()["xc"] == "HybridXC"
    for name in "water.traj", "water.extxyz":
        io.write(tmp_path / name, atoms)
        read = io.read(tmp_path / name)
        assert read.get_potential_energy() == pytest.approx(energy, abs=1e-6)
        np.testing.assert_allclose(read.get_forces(), forces, atol=1e-6)


def test_uncertainty_of_an_ensemble(tmp_path):
    ensemble = EnsembleXC([functional(), "pbe", "blyp"], calibration=1.5)
    atoms, plain = water(xc=ensemble), water()
    atoms.get_forces(), plain.get_forces()
    found = atoms.calc.results["energy_uncertainty"]
    energies = ensemble.energies(atoms.calc.result)
    assert found == pytest.approx(1.5 * energies.std().item() * units.Hartree, rel=1e-9)
    assert "energy_uncertainty" not in plain.calc.results
    assert list(map(type, atoms.calc.results.values())).count(float) == 4
    for name in "water.traj", "water.extxyz":
        io.write(tmp_path / name, atoms)
        assert io.read(tmp_path / name).get_potential_energy() == pytest.approx(
            atoms.get_potential_energy(), abs=1e-6
        )
    BFGS(atoms, logfile=None, trajectory=str(tmp_path / "r.traj")).run(fmax=0.5, steps=1)


def test_relaxation_converges_to_a_minimum():
    atoms = water(xc=functional())
    start = atoms.get_potential_energy()
    assert BFGS(atoms, logfile=None).run(fmax=0.01, steps=30)
    assert atoms.get_potential_energy() < start
    assert atoms.get_distance(0, 1) == pytest.approx(atoms.get_distance(0, 2), abs=1e-3)
    assert 0.9 < atoms.get_distance(0, 1) < 1.2


def drift(atoms: Atoms, steps: int) -> float:
    """Run Newton's equations and return how far the total energy strays, Ha."""
    rng = np.random.default_rng(0)
    masses = atoms.get_masses()[:, None]
    atoms.set_momenta(rng.normal(size=(len(atoms), 3)) * np.sqrt(masses * 300 * units.kB))
    dynamics, energies = VelocityVerlet(atoms, timestep=0.25 * units.fs), []
    for _ in range(steps):
        dynamics.run(1)
        energies.append(atoms.get_total_energy() / units.Hartree)
    return float(np.ptp(energies))


def test_dynamics_conserve_energy():
    atoms = Atoms("HF", [(0, 0, 0), (0, 0, 0.96)])
    atoms.calc = KohnShamCalculator(functional(), **QUICK)
    assert drift(atoms, 12) < 5e-5


@pytest.mark.slow
@pytest.mark.parametrize("grid_level", [1, 3])
def test_dynamics_conserve_energy_for_a_hundred_steps(grid_level):
    assert drift(water(xc=functional(), basis="6-31g", grid_level=grid_level), 100) < 1e-4


def test_antiparallel_moments_break_the_symmetry_as_asked():
    def apart(moments, **options):
        atoms = Atoms("H2", [(0, 0, 0), (0, 0, 3.0)], magmoms=moments)
        atoms.calc = KohnShamCalculator(xc="pbe", basis="sto-3g", grid_level=1, **options)
        return atoms

    atom = Atoms("H", magmoms=[1])
    atom.calc = KohnShamCalculator(xc="pbe", basis="sto-3g", grid_level=1)
    for moments in ([1, -1], [-1, 1]):
        atoms = apart(moments)
        assert atoms.get_potential_energy() == pytest.approx(2 * atom.get_potential_energy(), abs=1e-2)
        matrices = atoms.calc.result.density_matrix.detach()
        assert np.sign(float((matrices[0] - matrices[1])[0, 0])) == moments[0]
        assert atoms.get_magnetic_moment() == 0
    with pytest.warns(UserWarning, match="an unrestricted solution lies"):
        closed = apart([0, 0]).get_potential_energy()
    assert closed > 2 * atom.get_potential_energy() + 2.0
    with pytest.warns(UserWarning, match="an unrestricted solution lies"):
        assert apart([1, -1], restricted=True).get_potential_energy() == pytest.approx(closed)
    with pytest.raises(CalculatorSetupError, match="local spins"):
        apart([0, 0], broken_symmetry=[1, 1]).get_potential_energy()


def test_ase_finds_the_calculator():
    """By its entry point, and by name once the module is imported."""
    from ase.calculators.calculator import get_calculator_class

    from deepchem_dft.interop import ase_plugin

    assert get_calculator_class("deepchem_dft") is KohnShamCalculator
    pytest.importorskip("ase._4.plugins", reason="this ASE looks for no plugins")
    (plugin,) = ase_plugin.__ase_plugins__
    assert plugin.name == "deepchem_dft" and plugin.implementation is KohnShamCalculator
