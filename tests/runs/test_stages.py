"""Stages from Python: what a run does from its configuration, to the last digit."""

import math

import pytest
import torch

from deepchem_dft.data import DFTYamlLoader
from deepchem_dft.errors import InputError
from deepchem_dft.models import XCModel
from deepchem_dft.models.xc import Stage

from .conftest import DATA

STAGES = [Stage(6, "frozen", learning_rate=0.01), Stage(3, "scf", learning_rate=0.001)]


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    file = tmp_path_factory.mktemp("data") / "data.yaml"
    file.write_text(DATA)
    dataset = DFTYamlLoader().create_dataset(str(file))
    roles = [next(s for s in ("train", "valid", "test") if s == entry.split) for entry in dataset.X]
    return {
        role: dataset.select([i for i, r in enumerate(roles) if r == role]) for role in ("train", "valid")
    }


def model(folder, network=None, **options) -> XCModel:
    """As the configuration of the finished run describes it."""
    network = network or {"family": "mgga", "hidden": [6], "max_output": 0.3}
    return XCModel(
        "pbe",
        network,
        family="mgga",
        train_a=False,
        train_b=False,
        grid_level=1,
        loss_unit="kcal/mol",
        huber_delta=5.0,
        seed=0,
        batch_size=1,
        model_dir=str(folder),
        **options,
    )


def test_the_same_digits_as_a_run(finished, parts, tmp_path):
    config, result = finished
    own = model(tmp_path, config.functional.network.model_dump(exclude={"spin_symmetric"}))
    own.fit(parts["train"], stages=STAGES, valid_dataset=parts["valid"], processes=1)
    rows = result.directory.read_history()
    assert [(r.epoch, r.stage) for r in own.history] == [(row["epoch"], row["stage"]) for row in rows]
    assert [r.loss for r in own.history] == [row["loss"] for row in rows]
    assert [r.score for r in own.history] == [row["valid_score"] for row in rows]
    from deepchem_dft.runs import load_functional

    trained = load_functional(result.directory.path).state_dict()
    for name, value in own.functional.state_dict().items():
        assert torch.equal(value, trained[name]), name


def test_a_killed_training_goes_on_within_its_stage(parts, tmp_path, monkeypatch):
    class Killed(Exception):
        pass

    from deepchem_dft.models.xc import staged_training

    monkeypatch.setattr(staged_training, "CHECKPOINT_SECONDS", 0.0)
    options = {"valid_dataset": parts["valid"], "processes": 1}
    whole = model(tmp_path / "whole")
    whole.fit(parts["train"], stages=STAGES, **options)
    for place, stop in (("frozen", 4), ("scf", 8)):

        def kill(report, stop=stop):
            if report.epoch == stop:
                raise Killed

        first = model(tmp_path / place)
        with pytest.raises(Killed):
            first.fit(parts["train"], stages=STAGES, epoch_callback=kill, **options)
        again = model(tmp_path / place)
        again.fit(parts["train"], stages=STAGES, restore=True, **options)
        losses = [[r.loss for r in m.history] for m in (again, whole)]
        assert losses[0][:6] == losses[1][:6]
        assert losses[0] == pytest.approx(losses[1], rel=1e-10)  # fields end within a tolerance
        for name, value in whole.functional.state_dict().items():
            torch.testing.assert_close(again.functional.state_dict()[name], value, rtol=1e-9, atol=1e-12)


def test_a_new_training_does_not_go_on_from_an_old_one(parts, tmp_path):
    one = model(tmp_path)
    one.fit(parts["train"], stages=STAGES[:1], processes=1)
    seen = []
    two = model(tmp_path)
    two.fit(parts["train"], stages=STAGES[:1], processes=1, epoch_callback=seen.append)
    assert len(seen) == 6 and [r.loss for r in one.history] == [r.loss for r in two.history]


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "frozn"},
        {"epochs": 0},
        {"schedule": "step"},
        {"optimizer": "sgd"},
        {"optimizer": "lbfgs"},
        {"mode": "frozen", "optimizer": "lbfgs", "batch_size": 2},
    ],
)
def test_stages_that_cannot_be(options):
    with pytest.raises(InputError):
        Stage(**{"epochs": 1, **options})


def test_learning_rates():
    stage = Stage(11, learning_rate=1.0, schedule="cosine", final_learning_rate=0.1)
    assert stage.rate(6) == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * 0.5)))
    assert stage.rate(11) == pytest.approx(0.1)
