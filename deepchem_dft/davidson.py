"""The lowest eigenvectors of a large symmetric matrix that is only known by what it does."""

from collections.abc import Callable

import torch
from torch import Tensor

#: Denominators of the preconditioner stay away from zero by this much, in the unit of the matrix.
_CLOSEST = 0.02
#: What is shorter than this after the known vectors have been taken out of it holds nothing new.
_NOTHING_NEW = 1e-10


def lowest(
    apply: Callable[[Tensor], Tensor],
    diagonal: Tensor,
    start: Tensor,
    count: int = 1,
    *,
    tol: float,
    max_products: int,
    subspace: int = 60,
    project: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Find the lowest eigenvalues and their eigenvectors by Davidson's method.

    Parameters
    ----------
    apply : callable
        Matrix times vector, shape (n,).
    diagonal : Tensor, shape (n,)
        Of the matrix, or nearly.
    start : Tensor, shape (k, n), k >= count
        First guesses, independent and not orthogonal to the answers.
    count : int
    tol : float
        Norm of a residual, in the unit of the matrix. Eigenvalues are good to its square.
    max_products : int
        Products after which the search ends where it is; the last round may take a few more.
    subspace : int
        Vectors kept before they are collapsed to the best few.
    project : callable, optional
        Keeps what has the right symmetry of a vector. Without it, rounding lets in lower states
        of another symmetry than that of ``start``.

    Returns
    -------
    values : Tensor, shape (count,)
    vectors : Tensor, shape (count, n), orthonormal
    residuals : Tensor, shape (count,)
        Norms; below ``tol`` where the search has converged.

    References
    ----------
    Davidson, J. Comput. Phys. 17, 87 (1975); Olsen, Jorgensen, Simons, Chem. Phys. Lett. 169, 463
    (1990) for the correction vector.

    Examples
    --------
    >>> matrix = torch.diag(torch.tensor([3.0, 1.0, 2.0])) + 0.1
    >>> start = torch.ones(1, 3)
    >>> values, _, _ = lowest(lambda v: matrix @ v, matrix.diagonal(), start, tol=1e-5, max_products=9)
    >>> bool((values - torch.linalg.eigvalsh(matrix)[:1]).abs() < 1e-6)
    True
    """
    size = start.shape[1]
    width = min(max(subspace, 4 * count, len(start)), size)
    vectors, images, known = start.new_empty(width, size), start.new_empty(width, size), 0
    new = start
    while True:
        before = known
        for candidate in new:
            direction = candidate / candidate.norm()
            for _ in range(2):  # once is not enough in floating point
                direction = direction - (vectors[:known] @ direction) @ vectors[:known]
                length = float(direction.norm())
                if length < _NOTHING_NEW:
                    break
                direction = direction / length
            if length >= _NOTHING_NEW and known < width:
                vectors[known], images[known] = direction, apply(direction)
                known, max_products = known + 1, max_products - 1
        basis, image = vectors[:known], images[:known]
        small = basis @ image.T
        values, mixtures = torch.linalg.eigh(0.5 * (small + small.T))
        values, best = values[:count], mixtures[:, :count].T
        found = best @ basis
        residual = best @ image - values[:, None] * found
        norms = residual.norm(dim=1)
        wrong = norms > tol
        if not bool(wrong.any()) or max_products <= 0 or known in (before, size):
            return values, found, norms
        gap = diagonal - values[wrong, None]
        gap = torch.where(gap.abs() < _CLOSEST, _CLOSEST, gap)
        new, scaled = residual[wrong] / gap, found[wrong] / gap
        overlap = (found[wrong] * scaled).sum(1)
        shift = (found[wrong] * new).sum(1) / torch.where(overlap == 0.0, torch.inf, overlap)
        new = new - shift[:, None] * scaled
        if project is not None:
            new = torch.stack([project(v) for v in new])
        if known + len(new) > width:
            kept = mixtures[:, : min(max(2 * count, 6), width - len(new))].T
            collapsed = kept @ basis, kept @ image
            known = len(kept)
            vectors[:known], images[:known] = collapsed
