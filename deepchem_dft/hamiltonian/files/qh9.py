"""QH9: the SQLite files of QH9Stable and QH9Dynamic, read and written."""

import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from deepchem_dft.errors import InputError
from deepchem_dft.files import replacing
from deepchem_dft.hamiltonian.files.source import SampleSource, columns, not_sqlite, open_sqlite
from deepchem_dft.hamiltonian.orbitals import orbital_layout
from deepchem_dft.hamiltonian.sample import HamiltonianSample
from deepchem_dft.units import ANGSTROM_TO_BOHR, BOHR_TO_ANGSTROM

#: QH9's page names PySCF 2.2.1, whose "b3lyp" has the VWN5 correlation; since PySCF 2.3 that is
#: called "b3lyp5".
XC = "b3lyp5"
BASIS = "def2-svp"
_STABLE = ("id", "N", "Z", "pos", "Ham")
_DYNAMIC = ("id", "geo_id", "N", "Z", "pos", "ekin", "epot", "etot", "time", "Ham", "converged")
#: Time between two frames of the published trajectories, atomic units (1.2 fs).
_TIME_STEP = 50.0


class QH9File(SampleSource):
    """``QH9Stable.db``, ``QH9Dynamic_100k.db`` or ``QH9Dynamic_300k.db``.

    The table ``data`` has the columns ``id, N, Z, pos, Ham``: number of atoms, nuclear charges
    (int32), positions (float64, Angstrom) and Kohn-Sham matrix (float64, Hartree, PySCF's order).
    The dynamic files have ``geo_id, ekin, epot, etot`` (Hartree), ``time, converged`` as well, an
    ``id`` that is eight bytes, and positions in Bohr. Neither has an overlap.

    Parameters
    ----------
    path : path
    basis, xc : str
        What the file was made with.

    Attributes
    ----------
    dynamic : bool
        Which of the two layouts it is.
    atoms : np.ndarray
        (n,) number of atoms of each row.
    molecules : np.ndarray
        (n,) number of the molecule of each row, from 0: rows of one trajectory have the same.

    Raises
    ------
    InputError
        If it is no such database.

    References
    ----------
    Yu, Liu, Luo, Strasser, Qian, Qian, Ji, NeurIPS 2023 Datasets and Benchmarks (QH9).
    """

    def __init__(self, path: str | os.PathLike, basis: str = BASIS, xc: str | None = XC) -> None:
        super().__init__(path)
        self.basis, self.xc = basis, xc
        with closing(open_sqlite(self.path)) as connection:
            try:
                found = columns(connection, self.path, "data")
                self.dynamic = "geo_id" in found
                self._require(found)
                rows = connection.execute("SELECT rowid, id, N FROM data ORDER BY rowid").fetchall()
            except sqlite3.Error as error:
                raise not_sqlite(self.path, error) from None
        if not rows:
            raise InputError("the table 'data' has no rows", file=str(path), field="data")
        self.rows = np.array([row[0] for row in rows], dtype=np.int64)
        self.ids = [self._id(row[1], row[0]) for row in rows]
        self.atoms = np.array([self._count(row[2], row[0]) for row in rows], dtype=np.int64)
        self.molecules = np.cumsum([0] + [int(a != b) for a, b in zip(self.ids, self.ids[1:])])

    def _require(self, found: Sequence[str]) -> None:
        for name in _DYNAMIC if self.dynamic else _STABLE:
            if name not in found:
                raise InputError(
                    f"the table 'data' has no column {name!r}",
                    file=str(self.path),
                    field=name,
                    remedy="give the file as it was released",
                )

    def _id(self, value: Any, row: int) -> int:
        if isinstance(value, int):
            return value
        if isinstance(value, bytes) and len(value) == 8:  # a numpy integer, as apsw stores it
            return int(np.frombuffer(value, dtype="<i8")[0])
        raise InputError(
            "it is neither a number nor eight bytes", file=str(self.path), entry=f"row {row}", field="id"
        )

    def _count(self, value: Any, row: int) -> int:
        if isinstance(value, int) and value > 0:
            return value
        raise InputError(
            f"{value!r} is not a number of atoms", file=str(self.path), entry=f"row {row}", field="N"
        )

    def __len__(self) -> int:
        return len(self.rows)

    def row(self, index: int) -> str:
        """Return the row of the table, its molecule, and its frame in dynamic files."""
        return f"row {self.rows[index]} (id {self.ids[index]})"

    def _open(self) -> sqlite3.Connection:
        return open_sqlite(self.path)

    def read(self, index: int) -> HamiltonianSample:
        """Return one row, in this package's units."""
        names = ("Z", "pos", "Ham") + (("geo_id", "epot", "converged") if self.dynamic else ())
        found = self.handle.execute(
            f"SELECT {', '.join(names)} FROM data WHERE rowid = ?", (int(self.rows[index]),)
        ).fetchone()
        row = dict(zip(names, found))
        count = int(self.atoms[index])
        numbers = _array(row["Z"], "<i4", count, "Z")
        positions = _array(row["pos"], "<f8", 3 * count, "pos").reshape(count, 3)
        nao = orbital_layout(numbers, self.basis).nao
        hamiltonian = _array(
            row["Ham"], "<f8", nao * nao, "Ham", f" for {nao} orbitals in {self.basis}"
        ).reshape(nao, nao)
        if not self.dynamic:
            return HamiltonianSample(
                numbers,
                positions * ANGSTROM_TO_BOHR,
                self.basis,
                hamiltonian,
                xc=self.xc,
                name=str(self.ids[index]),
            )
        if row["converged"] != 1:
            raise InputError(
                "the calculation did not converge", field="converged", remedy="leave it out by on_bad='skip'"
            )
        return HamiltonianSample(
            numbers,
            positions,
            self.basis,
            hamiltonian,
            energy=row["epot"],
            xc=self.xc,
            name=f"{self.ids[index]}-{row['geo_id']}",
        )


def _array(value: Any, dtype: str, size: int, field: str, what: str = "") -> np.ndarray:
    if not isinstance(value, bytes):
        raise InputError("there is no array" if value is None else f"{value!r:.40} is no array", field=field)
    expected = size * np.dtype(dtype).itemsize
    if len(value) != expected:
        raise InputError(
            f"it has {len(value)} bytes, not {expected}{what}",
            field=field,
            remedy="download the file again, or name the basis it was made with",
        )
    return np.frombuffer(value, dtype=dtype).astype(np.int64 if dtype == "<i4" else np.float64)


def write_qh9(path: str | os.PathLike, samples: Iterable[HamiltonianSample]) -> None:
    """Write molecules as ``QH9Stable.db`` is; the ``id`` counts from 0.

    Parameters
    ----------
    path : path
        Replaced if it is there, once all is written.
    samples : iterable of HamiltonianSample
        With a Hamiltonian.
    """
    kinds = ("INTEGER NOT NULL PRIMARY KEY", "INTEGER", "BLOB", "BLOB", "BLOB")
    rows = (
        (
            number,
            len(sample.numbers),
            _blob(sample.numbers, "<i4"),
            _blob(sample.positions * BOHR_TO_ANGSTROM, "<f8"),
            _blob(sample.hamiltonian, "<f8"),
        )
        for number, sample in enumerate(samples)
    )
    _write(path, _STABLE, kinds, rows)


def write_qh9_dynamic(path: str | os.PathLike, trajectories: Iterable[Sequence[HamiltonianSample]]) -> None:
    """Write trajectories as ``QH9Dynamic_300k.db`` is, without kinetic energies (0).

    Parameters
    ----------
    path : path
        Replaced if it is there, once all is written.
    trajectories : iterable of sequences of HamiltonianSample
        The geometries of one molecule in each, with Hamiltonian and energy.
    """
    kinds = (
        "INTEGER NOT NULL",
        "INTEGER NOT NULL",
        "INTEGER",
        "BLOB",
        "BLOB",
        "FLOAT",
        "FLOAT",
        "FLOAT",
        "FLOAT",
        "BLOB",
        "INT",
    )
    rows = (
        (
            _blob(np.array(number), "<i8"),
            frame,
            len(sample.numbers),
            _blob(sample.numbers, "<i4"),
            _blob(sample.positions, "<f8"),
            0.0,
            sample.energy,
            sample.energy,
            frame * _TIME_STEP,
            _blob(sample.hamiltonian, "<f8"),
            1,
        )
        for number, samples in enumerate(trajectories)
        for frame, sample in enumerate(samples)
    )
    _write(path, _DYNAMIC, kinds, rows)


def _blob(array: Any, dtype: str) -> bytes:
    return np.ascontiguousarray(array, dtype=dtype).tobytes()


def _write(
    path: str | os.PathLike, names: Sequence[str], kinds: Sequence[str], rows: Iterable[tuple]
) -> None:
    table = ", ".join(f"{name} {kind}" for name, kind in zip(names, kinds))
    marks = ", ".join("?" * len(names))
    with replacing(Path(path)) as draft, closing(sqlite3.connect(draft)) as connection, connection:
        connection.execute(f"CREATE TABLE data ({table})")
        connection.executemany(f"INSERT INTO data ({', '.join(names)}) VALUES ({marks})", rows)
