"""Gradients of fixed points against finite differences and dense linear algebra."""

import gc
import weakref

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

from deepchem_dft.equilibrium import Implicit, Truncated, fixed_point
from deepchem_dft.errors import InputError

SOLVERS = ["damped", "anderson", "broyden", "diis"]


def solution(f, z, *params, **options):
    options = {"tol": 1e-12, **options}
    return fixed_point(f, z, params, **options).state


@pytest.mark.parametrize("adjoint", ["implicit", "unrolled"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_first_and_second_derivatives_are_those_of_finite_differences(cell, solver, adjoint):
    f, z, w, x = cell

    # A non-linear function of the state, as a loss is: else second derivatives are half the truth.
    def loss(w, x):
        return solution(f, z, w, x, solver=solver, adjoint=adjoint).square()

    assert gradcheck(loss, (w, x), fast_mode=True)
    assert gradgradcheck(loss, (w, x), fast_mode=True)


def test_every_element_of_both_derivatives():
    """The slow modes, which look at all elements, on the smallest problem that has everything."""
    w = torch.tensor([[0.3, -0.4], [0.5, 0.2]], dtype=torch.float64, requires_grad=True)
    x = torch.tensor([[0.1, -0.7]], dtype=torch.float64, requires_grad=True)

    def state(w, x):
        return solution(lambda z, w, x: torch.tanh(z @ w + x), torch.zeros_like(x), w, x)

    assert gradcheck(state, (w, x))
    assert gradgradcheck(state, (w, x))


def test_third_derivatives_are_those_of_finite_differences():
    a = torch.tensor([[0.7]], dtype=torch.float64, requires_grad=True)

    def second(a):
        state = solution(lambda z, a: torch.tanh(a * z + 0.5), torch.zeros_like(a), a)
        (first,) = torch.autograd.grad(state.sum(), a, create_graph=True)
        return torch.autograd.grad(first.sum(), a, create_graph=True)[0]

    assert gradcheck(second, (a,))


def test_gradients_are_those_of_a_dense_solve(cell):
    """(I - J^T)^-1 with Jacobians from autograd, no iteration anywhere."""
    f, z, w, x = cell
    state = solution(f, z, w, x)
    g = torch.randn(state.shape, dtype=z.dtype)
    found = torch.autograd.grad(state, (w, x), g)
    star = state.detach()
    J = torch.autograd.functional.jacobian(lambda z: f(z, w, x), star).reshape(12, 12)
    u = torch.linalg.solve(torch.eye(12, dtype=z.dtype) - J.T, g.flatten()).view_as(g)
    expected = torch.autograd.grad(f(star, w, x), (w, x), u)
    for got, wanted in zip(found, expected):
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-12)


class Cell(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4).double()
        self.dropout = nn.Dropout(0.5)

    def forward(self, z, x):
        return torch.tanh(0.5 * self.linear(z) + x)


@pytest.mark.parametrize("mode", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("adjoint", ["implicit", "truncated", "unrolled"])
def test_captured_weights_get_the_gradient_of_passed_ones(adjoint, mode):
    """In training and in evaluation mode; frozen ones get none."""
    cell = Cell().train(mode)
    x = torch.randn(3, 4, dtype=torch.float64)
    z = torch.zeros_like(x)
    W, b = cell.linear.weight, cell.linear.bias
    solution(cell, z, x, adjoint=adjoint).square().sum().backward()
    passed = solution(lambda z, W, b: torch.tanh(0.5 * (z @ W.T + b) + x), z, W, b, adjoint=adjoint)
    expected = torch.autograd.grad(passed.square().sum(), (W, b))
    torch.testing.assert_close(W.grad, expected[0])
    torch.testing.assert_close(b.grad, expected[1])
    assert W.grad.abs().max() > 0.01
    b.requires_grad_(False)
    b.grad = None
    solution(cell, z, x, adjoint=adjoint).sum().backward()
    assert b.grad is None


@pytest.mark.parametrize("adjoint", ["implicit", "truncated", "unrolled"])
def test_a_map_may_be_a_trainable_constant(adjoint):
    """The shortest graph there is: none at all."""
    b = torch.ones(2, 3, dtype=torch.float64, requires_grad=True)
    for params, f in (((), lambda z: b), ((b,), lambda z, b: b)):
        state = fixed_point(f, torch.zeros(2, 3, dtype=torch.float64), params, adjoint=adjoint).state
        torch.testing.assert_close(torch.autograd.grad(state.sum(), b)[0], torch.ones_like(b))


def test_nothing_is_kept_alive_by_a_cycle(cell):
    """A fixed point and its graph go when the last name for them does, without the collector."""
    f, z, w, x = cell
    gc.collect()
    gc.disable()
    try:
        state = solution(f, z, w, x)
        torch.autograd.grad(state.sum(), w, create_graph=True)[0].sum().backward()
        alive = weakref.ref(state)
        del state
        assert alive() is None
    finally:
        gc.enable()
        w.grad = x.grad = None


def test_second_derivatives_reach_captured_weights_too():
    """As for a gradient penalty: d/dW |dE/dx|^2, against weights passed as parameters."""
    cell = Cell()
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    W, b = cell.linear.weight, cell.linear.bias

    def penalty(f, *params):
        state = solution(f, torch.zeros_like(x), *params)
        (force,) = torch.autograd.grad(state.square().sum(), x, create_graph=True)
        return force.square().sum()

    captured = torch.autograd.grad(penalty(lambda z: cell(z, x)), (W, b))
    passed = torch.autograd.grad(
        penalty(lambda z, x, W, b: torch.tanh(0.5 * (z @ W.T + b) + x), x, W, b), (W, b)
    )
    for got, wanted in zip(captured, passed):
        torch.testing.assert_close(got, wanted, rtol=1e-8, atol=1e-10)


def test_computed_tensors_may_be_captured_or_passed(cell):
    """An encoder before the fixed point, used by something else as well."""
    f, z, w, _ = cell
    encoder = nn.Linear(4, 4).double()
    inputs = torch.randn(3, 4, dtype=torch.float64)

    def gradient(use):
        x = encoder(inputs)
        loss = use(x).square().sum() + x.sum()
        return torch.autograd.grad(loss, encoder.weight)[0]

    passed = gradient(lambda x: solution(f, z, w, x))
    nested = gradient(lambda x: solution(lambda z, p: f(z, w, p["x"][0]), z, {"x": [x, "text"]}))
    torch.testing.assert_close(nested, passed)
    captured = gradient(lambda x: solution(lambda z: f(z, w, x), z))
    torch.testing.assert_close(captured, passed)


def test_a_freed_graph_is_explained(cell):
    f, z, w, _ = cell
    x = (torch.randn(3, 4, dtype=torch.float64) * w.sum()).tanh()
    state = solution(lambda z: f(z, w, x), z)
    x.sum().backward()
    with pytest.raises(InputError, match="pass such tensors in params"):
        state.sum().backward()


def test_no_gradient_is_made_where_none_is_wanted(cell):
    f, z, w, x = cell
    with torch.no_grad():
        assert not solution(f, z, w, x).requires_grad
    assert not solution(f, z, w.detach(), x.detach()).requires_grad
    state = solution(f, z, w.detach(), x)
    assert torch.autograd.grad(state.sum(), x)[0].abs().max() > 0


def test_weights_changed_before_backward_are_noticed(cell):
    f, z, w, x = cell
    state = solution(f, z, w, x)
    with torch.no_grad():
        w += 1.0
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        state.sum().backward()


def test_a_truncated_gradient_is_the_truncated_sum(cell):
    """g sum_{j<k} ((1 - m) I + m J)^j m for k steps of mixing m, from a dense Jacobian."""
    f, z, w, x = cell
    star = solution(f, z, w, x).detach()
    J = torch.autograd.functional.jacobian(lambda z: f(z, w, x), star).reshape(12, 12)
    g = torch.randn(3, 4, dtype=z.dtype)
    for steps, mixing in ((1, 1.0), (4, 1.0), (3, 0.5)):
        state = solution(f, z, w, x, adjoint=Truncated(steps, mixing))
        torch.testing.assert_close(state, star)
        step = (1 - mixing) * torch.eye(12, dtype=z.dtype) + mixing * J.T
        u = sum(torch.linalg.matrix_power(step, j) for j in range(steps)) @ g.flatten() * mixing
        expected = torch.autograd.grad(f(star, w, x), w, u.view_as(g))[0]
        torch.testing.assert_close(torch.autograd.grad(state, w, g)[0], expected)


def test_truncated_gradients_approach_the_exact_one(cell):
    f, z, w, x = cell
    (exact,) = torch.autograd.grad(solution(f, z, w, x).sum(), w)
    errors = []
    for steps in (1, 5, 25):
        (found,) = torch.autograd.grad(solution(f, z, w, x, adjoint=Truncated(steps)).sum(), w)
        errors.append(float((found - exact).norm() / exact.norm()))
    assert errors[0] > 1e-2
    assert errors[0] > 10 * errors[1] > 100 * errors[2]


def test_adjoints_have_settings_of_their_own(cell):
    """A loose adjoint is off by about its tolerance, whatever the state's."""
    f, z, w, x = cell
    (exact,) = torch.autograd.grad(solution(f, z, w, x).sum(), w)
    (loose,) = torch.autograd.grad(solution(f, z, w, x, adjoint=Implicit("damped", tol=1e-3)).sum(), w)
    error = float((loose - exact).norm() / exact.norm())
    assert 1e-6 < error < 1e-2


def _dense_slope(f, z, w, c):
    """d(c z*)/dw at a fixed point exact to rounding, by a dense solve per sample."""
    star = fixed_point(f, z, (w,), tol=1e-15, max_iter=300).state.detach()
    J = torch.autograd.functional.jacobian(lambda z: f(z, w), star)
    u = torch.stack(
        [torch.linalg.solve(torch.eye(z.shape[1]).to(J) - J[i, :, i].T, c[i]) for i in range(len(z))]
    )
    return torch.autograd.grad(f(star, w), w, u)[0]


@pytest.mark.parametrize("adjoint", ["unrolled", "implicit"])
@pytest.mark.parametrize("solver", ["anderson", "diis", "broyden"])
def test_gradients_are_right_however_long_a_solve_goes_on(problem, solver, adjoint):
    """With tol=0, far into rounding: mixing by rounding errors is wrong by 1e9."""
    for seed in range(3):
        f, z = problem("tanh", 0.9, seed, samples=4, size=8)
        w, b = f.W.clone().requires_grad_(), f.b

        def g(z, w, b=b):
            return torch.tanh(z @ w.T + b)

        c = torch.randn(4, 8, generator=torch.Generator().manual_seed(5), dtype=z.dtype)
        exact = _dense_slope(g, z, w, c)
        for limit in (30, 45, 60):
            found = fixed_point(g, z, (w,), solver=solver, adjoint=adjoint, tol=0.0, max_iter=limit)
            assert found.converged.all()
            (slope,) = torch.autograd.grad((c * found.state).sum(), w)
            assert float((slope - exact).norm() / exact.norm()) < 1e-10


def test_unrolled_damped_iteration_goes_on_at_the_fixed_point():
    """From the fixed point itself, k steps give k terms of Neumann's series; one sample is slow."""
    a = torch.tensor([[0.5], [0.95]], dtype=torch.float64, requires_grad=True)
    star = (1.0 / (1.0 - a)).detach()
    found = fixed_point(
        lambda z, a: a * z + 1.0, star, (a,), solver="damped", adjoint="unrolled", tol=0.0, max_iter=11
    )
    assert found.converged.all()
    assert found.iterations.tolist() == [11, 11]
    assert len(found.trajectory) == 11
    (slope,) = torch.autograd.grad(found.state.sum(), a)
    expected = star * (1.0 - a.detach() ** 10) / (1.0 - a.detach())
    torch.testing.assert_close(slope, expected, rtol=1e-12, atol=0.0)


def test_a_sample_that_leaves_its_fixed_point_is_returned_from_there():
    """A repelling one: rounding grows threefold with every step."""
    a = torch.tensor([[3.0], [0.5]], dtype=torch.float64, requires_grad=True)
    start = torch.tensor([[-0.5 * (1.0 + 2.0**-52)], [0.0]], dtype=torch.float64)
    found = fixed_point(
        lambda z, a: a * z + 1.0, start, (a,), solver="damped", adjoint="unrolled", tol=0.0, max_iter=40
    )
    assert found.converged[0]
    assert found.iterations[0] < 4
    assert found.residual[0] < 1e-15
    assert found.history[found.iterations[0] :, 0].isnan().all()
    assert found.state[0].item() == pytest.approx(-0.5, abs=1e-15)


def test_gradients_do_not_depend_on_the_batch(cell):
    """Each sample's own gradient, alone and in company."""
    f, z, w, x = cell
    whole = torch.autograd.grad(solution(f, z, w, x).square().sum(), x)[0]
    for i in (2, 0, 1):
        row = x[i : i + 1].detach().requires_grad_()
        alone = torch.autograd.grad(solution(f, z[:1], w, row).square().sum(), row)[0]
        torch.testing.assert_close(alone[0], whole[i], rtol=0, atol=1e-11)


def test_gradients_of_nested_and_complex_states_and_graphs():
    """Real derivatives of a complex state, and rows gathered into samples and back."""
    a = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    group = torch.tensor([1, 0, 1])

    def f(state, a):
        return {"c": 1j * a * state["c"] + 1.0, "r": a * torch.sin(state["r"]) + 1.0}

    def loss(a):
        z0 = {"c": torch.zeros(3, 2, dtype=torch.complex128), "r": torch.zeros(3, 1, dtype=torch.float64)}
        state = fixed_point(f, z0, (a,), segments=group, tol=1e-13).state
        return state["c"].abs().sum() + state["r"].square().sum()

    assert gradcheck(loss, (a,))
    assert gradgradcheck(loss, (a,))
