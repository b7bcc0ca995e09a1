"""What a learned function is fined for: its size, and its roughness."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from deepchem_dft.xc.factors import Factor

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


def fine_of_factors(
    exchange: Factor, correlation: Factor, like: Tensor, size: float, roughness: float
) -> Tensor:
    """Return the fine for large and for rough factors, differentiable in their parameters.

    Parameters
    ----------
    exchange, correlation : Factor
        g and h, of coordinates in [0, 1].
    like : Tensor
        Of the type and at the place that the fine is wanted in.
    size : float
        Times the mean of g^2 + h^2 over the cube of coordinates.
    roughness : float
        Times the mean squares of their second derivatives along random directions, whose
        components have unit variance (by finite differences at fixed random points).
    """
    total = like.new_zeros(())
    for factor, count in ((exchange, 1000), (correlation, 2000)):
        axes = factor.size
        if not axes:
            continue
        draw = torch.Generator().manual_seed(axes)
        points = torch.rand(axes, count, generator=draw, dtype=torch.float64)
        directions = torch.randn(axes, count, generator=draw, dtype=torch.float64)
        total = total + fine(
            lambda x: factor(x.T),  # noqa: B023
            points.T.to(like),
            directions.T.to(like),
            size,
            roughness,
        )
    return total
