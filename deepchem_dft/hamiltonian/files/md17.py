"""MD17 Hamiltonians: the ASE databases of SchNOrb, read and written."""

import os
import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from deepchem_dft.errors import InputError
from deepchem_dft.files import replacing
from deepchem_dft.hamiltonian.files.source import SampleSource, columns, not_sqlite, open_sqlite
from deepchem_dft.hamiltonian.orbitals import orbital_layout
from deepchem_dft.hamiltonian.sample import HamiltonianSample
from deepchem_dft.needs import optional
from deepchem_dft.units import ANGSTROM_TO_BOHR, BOHR_TO_ANGSTROM

_FIELDS = ("energy", "forces", "hamiltonian", "overlap")


def _connect(path: str | os.PathLike) -> Any:
    database = optional("ase.db", "a database of ASE", "hamiltonian", "ase")
    # append is the default and means: do not empty the file.
    return database.connect(os.fspath(path), type="db", use_lock_file=False)


class MD17File(SampleSource):
    """An ASE database such as ``schnorb_hamiltonian_water.db``.

    A row has nuclear charges, positions in Angstrom, and ``data`` with ``energy`` (one number,
    Hartree), ``forces`` (N, 3; Hartree/Angstrom), ``hamiltonian`` (nao, nao; Hartree) and
    ``overlap``, in ORCA's order of orbitals (see `deepchem_dft.hamiltonian.orbitals`). A key
    ``energy_offset`` of the metadata, which SchNOrb's tools subtract, is added again.

    Parameters
    ----------
    path : path
    basis, xc : str
        What the file was made with. The file itself does not say.

    Raises
    ------
    InputError
        If it is no ASE database, or ASE is missing.

    References
    ----------
    Schuett, Gastegger, Tkatchenko, Mueller, Maurer, Nat. Commun. 10, 5024 (2019); units: the
    reader of ORCA's output that made the files (``schnorb/data.py``).
    """

    def __init__(self, path: str | os.PathLike, basis: str = "def2-svp", xc: str | None = "pbe") -> None:
        super().__init__(path)
        self.basis, self.xc = basis, xc
        connection = open_sqlite(self.path)
        try:
            columns(connection, self.path, "systems")
            found = connection.execute("SELECT id FROM systems ORDER BY id").fetchall()
        except sqlite3.Error as error:
            raise not_sqlite(self.path, error) from None
        finally:
            connection.close()
        self.ids = np.array([row[0] for row in found], dtype=np.int64)
        if not len(self.ids):
            raise InputError("the database has no rows", file=str(path), field="systems")
        try:
            self.offset = float(_connect(self.path).metadata.get("energy_offset", 0.0))
        except (TypeError, ValueError, KeyError) as error:
            raise InputError(
                f"the metadata cannot be read ({error})", file=str(path), field="metadata"
            ) from None

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, index: int) -> str:
        """Return ``"row ID"`` with the ID of the database."""
        return f"row {self.ids[index]}"

    def _open(self) -> Any:
        return _connect(self.path)

    def read(self, index: int) -> HamiltonianSample:
        """Return one row, in PySCF's order and this package's units."""
        try:
            row = self.handle.get(id=int(self.ids[index]))
            numbers, positions, data = row.numbers, row.positions, row.data
        except (sqlite3.Error, InputError):
            raise
        except Exception as error:  # what is no encoding of ASE's fails in many ways
            reason = " ".join(str(error).split())[:120]
            raise InputError(
                f"the row cannot be decoded ({type(error).__name__}: {reason})",
                field="data",
                remedy="download the file again",
            ) from None
        for name in _FIELDS:
            if data.get(name) is None:
                raise InputError(
                    f"there is no {name!r} in the data of the row",
                    field=name,
                    remedy="give a file of the SchNOrb release",
                )
        sample = HamiltonianSample(
            numbers,
            np.asarray(positions) * ANGSTROM_TO_BOHR,
            self.basis,
            hamiltonian=data["hamiltonian"],
            overlap=data["overlap"],
            energy=_one(data["energy"]) + self.offset,
            forces=np.asarray(data["forces"], dtype=np.float64) * BOHR_TO_ANGSTROM,
            xc=self.xc,
            name=str(self.ids[index]),
        )
        layout = orbital_layout(sample.numbers, self.basis)
        if layout.nao != sample.nao:
            return sample  # the caller says so
        moved: dict[str, Any] = {
            name: layout.md17.to_pyscf(getattr(sample, name)) for name in ("hamiltonian", "overlap")
        }
        return replace(sample, **moved)


def _one(value: Any) -> float:
    array = np.asarray(value, dtype=np.float64)
    if array.size != 1:
        raise InputError(f"it holds {array.size} numbers, not 1", field="energy")
    return float(array.ravel()[0])


def write_md17(path: str | os.PathLike, samples: Iterable[HamiltonianSample]) -> None:
    """Write samples as the SchNOrb databases are, matrices and forces in single precision.

    Parameters
    ----------
    path : path
        Replaced if it is there, once all is written.
    samples : iterable of HamiltonianSample
        With Hamiltonian, overlap, energy and forces.

    Raises
    ------
    InputError
        If a sample lacks one of these, or has matrices of another basis than it says.
    """
    from ase import Atoms

    with replacing(Path(path)) as draft, _connect(draft) as database:
        for number, sample in enumerate(samples, start=1):
            for name in _FIELDS:
                if getattr(sample, name) is None:
                    raise InputError("the sample has none", file=str(path), entry=f"row {number}", field=name)
            layout = orbital_layout(sample.numbers, sample.basis)
            if sample.nao != layout.nao:
                raise InputError(
                    f"{sample.nao} orbitals are not those of {sample.basis}",
                    file=str(path),
                    entry=f"row {number}",
                    field="basis",
                )
            data = {name: np.asarray(getattr(sample, name)) for name in _FIELDS}
            data["energy"] = data["energy"].reshape(1)
            data["forces"] = (data["forces"] * ANGSTROM_TO_BOHR).astype(np.float32)
            for name in ("hamiltonian", "overlap"):
                data[name] = layout.md17.from_pyscf(data[name]).astype(np.float32)
            atoms = Atoms(numbers=sample.numbers, positions=sample.positions * BOHR_TO_ANGSTROM)
            database.write(atoms, data=data)
