"""Entries whose target is a density matrix (dm) or a density on a grid (dens)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from deepchem_dft.data.entry import DFTEntry
from deepchem_dft.data.fields import number
from deepchem_dft.data.system import DFTSystem
from deepchem_dft.data.targets import load_density, load_density_matrix
from deepchem_dft.errors import InputError

#: What a file may say in place of a path to have the reference made by PySCF.
CCSD = "ccsd"


class Grid(NamedTuple):
    """Points and weights under the names of DeepChem's and DQC's grids."""

    points: np.ndarray
    weights: np.ndarray

    def get_rgrid(self) -> Tensor:
        """Return the points, shape (G, 3), Bohr."""
        return torch.as_tensor(self.points)

    def get_dvolume(self) -> Tensor:
        """Return the weights, shape (G,), Bohr^3."""
        return torch.as_tensor(self.weights)


class _TargetEntry(DFTEntry):
    """What dm and dens share: arrays that are read at once, or made at CCSD level when needed."""

    is_energy = False
    _kind: str

    def __init__(
        self, value: Any, system: DFTSystem, *, tolerance: float | None, grid_level: int = 3, **common: Any
    ) -> None:
        name_source = {k: common.pop(k) for k in ("name", "weight", "source", "split", "tags")}
        super().__init__(self._kind, [system], **name_source)
        self.grid_level = grid_level
        self.is_ccsd = isinstance(value, str) and value.strip().lower() == CCSD
        self._arrays: dict[str, np.ndarray] | None = None
        if value is None:
            raise InputError(
                "true_val is missing",
                field="true_val",
                remedy="name a file, or write ccsd to have the reference made",
            )
        if tolerance is not None:
            tolerance = number(tolerance, "tolerance")
            if tolerance <= 0:
                raise InputError(
                    f"tolerance {tolerance:g} is not positive",
                    field="tolerance",
                    remedy="write a number of electrons such as 1e-3",
                )
        if self.is_ccsd:
            if system.nelec is not None and any(n % 1 for n in system.nelec):
                raise InputError(
                    "CCSD needs whole electron numbers",
                    field="true_val",
                    remedy="name a file, or use integer charge and spin",
                )
        else:
            self._arrays = self._load(value, system, tolerance=tolerance, **common)

    def _load(self, value: Any, system: DFTSystem, **options: Any) -> dict[str, np.ndarray]:
        raise NotImplementedError

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The target's arrays; a CCSD reference is computed (or found in the cache) here."""
        if self._arrays is None:
            from deepchem_dft.data.densities import reference

            self._arrays = reference(self._systems[0], self._kind, self.grid_level)
        return self._arrays

    # A reference that happens to be in memory is part of the pickle, not of the identity.
    def __eq__(self, other: object) -> bool:
        if isinstance(other, _TargetEntry) and self.is_ccsd and other.is_ccsd:
            mine, theirs = ({**vars(e), "_arrays": None} for e in (self, other))
            return type(self) is type(other) and mine == theirs
        return super().__eq__(other)

    __hash__ = DFTEntry.__hash__


class DensityMatrixEntry(_TargetEntry):
    """An entry whose target is a spin-summed density matrix in PySCF's spherical order."""

    _kind = "dm"

    def _load(self, value: Any, system: DFTSystem, **options: Any) -> dict[str, np.ndarray]:
        return {"density_matrix": load_density_matrix(value, system, **options)}

    def get_true_val(self) -> np.ndarray:
        """Return the matrix, shape (nao, nao)."""
        return self.arrays["density_matrix"]

    def get_val(self, qcs: Sequence[Any]) -> Any:
        """Return ``qcs[0].aodmtot()``, shape (nao, nao)."""
        return qcs[0].aodmtot()

    def deviation(self, result: Any) -> Tensor:
        """Return the root-mean-square deviation of the matrix elements.

        Parameters
        ----------
        result : KSResult or Tensor
            A result with ``total_density_matrix``, or the matrix, shape (nao, nao).

        Returns
        -------
        Tensor
            0-dim, differentiable, with a finite gradient at zero.
        """
        matrix = result if isinstance(result, Tensor) else result.total_density_matrix
        target = torch.as_tensor(self.get_true_val(), dtype=matrix.dtype, device=matrix.device)
        return torch.linalg.vector_norm(matrix - target) / target.shape[0]


class DensityEntry(_TargetEntry):
    """An entry whose target is a density on quadrature points."""

    _kind = "dens"

    def _load(self, value: Any, system: DFTSystem, **options: Any) -> dict[str, np.ndarray]:
        if not isinstance(value, (str, Path, Mapping, np.ndarray)):
            raise InputError(
                f"{type(value).__name__} is no density",
                field="true_val",
                remedy="name a .npz file, or write ccsd",
            )
        return load_density(value, system, **options)

    @property
    def points(self) -> np.ndarray:
        """Quadrature points, shape (G, 3), Bohr."""
        return self.arrays["points"]

    @property
    def weights(self) -> np.ndarray:
        """Quadrature weights, shape (G,), Bohr^3."""
        return self.arrays["weights"]

    @property
    def density(self) -> np.ndarray:
        """Reference density, shape (G,), electrons per Bohr^3."""
        return self.arrays["density"]

    def get_integration_grid(self) -> Grid:
        """Return the grid the target is given on."""
        return Grid(self.points, self.weights)

    def get_true_val(self) -> np.ndarray:
        """Return the density, shape (G,)."""
        return self.density

    def get_val(self, qcs: Sequence[Any]) -> Any:
        """Return ``qcs[0].dens(points)``, shape (G,)."""
        return qcs[0].dens(torch.as_tensor(self.points))

    def deviation(self, result: Any) -> Tensor:
        """Return sqrt(sum_g w_g (n_g - n_ref,g)^2), in electrons per Bohr^(3/2).

        Parameters
        ----------
        result : KSResult or Tensor
            A result with ``density(points)``, or the density at ``points``, shape (G,).

        Returns
        -------
        Tensor
            0-dim, differentiable, with a finite gradient at zero.
        """
        points = torch.as_tensor(self.points)
        density = result if isinstance(result, Tensor) else result.density(points)
        weights = torch.as_tensor(self.weights, dtype=density.dtype, device=density.device)
        target = torch.as_tensor(self.density, dtype=density.dtype, device=density.device)
        difference = density - target
        if bool((weights >= 0).all()):
            return torch.linalg.vector_norm(weights.sqrt() * difference)
        # Some Lebedev rules have negative weights; then the sum itself is the safer measure.
        total = (weights * difference**2).sum()
        safe = torch.where(total > 0, total, torch.ones_like(total))
        return torch.where(total > 0, safe.sqrt(), total * 0.0)
