"""Two electrons, exactly: no basis but the grid itself."""

import numpy as np

from deepchem_dft.lattice.exact.one_body import OneBody, smooth_number
from deepchem_dft.lattice.exact.state import ExactState, lowest_state
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.lattice.systems import System

#: Norm of the residual, Hartree: energies to rounding, densities to some 1e-7.
_TOL = 1e-7
#: One-body states of the dense problem that the iterations start from.
_START = 8


def two_electrons(system: System, grid: Grid) -> ExactState:
    """Return the ground state of two electrons, a singlet or (spin 2) a triplet.

    The wave function psi(x1, x2) is symmetric or antisymmetric on all pairs of grid points. It is
    found by Davidson's method in the eigenbasis of one electron, where the Hamiltonian is nearly
    diagonal: first among the smooth states, then, a few iterations more, among all.

    Parameters
    ----------
    system : System
        With two electrons.
    grid : Grid

    Returns
    -------
    ExactState

    Raises
    ------
    InputError
        If a nucleus is outside the grid.
    ExactNotConverged
    """
    sign = -1.0 if system.spin else 1.0
    everything = OneBody.of(system, grid)
    coefficients = _dense(everything.lowest(min(_START, grid.points)), sign)
    for number in (smooth_number(grid), grid.points):
        larger = np.zeros((number, number))
        larger[: len(coefficients), : len(coefficients)] = coefficients
        energy, coefficients = _iterate(everything.lowest(number), larger, sign, system.name)
    orbitals = everything.orbitals
    density = ((orbitals @ coefficients @ orbitals.T) ** 2).sum(1) / grid.spacing
    spin_density = [2 * density, 0 * density] if system.spin else [density, density]
    return ExactState(system, grid, energy, np.stack(spin_density), "two electrons on all pairs of points")


def _iterate(body: OneBody, start: np.ndarray, sign: float, name: str) -> tuple[float, np.ndarray]:
    u, w = body.orbitals, body.repulsion
    free = body.energies[:, None] + body.energies

    def apply(c: np.ndarray) -> np.ndarray:
        return free * c + u.T @ (w * (u @ c @ u.T)) @ u

    clouds = u * u
    return lowest_state(
        apply,
        free + clouds.T @ w @ clouds,
        start,
        tol=_TOL,
        name=name,
        project=lambda c: (c + sign * c.T) / 2,
    )


def _dense(body: OneBody, sign: float) -> np.ndarray:
    """Solve the same problem among few states, by full diagonalisation.

    Where atoms are far apart the lowest state can be almost orthogonal to both electrons in the
    lowest orbital, so that would be no good place to start from.
    """
    m = len(body.energies)
    pairs = (body.orbitals[:, :, None] * body.orbitals[:, None, :]).reshape(-1, m * m)
    both = (pairs.T @ body.repulsion @ pairs).reshape(m, m, m, m).transpose(0, 2, 1, 3)
    hamiltonian = both.reshape(m * m, m * m) + np.diag((body.energies[:, None] + body.energies).ravel())
    swap = np.eye(m * m).reshape(m, m, m, m).transpose(0, 1, 3, 2).reshape(m * m, m * m)
    out_of_reach = 1e4 * (np.eye(m * m) - sign * swap)
    return np.linalg.eigh(hamiltonian + out_of_reach)[1][:, 0].reshape(m, m)
