"""A pickle in place of every file that is read: refused, and never set off.

Data sets have tests of their own in ``molnet/test_planted.py``, models of the zoo in
``zoo/test_registry.py``, the settings of PySCF in ``test_working_folder.py``.
"""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepchem_dft import checkpoint
from deepchem_dft.errors import DeepChemDFTError
from deepchem_dft.models import DEQModel, HamiltonianModel, KSRModel, XCModel


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


def torch_file(bomb: Bomb) -> bytes:
    out = io.BytesIO()
    torch.save({"format": checkpoint.FORMAT, "state": bomb, "model_state_dict": {}, "config": bomb}, out)
    return out.getvalue()


def torch_file_of_old(bomb: Bomb) -> bytes:
    out = io.BytesIO()
    torch.save({"format": checkpoint.FORMAT, "state": bomb}, out, _use_new_zipfile_serialization=False)
    return out.getvalue()


def numpy_file(bomb: Bomb) -> bytes:
    out = io.BytesIO()
    np.save(out, np.array([[bomb, bomb]], dtype=object), allow_pickle=True)
    return out.getvalue()


def numpy_archive(bomb: Bomb) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in ("coords", "weights", "density", "dm", "digest", "a"):
            archive.writestr(f"{name}.npy", numpy_file(bomb))
    return out.getvalue()


DISGUISES = {
    "pickle": lambda bomb: pickle.dumps(bomb),
    "torch": torch_file,
    "torch of old": torch_file_of_old,
    "npy": numpy_file,
    "npz": numpy_archive,
}


def restored(model: Any) -> Any:
    model.restore()


def hamiltonian_file(path: Path) -> Any:
    from deepchem_dft.hamiltonian.files.store import HamiltonianFile

    return HamiltonianFile(path)[0]


def md17_file(path: Path) -> Any:
    from deepchem_dft.hamiltonian.files.md17 import MD17File

    return MD17File(path)[0]


def qh9_file(path: Path) -> Any:
    from deepchem_dft.hamiltonian.files.qh9 import QH9File

    return QH9File(path)[0]


def journal(path: Path) -> Any:
    from deepchem_dft.hamiltonian.files.journal import Journal

    with Journal(path, {}, resume=True) as found:
        return list(found.records())


def state(path: Path) -> Any:
    from deepchem_dft.scf.many import _load_state

    with pytest.warns(UserWarning, match="damaged"):
        assert _load_state(path) is None
    raise DeepChemDFTError("as it says")


def density(path: Path) -> Any:
    from deepchem_dft.scf.frozen.binned import BinnedDensity

    return BinnedDensity.load(path)


def target(kind: str, path: Path) -> Any:
    from deepchem_dft.data import DFTEntry

    helium = {"moldesc": "He 0 0 0", "basis": "sto-3g"}
    return DFTEntry.create(kind, str(path), [helium]).get_true_val()


def geometry(path: Path) -> Any:
    from deepchem_dft.molecule import Molecule

    return Molecule(path, "sto-3g").symbols


def molecules(path: Path) -> Any:
    from deepchem_dft.data.properties.molecule_files import read_molecules

    return list(read_molecules(path))


def configuration(path: Path) -> Any:
    from deepchem_dft.runs import load_config

    return load_config(path)


def data_file(path: Path) -> Any:
    from deepchem_dft.data import DFTYamlLoader

    return DFTYamlLoader().create_dataset(path)


def labels(path: Path) -> Any:
    from deepchem_dft.molnet import load_labelled

    return load_labelled(path, reload=False)


#: What is read, and how; a file's name where readers choose by it.
READERS = {
    "XCModel": ("checkpoint1.pt", lambda p: XCModel.load(p.parent)),
    "KSRModel": ("checkpoint1.pt", lambda p: KSRModel.load(p.parent)),
    "HamiltonianModel": ("checkpoint1.pt", lambda p: HamiltonianModel.load(p.parent)),
    "DEQModel": ("checkpoint1.pt", lambda p: restored(DEQModel(1, model_dir=str(p.parent)))),
    "restored XCModel": ("checkpoint1.pt", lambda p: restored(XCModel("pbe", model_dir=p.parent))),
    "checkpoint": ("a.pt", checkpoint.read),
    "state": ("a.pt", state),
    "density": ("a.pt", density),
    "Hamiltonians": ("a.h5", hamiltonian_file),
    "MD17": ("a.db", md17_file),
    "QH9": ("a.db", qh9_file),
    "journal": ("a.journal", journal),
    "dm": ("a.npy", lambda p: target("dm", p)),
    "dens": ("a.npz", lambda p: target("dens", p)),
    **{f"geometry {end}": (f"a.{end}", geometry) for end in ("xyz", "extxyz", "py", "pckl", "traj")},
    **{f"molecules {end}": (f"a.{end}", molecules) for end in ("xyz", "smi", "sdf", "py")},
    "configuration": ("a.yaml", configuration),
    "data": ("a.yaml", data_file),
    "labels": ("a.csv", labels),
}


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("reader", READERS)
def test_a_pickle_is_refused_and_not_set_off(reader, disguise, tmp_path):
    name, read = READERS[reader]
    marker = tmp_path / "executed"
    raw = DISGUISES[disguise](Bomb(marker))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / name).write_bytes(raw)
    with pytest.raises(DeepChemDFTError):
        read(folder / name)
    assert not marker.exists()


@pytest.mark.parametrize("disguise", DISGUISES)
def test_the_bombs_work(disguise, tmp_path):
    """Read the way these files want to be read, each of them runs."""
    marker = tmp_path / "executed"
    raw = DISGUISES[disguise](Bomb(marker))
    if disguise == "pickle":
        pickle.loads(raw)
    elif disguise.startswith("torch"):
        torch.load(io.BytesIO(raw), weights_only=False)
    else:
        found = np.load(io.BytesIO(raw), allow_pickle=True)
        found = found if disguise == "npy" else found["dm"]
    assert marker.exists()


@pytest.mark.parametrize(
    "code",
    [
        "import pathlib; pathlib.Path('executed').touch()",
        "H __import__('pathlib').Path('executed').touch() 0 0",
        "H 0 0 0; H 0 0 __import__('os').system('touch+executed')",
        "H 0 0 0; H 0 0 2*0.7",
    ],
)
def test_text_is_not_evaluated(code, tmp_path, monkeypatch):
    """PySCF evaluates coordinates that are no numbers; here they never get there."""
    from deepchem_dft.molecule import Molecule

    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.xyz").write_text(f"1\n\n{code}\n")
    for geometry_ in (code, tmp_path / "a.xyz"):
        with pytest.raises(DeepChemDFTError):
            Molecule(geometry_, "sto-3g").overlap  # noqa: B018
    assert not (tmp_path / "executed").exists()


def test_a_basis_is_a_name_and_no_file(tmp_path, monkeypatch):
    """PySCF reads a file of the name of a basis, and evaluates what in it is no number."""
    from deepchem_dft.molecule import Molecule

    monkeypatch.chdir(tmp_path)
    for name in ("planted", "planted.nw"):
        (tmp_path / name).write_text("BASIS\nH S\n __import__('pathlib').Path('executed').touch() 1.0\nEND\n")
        with pytest.raises(DeepChemDFTError, match="file"):
            Molecule("H 0 0 0", name, spin=1).overlap  # noqa: B018
    assert not (tmp_path / "executed").exists()
