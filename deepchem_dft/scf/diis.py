"""Direct inversion in the iterative subspace (Pulay, J. Comput. Chem. 3, 556 (1982))."""

from __future__ import annotations

import torch
from torch import Tensor


class DIIS:
    """Extrapolate Fock matrices from their commutators with the density.

    Parameters
    ----------
    window : int
        How many past Fock matrices to keep.

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
        self.window = window
        self._values: list[Tensor] = []
        self._errors: list[Tensor] = []

    def update(self, value: Tensor, error: Tensor) -> Tensor:
        """Add a value with its error and return the extrapolated value (same shape)."""
        self._values.append(value)
        self._errors.append(error.flatten())
        if len(self._values) > self.window:
            # Drop the worst, not the oldest: a bad early step must not outlive a good one.
            worst = max(range(len(self._errors) - 1), key=lambda i: float(self._errors[i].norm()))
            del self._values[worst], self._errors[worst]
        count = len(self._values)
        if count == 1:
            return value
        errors = torch.stack(self._errors)
        # The system is tiny; the CPU has the solver for rank-deficient ones, GPUs do not.
        gram = (errors @ errors.T).cpu()
        # Scaling to unit diagonal keeps the small, late errors visible.
        scale = gram.diagonal().clamp_min(1e-300).rsqrt()
        system = torch.zeros(count + 1, count + 1, dtype=gram.dtype, device=gram.device)
        system[:count, :count] = gram * scale[:, None] * scale[None, :]
        system[count, :count] = system[:count, count] = scale / scale.max()
        right = torch.zeros(count + 1, dtype=gram.dtype, device=gram.device)
        right[count] = 1.0
        solution = torch.linalg.lstsq(system, right[:, None], rcond=1e-14, driver="gelsd").solution
        weights = solution[:count, 0] * scale
        weights = (weights / weights.sum()).to(value.device)
        if not bool(torch.isfinite(weights).all()):
            return value
        return torch.einsum("i,i...->...", weights, torch.stack(self._values))
