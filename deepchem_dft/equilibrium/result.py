"""What a fixed-point solve returns: the state, how good it is, and what to try where it is not."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from torch import Tensor


class Status(StrEnum):
    """How one sample ended; the value says what to try next."""

    CONVERGED = "converged"
    MAX_ITERATIONS = "stopped at the limit of evaluations: raise max_iter, or start closer"
    STALLED = (
        "no method made progress any more: the map may have no fixed point in reach, or be noisier "
        "than tol; bound the map, start elsewhere, or loosen tol"
    )
    DIVERGED = (
        "the residual grew without bound: use an accelerated solver, a smaller mixing, or bound "
        "the map (spectral normalisation, a Jacobian penalty)"
    )
    NOT_FINITE = "the map returned NaN or infinity: check this sample's input and the map's weights"
    ILL_CONDITIONED = (
        "I - J is singular to the accuracy of the fixed point, so its gradient is not determined: "
        "tighten tol, use float64, or bound the map"
    )
    GRADIENT_NOT_CONVERGED = (
        "the adjoint equations did not converge: raise the adjoint's max_iter, loosen its tol, "
        "or bound the map"
    )


#: Statuses by the number that stands for them in tensors.
CODES = list(Status)


def code(status: Status) -> int:
    """Return the number of a status."""
    return CODES.index(status)


@dataclass
class Equilibrium:
    """A fixed point of every sample, or the closest that was found.

    Attributes
    ----------
    state : Tensor or nested dict, list or tuple of Tensor
        The best iterate of each sample, structured like the start; carries gradients.
    converged : Tensor of bool, shape (B,)
    residual : Tensor, shape (B,)
        ``|f(z) - z| / (|f(z)| + 1e-9)`` at ``state``; infinite where ``f`` was never finite.
    iterations : Tensor of int, shape (B,)
        Evaluations each sample needed until it stopped.
    evaluations : int
        Calls of ``f`` until all samples had stopped: the largest of ``iterations``.
    history : Tensor, shape (evaluations, B)
        Relative residuals; NaN once a sample had stopped.
    codes : Tensor of int, shape (B,)
        Numbers of the statuses; see :attr:`status`.
    trajectory : list or None
        All iterates, with gradients, where the adjoint is unrolled.
    """

    state: Any
    converged: Tensor
    residual: Tensor
    iterations: Tensor
    evaluations: int
    history: Tensor = field(repr=False)
    codes: Tensor = field(repr=False)
    trajectory: list[Any] | None = field(default=None, repr=False)

    @property
    def status(self) -> list[Status]:
        """How each sample ended. A backward pass may change it: see ``Implicit.on_failure``."""
        return [CODES[number] for number in self.codes.tolist()]
