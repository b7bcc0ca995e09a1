"""Converged densities boiled down to what a network sees, for fast training at fixed densities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from deepchem_dft.xc.features import S_FACTOR, TAU_FACTOR, spin_features

if TYPE_CHECKING:
    from deepchem_dft.scf.frozen import FrozenDensity
    from deepchem_dft.xc import HybridXC

#: Width of a bin in log10(n), xi^2, s/(1+s) and alpha/(1+alpha). With centroids as
#: representatives the error is of second order: below 1e-6 Ha for networks of ordinary smoothness.
BIN_WIDTHS = (0.1, 0.02, 0.02, 0.02)
_FULL_RANGE = -1.0  # stands for omega=None in files


@dataclass
class CompressedDensity:
    r"""One system's density as a weighted set of representative points.

    The energy of ``a * network + b * conventional + exact exchange`` at this density is
    ``fixed + b * conventional + sum(c * exchange) + a * sum(weights * e(rho))``. All but the
    network's part are exact; the network only sees (n, xi, s, alpha), so points that agree in these
    are merged.

    Attributes
    ----------
    rho : Tensor, shape (2, 5, B)
        A density with the representatives' features.
    weights : Tensor, shape (B,)
        Bohr^3.
    fixed, conventional : float
        Energy of everything but exchange and correlation; of the conventional functional. Ha.
    omegas : list of float or None
        Ranges of the exact-exchange terms.
    exchange : list of float
        Exact-exchange energies at unit coefficient, Ha.
    """

    rho: Tensor
    weights: Tensor
    fixed: float
    conventional: float
    omegas: list[float | None]
    exchange: list[float]

    def save(self, path: str | Path) -> None:
        """Write to a file."""
        omegas = [_FULL_RANGE if omega is None else omega for omega in self.omegas]
        torch.save({**self.__dict__, "omegas": omegas}, path)

    @classmethod
    def load(cls, path: str | Path) -> CompressedDensity:
        """Read what :meth:`save` wrote."""
        content = torch.load(path, weights_only=True)
        omegas = [None if omega == _FULL_RANGE else omega for omega in content["omegas"]]
        return cls(**{**content, "omegas": omegas})


def compress(
    frozen: FrozenDensity, functional: HybridXC, widths: Sequence[float] = BIN_WIDTHS
) -> CompressedDensity:
    """Boil a density down to what ``functional``'s network sees.

    Parameters
    ----------
    frozen : FrozenDensity
        From a self-consistent field, or of its orbitals.
    functional : HybridXC
        Whose energy is wanted; only its kind matters, not its parameters.
    widths : sequence of float
        See :data:`BIN_WIDTHS`.
    """
    with torch.no_grad():
        conventional = 0.0
        if functional.xc is not None:
            density = functional.xc.energy_density(frozen.rho)
            conventional = float((density * frozen.weights).sum())
        rho, weights = merge_points(
            frozen.rho, frozen.weights, functional.nnxc.family, widths)
    omegas = [omega for _, omega in functional.exchange_terms]
    exchange = [frozen.exchange[omega] for omega in omegas]
    return CompressedDensity(rho, weights, frozen.fixed_energy, conventional, omegas, exchange)


def merge_points(
    rho: Tensor, weights: Tensor, family: str, widths: Sequence[float] = BIN_WIDTHS
) -> tuple[Tensor, Tensor]:
    """Merge grid points whose features fall into one bin, keeping the number of electrons.

    Parameters
    ----------
    rho : Tensor, shape (1 or 2, ncomp, G)
    weights : Tensor, shape (G,)
        Bohr^3.
    family : {"lda", "gga", "mgga"}
        Which features count.
    widths : sequence of float
        See :data:`BIN_WIDTHS`.

    Returns
    -------
    rho : Tensor, shape (2, 5, B)
        Points with the electron-weighted mean features of each bin.
    weights : Tensor, shape (B,)

    Examples
    --------
    >>> rho = torch.rand(1, 1, 500, dtype=torch.float64) + 0.1
    >>> weights = torch.full((500,), 0.01, dtype=torch.float64)
    >>> few, w = merge_points(rho, weights, "lda")
    >>> few.shape[-1] < 20
    True
    >>> bool(torch.isclose((few[:, 0].sum(0) * w).sum(), (rho[0, 0] * weights).sum()))
    True
    """
    n, xi, s, alpha, density = spin_features(rho, family)
    electrons = density * weights
    keep = electrons.abs() > 1e-14
    zero = torch.zeros_like(n)
    s = zero if s is None else s
    alpha = torch.ones_like(n) if alpha is None else alpha
    n, xi, s, alpha, electrons = (x[keep] for x in (n, xi.abs(), s, alpha, electrons))
    coordinates = torch.stack([n.log10(), xi * xi, s / (1 + s), alpha / (1 + alpha)])
    scale = torch.tensor(widths, dtype=n.dtype, device=n.device)[:, None]
    _, bins = torch.unique((coordinates / scale).round().long(), dim=1, return_inverse=True)
    # Energies per electron go like n^(1/3), so that is what the mean has to keep.
    coordinates[0] = n ** (1.0 / 3.0)
    count = int(bins.max()) + 1 if len(bins) else 0
    total = zero.new_zeros(count).index_add_(0, bins, electrons)
    # Quadrature weights may be negative: a bin in which they cancel keeps its plain mean.
    size = zero.new_zeros(count).index_add_(0, bins, electrons.abs())
    means = zero.new_zeros(4, count).index_add_(1, bins, coordinates * electrons.abs()) / size
    merged = means[0] ** 3
    return _with_features(merged, *_undo(means)), total / merged


def _undo(means: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return xi, s and alpha from the bins' coordinates."""
    return means[1].clamp(0, 1).sqrt(), means[2] / (1 - means[2]), means[3] / (1 - means[3])


def _with_features(n: Tensor, xi: Tensor, s: Tensor, alpha: Tensor) -> Tensor:
    """Return a density (2, 5, B) that has the given features."""
    gradient = s * S_FACTOR * n ** (4.0 / 3.0)
    spin = 0.5 * ((1 + xi) ** (5.0 / 3.0) + (1 - xi) ** (5.0 / 3.0))
    tau = alpha * TAU_FACTOR * n ** (5.0 / 3.0) * spin + gradient**2 / (8.0 * n)
    rows = torch.stack([n, gradient, torch.zeros_like(n), torch.zeros_like(n), tau])
    return torch.stack([0.5 * (1 + xi) * rows, 0.5 * (1 - xi) * rows])


class DensityBatch:
    """Several systems' densities side by side: all energies in one call of the network.

    Parameters
    ----------
    densities : list of CompressedDensity
    """

    def __init__(self, densities: Sequence[CompressedDensity]) -> None:
        self.densities = list(densities)
        self.rho = torch.cat([d.rho for d in densities], dim=-1)
        self.weights = torch.cat([d.weights for d in densities])
        counts = torch.tensor([len(d.weights) for d in densities], device=self.rho.device)
        self.system = torch.arange(len(densities), device=self.rho.device).repeat_interleave(counts)
        self.fixed = self.rho.new_tensor([d.fixed for d in densities])
        self.conventional = self.rho.new_tensor([d.conventional for d in densities])
        self.exchange = self.rho.new_tensor([d.exchange for d in densities])

    def __len__(self) -> int:
        return len(self.densities)

    def energies(self, functional: Any) -> Tensor:
        """Return energies (Ha), shape (number of systems,), differentiable in the parameters."""
        network = functional.nnxc.energy_density(self.rho) * self.weights
        learned = torch.zeros_like(self.fixed).index_add(0, self.system, network)
        total = self.fixed + functional.aweight * learned
        if functional.xc is not None:
            total = total + functional.bweight * self.conventional
        for index, (coefficient, _) in enumerate(functional.exchange_terms):
            total = total + coefficient * self.exchange[:, index]
        return total
