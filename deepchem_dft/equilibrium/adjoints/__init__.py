"""Ways to differentiate a fixed point, one per file."""

from __future__ import annotations

from deepchem_dft.checks import choice
from deepchem_dft.equilibrium.adjoints.base import Adjoint
from deepchem_dft.equilibrium.adjoints.implicit import Implicit
from deepchem_dft.equilibrium.adjoints.truncated import Truncated
from deepchem_dft.equilibrium.adjoints.unrolled import Unrolled
from deepchem_dft.errors import InputError

__all__ = ["Adjoint", "Implicit", "Truncated", "Unrolled", "get_adjoint"]

_BY_NAME = {"implicit": Implicit, "truncated": Truncated, "unrolled": Unrolled}


def get_adjoint(adjoint: str | Adjoint) -> Adjoint:
    """Return an adjoint by its name, or as it is.

    Raises
    ------
    InputError
        If there is none of that name, or it is no adjoint.
    """
    if not isinstance(adjoint, str):
        if isinstance(adjoint, type) or not hasattr(adjoint, "solve"):
            raise InputError(
                f"{adjoint!r} is no adjoint",
                field="adjoint",
                remedy="a name such as 'implicit', or an instance: Implicit()",
            )
        return adjoint
    return _BY_NAME[choice(adjoint, _BY_NAME, "adjoint")]()
