"""The grid: points, finite differences against polynomials and the particle in a box, misuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from deepchem_dft.errors import InputError
from deepchem_dft.lattice.grid import Grid


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
