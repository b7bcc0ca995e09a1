"""Convergence with untrained networks, where plain extrapolation oscillates."""

import convergence as benchmark
import pytest

from deepchem_dft.scf import KohnSham

CASES = {(name, label): functional for name, label, functional in benchmark.cases(quick=False)}
#: Where DIIS alone does not arrive, and both ends of the table. All 102 run in the benchmark.
SAMPLE = [
    ("Fe", "LDA 2x16 seed 1"),
    ("NO", "LDA 2x16 seed 1"),
    ("Cl", "LDA 2x16 seed 2"),
    ("F", "LDA 3x32 seed 3"),
    ("H2 5A", "LDA 3x32 seed 3"),
    ("O", "GGA 3x16 on pbe x 1"),
    ("CN", "GGA 3x16 on pbe x 3"),
    ("N2 3A", "GGA 3x16 on nothing x 1"),
]


def test_all_cases_are_there():
    assert sum(label.startswith("LDA") for _, label in CASES) == 84
    assert sum(label.startswith("GGA") for _, label in CASES) == 18


@pytest.mark.parametrize(("name", "label"), SAMPLE)
def test_random_networks_converge(name, label):
    functional = CASES[name, label]
    result = KohnSham(benchmark.molecule(name), functional).run()
    assert result.converged
    assert result.commutator < 1e-6


@pytest.mark.parametrize(("name", "label"), [("CN", "GGA 3x16 on pbe x 3"), ("F", "LDA 2x16 seed 0")])
def test_energy_is_no_higher_than_the_best_of_pyscf(name, label):
    functional = CASES[name, label]
    result = KohnSham(benchmark.molecule(name), functional).run()
    best = benchmark.best_of_pyscf(name, functional)
    assert best < 0  # PySCF converged from at least one start
    assert result.energy.item() <= best + benchmark.TOLERANCE


def test_rotations_alone_reach_the_same_minimum(make, neural):
    """The second rung, from the same start, without any DIIS step before it."""
    from deepchem_dft.scf.hamiltonian import KSHamiltonian
    from deepchem_dft.scf.ladder import solve

    hamiltonian = KSHamiltonian(make("NO"), neural("pbe", "gga"))
    both = solve(hamiltonian, tol=1e-7)
    rotations = solve(hamiltonian, tol=1e-7, diis_iterations=0)
    assert rotations.status is both.status
    assert rotations.evaluation.energy == pytest.approx(both.evaluation.energy, abs=1e-9)
