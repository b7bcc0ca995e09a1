"""A conventional functional with learned, bounded factors on its exchange and its correlation."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from deepchem_dft.errors import FunctionalError
from deepchem_dft.xc.base import XCFunctional
from deepchem_dft.xc.binning import Histogram, on_nodes
from deepchem_dft.xc.factors import make_factor
from deepchem_dft.xc.features import DENSITY_FLOOR
from deepchem_dft.xc.parents import (
    Parent,
    Points,
    correlation_points,
    enhanced_correlation,
    enhanced_exchange,
    exchange_points,
)
from deepchem_dft.xc.penalty import fine_of_factors
from deepchem_dft.xc.quadrature import Quadrature
from deepchem_dft.xc.ranges import RangeSeparation, attenuation

#: Largest exchange enhancement of an unpolarised density that keeps the Lieb-Oxford bound for all
#: densities in the form of Perdew, Burke and Ernzerhof, Phys. Rev. Lett. 77, 3865 (1996), eq. 11.
LIEB_OXFORD = 1.804
#: Nodes of the histograms: (u, beta) of exchange; (u, beta, r, zeta^2) of correlation.
NODES = {"exchange": (61, 61), "correlation": (21, 21, 25, 9)}


Prepared: TypeAlias = tuple[list[Points], Points]


class EnhancedXC(XCFunctional):
    r"""Exchange and correlation of a parent, each times a learned factor of bounded size.

    .. math::

        E = (1-a)\, \tfrac12 \sum_\sigma E_x[2 n_\sigma] + a E_x^\mathrm{HF} + E_c, \qquad
        F_x = \frac{b F e^{g}}{b + F (e^{g} - 1)}, \quad
        e_c = e_c^\mathrm{parent} (1 + \tanh h)

    with F the parent's exchange enhancement, b its largest value allowed, g(u, beta) and
    h(u, beta, r, zeta^2) learned functions of u = s^2/(1 + s^2),
    beta = (tau - tau_W)/(tau + tau_UEG), r = r_s/(1 + r_s) and the squared spin polarisation. As
    g and h are zero the functional is its parent.

    Exact properties kept whatever is learned: the spin scaling of exchange, 0 < F_x < b (the
    Lieb-Oxford bound for b = 1.804), correlation that is never positive where the parent's is not
    and vanishes where the parent's does (one electron, for r2SCAN), the uniform gas
    (``ueg_exact``), uniform coordinate scaling of exchange, symmetry in spin. Where a parent itself
    exceeds b (revPBE and BLYP at large gradients), its exchange is left as it is.

    Parameters
    ----------
    parent : str
        One of :data:`~deepchem_dft.xc.parents.PARTS`.
    hidden : sequence of int
        Widths of the hidden layers of both networks. With ``degree``, no networks.
    activation : str
        As in :func:`~deepchem_dft.xc.networks.build_network`.
    degree : int, optional
        Total degree of polynomials to take in place of networks: tens of coefficients.
    bound : float
        Of the exchange enhancement.
    exchange : float
        Share a of exact exchange.
    train_exchange : bool
    range_separation : mapping, optional
        Keywords of :class:`~deepchem_dft.xc.ranges.RangeSeparation`. ``exchange`` is then the share at
        short range, and the parent's exchange is that of short range, as far as exact exchange takes its
        place at long range. F_x < b holds for the exchange that is left.
    ueg_exact : bool
        Subtract what the factors are at u = 0, beta = 1/2, so that the uniform gas is the parent's.
        Not for a local parent.
    dtype : {"float64", "float32"}
        Precision of the networks alone.
    zero_last : bool
        Start at the parent.
    seed : int, optional
        Of the initial weights.

    Raises
    ------
    FunctionalError
        For options that describe no functional.

    References
    ----------
    Kept bounds and inputs: Sun, Ruzsinszky and Perdew, Phys. Rev. Lett. 115, 036402 (2015);
    Furness et al., J. Phys. Chem. Lett. 11, 8208 (2020).

    Examples
    --------
    >>> xc = EnhancedXC("pbe", hidden=[8], exchange=0.25, seed=0)
    >>> rho = torch.tensor([[[0.1], [0.05], [0.0], [0.0]]], dtype=torch.float64)
    >>> from deepchem_dft.xc import Libxc
    >>> semilocal = Libxc("0.75*gga_x_pbe+gga_c_pbe")(rho)
    >>> bool(torch.isclose(xc(rho), semilocal, rtol=1e-12)), xc.exchange_terms[0][0].item()
    (True, 0.25)
    >>> far = EnhancedXC("r2scan", hidden=[8], exchange=0.15, range_separation={"omega": 0.3})
    >>> [(round(float(share), 2), omega) for share, omega in far.exchange_terms]
    [(0.15, None), (0.85, 0.3)]
    """

    def __init__(
        self,
        parent: str,
        *,
        hidden: Sequence[int] = (16, 16),
        activation: str = "silu",
        degree: int | None = None,
        bound: float = LIEB_OXFORD,
        exchange: float = 0.0,
        train_exchange: bool = False,
        range_separation: Mapping[str, Any] | None = None,
        ueg_exact: bool = True,
        dtype: str = "float64",
        zero_last: bool = True,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self.parent = Parent.named(parent)
        self.family = self.parent.family
        if not 1.0 < float(bound) < 100.0:
            raise FunctionalError(
                f"{bound!r} bounds no exchange enhancement",
                field="bound",
                remedy=f"use a number above 1 such as {LIEB_OXFORD}",
            )
        if not 0.0 <= float(exchange) <= 1.0:
            raise FunctionalError(
                f"{exchange!r} is no share of exact exchange",
                field="exchange",
                remedy="use a number from 0 to 1",
            )
        self.bound = float(bound)
        self.share = nn.Parameter(
            torch.tensor(float(exchange), dtype=torch.float64), requires_grad=bool(train_exchange)
        )
        self.hybrid = bool(exchange) or bool(train_exchange)
        self.ranges = None if range_separation is None else _ranges(range_separation)
        factor: dict[str, Any] = {
            "hidden": hidden,
            "activation": activation,
            "degree": degree,
            "dtype": dtype,
            "zero_last": zero_last,
        }
        gradient = {"lda": 0, "gga": 1, "mgga": 2}[self.family]
        keeps_gas = bool(ueg_exact) and self.family != "lda"
        uniform = [0.0, 0.5][:gradient] if keeps_gas else None
        second = None if seed is None else seed + 1
        self.x_factor = make_factor(gradient, uniform=uniform, seed=seed, **factor)
        self.c_factor = make_factor(gradient + 2, uniform=uniform, seed=second, **factor)
        self._config: dict[str, Any] = {
            "parent": self.parent.name,
            "hidden": list(hidden),
            "activation": activation,
            "degree": degree,
            "bound": self.bound,
            "exchange": float(exchange),
            "train_exchange": bool(train_exchange),
            "ueg_exact": keeps_gas,
            "dtype": dtype,
            "zero_last": bool(zero_last),
            "seed": seed,
        }
        self.uniform_gas = keeps_gas and self.parent.uniform_gas

    @property
    def config(self) -> dict[str, Any]:
        """Arguments that make one of this kind again: plain data."""
        if self.ranges is None:
            return self._config
        return {**self._config, "range_separation": self.ranges.config}

    @property
    def exchange_terms(self) -> list[tuple[float | Tensor, float | None]]:
        """Exact exchange as ``(coefficient, omega)``; the coefficients carry gradients."""
        if self.ranges is None:
            return [(self.share, None)] if self.hybrid else []
        return [term for term in self.ranges.terms(self.share) if self.hybrid or term[1] is not None]

    # -- densities ---------------------------------------------------------------------------

    def _exchange_points(self, rho: Tensor) -> list[Points]:
        return exchange_points(self.parent, rho, None if self.ranges is None else self.ranges.reduced)

    def _correlation_points(self, rho: Tensor) -> Points:
        return correlation_points(self.parent, rho)

    def _exchange_energy(self, at: Points) -> Tensor:
        energy = self._enhanced(at)
        if self.ranges is not None:
            assert at.reduced is not None
            near = attenuation(at.reduced / self.ranges.present.to(energy.dtype))
            return energy * self.ranges.semilocal(self.share, near)
        return (1.0 - self.share.to(energy.dtype)) * energy if self.hybrid else energy

    def _enhanced(self, at: Points) -> Tensor:
        """Return the exchange energy with its factor, as if there were no exact exchange."""
        if not len(at.coordinates):  # a local parent: a factor would break the uniform gas
            return at.energy
        return enhanced_exchange(at, self.x_factor(at.coordinates), self.bound)

    def _correlation_energy(self, at: Points) -> Tensor:
        return enhanced_correlation(at, self.c_factor(at.coordinates))

    def energy_density(self, rho: Tensor) -> Tensor:
        """Return the energy per volume (G,) in Ha/Bohr^3; see the base class for ``rho``."""
        return self.energy_at(self.prepared(rho))

    def prepared(self, rho: Tensor) -> Prepared:
        """Return what depends on the density and the parent alone, for :meth:`energy_at`.

        Functionals of one parent (``config["parent"]``) may share it.
        """
        return self._exchange_points(rho), self._correlation_points(rho)

    def energy_at(self, prepared: Prepared) -> Tensor:
        """Return the energy per volume (G,) in Ha/Bohr^3 of a prepared density."""
        exchange, correlation = prepared
        energy = sum(self._exchange_energy(at) for at in exchange)
        return energy + self._correlation_energy(correlation)

    def at_density(self, rho: Tensor, quadrature: Quadrature) -> Callable[[], Tensor]:
        """Return the energy of one density as a function of the parameters; see the base class."""
        rho = rho.detach()
        total = rho[:, 0].sum(0)
        rho, weights = rho[:, :, total > DENSITY_FLOOR], quadrature.weights[total > DENSITY_FLOOR]
        with torch.no_grad():
            prepared = self.prepared(rho)
        return lambda: (self.energy_at(prepared) * weights).sum()

    # -- histograms --------------------------------------------------------------------------

    def histograms(
        self, rho: Tensor, weights: Tensor, widths: Sequence[float] | None = None
    ) -> dict[str, Histogram]:
        """Boil a density down to nodes; see the base class. ``widths`` are of no account."""
        with torch.no_grad():
            channels = self._exchange_points(rho)
            whole = self._correlation_points(rho)
            coordinates = torch.cat([at.coordinates for at in channels], dim=1)
            energy = torch.cat([at.energy * weights for at in channels])
            parts = {"exchange": self._on_nodes(coordinates, energy)}
            if self.ranges is not None:
                reduced = torch.cat([at.reduced for at in channels if at.reduced is not None])
                for index, omega in enumerate(self.ranges.points):
                    near = energy * attenuation(reduced / omega)
                    parts[f"short {index}"] = self._on_nodes(coordinates, near)
            shape = (*NODES["correlation"][: len(whole.coordinates) - 2], *NODES["correlation"][2:])
            correlation = on_nodes(whole.coordinates, whole.energy * weights, shape)
        return {**parts, "correlation": correlation}

    def _on_nodes(self, coordinates: Tensor, energy: Tensor) -> Histogram:
        """Return the energies of exchange at nodes, with the parent's enhancement there."""
        if len(coordinates):
            exchange = on_nodes(coordinates, energy, NODES["exchange"][: len(coordinates)])
        else:
            exchange = Histogram(coordinates.new_zeros(1, 1), energy.sum()[None])
        limit = self.parent.enhancement(*_undo(exchange.points))
        return Histogram(torch.cat([exchange.points, limit[None]]), exchange.weights)

    def on_histogram(self, name: str, points: Tensor) -> Tensor:
        """Return what the weights of a histogram are multiplied by, (B,); see the base class."""
        one = torch.ones_like(points[0])
        if name.startswith("short") and self.ranges is None:  # of a density kept for two ranges
            return torch.zeros_like(one)
        if name == "correlation":
            return self._correlation_energy(Points(points, one))
        coordinates = points[:-1] if self.family != "lda" else points[:0]
        energy = self._enhanced(Points(coordinates, one, points[-1]))
        if self.ranges is not None:
            if name == "exchange":
                return (1.0 - self.ranges.long_exchange) * energy
            share = self.ranges.shares()[int(name.removeprefix("short "))]
            return (self.ranges.long_exchange - self.share) * share * energy
        return (1.0 - self.share) * energy if self.hybrid else energy

    def penalty(self, size: float, roughness: float) -> Tensor:
        """Return the fine for large and for rough factors.

        See :func:`~deepchem_dft.xc.penalty.fine_of_factors`.

        Examples
        --------
        >>> EnhancedXC("r2scan", hidden=[8], seed=0).penalty(1.0, 1.0).item()
        0.0
        """
        return fine_of_factors(self.x_factor, self.c_factor, self.share, size, roughness)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.config.items())


def _ranges(options: Mapping[str, Any]) -> RangeSeparation:
    try:
        return RangeSeparation(**options)
    except TypeError as error:  # a keyword that is none, or omega left out
        raise FunctionalError(
            str(error).replace("RangeSeparation.__init__()", "a separation of ranges"),
            field="range_separation",
            remedy="it has omega, long_exchange, attenuation, train, reach, nodes",
        ) from None


def _undo(coordinates: Tensor) -> tuple[Tensor, Tensor]:
    """Return s^2 and alpha of an unpolarised density from (u, beta); large ones are cut."""
    u = coordinates[0].clamp(max=0.9999)
    s2 = u / (1.0 - u)
    if len(coordinates) < 2:
        return s2, torch.ones_like(s2)
    beta = coordinates[1].clamp(max=0.9999)
    return s2, beta * (1.0 + (5.0 / 3.0) * s2) / (1.0 - beta)
