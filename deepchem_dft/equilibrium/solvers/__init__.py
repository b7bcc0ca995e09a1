"""Methods that find fixed points, one per file, and who takes over from whom."""

from deepchem_dft.checks import named
from deepchem_dft.equilibrium.solvers.anderson import Anderson
from deepchem_dft.equilibrium.solvers.base import Solver
from deepchem_dft.equilibrium.solvers.broyden import Broyden
from deepchem_dft.equilibrium.solvers.damped import Damped
from deepchem_dft.equilibrium.solvers.diis import DIIS, Pulay

__all__ = ["DIIS", "Anderson", "Broyden", "Damped", "Pulay", "Solver", "chain_of", "get_solver"]

_BY_NAME = {"damped": Damped, "anderson": Anderson, "broyden": Broyden, "diis": Pulay}


def get_solver(solver: str | Solver) -> Solver:
    """Return a solver by its name, or as it is.

    Raises
    ------
    InputError
        If there is none of that name, or it is no solver.
    """
    return named(solver, _BY_NAME, "solver", "start")


def chain_of(solver: str | Solver, fallback: bool = True) -> list[Solver]:
    """Return a solver with those that take over where it gets lost, the most careful last."""
    first = get_solver(solver)
    if not fallback or isinstance(first, Damped):
        return [first]
    if isinstance(first, Broyden):
        return [first, Damped(0.5)]
    return [first, Broyden(), Damped(0.5)]
