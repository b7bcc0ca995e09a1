"""Converged densities boiled down to what a network sees, for fast training at fixed densities."""

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from deepchem_dft.errors import CheckpointError
from deepchem_dft.files import write
from deepchem_dft.scf.frozen.density import FrozenDensity
from deepchem_dft.scf.parts import Quadratures
from deepchem_dft.xc.base import XCFunctional
from deepchem_dft.xc.binning import Histogram
from deepchem_dft.xc.dispersion import Nuclei
from deepchem_dft.xc.nonlocality.terms import ScaledXC, nonlocal_parts

if TYPE_CHECKING:
    from deepchem_dft.xc import HybridXC

_FULL_RANGE = -1.0  # stands for omega=None in files


@dataclass
class BinnedDensity:
    r"""One system's density as a weighted set of representative points.

    The energy of ``a * network + b * conventional + exact exchange`` at this density is
    ``fixed + b * conventional + sum(c * exchange) + a * sum(weights * learned(points))``. All but
    the learned part are exact; that one only sees a few features, so that points which agree in
    them are merged (see :meth:`XCFunctional.histograms`). For what is learned and sees more than
    points, the density is kept as it is.

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
    whole : FrozenDensity or None
        The density on the quadratures of nonlocal parts with parameters, if there are any.
    """

    histograms: dict[str, Histogram]
    fixed: float
    conventional: float
    omegas: list[float | None]
    exchange: list[float]
    nuclei: Nuclei
    whole: FrozenDensity | None = None

    def save(self, path: str | Path) -> None:
        """Write to a file: all of it, or none (`StorageError`)."""
        omegas = [_FULL_RANGE if omega is None else omega for omega in self.omegas]
        histograms = {name: tuple(h) for name, h in self.histograms.items()}
        content = io.BytesIO()
        plain = {"omegas": omegas, "histograms": histograms, "nuclei": tuple(self.nuclei), "whole": None}
        if self.whole is not None:
            plain["whole"] = (self.whole.rho, self.whole.quadratures.to_dict())
        torch.save({**self.__dict__, **plain}, content)
        write(path, content.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> "BinnedDensity":
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
            found = cls(**{**content, "omegas": omegas, "histograms": histograms, "nuclei": nuclei})
            if found.whole is not None:
                rho, quadratures = content["whole"]
                found.whole = FrozenDensity(rho, Quadratures.from_dict(quadratures), 0.0, {}, nuclei)
            return found
        except Exception as error:  # torch raises many kinds
            raise CheckpointError(
                f"{path}: the stored density is missing or damaged. Remedy: remove it; it is made again."
            ) from error


def bin_density(
    frozen: FrozenDensity, functional: "HybridXC", widths: Sequence[float] | None = None
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
    learned, unchanging = functional.nnxc, functional.xc
    span, quadrature = frozen.quadratures.of(functional)
    rho = frozen.rho[:, :, span]
    with torch.no_grad():
        conventional = 0.0
        if unchanging is not None:
            parts = [unchanging, *unchanging.nonlocal_terms]
            conventional = sum(float(frozen.at_density(part)()) for part in parts if _is_binned(part))
        histograms = {}
        if not learned.needs_quadrature:
            histograms = learned.histograms(rho, quadrature.weights, widths)
    whole = kept_whole(functional)
    omegas = [omega for _, omega in functional.exchange_terms]
    exchange = [frozen.exchange[omega] for omega in omegas]
    return BinnedDensity(
        histograms,
        frozen.fixed_energy,
        conventional,
        omegas,
        exchange,
        frozen.nuclei,
        frozen.reduced(whole) if whole else None,
    )


def kept_whole(functional: "HybridXC") -> list[XCFunctional]:
    """Return the nonlocal parts of a functional whose energy training may change, with coefficients."""
    conventional = [] if functional.xc is None else [functional.xc, *functional.xc.nonlocal_terms]
    changing = [part for part in conventional if not _is_binned(part)]
    return nonlocal_parts(functional.aweight, functional.nnxc) + [
        ScaledXC(functional.bweight, part) for part in changing
    ]


def _is_binned(part: XCFunctional) -> bool:
    """True if the energy of a conventional part at a density is a number."""
    return not part.needs_quadrature or part.constant


class _WeightedSums(torch.autograd.Function):
    """The product of a sparse matrix and a vector; the transposed matrix gives the derivative."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, matrix: Tensor, transposed: Tensor) -> Tensor:
        ctx.matrices = matrix, transposed
        return (matrix @ values[:, None])[:, 0]

    @staticmethod
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        matrix, transposed = ctx.matrices
        return _WeightedSums.apply(slopes, transposed, matrix), None, None


def _distinct(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distinct columns of a matrix, and which of them each column is.

    Columns are told apart by a random projection, which sorts as numbers do; should two of them have one
    projection, whole columns are compared.
    """
    draw = torch.Generator().manual_seed(0)
    direction = torch.rand(len(points), 1, generator=draw, dtype=torch.float64)
    codes, place = torch.unique((points * direction.to(points.device)).sum(0), return_inverse=True)
    last = torch.zeros_like(codes, dtype=torch.long)
    last[place] = torch.arange(len(place), device=points.device)
    found = points[:, last]
    if torch.equal(found[:, place], points):
        return found, place
    return torch.unique(points, dim=1, return_inverse=True)


class _Points:
    """One kind of histogram of all systems: every distinct point once."""

    def __init__(self, histograms: Sequence[Histogram]) -> None:
        self.points, place = _distinct(torch.cat([h.points for h in histograms], dim=-1))
        weights = torch.cat([h.weights for h in histograms])
        counts = torch.tensor([len(h.weights) for h in histograms], device=place.device)
        system = torch.arange(len(counts), device=place.device).repeat_interleave(counts)
        place = torch.stack([system, place])
        self._matrix = _rows(place, weights, (len(counts), self.points.shape[1]))
        self._transposed = _rows(place.flip(0), weights, (self.points.shape[1], len(counts)))

    def integrals(self, integrand: Tensor) -> Tensor:
        """Return the weighted sums of an integrand at the distinct points, one for each system."""
        return _WeightedSums.apply(integrand, self._matrix, self._transposed)


def _rows(place: Tensor, values: Tensor, size: tuple[int, int]) -> Tensor:
    """Return a sparse matrix of values at (row, column), row by row."""
    found = torch.sparse_coo_tensor(place, values, size, check_invariants=True).coalesce()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return found.to_sparse_csr()


class BinnedDensities:
    """Several systems' densities side by side: all energies in one call of the network.

    Parameters
    ----------
    densities : list of BinnedDensity
        What some have more than others, ranges of exact exchange, is left out.
    """

    def __init__(self, densities: Sequence[BinnedDensity]) -> None:
        self.densities = list(densities)
        first = self.densities[:1]
        names = [n for d in first for n in d.histograms if all(n in e.histograms for e in densities)]
        self.omegas = [w for d in first for w in d.omegas if all(w in e.omegas for e in densities)]
        self._points = {n: _Points([d.histograms[n] for d in densities]) for n in names}
        held = [p.points for p in self._points.values()] + [d.whole.rho for d in densities if d.whole]
        device = held[0].device if held else None
        self.fixed = torch.tensor([d.fixed for d in densities], dtype=torch.float64, device=device)
        self.conventional = self.fixed.new_tensor([d.conventional for d in densities])
        kept = [[d.exchange[d.omegas.index(w)] for w in self.omegas] for d in densities]
        self.exchange = self.fixed.new_tensor(kept)
        # Of the last functional: its dispersion, and its nonlocal parts for every density.
        self._prepared: tuple[Any, Callable[[], Tensor], list[list[Callable[[], Tensor]]]] | None = None

    def __len__(self) -> int:
        return len(self.densities)

    @property
    def size(self) -> int:
        """Number of points at which the learned part is evaluated."""
        whole = sum(d.whole.rho.shape[-1] for d in self.densities if d.whole is not None)
        return sum(p.points.shape[-1] for p in self._points.values()) + whole

    def energies(self, functional: Any) -> Tensor:
        """Return energies (Ha), shape (number of systems,), differentiable in the parameters."""
        learned = torch.zeros_like(self.fixed)
        for name, at in self._points.items():
            learned = learned + at.integrals(functional.nnxc.on_histogram(name, at.points))
        total = self.fixed + functional.aweight * learned
        if functional.xc is not None:
            total = total + functional.bweight * self.conventional
        for coefficient, omega in functional.exchange_terms:
            total = total + coefficient * self.exchange[:, self.omegas.index(omega)]
        if self._prepared is None or self._prepared[0] is not functional:
            self._prepared = functional, *self._unbinned(functional)
        _, dispersion, nonlocal_parts = self._prepared
        for parts in zip(*nonlocal_parts, strict=True):
            total = total + torch.stack([energy() for energy in parts])
        return total + dispersion().to(total.device)

    def _unbinned(self, functional: Any) -> tuple[Callable[[], Tensor], list[list[Callable[[], Tensor]]]]:
        nonlocal_parts = [
            [] if d.whole is None else [d.whole.at_density(part) for part in kept_whole(functional)]
            for d in self.densities
        ]
        return functional.dispersion_at([d.nuclei for d in self.densities]), nonlocal_parts
