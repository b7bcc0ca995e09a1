"""A slice of examples/benchmarks/input/fuzz_inputs.py, which reads twenty thousand of these files."""

import pickle
import random
from collections import Counter

import _mutations
import fuzz_inputs
import pytest


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPCHEM_DFT_CACHE", "off")  # the sandbox sets another one
        yield fuzz_inputs.Fuzz(tmp_path_factory.mktemp("fuzz"), runs=False)


@pytest.mark.parametrize(
    "kind, cases",
    [("configuration", 150), ("override", 100), ("card", 80), ("weights", 50), ("geometry", 120)],
)
def test_broken_and_hostile_files_are_used_or_refused(fuzz, kind, cases):
    outcomes = Counter(fuzz.run(kind, number, seed=7) for number in range(cases))
    assert fuzz.failures == []
    assert outcomes.keys() == {fuzz_inputs.USED, fuzz_inputs.REFUSED}


@pytest.mark.slow
def test_broken_and_hostile_runs(tmp_path):
    fuzz = fuzz_inputs.Fuzz(tmp_path)
    for number in range(60):
        fuzz.run("run", number, seed=7)
    assert fuzz.failures == []


def test_the_same_seed_gives_the_same_cases():
    text = b"data: {train: [w4-11:train]}\ntraining: {epochs: 3}\n"
    made = [[_mutations.yaml_mutated(random.Random(f"{seed}"), text) for seed in range(50)] for _ in range(2)]
    assert made[0] == made[1] and len(set(made[0])) > 40


class TestTheWatchSees:
    """What the fuzzer would report if a reader did it."""

    def outcome(self, fuzz, read):
        fuzz.subjects["test"] = type(
            "Subject",
            (),
            {"mutate": lambda self, rng, folder: None, "read": lambda self, folder: read(folder)},
        )()
        found = fuzz.run("test", 0)
        del fuzz.subjects["test"]
        fuzz.failures.clear()
        return found

    def test_unpickling(self, fuzz):
        raw = _mutations.bomb(random.Random(3), fuzz.marker)
        pickled = pickle.dumps(_mutations.Bomb(fuzz.marker))
        assert len(raw) > 20
        assert self.outcome(fuzz, lambda folder: pickle.loads(pickled)) == "ran code of a file"
        assert not fuzz.marker.exists()

    def test_writing_elsewhere(self, fuzz):
        (victim, *_) = fuzz.victims
        found = self.outcome(fuzz, lambda folder: victim.write_text("changed"))
        victim.write_text(fuzz.victims[victim])
        assert found == "changed a file elsewhere"
        assert "written" in self.outcome(fuzz, lambda folder: (fuzz.home / "other").write_text("new"))
        assert self.outcome(fuzz, lambda folder: (folder / "own").write_text("")) == "used"

    def test_commands_and_raw_errors(self, fuzz):
        import subprocess

        assert "Popen" in self.outcome(fuzz, lambda folder: subprocess.run(["true"], check=True))
        assert "ZeroDivisionError" in self.outcome(fuzz, lambda folder: 1 / 0)
