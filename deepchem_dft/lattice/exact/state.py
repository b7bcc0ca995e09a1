"""What an exact solution is: a system on a grid with its energy and densities."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from deepchem_dft.lattice.grid import Grid
from deepchem_dft.lattice.systems import System


@dataclass(frozen=True)
class ExactState:
    """The ground state of a system on a grid.

    Data sets for `KSRModel` hold these objects in ``X``, with `energy` in ``y``.

    Parameters
    ----------
    system : System
    grid : Grid
    energy : float
        Of the electrons, without the repulsion of the nuclei, as in the papers. Hartree.
    spin_density : ndarray
        (2, points), majority spin first, electrons per Bohr.
    method : str
        How it was found.
    orbitals : int or None
        Number of natural orbitals; None if there is no such approximation.
    """

    system: System
    grid: Grid
    energy: float
    spin_density: np.ndarray = field(repr=False, compare=False)
    method: str = ""
    orbitals: int | None = None

    @property
    def density(self) -> np.ndarray:
        """(points,), electrons per Bohr."""
        return self.spin_density.sum(0)

    @property
    def total_energy(self) -> float:
        """Energy with the repulsion of the nuclei, Hartree."""
        return self.energy + self.system.nuclear_repulsion()

    @property
    def wall_error(self) -> float:
        """Energy by which the walls of the grid raise the state, Hartree; an estimate.

        A wall at which the outermost orbital phi vanishes costs phi'^2 / (4 kappa), where kappa is
        its decay; 1 is taken for it. Good to a factor of four, up to some 0.1 Ha.
        """
        ends = self.density[0] + self.density[-1]
        return float(ends / (4 * self.grid.spacing**2))
