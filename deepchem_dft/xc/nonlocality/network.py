"""A network that sees the density around every point, through the atoms in its neighbourhood."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from deepchem_dft.errors import FunctionalError
from deepchem_dft.xc.base import NCOMP, XCFunctional
from deepchem_dft.xc.enhancement import LIEB_OXFORD
from deepchem_dft.xc.factors import make_factor
from deepchem_dft.xc.features import DENSITY_FLOOR
from deepchem_dft.xc.networks import DTYPES, perceptron
from deepchem_dft.xc.nonlocality.around import Around, Near, gathered, scattered
from deepchem_dft.xc.parents import (
    Parent,
    Points,
    coordinates_of,
    correlation_points,
    enhanced_correlation,
    enhanced_exchange,
    exchange_points,
)
from deepchem_dft.xc.penalty import fine_of_factors
from deepchem_dft.xc.quadrature import Quadrature

#: Weights of a network with the default options are fewer; more are refused.
MOST_WEIGHTS = 200_000
# Largest exponent of the radial functions (1/Bohr^2); the smallest reaches to half of the cutoff.
_SHARPEST = 6.0
_ROWS = 16384


class NNNonlocal(XCFunctional):
    r"""Bounded factors on a parent, as in ``EnhancedXC``, that depend on what is around as well.

    1. *Points to atoms.* Electrons at the points, times learned functions of the local features, are
       projected onto functions with l = 0 to 3 around every nucleus.
    2. *At atoms.* Learned radial functions, linear in these projections; then layers that mix
       channels of equal l and scale each by learned functions of the rotational invariants.
    3. *Atoms to points.* Learned radial functions times spherical harmonics, contracted to invariants,
       describe every point. The factors see these descriptors beside the local features.

    The descriptors that exchange sees of a spin channel are those of a closed shell of twice its
    density, so that spin scaling is exact; correlation sees those of the total density. Exact
    properties as of ``EnhancedXC``, uniform coordinate scaling excepted, which no fixed cutoff can
    keep: spin scaling, the bound of exchange, correlation between zero and twice the parent's, the
    uniform gas, symmetry in spin. The energy of fragments further apart than the cutoff (of points
    from nuclei) is the sum of theirs.

    Parameters
    ----------
    parent : {"pbe", "revpbe", "blyp", "tpss", "r2scan"}
        Semilocal functional to start from.
    hidden : sequence of int
        Widths of the hidden layers of every perceptron.
    channels, radial, descriptors, layers : int
        Learned fields at atoms; radial functions; numbers that describe a point; layers at atoms.
    degree : int
        Highest l of the spherical harmonics, 0 to 3.
    cutoff : float
        Bohr.
    bound, exchange, train_exchange, ueg_exact, activation, dtype, zero_last, seed
        As in :class:`~deepchem_dft.xc.enhancement.EnhancedXC`.

    Raises
    ------
    FunctionalError
        For options that describe no functional.

    Examples
    --------
    >>> from deepchem_dft import KohnSham, Molecule
    >>> hydrogen = Molecule("H 0 0 0; H 0 0 1.4", basis="sto-3g", grid_level=0)
    >>> energies = [KohnSham(hydrogen, xc).run().energy for xc in ("pbe", NNNonlocal("pbe", seed=0))]
    >>> bool((energies[0] - energies[1]).abs() < 1e-12)
    True
    """

    needs_quadrature = True

    def __init__(
        self,
        parent: str,
        *,
        hidden: Sequence[int] = (16, 16),
        channels: int = 8,
        radial: int = 6,
        descriptors: int = 6,
        layers: int = 1,
        degree: int = 3,
        cutoff: float = 5.0,
        activation: str = "silu",
        bound: float = LIEB_OXFORD,
        exchange: float = 0.0,
        train_exchange: bool = False,
        ueg_exact: bool = True,
        dtype: str = "float64",
        zero_last: bool = True,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self.parent = Parent.named(parent)
        self.family = self.parent.family
        _check("parent", self.family != "lda", parent, "a functional that sees gradients, such as 'pbe'")
        for name, value, least, most in (
            ("channels", channels, 1, 64),
            ("radial", radial, 2, 32),
            ("descriptors", descriptors, 1, 64),
            ("layers", layers, 0, 8),
            ("degree", degree, 0, 3),
        ):
            whole = isinstance(value, int) and not isinstance(value, bool)
            _check(name, whole and least <= value <= most, value, f"a whole number from {least} to {most}")
        _check("cutoff", 1.0 <= float(cutoff) <= 50.0, cutoff, "a length from 1 to 50 Bohr")
        _check("bound", 1.0 < float(bound) < 100.0, bound, f"a number above 1 such as {LIEB_OXFORD}")
        _check("exchange", 0.0 <= float(exchange) <= 1.0, exchange, "a share from 0 to 1")
        self.bound = float(bound)
        self.share = nn.Parameter(
            torch.tensor(float(exchange), dtype=torch.float64), requires_grad=bool(train_exchange)
        )
        self.hybrid = bool(exchange) or bool(train_exchange)
        gradient = {"gga": 1, "mgga": 2}[self.family]
        factor: dict[str, Any] = {
            "hidden": hidden,
            "activation": activation,
            "degree": None,
            "dtype": dtype,
            "uniform": [0.0, 0.5][:gradient] if ueg_exact else None,
            "zero_last": zero_last,
        }
        seeds = [None if seed is None else seed + k for k in range(3)]
        self.x_factor = make_factor(gradient + descriptors, seed=seeds[0], **factor)
        self.c_factor = make_factor(gradient + 2 + descriptors, seed=seeds[1], **factor)
        # the most diffuse function has fallen to 1/e at half of the cutoff
        widest = 4.0 / float(cutoff) ** 2
        exponents = torch.logspace(math.log10(widest), math.log10(_SHARPEST), radial).tolist()
        around = Around(tuple(exponents), degree, float(cutoff), DTYPES[dtype])
        self.surroundings = Surroundings(
            gradient + 1, around, channels, descriptors, layers, hidden, activation, seeds[2]
        )
        self.config: dict[str, Any] = {
            "parent": self.parent.name,
            "hidden": list(hidden),
            "channels": channels,
            "radial": radial,
            "descriptors": descriptors,
            "layers": layers,
            "degree": degree,
            "cutoff": float(cutoff),
            "activation": activation,
            "bound": self.bound,
            "exchange": float(exchange),
            "train_exchange": bool(train_exchange),
            "ueg_exact": bool(ueg_exact),
            "dtype": dtype,
            "zero_last": bool(zero_last),
            "seed": seed,
        }
        count = sum(p.numel() for p in self.parameters())
        _check("channels", count <= MOST_WEIGHTS, channels, f"at most {MOST_WEIGHTS} weights, not {count}")

    @property
    def exchange_terms(self) -> list[tuple[float | Tensor, float | None]]:
        """Exact exchange as ``(coefficient, omega)``; the coefficient is the parameter itself."""
        return [(self.share, None)] if self.hybrid else []

    def energy(self, rho: Tensor, quadrature: Quadrature) -> Tensor:
        """Return the energy, Ha; see the base class."""
        return self._prepared(rho, quadrature)()

    def at_density(self, rho: Tensor, quadrature: Quadrature) -> Callable[[], Tensor]:
        """Return the energy of one density as a function of the parameters; see the base class."""
        with torch.no_grad():
            return self._prepared(rho.detach(), quadrature, keep=True)

    def _prepared(self, rho: Tensor, quadrature: Quadrature, keep: bool = False) -> Callable[[], Tensor]:
        """Compute what depends on the density and the parent alone; the rest when it is called."""
        rho = rho[:, : NCOMP[self.family]]
        present = rho[:, 0].sum(0) > DENSITY_FLOOR
        rho, weights, points = rho[:, :, present], quadrature.weights[present], quadrature.points[present]
        positions, pieces = quadrature.positions, rho.split(_ROWS, dim=2)
        exchange = [exchange_points(self.parent, piece) for piece in pieces]
        correlation = [correlation_points(self.parent, piece) for piece in pieces]
        # of a closed shell, exchange and correlation see the same surroundings
        seen = [rho] if len(rho) == 1 else [rho, 2.0 * rho[:1], 2.0 * rho[1:]]
        electrons = [density[:, 0].sum(0) * weights for density in seen]
        local = [coordinates_of(density, self.family)[:-1] for density in seen]
        near = Near(points, positions, self.surroundings.around, keep=keep)

        def energy() -> Tensor:
            whole, *channels = (
                self.surroundings(features, count, points, positions, near).split(_ROWS, dim=1)
                for features, count in zip(local, electrons, strict=True)
            )
            return self._energy(exchange, correlation, channels or [whole], whole, weights)

        return energy

    def _energy(
        self,
        exchange: list[list[Points]],
        correlation: list[Points],
        of_channels: list[tuple[Tensor, ...]],
        whole: tuple[Tensor, ...],
        weights: Tensor,
    ) -> Tensor:
        energy = weights.new_zeros(())
        for block, (channels, at) in enumerate(zip(exchange, correlation, strict=True)):
            part = torch.zeros_like(at.energy)
            for channel, described in zip(channels, of_channels, strict=True):
                value = self.x_factor(torch.cat([channel.coordinates, described[block]]))
                part = part + enhanced_exchange(channel, value, self.bound)
            if self.hybrid:
                part = (1.0 - self.share) * part
            value = self.c_factor(torch.cat([at.coordinates, whole[block]]))
            part = part + enhanced_correlation(at, value)
            start = block * _ROWS
            energy = energy + (part * weights[start : start + len(part)]).sum()
        return energy

    def penalty(self, size: float, roughness: float) -> Tensor:
        """Return the fine for large and for rough factors.

        See :func:`~deepchem_dft.xc.penalty.fine_of_factors`.

        Roughness is also that along the descriptors of the surroundings.
        """
        return fine_of_factors(self.x_factor, self.c_factor, self.share, size, roughness)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.config.items())


class Surroundings(nn.Module):
    """From a density to what describes the surroundings of every point, rotations apart.

    Parameters
    ----------
    local : int
        Number of local features, each in [0, 1].
    around : Around
    channels, descriptors, layers, hidden, activation, seed
        As in :class:`NNNonlocal`.
    """

    def __init__(
        self,
        local: int,
        around: Around,
        channels: int,
        descriptors: int,
        layers: int,
        hidden: Sequence[int],
        activation: str,
        seed: int | None,
    ) -> None:
        super().__init__()
        self.around = around
        dtype = around.dtype
        count, degrees = len(around.exponents), range(around.degree + 1)
        with torch.random.fork_rng(devices=[]):
            if seed is not None:
                torch.manual_seed(seed)

            def weights(*shape: int, inputs: int) -> nn.ParameterList:
                drawn = [torch.randn(*shape, dtype=dtype) / math.sqrt(inputs) for _ in degrees]
                return nn.ParameterList(nn.Parameter(w) for w in drawn)

            self.inward = weights(channels, channels, count, inputs=channels * count)
            self.mixing = nn.ModuleList(weights(channels, channels, inputs=channels) for _ in range(layers))
            self.outward = weights(descriptors, count, channels, inputs=channels * count)
        seeds = [None if seed is None else seed + 1 + k for k in range(1 + layers)]
        self.signal = perceptron([local, *hidden, channels], activation, dtype=dtype, seed=seeds[0])
        invariants = channels * len(degrees)
        self.gates = nn.ModuleList(
            perceptron([invariants, *hidden, invariants], activation, dtype=dtype, seed=s) for s in seeds[1:]
        )

    def forward(
        self, local: Tensor, electrons: Tensor, points: Tensor, positions: Tensor, near: Near | None = None
    ) -> Tensor:
        """Describe points.

        Parameters
        ----------
        local : Tensor, shape (f, G)
            Local features, in [0, 1].
        electrons : Tensor, shape (G,)
            Density times quadrature weight.
        points, positions : Tensor, shape (G, 3) and (A, 3), Bohr
        near : Near, optional
            Of these, if it is at hand.

        Returns
        -------
        Tensor, shape (descriptors, G)
            In [0, 1].
        """
        dtype = self.around.dtype
        strength = 1.0 + self.signal((2.0 * local.T - 1.0).to(dtype))
        fields = gathered(strength * electrons[:, None].to(dtype), points, positions, self.around, near)
        parts = [
            torch.einsum("ock,ackm->aom", w, part)
            for w, part in zip(self.inward, self.around.split(fields), strict=True)
        ]
        parts = _scaled(parts)
        for mixing, gates in zip(self.mixing, self.gates, strict=True):
            mixed = [torch.einsum("oc,acm->aom", *pair) for pair in zip(mixing, parts, strict=True)]  # type: ignore
            sizes = torch.stack([part.square().sum(2) for part in mixed], dim=1)  # (A, l, C)
            scales = torch.tanh(gates(sizes.flatten(1))).view_as(sizes)
            parts = [p + s[:, :, None] * m for p, s, m in zip(parts, scales.unbind(1), mixed, strict=True)]
        sent = [torch.einsum("dkc,acm->adkm", w, part) for w, part in zip(self.outward, parts, strict=True)]
        values = scattered(self.around.join(sent), points, positions, self.around, near)
        return (0.5 + 0.5 * torch.tanh(values)).T.to(local.dtype)


def _scaled(parts: list[Tensor]) -> list[Tensor]:
    """Keep vectors (A, C, 2 l + 1) in direction and below 1 in length."""
    return [part * torch.rsqrt(1.0 + part.square().sum(2, keepdim=True)) for part in parts]


def _check(field: str, fine: bool, value: Any, remedy: str) -> None:
    if not fine:
        raise FunctionalError(f"{str(value)[:60]!r} is not a usable value", field=field, remedy=remedy)
