"""Natural orbitals for the full CI: unrestricted Hartree-Fock, then second order in all states."""

from dataclasses import dataclass

import numpy as np

from deepchem_dft.errors import ExactNotConverged
from deepchem_dft.lattice.exact.one_body import OneBody
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.lattice.systems import System

#: Largest element of [F, D], Hartree. The orbitals only have to span the right space.
_TOL = 1e-5
_MAX_ITER = 300
_HISTORY = 8
#: Depth and width, Hartree and Bohr, of the wells that first tell the spins apart.
_STAGGER, _WIDTH = 0.5, 0.5


@dataclass(frozen=True)
class MeanField:
    """Unrestricted Hartree-Fock orbitals in the one-body eigenbasis.

    Parameters
    ----------
    energy : float
        Hartree.
    levels : ndarray
        (2, M) orbital energies, Hartree.
    coefficients : ndarray
        (2, M, M), one orbital per column.
    occupied : tuple of int
        Number of electrons per spin.
    """

    energy: float
    levels: np.ndarray
    coefficients: np.ndarray
    occupied: tuple[int, int]


def hartree_fock(system: System, grid: Grid, body: OneBody) -> MeanField:
    """Solve the unrestricted Hartree-Fock equations, starting from alternating spins.

    Raises
    ------
    ExactNotConverged
    """
    u, w = body.orbitals, body.repulsion
    core = np.diag(body.energies)
    occupied = (system.up, system.down)
    wells = sum(
        (-1) ** i * np.exp(-(((grid.x.numpy() - place) / _WIDTH) ** 2))
        for i, place in enumerate(sorted(system.positions))
    )
    uneven = _STAGGER * (u.T @ (np.asarray(wells)[:, None] * u))
    fock = np.stack([core - uneven, core + uneven])
    focks: list[np.ndarray] = []
    errors: list[np.ndarray] = []
    for _ in range(_MAX_ITER):
        chosen = np.linalg.eigh(fock)[1]
        filled = [c[:, :n] for c, n in zip(chosen, occupied, strict=True)]
        density = np.stack([f @ f.T for f in filled])
        on_grid = [(u @ f) @ (u @ f).T for f in filled]
        coulomb = w @ sum(np.diag(p) for p in on_grid)
        new = np.stack([core + u.T @ (coulomb[:, None] * u) - u.T @ ((w * p) @ u) for p in on_grid])
        energy = 0.5 * float((density * (core + new)).sum())
        error = new @ density - density @ new
        if np.abs(error).max() < _TOL:
            levels, coefficients = np.linalg.eigh(new)
            return MeanField(energy, levels, coefficients, occupied)
        focks, errors = [*focks, new][-_HISTORY:], [*errors, error.ravel()][-_HISTORY:]
        fock = _extrapolated(focks, errors)
    raise ExactNotConverged(
        f"{system.name + ': ' if system.name else ''}Hartree-Fock did not converge in "
        f"{_MAX_ITER} iterations: [F, D] is {np.abs(error).max():.1e} Ha, wanted {_TOL:.0e}"
    )


def _extrapolated(focks: list[np.ndarray], errors: list[np.ndarray]) -> np.ndarray:
    """Combine Fock matrices so that the error is least, the sum of weights being 1 (DIIS)."""
    n = len(focks)
    overlaps = np.array([[a @ b for b in errors] for a in errors])
    system = np.block(
        [[overlaps / overlaps.diagonal().max(), np.ones((n, 1))], [np.ones((1, n)), np.zeros((1, 1))]]
    )
    weights = np.linalg.lstsq(system, np.append(np.zeros(n), 1.0), rcond=1e-12)[0][:n]
    return np.tensordot(weights, np.stack(focks), 1)


def natural_orbitals(system: System, grid: Grid, body: OneBody) -> tuple[np.ndarray, np.ndarray]:
    """Return approximate natural orbitals, the most occupied first.

    They diagonalise the density matrix of second-order perturbation theory, summed over the spins,
    on unrestricted Hartree-Fock; the few most occupied of them span almost all of what the exact
    wave function is made of, near equilibrium and far from it.

    Parameters
    ----------
    system : System
    grid : Grid
    body : OneBody
        Of M states.

    Returns
    -------
    occupations : ndarray
        (M,), from 0 to 2.
    orbitals : ndarray
        (M, M) in the states of ``body``, one per column.

    Raises
    ------
    ExactNotConverged
        If Hartree-Fock does not converge.
    """
    field = hartree_fock(system, grid, body)
    total = np.zeros_like(field.coefficients[0])
    for gamma, c in zip(_second_order(field, body), field.coefficients, strict=True):
        total += c @ gamma @ c.T
    occupations, orbitals = np.linalg.eigh(total)
    return occupations[::-1], orbitals[:, ::-1]


def _second_order(field: MeanField, body: OneBody) -> list[np.ndarray]:
    """Density matrices of both spins to second order, in the Hartree-Fock orbitals."""
    on_grid = [body.orbitals @ c for c in field.coefficients]
    pairs = [
        np.einsum("xi,xa->iax", o[:, :n], o[:, n:]) for o, n in zip(on_grid, field.occupied, strict=True)
    ]
    gammas = [
        np.diag((np.arange(len(levels)) < n).astype(float))
        for levels, n in zip(field.levels, field.occupied, strict=True)
    ]
    for s, t in ((0, 0), (1, 1), (0, 1), (1, 0)):
        n, m = field.occupied[s], field.occupied[t]
        if not n or not m:
            continue
        (left, right), (above, below) = (pairs[s], pairs[t]), (field.levels[s], field.levels[t])
        integrals = np.einsum("iax,jbx->iajb", left, right @ body.repulsion, optimize=True)
        if s == t:  # each pair of electrons counts once
            integrals = (integrals - integrals.transpose(0, 3, 2, 1)) / np.sqrt(2)
        gaps = above[:n, None, None, None] - above[n:, None, None] + below[:m, None] - below[m:]
        amplitudes = integrals / gaps
        flat = amplitudes.reshape(n, -1)
        gammas[s][:n, :n] -= flat @ flat.T
        flat = amplitudes.transpose(1, 0, 2, 3).reshape(amplitudes.shape[1], -1)
        gammas[s][n:, n:] += flat @ flat.T
    return gammas
