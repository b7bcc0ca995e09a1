"""The one reader of xyz files: plain and extended, one geometry or many, strict."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from deepchem_dft.errors import InputError
from deepchem_dft.molecule.elements import element, number
from deepchem_dft.molecule.reading.comment import NUMERIC, electrons, look_for_unread, pairs_of, with_column

#: Endings of the files that are read, each perhaps followed by ``.gz``.
ENDINGS = (".xyz", ".extxyz")

_COUNT_REMEDY = "begin every geometry with its number of atoms, then a comment line, then the atoms"
_ROW_REMEDY = "write each atom as 'O 0.0 0.0 0.1173', in Angstrom"
_TRUE, _FALSE = ("t", "true", "1", "yes"), ("f", "false", "0", "no")
# Names of columns that hold elements, nuclear charges and positions (ASE's, and near ones).
_SPECIES, _NUCLEI, _POSITIONS = ("species", "symbols"), ("z", "numbers"), ("pos", "positions")
_LONGEST_SPEC = 200


@dataclass(frozen=True)
class XYZGeometry:
    """What an xyz file says of one molecule.

    Attributes
    ----------
    symbols : list of str
    positions : ndarray, shape (natom, 3)
        As written; the unit of the format is Angstrom.
    charge : int or None
        Of the comment line, or the sum of a column ``initial_charges``; None if neither is there.
    spin : int or None
        2S = n_alpha - n_beta, likewise; ``mult=3`` is a ``spin`` of 2.
    remarks : tuple of str
        What the file says that is not used.
    """

    symbols: list[str]
    positions: np.ndarray
    charge: int | None = None
    spin: int | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Frame:
    """Lines of one geometry of an xyz file, of which there are as many as it announces.

    Attributes
    ----------
    number : int
        Place in the file, from 1.
    comment : str
    rows : tuple of str
        One per atom.
    file : str
        Its name, for messages.
    """

    number: int
    comment: str
    rows: tuple[str, ...] = field(repr=False)
    file: str = ""

    def read(self) -> XYZGeometry:
        """Read the atoms, and charge and multiplicity of the comment line.

        Returns
        -------
        XYZGeometry

        Raises
        ------
        InputError
            Naming the file and, by its number, the geometry: for periodic ones, columns that do not
            fit, unknown elements, and charges that contradict each other or are no whole numbers.
        """
        try:
            return self._read()
        except InputError as error:
            raise error.located(file=self.file or None, entry=str(self.number)) from None

    def _read(self) -> XYZGeometry:
        pairs = pairs_of(self.comment)
        _refuse_periodic(dict(pairs))
        spec = dict(pairs).get("properties")
        remarks: list[str] = []
        columns = {} if spec is None else _columns(spec)
        rows = [row.split("#")[0].split() for row in self.rows]
        symbols, positions = _plain(rows, remarks) if spec is None else _extended(rows, columns)
        charge, spin = electrons(pairs, remarks)
        charge = with_column(charge, "charge", "initial_charges", rows, columns)
        moment = with_column(None, "spin", "initial_magmoms", rows, columns)
        spin = abs(moment) if spin is None and moment is not None else spin
        look_for_unread(self.comment, remarks)
        return XYZGeometry(symbols, positions, charge, spin, tuple(remarks))


def frames(lines: Iterable[str], file: str = "") -> Iterator[Frame]:
    """Yield the geometries of an xyz file, without looking into them.

    Parameters
    ----------
    lines : iterable of str
        An open file, or its lines.
    file : str
        Its name, for messages.

    Raises
    ------
    InputError
        For a number of atoms that is none, and more or fewer atoms than it announces.

    Examples
    --------
    >>> text = "1\\ncharge=1\\nH 0 0 0\\n\\n2\\n\\nH 0 0 0\\nH 0 0 0.74\\n"
    >>> [(f.number, len(f.rows), f.read().charge) for f in frames(text.splitlines())]
    [(1, 1, 1), (2, 2, None)]
    """
    stream, done, count = iter(lines), 0, 0
    for line in stream:
        text = line.strip()
        if not text:
            continue
        where = {"file": file or None, "entry": str(done + 1), "field": "atoms"}
        if not (text.isascii() and text.isdigit() and 0 < len(text) < 10 and int(text) > 0):
            if done and not re.fullmatch(r"[-+]?\d+", text):
                raise InputError(
                    f"the first line announces {count} atoms, but {text[:40]!r} follows them",
                    file=file or None,
                    entry=str(done),
                    field="atoms",
                    remedy="correct the number of atoms in the first line",
                )
            raise InputError(f"{text[:40]!r} is not a number of atoms", **where, remedy=_COUNT_REMEDY)
        count, comment = int(text), next(stream, "")
        rows = tuple(row.strip() for row in islice(stream, count))
        there = next((i for i, row in enumerate(rows) if not row), len(rows))
        if there < count:
            raise InputError(
                f"the first line announces {count} atoms, there are {there}",
                **where,
                remedy="correct the number of atoms in the first line, or the file is cut off",
            )
        done += 1
        yield Frame(done, comment.strip(), rows, file)


def only(found: Iterator[Frame], file: str = "") -> XYZGeometry:
    """Return the geometry of the only frame there is.

    Raises
    ------
    InputError
        If there is none, or another one.
    """
    first = next(found, None)
    if first is None:
        raise InputError("the file is empty", file=file or None, field="geometry", remedy=_COUNT_REMEDY)
    if next(found, None) is not None:
        raise several(file)
    return first.read()


def several(file: str) -> InputError:
    """Return the error of a file that holds more than one geometry."""
    return InputError(
        "there are several geometries where one is wanted",
        file=file or None,
        field="geometry",
        remedy="put the one that is meant into its own file",
    )


def _refuse_periodic(pairs: dict[str, str]) -> None:
    flags = re.split(r"[\s,]+", pairs["pbc"].lower()) if pairs.get("pbc") else []
    if unknown := [flag for flag in flags if flag not in (*_TRUE, *_FALSE)]:
        raise InputError(
            f"pbc={unknown[0][:20]!r} is neither true nor false",
            field="pbc",
            remedy='write pbc="F F F" for a molecule',
        )
    lattice = any(token.strip("0.+-") for token in re.split(r"[\s,]+", pairs.get("lattice", "")))
    if any(flag in _TRUE for flag in flags) or (lattice and not flags):
        raise InputError(
            "the comment line gives a lattice: periodic systems are not supported",
            field="Lattice" if lattice else "pbc",
            remedy='for a molecule in a box write pbc="F F F", or remove the Lattice',
        )


def _columns(spec: str) -> dict[str, slice]:
    """Read ``species:S:1:pos:R:3``; names in lower case."""
    parts = spec[:_LONGEST_SPEC].split(":")
    columns: dict[str, slice] = {}
    start = 0
    for name, kind, width in zip(parts[::3], parts[1::3], parts[2::3]):
        valid = kind.upper() in ("S", "I", "R", "L") and re.fullmatch(r"[1-9]\d?", width)
        if not valid or name.lower() in columns:
            break
        columns[name.lower()] = slice(start, start + int(width))
        start += int(width)
    if len(parts) % 3 or len(columns) != len(parts) // 3 or len(spec) > _LONGEST_SPEC:
        raise InputError(
            f"Properties={spec[:60]!r} cannot be read",
            field="Properties",
            remedy="write name:type:columns for each property, as in species:S:1:pos:R:3",
        )
    return columns


def _first(columns: dict[str, slice], names: tuple[str, ...], width: int) -> slice | None:
    found = next((columns[name] for name in names if name in columns), None)
    if found is not None and found.stop - found.start != width:
        raise InputError(
            f"the property {names[0]!r} has {found.stop - found.start} columns, not {width}",
            field="Properties",
            remedy="write species:S:1:pos:R:3",
        )
    return found


def _extended(rows: list[list[str]], columns: dict[str, slice]) -> tuple[list[str], np.ndarray]:
    width = max(part.stop for part in columns.values())
    species = _first(columns, _SPECIES, 1)
    nuclei, positions = _first(columns, _NUCLEI, 1), _first(columns, _POSITIONS, 3)
    if positions is None or (species is None and nuclei is None):
        raise InputError(
            "Properties name no positions" if positions is None else "Properties name no elements",
            field="Properties",
            remedy="there must be pos:R:3, and species:S:1 or Z:I:1",
        )
    symbols: list[str] = []
    for i, row in enumerate(rows, start=1):
        if len(row) != width:
            raise InputError(
                f"atom {i} has {len(row)} columns, but Properties name {width}",
                field="Properties",
                remedy="correct Properties, or the atoms",
            )
        names = {element(row[part][0]) for part in (species, nuclei) if part is not None}
        if len(names) > 1:
            raise InputError(
                f"atom {i} is said to be {' and '.join(sorted(names))}",
                field="atoms",
                remedy="let species and Z agree",
            )
        symbols += names
    return symbols, np.array([[number(x, i) for x in row[positions]] for i, row in enumerate(rows, start=1)])


def _plain(rows: list[list[str]], remarks: list[str]) -> tuple[list[str], np.ndarray]:
    symbols: list[str] = []
    positions: list[list[float]] = []
    for i, row in enumerate(rows, start=1):
        extra = row[4:]
        if len(row) < 4 or not all(NUMERIC.fullmatch(x) for x in extra):
            text = " ".join(row)[:60]
            raise InputError(
                f"atom {i} ('{text}') is not an element and x, y, z", field="atoms", remedy=_ROW_REMEDY
            )
        if extra and row[0].isdigit():
            raise InputError(
                f"which columns of atom {i} ('{' '.join(row)[:60]}') are the coordinates is not clear",
                field="atoms",
                remedy=_ROW_REMEDY + ", or name the columns: Properties=Z:I:1:pos:R:3:...",
            )
        symbols.append(element(row[0]))
        positions.append([number(x, i) for x in row[1:4]])
    if any(len(row) > 4 for row in rows):
        remarks.append("columns behind x, y, z are not read")
    return symbols, np.array(positions)
