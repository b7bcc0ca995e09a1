"""What all adjoints share: the interface, and how a gradient is hung onto a finished solve."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor

from deepchem_dft.equilibrium.driver import Trace, drive
from deepchem_dft.equilibrium.solvers import Damped, Solver
from deepchem_dft.errors import GradientNotConverged


@dataclass
class FixedPointProblem:
    """A fixed-point problem on matrices with a row per sample, and how it is to be solved."""

    f: Callable[..., Tensor]  # (B, D), *inputs to (B, D)
    inputs: tuple[Tensor, ...]
    start: Tensor  # (B, D)
    solvers: Sequence[Solver]
    tol: float  # 0: to rounding
    max_iter: int
    eps: float  # machine precision of the state
    rounding: float  # relative residuals below this are rounding
    error: Callable[[Tensor, Tensor], Tensor] | None = None

    def drive(self, keep: bool = False) -> Trace:
        """Solve it."""
        # Derivatives lag behind, so that plain steps go on; what accelerated solvers mix where only
        # rounding is left has no derivative worth the name.
        linger = keep and not self.tol and isinstance(self.solvers[0], Damped)
        return drive(
            lambda z: self.f(z, *self.inputs),
            self.start,
            self.solvers,
            tol=self.tol or self.rounding,
            max_iter=self.max_iter,
            error=self.error,
            keep=keep,
            linger=linger,
        )


class Adjoint(Protocol):
    """A way to differentiate a fixed point."""

    def solve(self, problem: FixedPointProblem) -> tuple[Tensor, Trace]:
        """Return the fixed points (B, D) with gradients attached, and how they were found."""


class _Attach(torch.autograd.Function):
    """Has the value of one tensor and the gradient of another, unless samples are broken."""

    @staticmethod
    def forward(ctx: Any, source: Tensor, value: Tensor, broken: Tensor) -> Tensor:
        ctx.broken = broken if bool(broken.any()) else None
        return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        if ctx.broken is not None:
            refuse(ctx.broken)
        return gradient, None, None


def attach(source: Tensor, value: Tensor, broken: Tensor) -> Tensor:
    """Return ``value`` with the gradient of ``source``, both (B, D); detached if it has none.

    The backward pass raises if samples are ``broken``, mask of shape (B,).
    """
    return _Attach.apply(source, value.detach(), broken) if source.requires_grad else value


def broken_rows(image: Tensor) -> Tensor:
    """Return which samples, mask of shape (B,), are not finite."""
    return ~torch.isfinite(image.detach()).all(1)


def refuse(broken: Tensor) -> NoReturn:
    """Raise because some samples, mask of shape (B,), would spoil everybody's gradient."""
    raise GradientNotConverged(
        f"the map is not finite for {name_samples(broken)}, which turns the gradient of everything "
        "shared into NaN: leave them out, or check their input and the map's weights",
        broken.nonzero()[:, 0],
    )


def name_samples(rows: Tensor) -> str:
    """Return the numbers of marked samples as text, the first few of them."""
    numbers = rows.nonzero()[:, 0].tolist()
    shown = ", ".join(map(str, numbers[:8])) + (", ..." if len(numbers) > 8 else "")
    return f"sample{'s' if len(numbers) > 1 else ''} {shown}"
