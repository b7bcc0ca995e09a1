"""Large matrices in files of their own: written row by row, read whole or streamed."""

import hashlib
import os
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

_DTYPE = np.dtype("<f8")
_DIGEST_BYTES = 16


class DamagedFile(ValueError):
    """A file that is not what was written."""


def write_matrix(stream: BinaryIO, shape: tuple[int, int], rows: Iterable[np.ndarray]) -> None:
    """Write a matrix: numpy's ``.npy`` format with a checksum behind it.

    Parameters
    ----------
    stream : binary file
    shape : (int, int)
        Of the whole.
    rows : iterable of ndarray, shape (n, shape[1])
        Its rows in order, some at a time.
    """
    np.lib.format.write_array_header_1_0(
        stream, {"descr": _DTYPE.str, "fortran_order": False, "shape": shape}
    )
    digest = _new_digest(shape)
    for block in rows:
        block = np.ascontiguousarray(block, dtype=_DTYPE)
        stream.write(block.data)
        digest.update(block.data)
    stream.write(digest.digest())
    stream.flush()


def _new_digest(shape: tuple[int, int]):
    return hashlib.blake2b(str(shape).encode(), digest_size=_DIGEST_BYTES)


class MatrixFile:
    """A matrix that stays in its file; takes no memory but for the rows being read.

    The file is held open, so that it may be removed from its folder in the meantime.

    Parameters
    ----------
    file : path or binary file
        As :func:`write_matrix` left it.

    Attributes
    ----------
    shape : (int, int)

    Raises
    ------
    DamagedFile
        If header and size do not agree.

    Examples
    --------
    >>> import tempfile
    >>> stream = tempfile.TemporaryFile()
    >>> write_matrix(stream, (3, 2), [np.ones((2, 2)), np.zeros((1, 2))])
    >>> [block.tolist() for block in MatrixFile(stream).blocks(2)]
    [[[1.0, 1.0], [1.0, 1.0]], [[0.0, 0.0]]]
    """

    nbytes = 0  # in memory

    def __init__(self, file: str | Path | BinaryIO) -> None:
        self._stream: BinaryIO = open(file, "rb") if isinstance(file, (str, Path)) else file  # noqa: SIM115
        weakref.finalize(self, self._stream.close)
        self._stream.seek(0)
        try:
            np.lib.format.read_magic(self._stream)
            shape, _, dtype = np.lib.format.read_array_header_1_0(self._stream)
        except OSError:
            raise
        except Exception as error:  # numpy's parser of headers lets many through
            raise DamagedFile(str(error)) from None
        self._start = self._stream.tell()
        expected = self._start + int(np.prod(shape)) * _DTYPE.itemsize + _DIGEST_BYTES
        actual = os.fstat(self._stream.fileno()).st_size
        if len(shape) != 2 or dtype != _DTYPE or actual != expected:
            raise DamagedFile(f"{actual} bytes in place of {expected}")
        self.shape: tuple[int, int] = shape

    def blocks(self, rows: int) -> Iterator[np.ndarray]:
        """Read some rows at a time. Each block is overwritten by the next.

        Raises
        ------
        DamagedFile
            If the file ends early.
        """
        total, width = self.shape
        buffer = np.empty((min(rows, total), width), dtype=_DTYPE)
        for start in range(0, total, rows):
            block = buffer[: min(rows, total - start)]
            self._read_into(block, self._start + start * width * _DTYPE.itemsize)
            yield block

    def read(self) -> np.ndarray:
        """Return the matrix, compared with its checksum.

        Raises
        ------
        DamagedFile
            If they differ.
        """
        matrix = np.empty(self.shape, dtype=_DTYPE)
        self._read_into(matrix, self._start)
        digest = _new_digest(self.shape)
        digest.update(matrix.data)
        if self._stream.read(_DIGEST_BYTES) != digest.digest():
            raise DamagedFile("checksum mismatch")
        return matrix

    def _read_into(self, array: np.ndarray, offset: int) -> None:
        view = array.data.cast("B")
        self._stream.seek(offset)
        while len(view):
            count = self._stream.readinto(view)  # type: ignore[attr-defined]
            if not count:
                raise DamagedFile("the file ends early")
            view = view[count:]
