"""KSR and equilibrium models stand in the zoo as functionals do."""

import json

import deepchem as dc
import numpy as np
import pytest

from deepchem_dft import DEQModel, KSRModel, zoo
from deepchem_dft.errors import CheckpointError, FunctionalError, InputError
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.lattice.systems import h2
from deepchem_dft.zoo.cards import form_digest


@pytest.fixture
def ksr(tmp_path):
    model = KSRModel(
        "local", grid=Grid(257, 0.16), iterations=4, skip=2, seed=3, functional_options={"hidden": [4, 4, 4]}
    )
    zoo.save(model, tmp_path / "one.safetensors", summary="untrained")
    return tmp_path, model


def test_ksr_predicts_the_same(ksr):
    folder, model = ksr
    loaded = zoo.load("one", folder)
    dataset = dc.data.NumpyDataset(np.array([h2(1.28), h2(3.84)], dtype=object))
    model.tol = loaded.tol = 10.0  # a handful of iterations, and no warnings about it
    assert np.array_equal(loaded.predict(dataset), model.predict(dataset))
    assert zoo.card("one", folder).kind == "ksr" and loaded.functional.grid == Grid(257, 0.16)
    with pytest.raises(FunctionalError, match="not a functional for molecules"):
        zoo.functional("one", folder)


def test_deq_predicts_the_same(tmp_path):
    graphs = dc.feat.MolGraphConvFeaturizer(use_edges=True).featurize(["CCO", "CC", "CCN", "CCC"])
    dataset = dc.data.NumpyDataset(graphs, [[1], [0], [1], [0]])
    model = DEQModel(
        1, "classification", width=8, hidden=8, learning_rate=0.01, seed=5, pooling=["mean", "pairs"]
    )
    model.fit(dataset, nb_epoch=2)
    card = zoo.save(model, tmp_path / "polar.safetensors")
    loaded = zoo.load("polar", tmp_path)
    assert np.array_equal(loaded.predict(dataset), model.predict(dataset))
    assert card.kind == "deq" and card.form["width"] == 8
    loaded.fit(dataset, nb_epoch=1)  # and learns on


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_dir": "elsewhere"}, "no argument 'model_dir' that a file may set"),
        ({"device": "cuda"}, "no argument 'device'"),
        ({"colour": 1}, "no argument 'colour'"),
        ({"grid": [10**9, 0.1, 5]}, "is no grid"),
        ({"functional": "wavefunction"}, "unknown functional"),
        ({"iterations": "many"}, "cannot be built"),
    ],
)
def test_a_file_cannot_say_where_to_write(ksr, change, message):
    folder, _ = ksr
    card = json.loads((folder / "one.json").read_text())
    card["form"].update(change)
    card["weights"]["form_sha256"] = form_digest("ksr", card["form"])
    (folder / "one.json").write_text(json.dumps(card))
    with pytest.raises(InputError, match=message):
        zoo.load("one", folder)
    assert sorted(p.name for p in folder.iterdir()) == ["one.json", "one.safetensors"]


def test_code_of_the_users_is_refused(tmp_path):
    import torch

    model = KSRModel(torch.nn.Conv1d(1, 1, 3, padding=1, dtype=torch.float64), iterations=2, skip=0)
    with pytest.raises(FunctionalError, match="the user's own code"):
        zoo.save(model, tmp_path / "x.safetensors")


def test_a_kind_this_version_lacks(ksr, monkeypatch):
    folder, _ = ksr
    monkeypatch.setitem(zoo.models._CLASSES, "ksr", "LaterModel")
    with pytest.raises(CheckpointError, match="has no LaterModel.*update deepchem_dft"):
        zoo.load("one", folder)


def test_hamiltonian_model_fits_where_there_is_one(tmp_path):
    from deepchem_dft import models

    if not hasattr(models, "HamiltonianModel"):
        pytest.skip("this version has no HamiltonianModel")
    model = models.HamiltonianModel(["H"], "sto-3g", width=4, hidden=8)
    zoo.save(model, tmp_path / "h.safetensors")
    loaded = zoo.load("h", tmp_path)
    assert loaded.config == model.config
