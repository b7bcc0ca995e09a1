"""Which solutions of an adjoint are gradients, and what becomes of those that are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from deepchem_dft.checks import warn
from deepchem_dft.equilibrium.adjoints.base import name_samples
from deepchem_dft.equilibrium.driver import Trace
from deepchem_dft.equilibrium.result import CODES, Status, code
from deepchem_dft.errors import GradientNotConverged

# Where errors of the fixed point, amplified, reach this fraction of it, it has no gradient.
_DETERMINED = 0.1
# Residuals of the adjoint cannot become smaller than this many roundings of its solution.
_ROUNDINGS = 100.0


@dataclass(frozen=True)
class GradientCheck:
    """Refuses, or drops, samples whose gradient is not determined.

    Parameters
    ----------
    eps : float
        Machine precision of the state.
    drop : bool
        Leave such samples out and warn, rather than raise. The status says so either way.
    """

    eps: float
    drop: bool

    def __call__(self, found: Trace, right: Tensor, trace: Trace) -> None:
        """GradientCheck solutions ``found`` of adjoints with right-hand sides (B, D) of ``trace``.

        Raises
        ------
        GradientNotConverged
            If a sample is refused.
        """
        size = right.norm(dim=1)
        # |u| / |g| bounds |(I - J)^-1| from below: so much is every error of z* amplified.
        amplified = found.z.norm(dim=1) / torch.where(size > 0.0, size, 1.0)
        error = amplified * trace.residual.clamp_min(_ROUNDINGS * self.eps)
        vague = error > _DETERMINED
        failed = (vague | ~found.converged) & (size != 0.0)
        if not bool(failed.any()):
            return
        why = torch.where(vague, code(Status.ILL_CONDITIONED), code(Status.GRADIENT_NOT_CONVERGED))
        why = torch.where(found.codes == code(Status.NOT_FINITE), found.codes, why)
        found.codes = torch.where(failed, why, found.codes)
        trace.codes.copy_(torch.where(failed, why, trace.codes))
        first = CODES[int(why[failed][0])]
        message = f"no gradient for {name_samples(failed)} of {len(failed)}: {first}"
        if not self.drop:
            raise GradientNotConverged(message, failed.nonzero()[:, 0])
        warn(message + " (they contribute none)")


def relative_to_right(right: Tensor, tol: float, eps: float) -> Callable[[Tensor], Tensor]:
    """Return the size that residuals of an adjoint are compared with: that of its right side.

    Not of its solution, which is large exactly where the system is ill-conditioned; that only
    enters with what rounding makes of it.
    """
    length = right.norm(dim=1) + torch.finfo(right.dtype).tiny
    roundings = _ROUNDINGS * eps / tol if tol > 0.0 else 0.0
    return lambda image: length + roundings * image.norm(dim=1)
