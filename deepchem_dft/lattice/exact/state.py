"""What an exact solution is, how it is found, and kept on disk."""

from collections.abc import Callable
from dataclasses import astuple, dataclass, field

import numpy as np
import torch

from deepchem_dft import davidson
from deepchem_dft.errors import ExactNotConverged
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.lattice.systems import System
from deepchem_dft.molecule import cache


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


#: Products of the Hamiltonian with a wave function, and wave functions kept in memory.
_MOST, _KEPT = 100, 24


def lowest_state(
    apply: Callable[[np.ndarray], np.ndarray],
    diagonal: np.ndarray,
    start: np.ndarray,
    *,
    tol: float,
    name: str,
    project: Callable[[np.ndarray], np.ndarray] | None = None,
) -> tuple[float, np.ndarray]:
    """Return the lowest energy (Hartree) and its normalised wave function.

    Parameters
    ----------
    apply : callable
        Hamiltonian times wave function; these are arrays of any one shape.
    diagonal, start : ndarray
        Of the Hamiltonian, or nearly; a first guess. Both of that shape.
    tol : float
        Norm of the residual, Hartree. The energy is good to its square.
    name : str
        Of the system, for the message.
    project : callable, optional
        See :func:`deepchem_dft.davidson.lowest`.

    Raises
    ------
    ExactNotConverged
    """

    def flat(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda v: torch.from_numpy(function(v.numpy().reshape(start.shape))).flatten()

    values, vectors, residuals = davidson.lowest(
        flat(apply),
        torch.from_numpy(diagonal).flatten(),
        torch.from_numpy(start).reshape(1, -1),
        tol=tol,
        max_products=_MOST,
        subspace=_KEPT,
        project=None if project is None else flat(project),
    )
    if not float(residuals[0]) <= tol:
        raise ExactNotConverged(
            f"{name}: the exact solution did not converge in {_MOST} iterations: residual "
            f"{float(residuals[0]):.1e}, wanted {tol:.1e}"
        )
    return float(values[0]), vectors[0].numpy().reshape(start.shape)


#: Raised whenever the methods change what comes out.
_VERSION = 1
_PART = "exact"


def load(system: System, grid: Grid, orbitals: int) -> ExactState | None:
    """Return the state if it is there. A damaged file counts as absent, with a warning."""
    arrays = cache.load(_key(system, grid, orbitals), _PART)
    if arrays is None:
        return None
    return ExactState(
        system,
        grid,
        float(arrays["energy"]),
        arrays["spin_density"],
        str(arrays["method"]),
        orbitals if system.electrons > 2 else None,
    )


def store(state: ExactState) -> None:
    """Keep a state; a failure to write is a warning."""
    cache.store(
        _key(state.system, state.grid, state.orbitals or 0),
        _PART,
        {
            "energy": np.array(state.energy),
            "spin_density": state.spin_density,
            "method": np.array(state.method),
        },
    )


def _key(system: System, grid: Grid, orbitals: int) -> str:
    return cache.content_key(
        {
            "kind": "lattice",
            "version": _VERSION,
            "grid": astuple(grid),
            "positions": system.positions,
            "charges": system.charges,
            "electrons": system.electrons,
            "spin": system.spin,
            "orbitals": orbitals if system.electrons > 2 else 0,
        }
    )
