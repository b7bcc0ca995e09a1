"""Broyden's good method with limited memory."""

from dataclasses import dataclass

import torch
from torch import Tensor

from deepchem_dft.checks import whole
from deepchem_dft.equilibrium.solvers.base import Ring, combine, rowdot

# An update that would change the length of a step's image by more than this is softened
# (Powell's damping), so that the approximate Jacobian never becomes singular.
_SOFTEN = 0.4


@dataclass(frozen=True)
class Broyden:
    """Quasi-Newton on ``f(z) - z = 0``; the approximate inverse Jacobian starts as -1.

    Every step changes the approximation by rank one so that it explains the step, and by no more
    than that. Less eager than Anderson acceleration, it also solves what that gets lost in.

    Parameters
    ----------
    memory : int
        Updates kept; when it is full the approximation starts afresh. Memory is ``2 * memory``
        states, taken as it is needed.
    patience : int
        Evaluations without a new best residual before another method is tried.

    References
    ----------
    C. G. Broyden, Math. Comp. 19, 577 (1965). Damping of updates: M. J. D. Powell, in Numerical
    Methods for Nonlinear Algebraic Equations (1970), 87.
    """

    memory: int = 100
    patience: int = 60

    def __post_init__(self) -> None:
        whole(1, memory=self.memory, patience=self.patience)

    def start(self) -> "_BroydenRun":
        """Begin a solve."""
        return _BroydenRun(self.memory)


class _BroydenRun:
    """The inverse Jacobian ``H = -1 + sum_i u_i v_i^T`` of every sample."""

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._left, self._right = Ring(memory), Ring(memory)
        self._kept: Tensor | None = None  # (B,), updates in use
        self._last: tuple[Tensor, Tensor] | None = None

    def __call__(self, z: Tensor, residual: Tensor, error: Tensor, restart: Tensor | None) -> Tensor:
        if self._last is not None:
            step, change = z - self._last[0], residual - self._last[1]
            if restart is not None:
                self._forget(restart)
                step, change = (x.masked_fill(restart[:, None], 0.0) for x in (step, change))
            self._learn(step, change)
        self._last = (z, residual)
        return z - self._apply(residual)

    def _apply(self, vector: Tensor, transposed: bool = False) -> Tensor:
        left, right = self._left.vectors, self._right.vectors
        if left is None or right is None:
            return -vector
        if transposed:
            left, right = right, left
        return combine(rowdot(right, vector), left) - vector

    def _learn(self, step: Tensor, change: Tensor) -> None:
        """Update so that ``H change = step``, if need be only partly."""
        if self._kept is None:
            self._kept = torch.zeros(len(step), dtype=torch.long, device=step.device)
        full = self._kept >= self._memory
        if bool(full.any()):
            self._forget(full)
        foreseen = self._apply(change)
        length = (step * step).sum(1, keepdim=True)
        moved = length > 0.0
        length = torch.where(moved, length, 1.0)
        ratio = (step * foreseen).sum(1, keepdim=True) / length
        sign = torch.where(ratio < 0.0, -1.0, 1.0)
        soft = ratio.abs() < _SOFTEN
        share = torch.where(soft, (1.0 - sign * _SOFTEN) / torch.where(soft, 1.0 - ratio, 1.0), 1.0)
        foreseen = share * foreseen + (1.0 - share) * step
        ratio = share * ratio + (1.0 - share)
        ratio = torch.where(moved, ratio, 1.0)
        self._right.push(self._apply(step, transposed=True))
        self._left.push((step - foreseen) / (ratio * length))
        self._kept = self._kept + 1

    def _forget(self, rows: Tensor) -> None:
        self._left.forget(rows)
        self._right.forget(rows)
        if self._kept is not None:
            self._kept = self._kept.masked_fill(rows, 0)
