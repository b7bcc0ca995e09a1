"""A file that grows by whole records: what a killed run had finished is there, and nothing else."""

import io
import json
import logging
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from deepchem_dft.errors import InputError
from deepchem_dft.locks import GrowingFile, compare_settings

LOGGER = logging.getLogger("deepchem_dft.hamiltonian")
Record = dict[str, np.ndarray]

_MAGIC = b"deepchem_dft journal 1\n"
_HEAD = struct.Struct("<QI")  # bytes of a record, and their checksum


class Journal(GrowingFile):
    """Append records to a new file, or to one that a killed run left.

    Parameters
    ----------
    path : path
    settings : mapping
        What the records depend on, as JSON can hold it; a file is gone on with under the same
        settings only.
    resume : bool
        Go on with the file if there is one.

    Attributes
    ----------
    count : int
        Number of records.

    Raises
    ------
    InputError
        If there is a file already, or one with other settings, or another process writes it.
    StorageError
        If it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with Journal(folder / "a.part", {"seed": 1}) as journal:
    ...     journal.append({"x": np.arange(3)})
    >>> with Journal(folder / "a.part", {"seed": 1}, resume=True) as journal:
    ...     journal.count, [record["x"].tolist() for record in journal.records()]
    (1, [[0, 1, 2]])
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], resume: bool = False) -> None:
        super().__init__(path, _MAGIC + _packed(json.dumps(dict(settings)).encode()))
        try:
            self.refuse_unless(resume)
            self.stream.seek(0)
            compare_settings(self._settings(), settings, self.path)
            self.start = self.stream.tell()
            self.count = sum(1 for _ in _payloads(self.stream))
            self._drop_torn(self.stream.tell())
        except BaseException:
            self.close()
            raise

    def _drop_torn(self, size: int) -> None:
        """Drop the piece that a kill in the middle of a record leaves."""
        if _payload(self.stream)[1]:  # then it was no kill, and there may be much behind it
            raise InputError(
                "the record is damaged",
                file=str(self.path),
                field="out",
                entry=f"record {self.count + 1}",
                remedy="restore the file, or remove it and begin again",
            )
        if os.fstat(self.stream.fileno()).st_size > size:
            LOGGER.warning("%s: the last record was cut short, and is computed again", self.path)
        self.cut(size)

    def _settings(self) -> dict[str, Any]:
        if self.stream.read(len(_MAGIC)) == _MAGIC:
            for payload in _payloads(self.stream):
                return dict(json.loads(payload))
        raise InputError(
            "it is no file of an unfinished run",
            file=str(self.path),
            field="out",
            remedy="remove it, or choose another name",
        )

    def append(self, record: Mapping[str, Any]) -> None:
        """Write arrays by name; they survive whatever happens to this process afterwards.

        Raises
        ------
        StorageError
            If there is no room; the records that are there stay.
        """
        content = io.BytesIO()
        arrays: dict[str, Any] = {name: np.asarray(value) for name, value in record.items()}
        np.savez(content, **arrays)
        self.write(_packed(content.getvalue()))
        self.count += 1

    def records(self) -> Iterator[Record]:
        """Yield all records in order."""
        self.stream.seek(self.start)
        for payload in _payloads(self.stream):
            with np.load(io.BytesIO(payload), allow_pickle=False) as record:
                yield dict(record)


def _packed(payload: bytes) -> bytes:
    return _HEAD.pack(len(payload), zlib.crc32(payload)) + payload


def _payloads(stream: BinaryIO) -> Iterator[bytes]:
    """Yield whole records, and leave the stream behind the last one."""
    while True:
        place = stream.tell()
        payload, _ = _payload(stream)
        if payload is None:
            stream.seek(place)
            return
        yield payload


def _payload(stream: BinaryIO) -> tuple[bytes | None, bool]:
    """Return the next record, if it is whole, and whether anything is behind it."""
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None, False
    size, checksum = _HEAD.unpack(head)
    left = os.fstat(stream.fileno()).st_size - stream.tell()
    payload = stream.read(size) if size <= left else b""
    whole = size <= left and zlib.crc32(payload) == checksum
    return (payload if whole else None), size < left
