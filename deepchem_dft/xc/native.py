"""Slater exchange, Perdew-Wang 92 and PBE written in torch, spin-polarised."""

import math

import torch
from torch import Tensor

from deepchem_dft.xc.base import XCFunctional
from deepchem_dft.xc.features import LDA_X, S_FACTOR, check_rho, floored, power

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


_BETA = 0.06672455060314922
_GAMMA = (1.0 - math.log(2.0)) / math.pi**2
_KAPPA = 0.8040
_MU = 0.2195149727645171
# t^2 = sigma / (4 phi^2 ks^2 n^2) with ks^2 = 4 kF / pi = _KS2 n^(1/3)
_KS2 = 4.0 * (3.0 * math.pi**2) ** (1.0 / 3.0) / math.pi


def pbe_exchange(n: Tensor, sigma: Tensor) -> Tensor:
    """Exchange energy per volume (Ha/Bohr^3) of an unpolarised density; ``sigma`` = |grad n|^2."""
    safe = floored(n, VACUUM)
    third = power(safe, 1.0 / 3.0)
    s2 = sigma / (S_FACTOR * safe * third) ** 2
    enhancement = 1.0 + _KAPPA - _KAPPA / (1.0 + (_MU / _KAPPA) * s2)
    return LDA_X * safe * third * enhancement * (n > VACUUM)


def pbe_correlation(n: Tensor, sigma: Tensor, up: Tensor | None = None, down: Tensor | None = None) -> Tensor:
    """Correlation energy per electron (Ha) of a positive density.

    Parameters
    ----------
    n, sigma : Tensor
        Total density (1/Bohr^3) and the squared gradient of the total density.
    up, down : Tensor, optional
        1 + zeta and 1 - zeta. Left out: no spin polarisation.
    """
    local = pw92(n, up, down, modified=True)
    phi2: Tensor | float
    phi3: Tensor | float
    if up is None or down is None:
        phi2 = phi3 = 1.0
    else:
        phi = 0.5 * (power(up, 2.0 / 3.0) + power(down, 2.0 / 3.0))
        phi2, phi3 = phi**2, phi**3
    t2 = sigma / (4.0 * _KS2 * phi2 * n * n * power(n, 1.0 / 3.0))
    a = (_BETA / _GAMMA) / torch.expm1(-local / (_GAMMA * phi3))
    x = a * t2
    # (1 + x) / (1 + x + x^2), written so that no power of a huge x is ever formed
    ratio = 1.0 / (1.0 + x * (x / (1.0 + x)))
    return local + _GAMMA * phi3 * torch.log1p((_BETA / _GAMMA) * t2 * ratio)


class PBE(XCFunctional):
    """Perdew-Burke-Ernzerhof, in torch: libxc's ``pbe,pbe``.

    Runs on any device and has derivatives of every order.

    References
    ----------
    Perdew, Burke and Ernzerhof, Phys. Rev. Lett. 77, 3865 (1996).

    Examples
    --------
    >>> rho = torch.tensor([[[0.1], [0.05], [0.0], [0.0]]], dtype=torch.float64)
    >>> round(PBE()(rho).item(), 6)
    -0.039612
    """

    family = "gga"
    constant = True
    uniform_gas = True

    def energy_density(self, rho: Tensor) -> Tensor:
        """Return the energy per volume (G,) in Ha/Bohr^3; see the base class for ``rho``."""
        check_rho(rho, self.family)
        if rho.shape[0] == 1:
            n, sigma = rho[0, 0], (rho[0, 1:4] ** 2).sum(0)
            safe = floored(n, VACUUM)
            correlation = safe * pbe_correlation(safe, sigma)
            return pbe_exchange(n, sigma) + correlation * (n > VACUUM)
        sigma = (rho[:, 1:4] ** 2).sum(1)
        exchange = 0.5 * pbe_exchange(2.0 * rho[:, 0], 4.0 * sigma).sum(0)
        # the floor is libxc's own: phi has an infinite slope where a spin channel is empty
        n, up, down, valid = spin_fractions(rho, floor=1e-12)
        total_sigma = (rho[:, 1:4].sum(0) ** 2).sum(0)
        return exchange + n * pbe_correlation(n, total_sigma, up, down) * valid
