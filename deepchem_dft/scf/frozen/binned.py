"""Converged densities boiled down to what a network sees, for fast training at fixed densities."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from deepchem_dft.errors import CheckpointError
from deepchem_dft.files import write
from deepchem_dft.xc.binning import Histogram
from deepchem_dft.xc.dispersion import Nuclei
from deepchem_dft.xc.terms import refuse_nonlocal

if TYPE_CHECKING:
    from deepchem_dft.scf.frozen.density import FrozenDensity
    from deepchem_dft.xc import HybridXC

_FULL_RANGE = -1.0  # stands for omega=None in files


@dataclass
class BinnedDensity:
    r"""One system's density as a weighted set of representative points.

    The energy of ``a * network + b * conventional + exact exchange`` at this density is
    ``fixed + b * conventional + sum(c * exchange) + a * sum(weights * learned(points))``. All but
    the learned part are exact; that one only sees a few features, so that points which agree in
    them are merged (see :meth:`XCFunctional.histograms`).

    Attributes
    ----------
    histograms : dict of Histogram
        Points and weights by name, as the learned part wants them.
    fixed, conventional : float
        Energy of everything but exchange and correlation; of the conventional functional. Ha.
    omegas : list of float or None
        Ranges of the exact-exchange terms.
    exchange : list of float
        Exact-exchange energies at unit coefficient, Ha.
    nuclei : Nuclei
        For dispersion energies.
    """

    histograms: dict[str, Histogram]
    fixed: float
    conventional: float
    omegas: list[float | None]
    exchange: list[float]
    nuclei: Nuclei

    def save(self, path: str | Path) -> None:
        """Write to a file: all of it, or none (`StorageError`)."""
        omegas = [_FULL_RANGE if omega is None else omega for omega in self.omegas]
        histograms = {name: tuple(h) for name, h in self.histograms.items()}
        content = io.BytesIO()
        plain = {"omegas": omegas, "histograms": histograms, "nuclei": tuple(self.nuclei)}
        torch.save({**self.__dict__, **plain}, content)
        write(path, content.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> BinnedDensity:
        """Read what :meth:`save` wrote.

        Raises
        ------
        CheckpointError
            If the file is missing or damaged.
        """
        try:
            content = torch.load(path, weights_only=True)
            omegas = [None if omega == _FULL_RANGE else omega for omega in content["omegas"]]
            histograms = {name: Histogram(*h) for name, h in content["histograms"].items()}
            nuclei = Nuclei(*content["nuclei"])
            return cls(**{**content, "omegas": omegas, "histograms": histograms, "nuclei": nuclei})
        except Exception as error:  # torch raises many kinds
            raise CheckpointError(
                f"{path}: the stored density is missing or damaged. Remedy: remove it; it is made again."
            ) from error


def bin_density(
    frozen: FrozenDensity, functional: HybridXC, widths: Sequence[float] | None = None
) -> BinnedDensity:
    """Boil a density down to what ``functional``'s network sees.

    Parameters
    ----------
    frozen : FrozenDensity
        From a self-consistent field, or of its orbitals.
    functional : HybridXC
        Whose energy is wanted; only its kind matters, not its parameters.
    widths : sequence of float
        Of bins, where points are merged in bins.
    """
    refuse_nonlocal(functional, "a compressed density", "train it self-consistently")
    with torch.no_grad():
        conventional = 0.0
        if functional.xc is not None:
            density = functional.xc.energy_density(frozen.rho)
            conventional = float((density * frozen.weights).sum())
        histograms = functional.nnxc.histograms(frozen.rho, frozen.weights, widths)
    omegas = [omega for _, omega in functional.exchange_terms]
    exchange = [frozen.exchange[omega] for omega in omegas]
    return BinnedDensity(histograms, frozen.fixed_energy, conventional, omegas, exchange, frozen.nuclei)


class _Points:
    """One kind of histogram of all systems: every distinct point once."""

    def __init__(self, histograms: Sequence[Histogram]) -> None:
        points = torch.cat([h.points for h in histograms], dim=-1)
        self.points, self.place = torch.unique(points, dim=1, return_inverse=True)
        self.weights = torch.cat([h.weights for h in histograms])
        counts = torch.tensor([len(h.weights) for h in histograms], device=points.device)
        self.system = torch.arange(len(counts), device=points.device).repeat_interleave(counts)

    def integrals(self, integrand: Tensor, systems: int) -> Tensor:
        """Return the weighted sums of an integrand at the distinct points, one for each system."""
        values = integrand[self.place] * self.weights
        return values.new_zeros(systems).index_add(0, self.system, values)


class BinnedDensities:
    """Several systems' densities side by side: all energies in one call of the network.

    Parameters
    ----------
    densities : list of BinnedDensity
    """

    def __init__(self, densities: Sequence[BinnedDensity]) -> None:
        self.densities = list(densities)
        names = self.densities[0].histograms if self.densities else {}
        self._points = {n: _Points([d.histograms[n] for d in densities]) for n in names}
        device = next((p.points.device for p in self._points.values()), None)
        self.fixed = torch.tensor([d.fixed for d in densities], dtype=torch.float64, device=device)
        self.conventional = self.fixed.new_tensor([d.conventional for d in densities])
        self.exchange = self.fixed.new_tensor([d.exchange for d in densities])
        self._dispersion: tuple[Any, Callable[[], Tensor]] | None = None  # of the last functional

    def __len__(self) -> int:
        return len(self.densities)

    @property
    def size(self) -> int:
        """Number of points at which the learned part is evaluated."""
        return sum(p.points.shape[-1] for p in self._points.values())

    def energies(self, functional: Any) -> Tensor:
        """Return energies (Ha), shape (number of systems,), differentiable in the parameters."""
        learned = torch.zeros_like(self.fixed)
        for name, at in self._points.items():
            learned = learned + at.integrals(functional.nnxc.on_histogram(name, at.points), len(self))
        total = self.fixed + functional.aweight * learned
        if functional.xc is not None:
            total = total + functional.bweight * self.conventional
        for index, (coefficient, _) in enumerate(functional.exchange_terms):
            total = total + coefficient * self.exchange[:, index]
        if self._dispersion is None or self._dispersion[0] is not functional:
            self._dispersion = functional, functional.dispersion_at([d.nuclei for d in self.densities])
        return total + self._dispersion[1]().to(total.device)
