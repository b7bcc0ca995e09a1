"""Large text files piece by piece: CSV rows, the items of a JSON array."""

import csv
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from deepchem_dft.errors import InputError
from deepchem_dft.files import PathLike, open_text

__all__ = ["PathLike", "csv_rows", "find_one", "json_items", "open_text"]

_CHUNK = 1 << 20
#: No record of the known data sets comes near this; more text without an end is no valid JSON.
_LONGEST = 64 << 20


def csv_rows(path: PathLike, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of a CSV file with a header line.

    Parameters
    ----------
    path : path
    columns : sequence of str
        Those that must be there; others are passed on as well.

    Yields
    ------
    tuple of int and dict
        Line number, counted from 1, and the row by column name.

    Raises
    ------
    InputError
        For missing columns, and for a row with more or fewer fields than the header.
    """
    file = os.fspath(path)
    with open_text(path) as stream:
        reader = csv.reader(stream)
        header = next(reader, [])
        missing = [name for name in columns if name not in header]
        if missing:
            raise InputError(
                f"there is no column {missing[0]!r}",
                file=file,
                entry="line 1",
                field=missing[0],
                remedy="give the file as it was released",
            )
        try:
            for row in reader:
                if not row:
                    continue
                if len(row) != len(header):
                    raise InputError(
                        f"the line has {len(row)} fields and the header {len(header)}",
                        file=file,
                        entry=f"line {reader.line_num}",
                        field=header[min(len(row), len(header)) - 1],
                        remedy="download the file again; it may be cut off",
                    )
                yield reader.line_num, dict(zip(header, row))
        except csv.Error as error:
            raise InputError(
                f"no valid CSV ({error})", file=file, entry=f"line {reader.line_num}", field=header[0]
            ) from None


def json_items(path: PathLike, key: str | None = None) -> Iterator[Any]:
    """Yield the items of a JSON array one by one, whatever the size of the file.

    Parameters
    ----------
    path : path
    key : str, optional
        The array is the value of this key of the object that the file holds. If the file holds an
        array itself, that one is read in either case.

    Yields
    ------
    object
        The next item.

    Raises
    ------
    InputError
        With the number of the item at which the file is malformed or ends.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "page.json"
    >>> _ = path.write_text('{"links": {"next": null}, "data": [{"a": 1}, {"a": 2}]}')
    >>> list(json_items(path, "data"))
    [{'a': 1}, {'a': 2}]
    """
    with open_text(path) as stream:
        text = _JSONText(stream, os.fspath(path), key)
        text.enter_array()
        if text.peek() == "]":
            text.expect("]")
        else:
            while True:
                yield text.value()
                text.item += 1
                if text.expect(",]") == "]":
                    break
        text.finish()


class _JSONText:
    """A window that moves over the text of a JSON file."""

    def __init__(self, stream: TextIO, file: str, key: str | None) -> None:
        self.stream, self.file, self.key = stream, file, key
        self.window, self.at, self.ended = "", 0, False
        self.item = 1
        self.decoder = json.JSONDecoder()
        self.inside_object = False

    def _more(self) -> None:
        chunk = self.stream.read(_CHUNK)
        self.window, self.at, self.ended = self.window[self.at :] + chunk, 0, not chunk

    def fail(self, problem: str) -> InputError:
        return InputError(
            problem,
            file=self.file,
            entry=str(self.item),
            field=self.key or "items",
            remedy="download the file again; it may be cut off",
        )

    def peek(self) -> str:
        """Return the next character that is no blank, or nothing at the end of the file."""
        while True:
            while self.at < len(self.window) and self.window[self.at] in " \t\r\n\ufeff":
                self.at += 1
            if self.at < len(self.window) or self.ended:
                return self.window[self.at : self.at + 1]
            self._more()

    def expect(self, allowed: str) -> str:
        found = self.peek()
        if not found:
            raise self.fail("the file ends in the middle")
        if found not in allowed:
            wanted = " or ".join(f"'{c}'" for c in allowed)
            raise self.fail(f"no valid JSON: {wanted} should stand where there is {found!r}")
        self.at += 1
        return found

    def value(self) -> Any:
        """Decode one value, reading on until it is complete."""
        while True:
            found = self.peek()
            try:
                value, end = self.decoder.raw_decode(self.window, self.at)
                # A number at the edge of the window may go on in the next piece: 1.5, then e-7.
                after = self.window[end : end + 1]
                goes_on = isinstance(value, (int, float)) and after in "0123456789.eE+-"
                if self.ended or not goes_on:
                    self.at = end
                    return value
            except (ValueError, RecursionError) as error:
                if self.ended or not found:
                    raise self.fail(
                        "the file ends in the middle" if self._cut(error) else f"no valid JSON: {error}"
                    ) from None
                if len(self.window) - self.at > _LONGEST:
                    raise self.fail(f"no valid JSON: {error}") from None
            self._more()

    def _cut(self, error: Exception) -> bool:
        at_end = getattr(error, "pos", 0) >= len(self.window.rstrip()) - 1
        return at_end or "Unterminated" in str(error)

    def enter_array(self) -> None:
        if self.peek() == "[":
            self.expect("[")
            return
        if self.key is None or self.peek() != "{":
            raise self.fail(f"the file holds no list, but begins with {self.peek()!r}")
        self.expect("{")
        self.inside_object = True
        while self.peek() != "}":
            name = self.value()
            self.expect(":")
            if name == self.key:
                self.expect("[")
                return
            self.value()
            if self.expect(",}") == "}":
                break
        raise self.fail(f"the file has no {self.key!r}")

    def finish(self) -> None:
        """Check that what follows the array is complete, too."""
        if self.inside_object:
            while self.expect(",}") == ",":
                self.value()
                self.expect(":")
                self.value()
        if self.peek():
            raise self.fail(f"no valid JSON: something follows the end, {self.peek()!r}")


def find_one(folder: PathLike, names: Sequence[str]) -> Path:
    """Return the first of some files that is in a folder, or the path itself if it is a file.

    Raises
    ------
    InputError
        If none is there.
    """
    path = Path(folder)
    if os.path.isfile(path):
        return path
    for name in names:
        if os.path.exists(path / name):
            return path / name
    raise InputError(
        f"there is no {' or '.join(names)} in {path}",
        field="data_dir",
        remedy="give the folder of the downloaded files",
    )
