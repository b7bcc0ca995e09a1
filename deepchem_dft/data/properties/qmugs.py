"""QMugs as released: ``summary.csv`` or the SDF files of ``structures``, conformer by conformer.

Read is the layout of the ETH Research Collection, version 1 of doi 10.3929/ethz-b-000482129:

- ``summary.csv`` has a line per conformer with the columns ``chembl_id``, ``conf_id``, ``smiles``
  and, for both levels, ``DFT_TOTAL_ENERGY``, ``DFT_DIPOLE_TOT``, ``DFT_HOMO_LUMO_GAP``,
  ``GFN2_TOTAL_ENERGY`` and so on;
- ``structures/CHEMBL.../conf_00.sdf`` (also inside ``structures.tar.gz``) has the tags
  ``CHEMBL_ID``, ``CONF_ID``, ``DFT:TOTAL_ENERGY``, ``DFT:HOMO_LUMO_GAP``, ``DFT:DIPOLE`` (the
  three components and the length, ``x|y|z|total``) and the same with ``GFN2:``.

Energies and gaps are in Hartree, dipole moments in Debye.
"""

import gzip
import os
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from deepchem_dft.data.properties.records import (
    OnBad,
    PropertyRecord,
    each,
    finite,
    from_smiles,
    molecule_record,
    refuse,
)
from deepchem_dft.data.properties.streams import PathLike, csv_rows, find_one, open_text
from deepchem_dft.errors import InputError
from deepchem_dft.molecule.reading.sdf import SDFRecord, sdf_records
from deepchem_dft.units import HARTREE_TO_EV

#: What a folder of the release may hold, in the order in which it is looked for.
FILES = ("summary.csv", "summary.csv.gz", "structures", "structures.tar.gz")
LEVELS = ("DFT", "GFN2")
#: Column without its level, tag without its level, and factor to the units of the tasks.
_TASKS = {
    "dipole": ("DIPOLE_TOT", "DIPOLE", 1.0),
    "gap": ("HOMO_LUMO_GAP", "HOMO_LUMO_GAP", HARTREE_TO_EV),
    "energy": ("TOTAL_ENERGY", "TOTAL_ENERGY", 1.0),
}


def read_qmugs(
    path: PathLike,
    tasks: Iterable[str] = ("dipole",),
    level: str = "DFT",
    conformers: str = "lowest",
    bad: OnBad = refuse,
) -> Iterator[PropertyRecord]:
    """Yield molecules of QMugs.

    Parameters
    ----------
    path : path
        Folder of the download, or one of its files; ``summary.csv`` is preferred. A single SDF file
        with many records is read, too.
    tasks : iterable of {"dipole", "gap", "energy"}
        Debye, eV, Hartree.
    level : {"DFT", "GFN2"}
        omegaB97X-D/def2-SVP or GFN2-xTB, at GFN2-xTB geometries in either case.
    conformers : {"lowest", "all"}
        The one of lowest energy of each molecule (there are up to three), or all.
    bad : callable
        What to do with records that cannot be used; file, record and field are in the error.

    Yields
    ------
    PropertyRecord
        Of an RDKit molecule without hydrogens; those from SDF files have coordinates.

    Raises
    ------
    InputError
        For files of another layout or cut off, and as ``bad`` does.

    References
    ----------
    Isert, Atz, Jimenez-Luna, Schneider, Sci. Data 9, 273 (2022).
    """
    tasks = list(tasks)
    if level not in LEVELS or conformers not in ("lowest", "all"):
        raise InputError(
            f"there is no level {level!r} with conformers {conformers!r}",
            field="level",
            remedy="use DFT or GFN2; 'lowest' or 'all'",
        )
    source = locate(path)
    if source.name.removesuffix(".gz").endswith(".csv"):
        return _summary(source, tasks, level, conformers == "lowest", bad)
    return _structures(source, tasks, level, conformers == "lowest", bad)


def locate(path: PathLike) -> Path:
    """Return what is to be read of a download: a file, or a folder of SDF files.

    Raises
    ------
    InputError
        If the folder holds nothing of the kind.
    """
    folder = Path(path)
    holds_files = folder.is_dir() and not any((folder / name).exists() for name in FILES)
    if holds_files and next(folder.rglob("*.sdf"), None) is not None:
        return folder
    return find_one(path, FILES)


def _summary(file: Path, tasks: list[str], level: str, lowest: bool, bad: OnBad) -> Iterator[PropertyRecord]:
    energy = f"{level}_TOTAL_ENERGY"
    columns = ["chembl_id", "conf_id", "smiles", *(f"{level}_{_TASKS[t][0]}" for t in tasks)]
    if lowest:
        columns.append(energy)
        best: dict[str, tuple[float, str]] = {}
        for line, row in csv_rows(file, columns):
            try:
                value = finite(row[energy], str(file), f"line {line}", energy)
            except InputError as error:
                bad(error)
                continue
            name = row["chembl_id"]
            if name not in best or value < best[name][0]:
                best[name] = (value, row["conf_id"])

    def make(numbered: tuple[int, dict[str, str]]) -> PropertyRecord:
        line, row = numbered
        entry = f"line {line} ({row['chembl_id']}, {row['conf_id']})"
        values = {}
        for task in tasks:
            column, _, factor = _TASKS[task]
            column = f"{level}_{column}"
            values[task] = factor * finite(row[column], str(file), entry, column)
        molecule = from_smiles(row["smiles"], str(file), entry)
        return molecule_record(molecule, values, str(file), entry)

    rows = csv_rows(file, columns)
    if lowest:
        rows = (r for r in rows if best.get(r[1]["chembl_id"], ("", ""))[1] == r[1]["conf_id"])
    yield from each(rows, make, bad)


def _structures(
    source: Path, tasks: list[str], level: str, lowest: bool, bad: OnBad
) -> Iterator[PropertyRecord]:
    seen: set[str] = set()
    energy = f"{level}:TOTAL_ENERGY"

    def read(record: SDFRecord) -> tuple[float, PropertyRecord]:
        values = {task: _tag(record, f"{level}:{_TASKS[task][1]}") * _TASKS[task][2] for task in tasks}
        return (_tag(record, energy) if lowest else 0.0), molecule_record(
            _without_hydrogens(record.molecule()), values, record.file, _entry(record)
        )

    for name, group in groupby(_sdf_files(source), key=_molecule_name):
        if name in seen and lowest:
            raise InputError(
                "the conformers of a molecule are not together",
                entry=name,
                file=str(source),
                field="CHEMBL_ID",
                remedy="unpack the archive",
            )
        seen.add(name)
        conformers = []
        for record in group:
            try:
                conformers.append(read(record))
            except InputError as error:
                bad(error)
        if lowest and conformers:
            conformers = [min(conformers, key=lambda pair: pair[0])]
        for _, made in conformers:
            yield made


def _entry(record: SDFRecord) -> str:
    name = record.tags.get("CHEMBL_ID", record.title)
    conformer = record.tags.get("CONF_ID", "")
    return f"{record.number} ({', '.join(filter(None, [name, conformer]))})"


def _molecule_name(record: SDFRecord) -> str:
    return record.tags.get("CHEMBL_ID") or Path(record.file).parent.name


def _tag(record: SDFRecord, tag: str) -> float:
    text = record.tag(tag)
    if tag.endswith(":DIPOLE"):
        parts = text.split("|")
        if len(parts) != 4:
            raise InputError(
                f"{text[:60]!r} is not x|y|z|total", file=record.file, entry=_entry(record), field=tag
            )
        text = parts[-1]
    return finite(text, record.file, _entry(record), tag)


def _sdf_files(source: Path) -> Iterator[SDFRecord]:
    if os.path.isdir(source):
        files = sorted(source.rglob("*.sdf"))
        if not files:
            raise InputError("there is no SDF file below the folder", file=str(source), field="data_dir")
        for file in files:
            with open_text(file) as stream:
                yield from sdf_records(stream, str(file))
    elif source.name.endswith((".tar.gz", ".tgz", ".tar")):
        yield from _archive(source)
    else:
        with open_text(source) as stream:
            yield from sdf_records(stream, str(source))


class _Ending:
    """Reads a stream and remembers its last block, which is empty in an archive that is whole."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.last = stream, b""

    def read(self, size: int) -> bytes:
        data = self.stream.read(size)
        self.last = (self.last + data)[-tarfile.BLOCKSIZE :]
        return data


def _archive(source: Path) -> Iterator[SDFRecord]:
    try:
        # Not left to tarfile, which takes a file that is cut off between two members for a whole one.
        with (open if source.suffix == ".tar" else gzip.open)(source, "rb") as stream:
            seen = _Ending(stream)
            with tarfile.open(fileobj=seen, mode="r|") as archive:  # type: ignore[call-overload]
                for member in archive:
                    if not member.name.endswith(".sdf"):
                        continue
                    content = archive.extractfile(member)
                    if content is not None:
                        lines = content.read().decode().splitlines()
                        yield from sdf_records(lines, os.fspath(source / member.name))
            while seen.read(tarfile.RECORDSIZE):
                pass
        if seen.last != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("its end is missing")
    except (tarfile.TarError, EOFError, OSError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(
            f"the archive is cut off or damaged ({error})",
            file=str(source),
            field="data_dir",
            remedy="download it again",
        ) from None


def _without_hydrogens(molecule: Any) -> Any:
    from rdkit import Chem

    return Chem.RemoveHs(molecule)
