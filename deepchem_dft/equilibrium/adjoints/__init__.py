"""Ways to differentiate a fixed point, one per file."""

from deepchem_dft.checks import named
from deepchem_dft.equilibrium.adjoints.base import Adjoint
from deepchem_dft.equilibrium.adjoints.implicit import Implicit
from deepchem_dft.equilibrium.adjoints.truncated import Truncated
from deepchem_dft.equilibrium.adjoints.unrolled import Unrolled

__all__ = ["Adjoint", "Implicit", "Truncated", "Unrolled", "get_adjoint"]

_BY_NAME = {"implicit": Implicit, "truncated": Truncated, "unrolled": Unrolled}


def get_adjoint(adjoint: str | Adjoint) -> Adjoint:
    """Return an adjoint by its name, or as it is.

    Raises
    ------
    InputError
        If there is none of that name, or it is no adjoint.
    """
    return named(adjoint, _BY_NAME, "adjoint", "solve")
