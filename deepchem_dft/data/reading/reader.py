"""Files in, entries out: finds files, tells the schemas apart, collects every problem."""

import glob
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from deepchem_dft.data.entry import DFTEntry, EnergyEntry
from deepchem_dft.data.fields import show
from deepchem_dft.data.reading import schema_deepchem, schema_native, schema_xcnn
from deepchem_dft.data.reading.context import Context
from deepchem_dft.data.reading.native_header import FORMAT, Header
from deepchem_dft.data.reading.yaml_text import read_yaml_file
from deepchem_dft.errors import InputError

_SCHEMAS = {"deepchem": schema_deepchem, "xcnn": schema_xcnn, "native": schema_native}
_SUFFIXES = (".yaml", ".yml")

PathLike = str | os.PathLike


@dataclass
class RawEntry:
    """One entry as written in a file, before any check.

    Attributes
    ----------
    data : Any
        What YAML holds at this place.
    schema : {"deepchem", "xcnn", "native"}
    number : int
        Place in the file, from 1.
    context : Context
    """

    data: Any
    schema: str
    number: int = 1
    context: Context = field(default_factory=Context)

    @property
    def name(self) -> str:
        """The name as written, or an empty text."""
        name = self.data.get("name") if isinstance(self.data, Mapping) else None
        named = isinstance(name, (str, int, float)) and not isinstance(name, bool)
        return str(name).strip() if named else ""

    @property
    def label(self) -> str:
        """Number and name, for messages."""
        if self.name:
            return f"{self.number} ({self.name[:80]})"
        return str(self.number)

    def build(self) -> DFTEntry:
        """Return the entry; an `InputError` names file, entry, field and remedy."""
        try:
            return _SCHEMAS[self.schema].build(self.data, self.context)
        except InputError as error:
            raise _placed(error, self.context.file, self.label) from None


def _build_without_value(raw: RawEntry) -> DFTEntry:
    key = "value" if raw.schema == "native" else "true_val"
    data = raw.data if isinstance(raw.data, Mapping) else {}
    kind = data.get("type", data.get("e_type", getattr(raw.context.header, "type", None)))
    if data.get(key) is not None or kind in ("dm", "dens"):
        return raw.build()
    entry = replace(raw, data={**data, key: 0.0}).build()
    return entry.unknown() if isinstance(entry, EnergyEntry) else entry


@dataclass
class Document:
    """The raw entries of a file and the head they share."""

    file: str
    schema: str
    entries: list[RawEntry]
    header: Header | None = None


def _placed(error: InputError, file: str | None, entry: str | None = None) -> InputError:
    return InputError(
        error.problem,
        file=error.file or file,
        entry=error.entry or entry,
        field=error.field or "entries",
        remedy=error.remedy,
    )


def schema_of(items: Any) -> str:
    """Tell the schema of a list of entries from the keys they use.

    Examples
    --------
    >>> schema_of([{"e_type": "ae"}]), schema_of([{"type": "ae", "cmd": "..."}])
    ('deepchem', 'xcnn')
    """
    votes = {"deepchem": 0, "xcnn": 0}
    for item in items:
        if not isinstance(item, Mapping):
            continue
        votes["deepchem"] += "e_type" in item
        votes["xcnn"] += ("type" in item) + ("cmd" in item) + ("ref" in item)
        systems = item.get("systems")
        for system in systems if isinstance(systems, list) else []:
            if isinstance(system, Mapping):
                votes["deepchem"] += "moldesc" in system
                votes["xcnn"] += "kwargs" in system
    return "xcnn" if votes["xcnn"] > votes["deepchem"] else "deepchem"


def read_document(path: PathLike) -> Document:
    """Read a file up to its raw entries.

    Raises
    ------
    InputError
        For a file that is missing, empty, malformed, or has a bad head.
    """
    file = os.fspath(path)
    value = read_yaml_file(file)
    try:
        if isinstance(value, Mapping):
            header = Header(value, Path(file).parent)
            context = Context(file, header)
            entries = [RawEntry(item, "native", i, context) for i, item in enumerate(header.items, start=1)]
            return Document(file, "native", entries, header)
        if not isinstance(value, list):
            raise InputError(
                f"the file holds {show(value)}, not entries",
                field="entries",
                remedy=f"write a list of entries, or 'format: {FORMAT}'",
            )
    except InputError as error:
        raise _placed(error, file) from None
    schema = schema_of(value)
    context = Context(file)
    return Document(
        file, schema, [RawEntry(item, schema, i, context) for i, item in enumerate(value, start=1)]
    )


def collect(
    document: Document, build: Callable[[RawEntry], DFTEntry] = RawEntry.build
) -> tuple[list[DFTEntry], list[InputError]]:
    """Build every entry of a file; return the good ones and the problems, one per entry."""
    entries: list[DFTEntry] = []
    problems: list[InputError] = []
    names: dict[str, int] = {}
    for raw in document.entries:
        try:
            if raw.name and raw.name in names:
                raise InputError(
                    f"entry {names[raw.name]} has the same name",
                    field="name",
                    file=document.file,
                    entry=raw.label,
                    remedy="give every entry a name of its own",
                )
            if raw.name:
                names[raw.name] = raw.number
            entries.append(build(raw))
        except InputError as error:
            problems.append(error)
    if document.header is not None:
        problems += [_placed(p, document.file) for p in document.header.unused_problems()]
    problems = _without_repeats(problems)
    _number_generated_names(entries, set(names))
    return entries, problems


def _without_repeats(problems: list[InputError]) -> list[InputError]:
    """Report what is wrong with a named system (or with all of them) once, where it is used."""
    out, seen = [], set()
    for problem in problems:
        if (problem.field or "").startswith("systems."):
            if (problem.problem, problem.remedy) in seen:
                continue
            seen.add((problem.problem, problem.remedy))
        out.append(problem)
    return out


def _number_generated_names(entries: Iterable[DFTEntry], given: set[str]) -> None:
    taken: set[str] = set()
    for entry in entries:
        base, count = entry.name, 2
        while entry.name in taken or (entry.name in given and entry.name != base):
            entry.name, count = f"{base}-{count}", count + 1
        taken.add(entry.name)


def read_yaml(path: PathLike, values: bool = True) -> list[DFTEntry]:
    """Read the entries of one YAML file in any of the three schemas.

    Parameters
    ----------
    path : path
        DeepChem's schema, xcnn's, or the package's own (``format: deepchem_dft/1``).
    values : bool
        Whether every entry must have a value. If not, that of an energy that has none is NaN: good for
        predictions only.

    Returns
    -------
    list of DFTEntry
        In the order of the file, with names that are unique in it.

    Raises
    ------
    InputError
        The first problem, naming file, entry, field and remedy. `check` returns all.
    """
    document = read_document(path)
    entries, problems = collect(document, RawEntry.build if values else _build_without_value)
    if problems:
        raise problems[0]
    for message in advice(entries):
        warnings.warn(f"{document.file}: {message}", stacklevel=2)
    return entries


def check(paths: PathLike | Sequence[PathLike]) -> list[InputError]:
    """Return every problem in some files, at most one per entry; an empty list if all is well."""
    problems: list[InputError] = []
    try:
        files = find_files(paths)
    except InputError as error:
        return [error]
    for file in files:
        try:
            problems += collect(read_document(file))[1]
        except InputError as error:
            problems.append(_placed(error, str(file)))
    return problems


def advice(entries: Iterable[DFTEntry]) -> list[str]:
    """Return warnings about entries that are readable but probably not meant as they stand."""
    poor, single, large, turned = [], [], [], []
    for entry in entries:
        systems = entry.get_systems()
        # CCSD starts from whole orbitals whatever the occupations say.
        even = systems[0].occupations is not None and not getattr(entry, "is_ccsd", False)
        if not entry.is_energy and systems[0].has_open_shell_to_turn and not even:
            turned.append(entry.name)
        if any(system.lacks_diffuse for system in systems):
            poor.append(entry.name)
        if entry.entry_type == "ie" and len(systems) == 1 and sum(systems[0].electrons) != 1:
            single.append(entry.name)
        if entry.entry_type in ("ae", "ie", "ea"):
            atoms = max(len(system.symbols) for system in systems)
            neutral = all(abs(system.charge) <= 1 for system in systems)
            if neutral and abs(entry.label) > (0.5 * atoms if entry.entry_type == "ae" else 1.0):
                large.append(entry.name)
    out = []
    if poor:
        out.append(
            f"anions in a basis without diffuse functions ({_names(poor)}): their extra "
            "electron is badly described; use e.g. aug-cc-pvtz, def2-tzvpd or 6-31+G*"
        )
    if single:
        out.append(
            f"ionisation energies with a single system of several electrons "
            f"({_names(single)}): their value is minus its total energy"
        )
    if large:
        out.append(
            f"values larger than chemistry allows ({_names(large)}): check their unit "
            "(a bare number is in Hartree unless the file says otherwise)"
        )
    if turned:
        out.append(
            f"densities of atoms with a partly filled p, d or f shell ({_names(turned)}): "
            "the shell may point anywhere, so that a right density can differ from the "
            "target; use energies, or explicit occupations that fill the shell evenly with "
            "a target from a file"
        )
    return out


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def find_files(inputs: PathLike | Sequence[PathLike]) -> list[str]:
    """Return the files that paths, folders and glob patterns stand for, each once.

    Parameters
    ----------
    inputs : path, pattern, folder, or a sequence of them
        Folders stand for the YAML files directly in them.

    Raises
    ------
    InputError
        If nothing matches a pattern or a folder holds no YAML file.
    """
    single = isinstance(inputs, (str, os.PathLike))
    out: list[str] = []
    seen = set()
    items: Sequence[Any] = [inputs] if single else inputs  # type: ignore[assignment,list-item]
    if not isinstance(items, (list, tuple)):
        raise InputError(
            f"{show(inputs)} is not a path or a list of paths",
            field="paths",
            remedy="give the path of a YAML file",
        )
    for item in items:
        if not isinstance(item, (str, os.PathLike)) or not os.fspath(item):
            raise InputError(
                f"{show(item)} is not a path", field="paths", remedy="give the path of a YAML file"
            )
        for file in _expand(os.fspath(item)):
            real = os.path.realpath(file)
            if real not in seen:
                seen.add(real)
                out.append(file)
    if not out:
        raise InputError("no files are given", field="paths", remedy="name at least one YAML file")
    return out


def _expand(text: str) -> list[str]:
    if "\0" in text:
        raise InputError(
            "a path cannot hold a null character", field="paths", remedy="give the path of a YAML file"
        )
    path = Path(text)
    if os.path.isdir(path):
        found = sorted(str(p) for p in path.iterdir() if p.suffix.lower() in _SUFFIXES)
        if not found:
            raise InputError(
                "the folder holds no YAML file", file=text, field="paths", remedy="name a .yaml file"
            )
        return found
    if not os.path.exists(path) and glob.has_magic(text):
        found = sorted(p for p in glob.glob(text, recursive=True) if os.path.isfile(p))
        if not found:
            raise InputError(
                "no file matches the pattern",
                file=text,
                field="paths",
                remedy=f"check the pattern; relative ones start at {Path.cwd()}",
            )
        return found
    return [text]
