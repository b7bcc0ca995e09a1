"""Residual targets: the basis error of the parent is taken out of the references."""

import pytest

from deepchem_dft.errors import InputError
from deepchem_dft.fitting.progress import Reporter
from deepchem_dft.molnet import board
from deepchem_dft.runs.config import validate
from deepchem_dft.runs.xc.entries import load_sets
from deepchem_dft.runs.xc.evaluate import Evaluation
from deepchem_dft.runs.xc.functional import build_xc_model
from deepchem_dft.runs.xc.residual import parent_of, with_residual_targets
from deepchem_dft.scf.many import Solver
from deepchem_dft.units import HARTREE_TO_KCAL

#: H2 and two ionisation energies of atoms.
ROWS = ["TAE_W4-17_110", "G21IP_2", "G21IP_3"]


class Notes(Reporter):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def configured(basis="def2-svp", rows=(*ROWS,), test=(), **training):
    data = {"basis": basis, "grid_level": 1, "train": [{"dataset": "gscdb138", "names": list(rows)}]}
    if test:
        data["test"] = list(test)
    training = {"target": "residual", "published": "PBE0", "largest_shift": 15, **training}
    functional = {"xc": "pbe", "exchange": 0.25, "enhancement": {"hidden": [4]}}
    return validate({"data": data, "functional": functional, "training": training})


def shifted(config, folder):
    notes = Notes()
    with Solver(1, tol=1e-7, cache=folder / "kept.jsonl") as solver:
        sets = with_residual_targets(config, load_sets(config.data), solver, notes)
        records = Evaluation(solver, 1).run([(s, [parent_of(config, build_xc_model(config))]) for s in sets])
    return sets, records, notes.notes


def test_the_parent_is_left_with_its_published_errors(tmp_path):
    """In a basis that is far too small: its error of several kcal/mol is on both sides."""
    config = configured()
    before = {e.name: e.label for s in load_sets(config.data) for e in s.entries}
    (group,), records, _ = shifted(config, tmp_path)
    source = board()
    assert {e.name for e in group.entries} == {f"gscdb138:{row}" for row in ROWS}
    for record in records:
        row = source.by_name[record.entry.partition(":")[2]]
        assert record.error == pytest.approx(source.published_errors(row)["PBE0"], abs=1e-4)
    moved = [abs(e.label - before[e.name]) * HARTREE_TO_KCAL for e in group.entries]
    assert max(moved) > 1.0


def test_other_states_are_left_out_and_named(tmp_path):
    config = configured(largest_shift=2.0, rows=[*ROWS, "AE18_10"])
    source = board()
    with pytest.raises(InputError, match=r"more than 2 kcal/mol in \d of 4 rows.*training.largest_shift"):
        shifted(config, tmp_path)
    # Neon's total energy in a small basis is off by far more than any chemistry.
    rows = [*ROWS, "G21IP_4", "G21IP_5", "AE18_10"]
    (group,), _, notes = shifted(configured(rows=rows), tmp_path)
    assert len(notes) == 1 and "AE18_10" in notes[0] and "another state" in notes[0]
    assert "gscdb138:AE18_10" not in {e.name for e in group.entries}
    assert source.rows[source.by_name["AE18_10"]].kind == "AE"


def test_entries_without_published_values_can_be_tested_on_only(tmp_path):
    config = configured(test=[{"dataset": "w4-11", "names": ["h2"]}])
    sets, _, _ = shifted(config, tmp_path)
    (kept,) = next(s for s in sets if s.role == "test").entries
    assert "basis_shift_kcal" not in kept.tags and kept.label * HARTREE_TO_KCAL == pytest.approx(109.493)
    config.data.train = config.data.test
    with pytest.raises(InputError, match="no value of 'PBE0'"):
        shifted(config, tmp_path)


def test_unknown_published_functional_is_refused(tmp_path):
    with pytest.raises(InputError, match="no values of 'PBE'.*PBE0"):
        shifted(configured(published="PBE"), tmp_path)


@pytest.mark.parametrize("training", [{"published": None}, {"target": "total"}])
def test_the_two_keys_go_together(training):
    with pytest.raises(InputError, match="go together"):
        configured(**training)


@pytest.mark.slow
def test_training_takes_the_shifted_references(tmp_path):
    """A run trained and evaluated in a small basis: its training error is that of the shifted references."""
    from deepchem_dft.runs import run

    config = configured(stages=[{"mode": "frozen", "epochs": 20, "optimizer": "lbfgs"}])
    config.output.plots, config.output.h2_curve, config.baselines = False, False, {}
    done = run(config, tmp_path / "run")
    source = board()
    before = [abs(source.published_errors(source.by_name[row])["PBE0"]) for row in ROWS]
    after = [abs(r.error) for r in done.records if r.role == "train"]
    assert sum(after) < 0.7 * sum(before)
