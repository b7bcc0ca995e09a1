"""What has to hold after a fault at some step of a command, and all steps of a command in turn."""

import os
import shutil
from pathlib import Path

from .case import Case, assert_whole
from .shim import ERRORS, Shim, killed

#: What can happen at a step.
FAULTS = [*ERRORS, "kill", "interrupt", "interrupt after"]


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
    if status:
        assert status == 1 and len(errors) == 1, where
        assert str(folder) in errors[0] and "Remedy: " in errors[0], where
        said = os.strerror(ERRORS[what])
        assert said[:1].lower() + said[1:] in errors[0], where
    else:  # what is no result may fail with no more than a warning, and a folder may be there already
        harmless = "log.txt cannot be written" in err or not shim.failed or "/.lock" in shim.failed
        assert harmless or (what == "once" and shim.failed.startswith("mkdir")), where
        assert case.read(folder) == case.expected, where
    if what in ("full", "once"):
        assert_whole(folder)
    case.go_on(folder)


def kill(case, folder, at: int) -> None:
    """Kill a process at a step, and go on."""
    folder.mkdir()
    assert killed(Shim(folder, at, "kill"), lambda: case.perform(folder))
    survive(case, folder)


def survive(case, folder) -> None:
    """Go on with what a killed process has left."""
    case.go_on(folder)
    assert_whole(folder, drafts=not (folder / "run").exists())  # elsewhere they may be those of others


def interrupt(case, folder, at: int, what: str = "interrupt") -> None:
    folder.mkdir()
    with Shim(folder, at, what).working() as shim:
        status, err = case.perform(folder)
    where = f"{what} at step {at} ({shim.failed}): {err}"
    assert status == (130 if shim.failed else 0) and "Traceback" not in err, where
    # In the very clearing up, a draft may stay; just after it was made, an empty file.
    assert_whole(folder, drafts=shim.failed.startswith(("unlink", "remove", "open")))
    case.go_on(folder)


def swept(case: Case, folder: Path, what: str, every: int = 1, first: int = 1) -> tuple[int, list[str]]:
    """Let something happen at every step, or every so many; return how many, and what went wrong."""
    problems, count = [], steps_of(case, folder / "count", "copies" if what == "kill" else what)
    steps = range(first, count + 1, every)
    for at in steps:
        place = folder / f"{at}"
        try:
            if what == "kill":
                survive(case, folder / "count-kills" / f"{at}")
            elif what.startswith("interrupt"):
                interrupt(case, place, at, what)
            else:
                refuse(case, place, at, what)
        except AssertionError as error:
            problems.append(f"{what} at step {at}: {error}")
        shutil.rmtree(place, ignore_errors=True)
    shutil.rmtree(folder / "count-kills", ignore_errors=True)
    return len(steps), problems
