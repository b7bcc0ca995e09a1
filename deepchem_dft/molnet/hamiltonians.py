"""Loaders of Hamiltonians: MD17 and QH9 as published, and files that were made here."""

import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import deepchem as dc
import numpy as np

from deepchem_dft import __version__
from deepchem_dft.checks import choice
from deepchem_dft.data.properties.streams import PathLike, find_one
from deepchem_dft.errors import InputError
from deepchem_dft.hamiltonian.files.md17 import MD17File
from deepchem_dft.hamiltonian.files.qh9 import BASIS as QH9_BASIS
from deepchem_dft.hamiltonian.files.qh9 import XC as QH9_XC
from deepchem_dft.hamiltonian.files.qh9 import QH9File
from deepchem_dft.hamiltonian.files.source import SampleSource
from deepchem_dft.hamiltonian.files.store import HamiltonianFile
from deepchem_dft.molecule.cache import reason
from deepchem_dft.molnet import hamiltonian_splits as splits
from deepchem_dft.molnet.cache import default_save_dir, made_once
from deepchem_dft.molnet.hamiltonian_dataset import HamiltonianDataset

Loaded = tuple[list[str], tuple[dc.data.Dataset, ...], list[Any]]
Splits = dict[str, Callable[[], splits.Split]]

MOLECULES = ("water", "ethanol", "malondialdehyde", "uracil")
_QH9 = {
    "stable": ("QH9Stable.db",),
    "300k": ("QH9Dynamic_300k.db", "QH9Dynamic.db"),
    "100k": ("QH9Dynamic_100k.db",),
}


def load_md17_hamiltonian(
    featurizer: Any = "raw",
    splitter: Any = "published",
    transformers: Any = (),
    reload: bool = True,
    data_dir: str | None = None,
    save_dir: str | None = None,
    *,
    molecule: str = "water",
    sizes: Sequence[int] | None = None,
    basis: str = "def2-svp",
    xc: str = "pbe",
    on_bad: str = "raise",
) -> Loaded:
    """Load Kohn-Sham matrices of one molecule in motion, from the files of the SchNOrb release.

    The layout that is read is described in `deepchem_dft.hamiltonian.files.md17`.

    Parameters
    ----------
    featurizer : {"raw"}
        Samples are given as they are; networks turn them into features.
    splitter : {"published", "random", "index"}, Splitter or None
        ``"published"`` is QHNet's, with the sizes of SchNOrb: water 500 / 500 / rest, the others
        25,000 / 500 / rest. None gives one data set.
    transformers : sequence
        Must be empty: matrices stay in Hartree.
    reload : bool
        Remember in ``save_dir`` that the file was checked and which energies it has. The matrices
        themselves are read from the file each time.
    data_dir : path
        Folder of the download, or the database itself.
    save_dir : path, optional
        ``DEEPCHEM_DATA_DIR`` or a private folder by default.
    molecule : {"water", "ethanol", "malondialdehyde", "uracil"}
        Which file of a folder: ``schnorb_hamiltonian_water.db``; ``..._ethanol_dft.db``.
    sizes : (int, int), optional
        Training and validation samples with ``splitter="random"``; the rest is for testing.
    basis, xc : str
        What the file was made with; it does not say.
    on_bad : {"raise", "skip"}
        What to do with a row that cannot be used: stop, or leave it out and warn.

    Returns
    -------
    tasks : list of str
        ``["energy"]``.
    datasets : tuple of HamiltonianDataset
        (train, valid, test), or (all,). ``X`` holds `HamiltonianSample` objects, ``y`` energies.
    transformers : list
        Empty.

    Raises
    ------
    InputError
        Naming file, row and field of what cannot be used.

    References
    ----------
    Schuett, Gastegger, Tkatchenko, Mueller, Maurer, Nat. Commun. 10, 5024 (2019);
    quantum-machine.org/datasets. PBE/def2-SVP.
    """
    choice(molecule, MOLECULES, "molecule")
    ending = "_dft" if molecule == "ethanol" else ""
    path = _found(
        data_dir,
        f"MD17 Hamiltonians of {molecule}",
        "quantum-machine.org/datasets",
        [f"schnorb_hamiltonian_{molecule}{ending}.db"],
    )
    source = MD17File(path, basis, xc)
    total = len(source)
    named: Splits = {"published": lambda: splits.md17_published(source[0].numbers, total)}
    return _load(source, named, featurizer, splitter, transformers, reload, save_dir, sizes, on_bad)


def load_qh9(
    featurizer: Any = "raw",
    splitter: Any = "published",
    transformers: Any = (),
    reload: bool = True,
    data_dir: str | None = None,
    save_dir: str | None = None,
    *,
    version: str = "stable",
    sizes: Sequence[int] | None = None,
    basis: str = QH9_BASIS,
    xc: str = QH9_XC,
    on_bad: str = "raise",
) -> Loaded:
    """Load QH9, Kohn-Sham matrices of molecules of QM9, from the files of its release.

    The layouts that are read are described in `deepchem_dft.hamiltonian.files.qh9`.

    Parameters
    ----------
    featurizer, transformers, reload, save_dir, sizes, on_bad
        As in `load_md17_hamiltonian`.
    splitter : {"published", "ood", "molecule", "random", "index"}, Splitter or None
        ``"published"`` is QH9-stable-id or QH9-dynamic-geo. ``"ood"`` is QH9-stable-ood, which
        tests on larger molecules; ``"molecule"`` is QH9-dynamic-mol, which tests on others.
    data_dir : path
        Folder of the download, or the database itself.
    version : {"stable", "300k", "100k"}
        Which file of a folder.
    basis, xc : str
        What the file was made with; it does not say.

    Returns
    -------
    tasks, datasets, transformers
        As in `load_md17_hamiltonian`. QH9Stable has no energies: ``y`` is nan.

    Raises
    ------
    InputError
        As in `load_md17_hamiltonian`.

    References
    ----------
    Yu, Liu, Luo, Strasser, Qian, Qian, Ji, NeurIPS 2023 Datasets and Benchmarks. B3LYP/def2-SVP.
    """
    choice(version, _QH9, "version")
    path = _found(data_dir, "QH9", "github.com/divelab/AIRS", _QH9[version])
    source = QH9File(path, basis, xc)
    named: Splits = (
        {
            "published": lambda: splits.by_geometry(source.molecules),
            "molecule": lambda: splits.by_molecule(source.molecules),
        }
        if source.dynamic
        else {"published": lambda: splits.shares(len(source)), "ood": lambda: splits.by_size(source.atoms)}
    )
    return _load(source, named, featurizer, splitter, transformers, reload, save_dir, sizes, on_bad)


def load_hamiltonian(
    path: PathLike,
    featurizer: Any = "raw",
    splitter: Any = "random",
    transformers: Any = (),
    reload: bool = True,
    save_dir: str | None = None,
    *,
    sizes: Sequence[int] | None = None,
    on_bad: str = "raise",
) -> Loaded:
    """Load Hamiltonians that ``deepchem-dft data hamiltonian`` computed.

    Parameters
    ----------
    path : path
        The HDF5 file.
    featurizer, transformers, reload, save_dir, sizes, on_bad
        As in `load_md17_hamiltonian`.
    splitter : {"random", "molecule", "index"}, Splitter or None
        ``"molecule"`` keeps all geometries of a molecule in one part (by what stands before the
        first ``/`` of the name).

    Returns
    -------
    tasks, datasets, transformers
        As in `load_md17_hamiltonian`.

    Raises
    ------
    InputError
        As in `load_md17_hamiltonian`.
    """
    source = HamiltonianFile(path)
    named: Splits = {"molecule": lambda: splits.by_molecule(_numbered(source.names))}
    return _load(source, named, featurizer, splitter, transformers, reload, save_dir, sizes, on_bad)


def _numbered(names: Sequence[str]) -> np.ndarray:
    known: dict[str, int] = {}
    return np.array([known.setdefault(name.split("/")[0], len(known)) for name in names])


def _found(data_dir: PathLike | None, name: str, where: str, names: Sequence[str]) -> Path:
    if data_dir is None:
        raise InputError(
            f"{name} does not come with this package",
            field="data_dir",
            remedy=f"download it ({where}) and give its folder",
        )
    return find_one(data_dir, names)


def _load(
    source: SampleSource,
    named: Splits,
    featurizer: Any,
    splitter: Any,
    transformers: Any,
    reload: bool,
    save_dir: str | None,
    sizes: Sequence[int] | None,
    on_bad: str,
) -> Loaded:
    if featurizer is not None and featurizer != "raw":
        raise InputError(
            f"{featurizer!r} does not make samples", field="featurizer", remedy='use featurizer="raw"'
        )
    if transformers is not None and len(transformers):
        raise InputError(
            "Hamiltonians cannot be transformed: they must stay in Hartree",
            field="transformers",
            remedy="use transformers=[]",
        )
    if on_bad not in ("raise", "skip"):
        raise InputError(f"unknown on_bad {on_bad!r}", field="on_bad", remedy="use raise or skip")
    if sizes is not None and splitter != "random":
        raise InputError("sizes go with splitter='random'", field="sizes")
    energies, names, problems = _checked(source, reload, save_dir)
    if problems and on_bad == "raise":
        raise InputError(**next(iter(problems.values())))
    everything = HamiltonianDataset(source, energies, names)
    parts = _split(everything, splitter, named, sizes)
    if problems:
        first = InputError(**next(iter(problems.values())))
        warnings.warn(f"{len(problems)} samples left out; the first: {first}", stacklevel=3)
        parts = [part[~np.isin(part, list(problems))] for part in parts]
    return ["energy"], tuple(everything.select(part) for part in parts), []


def _split(
    dataset: HamiltonianDataset, splitter: Any, named: Splits, sizes: Sequence[int] | None
) -> list[np.ndarray]:
    total = len(dataset)
    if splitter is None:
        return [np.arange(total)]
    if isinstance(splitter, dc.splits.Splitter):
        return [np.asarray(part, dtype=np.int64) for part in splitter.split(dataset)]
    if splitter == "random":
        found = splits.shares(total) if sizes is None else splits.counted(total, sizes)
        return list(found)
    if splitter == "index":
        return np.split(np.arange(total), [int(total * 0.8), int(total * 0.8) + int(total * 0.1)])
    if isinstance(splitter, str) and splitter in named:
        return list(named[splitter]())
    raise InputError(
        f"the splitter {splitter!r} is not possible here",
        field="splitter",
        remedy=f"use one of {', '.join([*named, 'random', 'index'])}, a DeepChem "
        "Splitter that needs no SMILES, or None for one data set",
    )


def _checked(
    source: SampleSource, reload: bool, save_dir: str | None
) -> tuple[np.ndarray, np.ndarray, dict[int, dict[str, Any]]]:
    """Read every sample once; return energies, names and what is wrong with some of them."""

    def make(folder: Path) -> None:
        energies, names, problems = np.full(len(source), np.nan), [], {}
        for index in range(len(source)):
            try:
                sample = source[index]
            except InputError as error:
                fields = ("problem", "file", "entry", "field", "remedy")
                problems[index] = {name: getattr(error, name) for name in fields}
                names.append(source.row(index))
                continue
            names.append(sample.name or str(index))
            if sample.energy is not None:
                energies[index] = sample.energy
        np.savez(
            folder / "index.npz",
            energies=energies,
            names=np.array(names),
            problems=np.array(json.dumps(problems)),
        )

    def opened(folder: Path) -> Any:
        with np.load(folder / "index.npz", allow_pickle=False) as index:
            problems = {int(k): v for k, v in json.loads(str(index["problems"])).items()}
            return index["energies"], index["names"], problems

    save_dir = save_dir or default_save_dir()
    if reload and save_dir is not None:
        home = Path(save_dir) / "hamiltonian-index"
        try:
            return made_once(home, _key(source), make, opened)
        except OSError as error:
            warnings.warn(f"the check of {source.path} is not kept: {reason(error)}", stacklevel=4)
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        return opened(Path(folder))


def _key(source: SampleSource) -> str:
    """Hash of all that the check of a file depends on, the code that checks included."""
    import deepchem_dft.hamiltonian as room

    digest = hashlib.sha256()
    folder = Path(os.fspath(room.__file__)).parent
    for path in sorted([*(folder / "files").glob("*.py"), folder / "sample.py", folder / "orbitals.py"]):
        digest.update(path.read_bytes())
    stat = source.path.stat()
    identity = [
        __version__,
        type(source).__name__,
        str(source.path.resolve()),
        stat.st_size,
        stat.st_mtime_ns,
        getattr(source, "basis", ""),
        getattr(source, "xc", ""),
    ]
    digest.update(json.dumps(identity).encode())
    return digest.hexdigest()[:20]
