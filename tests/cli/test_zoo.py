"""Trained functionals on the command line: listed, shown, run, exported."""

import csv
import json
import re
from pathlib import Path

import pytest
import torch

from deepchem_dft import zoo
from deepchem_dft.units import HARTREE_TO_KCAL

from ..runs.conftest import DATA, write_run
from ..zoo.conftest import hybrid

H2 = "H 0 0 0; H 0 0 1.4"
SMALL = ("--basis", "sto-3g", "--grid-level", "0")


@pytest.fixture
def zoo_folder(tmp_path, monkeypatch) -> Path:
    """A zoo of one functional and one ensemble."""
    from deepchem_dft.xc.ensemble import EnsembleXC

    folder = tmp_path / "zoo_folder"
    zoo.save(hybrid(1), folder / "small.safetensors", summary="a small hybrid", parent="pbe")
    zoo.save(EnsembleXC([hybrid(i) for i in (1, 2, 3)]), folder / "three.safetensors")
    monkeypatch.setenv("DEEPCHEM_DFT_ZOO", str(folder))
    return folder


def energy_in(text: str) -> float:
    return float(re.search(r"energy: +(\S+) Ha", text).group(1))


def solved(xc):
    from deepchem_dft import KohnSham, Molecule

    with torch.no_grad():
        return KohnSham(Molecule(H2, "sto-3g", grid_level=0), xc).run()


def test_list(command, zoo_folder):
    outcome = command("zoo", "list")
    assert outcome.status == 0 and outcome.err == ""
    assert "| small | functional | - | - | a small hybrid |" in outcome.out
    assert "| three | functional x 3 |" in outcome.out
    (zoo_folder / "small.json").write_text("{}")
    outcome = command("zoo", "list", "--folder", zoo_folder)
    assert outcome.status == 1 and "three" in outcome.out
    assert outcome.err.count("error: ") == 1 and "small.json" in outcome.err
    empty = command("zoo", "list", "--folder", zoo_folder.parent)
    assert (empty.status, empty.out) == (0, "the zoo is empty\n")


def test_show(command, zoo_folder):
    outcome = command("zoo", "show", "small")
    assert outcome.status == 0 and "a small hybrid" in outcome.out
    assert zoo.card("small").weights["sha256"] in outcome.out
    raw = command("zoo", "show", zoo_folder / "small.safetensors", "--json")
    assert json.loads(raw.out) == json.loads((zoo_folder / "small.json").read_text())
    outcome = command("zoo", "show", "smal")
    assert outcome.status == 1 and "did you mean 'small'" in outcome.err


def test_scf(command, zoo_folder):
    outcome = command("scf", H2, *SMALL, "--xc", "zoo:small")
    assert outcome.status == 0, outcome.err
    assert "functional: zoo:small" in outcome.out and "uncertainty" not in outcome.out
    assert energy_in(outcome.out) == pytest.approx(solved(hybrid(1)).energy.item(), abs=1e-8)
    by_file = command("scf", H2, *SMALL, "--xc", zoo_folder / "small.safetensors")
    assert energy_in(by_file.out) == energy_in(outcome.out)


def uncertainty_in(text: str) -> float:
    return float(re.search(r"uncertainty: +(\S+) kcal/mol", text).group(1))


def test_scf_of_an_ensemble_tells_how_far_it_disagrees(command, zoo_folder):
    outcome = command("scf", H2, *SMALL, "--xc", "zoo:three")
    spread = uncertainty_in(outcome.out)
    own = torch.tensor([solved(hybrid(i)).energy.item() for i in (1, 2, 3)])
    assert spread == pytest.approx(own.std().item() * HARTREE_TO_KCAL, rel=0.02)

    from deepchem_dft.xc.ensemble import EnsembleXC

    zoo.save(EnsembleXC([hybrid(i) for i in (1, 2, 3)], 1.5), zoo_folder / "wide.safetensors")
    wide = command("scf", H2, *SMALL, "--xc", "zoo:wide")
    assert uncertainty_in(wide.out) == pytest.approx(1.5 * spread, abs=2e-3)
    assert energy_in(wide.out) == energy_in(outcome.out) and "1.5 x standard" in wide.out
    assert "1.5 x standard deviation of the members" in command("zoo", "show", "wide").out


def test_uncertainties_of_entries_are_those_of_differences(command, zoo_folder, tmp_path):
    """An ionisation energy's: of the members' ionisation energies, each of its own two energies."""
    from deepchem_dft import KohnSham, Molecule

    (tmp_path / "data.yaml").write_text(DATA)
    ensemble, table = zoo.load("three"), tmp_path / "entries.csv"
    given = f"--xc zoo:three --xc pbe --dataset {tmp_path}/data.yaml --grid-level 0 --jobs 1 --entries"
    outcome = command("evaluate", given, "--out", table)
    assert outcome.status == 0, outcome.err
    with open(table, newline="") as stream:
        rows = {(r["functional"], r["entry"]): r["uncertainty_kcal_per_mol"] for r in csv.DictReader(stream)}
    with torch.no_grad():
        cation, neutral = (
            ensemble.energies(KohnSham(Molecule("He 0 0 0", "sto-3g", q, q, grid_level=0), ensemble).run())
            for q in (1, 0)
        )
    expected = (cation - neutral).std().item() * HARTREE_TO_KCAL
    assert float(rows["zoo:three", "tiny:He"]) == pytest.approx(expected, abs=1e-4)
    assert expected < 0.95 * (cation.std() ** 2 + neutral.std() ** 2) ** 0.5 * HARTREE_TO_KCAL
    assert rows["pbe", "tiny:He"] == "" and f"{expected:.2f} | kcal/mol" in outcome.out
    assert re.search(r"zoo:three, test: data \(ionis.*68 % interval covers \d+ % of 2", outcome.out)
    assert "pbe, test" not in outcome.out


def test_predict_with_a_name(command, zoo_folder, tmp_path):
    (tmp_path / "data.yaml").write_text(DATA)
    for name in ("zoo:three", zoo_folder / "small.safetensors"):
        outcome = command(
            "predict", name, tmp_path / "data.yaml", f"--out {tmp_path}/p.csv --jobs 1 --grid-level 0"
        )
        assert outcome.status == 0, outcome.err
        with open(tmp_path / "p.csv", newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert all(bool(r["uncertainty_kcal_per_mol"]) == (name == "zoo:three") for r in rows)
        assert ("uncertainty" in outcome.out) == (name == "zoo:three")
    outcome = command("predict", "zoo:thre", tmp_path / "data.yaml", "--out", tmp_path / "p.csv")
    assert outcome.status == 1 and "did you mean 'three'" in outcome.err


def test_curve_of_an_ensemble_has_a_band(command, zoo_folder, tmp_path):
    table, figure = tmp_path / "h2.csv", tmp_path / "h2.png"
    given = f"--xc zoo:three --xc pbe --exact h2 --start 1.4 --stop 4 --points 2 --jobs 1 --out {table}"
    outcome = command("curve", "H 0 0 0; H 0 0 {R}", given, *SMALL, "--out", figure)
    assert outcome.status == 0, outcome.err
    with open(table, newline="") as stream:
        row = next(csv.DictReader(stream))
    ensemble = zoo.load("three")
    expected = ensemble.spread(solved(ensemble)) * HARTREE_TO_KCAL
    assert float(row["zoo:three_uncertainty_kcal_per_mol"]) == pytest.approx(expected, abs=1e-4)
    assert "pbe_uncertainty_kcal_per_mol" not in row and figure.stat().st_size > 5000
    assert "zoo:three uncertainty (kcal/mol)" in outcome.out


def test_curve_and_evaluate(command, zoo_folder, tmp_path):
    table = tmp_path / "h2.csv"
    given = f"--xc zoo:small --xc pbe --start 1.4 --stop 4 --points 2 --jobs 1 --out {table}"
    outcome = command("curve", "H 0 0 0; H 0 0 {R}", given, *SMALL)
    assert outcome.status == 0, outcome.err
    with open(table, newline="") as stream:
        row = next(csv.DictReader(stream))
    assert float(row["zoo:small_hartree"]) == pytest.approx(solved(hybrid(1)).energy.item(), abs=1e-7)
    (tmp_path / "data.yaml").write_text(DATA)
    given = f"--xc zoo:three --xc zoo:small --dataset {tmp_path}/data.yaml"
    outcome = command("evaluate", given, "--grid-level 0 --jobs 1")
    assert outcome.status == 0, outcome.err
    assert "zoo:three" in outcome.out and "zoo:small" in outcome.out


def test_refusals_are_one_line(command, zoo_folder):
    file = zoo_folder / "small.safetensors"
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)
    for name, message in (
        ("zoo:small", "the file is damaged or another one"),
        ("zoo:smoll", "did you mean 'small'"),
        (str(zoo_folder / "no.safetensors"), "the file does not exist"),
    ):
        outcome = command("scf", H2, *SMALL, "--xc", name)
        assert outcome.status == 1 and outcome.out == ""
        assert outcome.err.startswith("error: ") and outcome.err.count("\n") == 1
        assert message in outcome.err


def test_export_of_a_run_and_of_a_name(command, zoo_folder, tmp_path):
    from deepchem_dft.runs import load_config, load_functional, run

    folder = tmp_path / "made"
    folder.mkdir()
    overrides = ["training.epochs=2", "output.plots=false", "baselines=[pbe]"]
    run(load_config(write_run(folder), overrides), folder / "run")
    outcome = command(
        "export", folder / "run", "--to", tmp_path / "mine.safetensors", "--summary", "two epochs"
    )
    assert outcome.status == 0, outcome.err
    assert "mine.safetensors" in outcome.out and "mine.json" in outcome.out
    card, loaded = zoo.card(tmp_path / "mine.json"), zoo.load(tmp_path / "mine.safetensors")
    trained = load_functional(folder / "run")
    assert all(torch.equal(v, trained.state_dict()[k]) for k, v in loaded.state_dict().items())
    assert solved(loaded).energy.item() == solved(trained).energy.item()
    assert (card.summary, card.parent, card.seed) == ("two epochs", "pbe", 0)
    sets = list(dict.fromkeys(row["set"] for row in card.errors))  # those of the tests first
    assert sets == ["data", "data (selected on)", "data (trained on)"]
    assert card.cost["epochs"] == 2
    assert set(card.errors[0]["mae"]) == {"this", "pbe"} and card.training["data_sha256"]
    assert card.out_of_scope == ["elements other than those trained on: H, He"]
    assert any("train and test share" in line for line in card.overlap)
    assert str(tmp_path) not in (tmp_path / "mine.json").read_text()

    outcome = command("export", "small", "--to", tmp_path / "copy.safetensors")
    assert outcome.status == 0, outcome.err
    copy = zoo.card(tmp_path / "copy.json")
    assert copy.name == "copy" and copy.summary == "a small hybrid"
    assert copy.key == zoo.card("small").key

    for arguments, message in (
        (("smoll", "--to", tmp_path / "x.safetensors"), "did you mean 'small'"),
        (("small", "--to", tmp_path / "x.pt"), "end it with .safetensors"),
        (("small", "--to", tmp_path / "no" / "x.safetensors"), "the folder does not exist"),
        ((tmp_path, "--to", tmp_path / "x.safetensors"), "not a run directory"),
    ):
        outcome = command("export", *arguments)
        assert outcome.status == 1 and message in outcome.err
    assert not list(tmp_path.glob("x.*"))
