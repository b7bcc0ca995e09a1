"""Exact ground states of up to four electrons on the grid."""

import warnings

from threadpoolctl import threadpool_limits

from deepchem_dft.errors import InputError
from deepchem_dft.lattice.exact.natural_ci import several_electrons
from deepchem_dft.lattice.exact.one_body import one_electron
from deepchem_dft.lattice.exact.state import ExactState, load, store
from deepchem_dft.lattice.exact.two_body import two_electrons
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.lattice.systems import System
from deepchem_dft.torchstate import stacklevel, unaffected

__all__ = ["ExactState", "exact"]

#: Natural orbitals for three and four electrons. Energies are then converged to 2e-6 Ha for chains
#: of hydrogen, to 5e-6 Ha for LiH.
ORBITALS = 28
#: Most electrons that are solved exactly.
MOST = 4
#: Effect of the walls above which there is a warning, Hartree.
WALL_WARNING = 1e-5


@unaffected
def exact(
    system: System, grid: Grid | None = None, orbitals: int = ORBITALS, *, cached: bool = True
) -> ExactState:
    """Return the exact ground state of a system of one to four electrons.

    Exact for the Hamiltonian on the grid: finite differences of the grid's order, its spacing, its
    walls. One and two electrons are solved without any other approximation; three and four by full
    CI in natural orbitals. It runs in one thread.

    Parameters
    ----------
    system : System
    grid : Grid, optional
        Default: `Grid`, that of the paper.
    orbitals : int
        Number of natural orbitals for three and four electrons.
    cached : bool
        Keep the state on disk, in the folder of the cached integrals, and take it from there the
        next time.

    Returns
    -------
    ExactState

    Raises
    ------
    InputError
        For more than four electrons, or nuclei outside the grid.
    ExactNotConverged

    Warns
    -----
    UserWarning
        If the walls of the grid change the energy by more than 1e-5 Ha: nuclei near them, or
        electrons that are not bound.

    Examples
    --------
    >>> from deepchem_dft.lattice.systems import h2
    >>> state = exact(h2(1.52))
    >>> round(state.energy, 5), round(state.total_energy, 5)
    (-2.00713, -1.44067)
    """
    grid = grid or Grid()
    if not 1 <= system.electrons <= MOST:
        raise InputError(
            f"{system.electrons} electrons are too many for an exact solution",
            entry=system.name or None,
            field="electrons",
            remedy=f"use at most {MOST}",
        )
    state = load(system, grid, orbitals) if cached else None
    if state is None:
        # Matrices of this size gain little from threads, and lose a lot where cores are busy.
        with threadpool_limits(1):
            if system.electrons == 1:
                state = one_electron(system, grid)
            elif system.electrons == 2:
                state = two_electrons(system, grid)
            else:
                state = several_electrons(system, grid, orbitals)
        if cached:
            store(state)
    if state.wall_error > WALL_WARNING:
        warnings.warn(
            f"{system.name or 'this system'}: the walls of the grid raise the energy by about "
            f"{state.wall_error:.1e} Ha. Remedy: a Grid with more points, or nuclei nearer to 0",
            stacklevel=stacklevel(2),
        )
    return state
