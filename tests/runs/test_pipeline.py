"""Whole runs: every file is there, the numbers are right, nothing is overwritten."""

import json
import math

import pytest
import yaml

from deepchem_dft.errors import InputError
from deepchem_dft.runs import load_config, load_functional, load_model, run
from deepchem_dft.units import HARTREE_TO_KCAL

from .conftest import CONFIG, DATA, rows_of, write_run

FILES = [
    "config.yaml",
    "versions.json",
    "data.json",
    "status.json",
    "log.txt",
    "history.csv",
    "results.csv",
    "results.md",
    "entries.csv",
    "energies.jsonl",
    "h2_curve.csv",
    "model/checkpoint1.pt",
    "plots/learning_curve.png",
    "plots/parity.png",
    "plots/error_by_molecule.png",
    "plots/h2_curve.png",
]


@pytest.mark.parametrize("name", FILES)
def test_file_is_there(finished, name):
    assert (finished[1].directory / name).stat().st_size > 0


def test_provenance(finished):
    config, result = finished
    versions = json.loads((result.directory / "versions.json").read_text())
    assert {"python", "torch", "pyscf", "deepchem", "git_commit"} <= versions.keys()
    data = json.loads((result.directory / "data.json").read_text())
    assert len(data["sha256"]) == 64
    status = json.loads((result.directory / "status.json").read_text())
    assert status["state"] == "finished" and status["seed"] == 0
    assert yaml.safe_load((result.directory / "config.yaml").read_text())["name"] == "tiny"
    assert "finished" in (result.directory / "log.txt").read_text()


def test_history(finished):
    rows = rows_of(finished[1].directory / "history.csv")
    assert [int(row["epoch"]) for row in rows] == list(range(1, 10))
    assert [int(row["stage"]) for row in rows] == [1] * 6 + [2] * 3
    assert all(math.isfinite(float(row["loss"])) for row in rows)
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])


def test_baselines_are_those_of_pyscf(finished):
    """The table's LDA and PBE errors of the H2 atomisation energy, from PySCF itself."""
    from pyscf import dft, gto

    entries = rows_of(finished[1].directory / "entries.csv")
    found = {r["functional"]: float(r["error_kcal_per_mol"]) for r in entries if r["entry"] == "tiny:H2"}
    for label, xc in {"lda": "lda,pw", "pbe": "pbe"}.items():
        energies = []
        for atom, spin in (("H 0 0 0; H 0 0 1.4", 0), ("H 0 0 0", 1)):
            mol = gto.M(atom=atom, basis="sto-3g", unit="Bohr", spin=spin, verbose=0)
            mf = dft.UKS(mol, xc=xc)
            mf.grids.level, mf.conv_tol = 1, 1e-11
            energies.append(mf.kernel())
        error = (2 * energies[1] - energies[0]) * HARTREE_TO_KCAL - 109.5
        assert found[label] == pytest.approx(error, abs=1e-4)


def test_table_is_what_the_model_predicts(finished):
    """The trained functional's row agrees with XCModel.predict, solved from scratch."""
    from deepchem_dft.models.xc.samples import make_dataset
    from deepchem_dft.runs.xc.entries import load_sets

    config, result = finished
    entries = [e for s in load_sets(config.data) for e in s.entries]
    model = load_model(result.directory.path)
    predicted = dict(zip([e.name for e in entries], model.predict(make_dataset(entries))[:, 0]))
    rows = [r for r in result.records if r.functional == "trained"]
    assert {r.entry for r in rows} == set(predicted)
    for row in rows:
        assert row.value == pytest.approx(predicted[row.entry], abs=2e-6)


def test_training_helped_and_started_at_pbe(finished):
    rows = rows_of(finished[1].directory / "history.csv")
    maes = {(s.functional, s.role): s.mae for s in finished[1].summaries if s.type == "ae"}
    pbe = {s.role: s for s in finished[1].summaries if s.functional == "pbe" and s.type == "ae"}
    assert maes["trained", "train"] < maes["pbe", "train"]
    ie = next(s for s in finished[1].summaries if (s.functional, s.role, s.type) == ("pbe", "train", "ie"))
    start = (pbe["train"].mae + ie.mae) / 2
    assert float(rows[0]["train_mae_kcal"]) == pytest.approx(start, abs=1e-3)


def test_markdown_states_overlap_and_units(finished):
    text = (finished[1].directory / "results.md").read_text()
    for words in ("kcal/mol", "trained", "pbe", "train and test share", "All self-consistent"):
        assert words in text


def test_results_say_whether_the_parent_is_beaten(finished):
    """Of the only test entry, an ionisation energy, by the errors of the table of entries."""
    directory = finished[1].directory
    rows = [row for row in rows_of(directory / "entries.csv") if row["role"] == "test"]
    errors = {row["functional"]: abs(float(row["error_kcal_per_mol"])) for row in rows}
    assert len(rows) == len(errors) == 3
    word = "better" if errors["trained"] < errors["pbe"] else "NOT better"
    numbers = f"{errors['trained']:.2f} instead of {errors['pbe']:.2f} kcal/mol"
    lines = (directory / "results.md").read_text().splitlines()
    assert f"- {word} than pbe on data (1 ionisation energies): mean absolute error {numbers}" in lines
    log = (directory / "log.txt").read_text()
    assert "trains on 2 entries (data 2); selects on 1 entries (data 1); tests on 1 entries (data 1)" in log


def test_functional_reads_back(finished):
    functional = load_functional(finished[1].directory.path)
    assert functional.family == "mgga"
    assert any(bool(p.abs().sum() > 0) for p in functional.parameters())


def test_h2_curve_is_compared_with_exact_values(finished):
    rows = rows_of(finished[1].directory / "h2_curve.csv")
    assert len(rows) == 3 and "exact_hartree" in rows[0]
    last = rows[-1]
    assert float(last["exact_hartree"]) == pytest.approx(-1.0, abs=1e-3)  # two hydrogen atoms
    error = (float(last["pbe_hartree"]) - float(last["exact_hartree"])) * HARTREE_TO_KCAL
    assert float(last["pbe_error_kcal_per_mol"]) == pytest.approx(error, abs=1e-3)


def test_a_run_is_never_overwritten(finished, tmp_path):
    config, result = finished
    with pytest.raises(InputError, match="--resume"):
        run(config, result.directory.path)
    other = config.model_copy(deep=True)
    other.training.seed = 5
    for resume in (False, True):
        with pytest.raises(InputError, match="training.seed"):
            run(other, result.directory.path, resume=resume)
    (tmp_path / "precious.txt").write_text("x")
    with pytest.raises(InputError, match="not empty"):
        run(config, tmp_path)


def test_resuming_a_finished_run_changes_nothing(finished):
    config, result = finished
    before = (result.directory / "results.csv").read_text()
    energies = (result.directory / "energies.jsonl").read_text()
    again = run(config, result.directory.path, resume=True)
    assert again.markdown == result.markdown
    assert (result.directory / "results.csv").read_text() == before
    assert (result.directory / "energies.jsonl").read_text() == energies  # nothing solved again


def test_a_finished_run_can_be_evaluated_further(tiny, tmp_path):
    overrides = ["training.epochs=1", "output.plots=false", "baselines=[]"]
    first = run(load_config(tiny, overrides), tmp_path / "run")
    assert {r.functional for r in first.records} == {"trained"}
    more = run(load_config(tiny, [*overrides, "baselines=[pbe]"]), tmp_path / "run", resume=True)
    assert {r.functional for r in more.records} == {"pbe", "trained"}
    trained = [r for r in more.records if r.functional == "trained"]
    assert [r.value for r in trained] == [r.value for r in first.records]


def test_changed_data_are_refused(tiny, tmp_path):
    overrides = ["training.epochs=1", "output.plots=false", "evaluation.sets=[test]"]
    config = load_config(tiny, overrides)
    run(config, tmp_path / "run")
    file = tiny.parent / "data.yaml"
    file.write_text(file.read_text().replace("109.5", "110.5"))
    with pytest.raises(InputError, match="data have changed"):
        run(config, tmp_path / "run", resume=True)


def test_unknown_baseline_fails_before_training(tiny, tmp_path):
    with pytest.raises(InputError, match="b3lip"):
        run(load_config(tiny, ["baselines=[b3lip]"]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_no_functional_in_an_unfinished_run(tmp_path):
    with pytest.raises(InputError, match="not a run directory"):
        load_functional(tmp_path)


def test_unconverged_entries_are_named(tiny, tmp_path, monkeypatch):
    """Lithium never converges: its entry is NaN, named in the report, and in no average."""
    from deepchem_dft.scf import kohn_sham, ladder

    usual = ladder.solve

    def stubborn(hamiltonian, **options):
        if hamiltonian.molecule.symbols == ["Li"] and hamiltonian.molecule.charge == 0:
            options.update(max_iter=1, tol=1e-14)
        return usual(hamiltonian, **options)

    monkeypatch.setattr(kohn_sham, "solve", stubborn)
    config = load_config(tiny, ["training.epochs=1", "output.plots=false"])
    result = run(config, tmp_path / "run")
    lost = {(r.functional, r.entry) for r in result.records if r.unconverged}
    assert lost == {(f, e) for f in ("lda", "pbe", "trained") for e in ("tiny:LiH", "tiny:Li")}
    assert all(math.isnan(r.value) for r in result.records if r.unconverged)
    rows = rows_of(tmp_path / "run" / "history.csv")
    assert all(row["valid_score"] == "" for row in rows)
    assert "## Not converged" in result.markdown and "tiny:LiH" in result.markdown


def test_dm_entries_train_and_are_reported(tmp_path):
    """A density-matrix target in an scf stage; its deviation has its own table."""

    extra = '- {name: "tiny:dm", type: dm, value: ccsd, systems: [h2], split: train}\n'
    config = write_run(tmp_path, training={"epochs": 1})
    (tmp_path / "data.yaml").write_text(DATA + extra)
    settings = load_config(config, ["output.plots=false", "baselines=[pbe]"])
    result = run(settings, tmp_path / "run")
    row = next(s for s in result.summaries if s.type == "dm" and s.functional == "pbe")
    assert 0 < row.mae < 0.1 and "kcal" not in row.unit
    frozen = load_config(write_run(tmp_path, training=CONFIG["training"]))
    (tmp_path / "data.yaml").write_text(DATA + extra)
    with pytest.raises(InputError, match="frozen stage"):
        run(frozen, tmp_path / "other")
