"""Anderson acceleration: the combination of past steps with the smallest linearised residual."""

from dataclasses import dataclass

import torch
from torch import Tensor

from deepchem_dft.checks import positive, whole
from deepchem_dft.equilibrium.solvers.base import Ring, least_squares


@dataclass(frozen=True)
class Anderson:
    r"""Anderson acceleration (type II).

    With ``r = f(z) - z`` and differences of successive iterates :math:`\Delta z_i, \Delta r_i`,

    .. math:: z' = z + \beta r - \sum_i \gamma_i (\Delta z_i + \beta \Delta r_i), \qquad
              \gamma = \mathrm{argmin} |r - \sum_i \gamma_i \Delta r_i| .

    Parameters
    ----------
    window : int
        Differences kept. Memory is ``2 * window`` states.
    mixing : float
        How far to go along the remaining residual, beta.
    regularisation : float, optional
        Relative to the squared length of each difference; default 100 times machine precision.
    patience : int
        Evaluations without a new best residual before another method is tried.

    References
    ----------
    D. G. Anderson, J. ACM 12, 547 (1965); H. F. Walker and P. Ni, SIAM J. Numer. Anal. 49, 1715
    (2011), whose unconstrained form this is.
    """

    window: int = 6
    mixing: float = 1.0
    regularisation: float | None = None
    patience: int = 10

    def __post_init__(self) -> None:
        whole(1, window=self.window, patience=self.patience)
        positive(mixing=self.mixing)
        if self.regularisation is not None:
            positive(regularisation=self.regularisation)

    def start(self) -> "_AndersonRun":
        """Begin a solve."""
        return _AndersonRun(self)


class _AndersonRun:
    def __init__(self, settings: Anderson) -> None:
        self._settings = settings
        #: Differences of successive damped images and of their residuals.
        self._images, self._residuals = Ring(settings.window), Ring(settings.window)
        self._last: tuple[Tensor, Tensor] | None = None

    def __call__(self, z: Tensor, residual: Tensor, error: Tensor, restart: Tensor | None) -> Tensor:
        image = torch.add(z, residual, alpha=self._settings.mixing)
        if self._last is not None:
            self._images.push(image, minus=self._last[0])
            self._residuals.push(residual, minus=self._last[1])
            if restart is not None:
                self._images.forget(restart)
                self._residuals.forget(restart)
        self._last = (image, residual)
        images, residuals = self._images.vectors, self._residuals.vectors
        if images is None or residuals is None:
            return image
        weights = least_squares(residuals, residual, self._settings.regularisation)
        return torch.baddbmm(image[:, None], weights[:, None], images, alpha=-1.0)[:, 0]
