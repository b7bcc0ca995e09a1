"""Lists of molecules to be labelled: SMILES, SDF and XYZ files, one molecule at a time."""

import os
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TextIO

from deepchem_dft.errors import InputError
from deepchem_dft.files import PathLike, open_text
from deepchem_dft.molecule.reading import xyz
from deepchem_dft.molecule.reading.sdf import SDFRecord, sdf_records

#: Endings of the files that can be read; each may be followed by ``.gz``.
KINDS = ("smi", "sdf", *(ending[1:] for ending in xyz.ENDINGS))


@dataclass(frozen=True)
class RawMolecule:
    """One molecule as written in a file, before anything is made of it.

    Attributes
    ----------
    number : int
        Place in the file, from 1.
    name : str
        As written, or the number.
    content : str, SDFRecord or Frame
        SMILES, an SDF record, or a geometry of an XYZ file.
    kind : {"smi", "sdf", "xyz"}
    """

    number: int
    name: str
    content: str | SDFRecord | xyz.Frame
    kind: str


def read_molecules(path: PathLike) -> Iterator[RawMolecule]:
    """Yield the molecules of a file without looking into them.

    Parameters
    ----------
    path : path
        ``.smi``: a SMILES per line, with a name behind it if there is one; ``.sdf``: records;
        ``.xyz`` or ``.extxyz``: one or more frames, in Angstrom. Compressed with gzip, too.

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
        raise InputError(
            f"molecules are not read from .{kind} files",
            file=file,
            field="path",
            remedy=f"give a file that ends in {', '.join('.' + k for k in KINDS)}",
        )
    number = 0
    kind = "xyz" if kind.endswith("xyz") else kind
    with open_text(path, errors="replace" if kind == "xyz" else "strict") as stream:
        for number, (name, content) in enumerate(_READERS[kind](stream, file), start=1):
            yield RawMolecule(number, " ".join(name.split()) or str(number), content, kind)
    if not number:
        raise InputError("the file holds no molecule", file=file, field="molecules")


def count_molecules(path: PathLike) -> int:
    """Return how many molecules a file holds.

    Warns
    -----
    UserWarning
        Once for everything that XYZ frames say and that is not used.

    Raises
    ------
    InputError
        As :func:`read_molecules`. Frames that cannot be read are not looked into here.
    """
    count, remarks = 0, dict[str, list[int]]()
    for raw in read_molecules(path):
        count += 1
        if isinstance(raw.content, xyz.Frame):
            with suppress(InputError):
                for remark in raw.content.read().remarks:
                    remarks.setdefault(remark, []).append(raw.number)
    for remark, numbers in remarks.items():
        more = f" (and {len(numbers) - 1} more)" if len(numbers) > 1 else ""
        warnings.warn(f"{os.fspath(path)}, entry {numbers[0]}{more}: {remark}", stacklevel=2)
    return count


def _smiles(stream: TextIO, file: str) -> Iterator[tuple[str, str]]:
    for line in stream:
        words = line.split(None, 1)
        if words and not words[0].startswith("#"):
            yield (words[1].strip() if len(words) > 1 else ""), words[0]


def _sdf(stream: TextIO, file: str) -> Iterator[tuple[str, SDFRecord]]:
    for record in sdf_records(stream, file):
        yield record.title, record


def _xyz(stream: TextIO, file: str) -> Iterator[tuple[str, xyz.Frame]]:
    for frame in xyz.frames(stream, file):
        yield frame.comment, frame


_READERS: dict[str, Any] = {"smi": _smiles, "sdf": _sdf, "xyz": _xyz}
