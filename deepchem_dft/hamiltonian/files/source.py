"""What all files of Hamiltonians have in common: samples by number, and where a fault lies."""

import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deepchem_dft.errors import InputError
from deepchem_dft.hamiltonian.orbitals import orbital_layout
from deepchem_dft.hamiltonian.sample import MATRICES, HamiltonianSample


class SampleSource(ABC):
    """A file of samples that are read one by one, in any order.

    It may be pickled; each process opens the file for itself.

    Parameters
    ----------
    path : path

    Raises
    ------
    InputError
        If there is no such file.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        if not os.path.isfile(self.path):
            raise InputError("there is no such file", file=str(path), field="path", remedy="check the path")
        self._opened: tuple[int, Any] | None = None

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples."""

    @abstractmethod
    def row(self, index: int) -> str:
        """Return what sample ``index`` is called in messages, such as ``"row 7"``."""

    @abstractmethod
    def read(self, index: int) -> HamiltonianSample:
        """Return sample ``index``; what is wrong with it need not be located."""

    @abstractmethod
    def _open(self) -> Any:
        """Open the file for reading."""

    def __getitem__(self, index: int) -> HamiltonianSample:
        """Return sample ``index``, counted from 0.

        Raises
        ------
        InputError
            Naming file, row and field of what cannot be used.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        try:
            sample = self.read(index)
            nao = orbital_layout(sample.numbers, sample.basis).nao
        except InputError as error:
            raise error.located(file=str(self.path), entry=self.row(index)) from None
        except sqlite3.Error as error:
            raise InputError(
                f"the row cannot be read ({error})",
                file=str(self.path),
                entry=self.row(index),
                field="data",
                remedy="download the file again",
            ) from None
        if sample.nao != nao:
            name = next(name for name in MATRICES if getattr(sample, name) is not None)
            raise InputError(
                f"the matrix has {sample.nao} orbitals, and the molecule {nao} in {sample.basis}",
                file=str(self.path),
                entry=self.row(index),
                field=name,
                remedy="name the basis set the file was made with",
            )
        return sample

    def __iter__(self) -> Iterator[HamiltonianSample]:
        return (self[index] for index in range(len(self)))

    @property
    def handle(self) -> Any:
        """The open file of this process."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), self._open()
        return self._opened[1]

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        if self._opened is not None and self._opened[0] == os.getpid():
            close = getattr(self._opened[1], "close", None)
            if close is not None:
                close()
        self._opened = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_opened": None}


def open_sqlite(path: Path) -> sqlite3.Connection:
    """Open an SQLite database for reading; the file is never changed.

    Raises
    ------
    InputError
        If it is none, or damaged at its beginning.
    """
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False)
    try:
        connection.execute("SELECT name FROM sqlite_master").fetchall()
    except sqlite3.Error as error:
        connection.close()
        raise not_sqlite(path, error) from None
    return connection


def not_sqlite(path: Path, error: Exception) -> InputError:
    """Return the error for a database that cannot be read at all."""
    return InputError(
        f"the database cannot be read ({error})",
        file=str(path),
        field="path",
        remedy="unpack or download it again",
    )


def columns(connection: sqlite3.Connection, path: Path, table: str) -> list[str]:
    """Return the columns of a table.

    Raises
    ------
    InputError
        If there is no such table.
    """
    found = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    if not found:
        raise InputError(
            f"there is no table {table!r}",
            file=str(path),
            field=table,
            remedy="give the file as it was released",
        )
    return found
