"""Features of a density and their derivatives, against the plain formulae and autograd."""

import math

import pytest
import torch

from deepchem_dft.xc.features import ALPHA_MIN, DENSITY_FLOOR, S_MAX, network_inputs, power, spin_features

ROWS = {"lda": 1, "gga": 4, "mgga": 5}


def plain(rho, family):
    """The features as DESIGN and the docstring write them, left to autograd."""
    total = rho.sum(0)
    n = total[0]
    xi = (rho[0, 0] - rho[1, 0]) / n if len(rho) == 2 else torch.zeros_like(n)
    out = [n, xi]
    if family != "lda":
        norm = total[1:4].square().sum(0).sqrt()
        out.append((norm / (2 * (3 * math.pi**2) ** (1 / 3) * n ** (4 / 3))).clamp(max=S_MAX))
    if family == "mgga":
        spin = 0.5 * ((1 + xi) ** (5 / 3) + (1 - xi) ** (5 / 3))
        uniform = 0.3 * (3 * math.pi**2) ** (2 / 3) * n ** (5 / 3) * spin
        alpha = (total[4] - total[1:4].square().sum(0) / (8 * n)) / uniform
        out.append(alpha.clamp(ALPHA_MIN, 1e6))
    return torch.stack(out)


def cut(rho):
    """The same with a point whose s is cut, and one whose alpha is."""
    rho = rho.clone()
    rho[:, 1:4, 0] = 1e5
    rho[:, 4, 1] = 0.0
    return rho


@pytest.mark.parametrize("family", ROWS)
@pytest.mark.parametrize("spins", [1, 2])
def test_values_and_both_derivatives(family, spins, density):
    rho = cut(density(60))[:spins, : ROWS[family]].clone().requires_grad_()
    values, _ = network_inputs(rho, family)
    expected = plain(rho, family)
    torch.testing.assert_close(values, expected, rtol=1e-12, atol=1e-14)
    generator = torch.Generator().manual_seed(1)
    weights = torch.rand(values.shape, generator=generator, dtype=torch.float64)
    direction = torch.randn(rho.shape, generator=generator, dtype=torch.float64) * rho.detach()
    found = []
    for features in (values, expected):
        (first,) = torch.autograd.grad((features * weights).sum(), rho, create_graph=True)
        # n alone is linear in rho and has no second derivative
        second = (
            torch.autograd.grad((first * direction).sum(), rho)[0]
            if first.requires_grad
            else torch.zeros_like(rho)
        )
        found.append((first.detach(), second))
    for mine, its in zip(*found, strict=True):
        # relative to each point's own size, which spans many orders of magnitude
        scale = its.abs().amax((0, 1))
        assert ((mine - its).abs() <= 1e-10 * scale).all()


@pytest.mark.parametrize("spins", [1, 2])
def test_nothing_comes_from_where_there_is_no_density(spins):
    n = torch.tensor([0.0, -1e-18, 0.9e-12, 2e-12, 0.3]).double()
    rho = torch.zeros(spins, 5, 5, dtype=torch.float64)
    rho[0, 0], rho[:, 1], rho[:, 4] = n, 0.1, 0.2
    rho.requires_grad_()
    features = spin_features(rho)
    occupied = n > DENSITY_FLOOR
    assert torch.equal(features.density, n * occupied)
    energy = features.density * (features.n + features.s + features.alpha)
    (first,) = torch.autograd.grad(energy.sum(), rho, create_graph=True)
    (second,) = torch.autograd.grad(first[:, :, ~occupied].sum(), rho)
    assert not first[..., ~occupied].any() and not second[..., ~occupied].any()
    assert first[..., occupied].any()


def test_power():
    x = 10.0 ** torch.linspace(-14, 6, 50, dtype=torch.float64)
    for exponent in (1 / 3, 2 / 3):
        torch.testing.assert_close(power(x, exponent), x**exponent, rtol=1e-14, atol=0.0)
