"""Runs with ``model: ksr``: configuration in, tables and figures out, resume, mistakes."""

import math
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from deepchem_dft.cli import app
from deepchem_dft.errors import DeepChemDFTError, InputError
from deepchem_dft.runs import load_config, load_functional, load_model, run
from deepchem_dft.runs.ksr.schema import CurveRef, LatticeRunConfig
from deepchem_dft.runs.reference import keys, keys_text

from ..conftest import assert_goes_on_after_a_kill, assert_is_whole, rows_of, write_config

CONFIG = {
    "model": "ksr",
    "name": "tiny",
    "data": {
        "grid": {"points": 121, "spacing": 0.2},
        "train": [{"family": "h2", "distances": [1.2, 3.6]}],
        "valid": [{"family": "h2", "distances": [2.4]}],
        "test": [
            {"family": "h2", "distances": [0.8, 1.6, 2.8]},
            {"family": "h2_plus", "distances": [1.2, 2.0], "label": "ion"},
        ],
    },
    "functional": {"hidden": [8, 8]},
    "trajectory": {"iterations": 6, "test_iterations": 20},
    "training": {"epochs": 8, "seeds": 2, "validate_every": 4},
    "output": {"checkpoint_every": 4},
}


def _write(folder: Path, **changes) -> Path:
    return write_config(folder, {**CONFIG, **changes})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run: (configuration file, result)."""
    folder = tmp_path_factory.mktemp("ksr")
    path = _write(folder)
    return path, run(load_config(path), folder / "run")


def test_a_run_leaves_tables_figures_and_the_model(finished):
    _, result = finished
    folder = result.directory.path
    assert_is_whole(result, "learning_curve", "curve_h2", "curve_ion", "trajectory_h2", "trajectory_ion")
    history = rows_of(folder / "history.csv")
    assert [(row["seed"], row["epoch"]) for row in history] == [
        (str(s), str(e)) for s in (0, 1) for e in range(1, 9)
    ]
    assert "set, functional" in (folder / "results.md").read_text()
    assert "trained on" not in result.markdown


def test_tables_hold_what_the_model_predicts(finished):
    _, result = finished
    rows = rows_of(result.directory.path / "entries.csv")
    model = load_model(result.directory.path)
    assert model.test_iterations == 20
    trained = [r for r in rows if (r["functional"], r["role"]) == ("trained", "test")]
    assert len(trained) == 5
    from deepchem_dft.lattice.exact import exact
    from deepchem_dft.lattice.systems import h2

    state = exact(h2(1.6), model.functional.grid)
    energy = model.trajectory([state]).energy.item()
    row = next(r for r in trained if r["entry"] == "H2 R=1.6")
    assert float(row["value"]) == pytest.approx(energy, abs=1e-9)
    assert float(row["reference"]) == pytest.approx(state.energy, abs=1e-9)
    ions = [r for r in trained if r["set"] == "ion"]
    assert max(abs(float(r["error_kcal_per_mol"])) for r in ions) < 1e-6  # one electron: exact
    baseline = [r for r in rows if r["functional"] == "uniform-gas LDA"]
    assert {r["role"] for r in baseline} == {"test"}


def test_the_validation_decides(finished):
    _, result = finished
    history = rows_of(result.directory.path / "history.csv")
    scores = [float(r["valid_mae_kcal"]) for r in history if r["valid_mae_kcal"]]
    assert len(scores) == 4
    (valid,) = (s for s in result.summaries if s.role == "valid")
    assert valid.mae == pytest.approx(min(scores), rel=1e-6)


def test_a_killed_run_goes_on(finished, tmp_path):
    path, straight = finished
    config = load_config(path)
    assert_goes_on_after_a_kill(config, straight, tmp_path / "run", 13)
    finished_again = run(config, tmp_path / "run", resume=True)
    assert [r.value for r in finished_again.records] == [r.value for r in straight.records]


def test_another_configuration_is_not_resumed(finished):
    path, result = finished
    with pytest.raises(InputError, match=r"they differ in training\.epochs"):
        run(load_config(path, ["training.epochs=9"]), result.directory.path, resume=True)
    # What is tested may change.
    more = load_config(path, ["data.test.0.distances=[0.8]", "output.plots=false"])
    again = run(load_config(path, ["data.test.0.label=curve"]), result.directory.path, resume=True)
    assert {r.set for r in again.records if r.role == "test"} == {"curve", "ion"}
    assert isinstance(more, LatticeRunConfig)


def test_the_command_line_evaluates_other_molecules(finished, tmp_path):
    _, result = finished
    out = tmp_path / "errors.csv"
    done = CliRunner().invoke(
        app, ["evaluate", str(result.directory.path), "--dataset", "h2_plus:test", "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    assert "52 of 52" in done.output
    assert len(rows_of(out)) == 52
    done = CliRunner().invoke(app, ["predict", str(result.directory.path), "some.yaml", "--out", str(out)])
    assert "one-dimensional" in str(done.exception)
    with pytest.raises(InputError, match="one-dimensional"):
        load_functional(result.directory.path)


def test_what_is_not_self_consistent_has_no_value(tmp_path):
    changes = {
        "trajectory": {"iterations": 2},
        "training": {"epochs": 1},
        "evaluation": {"tol": 1e-6, "baseline": False},
        "output": {"plots": False},
    }
    data = {**CONFIG["data"], "valid": []}
    result = run(load_config(_write(tmp_path, data=data, **changes)), tmp_path / "run")
    curve = [r for r in result.records if r.set == "h2" and r.role == "test"]
    assert all(math.isnan(r.value) and "electrons moved" in r.unconverged[0] for r in curve)
    assert np.isnan(result.summaries[0].mae)


def test_a_run_can_be_selected_by_its_loss_alone(tmp_path):
    """Seeds without a validation set; the history does not say that there was one."""
    settings = ["training.select=loss", "training.epochs=4", "output.plots=false"]
    result = run(load_config(_write(tmp_path), settings), tmp_path / "run")
    history = rows_of(result.directory.path / "history.csv")
    assert {row["seed"] for row in history} == {"0", "1"} and {row["valid_mae_kcal"] for row in history} == {
        ""
    }
    best = [row for row in history if row["best"] == "1"][-1]
    assert float(best["loss"]) == min(float(row["loss"]) for row in history if row["epoch"] == "4")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=srk"], "field 'model': there is no model 'srk'. Remedy: use ksr"),
        (["trainig.epochs=3"], "field 'trainig': unknown key. Remedy: use 'training'"),
        (["training.epoch=3"], "field 'training.epoch': unknown key. Remedy: use 'epochs'"),
        (["data.train.0.family=h5"], "unknown family 'h5'"),
        (["data.train.0.distances=[]"], "at least one distance"),
        (["data.test.1={family: h3_plus}"], "h3_plus has no set 'test'"),
        (["trajectory.decay=1.5"], "field 'trajectory.decay'"),
        (["functional.windows=2"], "odd numbers"),
        (["training.seeds=2", "data.valid=[]"], "give valid_dataset"),
    ],
)
def test_mistakes_are_explained(tmp_path, overrides, message):
    with pytest.raises(DeepChemDFTError) as caught:
        run(load_config(_write(tmp_path), overrides), tmp_path / "run")
    assert message in str(caught.value)


def test_keys_are_listed_and_text_forms_understood():
    assert CurveRef.model_validate("h2:valid").distances == "valid"
    assert CurveRef.model_validate("h2").distances == "test"
    rows = {row[0]: row for row in keys(LatticeRunConfig)}
    assert rows["trajectory.iterations"][2] == "15"
    assert "separability_weight" in keys_text()
    assert all(row[3] for row in keys(LatticeRunConfig))


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[3] / "examples" / "ksr").glob("*.yaml")), ids=lambda p: p.stem
)
def test_examples_are_valid(path):
    assert isinstance(load_config(path), LatticeRunConfig)
