"""Lists of molecules to be labelled: SMILES, SDF and XYZ files, one molecule at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TextIO

from deepchem_dft.data.sdf import SDFRecord, sdf_records
from deepchem_dft.data.streams import PathLike, open_text
from deepchem_dft.errors import InputError

#: Endings of the files that can be read; each may be followed by ``.gz``.
KINDS = ("smi", "sdf", "xyz")


@dataclass(frozen=True)
class RawMolecule:
    """One molecule as written in a file, before anything is made of it.

    Attributes
    ----------
    number : int
        Place in the file, from 1.
    name : str
        As written, or the number.
    content : str or SDFRecord
        SMILES, an SDF record, or the lines of an XYZ frame.
    kind : {"smi", "sdf", "xyz"}
    """

    number: int
    name: str
    content: str | SDFRecord
    kind: str


def read_molecules(path: PathLike) -> Iterator[RawMolecule]:
    """Yield the molecules of a file without looking into them.

    Parameters
    ----------
    path : path
        ``.smi``: a SMILES per line, with a name behind it if there is one; ``.sdf``: records;
        ``.xyz``: one or more frames, in Angstrom. Compressed with gzip, too.

    Raises
    ------
    InputError
        For another ending, an empty file, and SDF records or XYZ frames that are cut off.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "two.smi"
    >>> _ = path.write_text("CCO ethanol\\nC\\n")
    >>> [(m.name, m.content) for m in read_molecules(path)]
    [('ethanol', 'CCO'), ('2', 'C')]
    """
    file = os.fspath(path)
    kind = file.removesuffix(".gz").rpartition(".")[2].lower()
    if kind not in KINDS:
        raise InputError(f"molecules are not read from .{kind} files", file=file, field="path",
                         remedy=f"give a file that ends in {', '.join('.' + k for k in KINDS)}")
    number = 0
    with open_text(path) as stream:
        for number, (name, content) in enumerate(_READERS[kind](stream, file), start=1):
            yield RawMolecule(number, " ".join(name.split()) or str(number), content, kind)
    if not number:
        raise InputError("the file holds no molecule", file=file, field="molecules")


def _smiles(stream: TextIO, file: str) -> Iterator[tuple[str, str]]:
    for line in stream:
        words = line.split(None, 1)
        if words and not words[0].startswith("#"):
            yield (words[1].strip() if len(words) > 1 else ""), words[0]


def _sdf(stream: TextIO, file: str) -> Iterator[tuple[str, SDFRecord]]:
    for record in sdf_records(stream, file):
        yield record.title, record


def _xyz(stream: TextIO, file: str) -> Iterator[tuple[str, str]]:
    number = 1
    for line in stream:
        if not line.strip():
            continue
        try:
            count = int(line)
        except ValueError:
            raise InputError(f"{line.strip()[:40]!r} is not a number of atoms", file=file,
                             entry=str(number), field="atoms",
                             remedy="begin every frame with its number of atoms") from None
        frame = [text for _, text in zip(range(count + 1), stream)]
        if len(frame) < count + 1:
            raise InputError(f"the frame is cut off: {max(len(frame) - 1, 0)} of {count} atoms",
                             file=file, entry=str(number), field="atoms")
        yield frame[0].strip(), "".join(frame[1:])
        number += 1


_READERS: dict[str, Any] = {"smi": _smiles, "sdf": _sdf, "xyz": _xyz}
