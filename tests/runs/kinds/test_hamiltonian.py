"""Runs with ``model: hamiltonian``: configuration in, tables and figures out, resume, mistakes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from deepchem_dft.cli import app
from deepchem_dft.errors import DeepChemDFTError, InputError
from deepchem_dft.hamiltonian.files.store import write_samples
from deepchem_dft.hamiltonian.reference import Reference
from deepchem_dft.hamiltonian.sample import HamiltonianSample
from deepchem_dft.runs import load_config, load_functional, load_model, run
from deepchem_dft.runs.hamiltonian.schema import HamiltonianRecipe, HamiltonianRunConfig, HamiltonianSetRef
from deepchem_dft.runs.reference import keys, keys_text

from ..conftest import assert_goes_on_after_a_kill, assert_is_whole, rows_of, write_config

CONFIG = {
    "model": "hamiltonian",
    "name": "tiny",
    "data": {
        "recipes": [
            {
                "file": "water.h5",
                "input": "water.xyz",
                "basis": "sto-3g",
                "sampling": "modes",
                "temperatures": [300.0, 500.0],
                "samples": 5,
            }
        ],
        "train": [{"file": "water.h5", "match": "*/300K/*", "limit": 4}],
        "valid": [{"file": "water.h5", "match": "*/300K/*", "skip": 4}],
        "test": [{"file": "water.h5", "match": "*/500K/*", "label": "500 K"}],
    },
    "network": {"form": "equilibrium-delta", "width": 8, "hidden": 16, "layers": 1, "feedback_width": 4},
    "training": {"epochs": 6, "batch_size": 2, "warmup": 4, "validate_every": 2},
    "evaluation": {"energies": 2, "cycles": 2, "sets": ["valid", "test"]},
    "output": {"checkpoint_every": 2},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with ten waters in a file."""
    folder, rng, samples = tmp_path_factory.mktemp("data"), np.random.default_rng(0), []
    start = np.array([[0, 0, 0.1], [0.1, 1.45, 1.1], [0, -1.4, 1.2]])
    for temperature in (300, 500):
        for number in range(5):
            bare = HamiltonianSample(
                [8, 1, 1],
                start + temperature / 4000 * rng.normal(size=(3, 3)),
                "sto-3g",
                xc="pbe",
                name=f"water/1/{temperature}K/{number}",
            )
            reference = Reference(bare, grid_level=0)
            solution = reference.solve()
            samples.append(
                replace(reference.complete(), hamiltonian=solution.hamiltonian, energy=solution.energy)
            )
    write_samples(
        folder / "water.h5",
        samples,
        {"samples": 5, "temperatures": [300.0, 500.0], "sampling": "modes", "grid_level": 3},
    )
    return folder


def _write(folder: Path, **changes) -> Path:
    return write_config(folder, {**CONFIG, **changes})


@pytest.fixture(scope="module")
def finished(data):
    """A finished run: (configuration file, result)."""
    path = _write(data)
    return path, run(load_config(path), data / "run")


def test_a_run_leaves_tables_figures_and_the_model(finished):
    _, result = finished
    assert_is_whole(
        result, "learning_curve", "iterations", "orbitals_test_500_K", "orbitals_valid_water___300K__"
    )
    history = rows_of(result.directory.path / "history.csv")
    assert [row["epoch"] for row in history] == ["1", "2", "3", "4", "5", "6"]
    assert [bool(row["valid_mae_uha"]) for row in history] == [False, True] * 3
    assert float(history[-1]["iterations"]) > 0
    assert "microhartree" in result.markdown


def test_tables_hold_what_the_model_predicts(finished):
    _, result = finished
    folder = result.directory.path
    rows = {row["set"]: row for row in rows_of(folder / "results.csv")}
    assert len(rows) == 6 and "test: 500 K, polynomial of degree 0" in rows  # of four geometries
    model = load_model(folder)
    from deepchem_dft.molnet import load_hamiltonian

    _, (whole,), _ = load_hamiltonian(folder.parent / "water.h5", splitter=None)
    test = whole.select(range(5, 10))
    expected = model.evaluate(test)
    row = rows["test: 500 K, equilibrium-delta"]
    assert row["H"] == f"{expected['hamiltonian_mae']:.2f}"
    assert row["orbitals"] == f"{expected['orbital_mae']:.2f}"
    assert (row["N"], row["unconverged"]) == ("5", "0")
    guess = rows["test: 500 K, minao guess"]
    errors = [np.abs(s.guess - s.hamiltonian).mean() for s in test.X]
    assert float(guess["H"]) == pytest.approx(1e6 * np.mean(errors), abs=0.01)
    molecules = [
        r
        for r in rows_of(folder / "molecules.csv")
        if (r["role"], r["method"]) == ("test", "equilibrium-delta")
    ]
    assert [r["name"] for r in molecules] == [f"water/1/500K/{i}" for i in range(5)]
    assert [bool(r["energy_error"]) for r in molecules] == [True, True, False, False, False]
    prediction = model.predict_properties(test)[0]
    after, before = (float(x) for x in row["cycles"].split(" of "))
    second = model.predict_properties(test)[1]
    assert [before, after] == pytest.approx(np.mean([prediction.cycles(), second.cycles()], axis=0))


def test_a_killed_run_goes_on(finished, data, tmp_path):
    path, straight = finished
    config = load_config(path, ["output.plots=false"])
    assert_goes_on_after_a_kill(config, straight, tmp_path / "run", 5)
    # What is learnt may not change, what is tested may.
    with pytest.raises(InputError, match=r"they differ in training\.epochs"):
        run(load_config(path, ["training.epochs=9"]), tmp_path / "run", resume=True)
    other = load_config(path, ["data.test=[]", "evaluation.sets=[valid]", "output.plots=false"])
    assert "test:" not in run(other, tmp_path / "run", resume=True).markdown


def test_a_missing_file_comes_with_the_command_that_makes_it(data, tmp_path):
    path = _write(tmp_path)
    (tmp_path / "water.xyz").write_text("1\n\nHe 0 0 0\n")
    with pytest.raises(InputError, match="does not exist") as caught:
        run(load_config(path), tmp_path / "run")
    assert caught.value.remedy is not None
    command = caught.value.remedy.removeprefix("make it: ")
    assert command.startswith(f"deepchem-dft data hamiltonian {tmp_path / 'water.xyz'} ")
    for option in (
        "--basis sto-3g",
        "--sampling modes",
        "--samples 5",
        "--temperature 500",
        "--temperature 300",
        "--out ",
    ):
        assert option in command
    assert not (tmp_path / "run").exists()


def test_the_command_of_a_recipe_can_be_run(tmp_path):
    (tmp_path / "h2.xyz").write_text("2\n\nH 0 0 0\nH 0 0 0.75\n")
    recipe = HamiltonianRecipe(
        file=str(tmp_path / "h2.h5"), input=str(tmp_path / "h2.xyz"), basis="sto-3g", grid_level=0
    )
    done = CliRunner().invoke(app, recipe.command().split()[1:])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "h2.h5").is_file()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["network.form=indirect"], "field 'network.form'"),
        (["trainig.epochs=3"], "field 'trainig': unknown key. Remedy: use 'training'"),
        (["data.test.0.match=ethanol"], "no molecule is left (of 10; the first is called water/1"),
        (["data.test.0.match='*/300K/*'"], "it is in a set for train and in one for test"),
        (["data.recipes.0.samples=9"], "the file was made with samples = 5, the recipe says 9"),
        (["data.train.0.format=qh9"], "water.h5"),
        (["training.mae_weight=0", "training.mse_weight=0"], "weights of the loss"),
    ],
)
def test_mistakes_are_explained(data, overrides, message, tmp_path):
    with pytest.raises(DeepChemDFTError) as caught:
        run(load_config(_write(data), overrides), tmp_path / "run")
    assert message in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_commands_for_functionals_refuse_the_run(finished, tmp_path):
    _, result = finished
    with pytest.raises(InputError, match="no functional"):
        load_functional(result.directory.path)
    done = CliRunner().invoke(
        app, ["predict", str(result.directory.path), "some.yaml", "--out", str(tmp_path / "x.csv")]
    )
    assert "no functional" in str(done.exception)


def test_the_command_line_evaluates_other_molecules(finished, data, tmp_path):
    _, result = finished
    out = tmp_path / "errors.csv"
    done = CliRunner().invoke(
        app,
        [
            "evaluate",
            str(result.directory.path),
            "--dataset",
            f"{data / 'water.h5'}:*/500K/*",
            "--out",
            str(out),
        ],
    )
    assert done.exit_code == 0, done.output
    assert "equilibrium-delta" in done.output
    assert len(rows_of(out)) == 10  # guess and network


def test_a_self_consistent_field_starts_from_the_model(finished, tmp_path):
    """The same energy as without; what is printed of the start is what Python says."""
    _, result = finished
    water = "O 0 0.1 0.1; H 0.1 1.45 1.1; H 0 -1.4 1.2"
    folder = result.directory.path

    def scf(*options):
        done = CliRunner().invoke(app, ["scf", water, "--grid-level", "0", *options])
        assert done.exit_code == 0, done.output
        return dict(line.split(":", 1) for line in done.output.splitlines() if ":" in line)

    plain, started = scf("--basis", "sto-3g"), scf("--guess", str(folder))
    energies = [float(found["energy"].split()[0]) for found in (plain, started)]
    assert energies[0] == pytest.approx(energies[1], abs=1e-8)
    assert "saved" not in plain
    assert "sto-3g" in started["basis"]  # the model's
    assert {"start", "saved", "PySCF"} <= set(started)
    model = load_model(folder)
    model.preparation.grid_level = 0
    sample = HamiltonianSample(
        [8, 1, 1], [[0, 0.1, 0.1], [0.1, 1.45, 1.1], [0, -1.4, 1.2]], "sto-3g", xc="pbe"
    )
    prediction = model.predict_properties([sample])[0]
    before, after = prediction.cycles()
    assert f"{after} cycles with this dm0, {before} without" in started["PySCF"]
    above = 1e6 * (prediction.energy - energies[0])
    assert float(started["start"].split(" is ")[1].split()[0]) == pytest.approx(above, abs=0.02)
    quick = scf("--guess", str(folder / "model"), "--no-compare", "--xc", "b3lyp")
    assert "saved" not in quick
    for options, message in ((["--spin", "2"], "closed shells"), (["--basis", "6-31g"], "6-31g")):
        done = CliRunner().invoke(app, ["scf", water, "--guess", str(folder), *options])
        assert message in str(done.exception)


def test_keys_are_listed_and_text_forms_understood():
    ref = HamiltonianSetRef.model_validate("water.h5:*/300K/*")
    assert (ref.file, ref.match) == ("water.h5", "*/300K/*")
    assert HamiltonianSetRef.model_validate("water.h5").match is None
    rows = {row[0]: row for row in keys(HamiltonianRunConfig)}
    assert rows["network.form"][2] == "delta"
    assert "commutator_weight" in keys_text()
    assert all(row[3] for row in keys(HamiltonianRunConfig))


@pytest.mark.parametrize(
    "path",
    sorted((Path(__file__).parents[3] / "examples" / "hamiltonian").glob("*.yaml")),
    ids=lambda p: p.stem,
)
def test_examples_are_valid(path):
    config = load_config(path)
    assert isinstance(config, HamiltonianRunConfig)
    known = {recipe.file: recipe for recipe in config.data.recipes}
    for ref in (*config.data.train, *config.data.valid, *config.data.test):
        assert ref.format != "hdf5" or Path(known[ref.file].input).is_file()
