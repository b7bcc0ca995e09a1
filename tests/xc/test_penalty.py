"""The fine on learned factors: known for polynomials, Hessians by autograd for networks."""

import pytest
import torch

from deepchem_dft.xc import EnhancedXC, NNNonlocal

from .test_enhancement import wild


def only(order: tuple[int, ...], value: float) -> EnhancedXC:
    """Return PBE with one Legendre polynomial as the factor of correlation, no uniform gas."""
    xc = EnhancedXC("pbe", degree=3, ueg_exact=False)
    with torch.no_grad():
        xc.c_factor.coefficients[xc.c_factor.orders.index(order)] = value
    return xc


@pytest.mark.parametrize("order", [(1, 0, 0), (0, 2, 0), (1, 0, 1), (0, 0, 3)])
def test_size_is_the_mean_square(order):
    """Of a Legendre polynomial of order k over its interval: 1 / (2k + 1)."""
    expected = 1.0
    for k in order:
        expected /= 2 * k + 1
    assert only(order, 1.0).penalty(1.0, 0.0).item() == pytest.approx(expected, rel=0.1)
    ratio = only(order, 2.0).penalty(3.0, 0.0) / only(order, 1.0).penalty(1.0, 0.0)
    assert ratio.item() == pytest.approx(12.0)


@pytest.mark.parametrize(
    "order, expected",
    [
        ((1, 0, 0), 0.0),  # straight lines are smooth
        ((0, 0, 2), 144 * 3.0),  # P2(2x - 1) has the second derivative 12; <v^4> = 3
        ((1, 1, 0), 64.0),  # P1 P1 has 4 v1 v2 twice; <v1^2 v2^2> = 1
    ],
)
def test_roughness_is_the_mean_square_of_second_derivatives(order, expected):
    assert only(order, 1.0).penalty(0.0, 1.0).item() == pytest.approx(expected, rel=0.2, abs=1e-15)


def neighbours(**options) -> NNNonlocal:
    given = {"hidden": [6], "channels": 2, "radial": 2, "descriptors": 2, "degree": 1, "seed": 3}
    return NNNonlocal("r2scan", **{**given, **options})


@pytest.mark.parametrize(
    "xc", [wild("r2scan", 0.0), neighbours(zero_last=False)], ids=["points", "neighbours"]
)
def test_roughness_of_networks_is_that_of_their_hessians(xc):
    """The mean over directions of (v H v)^2 is (tr H)^2 + 2 tr H^2."""
    expected = 0.0
    for factor in (xc.x_factor, xc.c_factor):
        x = torch.rand(factor.size, 1500, dtype=torch.float64).requires_grad_()
        (slope,) = torch.autograd.grad(factor(x).sum(), x, create_graph=True)
        rows = [torch.autograd.grad(row.sum(), x, retain_graph=True)[0] for row in slope]
        h = torch.stack(rows).permute(2, 0, 1)
        trace = h.diagonal(dim1=1, dim2=2).sum(1)
        expected += float((trace**2 + 2 * (h * h).sum((1, 2))).mean())
    assert xc.penalty(0.0, 1.0).item() == pytest.approx(expected, rel=0.2)


@pytest.mark.parametrize("parent", ["lda", "pbe", "r2scan"])
@pytest.mark.parametrize("degree", [None, 2])
def test_gradient_is_finite_differences(parent, degree):
    xc = wild(parent, degree=degree)
    parameters = [p for name, p in xc.named_parameters() if name != "share"]
    slopes = torch.autograd.grad(xc.penalty(0.7, 0.01), parameters)
    directions = [torch.randn_like(p) for p in parameters]
    values = []
    with torch.no_grad():
        for step in (1e-4, -2e-4):
            for p, d in zip(parameters, directions):
                p += step * d
            values.append(xc.penalty(0.7, 0.01).item())
    found = sum(float((s * d).sum()) for s, d in zip(slopes, directions))
    assert found == pytest.approx((values[0] - values[1]) / 2e-4, rel=1e-5)


def test_the_same_at_every_call_and_nothing_at_the_parent():
    xc = wild("r2scan")
    assert xc.penalty(1.0, 1.0).item() == xc.penalty(1.0, 1.0).item() > 0
    assert EnhancedXC("r2scan").penalty(1.0, 1.0).item() == 0.0
    assert neighbours().penalty(1.0, 1.0).item() == 0.0
