"""Gradients of a fixed point from the implicit function theorem, and which solutions are gradients."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from deepchem_dft.checks import reachable, tolerance, warn, whole
from deepchem_dft.equilibrium.adjoints.base import FixedPointProblem, broken_rows, name_samples, refuse
from deepchem_dft.equilibrium.adjoints.leaves import GradientSwitch, captured_leaves, graph_freed
from deepchem_dft.equilibrium.driver import Trace, drive
from deepchem_dft.equilibrium.result import CODES, Status, code
from deepchem_dft.equilibrium.solvers import Solver, chain_of
from deepchem_dft.errors import GradientNotConverged, InputError

# Where errors of the fixed point, amplified, reach this fraction of it, it has no gradient.
_DETERMINED = 0.1
# Residuals of the adjoint cannot become smaller than this many roundings of its solution.
_ROUNDINGS = 100.0


@dataclass(frozen=True)
class GradientCheck:
    """Refuses, or drops, samples whose gradient is not determined.

    Parameters
    ----------
    eps : float
        Machine precision of the state.
    drop : bool
        Leave such samples out and warn, rather than raise. The status says so either way.
    """

    eps: float
    drop: bool

    def __call__(self, found: Trace, right: Tensor, trace: Trace) -> None:
        """Check solutions ``found`` of adjoints with right-hand sides (B, D) of ``trace``.

        Raises
        ------
        GradientNotConverged
            If a sample is refused.
        """
        size = right.norm(dim=1)
        # |u| / |g| bounds |(I - J)^-1| from below: so much is every error of z* amplified.
        amplified = found.z.norm(dim=1) / torch.where(size > 0.0, size, 1.0)
        error = amplified * trace.residual.clamp_min(_ROUNDINGS * self.eps)
        vague = error > _DETERMINED
        failed = (vague | ~found.converged) & (size != 0.0)
        if not bool(failed.any()):
            return
        why = torch.where(vague, code(Status.ILL_CONDITIONED), code(Status.GRADIENT_NOT_CONVERGED))
        why = torch.where(found.codes == code(Status.NOT_FINITE), found.codes, why)
        found.codes = torch.where(failed, why, found.codes)
        trace.codes.copy_(torch.where(failed, why, trace.codes))
        first = CODES[int(why[failed][0])]
        message = f"no gradient for {name_samples(failed)} of {len(failed)}: {first}"
        if not self.drop:
            raise GradientNotConverged(message, failed.nonzero()[:, 0])
        warn(message + " (they contribute none)")


def relative_to_right(right: Tensor, tol: float, eps: float) -> Callable[[Tensor], Tensor]:
    """Return the size that residuals of an adjoint are compared with: that of its right side.

    Not of its solution, which is large exactly where the system is ill-conditioned; that only
    enters with what rounding makes of it.
    """
    length = right.norm(dim=1) + torch.finfo(right.dtype).tiny
    roundings = _ROUNDINGS * eps / tol if tol > 0.0 else 0.0
    return lambda image: length + roundings * image.norm(dim=1)


@dataclass(frozen=True)
class Implicit:
    r"""Solve :math:`u = J^T u + g` at the fixed point: the exact gradient, at constant memory.

    ``J`` is the Jacobian of ``f`` at ``z*`` and ``g`` the gradient that arrives there; what leaves
    is :math:`u^T \partial f / \partial \theta`. The adjoint is a fixed point itself and is solved
    and differentiated like one, so derivatives of any order are right.

    Samples that have not converged contribute no gradient. Beyond the solve, this costs one
    evaluation of the map forward and one backward, besides the products with ``J^T``.

    Parameters
    ----------
    solver : str or Solver, optional
        For the adjoint; default the one that found the fixed point.
    tol : float, optional
        On ``|J^T u + g - u| / |g|``; default that of the fixed point. 0: to rounding.
    max_iter : int, optional
        Bound on products with ``J^T``; default that of the fixed point.
    on_failure : "raise" or "drop"
        What a backward pass does about samples whose adjoint does not converge or is
        ill-conditioned: raise ``GradientNotConverged``, or leave them out and warn.
        ``Equilibrium.status`` says so either way.

    References
    ----------
    S. Bai, J. Z. Kolter and V. Koltun, Deep equilibrium models, NeurIPS 32 (2019).
    """

    solver: str | Solver | None = None
    tol: float | None = None
    max_iter: int | None = None
    on_failure: str = "raise"

    def __post_init__(self) -> None:
        if self.solver is not None:
            chain_of(self.solver)
        if self.tol is not None:
            tolerance(tol=self.tol)
        if self.max_iter is not None:
            whole(1, max_iter=self.max_iter)
        if self.on_failure not in ("raise", "drop"):
            raise InputError(
                f"on_failure is {self.on_failure!r}", field="on_failure", remedy="'raise' or 'drop'"
            )

    def solve(self, problem: FixedPointProblem) -> tuple[Tensor, Trace]:
        """Return the fixed points (B, D) with gradients attached, and how they were found."""
        with torch.no_grad():
            trace = problem.drive()
        if not torch.is_grad_enabled():
            return trace.z, trace
        adjoint = replace(
            problem,
            solvers=problem.solvers if self.solver is None else chain_of(self.solver),
            tol=reachable(problem.tol if self.tol is None else self.tol, problem.rounding),
            max_iter=self.max_iter or problem.max_iter,
        )
        state = differentiable(adjoint, trace, GradientCheck(adjoint.eps, self.on_failure == "drop"))
        if state.requires_grad and not bool(trace.converged.all()):
            warn(
                f"{int((~trace.converged).sum())} of {len(trace.codes)} samples did not converge "
                "and contribute no gradient (see Equilibrium.status)"
            )
        return state, trace


def differentiable(problem: FixedPointProblem, trace: Trace, check: GradientCheck) -> Tensor:
    """Return fixed points (B, D) that pass gradients to all that the map depends on.

    That is its inputs, and trainable tensors it captured: those are found in the graph of one
    evaluation.
    """
    z = trace.z.detach()
    copies = [t.detach().requires_grad_(t.requires_grad) for t in problem.inputs]
    image = problem.f(z, *copies)
    if not image.requires_grad:
        return z
    captured = captured_leaves(image, copies)
    pull = _Pull(problem, trace, check, broken_rows(image))
    return _FixedPoint.apply(pull, z, *problem.inputs, *captured)


class _FixedPoint(torch.autograd.Function):
    """Has the value of a fixed point; what its gradient becomes is left to :class:`_Pull`."""

    @staticmethod
    def forward(ctx: Any, pull: "_Pull", z: Tensor, *tensors: Tensor) -> Tensor:
        output = z.clone()
        ctx.pull = pull
        ctx.set_materialize_grads(False)
        # Saved as output, it comes back with its own gradient: second derivatives need that.
        ctx.save_for_backward(output, *tensors)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None) -> Any:  # type: ignore[override]
        z, *tensors = ctx.saved_tensors
        if gradient is None:
            return None, None, *(None for _ in tensors)
        return None, None, *ctx.pull(gradient, z, tensors)


@dataclass
class _Pull:
    """From the gradient that arrives at fixed points to those of everything they depend on."""

    problem: FixedPointProblem
    trace: Trace
    check: GradientCheck
    broken: Tensor  # (B,), where the map is not finite

    def __call__(self, gradient: Tensor, z: Tensor, tensors: list[Tensor]) -> list[Tensor | None]:
        if bool(self.broken.any()):
            refuse(self.broken)
        again = torch.is_grad_enabled()  # somebody wants to differentiate the result
        # Where a sample has not converged nothing is known: not even how wrong it would be.
        gradient = torch.where(self.trace.converged[:, None], gradient, 0.0)
        count, switch = len(self.problem.inputs), GradientSwitch()
        inputs: list[Tensor] = tensors[:count]
        with torch.enable_grad():
            if again:  # nodes of their own: direct dependence is all that counts here
                point, copies = switch(z), [t.view_as(t) for t in inputs]
            else:
                point = z.detach().requires_grad_()
                copies = [t.detach().requires_grad_(t.requires_grad) for t in inputs]
            image = self.problem.f(point, *copies)
        solution = self._adjoint(image, point, gradient)
        if again:
            solution = self._differentiable(solution, gradient, z, inputs)
        sources = [*copies, *tensors[count:]]
        wanted = [t for t in sources if t.requires_grad]
        with switch.closed(), graph_freed():
            found = iter(
                torch.autograd.grad(
                    image, wanted, solution.z, retain_graph=True, create_graph=again, allow_unused=True
                )
            )
        return [next(found) if t.requires_grad else None for t in sources]

    def _adjoint(self, image: Tensor, point: Tensor, gradient: Tensor) -> Trace:
        """Solve ``u = J^T u + gradient``."""
        with torch.no_grad():
            # The system is linear, so its numbers may be of any size: make them ordinary ones.
            scale = gradient.abs().sum(1, keepdim=True)
            scale = torch.where(scale > 0.0, scale, 1.0)
            right = gradient / scale
            found = drive(
                lambda u: transposed(image, point, u) + right,
                right,
                self.problem.solvers,
                tol=self.problem.tol,
                max_iter=self.problem.max_iter,
                size=relative_to_right(right, self.problem.tol, self.problem.eps),
            )
            self.check(found, right, self.trace)
            found.z = torch.where(found.converged[:, None], found.z * scale, 0.0)
        return found

    def _differentiable(self, found: Trace, gradient: Tensor, z: Tensor, inputs: list[Tensor]) -> Trace:
        """Attach gradients to the adjoint's solution: it is the fixed point of another map."""
        f = self.problem.f

        def adjoint(u: Tensor, gradient: Tensor, z: Tensor, *inputs: Tensor) -> Tensor:
            with torch.enable_grad():
                point = z.view_as(z) if z.requires_grad else z.detach().requires_grad_()
                image = f(point, *inputs)
            return transposed(image, point, u) + gradient

        problem = replace(self.problem, f=adjoint, inputs=(gradient, z, *inputs))
        return replace(found, z=differentiable(problem, found, self.check))


def transposed(image: Tensor, point: Tensor, u: Tensor) -> Tensor:
    """Return ``J^T u`` (B, D), differentiable if gradients are on."""
    if not image.requires_grad:
        return torch.zeros_like(u)
    (result,) = torch.autograd.grad(
        image, point, u, retain_graph=True, allow_unused=True, create_graph=torch.is_grad_enabled()
    )
    return torch.zeros_like(u) if result is None else result
