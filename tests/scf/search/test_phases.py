"""Orbitals shared by atoms far from each other: bonding, or antibonding without knowing it."""

import numpy as np
import pytest
import torch
from pyscf import dft, gto

from deepchem_dft import KohnSham, Molecule
from deepchem_dft.scf.ladder import SCFStatus, finish
from deepchem_dft.scf.rotations import off_block
from deepchem_dft.scf.search.phases import antibonding

FAR = 8.0  # Bohr: the two signs differ by millihartrees


def shared(charge: int, spin: int, antibonding_spins: tuple[int, ...]):
    """Two hydrogen atoms whose orbitals are the sum of both atoms', or the difference."""
    molecule = Molecule(f"H 0 0 0; H 0 0 {FAR}", "sto-3g", charge, spin, grid_level=2)
    result = KohnSham(molecule, "lda,pw", restricted=False).run()
    overlap = float(molecule.overlap[0, 1])
    plus, minus = (torch.tensor([1.0, s]).double() / (2 + 2 * s * overlap) ** 0.5 for s in (1, -1))
    rows = [(minus, plus) if k in antibonding_spins else (plus, minus) for k in (0, 1)]
    orbitals = torch.stack([torch.stack(row, 1) for row in rows])
    hamiltonian, occupations = result._hamiltonian, result.state.occupations
    point = hamiltonian.evaluate(orbitals, occupations)
    residual = off_block(orbitals.mT @ point.fock @ orbitals, occupations)
    assert residual < 1e-7  # a solution by symmetry, whichever the signs
    solution = finish(hamiltonian, orbitals, occupations, point, residual, 1, SCFStatus.CONVERGED, [])
    return hamiltonian, solution


def pyscf_energy(charge: int, spin: int, **options) -> float:
    """From orbitals that both atoms share alike, which symmetry keeps."""
    mol = gto.M(
        atom=f"H 0 0 0; H 0 0 {FAR}", unit="bohr", basis="sto-3g", charge=charge, spin=spin, verbose=0
    )
    field = dft.UKS(mol).set(xc="lda,pw", conv_tol=1e-11, small_rho_cutoff=0.0)
    field.grids.level = 2
    plus = np.full((2, 2), 0.5)
    occupied = np.array(field.nelec)[:, None, None]
    return float(field.kernel(dm0=occupied * plus))


@pytest.mark.parametrize(("charge", "spin", "wrong"), [(1, 1, (0,)), (0, 0, (0,)), (0, 0, (1,))])
def test_a_sign_is_turned_around_in_the_spin_that_has_it_wrong(charge, spin, wrong):
    hamiltonian, solution = shared(charge, spin, wrong)
    ((gain, channel, part, orbitals),) = antibonding(hamiltonian, solution)
    assert (channel, part) == (wrong[0], 0)
    metric = orbitals.mT @ hamiltonian.overlap @ orbitals
    assert torch.allclose(metric, torch.eye(2).double().expand(2, -1, -1), atol=1e-12)
    lower = hamiltonian.evaluate(orbitals, solution.state.occupations).energy
    assert lower == pytest.approx(pyscf_energy(charge, spin), abs=1e-7)
    # The first order says by how much, up to what the density between the atoms does to its own potential.
    assert solution.evaluation.energy - lower > 1e-4
    assert gain == pytest.approx(solution.evaluation.energy - lower, rel=0.1)


def test_what_bonds_is_left_alone():
    for charge, spin in ((1, 1), (0, 0)):
        assert antibonding(*shared(charge, spin, ())) == []
    near = KohnSham(Molecule("H 0 0 0; H 0 0 1.4", "sto-3g", grid_level=0), "lda,pw").run()
    assert antibonding(near._hamiltonian, near._solution) == []


def test_both_spins_may_have_it_wrong():
    hamiltonian, solution = shared(0, 0, (0, 1))
    assert sorted(row[1] for row in antibonding(hamiltonian, solution)) == [0, 1]
