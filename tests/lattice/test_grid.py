"""The grid in one dimension, and the interaction on it."""

import math

import numpy as np
import pytest
import scipy.linalg
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


def test_points_are_centred_and_even_numbers_straddle_zero():
    assert Grid().x[[0, 256, 512]].tolist() == [-20.48, 0.0, 20.48]
    assert Grid(10, 0.5).x.tolist() == [-2.25 + 0.5 * i for i in range(10)]
    assert Grid(10, 0.5).half_width == 2.25


def test_default_stencil_is_that_of_the_paper():
    expected = torch.tensor([-5 / 2, 4 / 3, -1 / 12]) / (-2 * 0.08**2)
    assert torch.allclose(Grid().kinetic_stencil(), expected.double(), rtol=1e-6)


@pytest.mark.parametrize("order", [3, 5, 7, 9, 15])
def test_difference_is_exact_for_polynomials_of_its_degree(order):
    grid = Grid(41, 0.25, order)
    inside = slice(order, -order)  # where the stencil does not reach beyond the end
    for degree in range(order + 1):
        values = grid.x**degree
        curvature = degree * (degree - 1) * grid.x ** max(degree - 2, 0)
        found = grid.kinetic_matrix() @ values
        scale = float(values.abs().max()) / grid.spacing**2
        assert float((found + 0.5 * curvature)[inside].abs().max()) < 1e-13 * scale
    values = grid.x ** (order + 1)  # and no further
    curvature = order * (order + 1) * grid.x ** (order - 1)
    assert float((grid.kinetic_matrix() @ values + 0.5 * curvature)[inside].abs().min()) > 0


def test_particle_in_a_box():
    grid = Grid(60, 0.1, order=3)
    k = np.arange(1, 61)
    known = (1 - np.cos(k * np.pi / 61)) / grid.spacing**2  # of the three-point difference
    assert np.allclose(np.linalg.eigvalsh(grid.kinetic_matrix()), known, rtol=1e-12)
    length = 61 * grid.spacing
    lowest = np.linalg.eigvalsh(Grid(60, 0.1).kinetic_matrix())[0]
    # Wider stencils take functions for zero all the way beyond the wall, where they are mirrored.
    assert lowest == pytest.approx(math.pi**2 / 2 / length**2, rel=1e-2)


@pytest.mark.parametrize("order", [3, 5, 9])
def test_bands_are_those_of_the_matrix(order):
    grid = Grid(30, 0.3, order)
    bands = grid.kinetic_bands().numpy()
    assert bands.shape == (order // 2 + 1, 30)
    found = scipy.linalg.eig_banded(bands, lower=True, eigvals_only=True)
    assert np.allclose(found, np.linalg.eigvalsh(grid.kinetic_matrix()), rtol=1e-12)


def test_integral_of_a_gaussian():
    grid = Grid()
    both = torch.stack([torch.exp(-(grid.x**2)), torch.exp(-((grid.x - 3.3) ** 2))])
    assert torch.allclose(grid.integrate(both), torch.tensor(math.pi).sqrt().double(), rtol=1e-7)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"points": 9}, "points"),
        ({"points": 20.5}, "points"),
        ({"points": True}, "points"),
        ({"spacing": 0}, "spacing"),
        ({"spacing": -1.0}, "spacing"),
        ({"spacing": np.nan}, "spacing"),
        ({"order": 4}, "order"),
        ({"order": 1}, "order"),
        ({"order": 17}, "order"),
        ({"points": 20, "order": 11}, "points"),
    ],
)
def test_impossible_grids(options, field):
    with pytest.raises(InputError) as caught:
        Grid(**options)
    assert caught.value.field == field and caught.value.remedy


def test_nuclei_must_be_on_the_line():
    grid = Grid()
    grid.check_inside([-20.48, 0.3, 20.48])
    for outside in (20.49, -21, math.nan, math.inf):
        with pytest.raises(InputError, match="outside the grid") as caught:
            grid.check_inside([0.0, outside], entry="H2")
        assert caught.value.entry == "H2" and "20.48" in str(caught.value)


def test_grids_are_values():
    assert Grid() == Grid(513, 0.08, 5) and len({Grid(), Grid(), Grid(order=3)}) == 2


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
