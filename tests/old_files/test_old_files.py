"""What earlier versions wrote is read, and predicts what it predicted then (see ``make.py``)."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from deepchem_dft.models import DEQModel, HamiltonianModel, KSRModel, XCModel
from deepchem_dft.runs import load_config, load_model, run
from deepchem_dft.runs.config import config_hash

from .make import dataset, model, predictions

HERE = Path(__file__).parent
THEN = json.loads((HERE / "predictions.json").read_text())
#: Orbitals are solved to a tolerance, and networks of H and DEQ are in float32.
CLOSE = {"xc": 1e-9, "ksr": 1e-10, "hamiltonian": 1e-6, "deq": 1e-5, "run": 1e-9}
FAMILIES = {"xc": XCModel, "ksr": KSRModel, "hamiltonian": HamiltonianModel, "deq": DEQModel}


def copied(name: str, folder: Path) -> str:
    """Return a copy of a stored folder, which loading must not change."""
    return str(shutil.copytree(HERE / name, folder / name))


def assert_as_then(name: str, made) -> None:
    np.testing.assert_allclose(
        predictions(name if name != "run" else "xc", made), THEN[name], atol=CLOSE[name]
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_a_checkpoint_restores_a_model_that_is_built_as_then(name, tmp_path):
    made = model(name, copied(name, tmp_path))
    made.restore()
    assert_as_then(name, made)
    assert len(made.history) == 3


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "deq"])  # its had no arguments
def test_a_checkpoint_rebuilds_its_model(name, tmp_path):
    assert_as_then(name, FAMILIES[name].load(copied(name, tmp_path)))


@pytest.mark.parametrize("name", FAMILIES)
def test_training_goes_on_from_a_checkpoint(name, tmp_path):
    made = model(name, copied(name, tmp_path))
    made.fit(dataset(name), nb_epoch=4, restore=True, max_checkpoints_to_keep=0)
    assert [report.epoch for report in made.history] == [1, 2, 3, 4]
    assert made.history[3].loss < made.history[0].loss


def test_a_finished_run_is_loaded(tmp_path):
    assert_as_then("run", load_model(copied("run", tmp_path)))


def test_a_finished_run_is_the_same_configuration_and_is_not_trained_again(tmp_path):
    folder = Path(copied("run", tmp_path))
    config = load_config(HERE / "config.yaml")
    status = json.loads((folder / "status.json").read_text())
    assert status["config_hash"] == config_hash(config)
    before = (folder / "history.csv").read_text()
    run(config, folder, resume=True)
    assert (folder / "history.csv").read_text() == before
    table = (folder / "results.csv").read_text()
    assert table == (HERE / "run" / "results.csv").read_text()
