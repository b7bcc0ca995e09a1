"""Direct inversion in the iterative subspace: Anderson's idea with an error of the user's own."""

from dataclasses import dataclass

import torch
from torch import Tensor

from deepchem_dft.checks import whole
from deepchem_dft.equilibrium.solvers.base import combine, least_squares


@dataclass(frozen=True)
class Pulay:
    """Mix past images ``f(z_i)`` so that the mixed error is smallest.

    Parameters
    ----------
    window : int
        Images kept with their errors. Memory is ``window`` states and errors.
    patience : int
        Evaluations without a new best residual before another method is tried.

    References
    ----------
    P. Pulay, Chem. Phys. Lett. 73, 393 (1980); J. Comput. Chem. 3, 556 (1982).
    """

    window: int = 8
    patience: int = 20

    def __post_init__(self) -> None:
        whole(1, window=self.window, patience=self.patience)

    def start(self) -> "_PulayRun":
        """Begin a solve."""
        return _PulayRun(self.window)


class _PulayRun:
    def __init__(self, window: int) -> None:
        self._window = window
        self._values: Tensor | None = None  # (B, window, D)
        self._errors: Tensor | None = None  # (B, window, E)
        self._sizes: Tensor | None = None  # (B, window), infinite where there is nothing

    def __call__(self, z: Tensor, residual: Tensor, error: Tensor, restart: Tensor | None) -> Tensor:
        return self.mix(z + residual, error, restart)

    def mix(self, value: Tensor, error: Tensor, restart: Tensor | None = None) -> Tensor:
        """Remember values (B, D) with errors (B, E) and return the best mixture (B, D)."""
        if self._values is None or self._errors is None or self._sizes is None:
            self._values = value.new_zeros(len(value), self._window, value.shape[1])
            self._errors = error.new_zeros(len(error), self._window, error.shape[1])
            self._sizes = error.new_full((len(error), self._window), torch.inf)
        if restart is not None:
            self._sizes = self._sizes.masked_fill(restart[:, None], torch.inf)
        # The worst makes room, not the oldest: a bad early step must not outlive a good one.
        new = self._sizes.argmax(1, keepdim=True) == torch.arange(self._window, device=value.device)
        self._sizes = torch.where(new, error.detach().norm(dim=1, keepdim=True), self._sizes)
        self._values = torch.where(new[:, :, None], value[:, None], self._values)
        self._errors = torch.where(new[:, :, None], error[:, None], self._errors)
        away = self._errors - error[:, None]
        away = away.masked_fill((new | self._sizes.isinf())[:, :, None], 0.0)
        weights = least_squares(away, error, None)
        return value - combine(weights, self._values) + weights.sum(1, keepdim=True) * value


class DIIS:
    """Extrapolate values, such as Fock matrices, from their errors, such as commutators.

    Parameters
    ----------
    window : int
        How many past values to keep.

    References
    ----------
    P. Pulay, J. Comput. Chem. 3, 556 (1982).

    Examples
    --------
    A linear fixed point in two dimensions is solved by three vectors:

    >>> diis, x = DIIS(), torch.zeros(2, dtype=torch.float64)
    >>> A = torch.tensor([[0.5, 0.2], [0.1, -0.7]], dtype=torch.float64)
    >>> for _ in range(4):
    ...     fx = A @ x + 1.0
    ...     x = diis.update(fx, fx - x)
    >>> bool((x - (A @ x + 1.0)).abs().max() < 1e-10)
    True
    """

    def __init__(self, window: int = 8) -> None:
        whole(1, window=window)
        self._run = _PulayRun(window)

    def update(self, value: Tensor, error: Tensor) -> Tensor:
        """Add a value with its error (any shapes) and return the extrapolated value."""
        mixed = self._run.mix(value.reshape(1, -1), error.reshape(1, -1)).view_as(value)
        return mixed if bool(torch.isfinite(mixed).all()) else value
