"""What all solvers share: the interface, memories of past steps, scaled least squares."""

from typing import Protocol

import torch
from torch import Tensor


class Run(Protocol):
    """One solve under way; rows of its matrices are independent samples."""

    def __call__(self, z: Tensor, residual: Tensor, error: Tensor, restart: Tensor | None) -> Tensor:
        """Propose the next iterates.

        Parameters
        ----------
        z, residual : Tensor, shape (B, D)
            Iterates, and ``f(z) - z`` there.
        error : Tensor, shape (B, E)
            What the user calls the error; the residual unless said otherwise.
        restart : Tensor of bool, shape (B,), or None
            Samples that were put back, so that what was remembered of them means nothing.

        Returns
        -------
        Tensor, shape (B, D)
        """


class Solver(Protocol):
    """The settings of a method. ``start`` begins a solve, which remembers things; this does not."""

    @property
    def patience(self) -> int:
        """Evaluations without a new best residual before another method is worth trying."""

    def start(self) -> Run:
        """Begin a solve."""


class Ring:
    """The last few vectors of every sample; zero where there is none."""

    def __init__(self, capacity: int) -> None:
        self._capacity, self._pushed = capacity, 0
        self._buffer: Tensor | None = None

    @property
    def vectors(self) -> Tensor | None:
        """All of them, shape (B, k, D), in no particular order; None before the first."""
        return None if self._buffer is None else self._buffer[:, : self._pushed]

    def push(self, vector: Tensor, minus: Tensor | None = None) -> None:
        """Add one vector per sample, or a difference of two, (B, D), in place of the oldest."""
        slot = self._pushed % self._capacity
        self._pushed += 1
        if torch.is_grad_enabled():
            self._append(slot, vector if minus is None else vector - minus)
            return
        if self._buffer is None or slot >= self._buffer.shape[1]:
            # Memory grows with use: a long one costs nothing in short solves.
            grown = vector.new_empty(len(vector), min(max(2 * slot, 4), self._capacity), vector.shape[1])
            if self._buffer is not None:
                grown[:, :slot] = self._buffer
            self._buffer = grown
        if minus is None:
            self._buffer[:, slot] = vector
        else:
            torch.sub(vector, minus, out=self._buffer[:, slot])

    def _append(self, slot: int, vector: Tensor) -> None:
        """Do it without writing over anything that a gradient may need."""
        if self._buffer is None:
            self._buffer = vector[:, None]
        elif slot == self._buffer.shape[1]:
            self._buffer = torch.cat([self._buffer, vector[:, None]], 1)
        else:
            self._buffer = torch.select_scatter(self._buffer, vector, 1, slot)

    def forget(self, rows: Tensor) -> None:
        """Clear some samples, mask of shape (B,)."""
        if self._buffer is not None:
            self._buffer = self._buffer.masked_fill(rows[:, None, None], 0.0)


def rowdot(vectors: Tensor, vector: Tensor) -> Tensor:
    """Scalar products of k vectors (B, k, D) with one (B, D), shape (B, k)."""
    return torch.bmm(vector[:, None], vectors.mT)[:, 0]


def combine(weights: Tensor, vectors: Tensor) -> Tensor:
    """Sum of k vectors (B, k, D) with weights (B, k), shape (B, D)."""
    return torch.bmm(weights[:, None], vectors)[:, 0]


def least_squares(columns: Tensor, right: Tensor, regularisation: float | None) -> Tensor:
    """Weights w that minimise ``|right - sum_i w_i columns_i|``, shape (B, k).

    Columns are brought to length one first, so that one *relative* regularisation suits all sizes:
    what is linearly dependent to that precision is not told apart, and small residuals are treated
    exactly as large ones. (An absolute one turns the weights into a plain average as soon as
    residuals are small.)

    Parameters
    ----------
    columns : Tensor, shape (B, k, E)
        Of any length; zero gives a weight of zero.
    right : Tensor, shape (B, E)
    regularisation : float or None
        Added to the diagonal of the normal equations; default 100 times machine precision.
    """
    if regularisation is None:
        regularisation = 100.0 * torch.finfo(columns.dtype).eps
    system = torch.bmm(columns, columns.mT)
    square = system.diagonal(dim1=1, dim2=2)
    # Raising the diagonal by a share of itself is the same as scaling columns to length one and
    # adding that share, and Cholesky's decomposition does not feel the scale of columns.
    square.copy_(torch.where(square > 0.0, square * (1.0 + regularisation), 1.0))
    factor, _ = torch.linalg.cholesky_ex(system)
    return torch.cholesky_solve(rowdot(columns, right)[:, :, None], factor)[:, :, 0]
