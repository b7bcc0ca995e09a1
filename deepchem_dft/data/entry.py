"""One datum: systems, how their results combine into a value, and the value to reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepchem_dft.data.constraints import CONSTRAINT_TYPES, constraint_coefficients
from deepchem_dft.data.fields import SPLITS, inside, number, show, suggest
from deepchem_dft.data.stoichiometry import (
    check_balance,
    coefficients_by_role,
    positional_coefficients,
    reaction_text,
)
from deepchem_dft.data.system import DFTSystem
from deepchem_dft.errors import InputError
from deepchem_dft.units import parse_energy

#: Entry types whose value is a combination of energies.
ENERGY_TYPES = ("energy", "ae", "ie", "ea", "reaction", *CONSTRAINT_TYPES)
#: All entry types.
ENTRY_TYPES = (*ENERGY_TYPES, "dm", "dens")

_VALUE_REMEDY = "write a number in Hartree, or a number with a unit such as 232.6 kcal/mol"


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
    ) -> DFTEntry:
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
        if not isinstance(e_type, str) or e_type not in ENTRY_TYPES:
            raise InputError(
                f"unknown entry type {show(e_type)}",
                field="e_type",
                remedy=suggest(e_type, ENTRY_TYPES) or f"use one of {', '.join(ENTRY_TYPES)}",
            )
        members = read_systems(systems)
        share = number(weight, "weight")
        if share < 0:
            raise InputError(
                f"weight {share:g} is negative", field="weight", remedy="write a number that is at least 0"
            )
        if split is not None and split not in SPLITS:
            raise InputError(
                f"unknown split {show(split)}",
                field="split",
                remedy=suggest(split, SPLITS) or f"use one of {', '.join(SPLITS)}",
            )
        common: dict[str, Any] = {
            "name": name or f"{e_type}-{members[0].name}",
            "weight": share,
            "source": source,
            "split": split,
            "tags": tags,
        }
        if bare is not None and e_type != "reaction":
            raise InputError(
                f"an entry of type {e_type} has no bare particles",
                field="bare",
                remedy="use type: reaction, or leave them out",
            )
        if e_type in ENERGY_TYPES:
            if e_type in CONSTRAINT_TYPES and true_val is None:
                true_val = 0.0
            return EnergyEntry(
                e_type,
                _energy(true_val, energy_unit),
                members,
                _coefficients(e_type, members, coefficients, bare),
                bare=bare,
                **common,
            )
        from deepchem_dft.data.target_entries import DensityEntry, DensityMatrixEntry

        if len(members) != 1 or members[0].no != 1:
            raise InputError(
                f"a {e_type} entry needs exactly one system",
                field="systems",
                remedy="write one entry per system",
            )
        if e_type == "dm":
            return DensityMatrixEntry(
                true_val, members[0], folder=folder, ao_order=ao_order, tolerance=tolerance, **common
            )
        return DensityEntry(
            true_val,
            members[0],
            folder=folder,
            grid=grid,
            tolerance=tolerance,
            grid_level=grid_level,
            **common,
        )

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
        return mine.keys() == theirs.keys() and all(_same(mine[k], theirs[k]) for k in mine)

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


def read_systems(systems: Any) -> list[DFTSystem]:
    """Make a `DFTSystem` of every mapping; errors name the field as ``systems[0].spin``."""
    if isinstance(systems, (str, Mapping)) or not isinstance(systems, Sequence):
        raise InputError(
            f"systems must be a list, not {show(systems)}",
            field="systems",
            remedy="write a list of systems, each with moldesc and basis",
        )
    if not systems:
        raise InputError("systems is empty", field="systems", remedy="add at least one system")
    out = []
    for i, system in enumerate(systems):
        try:
            out.append(system if isinstance(system, DFTSystem) else DFTSystem(system))
        except InputError as error:
            raise inside(error, f"systems[{i}]") from None
    return out


def _energy(value: Any, unit: str) -> float:
    if value is None:
        raise InputError("true_val is missing", field="true_val", remedy=_VALUE_REMEDY)
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise InputError(f"{show(value)} is not an energy", field="true_val", remedy=_VALUE_REMEDY)
    try:
        return parse_energy(value, unit)
    except (ValueError, OverflowError) as error:
        problem = str(error) if len(str(error)) < 200 else f"{show(value)} is not an energy"
        raise InputError(problem, field="true_val", remedy=_VALUE_REMEDY) from None


def _coefficients(
    e_type: str, systems: Sequence[DFTSystem], given: Sequence[float] | None, bare: Mapping[str, float] | None
) -> list[float]:
    if given is not None:
        if len(given) != len(systems):
            raise InputError(
                f"{len(given)} coefficients for {len(systems)} systems",
                field="coefficients",
                remedy="give one per system",
            )
        factors = [number(c, "coefficients") for c in given]
        if bare is not None:
            check_balance(systems, factors, field="coefficients", bare=bare)
        return factors
    if e_type == "reaction":
        raise InputError(
            "coefficients are missing", field="coefficients", remedy="give the factor of each system's energy"
        )
    if e_type in CONSTRAINT_TYPES:
        return constraint_coefficients(e_type, systems)
    if e_type in ("energy", "ea"):
        return coefficients_by_role(e_type, systems)
    coefficients = positional_coefficients(systems)
    # A single-system ie is minus the energy of that system: nothing to balance.
    if e_type == "ae" or len(systems) > 1:
        check_balance(systems, coefficients, charges=e_type == "ae")
    return coefficients


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.array_equal(a, b)
    return bool(a == b)
