"""Densities the functional tests share."""

import pytest
import torch


@pytest.fixture
def density():
    """Return a maker of physical random densities: tau >= tau_W, shape (2, 5, points)."""

    def make(points: int = 64, low: float = -3.0, high: float = 1.0, seed: int = 0):
        g = torch.Generator().manual_seed(seed)

        def uniform(*shape):
            return torch.rand(*shape, generator=g, dtype=torch.float64)

        n = 10.0 ** (low + (high - low) * uniform(2, points))
        direction = torch.randn(2, 3, points, generator=g, dtype=torch.float64)
        gradient = direction * n[:, None] ** (4 / 3) * 10.0 ** (2 * uniform(1, 1, points) - 1)
        tau = (gradient**2).sum(1) / (8 * n) + 3.0 * uniform(2, points) * n ** (5 / 3)
        return torch.cat([n[:, None], gradient, tau[:, None]], 1)

    return make


@pytest.fixture
def corners(density):
    """Points at every edge of the domain, shape (2, 5, points)."""
    regular = density(1)[:, :, 0]
    one_orbital = regular.clone()
    one_orbital[:, 4] = (regular[:, 1:4] ** 2).sum(1) / (8 * regular[:, 0])
    points = [torch.zeros(2, 5, dtype=torch.float64)]
    for spin in (0, 1):
        empty = regular.clone()
        empty[spin] = 0.0
        points.append(empty)
        negative = regular.clone()
        negative[spin] = torch.tensor([-1e-18, 0, 0, 0, 0])
        points.append(negative)
        single = one_orbital.clone()
        single[spin] = 0.0
        points.append(single)
    flat = regular.clone()
    flat[:, 1:4] = 0.0
    opposite = regular.clone()
    opposite[1] = regular[0]
    opposite[1, 1:4] = -regular[0, 1:4]  # each spin has a gradient, the sum has none
    points += [one_orbital, flat, opposite]
    for size in (1e-300, 1e-30, 1e-18, 1e-14, 1e-13, 2e-12, 1e-10, 1e6):
        scaled = regular / regular[0, 0] * size
        points += [scaled, torch.cat([scaled[:, :1], 1e3 * scaled[:, 1:]], 1)]
        huge_s = torch.zeros(2, 5, dtype=torch.float64)
        huge_s[:, 0], huge_s[:, 1], huge_s[:, 4] = size, 10.0, 100.0
        points.append(huge_s)
    return torch.stack(points, -1)


@pytest.fixture
def assert_finite():
    """Return a check: energy, first and second derivatives are all finite."""

    def check(functional, rho):
        rho = rho.clone().requires_grad_()
        energy = functional(rho)
        assert energy.shape == rho.shape[-1:]
        (first,) = torch.autograd.grad(energy.sum(), rho, create_graph=True)
        (second,) = torch.autograd.grad((first * torch.ones_like(first)).sum(), rho)
        for name, value in (("energy", energy), ("first", first), ("second", second)):
            bad = (~torch.isfinite(value)).reshape(-1, rho.shape[-1]).any(0).nonzero().flatten()
            assert not len(bad), f"{name} derivative not finite at points {bad.tolist()}"
        return energy.detach()

    return check
