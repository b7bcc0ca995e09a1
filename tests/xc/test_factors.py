"""Learned factors: Legendre polynomials and perceptrons that vanish at the uniform gas."""

import math

import numpy as np
import pytest
import torch
from numpy.polynomial import legendre

from deepchem_dft.errors import FunctionalError
from deepchem_dft.xc.factors import PolynomialFactor, make_factor

OPTIONS = {
    "hidden": [8],
    "activation": "silu",
    "degree": None,
    "dtype": "float64",
    "uniform": None,
    "zero_last": False,
    "seed": 0,
}


def make(size=4, **options):
    return make_factor(size, **{**OPTIONS, **options})


def cube(axes: int, points: int = 40) -> torch.Tensor:
    return torch.rand(axes, points, dtype=torch.float64)


def test_polynomials_are_those_of_numpy():
    factor = PolynomialFactor(2, 5, None)
    coefficients = np.random.default_rng(0).normal(size=(6, 6))
    x = cube(2)
    with torch.no_grad():
        for number, order in enumerate(factor.orders):
            factor.coefficients[number] = coefficients[order]
    total = np.add.outer(np.arange(6), np.arange(6))
    expected = legendre.legval2d(*(2 * x.numpy() - 1), np.where(total <= 5, coefficients, 0.0))
    np.testing.assert_allclose(factor(x).detach().numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("axes, degree, fixed", [(2, 4, 2), (4, 3, 2), (3, 4, 1), (2, 3, 0)])
def test_number_of_coefficients(axes, degree, fixed):
    """All of a total degree, less those of the coordinates that are not fixed: they cancel."""
    uniform = [0.0, 0.5][:fixed] if fixed else None
    count = math.comb(axes + degree, axes)
    if fixed:
        count -= math.comb(axes - fixed + degree, axes - fixed)
    assert len(make(axes, degree=degree, uniform=uniform).coefficients) == count


def test_degrees_from_1_to_12():
    assert len(make(1, degree=1).coefficients) == 2 and len(make(1, degree=12).coefficients) == 13


@pytest.mark.parametrize("degree", [None, 3])
@pytest.mark.parametrize("size, uniform", [(2, [0.0, 0.5]), (1, [0.0]), (4, [0.0, 0.5]), (3, [0.0])])
def test_the_uniform_gas_is_left_alone(degree, size, uniform):
    factor = make(size, degree=degree, uniform=uniform)
    with torch.no_grad():
        for parameter in factor.parameters():
            parameter.normal_()
    x = cube(size)
    assert factor(x).abs().max() > 1e-2
    x[: len(uniform)] = torch.tensor(uniform, dtype=torch.float64)[:, None]
    assert factor(x).abs().max() < 1e-14


@pytest.mark.parametrize(
    "options", [{"zero_last": True}, {"degree": 3}, {"degree": 3, "uniform": [0.0, 0.5]}]
)
def test_starts_at_zero_and_can_leave_it(options):
    factor = make(**options)
    value = factor(cube(4))
    assert not value.any()
    value.sum().backward()
    assert any(p.grad.abs().max() > 0 for p in factor.parameters())


def test_no_constant_where_it_would_cancel():
    assert make(uniform=None).layers[-1].bias is not None
    assert make(uniform=[0.0]).layers[-1].bias is None


def test_seeds_and_the_global_random_state():
    x, before = cube(4), torch.get_rng_state()
    first, same, other = make(), make(), make(seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first(x), same(x)) and not torch.equal(first(x), other(x))


def test_single_precision_of_the_network_alone():
    high, low = make(), make(dtype="float32")
    x = cube(4)
    assert low(x).dtype == torch.float64 and {p.dtype for p in low.parameters()} == {torch.float32}
    with torch.no_grad():
        for a, b in zip(low.parameters(), high.parameters(), strict=True):
            a.copy_(b)
    assert 0 < (low(x) - high(x)).abs().max() < 1e-6


def test_of_no_coordinates_there_is_nothing_to_learn():
    assert not list(make(0).parameters())


@pytest.mark.parametrize(
    "options, field",
    [
        ({"degree": 0}, "degree"),
        ({"degree": 13}, "degree"),
        ({"degree": True}, "degree"),
        ({"degree": 2.0}, "degree"),
        ({"activation": "relu"}, "activation"),
        ({"activation": None}, "activation"),
        ({"dtype": "float16"}, "dtype"),
        ({"hidden": [0]}, "hidden"),
        ({"hidden": 8}, "hidden"),
        ({"hidden": "8"}, "hidden"),
        ({"hidden": [True]}, "hidden"),
        ({"hidden": [8.0]}, "hidden"),
    ],
)
def test_bad_options_name_their_field(options, field):
    with pytest.raises(FunctionalError) as caught:
        make(**options)
    assert caught.value.field == field and "Remedy" in str(caught.value)
