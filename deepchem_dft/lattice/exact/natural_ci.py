"""Three and four electrons: full CI (PySCF's) in natural orbitals."""

from collections.abc import Callable

import numpy as np
from pyscf import fci

from deepchem_dft.errors import ExactNotConverged, InputError
from deepchem_dft.lattice.exact.mean_field import natural_orbitals
from deepchem_dft.lattice.exact.one_body import OneBody, smooth_number
from deepchem_dft.lattice.exact.pair_ci import pair_ci
from deepchem_dft.lattice.exact.state import ExactState
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.lattice.systems import System

SOLVERS = ("pairs", "pyscf")


def several_electrons(system: System, grid: Grid, orbitals: int, solver: str | None = None) -> ExactState:
    """Return the ground state by full CI in the ``orbitals`` most occupied natural orbitals.

    The energy is an upper bound that falls towards the exact one with every orbital.

    Parameters
    ----------
    system : System
    grid : Grid
    orbitals : int
        At most the number of states of one electron up to 75 Hartree.
    solver : {"pairs", "pyscf"}, optional
        `pair_ci`, for one or two electrons of each spin, or PySCF's full CI, for any; by default
        the first where it is possible.

    Raises
    ------
    InputError
        For fewer orbitals than electrons of one spin or more than there are, an unknown solver, or
        one that cannot do it.
    ExactNotConverged
    """
    electrons = (system.up, system.down)
    pairs = min(electrons) >= 1 and max(electrons) <= 2
    solver = solver or SOLVERS[0 if pairs else 1]
    if solver not in SOLVERS or (solver == "pairs" and not pairs):
        raise InputError(
            f"solver {solver!r} cannot do {electrons[0]} + {electrons[1]} electrons",
            entry=system.name or None,
            field="solver",
            remedy="use 'pyscf'",
        )
    number = smooth_number(grid)
    if not max(system.up, 2) <= orbitals <= number:
        raise InputError(
            f"{orbitals} natural orbitals",
            entry=system.name or None,
            field="orbitals",
            remedy=f"use {max(system.up, 2)} to {number}",
        )
    body = OneBody.of(system, grid).lowest(number)
    chosen = natural_orbitals(system, grid, body)[1][:, :orbitals]
    core = (chosen.T * body.energies) @ chosen
    phi = body.orbitals @ chosen
    clouds = (phi[:, :, None] * phi[:, None, :]).reshape(grid.points, -1)
    repulsion = (clouds.T @ body.repulsion @ clouds).reshape((orbitals,) * 4)
    energy, matrices = _solve(solver)(core, repulsion, electrons, system.name)
    spin_density = np.einsum("xp,spq,xq->sx", phi, matrices, phi, optimize=True) / grid.spacing
    return ExactState(system, grid, energy, spin_density, f"full CI ({solver})", orbitals)


def _solve(solver: str) -> Callable[..., tuple[float, np.ndarray]]:
    if solver == "pairs":
        return pair_ci
    return full_ci


_TOL = 1e-10
_MAX_ITER = 300


def full_ci(
    core: np.ndarray, repulsion: np.ndarray, electrons: tuple[int, int], name: str = ""
) -> tuple[float, np.ndarray]:
    """Return the ground state of electrons in K orbitals; see `pair_ci` for the arguments.

    Raises
    ------
    ExactNotConverged
    """
    even = electrons[0] == electrons[1]
    solver = fci.direct_spin0.FCI() if even else fci.direct_spin1.FCI()
    solver.conv_tol, solver.max_cycle, solver.verbose = _TOL, _MAX_ITER, 0
    energy, vector = solver.kernel(core, repulsion, len(core), electrons)
    if not solver.converged:
        raise ExactNotConverged(
            f"{name + ': ' if name else ''}PySCF's full CI did not converge in {_MAX_ITER} iterations"
        )
    return float(energy), np.stack(solver.make_rdm1s(vector, len(core), electrons))
