"""Faults at every step of every command: one clear line, nothing lost or half, and it goes on."""

import pytest

from .inputs import COMMANDS, CONFIGS, TRAININGS
from .shim import Shim
from .sweep import FAULTS, kill, refuse, steps_of, swept

RUNS = list(CONFIGS)
#: The commands that every test run meets; the others are like one of them.
SOME = ["label", "data hamiltonian", "data ksr", "densities", "evaluate", "predict", "report", "export"]
SOME += ["curve", "optimize"]


def some(steps: int, number: int) -> list[int]:
    """Return a few steps, the first and the last among them."""
    return sorted({1 + round(i * (steps - 1) / (number - 1)) for i in range(number)})


@pytest.mark.parametrize("name", [*RUNS, *SOME])
def test_a_full_disk(cases, name, tmp_path):
    case = cases(name)
    for at in some(steps_of(case, tmp_path / "count", "full"), 4 if name in RUNS else 3):
        refuse(case, tmp_path / f"{at}", at, "full")


@pytest.mark.parametrize("name", ["ksr", "label", "evaluate", "export"])
def test_a_read_only_folder(cases, name, tmp_path):
    refuse(cases(name), tmp_path / "out", 1, "read-only")


@pytest.mark.parametrize("name", ["deq", "data ksr"])
@pytest.mark.parametrize("what", ["full", "read-only"])
def test_a_cache_that_cannot_be_written_costs_time_alone(cases, name, what, tmp_path, monkeypatch, caplog):
    case = cases(name)
    for at in (1, 3):
        (cache := tmp_path / f"cache{at}").mkdir()
        (tmp_path / f"{at}").mkdir()
        monkeypatch.setenv("DEEPCHEM_DFT_CACHE", str(cache))
        with Shim(cache, at, what).working() as shim:
            status, err = case.perform(tmp_path / f"{at}")
        assert shim.failed and status == 0 and "cached in" in err + caplog.text, err
        assert case.read(tmp_path / f"{at}") == case.expected
        assert what == "read-only" or not any(p.is_file() for p in cache.rglob("*"))


@pytest.mark.parametrize("name", RUNS)
def test_a_kill_while_it_starts(cases, name, tmp_path):
    case = cases(name)
    for at in (2, 4, 9, 15, 25):
        kill(case, tmp_path / f"{at}", at)


@pytest.mark.parametrize("name", ["label", "data hamiltonian", "evaluate"])
def test_a_kill_of_what_grows(cases, name, tmp_path):
    case = cases(name)
    for at in some(steps_of(case, tmp_path / "count", "kill"), 4):
        kill(case, tmp_path / f"{at}", at)


@pytest.mark.slow
@pytest.mark.parametrize("what", FAULTS)
@pytest.mark.parametrize("name", [*TRAININGS, *COMMANDS])
def test_many_steps(cases, name, what, tmp_path):
    """All of them: ``python -m tests.faults``."""
    steps, problems = swept(cases(name), tmp_path, what, every=7 if name in TRAININGS else 1)
    assert steps and not problems
