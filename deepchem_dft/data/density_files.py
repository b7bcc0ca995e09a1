"""Files of CCSD reference densities, with the YAML entries that use them."""

import io
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from deepchem_dft.data.densities import reference
from deepchem_dft.data.entry import DFTEntry
from deepchem_dft.data.reading.reader import read_yaml
from deepchem_dft.data.system import DFTSystem
from deepchem_dft.errors import InputError
from deepchem_dft.files import check_writable, make_folder, write

_KINDS = ("dens", "dm")


def make_densities(
    path_or_entries: str | Path | Sequence[DFTEntry],
    out_dir: str | Path,
    kind: str | None = None,
    *,
    grid_level: int = 3,
    progress: Callable[[int, int, str], None] | None = None,
) -> list[Path]:
    """Make CCSD targets and write them, with a YAML file of entries that use them.

    Parameters
    ----------
    path_or_entries : path or sequence of DFTEntry
        A YAML file in any schema, or entries.
    out_dir : path
        Receives ``NAME.npz`` (dens) or ``NAME.npy`` (dm) files and ``densities.yaml``.
    kind : {None, "dens", "dm"}
        None: the targets that dm and dens entries ask for with ``ccsd``. Otherwise one target of
        this kind for every different system of all entries.
    grid_level : int
        Level of the PySCF grid with ``kind="dens"``.
    progress : callable, optional
        Called with (number done, number in all, name) before each system and at the end.

    Returns
    -------
    list of Path
        The written targets.

    Raises
    ------
    InputError
        Nothing to do.
    StorageError
        A folder that cannot be written.
    SCFNotConverged
        With the name of the system.
    """
    if kind is not None and kind not in _KINDS:
        raise InputError(f"unknown kind of density {kind!r}", field="kind", remedy="use dens or dm")
    file = None
    if isinstance(path_or_entries, (str, Path)):
        file = str(path_or_entries)
        path_or_entries = read_yaml(path_or_entries)
    jobs = _jobs(path_or_entries, kind, grid_level)
    if not jobs:
        raise InputError(
            "no entry asks for a CCSD density",
            file=file,
            field="value",
            remedy="write 'value: ccsd' in dm or dens entries, or choose a kind (dens "
            "or dm) to make one for every system",
        )
    folder = make_folder(out_dir)  # before anything is computed
    check_writable(folder / "densities.yaml")
    lines = [
        "# CCSD reference densities made by deepchem_dft with PySCF",
        "format: deepchem_dft/1",
        "source: CCSD (unrelaxed density, all electrons), PySCF",
        "entries:",
    ]
    written = []
    for done, (name, what, system, level) in enumerate(jobs):
        if progress is not None:
            progress(done, len(jobs), name)
        arrays = reference(system, what, level)
        path = folder / f"{name}.{'npy' if what == 'dm' else 'npz'}"
        _write(path, arrays)
        written.append(path)
        lines += _yaml_entry(name, what, system, path.name)
    _write(folder / "densities.yaml", "\n".join(lines) + "\n")
    if progress is not None:
        progress(len(jobs), len(jobs), "done")
    return written


def _jobs(
    entries: Sequence[DFTEntry], kind: str | None, grid_level: int
) -> list[tuple[str, str, DFTSystem, int]]:
    jobs: list[tuple[str, str, DFTSystem, int]] = []
    seen, names = set(), set()
    for entry in entries:
        asks = getattr(entry, "is_ccsd", False)
        if kind is None and not asks:
            continue
        for system in entry.get_systems():
            what = kind or entry.entry_type
            if (system.key, what) in seen:
                continue
            seen.add((system.key, what))
            stem = re.sub(r"[^A-Za-z0-9+-]+", "_", entry.name if asks else system.name)[:60]
            name = stem = stem.strip("_") or "system"
            count = 2
            while name.lower() in names:  # file systems may not tell capitals apart
                name, count = f"{stem}-{count}", count + 1
            names.add(name.lower())
            jobs.append((name, what, system, getattr(entry, "grid_level", 3) if asks else grid_level))
    return jobs


def _yaml_entry(name: str, what: str, system: DFTSystem, file: str) -> list[str]:
    # JSON is YAML, and quotes everything that needs it
    fields = {k: v for k, v in system.system.items() if k not in ("number", "moldesc")}
    mapping = {"geometry": system.moldesc, **fields}
    return [
        f"- name: {json.dumps(name)}",
        f"  type: {what}",
        f"  value: {json.dumps(file)}",
        f"  systems: [{json.dumps(mapping)}]",
    ]


def _write(path: Path, content: dict[str, np.ndarray] | str) -> None:
    """Write a file so that others see all of it or nothing."""
    if isinstance(content, str):
        write(path, content)
        return
    raw = io.BytesIO()
    if path.suffix == ".npy":
        np.save(raw, content["density_matrix"])
    else:
        np.savez_compressed(raw, **content)  # type: ignore[arg-type]
    write(path, raw.getvalue())
