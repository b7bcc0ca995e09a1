"""Files that others put where data sets are kept: they may spoil a cache, never run."""

import io
import pickle
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import deepchem as dc
import numpy as np
import pytest

from deepchem_dft import molnet
from deepchem_dft.hamiltonian.files.store import write_samples
from deepchem_dft.hamiltonian.sample import HamiltonianSample
from deepchem_dft.lattice.grid import Grid

SMALL = "smiles,dipole,gap,energy\n" + "".join(
    f"{smiles},{number}.5,0.{number},-{number}.0\n"
    for number, smiles in enumerate(["OO", "CO", "CCO", "CC", "NN", "CN", "CCN", "CCC", "CF"])
)


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "executed"


def archive(bomb: Bomb) -> bytes:
    """Return an npz archive each of whose arrays is a pickle."""
    array = io.BytesIO()
    np.save(array, np.array([bomb], dtype=object), allow_pickle=True)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as content:
        for name in (
            "kind",
            "x_all",
            "x_node_features",
            "x_states",
            "y",
            "w",
            "ids",
            "energies",
            "names",
            "problems",
        ):
            content.writestr(f"{name}.npy", array.getvalue())
    return out.getvalue()


def plant(folder: Path, marker: Path) -> int:
    """Overwrite all files below a folder, and put DeepChem's own beside them; return how many."""
    bomb = Bomb(marker)
    count = 0
    for file in [p for p in folder.rglob("*") if p.is_file()]:
        file.write_bytes(archive(bomb) if file.suffix == ".npz" else pickle.dumps(bomb))
        count += 1
    for inside in [p for p in [folder, *folder.rglob("*")] if p.is_dir()]:
        for name in ("metadata.joblib", "transformers.pkl", "shard-0-X.joblib"):
            (inside / name).write_bytes(pickle.dumps(bomb))
        np.save(inside / "shard-0-X.npy", np.array([bomb], dtype=object), allow_pickle=True)
    return count


def labelled(tmp_path, **options):
    table = tmp_path / "labels.csv"
    if not table.exists():
        table.write_text(SMALL)
    return molnet.load_labelled(table, splitter=None, task="gap", **options)


LOADERS = {
    "graphs": lambda tmp_path, **o: labelled(tmp_path, featurizer="molgraphconv", **o),
    "dmpnn": lambda tmp_path, **o: labelled(tmp_path, featurizer="dmpnn", **o),
    "arrays": lambda tmp_path, **o: labelled(
        tmp_path, featurizer="ecfp", transformers=["normalization"], **o
    ),
    "objects": lambda tmp_path, **o: labelled(tmp_path, featurizer="raw", **o),
    "states": lambda tmp_path, **o: molnet.load_ksr(family="hydrogen_like", splitter=None, grid=Grid(), **o),
    "entries": lambda tmp_path, **o: molnet.load_h2_curve(**o),
}


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    if type(a).__name__ == "GraphData":
        return a.kwargs.keys() == b.kwargs.keys() and all(
            same(v, getattr(b, k)) for k, v in vars(a).items() if k != "kwargs"
        )
    return type(a).__name__ == "Mol" or a == b


@pytest.mark.parametrize("kind", LOADERS)
def test_what_is_planted_in_the_cache_is_not_run(kind, tmp_path, marker):
    load, cache = LOADERS[kind], tmp_path / "cache"
    _, (first,), _ = load(tmp_path, save_dir=str(cache))
    _, (again,), _ = load(tmp_path, save_dir=str(cache))
    planted = plant(cache, marker) if cache.exists() else 0
    _, (after,), _ = load(tmp_path, save_dir=str(cache))
    assert not marker.exists()
    assert (planted > 0) == (kind not in ("objects", "entries"))
    for other in (again, after):
        assert all(map(same, first.X, other.X)) and len(first) == len(other)
        assert same(first.y, other.y) and same(first.w, other.w) and same(first.ids, other.ids)
    # The bomb works: DeepChem would have set it off.
    if planted:
        with pytest.raises(Exception):  # noqa: B017 (what comes after does not matter)
            dc.data.DiskDataset(str(cache))
        assert marker.exists()


@pytest.mark.parametrize("kind", LOADERS)
def test_no_folder_that_can_be_foretold_is_read(kind, tmp_path, marker, monkeypatch):
    """Without a cache nothing is kept, and nothing in the common temporary folder is looked at."""
    common = tmp_path / "tmp"
    common.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(common))
    _, (first,), _ = LOADERS[kind](tmp_path, save_dir=str(common / "kept"))  # what one may foretell
    labels = np.array(first.y)
    for path in (common / "kept").glob("*") if (common / "kept").exists() else ():
        path.rename(common / path.name)
    plant(common, marker)
    monkeypatch.setenv("DEEPCHEM_DFT_CACHE", "off")
    monkeypatch.delenv("DEEPCHEM_DATA_DIR", raising=False)
    _, (after,), _ = LOADERS[kind](tmp_path)
    assert not marker.exists() and same(labels, after.y)


def test_an_index_of_hamiltonians_is_not_run(tmp_path, marker):
    helium = HamiltonianSample(
        [2],
        [[0, 0, 0]],
        "sto-3g",
        np.eye(1),
        overlap=np.eye(1),
        energy=-2.8,
        forces=np.zeros((1, 3)),
        xc="pbe",
        name="helium",
    )
    write_samples(tmp_path / "helium.h5", [helium])
    options = {"splitter": None, "save_dir": str(tmp_path / "cache")}
    first = molnet.load_hamiltonian(tmp_path / "helium.h5", **options)[1][0]
    assert plant(tmp_path / "cache", marker) == 1
    after = molnet.load_hamiltonian(tmp_path / "helium.h5", **options)[1][0]
    assert not marker.exists() and list(first.y) == list(after.y) == [[-2.8]]
