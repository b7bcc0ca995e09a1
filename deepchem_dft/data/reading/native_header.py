"""Head of a file in the package's own schema: defaults and named systems."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepchem_dft.data.fields import SPLITS, Fields, inside, show, suggest
from deepchem_dft.data.stoichiometry import GROUND_STATE_SPIN
from deepchem_dft.data.system import SYSTEM_KEYS, DFTSystem
from deepchem_dft.errors import InputError
from deepchem_dft.molecule.geometry import names_a_file, read_geometry
from deepchem_dft.units import ENERGY_UNITS, LENGTH_UNITS

FORMAT = "deepchem_dft/1"
TOP_KEYS = ("format", "name", "description", "source", "license", "defaults", "systems", "entries")
DEFAULT_KEYS = ("basis", "unit", "energy_unit", "ecp", "type", "weight", "split")
NAMED_KEYS = tuple(key for key in SYSTEM_KEYS if key not in ("moldesc", "number", "name"))


class Header:
    """What the entries of a file share.

    Parameters
    ----------
    document : mapping
        The whole file.
    folder : path, optional
        Where the names of geometry files start. Default: the working folder.

    Raises
    ------
    InputError
        For unknown keys, formats, units. Named systems are checked when an entry uses them.
    """

    def __init__(self, document: Mapping[str, Any], folder: Path | None = None) -> None:
        self.folder = folder
        top = Fields(document, TOP_KEYS, "the file")
        version = top.require("format", f"start the file with 'format: {FORMAT}'")
        if version != FORMAT:
            raise InputError(
                f"unknown format {show(version)}", field="format", remedy=f"write 'format: {FORMAT}'"
            )
        self.name, self.source = top.text("name"), top.text("source")
        try:
            self._read_defaults(Fields(top.get("defaults", {}), DEFAULT_KEYS, "defaults"))
        except InputError as error:
            raise inside(error, "defaults") from None
        systems = top.get("systems", {})
        if not isinstance(systems, Mapping):
            raise InputError(
                f"systems must map names to systems, not {show(systems)}",
                field="systems",
                remedy="write 'systems: {h2o: {geometry: ...}}'",
            )
        self._specs: dict[str, Any] = {}
        for key, spec in systems.items():
            if not isinstance(key, (str, int)) or isinstance(key, bool):
                raise InputError(
                    f"{show(key)} is not the name of a system", field="systems", remedy="quote the name"
                )
            self._specs[str(key)] = spec
        self._made: dict[str, DFTSystem | InputError] = {}
        self.items = top.get("entries")
        if not isinstance(self.items, list) or not self.items:
            empty = self.items is None or self.items == []
            raise InputError(
                "there are no entries" if empty else f"entries must be a list, not {show(self.items)}",
                field="entries",
                remedy="write 'entries:' and a list of '- name: ...'",
            )

    def _read_defaults(self, fields: Fields) -> None:
        self.basis, self.ecp = fields.get("basis"), fields.get("ecp")
        self.unit = fields.choice("unit", LENGTH_UNITS, "bohr") if "unit" in fields else None
        self.energy_unit = fields.choice("energy_unit", ENERGY_UNITS, "hartree")
        self.type = fields.get("type")
        self.weight = fields.number("weight", 1)
        self.split = fields.choice("split", SPLITS, "") if "split" in fields else None

    def defines(self, name: str) -> bool:
        """Return whether the file has a system of this name."""
        return name in self._specs

    def resolve(self, reference: Any, field: str) -> DFTSystem:
        """Return the system that an entry refers to.

        Parameters
        ----------
        reference : str or mapping
            The name of a system of the file, a chemical element (its neutral ground state), a
            mapping ``{system: NAME, number: 2}``, or a system written out.
        field : str
            Where it stands in the entry, for messages.
        """
        if isinstance(reference, Mapping) and "system" in reference:
            try:
                fields = Fields(reference, ("system", "number"), "a reference to a named system")
                count = fields.number("number", 1)
                if not 0 < count <= 10_000:
                    raise InputError(
                        f"number {count:g} is not possible",
                        field="number",
                        remedy="count how often the system occurs: 1, 2, ...",
                    )
            except InputError as error:
                raise inside(error, field) from None
            return self.resolve(fields.get("system"), f"{field}.system").with_number(count)
        if isinstance(reference, Mapping):
            try:
                return self._make(reference, (*NAMED_KEYS, "number", "name"))
            except InputError as error:
                raise inside(error, field) from None
        if isinstance(reference, int) and not isinstance(reference, bool):
            reference = str(reference)
        if not isinstance(reference, str):
            raise InputError(
                f"{show(reference)} is not the name of a system",
                field=field,
                remedy="name a system, or write one out with geometry, charge, spin",
            )
        return self._named(reference, field)

    def _named(self, name: str, field: str) -> DFTSystem:
        made = self._made.get(name)
        if made is None and name in self._specs:
            made = self._make_named(name)
        if made is None and name in GROUND_STATE_SPIN:
            made = self._make({"geometry": f"{name} 0 0 0"})
        if made is None:
            near = suggest(name, self._specs)
            raise InputError(
                f"there is no system {name[:60]!r}",
                field=field,
                remedy=near or "define it under systems, or write it out with its geometry",
            )
        self._made[name] = made
        if isinstance(made, InputError):
            raise made
        return made

    def _make_named(self, name: str) -> DFTSystem | InputError:
        spec = self._specs[name]
        try:
            system = self._make({"geometry": spec} if isinstance(spec, str) else spec)
        except InputError as error:
            return inside(error, f"systems.{name[:60]}")
        system.name = name
        return system

    def _make(self, spec: Any, keys: tuple[str, ...] = NAMED_KEYS) -> DFTSystem:
        fields = Fields(spec, keys, "a system")
        out = {key: fields.get(key) for key in keys if key in fields}
        elsewhere = "smiles" in out or names_a_file(out.get("geometry"))
        for key in ("basis", "ecp") if elsewhere else ("unit", "basis", "ecp"):
            if getattr(self, key) is not None:
                out.setdefault(key, getattr(self, key))
        if not any(key in fields for key in ("spin", "n_alpha", "n_beta", "occupations")):
            self._choose_spin(out)
        return DFTSystem(out, self.folder)

    def _choose_spin(self, out: dict[str, Any]) -> None:
        """Give lone neutral atoms the spin of their ground state; a zero would go unnoticed."""
        text = out.get("geometry") or ""
        if "smiles" in out:
            return  # says how many electrons are unpaired
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # they come with the system
                found = read_geometry(
                    Path(self.folder or "", text) if names_a_file(text) else text, out.get("unit")
                )
        except InputError:
            return  # refused with the rest of the system
        if len(found.symbols) != 1 or found.spin is not None:
            return
        neutral = Fields(out, out, "").number("charge", found.charge or 0) == 0
        if neutral and found.symbols[0] in GROUND_STATE_SPIN:
            out["spin"] = GROUND_STATE_SPIN[found.symbols[0]]
        else:
            raise InputError(
                "the spin of an atomic ion or heavy atom is missing",
                field="spin",
                remedy="write spin: 2S, the number of unpaired electrons",
            )

    def unused_problems(self) -> list[InputError]:
        """Return the problems of named systems that no entry uses."""
        problems = []
        for name in self._specs:
            if name not in self._made:
                made = self._make_named(name)
                if isinstance(made, InputError):
                    problems.append(made)
        return problems
