"""Quadratures boiled down to few points: by merging neighbours, or onto the nodes of a grid."""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor


class Histogram(NamedTuple):
    """Weighted points at which a functional's integrand is evaluated.

    Attributes
    ----------
    points : Tensor, shape (k, B)
        Coordinates; what they are is the functional's business.
    weights : Tensor, shape (B,)
        The integral is the sum of ``weights * integrand(points)``, in Ha.
    """

    points: Tensor
    weights: Tensor


def merged(coordinates: Tensor, means: Tensor, weights: Tensor, widths: Sequence[float]) -> Histogram:
    """Merge points that fall into one bin; each bin is represented by its weighted mean.

    With the mean as representative the error is of second order in the width.

    Parameters
    ----------
    coordinates : Tensor, shape (k, G)
        By which points are sorted into bins.
    means : Tensor, shape (m, G)
        What is averaged, with the absolute weights: those of a quadrature may be negative, and a
        bin in which they cancel keeps its plain mean.
    weights : Tensor, shape (G,)
    widths : sequence of float
        Of the bins, by coordinate.

    Examples
    --------
    >>> x = torch.rand(1, 500, dtype=torch.float64)
    >>> few = merged(x, x, torch.ones(500, dtype=torch.float64), [0.1])
    >>> few.points.shape[-1] <= 11, round(few.weights.sum().item())
    (True, 500)
    """
    scale = coordinates.new_tensor(list(widths))[:, None]
    _, bins = torch.unique((coordinates / scale).round().long(), dim=1, return_inverse=True)
    count = int(bins.max()) + 1 if len(bins) else 0
    size = weights.abs()
    total = weights.new_zeros(count).index_add_(0, bins, weights)
    norm = weights.new_zeros(count).index_add_(0, bins, size)
    sums = weights.new_zeros(len(means), count).index_add_(1, bins, means * size)
    return Histogram(sums / norm, total)


def on_nodes(coordinates: Tensor, weights: Tensor, shape: Sequence[int]) -> Histogram:
    """Spread points over the nodes of a regular grid on the unit cube.

    Every system has the same nodes, so that an integrand is evaluated once for all of them. Each
    weight goes to the nearest three nodes of each axis by quadratic (Lagrange) interpolation: the
    integral of a polynomial of second degree is exact, of anything else right to third order.

    Parameters
    ----------
    coordinates : Tensor, shape (k, G)
        Within [0, 1].
    weights : Tensor, shape (G,)
    shape : sequence of int
        Nodes of each axis, at least 3.

    Returns
    -------
    Histogram
        Only nodes whose weight is not zero.

    Examples
    --------
    >>> x = torch.rand(2, 400, dtype=torch.float64)
    >>> w = torch.rand(400, dtype=torch.float64)
    >>> few = on_nodes(x, w, (5, 4))
    >>> len(few.weights)
    20
    >>> bool(torch.isclose((few.points.prod(0) * few.weights).sum(), (x.prod(0) * w).sum()))
    True
    """
    index = torch.zeros(1, len(weights), dtype=torch.long, device=weights.device)
    shares = weights[None]
    for x, nodes in zip(coordinates, shape, strict=True):
        place = x.clamp(0.0, 1.0) * (nodes - 1)
        centre = place.round().clamp(1, nodes - 2)
        d = place - centre
        near = centre.long() + torch.tensor([[-1], [0], [1]], device=weights.device)
        weight = torch.stack([0.5 * d * (d - 1.0), 1.0 - d * d, 0.5 * d * (d + 1.0)])
        index = (index[:, None] * nodes + near).flatten(0, 1)
        shares = (shares[:, None] * weight).flatten(0, 1)
    dense = weights.new_zeros(prod(shape)).index_add_(0, index.flatten(), shares.flatten())
    used = dense.nonzero().flatten()
    points, rest = [], used
    for nodes in reversed(shape):
        points.append((rest % nodes).to(weights.dtype) / (nodes - 1))
        rest = rest // nodes
    return Histogram(torch.stack(points[::-1]), dense[used])
