"""What a learned function is fined for: its size, and its roughness."""

from collections.abc import Callable

import torch
from torch import Tensor

#: Step of the finite differences, in coordinates.
STEP = 0.05


def fine(
    function: Callable[[Tensor], Tensor], points: Tensor, directions: Tensor, size: float, roughness: float
) -> Tensor:
    """Return ``size`` times the mean square of a function, plus ``roughness`` times its roughness.

    Parameters
    ----------
    function : callable
        Of coordinates, concatenated along the first dimension; returns as many values.
    points, directions : Tensor, shape (B, k)
        Where, and along what, the second derivative is taken, by finite differences.
    size, roughness : float

    Returns
    -------
    Tensor
        0-dimensional, differentiable in the function's parameters.

    Examples
    --------
    >>> points = torch.rand(4, 1, dtype=torch.float64)
    >>> value = fine(lambda x: x[:, 0] ** 2, points, torch.ones_like(points), 0.0, 1.0)
    >>> round(value.item(), 6)
    4.0
    """
    if roughness == 0.0:
        return size * function(points).to(points.dtype).square().mean()
    step = STEP * directions
    values = function(torch.cat([points, points - step, points + step]))
    here, before, after = values.to(points.dtype).reshape(3, -1)
    second = (before - 2.0 * here + after) / STEP**2
    return size * here.square().mean() + roughness * second.square().mean()
