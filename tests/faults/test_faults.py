"""Faults at every step of every command: one clear line, nothing lost or half, and it goes on."""

from __future__ import annotations

import pytest

from .conftest import assert_whole
from .shim import Shim, killed

RUNS = ["xc", "ksr", "hamiltonian"]
LONG = ["plots", "folds"]
COMMANDS = [
    "label",
    "data hamiltonian",
    "data ksr",
    "densities",
    "evaluate",
    "predict",
    "report",
    "export",
    "curve",
    "optimize",
]


def steps_of(case, folder, what: str) -> int:
    """Count the steps of an undisturbed command."""
    folder.mkdir()
    with Shim(folder, 0, what).working() as shim:
        assert case.perform(folder)[0] == 0
    return shim.count


def refuse(case, folder, at: int, what: str) -> None:
    """Let the disk be full, or read-only, from a step on; then mend it and go on."""
    folder.mkdir()
    with Shim(folder, at, what).working() as shim:
        status, err = case.perform(folder)
    where = f"{what} at step {at} ({shim.failed}): {err}"
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in err and "unexpected" not in err, where
    if status:  # what is written down last of all may fail with no more than a warning
        assert status == 1 and len(errors) == 1, where
        assert str(folder) in errors[0] and "Remedy: " in errors[0], where
        assert ("no space left" if what == "full" else "read-only file system") in errors[0], where
    else:
        assert "log.txt cannot be written" in err or not shim.failed, where
    assert_whole(folder) if what == "full" else None
    case.go_on(folder)


def kill(case, folder, at: int) -> None:
    folder.mkdir()
    assert killed(Shim(folder, at, "kill"), lambda: case.perform(folder))
    case.go_on(folder)
    if (folder / "run").exists():  # elsewhere drafts may be those of others
        assert_whole(folder)


def interrupt(case, folder, at: int) -> None:
    folder.mkdir()
    with Shim(folder, at, "interrupt").working():
        status, err = case.perform(folder)
    assert status == 130 and "Traceback" not in err, err
    assert_whole(folder)
    case.go_on(folder)


def some(steps: int, number: int) -> list[int]:
    """Return a few steps, the first and the last among them."""
    return sorted({1 + round(i * (steps - 1) / (number - 1)) for i in range(number)})


@pytest.mark.parametrize("name", [*RUNS, *COMMANDS])
def test_a_full_disk(cases, name, tmp_path):
    case = cases(name)
    for at in some(steps_of(case, tmp_path / "count", "full"), 4 if name in RUNS else 3):
        refuse(case, tmp_path / f"{at}", at, "full")


@pytest.mark.parametrize("name", ["ksr", "label", "evaluate", "export"])
def test_a_read_only_folder(cases, name, tmp_path):
    refuse(cases(name), tmp_path / "out", 1, "read-only")


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
@pytest.mark.parametrize("what", ["full", "read-only", "kill", "interrupt"])
@pytest.mark.parametrize("name", [*RUNS, *LONG, *COMMANDS])
def test_every_step(cases, name, what, tmp_path):
    case = cases(name)
    for at in range(1, steps_of(case, tmp_path / "count", what) + 1):
        folder = tmp_path / f"{at}"
        if what == "kill":
            kill(case, folder, at)
        elif what == "interrupt":
            interrupt(case, folder, at)
        else:
            refuse(case, folder, at, what)
