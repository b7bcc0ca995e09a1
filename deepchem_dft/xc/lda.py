"""Local density approximation written in torch: Slater exchange and Perdew-Wang 92 correlation."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from deepchem_dft.xc.base import XCFunctional
from deepchem_dft.xc.features import LDA_X, check_rho, floored, power

#: Total density (1/Bohr^3) at and below which the energy density is exactly zero.
VACUUM = 1e-14

# Rows: paramagnetic, ferromagnetic, minus the spin stiffness. Columns: A, alpha1, beta1..beta4.
# Source: Perdew and Wang, Phys. Rev. B 45, 13244 (1992), Table I.
_PW92 = (
    (0.031091, 0.21370, 7.5957, 3.5876, 1.6382, 0.49294),
    (0.015545, 0.20548, 14.1189, 6.1977, 3.3662, 0.62517),
    (0.016887, 0.11125, 10.357, 3.6231, 0.88026, 0.49671),
)
# The same fit with more digits of A ("modified PW", the one inside PBE).
_PW92_MOD = tuple((a, *row[1:]) for a, row in zip((0.0310907, 0.01554535, 0.0168869), _PW92, strict=True))
# f''(0), as rounded in the 1992 paper and in full.
_FZ20, _FZ20_MOD = 1.709921, 1.709920934161365617563962776245
_RS = (3.0 / (4.0 * math.pi)) ** (1.0 / 3.0)
_F_NORM = 1.0 / (2.0 ** (4.0 / 3.0) - 2.0)


def _pw_g(rs: Tensor, row: tuple[float, ...]) -> Tensor:
    a, a1, b1, b2, b3, b4 = row
    root = rs.sqrt()
    denominator = 2.0 * a * root * (b1 + root * (b2 + root * (b3 + root * b4)))
    return -2.0 * a * (1.0 + a1 * rs) * torch.log1p(1.0 / denominator)


def pw92(n: Tensor, up: Tensor | None = None, down: Tensor | None = None, modified: bool = False):
    """Correlation energy per electron of the uniform gas.

    Parameters
    ----------
    n : Tensor
        Total density in 1/Bohr^3, positive.
    up, down : Tensor, optional
        1 + zeta and 1 - zeta, positive. Left out: no spin polarisation.
    modified : bool
        Use the constants with more digits, as PBE does.

    Returns
    -------
    Tensor
        Energy per electron in Ha, of the shape of ``n``.

    Examples
    --------
    >>> rs2 = torch.tensor(3 / (4 * math.pi * 2.0**3), dtype=torch.float64)
    >>> round(pw92(rs2).item(), 4)
    -0.0448
    """
    rows, fz20 = (_PW92_MOD, _FZ20_MOD) if modified else (_PW92, _FZ20)
    rs = _RS / power(n, 1.0 / 3.0)
    para = _pw_g(rs, rows[0])
    if up is None or down is None:
        return para
    ferro, stiffness = _pw_g(rs, rows[1]), _pw_g(rs, rows[2]) / fz20
    f = (up * power(up, 1.0 / 3.0) + down * power(down, 1.0 / 3.0) - 2.0) * _F_NORM
    zeta4 = (0.5 * (up - down)) ** 4
    return para + zeta4 * f * (ferro - para + stiffness) - f * stiffness


def spin_fractions(rho: Tensor, floor: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return total density, 1 + zeta, 1 - zeta and where there is any density at all.

    Each spin density is floored at ``floor``, so that nothing computed from them is infinite.
    """
    valid = rho[0, 0] + rho[1, 0] > VACUUM
    alpha, beta = floored(rho[0, 0], floor), floored(rho[1, 0], floor)
    n = alpha + beta
    return n, 2.0 * alpha / n, 2.0 * beta / n, valid


def slater(n: Tensor) -> Tensor:
    """Exchange energy per volume of an unpolarised density ``n``; zero where ``n`` vanishes."""
    safe = floored(n, VACUUM)
    return LDA_X * safe * power(safe, 1.0 / 3.0) * (n > VACUUM)


class SlaterPW92(XCFunctional):
    """Slater exchange plus Perdew-Wang 92 correlation, in torch: libxc's ``lda,pw``.

    Runs on any device and has derivatives of every order.

    References
    ----------
    Perdew and Wang, Phys. Rev. B 45, 13244 (1992).

    Examples
    --------
    >>> rho = torch.full((1, 1, 1), 0.1, dtype=torch.float64)
    >>> round(SlaterPW92()(rho).item(), 6)
    -0.039606
    """

    family = "lda"
    constant = True
    uniform_gas = True

    def energy_density(self, rho: Tensor) -> Tensor:
        """Return the energy per volume (G,) in Ha/Bohr^3; see the base class for ``rho``."""
        check_rho(rho, self.family)
        if rho.shape[0] == 1:
            n = rho[0, 0]
            safe = floored(n, VACUUM)
            return slater(n) + safe * pw92(safe) * (n > VACUUM)
        exchange = 0.5 * (slater(2.0 * rho[0, 0]) + slater(2.0 * rho[1, 0]))
        n, up, down, valid = spin_fractions(rho, floor=1e-15)
        return exchange + n * pw92(n, up, down) * valid
