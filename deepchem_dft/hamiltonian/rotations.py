"""Rotations of real spherical harmonics: coupling coefficients, Wigner matrices, frames of pairs.

Components of angular momentum l run over m = -l ... l of the standard real harmonics, as PySCF
orders d and f functions; for l = 1 that is y, z, x. They are e3nn's harmonics of the cyclically
exchanged axes (y, z, x).
"""

from functools import cache

import torch
from torch import Tensor

from deepchem_dft.torchstate import unaffected

#: Cartesian axes in the order of the components of l = 1.
CYCLE = (1, 2, 0)


@cache
@unaffected
def coupling(l1: int, l2: int, l: int) -> Tensor:
    """Real coupling coefficients of two angular momenta to a third.

    Parameters
    ----------
    l1, l2, l : int

    Returns
    -------
    Tensor, shape (2 l1 + 1, 2 l2 + 1, 2 l + 1), float64
        As a matrix from pairs to components its columns are orthonormal, and those of different
        ``l`` are orthogonal to each other.

    Examples
    --------
    >>> c = coupling(1, 1, 2)
    >>> bool((torch.einsum("abi,abj->ij", c, c) - torch.eye(5)).abs().max() < 1e-14)
    True
    """
    from e3nn.o3 import wigner_3j  # takes seconds to import

    return wigner_3j(l1, l2, l, dtype=torch.float64) * (2 * l + 1) ** 0.5


def wigner(rotation: Tensor, lmax: int) -> list[Tensor]:
    """Return the matrices that turn real spherical harmonics, by recursion from l to l + 1.

    Parameters
    ----------
    rotation : Tensor, shape (..., 3, 3)
        Proper rotations of x, y, z.
    lmax : int

    Returns
    -------
    list of Tensor
        For each l, shape (..., 2 l + 1, 2 l + 1): components ``c`` become ``D @ c``.

    Examples
    --------
    >>> quarter = torch.tensor([[0., -1., 0.], [1., 0., 0.], [0., 0., 1.]]).double()  # about z
    >>> wigner(quarter, 1)[1].long()  # y becomes -x, z stays, x becomes y
    tensor([[ 0,  0,  1],
            [ 0,  1,  0],
            [-1,  0,  0]])
    """
    cycle = list(CYCLE)
    first = rotation[..., cycle, :][..., :, cycle]
    found = [torch.ones_like(rotation[..., :1, :1]), first]
    for l in range(2, lmax + 1):
        c = coupling(l - 1, 1, l).to(rotation)
        half = torch.einsum("...ik,ija->...kja", found[-1], c)
        half = torch.einsum("...kja,...jn->...kna", half, first)
        found.append(torch.einsum("...kna,knb->...ab", half, c))
    return found[: lmax + 1]


def frames(directions: Tensor) -> Tensor:
    """Return a proper rotation for each direction that turns it into the z axis.

    How the other two axes lie is arbitrary, and jumps between directions.

    Parameters
    ----------
    directions : Tensor, shape (N, 3)
        Of any length but zero.

    Returns
    -------
    Tensor, shape (N, 3, 3)

    Examples
    --------
    >>> r = torch.tensor([[3.0, 0.0, -4.0]], dtype=torch.float64)
    >>> (frames(r) @ r[:, :, None]).flatten().round(decimals=12)
    tensor([0., 0., 5.], dtype=torch.float64)
    """
    z = torch.nn.functional.normalize(directions, dim=1)
    # Start from the axis that is least parallel, so that nothing is lost to cancellation.
    helper = torch.nn.functional.one_hot(z.abs().argmin(1), 3).to(z)
    x = torch.nn.functional.normalize(helper - (helper * z).sum(1, keepdim=True) * z, dim=1)
    return torch.stack([x, torch.linalg.cross(z, x), z], 1)
