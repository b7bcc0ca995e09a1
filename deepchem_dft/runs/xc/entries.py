"""Which entries a run uses: data sets by name or file, filters, another basis, overlap, hash."""

from __future__ import annotations

import copy
import difflib
import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from deepchem_dft.errors import InputError
from deepchem_dft.models.xc.samples import unique_systems
from deepchem_dft.runs.xc.schema import DataConfig, DatasetRef, EntryType
from deepchem_dft.runs.xc.selection import board_names, dataset_names, dataset_path
from deepchem_dft.runs.xc.weighting import balanced
from deepchem_dft.sinks import markdown_cell

if TYPE_CHECKING:
    from deepchem_dft.data import DFTEntry, DFTSystem

__all__ = [
    "ROLES",
    "EntrySet",
    "data_hash",
    "dataset_names",
    "dataset_path",
    "describe_sets",
    "formula_of",
    "load_sets",
    "overlap_markdown",
    "select",
    "unique_systems",
]

ROLES = ("train", "valid", "test")


@dataclass
class EntrySet:
    """Entries of one role that share a table.

    Attributes
    ----------
    role : str
        train, valid or test.
    label : str
        Name in tables.
    entries : list of DFTEntry
    """

    role: str
    label: str
    entries: list[DFTEntry]


def load_sets(config: DataConfig) -> list[EntrySet]:
    """Read all entries of a run, in the order train, valid, test.

    Raises
    ------
    InputError
        For missing files, filters that leave nothing, names that do not exist.
    """
    sets = []
    for role in ROLES:
        for number, ref in enumerate(getattr(config, role)):
            entries = select(ref, ref.basis or config.basis, field=f"data.{role}.{number}")
            sets.append(EntrySet(role, ref.label or _default_label(ref), entries))
    return sets


def _default_label(ref: DatasetRef) -> str:
    return ref.dataset or Path(ref.file or "").stem


def select(
    ref: DatasetRef, basis: str | None = None, field: str = "data", values: bool = True
) -> list[DFTEntry]:
    """Read the entries a reference selects.

    Parameters
    ----------
    ref : DatasetRef
        Source and filters.
    basis : str, optional
        Replaces the basis of all systems.
    field : str
        Where the reference is, for messages.
    values : bool
        As of :func:`~deepchem_dft.data.read_yaml`.

    Raises
    ------
    InputError
        If nothing is left, or a name does not exist.
    """
    from deepchem_dft.data import read_yaml

    path = dataset_path(ref.dataset) if ref.dataset is not None else Path(ref.file or "")
    if ref.dataset is not None and ref.dataset.lower() in board_names():
        entries = _rows_of_board(ref, basis, field)
    elif ref.sets is not None or ref.diet is not None:
        raise InputError(
            f"{path.name} is no board",
            field=f"{field}.{'diet' if ref.sets is None else 'sets'}",
            remedy=f"leave it out, or use one of {', '.join(board_names())}",
        )
    else:
        entries = read_yaml(str(path), values)
    if ref.names is not None:
        entries = _by_name(entries, ref.names, f"{field}.names")
    if ref.exclude is not None:
        dropped = {id(e) for e in _by_name(entries, ref.exclude, f"{field}.exclude")}
        entries = [e for e in entries if id(e) not in dropped]
    kept = [e for e in entries if _passes(e, ref)][: ref.limit]
    if not kept:
        raise InputError(
            f"no entry of {path.name} passes the filters ({len(entries)} before them)",
            field=field,
            remedy="check split, types, max_heavy and the other filters",
        )
    factors = [1.0] * len(kept) if ref.balance is None else balanced(kept, ref.balance, f"{field}.balance")
    return [_adapted(e, basis, ref.weight * factor) for e, factor in zip(kept, factors, strict=True)]


def _rows_of_board(ref: DatasetRef, basis: str | None, field: str) -> list[DFTEntry]:
    """Return rows of a board; what can be told from its table is chosen before any entry is made."""
    from deepchem_dft.data.boards.totals import diet
    from deepchem_dft.molnet.boards import board

    source = board(ref.dataset or "")
    names = None if ref.names is None else [name.removeprefix(f"{source.name}:") for name in ref.names]
    if ref.diet is not None:
        chosen = diet(source, ref.diet)
        names = list(chosen) if names is None else [name for name in names if name in chosen]
    by_row = ref.types is not None and set(ref.types).isdisjoint(get_args(EntryType))
    try:
        rows = source.select(
            sets=ref.sets,
            types=ref.types if by_row else None,
            split=ref.split,
            names=names,
            elements=ref.elements,
            min_heavy=ref.min_heavy,
            max_heavy=ref.max_heavy,
            without=ref.without_tags,
        )
    except InputError as error:
        raise InputError(error.problem, field=f"{field}.{error.field}", remedy=error.remedy) from None
    return source.entries(rows, basis)


def _by_name(entries: Sequence[DFTEntry], names: Sequence[str], field: str) -> list[DFTEntry]:
    """Find entries by full name, or by the part after the colon."""
    by_name = {e.name: e for e in entries}
    short: dict[str, list[DFTEntry]] = {}
    for entry in entries:
        short.setdefault(entry.name.rpartition(":")[2], []).append(entry)
    out = []
    for name in names:
        found = [by_name[name]] if name in by_name else short.get(name, [])
        if len(found) != 1:
            known = {key.lower(): key for key in (*by_name, *short)}
            close = [known[k] for k in difflib.get_close_matches(name.lower(), known, n=1)]
            raise InputError(
                f"there is no entry {name!r}" if not found else f"{name!r} is ambiguous",
                field=field,
                remedy=f"use '{close[0]}'" if close else "check the names in the file",
            )
        out.append(found[0])
    return out


def _passes(entry: DFTEntry, ref: DatasetRef) -> bool:
    systems = entry.get_systems()
    heavy = max(sum(1 for s in system.symbols if s != "H") for system in systems)
    elements = {symbol for system in systems for symbol in system.symbols}
    splits = [ref.split] if isinstance(ref.split, str) else ref.split
    kinds = {entry.entry_type, entry.tags.get("type"), entry.tags.get("kind")}
    return (
        (splits is None or entry.split in splits)
        and (ref.types is None or not kinds.isdisjoint(ref.types))
        and (ref.elements is None or elements <= set(ref.elements))
        and (ref.min_heavy is None or heavy >= ref.min_heavy)
        and (ref.max_heavy is None or heavy <= ref.max_heavy)
        and (ref.max_electrons is None or all(sum(s.electrons) <= ref.max_electrons for s in systems))
        and not any(entry.tags.get(tag) for tag in ref.without_tags)
    )


def _adapted(entry: DFTEntry, basis: str | None, weight: float) -> DFTEntry:
    """Return the entry in another basis and with its weight multiplied."""
    from deepchem_dft.data import DFTEntry

    systems: Sequence[Any] = entry.get_systems()
    if basis is not None and any(s.basis != basis for s in systems):
        if not entry.is_energy and not getattr(entry, "is_ccsd", False):
            raise InputError(
                f"its target was made in another basis than {basis!r}",
                entry=entry.name,
                field="basis",
                remedy="leave the basis out for dm and dens entries that come from files",
            )
        try:
            systems = [{**s.system, "basis": basis} for s in systems]
            return _recreated(entry, systems, weight)
        except InputError as error:
            raise error.located(entry=entry.name) from None
    if weight == 1.0:
        return entry
    if entry.is_energy or getattr(entry, "is_ccsd", False):
        return _recreated(entry, systems, weight)
    other = copy.copy(entry)
    other._weight = entry.get_weight() * weight
    return other if isinstance(other, DFTEntry) else entry


def _recreated(entry: DFTEntry, systems: Sequence[Any], weight: float) -> DFTEntry:
    from deepchem_dft.data import DFTEntry

    options: dict[str, Any] = {}
    if entry.is_energy:
        options["coefficients"] = entry.coefficients
        options["bare"] = getattr(entry, "bare", None) or None
        value: Any = float(np.ravel(entry.get_true_val())[0])
        if math.isnan(value):
            known = copy.copy(entry)
            known._value = 0.0  # type: ignore[attr-defined]
            return _recreated(known, systems, weight).unknown()  # type: ignore[attr-defined]
    else:
        value = "ccsd"
        options["grid_level"] = entry.grid_level  # type: ignore[attr-defined]
    return DFTEntry.create(
        entry.entry_type,
        value,
        systems,
        entry.get_weight() * weight,
        name=entry.name,
        source=entry.source,
        split=entry.split,
        tags=entry.tags,
        **options,
    )


def data_hash(sets: Sequence[EntrySet], grid_level: int) -> str:
    """Return a SHA-256 of every entry as used: systems, coefficients, values, weights, roles."""
    digest = hashlib.sha256(str(grid_level).encode())
    for group in sets:
        for entry in group.entries:
            value = np.ascontiguousarray(np.ravel(entry.get_true_val()), dtype=float)
            content = [
                group.role,
                entry.entry_type,
                entry.name,
                entry.coefficients,
                entry.get_weight(),
                [repr(s.key) for s in entry.get_systems()],
            ]
            digest.update(json.dumps(content).encode() + value.tobytes())
    return digest.hexdigest()


def counts_text(sets: Sequence[EntrySet]) -> str:
    """Say how many entries train, validate and test.

    Examples
    --------
    >>> counts_text([EntrySet("train", "w4-11", [None] * 20), EntrySet("train", "ip", [None] * 5)])
    'trains on 25 entries (w4-11 20, ip 5); selects on none; tests on none'
    """
    parts = []
    for role, words in zip(ROLES, ("trains on", "selects on", "tests on")):
        own = [(group.label, len(group.entries)) for group in sets if group.role == role]
        total = sum(number for _, number in own)
        named = f" entries ({', '.join(f'{label} {number}' for label, number in own)})" if total else ""
        parts.append(f"{words} {total or 'none'}{named}")
    return "; ".join(parts)


def describe_sets(sets: Sequence[EntrySet]) -> list[dict[str, Any]]:
    """Return the entries as plain data, for ``data.json``."""
    return [
        {
            "role": group.role,
            "set": group.label,
            "elements": sorted(
                {symbol for e in group.entries for s in e.get_systems() for symbol in s.symbols}
            ),
            "entries": [
                {"name": e.name, "type": e.entry_type, "systems": [s.name for s in e.get_systems()]}
                for e in group.entries
            ],
        }
        for group in sets
    ]


def overlap_markdown(sets: Sequence[EntrySet]) -> str:
    """State what train, valid and test share: entries, molecules by formula, atoms and ions.

    Transition states are no molecules: they are counted apart, each by its geometry.
    """
    by_role = {role: [e for s in sets if s.role == role for e in s.entries] for role in ROLES}
    lines = [
        f"{role}: {_count(len(entries), 'entry', 'entries')}, "
        f"{_count(len(_molecules(entries)), 'molecule', 'molecules')} by formula and charge"
        + _and_count(len(_transition_states(entries)), "transition state", "transition states")
        for role, entries in by_role.items()
        if entries
    ]
    pairs = (("train", "valid"), ("train", "test"), ("valid", "test"))
    lines += [_shared(by_role, a, b) for a, b in pairs if by_role[a] and by_role[b]]
    seen = _species([*by_role["train"], *by_role["valid"]])
    test_only = _species(by_role["test"]) - seen
    if by_role["test"]:
        lines.append(
            "atoms and ions that occur in test entries and in no train or valid entry: "
            + (", ".join(sorted(test_only)) or "none")
        )
    return "\n".join(f"- {markdown_cell(line)}" for line in lines) + "\n"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _and_count(number: int, one: str, many: str) -> str:
    return f", {_count(number, one, many)}" if number else ""


def _shared(by_role: dict[str, list[DFTEntry]], a: str, b: str) -> str:
    names = {_bare(e.name) for e in by_role[a]} & {_bare(e.name) for e in by_role[b]}
    formulas = _molecules(by_role[a]) & _molecules(by_role[b])
    atoms = _species(by_role[a]) & _species(by_role[b])
    text = f"{a} and {b} share {_listed('entry name', names)}, {_listed('molecule', formulas)}"
    states = _transition_states(by_role[a]).keys() & _transition_states(by_role[b]).keys()
    text += _and_count(len(states), "transition state", "transition states")
    text += f", and {_listed('free atom or ion', atoms)}"
    return text + (" as parts of atomisation or ionisation energies" if atoms else "")


def _listed(what: str, items: set[str]) -> str:
    if not items:
        return f"no {what}"
    words = what.replace("atom or ion", "atoms or ions") if len(items) > 1 else what
    words += "s" if len(items) > 1 and not words.endswith("s") else ""
    return f"{len(items)} {words} ({', '.join(sorted(items))})"


def _bare(name: str) -> str:
    return name.rpartition(":")[2].lower()


def _molecules(entries: Iterable[DFTEntry]) -> set[str]:
    entries = list(entries)
    states = _transition_states(entries)
    return {formula_of(s) for s in unique_systems(entries) if len(s.symbols) > 1 and s.key not in states}


def _transition_states(entries: Iterable[DFTEntry]) -> dict[Any, str]:
    """Return the names, by key, of the systems that the entries' tags call transition states."""
    return {
        s.key: s.name for e in entries for s in e.get_systems() if s.name == e.tags.get("transition_state")
    }


def _species(entries: Iterable[DFTEntry]) -> set[str]:
    return {formula_of(s) for s in unique_systems(entries) if len(s.symbols) == 1}


def formula_of(system: DFTSystem) -> str:
    """Return a formula in alphabetical order, so that isomers and spellings coincide."""
    parts = [f"{el}{n if n > 1 else ''}" for el, n in sorted(system.composition.items())]
    charge = f"({system.charge:+g})" if system.charge else ""
    return "".join(parts) + charge
