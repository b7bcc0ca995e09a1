"""A run on properties from its configuration: trained, evaluated, resumed, exported, reported."""

import numpy as np
import pytest

from deepchem_dft import zoo
from deepchem_dft.errors import InputError
from deepchem_dft.models import DEQModel
from deepchem_dft.molnet import load_nci
from deepchem_dft.runs import load_config, load_functional, load_model, run
from deepchem_dft.runs.card import export
from deepchem_dft.runs.report import write_report

from ..conftest import assert_goes_on_after_a_kill, rows_of, write_config

CONFIG = {
    "model": "deq",
    "name": "tiny",
    "data": {"tasks": ["gap"], "limit": 40},
    "network": {"width": 8, "hidden": 8},
    "training": {"epochs": 4, "batch_size": 16, "learning_rate": 0.01},
    "evaluation": {"baselines": ["mean"]},
}


def written(folder, **changes):
    return load_config(write_config(folder, {**CONFIG, **changes}))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deq")
    return run(written(folder), folder / "run")


def test_errors_are_those_of_the_model_and_of_the_training_mean(finished):
    _, (train, _, test), _ = load_nci(task="gap")
    train, test = train.select(range(40)), test.select(range(40))
    rows = {row["method"]: row for row in rows_of(finished.directory / "results.csv")}
    errors = np.abs(load_model(finished.directory.path).predict(test).ravel() - test.y.ravel())
    assert float(rows["trained"]["MAE"]) == pytest.approx(errors.mean(), abs=1e-5)
    mean = np.abs(train.y.mean() - test.y).mean()
    assert float(rows["training mean"]["MAE"]) == pytest.approx(mean, abs=1e-5)
    assert rows["trained"]["unit"] == "eV"
    samples = rows_of(finished.directory / "molecules.csv")
    assert [s["name"] for s in samples[:40]] == [str(i) for i in test.ids]
    assert "| trained" in finished.markdown.replace("trained ", "| trained")
    assert (finished.directory.plots / "parity.png").stat().st_size > 5000


def test_the_same_as_from_python(finished, tmp_path):
    _, (train, valid, test), _ = load_nci(task="gap")
    parts = [part.select(range(40)) for part in (train, valid, test)]
    model = DEQModel(
        1,
        n_features=30,
        n_edge_features=11,
        width=8,
        hidden=8,
        batch_size=16,
        learning_rate=0.01,
        model_dir=str(tmp_path),
    )
    model.fit(parts[0], 4, valid_dataset=parts[1])
    found = load_model(finished.directory.path).predict(parts[2])
    np.testing.assert_allclose(model.predict(parts[2]), found, atol=1e-5)  # other batches


def test_a_killed_run_goes_on(finished, tmp_path):
    assert_goes_on_after_a_kill(written(tmp_path), finished, tmp_path / "run", 2)


def test_classes(tmp_path):
    config = written(
        tmp_path,
        data={"tasks": ["polar"], "limit": 60, "featurizer": "ecfp"},
        network={"cell": "fingerprint", "width": 8},
        evaluation={"baselines": ["mean", "forest-ecfp"]},
    )
    done = run(config, tmp_path / "run")
    rows = {row["method"]: row for row in rows_of(done.directory / "results.csv")}
    assert set(rows) == {"trained", "training mean", "random forest, ECFP4"}
    assert 0 <= float(rows["trained"]["accuracy"]) <= 1
    assert float(rows["training mean"]["ROC-AUC"]) == 0.5  # it cannot tell them apart
    card = export(done.directory.path, tmp_path / "mine.safetensors")
    assert card.errors[0]["unit"] == "share of wrong classes"


def test_export_and_report(finished, tmp_path):
    card = export(finished.directory.path, tmp_path / "mine.safetensors")
    assert card.kind == "deq" and card.errors[0]["type"] == "gap"
    _, (_, _, test), _ = load_nci(task="gap")
    test = test.select(range(5))
    again, own = zoo.load(tmp_path / "mine.safetensors"), load_model(finished.directory.path)
    assert np.abs(again.predict(test) - own.predict(test)).max() < 1e-6
    written = write_report([finished.directory.path], tmp_path / "report.html")
    assert not written.notes
    text = (tmp_path / "report.html").read_text()
    assert "deep-equilibrium property model" in text and "training mean" in text


def test_on_a_file_of_labels(finished, tmp_path):
    from deepchem_dft.runs.base import open_run

    file = tmp_path / "mine.csv"
    file.write_text("smiles,dipole,gap,energy\nCCO,1.7,9.0,-10\nCCCN,1.2,8.0,-11\n")
    table, bad = open_run(finished.directory.path).evaluate_on([str(file)], tmp_path / "out.csv")
    assert "| test" in table and not bad
    assert [row["name"] for row in rows_of(tmp_path / "out.csv")] == ["CCO", "CCCN"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"tasks": ["dipol"]}}, "dipol"),
        ({"data": {"source": "labelled"}}, "path"),
        ({"network": {"cell": "fingerprint"}}, "use graph"),
        ({"data": {"tasks": ["gap", "polar"]}}, "do not go together"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(changes, message, tmp_path):
    with pytest.raises(InputError, match=message):
        run(written(tmp_path, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_it_is_no_functional(finished):
    with pytest.raises(InputError, match="a model of properties"):
        load_functional(finished.directory.path)
