"""Matrices held below a norm, so that a map built of them is a contraction."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def shrink(matrices: Sequence[Tensor], bound: float | None, patches: int = 1) -> list[Tensor]:
    r"""Scale matrices down until their spectral norms add up to at most a bound.

    .. math:: s = \min(1, L / \textstyle\sum_k \sqrt p\,\|W_k\|_2), \qquad W_k \to s\,W_k

    Then a sum of the maps :math:`z \to W_k z` changes no faster than ``bound``. Matrices that obey
    the bound are returned as they are.

    Parameters
    ----------
    matrices : sequence of Tensor
        Each (n, m), or a convolution's (n, m, ...) weight, taken as a matrix of n rows.
    bound : float or None
        None leaves them alone.
    patches : int
        Elements of a convolution's window, p: a pixel is in as many windows, so the norm of a
        convolution is at most :math:`\sqrt p` times that of its matrix. 1 for ordinary matrices.

    Returns
    -------
    list of Tensor
        Differentiable, also through the norms.

    Examples
    --------
    >>> wide, narrow = shrink([torch.eye(3) * 4, torch.eye(3)], bound=0.5)
    >>> round(wide[0, 0].item(), 3), round(narrow[0, 0].item(), 3)
    (0.4, 0.1)
    """
    if bound is None:
        return list(matrices)
    norms = [torch.linalg.matrix_norm(m.flatten(1), ord=2) for m in matrices]
    total = torch.stack(norms).sum() * patches**0.5
    scale = bound / total.clamp_min(bound)
    return [m * scale for m in matrices]


def start(bound: float | None, *shape: int, parts: int = 1) -> nn.Parameter:
    """Return a random matrix, or kernel, well below a bound that it shares with other parts.

    At the bound its singular values, all equal, would make a kink of the norm.
    """
    norm = 0.7 * (1.0 if bound is None else bound) / parts
    return nn.Parameter(norm * nn.init.orthogonal_(torch.empty(*shape)))
