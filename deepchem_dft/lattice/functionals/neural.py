"""The networks of KSR: global, local (LDA) and gradient (GGA), or any network of the user's."""

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from deepchem_dft.errors import FunctionalError, InputError
from deepchem_dft.lattice.functionals.base import GatedXC
from deepchem_dft.lattice.functionals.primitives import gather, silu, spread
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.lattice.interaction import KAPPA, even_spectrum, hartree_potential

#: Shortest and longest width of the exponential convolutions, Bohr: from about the spacing of the
#: grid to the decay of the interaction.
WIDTHS = (0.1, 1 / KAPPA)


class NeuralXC(GatedXC):
    r"""A convolutional network from the density to the energy per electron.

    Its input is the density and, for global functionals, its convolutions with

    .. math:: \frac{1}{2\xi} e^{-|x|/\xi}, \quad \xi = 0.1 + 2.285\,\sigma(\eta)

    of learned widths. Layers are convolutions without biases with SiLU in between, and the output
    is -SiLU, which is hardly ever positive.

    Parameters
    ----------
    grid : Grid
    convolutions : int
        Exponential convolutions; 0 for a local or gradient functional.
    hidden : sequence of int
        Channels of the hidden layers.
    windows : int or sequence of int
        Points a hidden layer sees, odd, one number for all layers or one for each: 1 makes it
        local; the output layer has 1.
    polarised : bool
        Take spin-up and spin-down densities. The network is averaged over their order.
    gate, gate_width
        See :class:`~deepchem_dft.lattice.functionals.GatedXC`.
    seed : int
        Of the initial weights: normal with variance 2 / fan-in; eta normal with 0.01.

    Examples
    --------
    >>> xc = NeuralXC(Grid())
    >>> sum(p.numel() for p in xc.parameters())
    1568

    References
    ----------
    Li et al., Phys. Rev. Lett. 126, 036401 (2021).
    """

    def __init__(
        self,
        grid: Grid,
        convolutions: int = 15,
        hidden: Sequence[int] = (16, 16),
        windows: int | Sequence[int] = 3,
        polarised: bool = False,
        gate: bool = True,
        gate_width: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__(grid, polarised, gate, gate_width)
        sizes = [windows] * len(hidden) if isinstance(windows, int) else list(windows)
        if len(sizes) != len(hidden) or any(w < 1 or w % 2 == 0 for w in sizes):
            raise InputError(
                f"windows of {windows!r} points for {len(hidden)} hidden layers",
                field="windows",
                remedy="use odd numbers, one for each hidden layer",
            )
        if convolutions < 0 or any(width < 1 for width in hidden):
            raise InputError(
                f"{convolutions} convolutions and {list(hidden)} channels",
                field="hidden",
                remedy="use positive numbers",
            )
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        self.eta = nn.Parameter(0.01 * normal(convolutions)) if convolutions else None
        channels = [(1 + convolutions) * (2 if polarised else 1), *hidden, 1]
        self.layers = nn.ParameterList(
            [
                nn.Parameter(normal(after, before, w) * math.sqrt(2 / (before * w)))
                for before, after, w in zip(channels[:-1], channels[1:], [*sizes, 1], strict=True)
            ]
        )
        self._spectra: Tensor | None = None

    @property
    def widths(self) -> Tensor:
        """Widths xi of the exponential convolutions, Bohr."""
        if self.eta is None:
            return torch.zeros(0, dtype=torch.float64)
        return WIDTHS[0] + (WIDTHS[1] - WIDTHS[0]) * torch.sigmoid(self.eta)

    def bind(self) -> "NeuralXC":
        """Return a functional that shares the parameters and has the convolutions ready."""
        bound = copy.copy(self)
        bound._spectra = self._exponentials()
        return bound

    def per_electron(self, density: Tensor) -> Tensor:
        """Return epsilon, (B, n), Hartree per electron."""
        x = self._features(density, self._exponentials())
        for layer in self.layers:
            x = nn.functional.silu(_window(x, layer))
        return self._average(-x[:, 0])

    def potential(self, density: Tensor) -> Tensor:
        """Return the functional derivative of the energy, of the density's shape, Hartree.

        The network's gradient is written out, layer by layer. PyTorch's would be right as well,
        but its derivatives in turn take three times as long.
        """
        spectra, total = self._exponentials(), density.sum(1)
        x, slopes = self._features(density, spectra), []
        for layer in self.layers:
            x, slope = silu(_window(x, layer))
            slopes.append(slope)
        value, common = self._average(-x[:, 0]), total[:, None]
        if self.gate_width is not None:
            gate = self._gate(total, self.gate_width)
            hartree = hartree_potential(self.grid, total)
            excess = self.grid.integrate(total)[:, None] - 1
            through_gate = (-2 * gate * excess / self.gate_width**2) * self.grid.integrate(
                total * (-value - 0.5 * hartree)
            )[:, None]
            value = (1 - gate) * value - gate * hartree + through_gate
            common = (1 - gate)[:, None] * common
        if self.polarised:
            common = torch.cat([common, common]) / 2
        x = -common
        for layer, slope in zip(reversed(self.layers), reversed(slopes), strict=True):
            x = _window_adjoint(x * slope, layer)
        return value[:, None] + self._features_adjoint(x, spectra)

    # -- from densities to channels and back ---------------------------------------------------

    def _exponentials(self) -> Tensor | None:
        """Return the spectra of the exponential convolutions, None without any."""
        if self._spectra is not None or self.eta is None:
            return self._spectra
        widths = self.widths[:, None]
        distance = torch.arange(len(self.grid), dtype=torch.float64) * self.grid.spacing
        return even_spectrum(torch.exp(-distance / widths) * (self.grid.spacing / 2) / widths)

    def _features(self, density: Tensor, spectra: Tensor | None) -> Tensor:
        """Return channels (B, C, n), or (2 B, 2 C, n) for both orders of the spins."""
        batch, spins, n = density.shape
        if self.polarised:
            density = torch.cat([density, density.flip(1)])
        if spectra is None:
            return density
        wide = spread(density.reshape(-1, n), spectra).reshape(len(density), -1, n)
        return torch.cat([density, wide], 1)

    def _features_adjoint(self, x: Tensor, spectra: Tensor | None) -> Tensor:
        spins, n = (2 if self.polarised else 1), x.shape[-1]
        out = x[:, :spins]
        if spectra is not None:
            wide = gather(x[:, spins:].reshape(len(x) * spins, -1, n), spectra)
            out = out + wide.reshape(len(x), spins, n)
        if self.polarised:
            one, other = out.chunk(2)
            out = one + other.flip(1)
        return out

    def _average(self, value: Tensor) -> Tensor:
        """Average over both orders of the spins."""
        return sum(value.chunk(2)) / 2 if self.polarised else value  # type: ignore[return-value]


class NetworkXC(GatedXC):
    """A network of the user's own.

    Parameters
    ----------
    grid : Grid
    network : nn.Module
        From densities (B, 1 or 2, n), float64, to energies per electron (B, 1, n) or (B, n). Twice
        differentiable activations are needed: SiLU, softplus, tanh, not ReLU.
    polarised : bool
    gate, gate_width
        See :class:`~deepchem_dft.lattice.functionals.GatedXC`.

    Raises
    ------
    FunctionalError
        If the network returns another shape.

    Examples
    --------
    >>> conv = torch.nn.Conv1d(1, 1, 3, padding=1, dtype=torch.float64)
    >>> xc = NetworkXC(Grid(), conv)
    >>> xc.potential(torch.rand(4, 1, 513, dtype=torch.float64)).shape
    torch.Size([4, 1, 513])
    """

    def __init__(
        self,
        grid: Grid,
        network: nn.Module,
        polarised: bool = False,
        gate: bool = True,
        gate_width: float = 1.0,
    ) -> None:
        super().__init__(grid, polarised, gate, gate_width)
        self.network = network

    def per_electron(self, density: Tensor) -> Tensor:
        """Return epsilon, (B, n), Hartree per electron."""
        value = self.network(density)
        shape = (len(density), density.shape[-1])
        if value.shape not in (shape, (shape[0], 1, shape[1])):
            raise FunctionalError(
                f"the network returns shape {tuple(value.shape)} for densities of shape "
                f"{tuple(density.shape)}",
                field="network",
                remedy=f"return energies per electron of shape {(shape[0], 1, shape[1])}",
            )
        return value.reshape(shape)


def _window(x: Tensor, weight: Tensor) -> Tensor:
    return torch.conv1d(x, weight, padding=weight.shape[2] // 2)


def _window_adjoint(x: Tensor, weight: Tensor) -> Tensor:
    return torch.conv1d(x, weight.transpose(0, 1).flip(2), padding=weight.shape[2] // 2)
