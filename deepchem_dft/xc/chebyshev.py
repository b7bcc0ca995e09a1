"""Polynomials through the Chebyshev points of an interval, for what is dear to compute anywhere else."""

import math

import torch
from torch import Tensor


def points(low: float, high: float, count: int) -> list[float]:
    """Return the Chebyshev points of an interval, in increasing order.

    Examples
    --------
    >>> [round(x, 4) for x in points(0.0, 2.0, 2)]
    [0.2929, 1.7071]
    """
    angles = ((2 * k + 1) * math.pi / (2 * count) for k in range(count))
    return [0.5 * (low + high) - 0.5 * (high - low) * math.cos(angle) for angle in angles]


def weights(x: Tensor, nodes: list[float]) -> Tensor:
    """Return the weights of values at nodes in the polynomial's value at ``x``.

    Parameters
    ----------
    x : Tensor, 0-dimensional
    nodes : list of float

    Returns
    -------
    Tensor, shape (number of nodes,)
        Lagrange's polynomials: their sum is 1; differentiable in ``x``.

    Examples
    --------
    >>> weights(torch.tensor(0.25), [0.0, 1.0])
    tensor([0.7500, 0.2500])
    """
    at = torch.tensor(nodes, dtype=x.dtype, device=x.device)
    itself = torch.eye(len(nodes), dtype=torch.bool, device=x.device)
    distances = torch.where(itself, torch.ones_like(at), at[:, None] - at)
    return torch.where(itself, torch.ones_like(at), (x - at) / distances).prod(1)
