"""Distances as smooth numbers that vanish at the cutoff."""

from __future__ import annotations

import torch
from torch import Tensor


def envelope(distance: Tensor, cutoff: float) -> Tensor:
    """Fall smoothly from 1 to 0 at the cutoff, with two continuous derivatives.

    References
    ----------
    J. Gasteiger, J. Gross and S. Guennemann, Directional message passing for molecular graphs,
    ICLR (2020), with exponent 6.

    Examples
    --------
    >>> envelope(torch.tensor([0.0, 5.0, 10.0, 12.0]), 10.0)
    tensor([1.0000, 0.8555, 0.0000, 0.0000])
    """
    x = (distance / cutoff).clamp(max=1.0)
    return 1 - 28 * x**6 + 48 * x**7 - 21 * x**8


def radial_basis(distance: Tensor, cutoff: float, size: int) -> Tensor:
    """Return ``size`` spherical Bessel functions of order 0 that vanish at the cutoff.

    Examples
    --------
    >>> radial_basis(torch.tensor([2.0]), 10.0, 8).shape
    torch.Size([1, 8])
    """
    n = torch.arange(1, size + 1, device=distance.device, dtype=distance.dtype)
    waves = torch.sin(torch.pi * n * distance[:, None] / cutoff) / distance[:, None]
    return waves * envelope(distance, cutoff)[:, None] * (2 / cutoff) ** 0.5
