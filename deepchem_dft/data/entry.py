"""One datum: systems, how their results combine into a value, and the value to reach."""

import copy
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepchem_dft.checks import choice
from deepchem_dft.data.constraints import CONSTRAINT_TYPES
from deepchem_dft.data.fields import SPLITS, energy, number, same
from deepchem_dft.data.stoichiometry import coefficients_of, reaction_text
from deepchem_dft.data.system import DFTSystem, read_systems
from deepchem_dft.data.targets import DensityGrid, asked_target, deviation, load_density, load_density_matrix
from deepchem_dft.errors import InputError

#: Entry types whose value is a combination of energies.
ENERGY_TYPES = ("energy", "ae", "ie", "ea", "reaction", *CONSTRAINT_TYPES)
#: All entry types.
ENTRY_TYPES = (*ENERGY_TYPES, "dm", "dens")


class DFTEntry:
    """Base class of the entries of a data set; make them with `DFTEntry.create`.

    Entries hold text and numpy arrays only: they are light, can be pickled, and compare equal
    after a round trip through a DeepChem ``DiskDataset``.

    Attributes
    ----------
    name : str
    entry_type : str
        energy, ae, ie, ea, reaction, fractional_charge, fractional_spin, dm or dens.
    is_energy : bool
        Whether the value is a combination of energies.
    coefficients : list of float
        For energies: value = sum_i c_i E_i over ``get_systems()``. They include each system's
        ``number``. Empty for dm and dens.
    source : str
        Where the value comes from.
    split : str or None
        train, valid, test or None.
    tags : dict
        Anything else, as written in the file.
    """

    entry_type: str
    is_energy: bool

    def __init__(
        self,
        entry_type: str,
        systems: Sequence[DFTSystem],
        weight: float,
        name: str,
        source: str = "",
        split: str | None = None,
        tags: Mapping[str, Any] | None = None,
    ) -> None:
        self.entry_type = entry_type
        self.name = name
        self.source = source
        self.split = split
        self.tags = dict(tags or {})
        self.coefficients: list[float] = []
        self._systems = list(systems)
        self._weight = weight

    @staticmethod
    def create(
        e_type: str,
        true_val: Any,
        systems: Sequence[Mapping[str, Any] | DFTSystem],
        weight: float = 1,
        *,
        coefficients: Sequence[float] | None = None,
        name: str | None = None,
        source: str = "",
        split: str | None = None,
        tags: Mapping[str, Any] | None = None,
        energy_unit: str = "hartree",
        folder: str | Path | None = None,
        ao_order: str = "pyscf",
        grid: str | None = None,
        grid_level: int = 3,
        tolerance: float | None = None,
        bare: Mapping[str, float] | None = None,
    ) -> "DFTEntry":
        """Make an entry, checking everything that can be checked without a calculation.

        Parameters
        ----------
        e_type : {"energy", "ae", "ie", "ea", "reaction", "fractional_charge", \
"fractional_spin", "dm", "dens"}
        true_val : number, str or array
            An energy with an optional unit; None is 0 for fractional_charge and fractional_spin,
            whose exact value that is. For dm and dens: a file (see `data.targets`), the
            array or mapping itself, or ``"ccsd"`` for a reference made by PySCF when needed.
        systems : sequence of mapping or DFTSystem
            For ae and ie in DeepChem's order: molecule, or neutral, first.
        weight : float
            Weight in the loss, at least 0.
        coefficients : sequence of float, optional
            Factors of the energies (numbers included). Required for reactions; by default
            DeepChem's rule for ae and ie (the others minus the first), by charge for ea.
        name, source, split, tags : optional
            See the attributes.
        energy_unit : str
            Unit of a bare number in ``true_val``.
        folder : path, optional
            Where relative paths start (then the working folder).
        ao_order, tolerance
            For dm: see `data.targets.load_density_matrix`.
        bare : mapping, optional
            For reactions: factors of electrons (``e-``) and bare nuclei (``H+``), whose energy is zero.
            If given, even empty, atoms and charges have to balance.
        grid, grid_level
            For dens: see `data.targets.load_density`; the PySCF level of a ccsd reference's grid.

        Returns
        -------
        DFTEntry

        Raises
        ------
        InputError
            Naming the field and the remedy.

        Examples
        --------
        >>> h2 = {"moldesc": "H 0 0 0; H 0 0 1.4", "basis": "sto-3g"}
        >>> h = {"moldesc": "H 0 0 0", "basis": "sto-3g", "spin": 1, "number": 2}
        >>> entry = DFTEntry.create("ae", "109.5 kcal/mol", [h2, h])
        >>> entry.name, entry.coefficients, entry.get_true_val().round(4)
        ('ae-H2', [-1.0, 2.0], array([0.1745]))
        """
        choice(e_type, ENTRY_TYPES, "e_type", "entry type")
        members = read_systems(systems, folder)
        if (share := number(weight, "weight")) < 0:
            raise InputError(f"weight {share:g} is negative", field="weight", remedy="use at least 0")
        if split is not None:
            choice(split, SPLITS, "split")
        name = name or f"{e_type}-{members[0].name}"
        common: dict[str, Any] = {"name": name, "weight": share, "source": source}
        common |= {"split": split, "tags": tags}
        if bare is not None and e_type != "reaction":
            raise InputError(
                f"an entry of type {e_type} has no bare particles",
                field="bare",
                remedy="use type: reaction, or leave them out",
            )
        if e_type in ENERGY_TYPES:
            exact = e_type in CONSTRAINT_TYPES and true_val is None
            value = energy(0.0 if exact else true_val, energy_unit)
            factors = coefficients_of(e_type, members, coefficients, bare)
            return EnergyEntry(e_type, value, members, factors, bare=bare, **common)
        if len(members) != 1 or members[0].no != 1:
            raise InputError(
                f"a {e_type} entry needs exactly one system",
                field="systems",
                remedy="write one entry per system",
            )
        common |= {"folder": folder, "tolerance": tolerance}
        if e_type == "dm":
            return DensityMatrixEntry(true_val, members[0], ao_order=ao_order, **common)
        return DensityEntry(true_val, members[0], grid=grid, grid_level=grid_level, **common)

    def get_systems(self) -> list[DFTSystem]:
        """Return the systems, in the order of the file."""
        return list(self._systems)

    def get_weight(self) -> float:
        """Return the weight in the loss."""
        return self._weight

    def get_true_val(self) -> np.ndarray:
        """Return the target: shape (1,) in Hartree, the matrix (dm), or the density (dens)."""
        raise NotImplementedError

    def get_val(self, qcs: Sequence[Any]) -> Any:
        """Return the computed counterpart of `get_true_val`, differentiable for tensors."""
        raise NotImplementedError

    @property
    def label(self) -> float:
        """The entry of a data set's ``y``: Hartree, or 0 for dm and dens."""
        return 0.0

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        mine, theirs = vars(self), vars(other)
        return mine.keys() == theirs.keys() and all(same(mine[k], theirs[k]) for k in mine)

    def __hash__(self) -> int:
        return hash((self.entry_type, self.name, tuple(self._systems)))

    def __repr__(self) -> str:
        return f"DFTEntry({self.entry_type} {self.name!r}, {len(self._systems)} systems)"


class EnergyEntry(DFTEntry):
    """An entry whose value is a linear combination of total energies.

    Attributes
    ----------
    bare : dict of str to float
        Factors of electrons and bare nuclei of a reaction; they have no energy.
    """

    is_energy = True

    def __init__(
        self,
        entry_type: str,
        value: float,
        systems: Sequence[DFTSystem],
        coefficients: Sequence[float],
        bare: Mapping[str, float] | None = None,
        **common: Any,
    ) -> None:
        super().__init__(entry_type, systems, **common)
        self.bare = {name: float(c) for name, c in (bare or {}).items()}
        self.coefficients = [float(c) for c in coefficients]
        self._value = value

    def get_true_val(self) -> np.ndarray:
        """Return the value, shape (1,), Hartree."""
        return np.array([self._value])

    @property
    def label(self) -> float:
        """The value in Hartree."""
        return self._value

    def unknown(self) -> "EnergyEntry":
        """Return this entry with a value that is not known, NaN: for predictions."""
        other = copy.copy(self)
        other._value = math.nan
        return other

    def combine(self, energies: Sequence[Any]) -> Any:
        """Return sum_i c_i E_i for the energies of ``get_systems()``, numbers or tensors."""
        if len(energies) != len(self._systems):
            raise ValueError(f"{self.name} has {len(self._systems)} systems, got {len(energies)} energies")
        return sum(c * e for c, e in zip(self.coefficients, energies, strict=True))

    def get_val(self, qcs: Sequence[Any]) -> Any:
        """Return the value from one finished calculation per system.

        Parameters
        ----------
        qcs : sequence
            Objects with ``energy()`` (Hartree), in the order of ``get_systems()``.

        Returns
        -------
        Tensor or np.ndarray
            Shape (1,), Hartree; a differentiable tensor if the energies are tensors.
        """
        value = self.combine([qc.energy() for qc in qcs])
        return value.reshape(1) if hasattr(value, "reshape") else np.array([float(value)])

    def __repr__(self) -> str:
        text = reaction_text(self._systems, self.coefficients, self.bare)
        return f"DFTEntry({self.entry_type} {self.name!r}: {text} = {self._value:.6f} Ha)"


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
        self.is_ccsd, tolerance = asked_target(value, system, tolerance)
        self._arrays: dict[str, np.ndarray] | None = None
        if not self.is_ccsd:
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

    def get_integration_grid(self) -> DensityGrid:
        """Return the grid the target is given on."""
        return DensityGrid(self.points, self.weights)

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
        return deviation(density - target, weights)
