"""Gradients through every iteration, as if the solver were a network of so many layers."""

from dataclasses import dataclass

from torch import Tensor

from deepchem_dft.equilibrium.adjoints.base import FixedPointProblem, attach
from deepchem_dft.equilibrium.driver import Trace


@dataclass(frozen=True)
class Unrolled:
    """Differentiate the solver itself, and return its whole trajectory.

    The exact derivative of what was computed, converged or not, also with respect to the start.
    Memory grows with the number of iterations. With ``tol=0`` damped iteration makes all of
    ``max_iter`` steps; accelerated solvers stop where only rounding is left, since a mixture of
    rounding errors has no derivative worth the name. From a start that is there already, they
    have next to nothing to differentiate.
    """

    def solve(self, problem: FixedPointProblem) -> tuple[Tensor, Trace]:
        """Return the last iterates (B, D) with gradients, and how they were found."""
        trace = problem.drive(keep=True)
        # A NaN on the way is in the graph for good; the backward pass will say so.
        return attach(trace.z, trace.z, trace.broken), trace
