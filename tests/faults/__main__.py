"""Something happens at every step of every command: ``python -m tests.faults``.

A step is a file opened, written, renamed, removed, brought to the disk, or a folder made. At each
one in turn the disk is full from then on, or refuses once; the folder becomes read-only, or
permission is lost; the process is killed; Ctrl-C is pressed before or after it. Each time there has
to be one clear line with path and remedy, no half of a file, and a command that goes on to the
results of an undisturbed one. What went wrong is printed; the exit status is 1 if anything did.
"""

import argparse
import os
import tempfile
import time
from functools import cache
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ["MPLBACKEND"] = "Agg"


def main() -> None:
    """Sweep, and print a line per command and fault."""
    from .inputs import COMMANDS, TRAININGS, command, training, write_inputs
    from .sweep import FAULTS, swept

    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument(
        "--commands",
        nargs="+",
        metavar="NAME",
        choices=[*TRAININGS, *COMMANDS],
        default=[*TRAININGS, *COMMANDS],
        help="default: all, " + ", ".join([*TRAININGS, *COMMANDS]),
    )
    parser.add_argument(
        "--faults",
        nargs="+",
        metavar="FAULT",
        choices=FAULTS,
        default=FAULTS,
        help="default: all, " + ", ".join(FAULTS),
    )
    parser.add_argument("--every", type=int, default=1, help="only every so many steps (default 1)")
    parser.add_argument("--first", type=int, default=1, help="the step to begin with (default 1)")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="deepchem-dft-faults-") as place:
        os.environ["DEEPCHEM_DFT_CACHE"] = f"{place}/cache"
        folder = Path(place)
        (folder / "inputs").mkdir()
        inputs = write_inputs(folder / "inputs")

        @cache
        def finished(kind: str) -> Path:
            (folder / f"run-{kind}").mkdir()
            status, err = training(inputs, kind).perform(folder / f"run-{kind}")
            assert status == 0, err
            return folder / f"run-{kind}" / "run"

        total, wrong = 0, 0
        for name in options.commands:
            case = training(inputs, name) if name in TRAININGS else command(inputs, name, finished)
            case = case.known(folder / f"known {name}")
            for what in options.faults:
                begun, spot = time.process_time(), folder / f"{name} {what}"
                spot.mkdir()
                steps, problems = swept(case, spot, what, options.every, options.first)
                print(
                    f"{name}, {what}: {steps} steps, {len(problems)} wrong, "
                    f"{time.process_time() - begun:.0f} CPU s",
                    *problems,
                    sep="\n  ",
                    flush=True,
                )
                total, wrong = total + steps, wrong + len(problems)
    print(f"{total} faults, {wrong} wrong")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
