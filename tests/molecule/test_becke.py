"""Atoms' shares of space, and how they change as nuclei move, against PySCF's."""

from __future__ import annotations

import pytest
import torch
from pyscf import dft, gto
from pyscf.grad.rks import grids_response_cc

from deepchem_dft.molecule import Molecule
from deepchem_dft.molecule.becke import shares, weight_gradient

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
