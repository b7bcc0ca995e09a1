"""Functionals on the grid: potentials, symmetries, the gate, the uniform gas, user networks."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import nn

from deepchem_dft.errors import FunctionalError, InputError
from deepchem_dft.lattice.functionals import (
    LatticeFunctional,
    NetworkXC,
    NeuralXC,
    UniformGasLDA,
    make_functional,
)
from deepchem_dft.lattice.functionals.primitives import gather, silu, spread
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.lattice.interaction import (
    AMPLITUDE,
    KAPPA,
    even_spectrum,
    hartree_energy,
    hartree_potential,
    interaction,
)

GRID = Grid(151, 0.16)


def _density(spins=1, electrons=(2.0, 3.1), shift=0.4):
    """Lopsided densities (2, spins, n) with given numbers of electrons."""
    bumps = torch.exp(-((GRID.x - shift) ** 2)) + 0.6 * torch.exp(-2 * (GRID.x + 1.5) ** 2)
    rows = [bumps * n / GRID.integrate(bumps) for n in electrons]
    n = torch.stack(rows)[:, None]
    return torch.cat([0.6 * n, 0.4 * n.roll(3, -1)], 1) if spins == 2 else n


def _random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_parameters_of_the_paper():
    count = {
        kind: sum(p.numel() for p in make_functional(kind).parameters())
        for kind in ("global", "gradient", "local")
    }
    assert count == {"global": 1568, "gradient": 576, "local": 544}
    widths = NeuralXC(Grid()).widths
    assert len(widths) == 15
    assert 0.1 < widths.min() < 1.24 < widths.max() < 1 / KAPPA


def test_global_functional_is_the_formula_of_the_paper():
    """Exponential convolutions by a sum over all pairs of points."""
    xc, n = NeuralXC(GRID, gate_width=0.7, seed=2), _density()
    distance = (GRID.x[:, None] - GRID.x).abs()
    expected = []
    for row in n[:, 0]:
        wide = [(torch.exp(-distance / xi) / (2 * xi)) @ row * GRID.spacing for xi in xc.widths]
        h = torch.stack([row, *wide])[None]
        for layer in xc.layers:
            h = nn.functional.silu(torch.conv1d(h, layer, padding=layer.shape[2] // 2))
        gate = math.exp(-(((GRID.integrate(row).item() - 1) / 0.7) ** 2))
        repulsion = interaction(distance) @ row * GRID.spacing
        expected.append(GRID.integrate(((1 - gate) * -h[0, 0] - gate / 2 * repulsion) * row))
    assert (xc.energy(n) - torch.stack(expected)).abs().max() < 1e-12


@pytest.mark.parametrize("polarised", [False, True])
@pytest.mark.parametrize("kind", ["global", "gradient", "local"])
def test_potential_written_out_is_the_derivative(kind, polarised):
    """The potential, and its derivatives in turn, as automatic differentiation has them."""
    xc = make_functional(kind, GRID, polarised=polarised, gate=True, seed=1)
    n = _density(1 + polarised).requires_grad_()
    weight, results = _random(*n.shape), []
    for potential in (xc.potential(n), LatticeFunctional.potential(xc, n)):
        gradients = torch.autograd.grad((potential * weight).sum(), [n, *xc.parameters()])
        results.append([potential, *gradients])
    for one, other in zip(*results, strict=True):
        assert (one - other).abs().max() < 1e-12 * max(1, other.abs().max())


def test_potential_is_the_slope_of_the_energy():
    xc, n = make_functional("global", GRID, seed=3), _density()
    change = 1e-3 * torch.exp(-((GRID.x - 1) ** 2))
    with torch.no_grad():
        values = [xc.energy(n + k * change) for k in (-2, -1, 1, 2)]
        slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / 12
        expected = GRID.integrate(xc.potential(n)[:, 0] * change)
    assert (slope - expected).abs().max() < 1e-9 * expected.abs().max()


def test_a_bound_functional_is_the_same_and_does_not_outlive_its_parameters():
    xc, n = make_functional("global", GRID, seed=3), _density()
    bound = xc.bind()
    assert torch.equal(bound.energy(n), xc.energy(n))
    assert torch.equal(bound.potential(n), xc.potential(n))
    with torch.no_grad():
        xc.eta += 1.0
    assert not torch.allclose(bound.energy(n), xc.energy(n))
    assert torch.equal(xc.bind().energy(n), xc.energy(n))


@pytest.mark.parametrize("kind", ["global", "local"])
def test_one_electron_does_not_interact_with_itself(kind):
    for polarised in (False, True):
        xc = make_functional(kind, GRID, gate=True, polarised=polarised, seed=5)
        n = _density(1 + polarised, (1.0, 1.0))
        total = n.sum(1)
        assert (xc.energy(n) + hartree_energy(GRID, total)).abs().max() < 1e-14
        assert (xc.potential(n) + hartree_potential(GRID, total)[:, None]).abs().max() < 1e-12


def test_spins_may_be_exchanged():
    for kind in ("global", "local"):
        xc, n = make_functional(kind, GRID, polarised=True, seed=1), _density(2)
        assert (xc.energy(n) - xc.energy(n.flip(1))).abs().max() < 1e-14
        assert (xc.potential(n).flip(1) - xc.potential(n.flip(1))).abs().max() < 1e-14


def test_a_local_functional_is_local_and_a_global_one_is_not():
    n = _density()
    change = torch.zeros_like(n)
    change[..., 75] = 0.1
    reach = {}
    for kind in ("local", "gradient", "global"):
        xc = make_functional(kind, GRID, gate=False, seed=1)
        reach[kind] = int(((xc.per_electron(n + change) - xc.per_electron(n)).abs() > 0).sum(1)[0])
    assert (reach["local"], reach["gradient"]) == (1, 3)
    assert reach["global"] > 100


def test_seeds_make_weights():
    one, same, other = (make_functional(seed=s).layers[0] for s in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.std().item() == pytest.approx(math.sqrt(2 / 48), rel=0.1)


# -- uniform gas -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0.05, 0.3, 1.0, 4.0])
def test_exchange_of_the_uniform_gas(n):
    """-1/2 int |rho(u)|^2 w(u) du / (2 n) with the free-electron density matrix rho."""
    fermi = math.pi * n / 2

    def integrand(u):
        return 2 * (math.sin(fermi * u) / (math.pi * u)) ** 2 * AMPLITUDE * math.exp(-KAPPA * u)

    expected = -2 * quad(integrand, 1e-12, 80, limit=2000)[0] / (2 * n)
    y = math.pi * n / KAPPA
    correlation = (
        -AMPLITUDE
        * y
        / math.pi
        / (
            2
            - 1.00077 * y**0.5
            + 6.26099 * y
            - 11.9041 * y**1.5
            + 9.62614 * y**2
            - 1.48334 * y**2.5
            + math.pi * KAPPA**2 / AMPLITUDE * y**3
        )
    )
    found = UniformGasLDA.per_electron(torch.tensor(n, dtype=torch.float64)).item()
    assert found - correlation == pytest.approx(expected, rel=1e-6)


def test_limits_of_the_uniform_gas():
    dilute, dense = UniformGasLDA.per_electron(torch.tensor([1e-6, 1e4], dtype=torch.float64))
    # Electrons of a dilute gas avoid each other: the whole Hartree energy, n int w / 2, is undone.
    assert dilute.item() == pytest.approx(-1e-6 * AMPLITUDE / KAPPA, rel=1e-2)
    assert dense.item() == pytest.approx(-AMPLITUDE / 2, rel=1e-3)
    zero = torch.zeros(1, 1, len(GRID), dtype=torch.float64)
    xc = UniformGasLDA(GRID)
    assert xc.energy(zero).item() == 0
    assert torch.isfinite(xc.potential(zero)).all()


# -- a user's own ----------------------------------------------------------------------------------


def test_a_users_network_is_used():
    network = nn.Sequential(nn.Conv1d(1, 4, 3, padding=1), nn.Tanh(), nn.Conv1d(4, 1, 1)).double()
    xc, n = make_functional(network, GRID, gate=False), _density()
    assert isinstance(xc, NetworkXC)
    expected = GRID.integrate(n[:, 0] * network(n)[:, 0])
    assert torch.equal(xc.energy(n), expected)
    assert len(list(xc.parameters())) == 4
    assert make_functional(xc) is xc


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("globl",), {}, "unknown functional 'globl'. Remedy: use one of global"),
        (("global",), {"witdh": 3}, "witdh"),
        (("global",), {"windows": 2}, "odd numbers"),
        (("global",), {"windows": [3, 3, 3]}, "3, 3, 3"),
        (("global",), {"gate_width": 0.0}, "positive number of electrons"),
        (("uniform-gas",), {"polarised": True}, "unpolarised"),
    ],
)
def test_bad_arguments_are_explained(arguments, options, message):
    with pytest.raises(InputError, match=message):
        make_functional(*arguments, GRID, **options)


def test_a_network_of_another_shape_is_refused():
    xc = NetworkXC(GRID, nn.Conv1d(1, 2, 1).double())
    with pytest.raises(FunctionalError, match=r"shape \(2, 2, 151\)"):
        xc.energy(_density())


# -- primitives ------------------------------------------------------------------------------------


def test_convolutions_are_sums_over_pairs():
    n, kernels = _random(2, 9), _random(3, 9)
    index = (torch.arange(9)[:, None] - torch.arange(9)).abs()
    expected = torch.einsum("cij,bj->bci", kernels[:, index], n)
    spectra = even_spectrum(kernels)
    assert (spread(n, spectra) - expected).abs().max() < 1e-13
    g = _random(2, 3, 9)
    back = torch.einsum("cij,bcj->bi", kernels[:, index], g)
    assert (gather(g, spectra) - back).abs().max() < 1e-13


def test_derivatives_of_the_primitives():
    n = _random(2, 6).requires_grad_()
    k = even_spectrum(_random(3, 6)).requires_grad_()
    g = _random(2, 3, 6).requires_grad_()
    for function, arguments in ((spread, (n, k)), (gather, (g, k))):
        assert torch.autograd.gradcheck(function, arguments)
        assert torch.autograd.gradgradcheck(function, arguments)
    assert torch.autograd.gradcheck(silu, torch.linspace(-4, 4, 7).double().requires_grad_())
    assert np.isclose(silu(torch.tensor(0.7))[0].item(), 0.7 / (1 + math.exp(-0.7)))
