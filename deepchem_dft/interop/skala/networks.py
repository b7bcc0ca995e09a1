"""The networks of Skala's two generations, from a density to an energy.

Both multiply the exchange of the uniform gas by a factor. What is known at a point goes to nuclei as
spherical tensors and comes back; in the second generation to the nucleus that the point belongs to,
in the first to every nucleus within a radius.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from deepchem_dft.xc.nonlocality.around import solid_harmonics
from deepchem_dft.xc.quadrature import Quadrature

__all__ = ["AtomwiseNetwork", "FirstNetwork", "PackagedNetwork"]

#: Spin-scaled exchange of the uniform gas, which Skala multiplies, Ha Bohr.
_LDA_X = -(2.0 ** (1 / 3)) * 0.75 * (3.0 / math.pi) ** (1 / 3)
_FLOOR = 1e-5  # added to what a logarithm is taken of
_SWAPPED = [1, 0, 3, 2, 5, 4, 6]  # inputs with the spins the other way round
# Points that give less than this to the energy (Ha) and to every message are left out.
_NEGLIGIBLE = 1e-14
# The smallest and largest covalent radius, Bohr, with the conversion that the weights were trained
# with: Pyykko and Atsumi, Chem. Eur. J. 15, 186 (2009).
_RADII = (0.32 * 1.88973, 2.32 * 1.88973)


def _both_spins(rho: Tensor) -> Tensor:
    return rho if len(rho) == 2 else torch.cat([0.5 * rho] * 2)


def _features(network: Any, rho: Tensor) -> Tensor:
    """Local features of every point, shape (G, width), the same for both orders of the spins."""
    spins = _both_spins(rho)
    slope = spins[:, 1:4]
    inputs = torch.cat(
        [spins[:, 0], slope.square().sum(1), spins[:, 4], slope.sum(0).square().sum(0, keepdim=True)]
    )
    inputs = torch.log(inputs.abs() + _FLOOR).T.to(network.input_model[0].weight.dtype)
    hidden = network.input_model(inputs)
    if len(rho) == 2:  # of a closed shell both orders are one
        hidden = 0.5 * (hidden + network.input_model(inputs[:, _SWAPPED]))
    return hidden


def _energy(factor: Tensor, rho: Tensor, weights: Tensor) -> Tensor:
    gas = _LDA_X * (_both_spins(rho)[:, 0].clamp(min=0.0) ** (4 / 3)).sum(0)
    return (weights * factor.double() * gas).sum()


def _matters(rho: Tensor, weights: Tensor) -> Tensor:
    # Some angular rules have negative weights.
    return weights.abs() * rho[:, 0].sum(0).clamp(min=0.0) ** (4 / 3) > _NEGLIGIBLE


class AtomwiseNetwork(nn.Module):
    """A ``skala.functional.SkalaFunctional``, evaluated atom by atom.

    Its points talk to the nucleus of their own atom alone, so that atoms can be done one after the
    other. Summing messages over points with harmonics as weights is a product of matrices: the
    spherical tensors of single points are never formed. A closed shell needs the input layers once.

    Parameters
    ----------
    network : skala.functional.SkalaFunctional
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def pieces(self, quadrature: Quadrature) -> list[Tensor]:
        """Rows of points that do not see each other's: those of each atom."""
        return [rows for _, rows in _by_atom(quadrature)]

    def energy(self, rho: Tensor, quadrature: Quadrature) -> Tensor:
        """Exchange-correlation energy, Ha; see :meth:`SkalaXC.energy`."""
        total = rho.new_zeros(())
        for atom, rows in _by_atom(quadrature):
            total = total + self._of_atom(
                rho[:, :, rows],
                quadrature.points[rows] - quadrature.positions[atom],
                quadrature.weights[rows],
                quadrature.atomic_weights[rows],
            )
        return total

    def _of_atom(self, rho: Tensor, offsets: Tensor, weights: Tensor, bare: Tensor) -> Tensor:
        network, dtype = self.network, self.network.dtype
        with torch.no_grad():
            loudest = network.radial_basis(offsets.square().sum(1, keepdim=True).to(dtype)).amax(1)
            kept = (loudest * bare.abs() > _NEGLIGIBLE) | _matters(rho, weights)
        if not bool(kept.all()):
            rho, offsets, weights, bare = rho[:, :, kept], offsets[kept], weights[kept], bare[kept]
        hidden = _features(network, rho)
        distance = (offsets.square().sum(1) + 3e-20).sqrt()[:, None]
        radial = network.radial_basis(distance.square().to(dtype))
        angular = network.spherical_harmonics((offsets / distance).to(dtype))
        fade = torch.exp(-rho[:, 0].sum(0))[:, None].to(dtype)
        for layer in network.non_local_layers:
            down, up = layer.tp_down._batched_W, layer.tp_up._batched_W
            harmonics = _harmonics(angular, len(down))
            coarse = _collected(
                layer.pre_down_layer(hidden), down, radial * bare[:, None].to(dtype), harmonics
            )
            if layer.coarse_linear_type is not None:
                coarse = layer.coarse_linear(coarse)
            if layer.correlation > 1:
                coarse = layer.symmetric_product(coarse)
            back = layer.post_up_layer(_handed_out(coarse[0], up, harmonics) * radial)
            hidden = layer.concat_layer(torch.cat([hidden, back * fade], dim=1))
        return _energy(network.output_model(hidden)[:, 0], rho, weights)


class FirstNetwork(nn.Module):
    """The network of Skala 1.0: points talk to all nuclei within a radius.

    Written here from its published definition; weights are 64-bit floats.

    Parameters
    ----------
    width, channels, lmax : int
        Features of a point; channels of a message; largest degree of its harmonics.
    cutoff : float
        Radius, Bohr.

    References
    ----------
    Luise et al., arXiv:2506.14665 (2025); names of the weights as in ``microsoft-skala`` 1.0.0 (MIT).
    """

    non_local_model: Any
    _widths: Tensor

    def __init__(self, width: int = 256, channels: int = 16, lmax: int = 3, cutoff: float = 5.0) -> None:
        super().__init__()
        self.lmax, self.channels, self.cutoff = lmax, channels, cutoff

        def linear(inputs: int, outputs: int) -> nn.Linear:
            return nn.Linear(inputs, outputs, dtype=torch.float64)

        self.input_model = nn.Sequential(linear(7, width), nn.SiLU(), linear(width, width), nn.SiLU())
        message = nn.Module()
        message.pre_down_layer = nn.Sequential(linear(width, channels), nn.SiLU())
        message.post_up_layer = nn.Sequential(linear(channels, channels), nn.SiLU())
        bound = (3.0 / channels) ** 0.5
        for name, paths in (("tp_down", "0_{l}_{l}"), ("tp_up", "{l}_{l}_0")):
            product = nn.Module()
            for l in range(lmax + 1):
                weight = torch.empty(channels, 1, channels, dtype=torch.float64).uniform_(-bound, bound)
                product.register_parameter("weight_" + paths.format(l=l), nn.Parameter(weight))
            message.add_module(name, product)
        self.non_local_model = message
        self.output_model = nn.Sequential(
            *(linear(width + channels, width), nn.SiLU(), linear(width, width), nn.SiLU()),
            *(linear(width, width), nn.SiLU(), linear(width, 1)),
        )
        # In single precision, as the weights were trained with.
        deviations = torch.linspace(0.5 * _RADII[0], 0.5 * _RADII[1], channels, dtype=torch.float32)
        self.register_buffer("_widths", (2.0 * deviations**2).double(), persistent=False)

    def _weights(self, product: str, paths: str) -> Tensor:
        module = getattr(self.non_local_model, product)
        return torch.stack(
            [getattr(module, "weight_" + paths.format(l=l))[:, 0] for l in range(self.lmax + 1)]
        )

    def energy(self, rho: Tensor, quadrature: Quadrature) -> Tensor:
        """Exchange-correlation energy, Ha; see :meth:`SkalaXC.energy`."""
        near = torch.cdist(quadrature.points.detach(), quadrature.positions.detach()) <= self.cutoff
        kept = near.any(1) | _matters(rho, quadrature.weights)
        rho, near, weights, points = (
            rho[:, :, kept],
            near[kept],
            quadrature.weights[kept],
            quadrature.points[kept],
        )
        hidden = _features(self, rho)
        sent = self.non_local_model.pre_down_layer(hidden)
        down, up = self._weights("tp_down", "0_{l}_{l}"), self._weights("tp_up", "{l}_{l}_0")

        edges, shares = [], weights.new_zeros(len(weights))
        for atom, position in enumerate(quadrature.positions):
            rows = near[:, atom].nonzero()[:, 0]
            offsets = points[rows] - position
            distance = (offsets.square().sum(1) + 3e-20).sqrt()
            share = _share(distance / self.cutoff)
            shares = shares.index_add(0, rows, share)
            edges.append((rows, offsets, distance, share))
        heard = hidden.new_zeros(len(hidden), self.channels)
        for rows, offsets, distance, share in edges:
            radial = self._radial(distance)
            angular = solid_harmonics((offsets / distance[:, None]).T, self.lmax).T
            harmonics = _harmonics(angular, self.lmax + 1)
            coarse = _collected(sent[rows], down, radial * weights[rows, None], harmonics)
            back = _handed_out(coarse[0], up, harmonics) * radial
            heard = heard.index_add(0, rows, back * (share / (shares[rows] + 0.1))[:, None])
        heard = self.non_local_model.post_up_layer(heard) * torch.exp(-rho[:, 0].sum(0))[:, None]
        raw = self.output_model(torch.cat([hidden, heard], dim=1))[:, 0]
        return _energy(2.0 * torch.sigmoid(0.5 * raw), rho, weights)

    def _radial(self, distance: Tensor) -> Tensor:
        """Gaussian shells times a polynomial that ends at the cutoff, shape (points, channels)."""
        x = distance[:, None].square() / self._widths
        shells = torch.exp(-x) * x * (2.0 / 3.0) / (math.pi * self._widths) ** 1.5
        r = (distance / self.cutoff).clamp(max=1.0)
        # Gasteiger, Gross and Guennemann, arXiv:2003.03123 (2020), eq. 8, with p = 8.
        envelope = 1.0 - 45.0 * r**8 + 80.0 * r**9 - 36.0 * r**10
        return shells * envelope.clamp(min=0.0)[:, None]


class PackagedNetwork(nn.Module):
    """Any functional of the ``skala`` package, through its own ``get_exc``."""

    def __init__(self, functional: Any) -> None:
        super().__init__()
        self.functional = functional

    def energy(self, rho: Tensor, quadrature: Quadrature) -> Tensor:
        """Exchange-correlation energy, Ha; see :meth:`SkalaXC.energy`."""
        return self.functional.get_exc(packaged_features(rho, quadrature))


def _share(r: Tensor) -> Tensor:
    """From 1 at the nucleus to 0 at the cutoff, of distances in units of it."""
    r = r.clamp(max=1.0)
    return torch.where(r < 0.5, 1.0 - 2.0 * r**2, 2.0 * (1.0 - r) ** 2)


def _harmonics(angular: Tensor, degrees: int) -> list[Tensor]:
    """Blocks of harmonics of equal degree, (G, 2l + 1), normalised as both directions want them."""
    return [angular[:, l * l : (l + 1) ** 2] / math.sqrt(2 * l + 1) for l in range(degrees)]


def _collected(sent: Tensor, mixing: Tensor, radial: Tensor, harmonics: list[Tensor]) -> Tensor:
    """What a nucleus hears: a row of (channel, m) for each degree, one after the other, (1, N)."""
    messages = (sent @ mixing) * radial  # (degree, G, channel)
    return torch.cat([(m.mT @ y).reshape(1, -1) for m, y in zip(messages, harmonics, strict=True)], dim=1)


def _handed_out(coarse: Tensor, mixing: Tensor, harmonics: list[Tensor]) -> Tensor:
    """What points hear from a nucleus, (G, channel)."""
    channels, start = mixing.shape[1], 0
    total = coarse.new_zeros(())
    for weight, harmonic in zip(mixing, harmonics, strict=True):
        size = harmonic.shape[1]
        tensor = coarse[start : start + channels * size].reshape(channels, size)
        total, start = total + harmonic @ (tensor.mT @ weight), start + channels * size
    return total


def _by_atom(quadrature: Quadrature) -> Iterator[tuple[int, Tensor]]:
    """Atoms, and the rows of their points."""
    order = torch.argsort(quadrature.atoms, stable=True)
    counts = torch.bincount(quadrature.atoms, minlength=len(quadrature.positions)).tolist()
    for atom, rows in enumerate(order.split(counts)):
        if len(rows):
            yield atom, rows


#: What functionals of the skala package may read here: everything but the Laplacian.
FEATURES = (
    "density",
    "grad",
    "kin",
    "grid_coords",
    "grid_weights",
    "atomic_grid_weights",
    "atomic_grid_sizes",
    "atomic_grid_size_bound_shape",
    "coarse_0_atomic_coords",
)


def packaged_features(rho: Tensor, quadrature: Quadrature) -> dict[str, Tensor]:
    """The input of a functional of the skala package, points sorted by atom."""
    order = torch.argsort(quadrature.atoms, stable=True)
    spins = _both_spins(rho)[:, :, order]
    sizes = torch.bincount(quadrature.atoms, minlength=len(quadrature.positions))
    values = (
        *(spins[:, 0], spins[:, 1:4], spins[:, 4], quadrature.points[order], quadrature.weights[order]),
        *(
            quadrature.atomic_weights[order],
            sizes,
            sizes.new_zeros(int(sizes.max()), 0),
            quadrature.positions,
        ),
    )
    return dict(zip(FEATURES, values, strict=True))
