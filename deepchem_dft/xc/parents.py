"""Conventional functionals split into exchange and correlation, to be corrected part by part."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from deepchem_dft.errors import FunctionalError
from deepchem_dft.xc.base import NCOMP, XCFunctional
from deepchem_dft.xc.features import LDA_X, S_FACTOR, TAU_FACTOR
from deepchem_dft.xc.libxc import Libxc

#: Names of the exchange and of the correlation part in libxc.
PARTS = {
    "lda": ("lda_x", "lda_c_pw_mod"),
    "pbe": ("gga_x_pbe", "gga_c_pbe"),
    "revpbe": ("gga_x_pbe_r", "gga_c_pbe"),
    "blyp": ("gga_x_b88", "gga_c_lyp"),
    "tpss": ("mgga_x_tpss", "mgga_c_tpss"),
    "r2scan": ("mgga_x_r2scan", "mgga_c_r2scan"),
}


@dataclass(frozen=True)
class Parent:
    """Exchange and correlation of a conventional functional.

    Attributes
    ----------
    name : str
    family : {"lda", "gga", "mgga"}
    exchange, correlation : XCFunctional
    """

    name: str
    family: str
    exchange: XCFunctional
    correlation: XCFunctional

    @classmethod
    def named(cls, name: str) -> Parent:
        """Return a parent of :data:`PARTS`.

        Raises
        ------
        FunctionalError
            For any other name.

        Examples
        --------
        >>> Parent.named("r2scan").family
        'mgga'
        """
        key = str(name).strip().lower()
        if key not in PARTS:
            raise FunctionalError(
                f"{name!r} is not split into exchange and correlation here",
                field="parent",
                remedy=f"use one of {', '.join(PARTS)}",
            )
        exchange, correlation = (Libxc(part) for part in PARTS[key])
        return cls(key, exchange.family, exchange, correlation)

    @property
    def uniform_gas(self) -> bool:
        """True if its energy of the uniform gas is that of Slater and PW92."""
        return self.name not in ("lda", "blyp")  # PW92 from another fit, and LYP

    def enhancement(self, s2: Tensor, alpha: Tensor) -> Tensor:
        """Return the exchange enhancement factor of an unpolarised density, without gradient.

        Parameters
        ----------
        s2, alpha : Tensor, shape (B,)
            Squared reduced gradient and iso-orbital indicator; exchange depends on nothing else.

        Examples
        --------
        >>> one = torch.ones(1, dtype=torch.float64)
        >>> round(Parent.named("pbe").enhancement(one, one).item(), 4)
        1.1724
        """
        sigma = s2 * S_FACTOR**2  # at n = 1
        rho = s2.new_zeros(1, 5, len(s2))
        rho[0, 0], rho[0, 1] = 1.0, sigma.sqrt()
        rho[0, 4] = sigma / 8.0 + alpha * TAU_FACTOR
        with torch.no_grad():
            return self.exchange.energy_density(rho[:, : NCOMP[self.family]]) / LDA_X


def hybrid_name(parent: str, share: float) -> str:
    """Return libxc's spelling of a parent with a share of exact in place of its own exchange.

    Raises
    ------
    FunctionalError
        If the parent is not split here.

    Examples
    --------
    >>> hybrid_name("pbe", 0.25)
    '0.75*gga_x_pbe+0.25*hf,gga_c_pbe'
    """
    exchange, correlation = PARTS[Parent.named(parent).name]
    return f"{1.0 - share:.12g}*{exchange}+{share:.12g}*hf,{correlation}"
