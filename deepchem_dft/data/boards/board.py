"""A board of reactions, read lazily: its rows at once, a system when an entry needs it."""

import csv
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from deepchem_dft.data.entry import DFTEntry
from deepchem_dft.data.fields import SPLITS, suggest
from deepchem_dft.data.system import DFTSystem
from deepchem_dft.errors import InputError
from deepchem_dft.files import open_text
from deepchem_dft.json_text import parse_json
from deepchem_dft.units import HARTREE_TO_KCAL

_COLUMNS = ["name", "set", "type", "kind", "reference", "split", "flags", "members"]
#: Units of whole numbers in the arrays: Angstrom, kcal/mol.
_POSITION, _ERROR = 1e-8, 1e-5
_DAMAGED = "restore the files of the board, which belong together"


@dataclass(frozen=True)
class Row:
    """One reaction, as written in the table.

    Attributes
    ----------
    name, set : str
    type : str
        TC thermochemistry, BH barriers, I isomers and conformers, NC non-covalent, F frequencies as
        energies, TM transition metals, SC without a type of its own.
    kind : str
        Finer: AE, TAE, BDE, HAT, IP, EA, PA, SIE and RE (other reactions) of TC; else the type.
    reference : float
        Hartree.
    split : str or None
        train, valid, test, or None for rows that would tie them together.
    flags : tuple of str
        ``multireference``; ``suspect``; ``w4-11-test``.
    members : tuple of (int, int)
        Number of a system, coefficient.
    bare : dict of str to int
        Coefficients of electrons (``e-``) and protons (``H+``).
    """

    name: str
    set: str
    type: str
    kind: str
    reference: float
    split: str | None
    flags: tuple[str, ...]
    members: tuple[tuple[int, int], ...]
    bare: Mapping[str, int]


class Board:
    """Reactions and published values in ``reactions.csv`` and ``NAME.npz`` of a folder.

    Parameters
    ----------
    folder : path
        ``datasets/gscdb138``, or a folder laid out like it.

    Attributes
    ----------
    rows : list of Row

    Raises
    ------
    InputError
        If a file is missing or damaged, with its line.

    Examples
    --------
    >>> from deepchem_dft.molnet import datasets_dir
    >>> board = Board(datasets_dir() / "gscdb138")
    >>> (row,) = board.select(names=["BH76_3"], max_heavy=2)
    >>> board.entry(row)
    DFTEntry(reaction 'gscdb138:BH76_3': -E(H) - E(FH) + E(FH2) = 0.067091 Ha)
    >>> round(board.published(row)["B3LYP"], 2)  # kcal/mol
    31.14
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.name = self.folder.name
        self.rows = [_row(cells, self._table, line) for line, cells in self._lines()]
        self.by_name = {row.name: i for i, row in enumerate(self.rows)}
        self._systems: dict[tuple[int, Any], DFTSystem] = {}

    @property
    def _table(self) -> Path:
        return self.folder / "reactions.csv"

    def _lines(self) -> Iterable[tuple[int, list[str]]]:
        header = False
        with open_text(self._table) as file:
            for line, text in enumerate(file, 1):
                if text.startswith("#") or not text.strip():
                    continue
                cells = next(csv.reader([text.rstrip("\n")]))
                if not header and cells == _COLUMNS:
                    header = True
                    continue
                if not header or len(cells) != len(_COLUMNS):
                    raise InputError(
                        "the table is damaged", file=str(self._table), entry=f"line {line}", remedy=_DAMAGED
                    )
                yield line, cells

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        path = self.folder / f"{self.name}.npz"
        try:
            with np.load(path, allow_pickle=False) as content:
                arrays = {name: content[name] for name in content.files}
            ends, n = arrays["ends"], len(arrays["names"])
            whole = len(arrays["positions"]) == len(arrays["atoms"]) == ends[-1] and len(ends) == n
            if not whole or len(arrays["errors"]) != len(self.rows):
                raise ValueError("tables of different lengths")
        except Exception as error:  # a damaged file can look like anything
            raise InputError(f"it cannot be read ({error})", file=str(path), remedy=_DAMAGED) from None
        arrays["starts"] = np.concatenate([[0], ends[:-1]])
        return arrays

    @property
    def functionals(self) -> tuple[str, ...]:
        """Names of the functionals with published values."""
        return tuple(map(str, self._arrays["functionals"]))

    def published(self, row: int) -> dict[str, float]:
        """Return what the functionals give for a reaction, kcal/mol."""
        reference = self.rows[row].reference * HARTREE_TO_KCAL
        return {f: reference + e for f, e in self.published_errors(row).items()}

    def published_errors(self, row: int) -> dict[str, float]:
        """Return published value minus reference of a reaction, kcal/mol, by functional."""
        return dict(zip(self.functionals, (self._arrays["errors"][row] * _ERROR).tolist()))

    def symbols(self, system: int) -> list[str]:
        """Return the elements of a system's atoms."""
        arrays = self._arrays
        chosen = arrays["atoms"][arrays["starts"][system] : arrays["ends"][system]]
        return arrays["elements"][chosen].tolist()

    def positions(self, system: int) -> np.ndarray:
        """Return the positions of a system's atoms, shape (n, 3), Angstrom."""
        arrays = self._arrays
        return arrays["positions"][arrays["starts"][system] : arrays["ends"][system]] * _POSITION

    @cached_property
    def heavy(self) -> np.ndarray:
        """(systems,) numbers of atoms other than hydrogen."""
        arrays = self._arrays
        counted = np.concatenate([[0], np.cumsum(arrays["elements"][arrays["atoms"]] != "H")])
        return counted[arrays["ends"]] - counted[arrays["starts"]]

    def size(self, row: int) -> int:
        """Return the most heavy atoms of a member of a reaction."""
        return int(max(self.heavy[number] for number, _ in self.rows[row].members))

    def system(self, number: int, basis: Any = None) -> DFTSystem:
        """Return a system, the same object each time it is asked for.

        Parameters
        ----------
        number : int
        basis : str or mapping, optional
            In place of that of the authors.
        """
        key = (number, str(basis))
        if key not in self._systems:
            arrays = self._arrays
            atoms = zip(self.symbols(number), self.positions(number).tolist())
            self._systems[key] = DFTSystem(
                {
                    "moldesc": "; ".join(f"{s} {x:.8f} {y:.8f} {z:.8f}" for s, (x, y, z) in atoms),
                    "unit": "angstrom",
                    "basis": basis or self._basis(number),
                    "charge": int(arrays["charges"][number]),
                    "spin": int(arrays["spins"][number]),
                    "name": str(arrays["names"][number]),
                }
            )
        return self._systems[key]

    def _basis(self, number: int) -> Any:
        text = str(self._arrays["bases"][self._arrays["basis"][number]])
        return parse_json(text) if text.startswith("{") else text

    def select(
        self,
        *,
        sets: Collection[str] | None = None,
        types: Collection[str] | None = None,
        split: str | Collection[str] | None = None,
        names: Sequence[str] | None = None,
        elements: Collection[str] | None = None,
        min_heavy: int | None = None,
        max_heavy: int | None = None,
        without: Collection[str] = (),
    ) -> list[int]:
        """Return the numbers of the rows that pass all filters.

        Parameters
        ----------
        sets : sequence of str, optional
            Sets such as ``BH46``.
        types : sequence of str, optional
            Types or kinds, as in `Row`.
        split : str or sequence of str, optional
            train, valid, test.
        names : sequence of str, optional
            Rows, in this order.
        elements : sequence of str, optional
            Rows made of these elements only.
        min_heavy, max_heavy : int, optional
            Bounds on the most heavy atoms in any one system.
        without : sequence of str
            Flags that a row may not have.

        Raises
        ------
        InputError
            For a name, set, type or split that the board does not have, with the closest one.
        """
        splits = [split] if isinstance(split, str) else split
        self._check("sets", sets, {row.set for row in self.rows})
        self._check("types", types, {t for row in self.rows for t in (row.type, row.kind)})
        self._check("split", splits, SPLITS)
        self._check("names", names, self.by_name)
        rows = range(len(self.rows)) if names is None else [self.by_name[name] for name in names]
        return [
            i
            for i in rows
            if (sets is None or self.rows[i].set in sets)
            and (types is None or self.rows[i].type in types or self.rows[i].kind in types)
            and (splits is None or self.rows[i].split in splits)
            and not set(without) & set(self.rows[i].flags)
            and (min_heavy is None or self.size(i) >= min_heavy)
            and (max_heavy is None or self.size(i) <= max_heavy)
            and (elements is None or self._elements(i) <= set(elements))
        ]

    def _elements(self, row: int) -> set[str]:
        return {symbol for number, _ in self.rows[row].members for symbol in self.symbols(number)}

    def _check(self, field: str, asked: Collection[str] | None, known: Collection[str]) -> None:
        for word in asked or ():
            if word not in known:
                few = f"use one of {', '.join(sorted(known))}" if len(known) < 25 else "see reactions.csv"
                raise InputError(
                    f"{self.name} has no {word[:60]!r}", field=field, remedy=suggest(word, known) or few
                )

    def entry(self, row: int, basis: Any = None) -> DFTEntry:
        """Return a reaction as an entry.

        It is of type ``reaction``, or ``energy`` for total energies of atoms; ``tags`` hold the board,
        set, type, kind and flags.

        Raises
        ------
        InputError
            For an unknown basis, or a reaction that does not balance.
        """
        one = self.rows[row]
        tags: dict[str, Any] = {"board": self.name, "set": one.set, "type": one.type, "kind": one.kind}
        tags |= dict.fromkeys(one.flags, True)
        try:
            return DFTEntry.create(
                "energy" if one.kind == "AE" else "reaction",
                one.reference,
                [self.system(number, basis) for number, _ in one.members],
                coefficients=[c for _, c in one.members],
                bare=None if one.kind == "AE" else one.bare,
                name=f"{self.name}:{one.name}",
                source="Gold-Standard Chemical Database 138, doi 10.1021/acs.jctc.5c01380",
                split=one.split,
                tags=tags,
            )
        except InputError as error:
            raise error.located(file=str(self._table), entry=one.name) from None

    def entries(self, rows: Iterable[int], basis: Any = None) -> list[DFTEntry]:
        """Return several reactions as entries; see `entry`."""
        return [self.entry(row, basis) for row in rows]


def _row(cells: list[str], path: Path, line: int) -> Row:
    name, set_, type_, kind, reference, split, flags, text = cells
    members: list[tuple[int, int]] = []
    bare: dict[str, int] = {}
    try:
        for word in text.split():
            member, _, coefficient = word.rpartition(":")
            if member.isdigit():
                members.append((int(member), int(coefficient)))
            else:
                bare[member] = int(coefficient)
        value = float(reference)
        if not members or not np.isfinite(value) or split not in (*SPLITS, ""):
            raise ValueError
    except ValueError:
        raise InputError(
            "the row is damaged", file=str(path), entry=f"line {line} ({name[:60]})", remedy=_DAMAGED
        ) from None
    return Row(name, set_, type_, kind, value, split or None, tuple(flags.split()), tuple(members), bare)
