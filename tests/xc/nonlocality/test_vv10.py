"""VV10 and rVV10 on plain tensors: PySCF's sums, the papers' formulae, finite differences."""

import math

import numpy as np
import pytest
import torch
from pyscf import dft, gto
from pyscf.dft import numint

from deepchem_dft.errors import FunctionalError
from deepchem_dft.xc.nonlocality import pairs
from deepchem_dft.xc.nonlocality.vv10 import THRESHOLD, VV10
from deepchem_dft.xc.quadrature import Quadrature
from tests.xc.nonlocality.definition import beta_and_phi, omega_and_kappa


def quadrature(points, weights):
    nowhere = torch.zeros(1, 3, dtype=torch.float64)
    one = torch.ones(1, dtype=torch.int64)
    return Quadrature(points, weights, torch.zeros(len(points), dtype=torch.int64), nowhere, one, weights)


def sample(atom, spin=0, level=0):
    """Density of a superposition of atoms and its quadrature, (1, 4, G)."""
    mole = gto.M(atom=atom, basis="6-31g*", spin=spin, verbose=0)
    grid = dft.gen_grid.Grids(mole)
    grid.level = level
    grid.build(with_non0tab=False, sort_grids=False)
    density = dft.UKS(mole).get_init_guess(key="atom").sum(0)
    ao = numint.eval_ao(mole, grid.coords, deriv=1)
    rho = torch.from_numpy(numint.eval_rho(mole, ao, density, xctype="GGA"))[None]
    return rho, quadrature(torch.from_numpy(grid.coords), torch.from_numpy(grid.weights))


@pytest.fixture
def double(monkeypatch):
    """All in double precision: finite differences and limits are about formulae."""
    monkeypatch.setattr(pairs, "FAR", 1e3)


@pytest.fixture(scope="module")
def dimer():
    """Two atoms and another 4 A away: tiles that meet in double and in single precision."""
    return sample("F 0 0 0; H 0 0 0.92; Ar 4 0 0")


def by_definition(rho, at, b, c, form):
    """The double integral as the papers write it."""
    keep = rho[0, 0] >= THRESHOLD
    n, sigma, r, w = rho[0, 0, keep], rho[0, 1:4, keep].square().sum(0), at.points[keep], at.weights[keep]
    omega, kappa = omega_and_kappa(n, sigma, b, c)
    beta, phi = beta_and_phi(torch.cdist(r, r).square(), omega, kappa, b, form)
    return beta * (w * n).sum() + 0.5 * (w * n) @ phi @ (w * n)


@pytest.mark.parametrize("atom, spin", [("O 0 0 0; H 0 0 0.97", 1), ("Ar 0 0 0", 0)])
def test_energy_and_potential_of_pyscf(atom, spin):
    rho, at = sample(atom, spin)
    n, w = rho[0].numpy(), at.weights.numpy()
    per_electron, slopes = numint._vv10nlc(n, at.points.numpy(), n, w, at.points.numpy(), (6.0, 0.01))
    halves = (rho / 2).repeat(2, 1, 1).requires_grad_()  # as two spins: their sum is what counts
    energy = VV10(6.0, 0.01).energy(halves, at)
    up, down = torch.autograd.grad(energy, halves)[0].numpy()
    assert energy.item() == pytest.approx((per_electron * n[0] * w).sum(), abs=1e-9)
    np.testing.assert_array_equal(up, down)
    np.testing.assert_allclose(up[0], w * slopes[0], rtol=0, atol=1e-8)
    np.testing.assert_allclose(up[1:4], 2 * w * slopes[1] * n[1:4], rtol=0, atol=1e-8)


@pytest.mark.parametrize("form", ["vv10", "rvv10"])
def test_definition(dimer, form):
    rho, at = dimer
    energy = VV10(11.95, 0.0093, form=form, coefficient=0.5).energy(rho, at)
    assert energy.item() == pytest.approx(0.5 * by_definition(rho, at, 11.95, 0.0093, form).item(), abs=5e-10)


def test_forms_differ_only_between_different_densities(dimer, double):
    rho, at = dimer
    energies = [VV10(6.0, 0.01, form=form).energy(rho, at).item() for form in ("vv10", "rvv10")]
    assert 1e-5 < abs(energies[0] - energies[1]) < 1e-2
    flat = torch.zeros_like(rho)
    flat[:, 0] = 0.1
    energies = [VV10(6.0, 0.01, form=form).energy(flat, at).item() for form in ("vv10", "rvv10")]
    assert energies[0] == pytest.approx(energies[1], rel=1e-9)


def test_uniform_gas_has_no_energy():
    """What beta is there for: the pair integral of a uniform density is -beta per electron."""
    spacing, far = 0.05, 1000.0
    radii = spacing * (torch.arange(int(far / spacing), dtype=torch.float64) + 0.5)
    shells = 4 * math.pi * radii**2 * spacing
    n, b = 0.05, 6.0
    omega, kappa = math.sqrt(4 * math.pi * n / 3), b * 1.5 * math.pi * (n / 9 / math.pi) ** (1 / 6)
    pair = -0.75 / (omega * radii**2 + kappa) ** 3  # g = g'
    beta = VV10(b, 0.01).energy(*_one_electron()).item() - _self_energy(b)
    assert 0.5 * n * (pair * shells).sum().item() == pytest.approx(-beta, rel=1e-5)


def _one_electron():
    rho = torch.zeros(1, 4, 1, dtype=torch.float64)
    rho[0, 0] = 1.0
    one = torch.ones(1, dtype=torch.float64)
    return rho, quadrature(torch.zeros(1, 3, dtype=torch.float64), one)


def _self_energy(b):
    kappa = b * 1.5 * math.pi / (9 * math.pi) ** (1 / 6)
    return -0.75 / (2 * kappa**3)


@pytest.mark.parametrize("form", ["vv10", "rvv10"])
def test_second_derivatives(dimer, double, form):
    rho, at = dimer
    draw = torch.Generator().manual_seed(0)
    along, probe = (rho * torch.randn(rho.shape, generator=draw, dtype=torch.float64) for _ in range(2))
    xc = VV10(6.0, 0.01, form=form)

    def slope(step):
        leaf = (rho + step * along).requires_grad_()
        return leaf, torch.autograd.grad(xc.energy(leaf, at), leaf, create_graph=True)[0]

    leaf, gradient = slope(0.0)
    bent = (torch.autograd.grad((gradient * probe).sum(), leaf)[0] * along).sum().item()
    values = [(slope(step)[1] * probe).sum().item() for step in (2e-3, 1e-3, -1e-3, -2e-3)]
    expected = (8 * (values[1] - values[2]) - values[0] + values[3]) / 12e-3
    assert bent == pytest.approx(expected, rel=1e-6)


def test_derivatives_by_points_weights_and_parameters(dimer):
    rho, at = dimer
    draw = torch.Generator().manual_seed(1)
    xc = VV10(6.0, 0.01, trainable=True)
    inputs = [at.points, at.weights, xc.log_b.detach().clone(), xc.log_c.detach().clone()]
    directions = [torch.randn(t.shape, generator=draw, dtype=torch.float64) for t in inputs]
    directions[1] = directions[1] * at.weights

    def energy(which, step):
        moved = [t + step * d * (i == which) for i, (t, d) in enumerate(zip(inputs, directions, strict=True))]
        with torch.no_grad():
            xc.log_b.copy_(moved[2])
            xc.log_c.copy_(moved[3])
        return xc.energy(rho, quadrature(moved[0], moved[1]))

    leaves = [inputs[0].clone().requires_grad_(), inputs[1].clone().requires_grad_()]
    start = xc.energy(rho, quadrature(*leaves))
    slopes = torch.autograd.grad(start, [*leaves, xc.log_b, xc.log_c])
    for which, (slope, direction) in enumerate(zip(slopes, directions, strict=True)):
        ends = [energy(which, step).item() for step in (2e-3, 1e-3, -1e-3, -2e-3)]
        expected = (8 * (ends[1] - ends[2]) - ends[0] + ends[3]) / 12e-3
        assert (slope * direction).sum().item() == pytest.approx(expected, rel=1e-5, abs=1e-9), which


def test_tiles_change_nothing(dimer, monkeypatch):
    rho, at = dimer
    leaf = rho.clone().requires_grad_()

    def both():
        energy = VV10(6.0, 0.01).energy(leaf, at)
        slope = torch.autograd.grad(energy, leaf, create_graph=True)[0]
        return energy.item(), slope.detach(), torch.autograd.grad((slope * rho).sum(), leaf)[0]

    monkeypatch.setattr(pairs, "FAR", 1e3)  # all in double precision
    exact = both()
    monkeypatch.setattr(pairs, "_TILE", 100)
    for a, b in zip(both(), exact, strict=True):
        torch.testing.assert_close(torch.as_tensor(a), torch.as_tensor(b), rtol=1e-11, atol=1e-14)
    monkeypatch.setattr(pairs, "FAR", 1.0)
    single = both()
    assert 0.0 < abs(single[0] - exact[0]) < 2e-10
    for a, b in zip(single[1:], exact[1:], strict=True):
        assert 0.0 < (a - b).abs().max() < 1e-6 * b.abs().max()


def test_no_density_no_energy_and_no_slope():
    rho, at = _one_electron()
    empty = (rho * 0.99 * THRESHOLD).requires_grad_()
    energy = VV10(6.0, 0.01).energy(empty, at)
    assert energy.item() == 0.0 and not torch.autograd.grad(energy, empty)[0].any()
    assert VV10(6.0, 0.01).energy(rho * 1.01 * THRESHOLD, at).item() > 0.0


def test_derivatives_there_are_none_of(dimer):
    rho, at = dimer
    leaf = rho.clone().requires_grad_()
    slope = torch.autograd.grad(VV10(6.0, 0.01).energy(leaf, at), leaf, create_graph=True)[0]
    with pytest.raises(FunctionalError, match="two derivatives"):
        torch.autograd.grad(slope.sum(), leaf, create_graph=True)[0]
    points = at.points.clone().requires_grad_()
    energy = VV10(6.0, 0.01).energy(rho, quadrature(points, at.weights))
    force = torch.autograd.grad(energy, points, create_graph=True)[0]
    with pytest.raises(FunctionalError, match="one by the points"):
        torch.autograd.grad(force.square().sum(), points)


@pytest.mark.parametrize(
    "options, field",
    [
        ({"b": 0.0}, "b"),
        ({"c": math.nan}, "c"),
        ({"form": "x"}, "form"),
        ({"grid_level": 12}, "grid_level"),
        ({"grid_level": "fine"}, "grid_level"),
    ],
)
def test_what_is_no_functional(options, field):
    with pytest.raises(FunctionalError) as caught:
        VV10(**{"b": 6.0, "c": 0.01, **options})
    assert caught.value.field == field and caught.value.remedy
