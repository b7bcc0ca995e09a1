"""Conventional functionals split into exchange and correlation, to be corrected part by part."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from deepchem_dft.errors import FunctionalError
from deepchem_dft.xc.base import NCOMP, XCFunctional
from deepchem_dft.xc.features import LDA_X, S_FACTOR, TAU_FACTOR, network_inputs, power
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


_LARGEST = 40.0  # exponent: nothing changes beyond, and its square still is a number
_RS = 0.6203504908994  # r_s n^(1/3)


class Points(NamedTuple):
    """What the factors see (rows of coordinates), and what they are factors of."""

    coordinates: Tensor  # (k, G), each in [0, 1]
    energy: Tensor  # (G,) of the parent, Ha/Bohr^3
    limit: Tensor | None = None  # parent's enhancement of exchange
    reduced: Tensor | None = None  # what omega is compared with, 1/Bohr


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
    def named(cls, name: str) -> "Parent":
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


def coordinates_of(rho: Tensor, family: str) -> Tensor:
    """Return local features ([u, [beta,]] r, zeta^2) of a density, each in [0, 1], as rows (k, G)."""
    return _coordinates(network_inputs(rho[:, : NCOMP[family]], family)[0])


def _coordinates(inputs: Tensor) -> Tensor:
    """Turn (n, xi[, s[, alpha]]) into ([u[, beta],] r, zeta^2), each within [0, 1]."""
    n, xi, *more = inputs.unbind(0)
    rows = []
    if more:
        s2 = more[0] * more[0]
        rows.append(s2 / (1.0 + s2))
        if len(more) > 1:
            up, down = (1.0 + xi).clamp(min=1e-12), (1.0 - xi).clamp(min=1e-12)
            spin = 0.5 * (power(up, 5.0 / 3.0) + power(down, 5.0 / 3.0))
            # tau_W / tau_UEG = 5 s^2 / 3 d_s; rounding makes alpha slightly negative
            alpha = more[1]
            rows.append(alpha / (1.0 + alpha + (5.0 / 3.0) * s2 / spin))
    root = power(n, 1.0 / 3.0)
    return torch.stack([*rows, _RS / (_RS + root), xi * xi])


def exchange_points(
    parent: Parent, rho: Tensor, reduced: Callable[[Tensor, Tensor], Tensor] | None = None
) -> list[Points]:
    """Return the exchange of each spin channel, or of a closed shell as a whole.

    Parameters
    ----------
    parent : Parent
    rho : Tensor
        As in ``XCFunctional.energy_density``.
    reduced : callable, optional
        Makes ``Points.reduced`` of density and enhancement of a channel.
    """
    rho = rho[:, : NCOMP[parent.family]]
    if rho.shape[0] == 1:
        return [_channel(parent, rho, 1.0, reduced)]
    return [_channel(parent, 2.0 * rho[spin : spin + 1], 0.5, reduced) for spin in (0, 1)]


def _channel(
    parent: Parent, rho: Tensor, share: float, reduced: Callable[[Tensor, Tensor], Tensor] | None
) -> Points:
    inputs, _ = network_inputs(rho, parent.family)
    energy = parent.exchange.energy_density(rho)
    n = inputs[0]
    enhancement = energy / (LDA_X * n * power(n, 1.0 / 3.0))
    compared = None if reduced is None else reduced(n, enhancement)
    return Points(_coordinates(inputs)[:-2], share * energy, enhancement, compared)


def correlation_points(parent: Parent, rho: Tensor) -> Points:
    """Return the correlation of a density."""
    rho = rho[:, : NCOMP[parent.family]]
    return Points(coordinates_of(rho, parent.family), parent.correlation.energy_density(rho))


def enhanced_exchange(at: Points, value: Tensor, bound: float) -> Tensor:
    """Return exchange times a factor, (G,), whose total enhancement stays below a bound.

    Parameters
    ----------
    at : Points
    value : Tensor, shape (G,)
        Logarithm of the factor where it is far from the bound.
    bound : float
    """
    assert at.limit is not None
    grown = torch.expm1(value.clamp(-_LARGEST, _LARGEST))
    limit = at.limit.clamp(max=bound)  # beyond its bound the form has a pole
    return at.energy * (bound * (1.0 + grown) / (bound + limit * grown))


def enhanced_correlation(at: Points, value: Tensor) -> Tensor:
    """Return correlation times a factor between 0 and 2, (G,)."""
    return at.energy * (1.0 + torch.tanh(value))


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
