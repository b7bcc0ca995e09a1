"""Weights & Biases as DeepChem has it: its own ``WandbLogger`` hears of every family's training."""

import sys
import types

import pytest

from .test_fit import _MAKERS


@pytest.fixture
def logged(monkeypatch):
    """What the program would have been told: configurations and (step, values); no network is touched."""
    told = types.SimpleNamespace(config={}, values=[], started=[])
    run = types.SimpleNamespace(
        config=types.SimpleNamespace(update=lambda data, **_: told.config.update(data)),
        log=lambda values, step: told.values.append((step, dict(values))),
        finish=lambda: None,
    )
    stub = types.ModuleType("wandb")
    stub.run = None
    stub.init = lambda **options: told.started.append(options) or run
    monkeypatch.setitem(sys.modules, "wandb", stub)
    monkeypatch.setattr("deepchem.models.wandblogger.is_wandb_available", lambda: True)
    return told


@pytest.mark.parametrize("name", sorted(_MAKERS))
def test_deepchems_logger_hears_of_every_epoch(name, logged):
    from deepchem.models.wandblogger import WandbLogger

    family = _MAKERS[name]()
    model = family.make(wandb_logger=WandbLogger(project="functionals", name=name))
    assert [options["project"] for options in logged.started] == ["functionals"]
    model.fit(family.train, nb_epoch=2, valid_dataset=family.valid, checkpoint_interval=0)
    assert len(logged.values) == 2
    steps = [step for step, _ in logged.values]
    assert steps == sorted(steps) and steps[-1] == model.get_global_step()
    for (_, values), report in zip(logged.values, model.history):
        assert values["train/loss"] == pytest.approx(report.loss)
        assert all(key.startswith("train/") for key in values)
    assert "loss" in logged.config or logged.config
