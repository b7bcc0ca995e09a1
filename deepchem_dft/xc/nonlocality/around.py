r"""Functions around nuclei: from points of the quadrature to atoms, and from atoms to points.

.. math::

    \chi_{klm}(r) = \left(1 - \frac{r^2}{R^2}\right)^4 \alpha_k^{l/2} e^{-\alpha_k r^2} Y_{lm}(r), \quad r < R

with real solid harmonics Y. They have no kink at the nucleus and three continuous derivatives at the
cutoff R. Sums over points and over functions are each other's adjoint, so the derivatives of both, of
any order, are such sums again; functions are made anew wherever they are needed, and kept only for
densities that are asked for their energy again and again, if they take little room.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from deepchem_dft.errors import FunctionalError

# Points at a time: their functions stay in the cache of a core.
_ROWS = 1024
#: Most bytes of functions that are kept for one density.
MOST_KEPT = 2**24


class Around(NamedTuple):
    """Which functions there are around every nucleus.

    Attributes
    ----------
    exponents : tuple of float
        1/Bohr^2, K of them.
    degree : int
        Highest l, at most 3.
    cutoff : float
        Bohr.
    dtype : torch.dtype
        Precision of the functions and of sums over them.
    """

    exponents: tuple[float, ...]
    degree: int
    cutoff: float
    dtype: torch.dtype

    @property
    def size(self) -> int:
        """Number of functions at a nucleus, K (degree + 1)^2."""
        return len(self.exponents) * (self.degree + 1) ** 2

    def functions(self, vectors: Tensor) -> Tensor:
        """Return the functions (F, g), but for factors of alpha, at (3, g) relative to a nucleus, Bohr."""
        harmonics = solid_harmonics(vectors, self.degree)
        square = vectors.square().sum(0)
        alpha = torch.tensor(self.exponents, dtype=vectors.dtype, device=vectors.device)
        inside = (1.0 - square / self.cutoff**2).clamp(min=0.0).square().square()
        radial = torch.exp(-alpha[:, None] * square) * inside
        return (radial[:, None] * harmonics).flatten(0, 1)

    def scales(self, like: Tensor) -> Tensor:
        """Return alpha^(l/2) of every function, (F,)."""
        alpha = torch.tensor(self.exponents, dtype=like.dtype, device=like.device)
        degrees = range(self.degree + 1)
        powers = torch.tensor([l / 2 for l in degrees for _ in range(2 * l + 1)]).to(alpha)
        return (alpha[:, None] ** powers).flatten()

    def split(self, values: Tensor) -> list[Tensor]:
        """Split the last axis (F) into one part for each l, (..., K, 2 l + 1)."""
        parts = values.unflatten(-1, (len(self.exponents), -1))
        return list(parts.split([2 * l + 1 for l in range(self.degree + 1)], dim=-1))

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """Undo :meth:`split`."""
        return torch.cat(list(parts), dim=-1).flatten(-2)


def solid_harmonics(vectors: Tensor, degree: int) -> Tensor:
    """Return r^l times real spherical harmonics, whose squares sum to r^(2 l) for each l.

    Parameters
    ----------
    vectors : Tensor, shape (3, g)
    degree : int
        At most 3.

    Returns
    -------
    Tensor, shape ((degree + 1)^2, g)

    Examples
    --------
    >>> solid_harmonics(torch.tensor([[0.0], [0.0], [2.0]]), 2)[:, 0].tolist()
    [1.0, 0.0, 0.0, 2.0, 0.0, 0.0, 4.0, 0.0, 0.0]
    """
    x, y, z = vectors
    rows = [torch.ones_like(x)]
    if degree > 0:
        rows += [x, y, z]
    if degree > 1:
        xx, yy, zz = x * x, y * y, z * z
        root = math.sqrt(3.0)
        rows += [root * x * y, root * y * z, zz - 0.5 * (xx + yy), root * x * z, 0.5 * root * (xx - yy)]
    if degree > 2:
        five, three, fifteen = math.sqrt(5 / 8), math.sqrt(3 / 8), math.sqrt(15.0)
        belt = 4.0 * zz - xx - yy  # 5 z^2 - r^2
        rows += [
            five * y * (3.0 * xx - yy),
            fifteen * x * y * z,
            three * y * belt,
            z * (zz - 1.5 * (xx + yy)),
            three * x * belt,
            0.5 * fifteen * z * (xx - yy),
            five * x * (xx - 3.0 * yy),
        ]
    return torch.stack(rows)


class Near:
    """Nuclei with the points within the cutoff, and the functions there.

    Parameters
    ----------
    points, positions : Tensor, shape (G, 3) and (A, 3), Bohr
    around : Around
    keep : bool
        Keep the functions if they take at most ``MOST_KEPT`` bytes; else they are made at each use.
    """

    def __init__(self, points: Tensor, positions: Tensor, around: Around, *, keep: bool = False) -> None:
        self.points, self.positions, self.around = points.detach(), positions.detach(), around
        self._kept: list[tuple[int, Tensor, Tensor]] | None = None
        if keep and self._size() <= MOST_KEPT:
            self._kept = list(self._made(len(points)))

    def __iter__(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield nuclei (indices) with points (indices) and functions, shape (F, points)."""
        yield from self._made(_ROWS) if self._kept is None else self._kept

    def _size(self) -> int:
        pairs = (torch.cdist(self.points, self.positions) < self.around.cutoff).sum()
        return int(pairs) * self.around.size * self.around.dtype.itemsize

    def _made(self, rows: int) -> Iterator[tuple[int, Tensor, Tensor]]:
        around = self.around
        for atom, some in _neighbours(self.points, self.positions, around.cutoff, rows):
            vectors = (self.points[some] - self.positions[atom]).T.to(around.dtype)
            yield atom, some, around.functions(vectors)


def gathered(
    signals: Tensor, points: Tensor, positions: Tensor, around: Around, near: Near | None = None
) -> Tensor:
    """Sum signals at points times the functions around every nucleus.

    Parameters
    ----------
    signals : Tensor, shape (G, C)
    points, positions : Tensor, shape (G, 3) and (A, 3), Bohr
        Differentiable once, and not together with another derivative.
    around : Around
    near : Near, optional
        Of these points and nuclei, if it is at hand.

    Returns
    -------
    Tensor, shape (A, C, F)
    """
    near = Near(points, positions, around) if near is None else near
    return _Gathered.apply(signals, points, positions, near) * around.scales(signals)


def scattered(
    coefficients: Tensor, points: Tensor, positions: Tensor, around: Around, near: Near | None = None
) -> Tensor:
    """Sum the functions around all nuclei, each times its coefficients, at every point.

    Parameters
    ----------
    coefficients : Tensor, shape (A, C, F)
    points, positions, around, near
        As in :func:`gathered`.

    Returns
    -------
    Tensor, shape (G, C)
    """
    near = Near(points, positions, around) if near is None else near
    return _Scattered.apply(coefficients * around.scales(coefficients), points, positions, near)


def _neighbours(
    points: Tensor, positions: Tensor, cutoff: float, rows: int = _ROWS
) -> Iterator[tuple[int, Tensor]]:
    """Yield nuclei with the points (indices) within the cutoff, few at a time."""
    for atom, position in enumerate(positions):
        close = ((points - position).square().sum(1) < cutoff**2).nonzero().flatten()
        for some in close.split(rows):
            yield atom, some


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx, signals: Tensor, points: Tensor, positions: Tensor, near: Near) -> Tensor:
        ctx.save_for_backward(signals, points, positions)
        ctx.near = near
        out = signals.new_zeros(len(positions), signals.shape[1], near.around.size)
        for atom, some, functions in near:
            out[atom] += (functions @ signals[some]).T
        return out

    @staticmethod
    def backward(ctx, weights: Tensor):
        signals, points, positions = ctx.saved_tensors
        back = _Scattered.apply(weights, points, positions, ctx.near) if ctx.needs_input_grad[0] else None
        return back, *_moved(ctx, 1, signals, weights, points, positions), None


class _Scattered(torch.autograd.Function):
    @staticmethod
    def forward(ctx, coefficients: Tensor, points: Tensor, positions: Tensor, near: Near) -> Tensor:
        ctx.save_for_backward(coefficients, points, positions)
        ctx.near = near
        out = coefficients.new_zeros(len(points), coefficients.shape[1])
        for atom, some, functions in near:
            out.index_add_(0, some, (coefficients[atom] @ functions).T)
        return out

    @staticmethod
    def backward(ctx, weights: Tensor):
        coefficients, points, positions = ctx.saved_tensors
        back = _Gathered.apply(weights, points, positions, ctx.near) if ctx.needs_input_grad[0] else None
        return back, *_moved(ctx, 1, weights, coefficients, points, positions), None


def _moved(
    ctx, first: int, signals: Tensor, coefficients: Tensor, points: Tensor, positions: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    if not any(ctx.needs_input_grad[first : first + 2]):
        return None, None
    return _Moved.apply(signals, coefficients, points, positions, ctx.near.around)


class _Moved(torch.autograd.Function):
    """Derivative of ``sum signals functions coefficients`` by points and by nuclei; it has none."""

    @staticmethod
    def forward(ctx, signals, coefficients, points, positions, around):
        by_points, by_positions = torch.zeros_like(points), torch.zeros_like(positions)
        for atom, some in _neighbours(points, positions, around.cutoff):
            with torch.enable_grad():
                vectors = (points[some] - positions[atom]).T.to(around.dtype).detach().requires_grad_()
                value = (around.functions(vectors) * (signals[some] @ coefficients[atom]).T).sum()
                slope = torch.autograd.grad(value, vectors)[0].T.to(points.dtype)
            by_points.index_add_(0, some, slope)
            by_positions[atom] -= slope.sum(0)
        return by_points, by_positions

    @staticmethod
    def backward(ctx, *_):
        raise FunctionalError(
            "a nonlocal network has one derivative by the points, and none of forces",
            field="xc",
            remedy="train on energies and densities",
        )
