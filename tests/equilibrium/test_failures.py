"""What cannot be solved ends in a status, or in an error from backward; never in a wrong number."""

import pickle
import sys

import pytest
import torch
from torch import nn

from deepchem_dft.equilibrium import Damped, DEQLayer, Implicit, Status, Unrolled, fixed_point
from deepchem_dft.errors import GradientNotConverged

SOLVERS = ["damped", "anderson", "broyden", "diis"]


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("solver", SOLVERS)
def test_nan_in_one_sample_leaves_the_others_alone(solver):
    """The first is NaN from the start, the second once z exceeds 0.5, the third never."""
    b = double([torch.nan], [1.0], [0.2])

    def f(z):
        image = 0.5 * z + b
        return torch.where((z > 0.5) & (b == 1.0), torch.nan, image)

    with torch.no_grad():
        found = fixed_point(f, torch.zeros_like(b), solver=solver, tol=1e-10)
    assert found.status[0] is Status.NOT_FINITE
    assert found.residual[0] == torch.inf
    assert found.status[1] in (Status.NOT_FINITE, Status.STALLED)
    assert found.status[2] is Status.CONVERGED
    assert found.state.isfinite().all()  # the best iterates, that is
    assert found.state[2].item() == pytest.approx(0.4)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_nan_on_the_way_is_survived(solver):
    """The first start overshoots into a negative square root: somebody else has to arrive."""
    found = fixed_point(lambda z: 2.0 - 1.5 * z.sqrt(), double([2.5], [0.6]), solver=solver, tol=1e-10)
    # s^2 + 1.5 s - 2 = 0 for s = sqrt(z)
    exact = ((-1.5 + (1.5**2 + 8.0) ** 0.5) / 2.0) ** 2
    assert found.status[1] is Status.CONVERGED
    assert found.state[1].item() == pytest.approx(exact)
    if solver == "damped":  # nobody takes over from the most careful one
        assert found.status[0] is Status.NOT_FINITE
    else:
        assert found.state[0].item() == pytest.approx(exact)


def test_divergence_is_a_status():
    with torch.no_grad():
        found = fixed_point(lambda z: 2.0 * z + 1.0, double([1.0]), solver="damped")
        # There is no fixed point at all: |f(z) - z| >= 1 everywhere.
        none = fixed_point(lambda z: z + 1.0 + z * z, double([0.3]))
    assert found.status == [Status.DIVERGED]
    assert "accelerated" in str(found.status[0])
    assert found.state.isfinite().all()
    assert none.status[0] in (Status.STALLED, Status.DIVERGED, Status.NOT_FINITE)
    assert none.evaluations < 200  # it does not use up the budget on what is hopeless


@pytest.mark.parametrize("solver", ["anderson", "diis", "broyden"])
def test_where_a_solver_gets_lost_another_takes_over(problem, solver):
    f, z = problem("tanh", 2.0, seed=1)
    with torch.no_grad():
        alone = fixed_point(f, z, solver=solver, fallback=False, max_iter=150, tol=1e-8)
        chain = fixed_point(f, z, solver=solver, max_iter=400, tol=1e-8)
    assert chain.converged.all()
    if solver != "broyden":
        assert not alone.converged.all()


def test_unconverged_samples_contribute_no_gradient():
    a = double([0.5], [0.999]).requires_grad_()
    with pytest.warns(UserWarning, match="1 of 2 samples did not converge") as warned:
        found = fixed_point(
            lambda z, a: a * z + 1.0,
            torch.zeros(2, 1, dtype=torch.float64),
            (a,),
            solver="damped",
            max_iter=50,
            tol=1e-10,
        )
    assert warned[0].filename == __file__
    found.state.sum().backward()
    assert found.converged.tolist() == [True, False]
    # d/da 1 / (1 - a) for the first, nothing for the second.
    torch.testing.assert_close(a.grad, double([4.0], [0.0]), rtol=1e-8, atol=0.0)


def test_a_layers_warning_points_at_the_line_that_calls_it():
    """Frames of this package and of torch, which are between, are passed over."""
    cell = nn.Linear(2, 2).double()
    with pytest.warns(UserWarning, match="did not converge") as warned:
        line = sys._getframe().f_lineno + 1
        DEQLayer(cell, tol=1e-12, max_iter=2)(torch.zeros(1, 2, dtype=torch.float64))
    assert (warned[0].filename, warned[0].lineno) == (__file__, line)


@pytest.mark.parametrize("adjoint", ["implicit", "truncated", "unrolled"])
def test_nan_is_refused_by_backward_and_names_the_samples(adjoint):
    w = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    x = double([0.1], [torch.nan], [0.3], [torch.nan])
    with pytest.warns(UserWarning) if adjoint == "implicit" else _nothing():
        found = fixed_point(lambda z, w: w * z + x, torch.zeros_like(x), (w,), adjoint=adjoint)
    with pytest.raises(GradientNotConverged, match="samples 1, 3") as caught:
        found.state.sum().backward()
    assert caught.value.samples.tolist() == [1, 3]
    assert w.grad is None
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


class _nothing:
    def __enter__(self):
        return None

    def __exit__(self, *error):
        return False


def test_a_singular_system_has_no_gradient():
    """At the double root of f(z) - z, I - J is exactly singular."""
    a = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
    found = fixed_point(lambda z, a: z - (z - 1.0) ** 2 + a, double([1.0]), (a,))
    assert found.converged.all()
    with pytest.raises(GradientNotConverged, match="sample 0 of 1"):
        found.state.sum().backward()
    assert a.grad is None


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_nearly_singular_system_is_judged_by_what_is_known(solver):
    """I - J = 1e-7: fine where the fixed point is exact, refused where it is not."""
    rate = 1.0 - 1e-7
    a = double([1e-7]).requires_grad_()

    def f(z, a):
        return rate * z + a

    exact = fixed_point(f, double([1.0]), (a,), adjoint=Implicit("anderson"), solver=solver)
    (slope,) = torch.autograd.grad(exact.state.sum(), a)
    assert slope.item() == pytest.approx(1e7, rel=1e-6)
    # Off by half, and yet of a relative residual of 5e-8.
    rough = fixed_point(f, double([1.5]), (a,), adjoint=Implicit("anderson"), solver=solver)
    assert rough.converged.all()
    with pytest.raises(GradientNotConverged, match="singular to the accuracy"):
        torch.autograd.grad(rough.state.sum(), a)
    assert rough.status == [Status.ILL_CONDITIONED]


def test_samples_without_a_gradient_may_be_dropped():
    rate = double([1.0 - 1e-9], [0.5])
    a = double([1.0], [1.0]).requires_grad_()
    found = fixed_point(
        lambda z, a: rate * z + 1e-9 * a, double([2.0], [2e-9]), (a,), adjoint=Implicit(on_failure="drop")
    )
    assert found.converged.all()
    with pytest.warns(UserWarning, match="no gradient for sample 0 of 2") as warned:
        found.state.sum().backward()
    assert warned[0].filename == __file__
    torch.testing.assert_close(a.grad, double([0.0], [2e-9]))
    assert found.status == [Status.ILL_CONDITIONED, Status.CONVERGED]


def test_an_adjoint_that_does_not_converge_raises(problem):
    f, z = problem("tanh", 0.9, samples=2)
    b = torch.zeros(64, dtype=z.dtype, requires_grad=True)
    found = fixed_point(lambda z, b: f(z) + b, z, (b,), adjoint=Implicit(solver=Damped(), max_iter=3))
    with pytest.raises(GradientNotConverged, match="raise the adjoint's max_iter"):
        found.state.sum().backward()


def test_a_gradient_that_arrives_as_nan_is_refused(cell):
    f, z, w, x = cell
    found = fixed_point(f, z, (w, x))
    with pytest.raises(GradientNotConverged, match="sample 1 of 3"):
        (found.state * double([1.0], [torch.nan], [1.0])).sum().backward()


def test_unrolled_gradients_are_those_of_what_was_computed():
    """Two steps of z -> a z + 1 from z0: a (a z0 + 1) + 1, converged or not."""
    a = double([0.9]).requires_grad_()
    z0 = double([0.3]).requires_grad_()
    found = fixed_point(
        lambda z, a: a * z + 1.0, z0, (a,), solver="damped", adjoint=Unrolled(), tol=0.0, max_iter=3
    )
    assert found.status == [Status.MAX_ITERATIONS]
    for z, value in zip(found.trajectory, (0.3, 1.27, 2.143)):
        assert z.item() == pytest.approx(value)
    slopes = torch.autograd.grad(found.state.sum(), (a, z0), retain_graph=True)
    assert [s.item() for s in slopes] == pytest.approx([2 * 0.9 * 0.3 + 1, 0.81])
    slopes = torch.autograd.grad(found.trajectory[1].sum(), (a, z0))
    assert [s.item() for s in slopes] == pytest.approx([0.3, 0.9])
