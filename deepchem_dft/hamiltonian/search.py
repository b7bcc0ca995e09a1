"""How fixed points are sought, and with which gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from deepchem_dft.equilibrium import Adjoint, Equilibrium, Implicit, Solver, fixed_point


@dataclass
class Search:
    """Arguments of `fixed_point`.

    Attributes
    ----------
    solver : str or Solver
    adjoint : str or Adjoint
        "implicit" here leaves out molecules whose gradient does not converge, with a warning: one
        of them should not end a training run.
    tol : float
    max_iter : int
    """

    solver: str | Solver = "anderson"
    adjoint: str | Adjoint = "implicit"
    tol: float = 1e-5
    max_iter: int = 50

    def __call__(self, step: Callable[..., Any], start: Any, params: Any, segments: Any) -> Equilibrium:
        """Solve ``z = step(z, *params)``."""
        adjoint = Implicit(on_failure="drop") if self.adjoint == "implicit" else self.adjoint
        return fixed_point(
            step,
            start,
            params,
            solver=self.solver,
            adjoint=adjoint,
            tol=self.tol,
            max_iter=self.max_iter,
            segments=segments,
        )
