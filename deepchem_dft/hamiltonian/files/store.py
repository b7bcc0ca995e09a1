"""This package's own files of Hamiltonians: HDF5, molecules of any kind, one after the other."""

import io
import json
import os
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from deepchem_dft import __version__
from deepchem_dft.errors import InputError
from deepchem_dft.files import replacing
from deepchem_dft.hamiltonian.files.source import SampleSource
from deepchem_dft.hamiltonian.sample import MATRICES, HamiltonianSample

_FORMAT = "deepchem_dft hamiltonians 1"
_UNITS = {
    "positions": "Bohr",
    "forces": "Hartree/Bohr",
    "energy": "Hartree",
    "hamiltonian": "Hartree",
    "core": "Hartree",
    "guess": "Hartree",
    "overlap": "1",
}
#: Samples that are written at a time.
_BATCH = 64


class HamiltonianFile(SampleSource):
    """An HDF5 file of samples, as `write_samples` and ``deepchem-dft data hamiltonian`` make it.

    The data sets ``numbers, positions, forces`` have one row per atom, those of sample i are rows
    ``atom_end[i - 1]`` to ``atom_end[i]``; ``hamiltonian, overlap, core, guess`` hold the lower
    triangles row by row, from ``matrix_end[i - 1]`` to ``matrix_end[i]``; ``energy, charge, name``
    have one value per sample. Orbitals have PySCF's order. The attributes are ``basis``, ``xc`` and
    ``settings`` (JSON: how the file was made). Each data set has a ``unit``.

    Parameters
    ----------
    path : path

    Attributes
    ----------
    basis, xc : str
    settings : dict
    names : np.ndarray
        (n,) of str.
    energies : np.ndarray
        (n,) Hartree, nan where there is none.

    Raises
    ------
    InputError
        If it is no such file.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        super().__init__(path)
        file = self.handle
        try:
            if file.attrs.get("format") != _FORMAT:
                raise InputError(
                    f"the format is {file.attrs.get('format')!r}, not {_FORMAT!r}",
                    file=str(path),
                    field="format",
                    remedy="give a file of 'deepchem-dft data hamiltonian'",
                )
            self.basis, self.xc = str(file.attrs["basis"]), str(file.attrs["xc"]) or None
            self.settings = json.loads(file.attrs["settings"])
            self.atom_end, self.matrix_end = file["atom_end"][:], file["matrix_end"][:]
            self.names = file["name"].asstr()[:]
            self.charges, self.energies = file["charge"][:], file["energy"][:]
        except InputError:
            raise
        except (KeyError, ValueError, OSError, AttributeError) as error:
            raise InputError(
                f"something is missing or damaged ({_short(error)})",
                file=str(path),
                field="path",
                remedy="make the file again",
            ) from None
        lengths = {len(x) for x in (self.atom_end, self.matrix_end, self.names, self.charges, self.energies)}
        if len(lengths) != 1:
            raise InputError(
                "the data sets have different lengths",
                file=str(path),
                field="atom_end",
                remedy="make the file again",
            )

    def __len__(self) -> int:
        return len(self.names)

    def row(self, index: int) -> str:
        """Return the number, from 0, and the name."""
        return f"{index} ({self.names[index]})"

    def _open(self) -> Any:
        import h5py

        try:
            return h5py.File(self.path, "r")
        except OSError as error:
            raise InputError(
                f"it is no HDF5 file, or cut off ({_short(error)})",
                file=str(self.path),
                field="path",
                remedy="make the file again",
            ) from None

    def read(self, index: int) -> HamiltonianSample:
        """Return one sample."""
        file, atoms = self.handle, self._range(self.atom_end, index)
        matrices = self._range(self.matrix_end, index)
        try:
            fields = {name: _square(file[name][matrices], name) for name in MATRICES if name in file}
            forces = file["forces"][atoms] if "forces" in file else None
            numbers, positions = file["numbers"][atoms], file["positions"][atoms]
        except InputError:
            raise
        except (KeyError, OSError, ValueError) as error:
            raise InputError(
                f"something is missing or damaged ({_short(error)})",
                field="data",
                remedy="make the file again",
            ) from None
        energy = float(self.energies[index])
        return HamiltonianSample(
            numbers,
            positions,
            self.basis,
            **fields,
            energy=None if np.isnan(energy) else energy,
            forces=forces,
            charge=int(self.charges[index]),
            xc=self.xc,
            name=str(self.names[index]),
        )

    @staticmethod
    def _range(ends: np.ndarray, index: int) -> slice:
        return slice(int(ends[index - 1]) if index else 0, int(ends[index]))


def write_samples(
    path: str | os.PathLike, samples: Iterable[HamiltonianSample], settings: Mapping[str, Any] | None = None
) -> None:
    """Write samples to an HDF5 file.

    Parameters
    ----------
    path : path
        Replaced if it is there, once all is written.
    samples : iterable of HamiltonianSample
        Of one basis and functional, all with the same fields. They are taken a few at a time.
    settings : mapping, optional
        How they were made, as JSON can hold it.

    Raises
    ------
    InputError
        If there is none, or one has another basis, functional or other fields than the first.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.h5"
    >>> sample = HamiltonianSample([1, 1], [[0, 0, 0], [0, 0, 1.4]], "sto-3g", np.eye(2), name="H2")
    >>> write_samples(path, [sample])
    >>> file = HamiltonianFile(path)
    >>> len(file), file[0].name, file[0].hamiltonian.tolist()
    (1, 'H2', [[1.0, 0.0], [0.0, 1.0]])
    """
    import h5py

    rest = iter(samples)
    with replacing(Path(path)) as draft, _Disk(draft) as disk:
        with h5py.File(disk, "w") as file:
            writer = None
            while disk.refused is None and (batch := list(islice(rest, _BATCH))):
                writer = writer or _Writer(file, batch[0], str(path))
                writer.append(batch)
            if writer is None:
                raise InputError("there is no sample to be written", file=str(path), field="samples")
            file.attrs["format"], file.attrs["program"] = _FORMAT, f"deepchem_dft {__version__}"
            file.attrs["settings"] = json.dumps(dict(settings or {}))
        if disk.refused is not None:
            raise disk.refused


class _Disk(io.FileIO):
    """A file for HDF5, which may end the whole process if it is told that a disk is full.

    What the system refuses is kept in `refused`, and from then on nothing is written any more.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+b")
        self.refused: OSError | None = None

    def write(self, content: Any) -> int:
        left = memoryview(content)
        try:
            while left and self.refused is None:
                left = left[super().write(left) :]
        except OSError as error:
            self.refused = error
        return len(content)

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.refused = self.refused or error
            return size or 0

    def readinto(self, buffer: Any) -> int:
        if self.refused is None:
            return super().readinto(buffer)
        memoryview(buffer)[:] = bytes(len(buffer))
        return len(buffer)


class _Writer:
    def __init__(self, file: Any, first: HamiltonianSample, path: str) -> None:
        import h5py

        self.file, self.path, self.first = file, path, first
        self.fields = self._filled(first)
        self.count = 0
        self.ends = {"atom_end": 0, "matrix_end": 0}
        file.attrs["basis"], file.attrs["xc"] = first.basis, first.xc or ""
        kinds = {
            "atom_end": "i8",
            "matrix_end": "i8",
            "charge": "i4",
            "energy": "f8",
            "name": h5py.string_dtype(),
            "numbers": "i4",
            "positions": "f8",
        }
        kinds |= dict.fromkeys(self.fields, "f8")
        for name, kind in kinds.items():
            width = (3,) if name in ("positions", "forces") else ()
            made = file.create_dataset(
                name,
                (0, *width),
                dtype=kind,
                maxshape=(None, *width),
                chunks=(1 << 12 if name in MATRICES else 1 << 10, *width),
            )
            if name in _UNITS:
                made.attrs["unit"] = _UNITS[name]

    @staticmethod
    def _filled(sample: HamiltonianSample) -> tuple[str, ...]:
        return tuple(n for n in (*MATRICES, "forces") if getattr(sample, n) is not None)

    def append(self, batch: list[HamiltonianSample]) -> None:
        for number, sample in enumerate(batch, start=self.count):
            for name, same in (
                ("basis", sample.basis == self.first.basis),
                ("xc", sample.xc == self.first.xc),
                ("samples", self._filled(sample) == self.fields),
            ):
                if not same:
                    raise InputError(
                        "the sample does not go with the first one",
                        file=self.path,
                        entry=f"{number} ({sample.name})",
                        field=name,
                    )
        self.count += len(batch)
        self._extend("name", [sample.name for sample in batch])
        self._extend("charge", [sample.charge for sample in batch])
        self._extend("energy", [np.nan if s.energy is None else s.energy for s in batch])
        self._extend("numbers", np.concatenate([sample.numbers for sample in batch]))
        self._extend("positions", np.concatenate([sample.positions for sample in batch]))
        for name in self.fields:
            values = [getattr(sample, name) for sample in batch]
            rows = values if name == "forces" else [v[np.tril_indices(len(v))] for v in values]
            self._extend(name, np.concatenate(rows))
        self._end("atom_end", [len(sample.numbers) for sample in batch])
        self._end("matrix_end", [s.nao * (s.nao + 1) // 2 for s in batch])

    def _end(self, name: str, sizes: list[int]) -> None:
        ends = self.ends[name] + np.cumsum(sizes)
        self.ends[name] = int(ends[-1])
        self._extend(name, ends)

    def _extend(self, name: str, values: Any) -> None:
        found = self.file[name]
        start = len(found)
        found.resize(start + len(values), axis=0)
        found[start:] = values


def _square(triangle: np.ndarray, name: str) -> np.ndarray:
    nao = int((np.sqrt(8 * len(triangle) + 1) - 1) / 2 + 0.5)
    if nao * (nao + 1) // 2 != len(triangle):
        raise InputError(
            f"{len(triangle)} numbers are no triangle of a matrix", field=name, remedy="make the file again"
        )
    matrix = np.zeros((nao, nao))
    matrix[np.tril_indices(nao)] = triangle
    return matrix + np.tril(matrix, -1).T


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
