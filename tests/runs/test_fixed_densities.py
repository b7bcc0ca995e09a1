"""Functionals judged at the densities that training began with."""

import csv

import pytest

from deepchem_dft.errors import InputError
from deepchem_dft.fitting.progress import Reporter
from deepchem_dft.molnet import board
from deepchem_dft.runs import run
from deepchem_dft.runs.config import validate
from deepchem_dft.runs.xc.prepared import prepare
from deepchem_dft.units import HARTREE_TO_KCAL

TRAIN = ["TAE_W4-17_110", "G21IP_2", "G21IP_3"]
TEST = ["G21IP_4", "G21IP_5"]


class Counter(Reporter):
    def __init__(self):
        self.solved = []

    def solution(self, solution, done, total):
        self.solved.append(solution.functional)


def configured(folds=None, **evaluation):
    def rows(names, label):
        return [{"dataset": "gscdb138", "names": names, "label": label}]

    stages = [{"mode": "frozen", "epochs": 3, "optimizer": "lbfgs"}]
    config = validate(
        {
            "data": {
                "basis": "def2-svpd",
                "grid_level": 0,
                "train": rows(TRAIN, "few"),
                "test": rows(TEST, "others"),
            },
            "functional": {"xc": "pbe", "exchange": 0.25, "enhancement": {"hidden": [4]}},
            "training": {
                "stages": stages,
                "target": "residual",
                "published": "PBE0",
                "largest_shift": 15,
                "penalties": {"size": 1.0},
            },
            "evaluation": {"processes": 1, "sets": ["test", "valid", "train"], **evaluation},
            "cross_validation": folds,
        }
    )
    config.output.plots, config.output.h2_curve, config.baselines = False, False, {}
    return config


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    folder, counter = tmp_path_factory.mktemp("judged"), Counter()
    config = configured(fixed_densities=True, published=["B3LYP"])
    return folder, run(config, folder / "run", reporter=counter), counter.solved


def test_no_field_of_the_trained_functional_is_solved(judged):
    assert set(judged[2]) == {"0.75*gga_x_pbe+0.25*hf,gga_c_pbe"}
    assert "at the first densities of training" in judged[1].markdown


def test_published_functionals_keep_their_published_errors(judged):
    source = board()
    found = {(r.functional, r.entry.partition(":")[2]): r.error for r in judged[1].records}
    assert {f for f, _ in found} == {"trained", "PBE0", "B3LYP"}
    for (functional, row), error in found.items():
        if functional != "trained":
            published = source.published_errors(source.by_name[row])[functional]
            assert error == pytest.approx(published, abs=1e-4)


@pytest.mark.slow
def test_errors_are_nearly_those_of_fields(judged, tmp_path):
    """Second order in what the network does to a density; and training has done something."""
    fields = run(configured(), tmp_path / "run")
    solved = {r.entry: r.error for r in fields.records if r.functional == "trained"}
    fixed = {r.entry: r.error for r in judged[1].records if r.functional == "trained"}
    assert set(solved) == set(fixed) and len(fixed) == len(TRAIN + TEST)
    before = {r.entry: r.error for r in judged[1].records if r.functional == "PBE0"}
    for entry, error in fixed.items():
        assert abs(error - solved[entry]) < 0.1 + 0.25 * abs(error - before[entry])
    trained = [f"gscdb138:{row}" for row in TRAIN]
    assert sum(abs(fixed[e]) for e in trained) < 0.7 * sum(abs(before[e]) for e in trained)


@pytest.mark.slow
def test_the_mean_of_an_ensemble_and_what_its_members_have_not_seen(tmp_path):
    """Every training entry is held out once, with the member's own value; means are of both members."""
    config = configured({"folds": 2, "repeats": 1}, fixed_densities=True)
    done = run(config, tmp_path / "run")
    own = [r for r in done.records if r.functional == "trained"]
    held = {r.entry: r for r in own if r.set.endswith("held out")}
    seen = {r.entry: r for r in own if r.role == "train"}
    assert set(held) == set(seen) == {f"gscdb138:{row}" for row in TRAIN}
    assert all(r.uncertainty > 0 for r in seen.values()) and held["gscdb138:G21IP_2"].uncertainty is None
    assert any(abs(held[e].error) > abs(seen[e].error) for e in seen)
    with open(tmp_path / "run" / "entries.csv") as file:
        rows = [r for r in csv.DictReader(file) if r["functional"] == "trained" and r["role"] == "test"]
    assert len(rows) == len(TEST) and all(float(r["uncertainty_kcal_per_mol"]) > 0 for r in rows)
    shifts = [(r.reference - board().rows[board().by_name[r.entry.partition(":")[2]]].reference) for r in own]
    assert max(abs(s) * HARTREE_TO_KCAL for s in shifts) > 0.5


def test_test_systems_are_prepared_too(tmp_path):
    sizes = [
        prepare(configured(**options), tmp_path / f"{n}.zip", tmp_path / "parts", processes=1).systems
        for n, options in enumerate([{}, {"fixed_densities": True}])
    ]
    assert sizes[1] > sizes[0] > 0


@pytest.mark.parametrize(
    "evaluation, stages, problem",
    [
        ({"published": ["B3LYP"]}, None, "has no meaning without 'fixed_densities'"),
        ({"fixed_densities": True}, [{"epochs": 1}], "wants a first stage of mode 'frozen'"),
    ],
)
def test_what_does_not_go_together_is_refused(evaluation, stages, problem):
    content = {"data": {"train": ["gscdb138:BH46"]}, "evaluation": evaluation}
    if stages:
        content["training"] = {"stages": stages}
    with pytest.raises(InputError, match=problem):
        validate(content)
