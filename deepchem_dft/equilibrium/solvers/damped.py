"""Damped iteration (simple mixing, Picard, forward iteration)."""

from dataclasses import dataclass

from torch import Tensor

from deepchem_dft.checks import positive, whole


@dataclass(frozen=True)
class Damped:
    """Go a fixed part of the way: ``z + mixing * (f(z) - z)``.

    Parameters
    ----------
    mixing : float
        1 is plain iteration, as a network of as many layers would do it.
    patience : int
        Evaluations without a new best residual before giving up, where there is something else.
    """

    mixing: float = 1.0
    patience: int = 15

    def __post_init__(self) -> None:
        positive(mixing=self.mixing)
        whole(1, patience=self.patience)

    def start(self) -> "Damped":
        """Begin a solve; nothing is remembered."""
        return self

    def __call__(self, z: Tensor, residual: Tensor, error: Tensor, restart: Tensor | None) -> Tensor:
        """Propose the next iterates, shape (B, D)."""
        return z + self.mixing * residual
