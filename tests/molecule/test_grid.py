"""Quadratures, and Becke's weights as a function of positions."""

import numpy as np
import pytest
import torch
from pyscf import dft, gto
from pyscf.grad.rks import grids_response_cc

from deepchem_dft.molecule import Molecule, integrals, memory
from deepchem_dft.molecule.becke import shares, weight_gradient
from deepchem_dft.molecule.grid import BLOCK_ROWS, by_locality

#: Butane, zigzag, Angstrom.
BUTANE = """C -1.91 0.12 0; C -0.57 -0.62 0; C 0.57 0.62 0; C 1.91 -0.12 0; H -2.76 -0.57 0;
H -1.98 0.76 0.88; H -1.98 0.76 -0.88; H -0.51 -1.27 0.88; H -0.51 -1.27 -0.88; H 0.51 1.27 0.88;
H 0.51 1.27 -0.88; H 2.76 0.57 0; H 1.98 -0.76 0.88; H 1.98 -0.76 -0.88"""


def dense(blocks, nao: int) -> torch.Tensor:
    """Blocks as one tensor, shape (ncomp, G, nao)."""
    rows = []
    for block in blocks:
        values = block.values.new_zeros(*block.values.shape[:2], nao)
        values[..., torch.arange(nao) if block.columns is None else block.columns] = block.values
        rows.append(values)
    return torch.cat(rows, dim=1)


@pytest.mark.parametrize("deriv", [0, 1])
def test_blocks_are_the_orbitals(deriv):
    molecule = Molecule(BUTANE, basis="sto-3g", unit="angstrom", grid_level=0)
    blocks = molecule.grid.blocks(deriv)
    assert any(block.columns is not None for block in blocks)
    exact = molecule.eval_ao(molecule.points, deriv)
    assert (dense(blocks, molecule.nao) - exact).abs().max() < 1.1e-11


def test_what_does_not_fit_is_evaluated_anew(water, monkeypatch):
    kept = list(water.grid.blocks(1))
    size = sum(block.values.nbytes for block in kept)
    water.release()
    evaluate, calls = integrals.atomic_orbitals, []
    monkeypatch.setattr(integrals, "atomic_orbitals", lambda *args: calls.append(args) or evaluate(*args))
    monkeypatch.setenv("DEEPCHEM_DFT_MEMORY_GB", str(size / 1e9))  # of which they get a share
    for attempt in range(3):
        found = water.grid.blocks(1)
        assert water.grid._constants.held("ao1") is None and memory.BUDGET.held(water.grid._constants) == 0
        for one, other in zip(found, kept, strict=True):
            assert one.rows == other.rows and torch.equal(one.values, other.values)
        if attempt == 0:
            first = len(calls)
    # The first time shows that they do not fit; later ones know.
    assert first > len(kept) and len(calls) == first + 2 * len(kept)
    monkeypatch.setenv("DEEPCHEM_DFT_MEMORY_GB", "1")
    assert water.grid.blocks(1) is water.grid.blocks(1)
    assert memory.BUDGET.held(water.grid._constants) == size


def test_values_alone_make_way_for_gradients(water):
    values = dense(water.grid.blocks(0), water.nao)
    assert water.grid._constants.held("ao0") is not None
    water.grid.blocks(1)
    assert water.grid._constants.held("ao0") is None
    assert (dense(water.grid.blocks(0), water.nao) - values).abs().max() < 1.1e-11


def test_order_is_a_permutation_even_for_an_atom():
    points = np.random.default_rng(0).normal(scale=4.0, size=(500, 3))
    for nuclei in ([[0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0], [0.0, 0.0, 3.0]]):
        order = by_locality(points, np.array(nuclei))
        assert sorted(order) == list(range(500))


def share_left(molecule: Molecule, points: np.ndarray) -> float:
    """Mean squared share of functions that survive: the work that matrices of blocks take."""
    kept = []
    for start in range(0, len(points), BLOCK_ROWS):
        values = integrals.atomic_orbitals(molecule.pyscf_mol, points[start : start + BLOCK_ROWS], 1)
        kept.append((np.abs(values).max((0, 1)) > 1e-11).mean())
    return float(np.mean(np.square(kept)))


def test_order_of_points_leaves_less_work_than_pyscfs():
    """However the molecule lies: PySCF's boxes follow the axes of the file."""
    from pyscf import dft

    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    straight = Molecule(BUTANE, basis="6-31g", unit="angstrom", grid_level=1)
    turned = Molecule((straight.symbols, straight.positions @ turn), basis="6-31g", grid_level=1)
    grids = dft.Grids(turned.pyscf_mol)
    grids.level = 1
    grids.build()
    theirs = share_left(turned, grids.coords)
    ours = [share_left(molecule, molecule.points.numpy()) for molecule in (straight, turned)]
    assert max(ours) < 0.95 * theirs
    assert ours[0] == pytest.approx(ours[1], rel=0.03)


SYSTEMS = {
    "water": "O 0 0 0; H 0 0 1.8; H 1.7 0 -0.5",
    "core potential": "I 0 0 0; H 0 0 3.0",
    "one atom": "He 0 0 0",
}


@pytest.fixture(params=SYSTEMS)
def molecule(request):
    return Molecule(SYSTEMS[request.param], "def2-svp", grid_level=0)


def test_weights_are_those_of_the_grid(molecule):
    q = molecule.grid.quadrature
    weights = shares(q.points, q.atoms, q.positions, q.numbers) * q.atomic_weights
    torch.testing.assert_close(weights, q.weights, rtol=1e-9, atol=1e-12)


def test_their_derivatives_are_pyscfs(molecule):
    q = molecule.grid.quadrature

    def slopes(points):
        return torch.exp(-0.3 * points.square().sum(1)) * points[:, 2]

    by_point, found = weight_gradient(q, slopes(q.points))
    found = found.index_add(0, q.atoms, by_point)  # the points ride on their atoms
    whole = molecule.pyscf_mol.copy()
    whole._atm[:, gto.CHARGE_OF] = q.numbers.numpy()  # not those outside effective cores
    grids = dft.gen_grid.Grids(whole)
    grids.level = 0
    expected = sum(
        torch.einsum("axg,g->ax", torch.from_numpy(change), slopes(torch.from_numpy(points)))
        for points, _, change in grids_response_cc(grids)
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_a_point_on_a_nucleus_has_a_finite_slope():
    q = Molecule(SYSTEMS["water"], "sto-3g", grid_level=0).grid.quadrature
    points = q.positions.clone().requires_grad_()
    share = shares(points, torch.arange(3), q.positions, q.numbers)
    assert share.tolist() == pytest.approx([1.0, 1.0, 1.0])
    assert torch.autograd.grad(share.sum(), points)[0].abs().max() < 1e-12
