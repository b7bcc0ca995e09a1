"""Dimensionless density features that stay finite, with derivatives, as the density vanishes."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from deepchem_dft.errors import FunctionalError
from deepchem_dft.xc.base import NCOMP

#: Density (1/Bohr^3) below which a learned functional contributes exactly nothing.
DENSITY_FLOOR = 1e-12
#: The reduced gradient is cut here; it is passed only where the density is about to vanish.
S_MAX = 1e3
#: Bounds of the iso-orbital indicator. Slightly below zero, because rounding makes it so wherever
#: one orbital dominates, and a cut at zero would lose half of those derivatives.
ALPHA_MIN, ALPHA_MAX = -0.05, 1e6
#: sqrt(s^2 + S_SMOOTH^2) stands for s, so that the second derivative exists at zero gradient.
S_SMOOTH = 1e-10

#: s = |grad n| / (S_FACTOR n^(4/3))
S_FACTOR = 2.0 * (3.0 * math.pi**2) ** (1.0 / 3.0)
#: Kinetic energy density of the uniform gas: TAU_FACTOR n^(5/3), for tau = 1/2 sum |grad phi|^2.
TAU_FACTOR = 0.3 * (3.0 * math.pi**2) ** (2.0 / 3.0)
#: Exchange energy of the uniform gas: LDA_X n^(4/3).
LDA_X = -0.75 * (3.0 / math.pi) ** (1.0 / 3.0)

_COMPONENTS = {1: "density", 4: "density and gradient", 5: "density, gradient and tau"}


class Features(NamedTuple):
    """Features of a density, each of shape (G,), safe to use in a network.

    Attributes
    ----------
    n : Tensor
        Total density in 1/Bohr^3; 1 where the point is not ``valid``.
    xi : Tensor
        Spin polarisation (n_alpha - n_beta) / n, in [-1, 1].
    s : Tensor or None
        Reduced gradient of the total density (dimensionless).
    alpha : Tensor or None
        Iso-orbital indicator (tau - tau_W) / tau_UEG (dimensionless).
    valid : Tensor of bool
        Where the density exceeds :data:`DENSITY_FLOOR`; elsewhere the energy is to be zero.
    """

    n: Tensor
    xi: Tensor
    s: Tensor | None
    alpha: Tensor | None
    valid: Tensor


def check_rho(rho: Tensor, family: str) -> None:
    """Raise ``FunctionalError`` unless ``rho`` has the rows that ``family`` reads.

    Examples
    --------
    >>> check_rho(torch.zeros(2, 4, 10), "gga")
    >>> check_rho(torch.zeros(2, 1, 10), "gga")
    Traceback (most recent call last):
    ...
    deepchem_dft.errors.FunctionalError: a density of shape (2, 1, 10) cannot feed a gga \
functional. Remedy: pass (2, 4, G) or (1, 4, G): density and gradient.
    """
    rows = NCOMP[family]
    if rho.dim() != 3 or rho.shape[0] not in (1, 2) or rho.shape[1] < rows:
        raise FunctionalError(
            f"a density of shape {tuple(rho.shape)} cannot feed a {family} functional",
            remedy=f"pass (2, {rows}, G) or (1, {rows}, G): {_COMPONENTS[rows]}",
        )


def floored(x: Tensor, floor: float) -> Tensor:
    """Return ``max(x, floor)`` with unit derivative everywhere.

    Below the floor the derivative is the one-sided limit at the floor (what libxc does) instead of
    zero, so that the potential of an empty spin channel is that of a nearly empty one.

    Examples
    --------
    >>> floored(torch.tensor([0.0, 2.0]), 0.5)
    tensor([0.5000, 2.0000])
    """
    return x + (floor - x.detach()).clamp(min=0.0)


def spin_features(rho: Tensor, family: str = "mgga") -> Features:
    r"""Compute the features that a ``family`` functional reads.

    .. math:: s = \frac{|\nabla n|}{2(3\pi^2)^{1/3} n^{4/3}}, \qquad
              \alpha = \frac{\tau - |\nabla n|^2 / 8n}{\frac{3}{10}(3\pi^2)^{2/3} n^{5/3} d_s(\xi)},
              \quad d_s = \tfrac12[(1+\xi)^{5/3} + (1-\xi)^{5/3}]

    Parameters
    ----------
    rho : Tensor, shape (2, ncomp, G) or (1, ncomp, G)
        Density rows as in :class:`~deepchem_dft.xc.base.XCFunctional`. A leading 1 is a closed
        shell: ``xi`` is zero and the spin factors are left out.
    family : {"lda", "gga", "mgga"}

    Returns
    -------
    Features

    Raises
    ------
    FunctionalError
        If ``rho`` has too few rows.

    Examples
    --------
    >>> rho = torch.tensor([[[0.3]], [[0.1]]], dtype=torch.float64)
    >>> f = spin_features(rho, "lda")
    >>> round(f.n.item(), 3), round(f.xi.item(), 3)
    (0.4, 0.5)
    """
    check_rho(rho, family)
    polarised = rho.shape[0] == 2
    total = rho.sum(0) if polarised else rho[0]
    valid = total[0] > DENSITY_FLOOR
    n = torch.where(valid, total[0], 1.0)
    if polarised:
        difference = torch.where(valid, rho[0, 0] - rho[1, 0], 0.0)
        xi = (difference / n).clamp(-1.0, 1.0)
    else:
        xi = torch.zeros_like(n)
    if family == "lda":
        return Features(n, xi, None, None, valid)

    gradient = torch.where(valid, total[1:4], 0.0)
    sigma = (gradient * gradient).sum(0)
    third = n ** (1.0 / 3.0)
    s2 = sigma / (S_FACTOR * n * third) ** 2
    s = (s2 + S_SMOOTH**2).sqrt().clamp(max=S_MAX)
    if family == "gga":
        return Features(n, xi, s, None, valid)

    tau = torch.where(valid, total[4], 0.0)
    tau_ueg = TAU_FACTOR * n * third**2
    if polarised:
        up = floored(1.0 + xi, 1e-12) ** (5.0 / 3.0)
        down = floored(1.0 - xi, 1e-12) ** (5.0 / 3.0)
        tau_ueg = tau_ueg * 0.5 * (up + down)
    alpha = ((tau - sigma / (8.0 * n)) / tau_ueg).clamp(ALPHA_MIN, ALPHA_MAX)
    return Features(n, xi, s, alpha, valid)
