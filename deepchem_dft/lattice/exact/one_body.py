"""One electron in the field of the nuclei: its ground state, and the eigenbasis of the others."""

import math
from dataclasses import dataclass

import numpy as np
import scipy.linalg

from deepchem_dft.lattice.exact.state import ExactState
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.lattice.interaction import interaction
from deepchem_dft.lattice.systems import System


@dataclass(frozen=True)
class OneBody:
    """The Hamiltonian of one electron, diagonalised, and the interaction between two.

    Vectors over the points are normalised to a sum of squares of 1, without the spacing.

    Parameters
    ----------
    energies : ndarray
        (points,), Hartree, ascending.
    orbitals : ndarray
        (points, points), one per column.
    repulsion : ndarray
        (points, points): w(x - x').
    """

    energies: np.ndarray
    orbitals: np.ndarray
    repulsion: np.ndarray

    @classmethod
    def of(cls, system: System, grid: Grid) -> "OneBody":
        """Diagonalise the Hamiltonian of one electron near the nuclei of ``system``.

        Raises
        ------
        InputError
            If a nucleus is outside the grid.
        """
        hamiltonian = grid.kinetic_matrix().numpy() + np.diag(system.external_potential(grid).numpy())
        energies, orbitals = scipy.linalg.eigh(hamiltonian, driver="evd")
        repulsion = interaction(grid.x[:, None] - grid.x).numpy()
        return cls(energies, orbitals, repulsion)

    def lowest(self, number: int) -> "OneBody":
        """Keep only so many orbitals, those of lowest energy."""
        return OneBody(self.energies[:number], self.orbitals[:, :number], self.repulsion)


def smooth_number(grid: Grid) -> int:
    """Number of one-body states up to some 75 Hartree: enough for all but the last 1e-7 Ha."""
    return min(grid.points, math.ceil(4 * grid.points * grid.spacing))


def one_electron(system: System, grid: Grid) -> ExactState:
    """Return the ground state of one electron, from the banded eigenvalue problem."""
    bands = grid.kinetic_bands().numpy()
    bands[0] += system.external_potential(grid).numpy()
    energies, orbitals = scipy.linalg.eig_banded(bands, lower=True, select="i", select_range=(0, 0))
    density = orbitals[:, 0] ** 2 / grid.spacing
    return ExactState(
        system,
        grid,
        float(energies[0]),
        np.stack([density, np.zeros_like(density)]),
        "banded eigenvalue problem",
    )
