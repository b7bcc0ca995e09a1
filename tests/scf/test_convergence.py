"""Convergence with untrained networks, where plain extrapolation oscillates."""

import convergence as benchmark
import pytest
import torch

from deepchem_dft.scf import KohnSham
from deepchem_dft.scf.rotations import off_block

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


def test_convergence_is_judged_between_canonical_orbitals():
    """How orbitals are chosen within a block makes elements larger or smaller, but not these."""
    generator = torch.Generator().manual_seed(0)
    fock = torch.randn(1, 6, 6, generator=generator, dtype=torch.float64)
    fock = fock + fock.mT
    occupations = torch.tensor([[1.0, 1.0, 1.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    levels = [torch.linalg.eigh(block).eigenvectors for block in (fock[0, :3, :3], fock[0, 3:, 3:])]
    expected = float((levels[0].mT @ fock[0, :3, 3:] @ levels[1]).abs().max())
    plain = set()
    for _ in range(3):
        turn = torch.block_diag(
            *(torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))[0] for _ in "ab")
        )
        turned = turn.mT @ fock @ turn
        assert off_block(turned, occupations, tol=100.0) == pytest.approx(expected, abs=1e-12)
        plain.add(round(off_block(turned, occupations), 6))
    assert len(plain) == 3
