"""The Perdew-Burke-Ernzerhof functional written in torch, spin-polarised."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from deepchem_dft.xc.base import XCFunctional
from deepchem_dft.xc.features import LDA_X, S_FACTOR, check_rho, floored, power
from deepchem_dft.xc.lda import VACUUM, pw92, spin_fractions

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
