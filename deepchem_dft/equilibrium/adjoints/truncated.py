"""Gradients from a few steps at the fixed point: cheap, and not exact."""

from dataclasses import dataclass

import torch
from torch import Tensor

from deepchem_dft.checks import positive, whole
from deepchem_dft.equilibrium.adjoints.base import FixedPointProblem, attach, broken_rows
from deepchem_dft.equilibrium.driver import Trace


@dataclass(frozen=True)
class Truncated:
    r"""Differentiate the last few (damped) steps only.

    That is :math:`\sum_{j<k} (J^T)^j g` in place of :math:`(1 - J^T)^{-1} g`: a descent direction
    if the map is contractive enough, wrong by about :math:`|J|^k`; second derivatives are no use.
    Samples that have not converged contribute like all others.

    Parameters
    ----------
    steps : int
        k; 1 is Jacobian-free.
    mixing : float
        Of each step; less than 1 reaches further back where the map is barely contractive.

    References
    ----------
    S. Wu Fung et al., AAAI 36, 6648 (2022) (Jacobian-free); Z. Geng et al., NeurIPS 34 (2021)
    (damped).
    """

    steps: int = 1
    mixing: float = 1.0

    def __post_init__(self) -> None:
        whole(1, steps=self.steps)
        positive(mixing=self.mixing)

    def solve(self, problem: FixedPointProblem) -> tuple[Tensor, Trace]:
        """Return the fixed points (B, D) with gradients attached, and how they were found."""
        with torch.no_grad():
            trace = problem.drive()
        if not torch.is_grad_enabled():
            return trace.z, trace
        z = trace.z
        for _ in range(self.steps):
            z = z + self.mixing * (problem.f(z, *problem.inputs) - z)
        return attach(z, trace.z, broken_rows(z)), trace
