"""Files of computed labels: a CSV table that grows line by line and knows what it was made of.

The first lines begin with ``#``. One of them holds the settings as JSON, so that a run that was
killed goes on with the same ones or not at all. The rows have the order of the input, which makes
their number all there is to know for going on.
"""

import csv
import io
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deepchem_dft.data.properties.streams import PathLike, open_text
from deepchem_dft.errors import InputError
from deepchem_dft.locks import GrowingFile, compare_settings
from deepchem_dft.sinks import csv_plain, csv_row

COLUMNS = ("name", "smiles", "dipole", "gap", "energy", "problem")
_DIGITS = {"dipole": 6, "gap": 6, "energy": 8}
_SETTINGS = "# settings: "
_ABOUT = (
    "# Labels made by deepchem_dft: dipole moment (Debye), HOMO-LUMO gap (eV), total energy "
    "(Hartree).\n# A molecule that could not be labelled has a problem instead. Rows are in the "
    "order of the input.\n"
)


@dataclass(frozen=True)
class LabelRow:
    """One molecule of a file of labels; those that failed have a problem and no numbers."""

    name: str
    smiles: str
    dipole: float | None = None
    gap: float | None = None
    energy: float | None = None
    problem: str = ""

    def text(self) -> str:
        """Return the line of the file, with its end."""
        numbers = [
            "" if (value := getattr(self, key)) is None else f"{value:.{digits}f}"
            for key, digits in _DIGITS.items()
        ]
        words = (" ".join(part.split()) for part in (self.name, self.smiles))
        return _line([*words, *numbers, " ".join(self.problem.split())])


def _line(fields: list[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(csv_row(fields))
    return out.getvalue()


class LabelWriter(GrowingFile):
    """Append rows to a new file, or to one that a killed run left.

    Parameters
    ----------
    path : path
    settings : mapping
        What the labels depend on; it must be the same when a file is continued.
    resume : bool
        Go on with the file if there is one.

    Attributes
    ----------
    done : int
        Number of rows that were there.
    failed : int
        How many of those have a problem.

    Raises
    ------
    InputError
        If there is a file already, or one with other settings, or another process writes it.
    StorageError
        If it cannot be written.
    """

    def __init__(self, path: PathLike, settings: Mapping[str, Any], resume: bool = False) -> None:
        self.settings, self.done, self.failed = dict(settings), 0, 0
        head = _SETTINGS + json.dumps(self.settings, sort_keys=True) + "\n"
        super().__init__(path, (_ABOUT + head + _line(list(COLUMNS))).encode())
        try:
            self.refuse_unless(resume)
            self._read()
        except BaseException:
            self.close()
            raise

    def _read(self) -> None:
        self.stream.seek(0)
        # A kill in the middle of a line leaves it without its end; that molecule is done again.
        whole = self.stream.read().rpartition(b"\n")[0] + b"\n"
        try:
            text = whole.decode()
        except UnicodeDecodeError as error:
            line = whole[: error.start].count(b"\n") + 1
            raise InputError(
                "the file is no UTF-8 text",
                file=str(self.path),
                entry=f"line {line}",
                remedy="remove it, or choose another",
            ) from None
        compare_settings(_settings(text.splitlines(), str(self.path)), self.settings, self.path)
        rows = list(_rows(text.splitlines(keepends=True), str(self.path)))
        self.done, self.failed = len(rows), sum(bool(row.problem) for _, row in rows)
        self.cut(len(whole))

    def append(self, row: LabelRow) -> None:
        """Write one row; it survives whatever happens to this process afterwards.

        Raises
        ------
        StorageError
            If there is no room; the rows that are there stay.
        """
        self.write(row.text().encode())


def read_labels(path: PathLike) -> Iterator[tuple[int, LabelRow]]:
    """Yield the molecules of a file of labels, also of one without names and problems.

    Parameters
    ----------
    path : path
        CSV with the columns smiles, dipole (Debye), gap (eV), energy (Hartree), after any number of
        lines that begin with ``#``.

    Yields
    ------
    tuple of int and LabelRow
        Line number, from 1, and the row.

    Raises
    ------
    InputError
        Naming file, line and column of a value that is missing or no finite number.
    """
    file = os.fspath(path)
    with open_text(path) as stream:
        yield from _rows(stream, file)


def read_settings(path: PathLike) -> dict[str, Any]:
    """Return the settings in the head of a file of labels; none if it is a plain table."""
    file = os.fspath(path)
    with open_text(path) as stream:
        head = []
        for line in stream:
            if not line.startswith("#"):
                break
            head.append(line)
    return _settings(head, file) if any(line.startswith(_SETTINGS) for line in head) else {}


def _settings(lines: list[str], file: str) -> dict[str, Any]:
    for line in lines:
        if line.startswith(_SETTINGS):
            try:
                return dict(json.loads(line.removeprefix(_SETTINGS)))
            except (ValueError, TypeError):
                break
    raise InputError(
        "the head says nothing of how the labels were made",
        file=file,
        field="settings",
        remedy="choose another file, or remove this one",
    )


def _rows(lines: Any, file: str) -> Iterator[tuple[int, LabelRow]]:
    header: list[str] = []
    for number, line in enumerate(lines, start=1):
        if line.startswith("#") or not line.strip():
            continue
        place = {"file": file, "entry": f"line {number}"}
        fields = next(csv.reader([line.rstrip("\r\n")]))
        if not header:
            header = fields
            for name in ("smiles", *_DIGITS):
                if name not in header:
                    raise InputError(f"there is no column {name!r}", field=name, **place)
            continue
        if len(fields) != len(header):
            raise InputError(
                f"the line has {len(fields)} fields and the header {len(header)}",
                field=header[min(len(fields), len(header)) - 1],
                **place,
                remedy="finish the file by 'deepchem-dft data label ... --resume'",
            )
        row = dict(zip(header, map(csv_plain, fields)))
        if row.get("problem"):
            yield number, LabelRow(row.get("name", ""), row["smiles"], problem=row["problem"])
            continue
        dipole, gap, energy = (_number(row[key], key, place) for key in _DIGITS)
        yield number, LabelRow(row.get("name", ""), row["smiles"], dipole, gap, energy)


def _number(text: str, field: str, place: dict[str, str]) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(
            f"{text!r} is not a finite number",
            field=field,
            **place,
            remedy="take the molecule out, or label it anew",
        )
    return value
