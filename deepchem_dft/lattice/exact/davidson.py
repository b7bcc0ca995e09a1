"""The lowest eigenvector of a large symmetric matrix that is only known by what it does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from deepchem_dft.errors import ExactNotConverged

#: Vectors kept before the subspace is collapsed to the best few.
_SUBSPACE, _BEST = 24, 6
#: Denominators of the preconditioner stay away from zero by this much, Hartree.
_CLOSEST = 1e-2


def lowest(
    apply: Callable[[np.ndarray], np.ndarray],
    diagonal: np.ndarray,
    start: np.ndarray,
    *,
    tol: float,
    max_iter: int = 100,
    name: str = "",
    project: Callable[[np.ndarray], np.ndarray] | None = None,
) -> tuple[float, np.ndarray]:
    """Return the lowest eigenvalue and its normalised eigenvector, by Davidson's method.

    Parameters
    ----------
    apply : callable
        Matrix times vector; vectors are arrays of any one shape.
    diagonal : ndarray
        Of the matrix, or nearly; same shape.
    start : ndarray
        First guess; must not be orthogonal to the answer.
    tol : float
        Norm of the residual, in units of the eigenvalue. The eigenvalue is good to its square.
    max_iter : int
    name : str
        Of the system, for the message.
    project : callable, optional
        Keeps what has the right symmetry of a vector. Without it, rounding lets in lower states
        of another symmetry than that of ``start``.

    Returns
    -------
    value : float
    vector : ndarray

    Raises
    ------
    ExactNotConverged

    References
    ----------
    Davidson, J. Comput. Phys. 17, 87 (1975); Olsen, Jorgensen, Simons, Chem. Phys. Lett. 169, 463
    (1990) for the correction vector.

    Examples
    --------
    >>> matrix = np.diag([3.0, 1.0, 2.0]) + 0.1
    >>> value, _ = lowest(lambda v: matrix @ v, np.diag(matrix), np.ones(3), tol=1e-10)
    >>> bool(abs(value - np.linalg.eigvalsh(matrix)[0]) < 1e-12)
    True
    """
    shape, diagonal = start.shape, diagonal.ravel()
    vectors, images = np.empty((_SUBSPACE, start.size)), np.empty((_SUBSPACE, start.size))
    vectors[0] = start.ravel() / np.linalg.norm(start)
    images[0] = apply(vectors[0].reshape(shape)).ravel()
    known = 1
    for _ in range(max_iter):
        basis, image = vectors[:known], images[:known]
        small = basis @ image.T
        values, mixtures = np.linalg.eigh((small + small.T) / 2)
        value, mixture = float(values[0]), mixtures[:, 0]
        vector = mixture @ basis
        new = mixture @ image - value * vector
        norm = float(np.linalg.norm(new))
        if norm < tol:
            return value, vector.reshape(shape)
        gap = diagonal - value
        gap[np.abs(gap) < _CLOSEST] = _CLOSEST
        scaled = vector / gap
        new /= gap
        new -= scaled * ((vector @ new) / (vector @ scaled))
        if project is not None:
            new = project(new.reshape(shape)).ravel()
        if known == _SUBSPACE:
            best = mixtures[:, :_BEST].T
            vectors[:_BEST], images[:_BEST], known = best @ basis, best @ image, _BEST
        for _ in range(2):  # once is not enough in floating point
            new -= (vectors[:known] @ new) @ vectors[:known]
        vectors[known] = new / np.linalg.norm(new)
        images[known] = apply(vectors[known].reshape(shape)).ravel()
        known += 1
    raise ExactNotConverged(
        f"{name + ': ' if name else ''}the exact solution did not converge in {max_iter} "
        f"iterations: residual {norm:.1e}, wanted {tol:.1e}"
    )
