"""The module: training, what it reports, and its penalties."""

import math

import pytest
import torch
from torch import nn

from deepchem_dft.equilibrium import DEQLayer, Implicit, Pulay, jacobian_norm, spectral_norm
from deepchem_dft.errors import InputError


class Cell(nn.Module):
    def __init__(self, scale: float = 0.3):
        super().__init__()
        self.weight = nn.Parameter(scale * torch.randn(6, 6, dtype=torch.float64))

    def forward(self, z, x):
        return torch.tanh(z @ self.weight + x)


def test_a_layer_learns():
    """Fit the fixed points of another cell."""
    x = torch.randn(64, 6, dtype=torch.float64)
    z0 = torch.zeros_like(x)
    target = DEQLayer(Cell(), tol=1e-8)(z0, x).state.detach()
    layer = DEQLayer(Cell(), tol=1e-6)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        loss = (layer(z0, x).state - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.02 * losses[0]


def test_unconverged_samples_are_counted_until_an_epoch_begins():
    layer = DEQLayer(Cell(scale=0.0), max_iter=2, tol=1e-8)
    assert math.isnan(layer.unconverged_fraction)
    x = torch.tensor([[0.0] * 6, [1.0] * 6], dtype=torch.float64)
    with torch.no_grad():
        layer(torch.zeros_like(x), x)  # a constant map: two evaluations do
        assert layer.unconverged_fraction == 0.0
        layer.max_iter = 1  # one does for the sample that starts at its fixed point
        layer(torch.zeros_like(x), x)
    assert layer.unconverged_fraction == 0.25
    layer.start_epoch()
    assert math.isnan(layer.unconverged_fraction)
    assert set(layer.state_dict()) == {"cell.weight"}


@pytest.mark.parametrize("segments", [None, torch.tensor([0, 1, 1, 1])], ids=["rows", "graphs"])
def test_penalties_are_those_of_the_exact_jacobian(segments):
    cell, x = Cell(), torch.randn(4, 6, dtype=torch.float64)
    layer = DEQLayer(cell, tol=1e-10, jacobian_weight=1.0)
    found = layer(torch.zeros_like(x), x, segments=segments)
    state = found.state.detach()
    J = torch.autograd.functional.jacobian(lambda z: cell(z, x), state).reshape(24, 24)
    estimate = jacobian_norm(lambda z: cell(z, x), state, probes=3000, segments=segments)
    assert estimate.item() == pytest.approx(J.square().sum().item() / 24, rel=0.03)

    rows = [slice(6 * i, 6 * i + 6) for i in range(4)]
    if segments is not None:
        rows = [rows[0], slice(6, 24)]
    exact = torch.stack([torch.linalg.matrix_norm(J[r, r], 2) for r in rows])
    found = spectral_norm(lambda z: cell(z, x), state, steps=200, segments=segments)
    torch.testing.assert_close(found, exact, rtol=1e-5, atol=0.0)


def test_the_spectral_penalty_has_the_gradient_of_the_singular_value():
    cell, x = Cell(scale=1.0), torch.zeros(1, 6, dtype=torch.float64)
    layer = DEQLayer(cell, spectral_weight=1.0, spectral_bound=0.9, tol=1e-6)
    found = layer(torch.zeros_like(x), x)  # J = W^T there
    layer.penalty(found, x).backward()
    U, S, V = torch.linalg.svd(cell.weight.detach())
    expected = 2.0 * (S[0] - 0.9) * torch.outer(U[:, 0], V[0])
    torch.testing.assert_close(cell.weight.grad, expected, rtol=0.05, atol=0.05)


def test_penalties_vanish_where_nothing_was_asked_for_or_is_wrong():
    x = torch.zeros(2, 6, dtype=torch.float64)
    easy = Cell(scale=0.01)
    for layer in (DEQLayer(Cell()), DEQLayer(easy, spectral_weight=1.0)):
        found = layer(torch.zeros_like(x), x)
        assert layer.penalty(found, x).item() == 0.0


def test_a_penalty_makes_fixed_points_easier():
    x = torch.randn(16, 6, dtype=torch.float64)
    z0 = torch.zeros_like(x)
    layer = DEQLayer(Cell(scale=0.4), tol=1e-8, jacobian_weight=0.1, solver="damped", max_iter=500)
    optimiser = torch.optim.SGD(layer.parameters(), lr=1.0)
    before = layer(z0, x)
    for _ in range(20):
        optimiser.zero_grad()
        layer.penalty(before, x).backward()
        optimiser.step()
    assert layer(z0, x).evaluations < 0.8 * before.evaluations


@pytest.mark.parametrize(
    "settings",
    [
        {"solver": "dis"},
        {"solver": Pulay},
        {"adjoint": "implict"},
        {"adjoint": Implicit},
        {"tol": 2.0},
        {"max_iter": 0},
    ],
    ids=str,
)
def test_mistakes_show_when_a_layer_is_made(settings):
    with pytest.raises(InputError) as caught:
        DEQLayer(Cell(), **settings)
    assert [caught.value.field] == list(settings)


def test_a_layer_takes_an_error_of_the_users_own():
    x = torch.randn(4, 6, dtype=torch.float64)
    seen = []

    def error(z, fz):
        seen.append(z.shape)
        return fz - z

    layer = DEQLayer(Cell(), solver="diis", tol=1e-8)
    found = layer(torch.zeros_like(x), x, error=error)
    assert found.converged.all()
    assert set(seen) == {x.shape}


def test_penalties_may_be_repeated():
    x = torch.randn(4, 6, dtype=torch.float64)
    layer = DEQLayer(Cell(), tol=1e-8, jacobian_weight=1.0, spectral_weight=1.0, spectral_bound=0.1)
    found = layer(torch.zeros_like(x), x)
    first, again, other = (
        layer.penalty(found, x, generator=torch.Generator().manual_seed(seed)).item() for seed in (3, 3, 4)
    )
    assert first == again != other
