"""Models and a run of commit 99ed1e2 (2026-11-21), with what they predicted then.

The files in this folder were written there, by

    git worktree add --detach OLD 99ed1e2; cd OLD
    PYTHONPATH=. python .../tests/old_files/make.py FOLDER

and are never made anew: what is tested is that they can still be read. The tests take models and
inputs from here as well, so that only names may be used that have stayed the same.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import deepchem as dc
import numpy as np
import yaml

from deepchem_dft.data import DFTEntry
from deepchem_dft.hamiltonian.reference import Reference
from deepchem_dft.hamiltonian.sample import HamiltonianSample
from deepchem_dft.lattice.exact import exact
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.lattice.systems import h2
from deepchem_dft.models import DEQModel, HamiltonianModel, KSRModel, XCModel

H2 = {"moldesc": "H 0 0 0; H 0 0 1.4", "basis": "6-31g"}
H = {"moldesc": "H 0 0 0", "basis": "6-31g", "spin": 1}

DATA = """
format: deepchem_dft/1
defaults: {basis: sto-3g, unit: bohr}
systems:
  h2: {geometry: "H 0 0 0; H 0 0 1.4"}
entries:
- {name: H2, type: ae, value: 109.5 kcal/mol, molecule: h2, atoms: auto, split: train}
- name: He
  type: ie
  value: 24.59 eV
  neutral: {geometry: He 0 0 0}
  cation: {geometry: He 0 0 0, charge: 1, spin: 1}
  split: test
"""
CONFIG = {
    "name": "old",
    "data": {
        "grid_level": 0,
        "train": [{"file": "data.yaml", "split": "train"}],
        "test": [{"file": "data.yaml", "split": "test"}],
    },
    "functional": {"xc": "pbe", "network": {"family": "gga", "hidden": [4], "max_output": 0.3}},
    "training": {"stages": [{"mode": "frozen", "epochs": 4, "learning_rate": 0.05}, {"epochs": 1}]},
    "baselines": {"pbe": "pbe"},
    "evaluation": {"processes": 1},
    "output": {"plots": False, "h2_curve": False},
}


def dataset(name: str) -> dc.data.Dataset:
    """Return what a model is trained on and predicts."""
    if name == "xc":
        entries = [
            DFTEntry.create("ae", "0.1742", [H2, {**H, "number": 2}]),
            DFTEntry.create("ie", "0.5", [H]),
        ]
        return dc.data.NumpyDataset(_objects(entries), [[0.1742], [0.5]])
    if name == "ksr":
        states = [exact(h2(r), Grid(121, 0.2)) for r in (1.2, 3.6)]
        return dc.data.NumpyDataset(_objects(states), [[state.energy] for state in states])
    if name == "hamiltonian":
        samples = []
        for r in (1.3, 1.4):
            bare = HamiltonianSample([1, 1], [[0, 0, 0], [0, 0, r]], "sto-3g", xc="pbe")
            solved = Reference(bare, grid_level=0).solve().hamiltonian
            samples.append(HamiltonianSample(bare.numbers, bare.positions, "sto-3g", solved))
        return dc.data.NumpyDataset(_objects(samples))
    x = np.sin(np.arange(60.0)).reshape(10, 6)
    return dc.data.NumpyDataset(x, np.stack([x[:, 0] * x[:, 1], np.cos(x[:, 2])], 1))


def model(name: str, folder: str) -> Any:
    """Return a model as it was built; it is for its checkpoint to say what it learnt."""
    if name == "xc":
        return XCModel("lda,pw", grid_level=0, seed=3, hidden_size=4, learning_rate=0.01, model_dir=folder)
    if name == "ksr":
        options = {"iterations": 4, "test_iterations": 12, "functional_options": {"hidden": [4, 4]}}
        return KSRModel(grid=Grid(121, 0.2), seed=1, model_dir=folder, **options)
    if name == "hamiltonian":
        sizes = {"width": 2, "hidden": 4, "layers": 1, "n_radial": 2, "warmup": 2}
        return HamiltonianModel(["H"], "sto-3g", grid_level=0, seed=2, model_dir=folder, **sizes)
    return DEQModel(
        2, cell="fingerprint", n_features=6, width=4, hidden=4, learning_rate=0.01, seed=5, model_dir=folder
    )


def predictions(name: str, made: Any) -> list[float]:
    """Return what a model predicts, in a row."""
    data = dataset(name)
    if name == "hamiltonian":
        return np.concatenate([p.hamiltonian for p in made.predict_properties(data)]).ravel().tolist()
    return np.ravel(made.predict(data)).tolist()


def _objects(items: list[Any]) -> np.ndarray:
    row = np.empty(len(items), dtype=object)
    row[:] = items
    return row


def main(folder: Path) -> None:
    from deepchem_dft.runs import load_config, load_model, run

    told = {}
    for name in ("xc", "ksr", "hamiltonian", "deq"):
        place = folder / name
        made = model(name, str(place))
        made.fit(dataset(name), nb_epoch=3, checkpoint_interval=0)
        made.save_checkpoint(1)
        told[name] = predictions(name, made)
    (folder / "data.yaml").write_text(DATA)
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    run(load_config(folder / "config.yaml"), folder / "run")
    told["run"] = predictions("xc", load_model(folder / "run"))
    for left in ("checkpoints", "states", "plots", "log.txt"):
        path = folder / "run" / left
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    (folder / "predictions.json").write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
