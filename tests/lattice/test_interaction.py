"""The interaction: potentials and energies against sums over pairs of points; derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepchem_dft.errors import InputError
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.lattice.interaction import (
    AMPLITUDE,
    KAPPA,
    convolve,
    even_spectrum,
    external_potential,
    hartree_energy,
    hartree_potential,
    interaction,
    nuclear_repulsion,
)

GRID = Grid(50, 0.3)


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_interaction_is_even_and_decays():
    w = interaction(tensor(0.0, 1.7, -1.7, 400.0))
    assert w[0] == AMPLITUDE == 1.071295 and w[1] == w[2]
    assert 1 / KAPPA == 2.385345 and w[1] == pytest.approx(AMPLITUDE * np.exp(-1.7 * KAPPA))
    assert 0 < w[3] < 1e-70


@pytest.mark.parametrize("points", [10, 49, 50, 513])
def test_hartree_is_the_sum_over_pairs(points):
    grid = Grid(points, 0.3)
    density = torch.rand(2, 3, points, dtype=torch.float64)
    pairs = interaction(grid.x[:, None] - grid.x)
    potential = density @ pairs * grid.spacing
    assert torch.allclose(hartree_potential(grid, density), potential, rtol=1e-12)
    energy = 0.5 * (density * potential).sum(-1) * grid.spacing
    assert torch.allclose(hartree_energy(grid, density), energy, rtol=1e-12)


def test_potential_is_the_derivative_of_the_energy():
    density = torch.rand(50, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(hartree_energy(GRID, density), density)
    potential = hartree_potential(GRID, density).detach()
    assert torch.allclose(gradient, potential * GRID.spacing, rtol=1e-12)


def test_convolution_with_several_kernels():
    values, kernels = torch.rand(4, 1, 50).double(), torch.rand(3, 50).double()
    found = convolve(values, even_spectrum(kernels))
    assert found.shape == (4, 3, 50)
    for i in range(4):
        for k in range(3):
            whole = torch.cat([kernels[k].flip(0), kernels[k, 1:]])
            direct = np.convolve(values[i, 0], whole)[49:99]
            assert np.allclose(found[i, k], direct, rtol=1e-12)


def test_convolution_is_differentiable_in_both():
    values = torch.rand(12, dtype=torch.float64, requires_grad=True)
    kernel = torch.rand(12, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v, k: convolve(v, even_spectrum(k)), (values, kernel))


def test_attraction_of_nuclei_on_and_off_points():
    potential = external_potential(GRID, tensor(0.15, 1.0), tensor(1.0, 3.0))
    direct = [
        -AMPLITUDE * (np.exp(-KAPPA * abs(x - 0.15)) + 3 * np.exp(-KAPPA * abs(x - 1.0)))
        for x in GRID.x.tolist()
    ]
    assert np.allclose(potential, direct, rtol=1e-14)


def test_batches_of_different_molecules_are_padded_by_zero_charges():
    positions = tensor([0.0, 1.5, -2.0], [0.7, 0.0, 0.0])
    charges = tensor([1.0, 1.0, 2.0], [3.0, 0.0, 0.0])
    both = external_potential(GRID, positions, charges)
    assert torch.equal(both[1], external_potential(GRID, tensor(0.7), tensor(3.0)))
    repulsion = nuclear_repulsion(positions, charges)
    assert repulsion[1] == 0
    w = interaction(tensor(1.5, 2.0, 3.5))
    assert repulsion[0].item() == pytest.approx(float(w[0] + 2 * w[1] + 2 * w[2]))


def test_a_nucleus_outside_the_grid_is_refused():
    with pytest.raises(InputError, match="outside the grid"):
        external_potential(GRID, tensor(0.0, 7.6), tensor(1.0, 1.0))
