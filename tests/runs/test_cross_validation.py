"""Cross-validation: who is held out, that members do not see it, and what becomes of them."""

import json
import math
import os
import signal
from collections import Counter

import numpy as np
import pytest
import torch
import yaml

from deepchem_dft import KohnSham, zoo
from deepchem_dft.errors import InputError
from deepchem_dft.fitting.progress import Reporter
from deepchem_dft.models.xc.samples import make_dataset
from deepchem_dft.molnet import board
from deepchem_dft.runs import load_config, load_functional, load_model, run
from deepchem_dft.runs.card import export
from deepchem_dft.runs.config import validate
from deepchem_dft.runs.rundir import RunDirectory
from deepchem_dft.runs.xc.cross_validation import CrossValidation, calibration_of, make_members, unit_of
from deepchem_dft.runs.xc.entries import EntrySet, select
from deepchem_dft.runs.xc.schema import DatasetRef
from deepchem_dft.scf import SCFLayer
from deepchem_dft.units import HARTREE_TO_KCAL
from deepchem_dft.xc.ensemble import EnsembleXC

from .conftest import DATA
from .test_resume import Killer, kill_during

CONFIG = {
    "name": "folds",
    "description": "a test",
    "data": {"grid_level": 0, "train": [{"file": "data.yaml"}]},
    "functional": {"xc": "pbe", "enhancement": {"hidden": [4]}},
    "training": {
        "seed": 5,
        "penalties": {"size": 0.1},
        "stages": [{"mode": "frozen", "epochs": 3, "optimizer": "lbfgs"}],
    },
    "cross_validation": {"folds": 2, "repeats": 2, "seed": 1},
    "baselines": {"pbe": "pbe"},
    "evaluation": {"sets": ["valid"], "baseline_sets": ["valid"], "processes": 1},
    "output": {"plots": False, "h2_curve": False},
}


def start(folder, content=DATA, **changes):
    """Run in a folder; return configuration and result."""
    (folder / "data.yaml").write_text(content)
    (folder / "config.yaml").write_text(yaml.safe_dump({**CONFIG, **changes}))
    config = load_config(folder / "config.yaml")
    return config, run(config, folder / "run")


@pytest.fixture(scope="module")
def folds(tmp_path_factory):
    """A finished run of two folds, twice: (configuration, result)."""
    return start(tmp_path_factory.mktemp("folds"))


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    """Return the four entries that are trained on."""
    path = tmp_path_factory.mktemp("data") / "data.yaml"
    path.write_text(DATA)
    return select(DatasetRef(file=str(path)))


# -- who is held out ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many():
    """Barriers, ionisation and atomisation energies of the package."""
    names = ("barriers", "atomic-ip", "w4-11")
    return [entry for name in names for entry in select(DatasetRef(dataset=name, limit=40))]


@pytest.mark.parametrize("folds_, repeats", [(2, 1), (5, 3), (7, 2)])
def test_every_entry_is_held_out_as_often(many, folds_, repeats):
    members = make_members(many, folds_, repeats, seed=3)
    assert [m.number for m in members] == list(range(folds_ * repeats))
    for repeat in range(repeats):
        of_this = members[repeat * folds_ : (repeat + 1) * folds_]
        counts = Counter(unit for m in of_this for unit in m.held_out)
        assert counts == dict.fromkeys(map(unit_of, many), 1)
        sizes = [len(m.held_out) for m in of_this]
        assert max(sizes) - min(sizes) <= 1
    if repeats > 1:
        assert members[0].held_out != members[folds_].held_out


def test_each_kind_is_spread_over_all_folds(many):
    for member in make_members(many, 5, 1, seed=0):
        kinds = Counter(unit.split("|")[0] for unit in member.held_out)
        assert kinds["ae"] == 8 and kinds.keys() == {"ae", "ie", "reaction"}
        assert max(kinds.values()) <= 9


def test_barriers_of_one_transition_state_are_held_out_together(many):
    barriers = [e for e in many if e.entry_type == "reaction"]
    states = {}
    for entry in barriers:  # barriers:A+B>TS, and back
        states.setdefault(entry.name.partition(">")[2], set()).add(unit_of(entry))
    assert len(states) < len(barriers) and all(len(units) == 1 for units in states.values())
    assert len({unit for units in states.values() for unit in units}) == len(states)


def test_parts_depend_on_the_seed_and_not_on_the_order(many):
    one, same, other = (make_members(e, 5, 2, seed) for e, seed in ((many, 1), (many[::-1], 1), (many, 2)))
    assert one == same != other


def test_more_folds_than_entries_are_refused(entries):
    with pytest.raises(InputError) as caught:
        make_members(entries, 5, 1, 0)
    assert caught.value.field == "cross_validation.folds"


def test_a_member_splits_sets_and_keeps_their_labels(entries):
    sets = [
        EntrySet("train", "a", entries[:2]),
        EntrySet("train", "b", entries[2:]),
        EntrySet("test", "c", entries),
    ]
    for member in make_members(entries, 2, 1, 0):
        seen, unseen = member.split(sets)
        assert {s.role for s in seen} == {"train"} and {s.role for s in unseen} == {"valid"}
        assert {s.label for s in seen} <= {"a", "b"}
        names = [[e.name for s in part for e in s.entries] for part in (seen, unseen)]
        assert sorted(sum(names, [])) == sorted(e.name for e in entries)
        assert {unit_of(e) for s in unseen for e in s.entries} == member.held_out


# -- a whole run ----------------------------------------------------------------------------


def weights(directory, number):
    return load_functional(directory / "members" / str(number)).state_dict()


def test_held_out_entries_do_not_touch_a_member(folds, tmp_path):
    """With another value for one entry, only members that have seen it change."""
    _, result = folds
    _, other = start(
        tmp_path, DATA.replace("57.7 kcal/mol", "97.7 kcal/mol"), evaluation={"sets": [], "processes": 1}
    )
    note = json.loads((result.directory / "cross_validation.json").read_text())
    assert note["held_out"] == json.loads((other.directory / "cross_validation.json").read_text())["held_out"]
    blind = [number for number, names in note["held_out"].items() if "tiny:LiH" in names]
    assert len(blind) == 2 == CONFIG["cross_validation"]["repeats"]
    for number in note["held_out"]:
        ours, theirs = weights(result.directory, number), weights(other.directory, number)
        same = all(torch.equal(ours[name], theirs[name]) for name in ours)
        assert same == (number in blind), number


def test_members_start_from_seeds_of_their_own(folds):
    found = [weights(folds[1].directory, n)["nnxc.x_factor.layers.0.weight"] for n in (1, 2, 3, 4)]
    assert not any(torch.allclose(a, b) for i, a in enumerate(found) for b in found[:i])


def test_held_out_entries_are_judged_by_the_member_that_has_not_seen_them(folds):
    """Each once, self-consistently: its value is that of a field of the member's functional."""
    _, result = folds
    rows = [r for r in result.records if r.functional == "trained"]
    assert sorted(r.entry for r in rows) == ["tiny:H2", "tiny:He", "tiny:Li", "tiny:LiH"]
    assert {(r.role, r.set) for r in rows} == {("valid", "data, held out")}
    note = json.loads((result.directory / "cross_validation.json").read_text())
    (entry,) = [
        e
        for e in select(DatasetRef(file=str(result.directory.path.parent / "data.yaml")))
        if e.name == "tiny:LiH"
    ]
    number = next(n for n in ("1", "2") if "tiny:LiH" in note["held_out"][n])
    member = load_functional(result.directory / "members" / number)
    value = sum(
        c * float(KohnSham(s.to_molecule(grid_level=0), member).run().energy.detach())
        for c, s in zip(entry.coefficients, entry.get_systems())
    )
    (row,) = [r for r in rows if r.entry == "tiny:LiH"]
    assert row.value == pytest.approx(value, abs=2e-6)


def test_calibration_by_hand(folds):
    """Spread of all four members, errors of the mean of those that have not seen an entry."""
    _, result = folds
    note = json.loads((result.directory / "cross_validation.json").read_text())
    members = [load_functional(result.directory / "members" / str(n)) for n in (1, 2, 3, 4)]
    ratios = []
    for entry in select(DatasetRef(file=str(result.directory.path.parent / "data.yaml"))):
        values = np.zeros(4)
        for c, system in zip(entry.coefficients, entry.get_systems()):
            molecule = system.to_molecule(grid_level=0)
            state = KohnSham(molecule, "pbe").run().state
            density = SCFLayer(members[0]).frozen_density(molecule, state)
            values += [c * density.energy(m).item() for m in members]
        blind = [entry.name in note["held_out"][n] for n in "1234"]
        assert sum(blind) == 2
        ratios.append(abs(values[blind].mean() - entry.label) / values.std(ddof=1))
    expected = sorted(ratios)[math.ceil(0.68 * 5) - 1]
    assert note["calibration"] == pytest.approx(expected, rel=1e-3)
    assert note["floor_hartree"] == 0.0  # four data are too few for one
    assert load_functional(result.directory.path).calibration == note["calibration"]


def test_too_few_energies_leave_an_ensemble_uncalibrated(entries, tmp_path):
    """Hours of training are not thrown away for want of a factor."""

    class Listener(Reporter):
        notes: list[str] = []

        def note(self, text: str) -> None:
            self.notes.append(text)

    sets = [EntrySet("train", "a", [*entries[:2], *entries[3:]])]
    listener = Listener()
    folds = CrossValidation(validate(CONFIG), RunDirectory(tmp_path), sets, None, listener)
    nan, one = math.nan, -1.0
    assert folds._calibration([[nan, one, 0.0], [nan, one, 0.1], [nan, nan, 0.0], [0.0] * 3]) == (1.0, 0.0)
    assert "not calibrated" in listener.notes[-1] and "too few" in listener.notes[-1]
    values = np.random.default_rng(0).normal(size=(4, 3))
    labels = torch.tensor([e.label for e in folds.entries], dtype=torch.float64)
    assert folds._calibration(list(values)) == calibration_of(
        torch.from_numpy(values), labels, folds._unseen()
    )


def test_kinds_of_rows_have_intervals_of_their_own(tmp_path):
    """Dimers are a tenth as wrong as barriers; of a third kind there are too few to tell."""
    source, rng = board(), np.random.default_rng(3)
    rows = [r for kind, n in (("NC", 40), ("BH", 30), ("PA", 9)) for r in source.select(types=[kind])[:n]]
    entries = [source.entry(r) for r in rows]
    kinds = np.array([e.tags["kind"] for e in entries])
    folds = CrossValidation(
        validate(CONFIG), RunDirectory(tmp_path), [EntrySet("train", "a", entries)], None, Reporter()
    )
    size = np.where(kinds == "NC", 1e-4, 1e-3)
    labels = np.array([e.label for e in entries])
    values = labels + size * (
        rng.normal(size=len(rows)) + 0.3 * rng.normal(size=(len(folds.members), len(rows)))
    )
    found = folds._by_kind(list(values))
    assert set(found) == {"NC", "BH"}
    unseen = folds._unseen().numpy()
    for kind, (factor, floor) in found.items():
        chosen = kinds == kind
        errors = ((values * unseen).sum(0) / unseen.sum(0) - labels)[chosen]
        intervals = np.hypot(factor * values.std(0, ddof=1)[chosen], floor)
        assert (abs(errors) <= intervals).sum() == math.ceil(0.68 * (chosen.sum() + 1))
    widths = {k: np.hypot(c * 0.3 * (1e-4 if k == "NC" else 1e-3), f) for k, (c, f) in found.items()}
    assert 5.0 < widths["BH"] / widths["NC"] < 20.0


@pytest.mark.parametrize("alike", [0.0, 1.5], ids=["members differ", "all are wrong alike"])
def test_calibration_of_many_repeats_holds_for_what_nobody_has_seen(alike):
    """Of drawn values: fitted to three members each, right for the spread of all twelve."""
    torch.manual_seed(1)
    spread = torch.rand(20000, dtype=torch.float64) + 0.5
    values = spread * torch.randn(12, 20000, dtype=torch.float64)
    truth = spread * torch.randn(20000, dtype=torch.float64) / 2  # of the mean's own order
    truth += alike * torch.randn(20000, dtype=torch.float64)
    unseen = torch.arange(12)[:, None] % 4 == torch.arange(20000) % 4  # three have not seen each
    factor, floor = calibration_of(values, truth, unseen)
    # later data: as certain an error, the spread of all twelve members
    later = spread * torch.randn(12, 20000, dtype=torch.float64)
    error = (later * unseen).sum(0) / 3 - spread * torch.randn(20000, dtype=torch.float64) / 2
    error += alike * torch.randn(20000, dtype=torch.float64)
    uncertainty = (floor**2 + (factor * later.std(0)) ** 2).sqrt()
    assert (error.abs() <= uncertainty).double().mean().item() == pytest.approx(0.68, abs=0.06)
    if alike:  # somewhat more: the deviation of three is noise in part, which tells nothing
        assert floor == pytest.approx(alike, rel=0.15)


def test_ensemble_of_the_run(folds):
    config, result = folds
    ensemble = load_functional(result.directory.path)
    assert isinstance(ensemble, EnsembleXC) and len(ensemble) == 4 and not ensemble.training
    entries = select(DatasetRef(file=str(result.directory.path.parent / "data.yaml")))
    model = load_model(result.directory.path)
    predicted = model.predict(make_dataset(entries))[:, 0]
    molecule = entries[0].get_systems()[0].to_molecule(grid_level=0)
    energies = ensemble.energies(KohnSham(molecule, ensemble).run())
    assert len(energies) == 4 and energies.std() > 1e-6
    assert abs(predicted - [e.label for e in entries]).max() < 0.1


def test_export_reads_back_with_members_and_calibration(folds, tmp_path):
    _, result = folds
    card = export(result.directory.path, tmp_path / "mine.safetensors")
    ours, theirs = load_functional(result.directory.path), zoo.load(tmp_path / "mine.safetensors")
    assert isinstance(theirs, EnsembleXC) and theirs.calibration == ours.calibration
    (entry, *_) = select(DatasetRef(file=str(result.directory.path.parent / "data.yaml")))
    molecule = entry.get_systems()[0].to_molecule(grid_level=0)
    before, after = (KohnSham(molecule, xc, tol=1e-7).run() for xc in (ours, theirs))
    assert float(after.energy.detach()) == pytest.approx(float(before.energy.detach()), abs=1e-10)
    assert theirs.uncertainty(after) == pytest.approx(ours.uncertainty(before), rel=1e-6)
    assert card.summary == "a test"
    assert card.seed == 5 and card.parent == "pbe"


def test_history_has_every_member_once(folds):
    rows = folds[1].directory.read_history()
    assert [row["epoch"] for row in rows] == list(range(1, 13))
    assert [row["stage"] for row in rows] == [n for n in (1, 2, 3, 4) for _ in range(3)]


def test_results_show_the_held_out_set_beside_the_baseline(folds):
    text = (folds[1].directory / "results.md").read_text()
    assert "held out" in text and "pbe" in text
    pbe = {r.entry: r for r in folds[1].records if r.functional == "pbe"}
    assert pbe.keys() == {"tiny:H2", "tiny:He", "tiny:Li", "tiny:LiH"}
    trained = [r for r in folds[1].records if r.functional == "trained"]
    assert all(math.isfinite(r.error * HARTREE_TO_KCAL) for r in trained)


class KillerOfMember(Killer):
    """Dies in an epoch of one member, or as its training begins."""

    def __init__(self, when: tuple[int, int]) -> None:
        super().__init__("")
        self.member, self.at, self.number = *when, 0

    def phase(self, title, total=None) -> None:
        if title.startswith("member "):
            self.number = int(title.split()[1])
            if (self.number, 0) == (self.member, self.at):
                os.kill(os.getpid(), signal.SIGKILL)

    def epoch(self, row) -> None:
        if (self.number, row["epoch"]) == (self.member, self.at):
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("when", [(2, 2), (3, 0)])
def test_killed_in_a_member_it_goes_on_to_the_same_ensemble(folds, tmp_path, when):
    config, complete = folds
    folder = tmp_path / "run"
    kill_during(KillerOfMember(when), config, folder)
    with pytest.raises(InputError, match="not finished"):
        load_functional(folder)
    run(config, folder, resume=True)
    ours, theirs = load_functional(folder), load_functional(complete.directory.path)
    assert ours.calibration == pytest.approx(theirs.calibration, rel=1e-10)
    assert ours.floor == theirs.floor
    for name, value in theirs.state_dict().items():
        assert torch.allclose(ours.state_dict()[name], value, rtol=0, atol=1e-10), name


def test_entries_of_their_own_for_validation_are_refused():
    with pytest.raises(InputError, match=r"data\.train"):
        validate({**CONFIG, "data": {**CONFIG["data"], "valid": [{"file": "data.yaml"}]}})


def test_rows_of_boards_are_held_out_by_molecule():
    """Nitrogen's atomisation and ionisation go together, also as an ion; oxygen's do not go with them."""
    from deepchem_dft.molnet import board

    source = board()
    names = ("TAE_W4-17_143", "G21IP_30", "IP23_19", "G21EA_20")
    first, second, third, oxygen = (
        unit_of(e) for e in source.entries([source.by_name[name] for name in names], "def2-svp")
    )
    assert first == second == third != oxygen
