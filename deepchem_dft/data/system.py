"""One system of an entry: geometry, basis, charge and spin, checked but without any integrals."""

import copy
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepchem_dft.data.electron_numbers import formula_as_written, has_direction, read_electrons
from deepchem_dft.data.fields import Fields, inside, number, show, tidy
from deepchem_dft.errors import InputError
from deepchem_dft.molecule.basis import has_diffuse
from deepchem_dft.molecule.electrons import treatment
from deepchem_dft.molecule.geometry import (
    composition,
    format_geometry,
    names_a_file,
    parse_geometry,
    read_geometry,
)
from deepchem_dft.molecule.reading.xyz import XYZGeometry
from deepchem_dft.units import ANGSTROM_TO_BOHR

if TYPE_CHECKING:
    from deepchem_dft.molecule.molecule import Molecule

#: Keys of a system mapping.
SYSTEM_KEYS = (
    "moldesc",
    "geometry",
    "smiles",
    "unit",
    "basis",
    "spin",
    "charge",
    "number",
    "n_alpha",
    "n_beta",
    "occupations",
    "restricted",
    "broken_symmetry",
    "ecp",
    "name",
)


@lru_cache(maxsize=1024)
def _diffuse(symbols: tuple[str, ...], basis: str) -> bool:
    return has_diffuse(symbols, json.loads(basis))


class DFTSystem:
    """A molecule, atom or ion that takes part in an entry.

    Parameters
    ----------
    system : mapping
        ``moldesc`` (or ``geometry``): ``"O 0 0 0; H 0 0 1.8"``, the lines of an xyz file, or the name of
        a file (:mod:`deepchem_dft.molecule.reading`), whose charge and multiplicity count unless given
        here; or ``smiles``, for which RDKit makes a geometry; ``unit``: bohr (default) or angstrom (that
        of files and xyz lines); ``basis``: a name, or a name per element; ``spin``: 2S = n_alpha - n_beta;
        ``charge``; ``number``: how often it occurs (default 1); ``n_alpha``, ``n_beta``: electron
        numbers, perhaps fractional, in place of charge and spin; ``occupations``: ``alpha`` and
        ``beta`` lists of electrons (0 to 1) in the lowest orbitals, in place of both;
        ``restricted``: whether both spins share their orbitals; ``broken_symmetry``: true, or 2S_z
        of each atom; ``ecp``; ``name``. Quoted numbers are fine.
    folder : path, optional
        Where the names of geometry files start. Default: the working folder.

    Attributes
    ----------
    moldesc : str
        Canonical geometry in Bohr.
    basis : str or dict
    charge, spin : int or float
        Fractional if the electron numbers are.
    no : int or float
        The ``number``.
    nelec : (float, float) or None
        Electrons of each spin if they do not follow from an integer charge and spin.
    occupations : (tuple of float, tuple of float) or None
        Explicit occupations of the lowest alpha and beta orbitals.
    restricted : bool or None
    broken_symmetry : bool or tuple of float
        As in `Molecule`.
    ecp : str, dict or None
    name : str
        The formula unless given.
    symbols : tuple of str
    electrons : (float, float)
        Electrons of each spin outside effective cores, always set.

    Raises
    ------
    InputError
        Naming the field: geometry, basis, charge, spin (parity, more unpaired electrons than
        there are), misspelt keys.

    Examples
    --------
    >>> ion = DFTSystem({"moldesc": "N 0 0 0", "basis": "def2-svp", "charge": "1", "spin": "2"})
    >>> ion.name, ion.spin, ion.electrons
    ('N+', 2, (4.0, 2.0))
    """

    def __init__(self, system: Mapping[str, Any], folder: str | Path | None = None) -> None:
        fields = Fields(system, SYSTEM_KEYS, "a system")
        self._read_geometry(fields, folder)
        self.basis = _spec(fields.require("basis", "name a basis such as def2-tzvp"), "basis")
        self.ecp = _spec(fields.get("ecp"), "ecp") if "ecp" in fields else None
        self.no = tidy(fields.number("number", 1))
        if not 0 < self.no <= 10_000:
            raise InputError(
                f"number {self.no} is not possible",
                field="number",
                remedy="count how often the system occurs: 1, 2, ...",
            )
        self._read_electrons(fields)
        self._read_treatment(fields)
        self.name = fields.text("name") or formula_as_written(self.symbols, self.charge)

    def _read_geometry(self, fields: Fields, folder: str | Path | None) -> None:
        given = [key for key in ("moldesc", "geometry", "smiles") if key in fields]
        if len(given) != 1:
            raise InputError(
                f"geometry is given twice, as {given[0]} and as {given[1]}"
                if given
                else "the geometry is missing",
                field="geometry" if given else "moldesc",
                remedy="write the atoms once, as 'O 0 0 0; H 0 0 1.8', the name of a file, or 'smiles: O'",
            )
        text, unit = fields.get(given[0]), fields.get("unit")
        try:
            if given[0] == "smiles":
                found = _of_smiles(text, unit)
            else:
                found = read_geometry(Path(folder or "", text) if names_a_file(text) else text, unit)
        except InputError as error:
            own = error.field in (None, "geometry") or error.file is not None
            raise InputError(
                f"{error.file}: {error.problem}" if error.file else error.problem,
                remedy=error.remedy,
                field=given[0] if own else error.field,
            ) from None
        self.symbols = tuple(found.symbols)
        self.moldesc = format_geometry(found.symbols, found.positions)
        self._said = found.charge, found.spin

    def _read_electrons(self, fields: Fields) -> None:
        found = read_electrons(fields, self.symbols, self._basis_key, self._ecp_key, self._said)
        self.charge, self.spin, self.electrons = found.charge, found.spin, found.electrons
        self.nelec, self.occupations = found.nelec, found.occupations

    def _read_treatment(self, fields: Fields) -> None:
        spins = fields.get("broken_symmetry", False)
        if isinstance(spins, (list, tuple)):
            spins = [number(s, "broken_symmetry") for s in spins]
        self.restricted, self.broken_symmetry = treatment(
            fields.get("restricted"), spins, len(self.symbols), self.spin
        )
        if self.restricted and self.electrons[0] != self.electrons[1]:
            raise InputError(
                f"{self.spin:g} unpaired electrons cannot be run restricted",
                field="restricted",
                remedy="leave it out, or correct the spin",
            )

    # -- identity -----------------------------------------------------------------------------

    @property
    def _basis_key(self) -> str:
        return json.dumps(self.basis, sort_keys=True)

    @property
    def _ecp_key(self) -> str:
        return json.dumps(self.ecp, sort_keys=True)

    @property
    def key(self) -> tuple:
        """Hashable identity of the calculation: systems that share it share their energy."""
        key = (self.moldesc, self._basis_key.lower(), self._ecp_key.lower(), self.electrons, self.occupations)
        return key if self.restricted is None else (*key, self.restricted, self.broken_symmetry)

    @property
    def system(self) -> dict[str, Any]:
        """The system as a mapping in DeepChem's layout (Bohr)."""
        out: dict[str, Any] = {
            "moldesc": self.moldesc,
            "basis": self.basis,
            "spin": self.spin,
            "charge": self.charge,
            "number": self.no,
            "name": self.name,
        }
        if self.ecp is not None:
            out["ecp"] = self.ecp
        if self.broken_symmetry:
            spins = self.broken_symmetry
            out["broken_symmetry"] = list(spins) if isinstance(spins, tuple) else True
        elif self.restricted is not None:
            out["restricted"] = self.restricted
        if self.nelec is not None:
            del out["spin"], out["charge"]
        if self.occupations is not None:
            out["occupations"] = {"alpha": list(self.occupations[0]), "beta": list(self.occupations[1])}
        elif self.nelec is not None:
            out["n_alpha"], out["n_beta"] = self.nelec
        return out

    @property
    def positions(self) -> np.ndarray:
        """Positions of the nuclei, shape (n_atoms, 3), Bohr."""
        return parse_geometry(self.moldesc)[1]

    @property
    def composition(self) -> Counter[str]:
        """Number of atoms of each element."""
        return composition(self.symbols)

    @property
    def lacks_diffuse(self) -> bool:
        """Whether this is an anion in a basis without diffuse functions."""
        return self.charge < 0 and not _diffuse(tuple(sorted(set(self.symbols))), self._basis_key)

    @property
    def has_open_shell_to_turn(self) -> bool:
        """Whether this is an atom with a partly filled p, d or f shell, which has a direction.

        Examples
        --------
        >>> [DFTSystem({"moldesc": f"{a} 0 0 0", "basis": "6-31g", "spin": s}
        ...            ).has_open_shell_to_turn for a, s in (("N", 3), ("O", 2), ("Li", 1))]
        [False, True, False]
        """
        if len(self.symbols) != 1:
            return False
        return has_direction(self.symbols[0], self.charge, self.electrons)

    def with_number(self, number: float) -> "DFTSystem":
        """Return a copy that occurs ``number`` times."""
        other = copy.copy(self)
        other.no = tidy(number)
        return other

    def to_molecule(self, grid_level: int = 3, density_fit: bool | str | dict | None = None) -> "Molecule":
        """Return the `Molecule` with its (cached) integrals and a PySCF grid of this level.

        Parameters
        ----------
        grid_level : int
        density_fit : None, bool, str or dict
            As in `Molecule`: None fits large molecules.
        """
        from deepchem_dft.molecule.molecule import Molecule

        whole = self.nelec is None
        return Molecule(
            self.moldesc,
            basis=self.basis,
            charge=int(self.charge) if whole else 0,
            spin=int(self.spin) if whole else 0,
            grid_level=grid_level,
            nelec=self.nelec,
            occupations=self.occupations,
            ecp=self.ecp,
            density_fit=density_fit,
            name=self.name,
            restricted=None if self.broken_symmetry else self.restricted,
            broken_symmetry=self.broken_symmetry,
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DFTSystem):
            return NotImplemented
        return (self.key, self.no, self.name) == (other.key, other.no, other.name)

    def __hash__(self) -> int:
        return hash((self.key, self.no, self.name))

    def __repr__(self) -> str:
        return (
            f"DFTSystem({self.name}, basis={show(self.basis)}, charge={self.charge:+g}, "
            f"spin={self.spin:g}, number={self.no:g})"
        )


def _of_smiles(text: Any, unit: Any) -> XYZGeometry:
    """Return a geometry that RDKit makes, in Bohr."""
    from deepchem_dft.data.properties.conformers import from_smiles

    if unit is not None:
        raise InputError("a SMILES has no unit", field="unit", remedy="leave unit out")
    if not isinstance(text, str):
        raise InputError(f"{show(text)} is no SMILES", field="smiles", remedy="write text, such as 'CCO'")
    try:
        found = from_smiles(text.strip())
    except InputError as error:
        raise InputError(
            error.problem, field="smiles", remedy=error.remedy or "correct it, or write a geometry"
        ) from None
    return replace(found, positions=found.positions * ANGSTROM_TO_BOHR)


def _spec(value: Any, field: str) -> str | dict[str, str]:
    """Check a basis or ECP given as a name or as names per element."""
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, Mapping) and value:
        for key, name in value.items():
            if not isinstance(key, str) or not isinstance(name, str):
                raise inside(
                    InputError(
                        f"{show(name)} is not the name of a {field}",
                        remedy="map element symbols (or default) to names",
                    ),
                    f"{field}.{show(key)}",
                )
        return {key: value[key].strip() for key in sorted(value)}
    raise InputError(
        f"{show(value)} is not the name of a {field}",
        field=field,
        remedy="write a name such as def2-tzvp, or a name per element",
    )


def read_systems(systems: Any, folder: str | Path | None = None) -> list[DFTSystem]:
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
            out.append(system if isinstance(system, DFTSystem) else DFTSystem(system, folder))
        except InputError as error:
            raise inside(error, f"systems[{i}]") from None
    return out
