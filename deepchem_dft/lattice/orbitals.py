"""Occupied orbitals of potentials on the grid, by banded solves alone, and their derivatives."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.linalg import eigvals_banded, lapack
from torch import Tensor

from deepchem_dft.errors import InputError
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.torchstate import unaffected

#: Residual, relative to the largest kinetic energy, below which an orbital is an eigenvector.
_TOLERANCE = 1e-14
_MAX_STEPS = 12
#: Amplitude, relative to the largest, below which the sign of an orbital means nothing.
_NOISE = 1e-6


class Occupied(NamedTuple):
    """Non-interacting electrons in potentials.

    Attributes
    ----------
    density : Tensor, shape (B, n)
        Electrons per Bohr; differentiable.
    energy : Tensor, shape (B,)
        Sum of the energies of the occupied orbitals, Hartree; differentiable.
    orbitals : Tensor, shape (B, m, n)
        Normalised to 1 when squares are summed over points; no gradient. Zero where unoccupied.
    orbital_energies : Tensor, shape (B, m)
        Hartree; no gradient. Zero where unoccupied.
    """

    density: Tensor
    energy: Tensor
    orbitals: Tensor
    orbital_energies: Tensor


@unaffected
def occupied_orbitals(
    grid: Grid, potential: Tensor, occupations: Tensor, guess: Tensor | None = None
) -> Occupied:
    r"""Fill the lowest orbitals of :math:`-\frac12 \frac{d^2}{dx^2} + v(x)`.

    From a guess, orbitals are found by Rayleigh-quotient inverse iteration: every step is one
    banded solve for all orbitals of the batch, and three or four suffice. What does not end in the
    lowest orbitals, which the number of their nodes tells, and what has no guess, is left to
    LAPACK's eigensolver for banded matrices. Gradients take one more banded solve. They involve
    the response to unoccupied orbitals only, so that occupied ones may be degenerate.

    Parameters
    ----------
    grid : Grid
    potential : Tensor, shape (B, n), float64
        Hartree.
    occupations : Tensor, shape (B, m)
        Electrons in each orbital, from the lowest: not increasing, padded with 0.
    guess : Tensor, shape (B, m, n), optional
        Orbitals of similar potentials. They affect speed, not the result.

    Returns
    -------
    Occupied

    Raises
    ------
    InputError
        For shapes that do not match, occupations that increase, or a potential that is not finite.

    Examples
    --------
    >>> grid = Grid(201, 0.08)
    >>> found = occupied_orbitals(grid, 0.5 * grid.x[None] ** 2, torch.tensor([[2.0, 2.0]]))
    >>> [round(e, 4) for e in found.orbital_energies[0].tolist()]
    [0.5, 1.5]
    >>> round(grid.integrate(found.density).item(), 10)
    4.0
    """
    if (
        potential.ndim != 2
        or potential.shape[1] != len(grid)
        or (occupations.ndim != 2 or len(occupations) != len(potential))
    ):
        raise InputError(
            f"potentials of shape {tuple(potential.shape)} and occupations of shape "
            f"{tuple(occupations.shape)} do not belong together on {len(grid)} points",
            field="potential",
        )
    if bool((occupations < 0).any()) or bool((occupations.diff(dim=1) > 0).any()):
        raise InputError("occupations must not increase with energy, nor be negative", field="occupations")
    if not bool(torch.isfinite(potential).all()):
        raise InputError(
            "the potential is not finite",
            field="potential",
            remedy="lower the learning rate, or bound the network's output",
        )
    return Occupied(*_Occupied.apply(potential, occupations, grid, guess))


class _Occupied(torch.autograd.Function):
    """Potentials to densities and orbital sums; see :func:`occupied_orbitals`."""

    @staticmethod
    def forward(
        ctx: Any, potential: Tensor, occupations: Tensor, grid: Grid, guess: Tensor | None
    ) -> tuple[Tensor, ...]:
        v = potential.detach().numpy()
        f = occupations.detach().numpy().astype(float)
        if guess is None:
            psi, energies = np.zeros((*f.shape, len(grid))), np.zeros(f.shape)
            wrong = np.arange(len(v))
        else:
            psi, energies = _refine(grid, v, f, guess.detach().numpy())
            wrong = np.flatnonzero(~_are_lowest(psi, f))
        _solve_rows(grid, v, f, psi, energies, wrong)
        ctx.grid, ctx.solution = grid, (v, f, psi, energies)
        density = np.einsum("bm,bmn->bn", f, psi**2) / grid.spacing
        out = (density, (f * energies).sum(1), psi, energies)
        tensors = tuple(torch.from_numpy(np.ascontiguousarray(a)) for a in out)
        ctx.mark_non_differentiable(*tensors[2:])
        return tensors

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        v, f, psi, energies = ctx.solution
        towards_density, towards_energy = (g.numpy() for g in gradients[:2])
        found = _adjoint(ctx.grid, v, f, psi, energies, towards_density / ctx.grid.spacing)
        found += towards_energy[:, None] * np.einsum("bm,bmn->bn", f, psi**2)
        return torch.from_numpy(found), None, None, None


# -- finding orbitals ------------------------------------------------------------------------------


def _refine(grid: Grid, v: np.ndarray, f: np.ndarray, guess: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvectors (B, m, n) near a guess and their eigenvalues, in rising order."""
    rows, levels = np.nonzero(f)
    diagonal = v[rows]
    x = guess[rows, levels].copy()
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    hx = _times(grid, diagonal, x)
    value = (x * hx).sum(1)
    residual = np.linalg.norm(hx - value[:, None] * x, axis=1)
    floor = _TOLERANCE * _largest(grid)
    for _ in range(_MAX_STEPS):
        # An eigenvalue is within the residual of the quotient. While that is much, its lower end
        # is the better shift: the quotient may be nearer to an orbital that is too high.
        shift = np.where(residual > 0.05, value - residual, value)
        y = _solve(_factor(grid, diagonal - shift[:, None]), x)
        norm = np.linalg.norm(y, axis=1)
        y /= norm[:, None]
        along = (x * y).sum(1)
        x, value = y, shift + along / norm
        residual = np.sqrt(np.maximum(1 - along**2, 0)) / norm
        if residual.max() < floor:
            break
    psi = np.zeros((*f.shape, v.shape[1]))
    psi[rows, levels] = x
    return psi, _rotate(grid, v, f, psi)


def _rotate(grid: Grid, v: np.ndarray, f: np.ndarray, psi: np.ndarray) -> np.ndarray:
    """Make orbitals of each row orthonormal eigenvectors within their span, in place."""
    energies = np.zeros(f.shape)
    for row, count in enumerate((f > 0).sum(1)):
        x = psi[row, :count]
        if count > 1:
            x = np.linalg.qr(x.T)[0].T
        h = x @ _times(grid, v[row], x).T
        if count > 1:
            energies[row, :count], turn = np.linalg.eigh((h + h.T) / 2)
            x = turn.T @ x
        else:
            energies[row, :count] = h.diagonal()
        psi[row, :count] = x
    return energies


def _are_lowest(psi: np.ndarray, f: np.ndarray) -> np.ndarray:
    """Tell for each row whether its k-th orbital has k nodes, as on a line the k-th lowest has."""
    good = np.isfinite(psi).all((1, 2))
    for row in np.flatnonzero(good):
        for level in np.flatnonzero(f[row]):
            x = psi[row, level]
            size = np.abs(x)
            positive = x[size > _NOISE * size.max()] > 0
            good[row] &= np.count_nonzero(positive[1:] != positive[:-1]) == level
    return good


def _solve_rows(
    grid: Grid, v: np.ndarray, f: np.ndarray, psi: np.ndarray, energies: np.ndarray, wrong: np.ndarray
) -> None:
    """Fill orbitals and energies of some rows without a guess, in place.

    LAPACK finds the eigenvalues, inverse iteration the orbitals. That is ten times faster than to
    have LAPACK find both.
    """
    wrong = wrong[f[wrong].any(1)]
    if not len(wrong):
        return
    guess = np.zeros_like(psi[wrong])
    bands = grid.kinetic_bands().numpy()
    values = []
    for row in wrong:
        count = np.count_nonzero(f[row])
        values.append(
            eigvals_banded(
                bands + np.eye(len(bands), 1) * v[row], lower=True, select="i", select_range=(0, count - 1)
            )
        )
    rows, levels = np.nonzero(f[wrong])
    # Just below its eigenvalue a solve blows up what is wanted, from nearly any beginning; levels
    # as good as degenerate need beginnings of their own.
    x = np.random.default_rng(0).normal(size=(len(rows), len(grid)))
    shift = np.concatenate(values) - 1e-13 * _largest(grid)
    factors = _factor(grid, v[wrong][rows] - shift[:, None])
    for _ in range(3):
        x = _solve(factors, x)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
    guess[rows, levels] = x
    energies[wrong] = _rotate(grid, v[wrong], f[wrong], guess)
    psi[wrong] = guess


# -- derivatives -----------------------------------------------------------------------------------


def _adjoint(
    grid: Grid, v: np.ndarray, f: np.ndarray, psi: np.ndarray, energies: np.ndarray, g: np.ndarray
) -> np.ndarray:
    """Return the gradient with respect to v of sum_x g(x) sum_i f_i psi_i(x)^2."""
    rows, levels = np.nonzero(f)
    out = np.zeros_like(v)
    if not len(rows):
        return out
    x, weight = psi[rows, levels], f[rows, levels][:, None]
    others = psi[rows]  # all occupied ones of the row; unoccupied ones are zero

    def project(y: np.ndarray) -> np.ndarray:
        return y - np.einsum("pm,pmn->pn", np.einsum("pmn,pn->pm", others, y), others)

    right = project(-g[rows] * x)
    # Exactly at its eigenvalue a solve may fail; next to it, refinement makes up for the offset.
    offset = 1e-10 * _largest(grid)
    diagonal = v[rows] - energies[rows, levels][:, None]
    factors = _factor(grid, diagonal + offset)
    y = project(_solve(factors, right))
    for _ in range(2):
        y += project(_solve(factors, right - _times(grid, diagonal, y)))
    np.add.at(out, rows, 2 * weight * x * y)
    # Mixing of two occupied orbitals matters only if one holds more electrons.
    for row in np.flatnonzero((f.max(1) - np.where(f > 0, f, np.inf).min(1)) > 0):
        count = np.count_nonzero(f[row])
        x, e, n = psi[row, :count], energies[row, :count], f[row, :count]
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = (n[:, None] - n) / (e[:, None] - e)
        slope = np.where(n[:, None] == n, 0.0, slope)
        out[row] += ((slope * (x @ (g[row] * x).T)) @ x * x).sum(0)
    return out


# -- banded matrices -------------------------------------------------------------------------------


def _largest(grid: Grid) -> float:
    """Return the scale of the kinetic energy's largest eigenvalue, Hartree."""
    return float(2 * grid.kinetic_stencil()[0])


def _times(grid: Grid, diagonal: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return (T - T[0, 0] + T[0, 0] + diag) x for vectors (..., n)."""
    stencil = _stencil(grid)
    out = (diagonal + stencil[0]) * x
    for k, value in enumerate(stencil[1:], start=1):
        out[..., k:] += value * x[..., :-k]
        out[..., :-k] += value * x[..., k:]
    return out


@lru_cache(maxsize=16)
def _stencil(grid: Grid) -> tuple[float, ...]:
    return tuple(grid.kinetic_stencil().tolist())


@lru_cache(maxsize=64)
def _blank(grid: Grid, count: int) -> np.ndarray:
    """Return LAPACK's banded form of ``count`` kinetic energies side by side, uncoupled."""
    stencil = _stencil(grid)
    width, n = len(stencil) - 1, len(grid)
    block = np.zeros((3 * width + 1, n))
    block[2 * width] = stencil[0]
    for k, value in enumerate(stencil[1:], start=1):
        block[2 * width - k, k:] = value
        block[2 * width + k, :-k] = value
    return np.asfortranarray(np.tile(block, count))


def _factor(grid: Grid, diagonal: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Factorise T + diag(diagonal[p]) for all p in one banded matrix of uncoupled blocks."""
    matrix = _blank(grid, len(diagonal)).copy(order="F")
    width = (len(matrix) - 1) // 3
    matrix[2 * width] += diagonal.ravel()
    factors, pivots, info = lapack.dgbtrf(matrix, width, width, overwrite_ab=1)
    if info > 0:  # an exact zero, where rounding would have left 1e-16
        factors[2 * width][factors[2 * width] == 0] = 1e-16 * _largest(grid)
    return factors, pivots, width


def _solve(factors: tuple[np.ndarray, np.ndarray, int], right: np.ndarray) -> np.ndarray:
    matrix, pivots, width = factors
    return lapack.dgbtrs(matrix, width, width, right.ravel(), pivots)[0].reshape(right.shape)
