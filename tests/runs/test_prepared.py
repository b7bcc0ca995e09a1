"""Prepared densities: made once, resumed after a kill, packed, and as good as those made by a training."""

import zipfile

import pytest

from deepchem_dft.errors import InputError
from deepchem_dft.fitting.progress import Reporter
from deepchem_dft.runs import run
from deepchem_dft.runs.card import export
from deepchem_dft.runs.config import validate
from deepchem_dft.runs.xc.prepared import prepare

ROWS = ["TAE_W4-17_110", "G21IP_2", "G21IP_3"]


class Counter(Reporter):
    def __init__(self):
        self.solved, self.notes = [], []

    def solution(self, solution, done, total):
        self.solved.append(solution.name)

    def note(self, text):
        self.notes.append(text)


def configured(prepared=None, enhancement=(4,), ranges=None, dispersion=None, **training):
    data = {"basis": "def2-svp", "grid_level": 0, "train": [{"dataset": "gscdb138", "names": ROWS}]}
    if prepared is not None:
        data["prepared"] = str(prepared)
    network = {"hidden": list(enhancement), "range_separation": ranges}
    functional = {"xc": "pbe", "exchange": 0.25, "enhancement": network, "dispersion": dispersion}
    stages = [{"mode": "frozen", "epochs": 3, "optimizer": "lbfgs"}]
    config = validate(
        {
            "data": data,
            "functional": functional,
            "training": {"stages": stages, **training},
            "evaluation": {"processes": 1},
        }
    )
    config.output.plots, config.output.h2_curve, config.baselines = False, False, {}
    return config


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A prepared file, its folder of parts, and what was solved for it."""
    folder, counter = tmp_path_factory.mktemp("prepared"), Counter()
    done = prepare(configured(), folder / "p.zip", folder / "parts", counter, 1)
    return folder, done, counter.solved


def test_the_file_holds_each_system_once(made):
    folder, done, solved = made
    assert done.systems == len(solved) == len(set(solved)) >= 5 and not done.unconverged
    with zipfile.ZipFile(folder / "p.zip") as archive:
        names = archive.namelist()
    assert sum(name.endswith(".density.pt") for name in names) == done.systems
    assert len(set(names)) == done.systems + 2
    assert solved[0] == "11_H_AE18" and solved[-1] == "W4-17_h2"  # small ones first
    assert 1_000 < done.size / done.systems < 500_000  # bytes


def test_a_second_call_solves_nothing_and_packs_the_same(made):
    folder, done, _ = made
    before, counter = (folder / "p.zip").read_bytes(), Counter()
    again = prepare(configured(), folder / "p.zip", folder / "parts", counter, 1)
    assert counter.solved == [] and again.systems == done.systems
    assert (folder / "p.zip").read_bytes() == before


def test_what_a_kill_left_undone_is_done_alone(made, tmp_path):
    import shutil

    folder, done, _ = made
    parts = tmp_path / "parts"
    shutil.copytree(folder / "parts", parts)
    densities = sorted((parts / "states").glob("*.density.pt"))
    densities[0].unlink()  # solved, but killed before its density was written
    lines = (parts / "energies.jsonl").read_bytes().splitlines()
    (parts / "energies.jsonl").write_bytes(b"\n".join(lines[:-1]) + b"\n" + lines[-1][:30])
    counter = Counter()
    with pytest.warns(UserWarning, match="cut short"):
        again = prepare(configured(), tmp_path / "p.zip", parts, counter, 1)
    assert again.systems == done.systems and 1 <= len(counter.solved) <= 2


def test_training_with_it_is_training_without_it(made, tmp_path):
    """The same epochs to all digits, and no field of the first stage is solved again."""
    folder, done, _ = made
    alone, helped = Counter(), Counter()
    first = run(configured(), tmp_path / "a", reporter=alone)
    second = run(configured(folder / "p.zip"), tmp_path / "b", reporter=helped)
    assert (tmp_path / "a" / "model").is_dir()
    losses = []
    for name in ("a", "b"):
        rows = (tmp_path / name / "history.csv").read_text().splitlines()
        losses.append([row.split(",")[3] for row in rows[1:]])
    assert losses[0] == losses[1] and len(losses[0]) == 3
    assert len(alone.solved) - len(helped.solved) == done.systems
    assert [r.value for r in first.records] == pytest.approx([r.value for r in second.records], abs=1e-8)


def test_other_kinds_and_damage_are_refused(made, tmp_path):
    folder, _, _ = made
    other = configured(folder / "p.zip")
    other.functional.xc = "blyp"
    with pytest.raises(InputError, match="data.prepared.*functionals of another kind"):
        run(other, tmp_path / "a")
    (tmp_path / "bad.zip").write_bytes((folder / "p.zip").read_bytes()[:500])
    for name, problem in (("bad.zip", "cannot be read"), ("none.zip", "does not exist")):
        with pytest.raises(InputError, match=problem):
            run(configured(tmp_path / name), tmp_path / name.replace(".", "-"))


def test_rows_that_are_not_prepared_can_be_left_out(made, tmp_path):
    """What a stopped preparation has found is packed, and trained on: here H2 and an atom, not the other."""
    import json
    import shutil

    folder, done, _ = made
    parts = tmp_path / "parts"
    shutil.copytree(folder / "parts", parts)
    lines = (parts / "energies.jsonl").read_bytes().splitlines(keepends=True)
    gone = [line for line in lines if b'"33_be+_TA13"' in line]
    (parts / "energies.jsonl").write_bytes(b"".join(line for line in lines if line not in gone))
    counter = Counter()
    packed = prepare(configured(), tmp_path / "p.zip", parts, counter, 1, solve=False)
    assert len(gone) == 1 and packed.systems == done.systems - 1 and counter.solved == []
    config = configured(tmp_path / "p.zip")
    config.data.only_prepared = True
    run(config, tmp_path / "run", reporter=counter)
    assert "left out, not prepared: 1 of 3 rows" in counter.notes
    counts = [note for note in counter.notes if note.startswith("trains on")]
    assert len(counts) == 1 and counts[0].startswith("trains on 2 entries")
    (described,) = json.loads((tmp_path / "run" / "data.json").read_text())["sets"]
    assert len(described["entries"]) == 2
    card = export(tmp_path / "run", tmp_path / "some.safetensors")
    assert card.overlap[0].startswith("train: 2 entries") and "Be" not in card.out_of_scope[-1]
    with pytest.raises(InputError, match="only_prepared.*no meaning without"):
        validate({"data": {"train": ["gscdb138:BH46"], "only_prepared": True}})


RANGES = {"omega": 0.3, "long_exchange": 0.25, "train": ["long_exchange"]}


def test_densities_of_two_ranges_serve_functionals_of_one_and_of_none(made, tmp_path):
    """One range's epochs from such a file are those without it; what it does not have is refused."""
    folder, done, _ = made
    wide = prepare(configured(ranges=RANGES), tmp_path / "w.zip", tmp_path / "parts", Counter(), 1)
    assert wide.systems == done.systems
    losses = []
    for name, file in (("a", None), ("b", tmp_path / "w.zip")):
        counter = Counter()
        run(configured(file), tmp_path / name, reporter=counter)
        rows = (tmp_path / name / "history.csv").read_text().splitlines()
        losses.append([float(row.split(",")[3]) for row in rows[1:]])
    assert losses[0] == pytest.approx(losses[1], rel=1e-9) and losses[0][-1] < losses[0][0]
    assert len(counter.solved) == done.systems  # by what was trained; those of the start are known
    semilocal = configured(tmp_path / "w.zip", first_densities="0.75*gga_x_pbe+0.25*hf,gga_c_pbe")
    semilocal.functional.exchange = None
    counter = Counter()
    run(semilocal, tmp_path / "c", reporter=counter)
    assert len(counter.solved) == done.systems
    with pytest.raises(InputError, match=r"another kind \(EnhancedXC.*full, not .*0.3\+full, uniform\)"):
        run(configured(folder / "p.zip", ranges=RANGES), tmp_path / "d")
    ityh = configured(tmp_path / "w.zip", ranges={**RANGES, "attenuation": "ityh"})
    with pytest.raises(InputError, match="uniform, not .* ityh"):
        run(ityh, tmp_path / "e")


def test_densities_do_not_depend_on_the_dispersion(made, tmp_path):
    folder, done, _ = made
    counter = Counter()
    run(
        configured(folder / "p.zip", dispersion={"model": "d3bj", "method": "pbe0"}),
        tmp_path / "a",
        reporter=counter,
    )
    assert len(counter.solved) == done.systems
    assert any("without dispersion" in note for note in counter.notes)


def test_names_in_the_file_cannot_leave_the_folder(made, tmp_path):
    """A planted member is passed over; only densities are taken, by their pattern."""
    folder, _, _ = made
    evil = tmp_path / "evil.zip"
    evil.write_bytes((folder / "p.zip").read_bytes())
    with zipfile.ZipFile(evil, "a") as archive:
        archive.writestr("../../escaped.density.pt", b"x")
    run(configured(evil), tmp_path / "inside" / "run")
    assert not list(tmp_path.rglob("escaped*"))


def test_it_is_not_part_of_what_a_run_is(made):
    from deepchem_dft.runs.config import config_hash

    assert config_hash(configured(made[0] / "p.zip")) == config_hash(configured())


def test_a_training_without_densities_is_refused(tmp_path):
    config = configured()
    config.training.stages = []  # by default, all epochs are self-consistent
    with pytest.raises(InputError, match="no stage trains at fixed densities"):
        prepare(config, tmp_path / "p.zip", tmp_path / "parts")
