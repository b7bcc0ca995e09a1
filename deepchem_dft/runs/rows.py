"""Tables and facts of a run as they lie on disk, which may be damaged."""

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from deepchem_dft.errors import InputError
from deepchem_dft.json_text import parse_json
from deepchem_dft.sinks import csv_plain

_AGAIN = "restore the file, or evaluate the run again: 'deepchem-dft train CONFIG.yaml --resume'"


class Row(dict[str, str]):
    """A line of a table of a run by column, which knows where it stands.

    Examples
    --------
    >>> row = Row({"mae": "1.5", "n": "x", "me": ""}, Path("results.csv"), 3)
    >>> row.number("mae"), row.number("me")
    (1.5, nan)
    >>> row.number("n", int)
    Traceback (most recent call last):
    ...
    deepchem_dft.errors.InputError: results.csv, entry line 3, field 'n': 'x' is not a number. ...
    """

    def __init__(self, values: dict[str, str], path: Path, line: int) -> None:
        super().__init__(values)
        self.path, self.line = path, line

    def number(self, column: str, kind: Callable[[str], Any] = float) -> Any:
        """Return a number; NaN where there is none.

        Raises
        ------
        InputError
            If it is none.
        """
        return self._number(column, kind) if self[column] else math.nan

    def count(self, column: str) -> int:
        """Return a whole number, which must be there."""
        return self._number(column, int)

    def _number(self, column: str, kind: Callable[[str], Any]) -> Any:
        try:
            return kind(self[column])
        except ValueError:
            raise InputError(
                f"{self[column][:60]!r} is not a number",
                file=str(self.path),
                entry=f"line {self.line}",
                field=column,
                remedy=_AGAIN,
            ) from None


def read_rows(path: str | Path, columns: Sequence[str] = ()) -> list[Row]:
    """Return the rows of a table of a run by column; none if there is no such file.

    Parameters
    ----------
    path : path
    columns : sequence of str
        Those that must be there.

    Raises
    ------
    InputError
        Naming file and line of what is damaged.
    """
    path = Path(path)
    if not path.is_file():
        return []
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    header: list[str] | None = None
    rows = []
    try:
        for fields in reader:
            if header is None:
                header = [csv_plain(name) for name in fields]
                missing = [name for name in columns if name not in header]
                if missing:
                    raise InputError(
                        f"there is no column {missing[0]!r}",
                        file=str(path),
                        entry="line 1",
                        field=missing[0],
                        remedy=_AGAIN,
                    )
            elif len(fields) != len(header):
                raise InputError(
                    f"the line has {len(fields)} fields and the header {len(header)}",
                    file=str(path),
                    entry=f"line {reader.line_num}",
                    remedy=_AGAIN,
                )
            else:
                cells = map(csv_plain, fields)
                rows.append(Row(dict(zip(header, cells)), path, reader.line_num))
    except csv.Error as error:
        raise InputError(
            f"the table is damaged ({error})", file=str(path), entry=f"line {reader.line_num}", remedy=_AGAIN
        ) from None
    if header is None:
        raise InputError("the table is empty", file=str(path), remedy=_AGAIN)
    return rows


def _text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise InputError(
            "the file is damaged: no UTF-8 text", file=str(path), entry=f"line {line}", remedy=_AGAIN
        ) from None
    except OSError as error:
        raise InputError(
            f"the file cannot be read ({error.strerror})", file=str(path), remedy="check its permissions"
        ) from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise InputError(
            "the file is damaged: it holds zero bytes", file=str(path), entry=f"line {line}", remedy=_AGAIN
        )
    return text


def read_json(path: Path) -> dict[str, Any]:
    """Return the mapping that a file of a run holds; empty if there is none, or a damaged one."""
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def required_json(path: Path, *keys: str, remedy: str = _AGAIN) -> dict[str, Any]:
    """Return the mapping that a file of a run holds, which has these keys.

    Raises
    ------
    InputError
        If it is missing or damaged.
    """
    try:
        content = parse_json(_text(path))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"the file is damaged: no JSON{where}", file=str(path), remedy=remedy) from None
    for key in keys:
        if not isinstance(content, dict) or key not in content:
            raise InputError(
                "the file is damaged: an entry is missing", file=str(path), field=key, remedy=remedy
            )
    return content


def read_data(path: Path) -> dict[str, Any]:
    """Return what ``data.json`` says: ``sha256`` and the list ``sets``; empty without the file.

    Raises
    ------
    InputError
        If it is damaged.
    """
    if not path.exists():
        return {}
    content = required_json(path, "sha256", "sets")
    sets = content["sets"]
    if not isinstance(sets, list) or not all(map(_is_set, sets)):
        raise InputError("the file is damaged: it lists no sets", file=str(path), field="sets", remedy=_AGAIN)
    return content


def _is_set(one: Any) -> bool:
    """Whether this is what a run writes about a set."""
    if not isinstance(one, dict) or not all(isinstance(one.get(k), str) for k in ("role", "set")):
        return False
    entries, distances = one.get("entries", []), one.get("distances", [])
    return (
        isinstance(entries, list)
        and isinstance(distances, list)
        and all(isinstance(e, dict) and isinstance(e.get("name", ""), str) for e in entries)
        and all(isinstance(distance, (int, float)) for distance in distances)
        and isinstance(one.get("molecules", 0), int)
        and isinstance(one.get("family", ""), str)
    )
