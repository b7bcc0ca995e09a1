"""Run every 'must hold' check of the package and print one table of outcomes with their figures.

Usage: python examples/benchmarks/run_all.py [--only NAME ...] [--list] [--logs DIR]
Ends non-zero if any check fails. Everything together takes about two hours on two cores.

Outcomes: ``pass``; ``FAIL``; ``part`` if the rest passed but something was skipped, which is named;
``skip`` if nothing was compared at all.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = Path(__file__).resolve().parent


@dataclass
class Check:
    """One line of the table: a command, and how to read its figures."""

    name: str
    bound: str
    command: list[str]
    figures: Callable[[str], str]


def pytest(*arguments: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "2",
        "-p",
        "no:cacheprovider",
        "-rfEs",
        "-m",
        "slow or not slow",
        *arguments,
    ]


def script(name: str, *arguments: str) -> list[str]:
    return [sys.executable, str(BENCHMARKS / name), *arguments]


def tests(output: str) -> str:
    """Return pytest's closing line."""
    ends = r"^.*\b(?:passed|failed|errors?|skipped|no tests ran)\b.* in [\d.]+s.*$"
    lines = re.findall(ends, output, re.M)
    return re.sub(r"[= ]{2,}", " ", lines[-1]).strip() if lines else "no result"


def skipped(output: str) -> list[str]:
    """Return why pytest skipped tests, or what a script says it could not compare with."""
    found = re.findall(r"^(?:SKIPPED \[\d+\] \S+: |not compared: )(.*\S)", output, re.M)
    return list(dict.fromkeys(found))


def outcome(status: int, output: str) -> str:
    """Return the first column of the table, given a command's exit status and all it printed."""
    if status:
        return "FAIL"
    if not skipped(output):
        return "pass"
    closing = tests(output)
    return "skip" if "skipped" in closing and "passed" not in closing else "part"


def last_line(output: str) -> str:
    """Return the last line a script printed that is not indented detail."""
    lines = [line for line in output.splitlines() if line.strip() and not line.startswith(" ")]
    return lines[-1].strip() if lines else "no output"


def ksr(output: str) -> str:
    """Return the lines that sum up a part of ksr.py."""
    return "; ".join(re.findall(r"^(?:speed|h2|transfer): .*$", output, re.M)) or "no result"


def hamiltonian(output: str) -> str:
    """Return the lines that sum up a part of hamiltonian.py."""
    return "; ".join(re.findall(r"^(?:forms|cycles): .*$", output, re.M)) or last_line(output)


CHECKS = [
    Check(
        "main job",
        "test MAE <= 0.25 x PBE, IE MAE <= 1.1 x PBE, < 10 min",
        script("training/main_job.py"),
        last_line,
    ),
    Check(
        "energies",
        "1e-8 Ha against PySCF, 16 systems x 5 functionals",
        pytest("tests/scf/test_energies.py"),
        tests,
    ),
    Check(
        "gradients",
        "1e-6 energy, 1e-5 properties, forces 1e-6 Ha/Bohr",
        pytest("tests/scf/test_gradients.py"),
        tests,
    ),
    Check(
        "convergence",
        "84/84 and 18/18, within 1e-5 Ha of the best of PySCF",
        script("scf/convergence.py"),
        last_line,
    ),
    Check(
        "dynamics",
        "1.6 times fewer Fock builds than from the last step; drift 1e-4 Ha per 100 steps",
        script("scf/dynamics.py", "--system", "H2O"),
        last_line,
    ),
    Check(
        "aspirin",
        "first line within 5 CPU s, at most 1.3 times the CPU of PySCF's hybrid meta-GGA",
        script("scf/aspirin.py"),
        last_line,
    ),
    Check(
        "DQC",
        "2e-5 Ha and 1e-4 relative gradient on two molecules",
        pytest("tests/interop", "-m", "dqc"),
        tests,
    ),
    Check(
        "DeepChem's contract",
        "batches, labels, overfit, reload, DeepChem's own code",
        pytest("tests/models", "tests/molnet"),
        tests,
    ),
    Check(
        "paper's experiments",
        "of what it was: IE 0.75, H2 curve 0.8, L1, L2 0.6; figures",
        script("training/paper.py"),
        last_line,
    ),
    Check(
        "bad input",
        "one error naming file, entry, field and remedy",
        pytest("tests/data", "tests/cli", "tests/xc"),
        tests,
    ),
    Check(
        "hostile input",
        "20,000 broken files: used or refused, nothing run or written elsewhere",
        script("input/fuzz_inputs.py"),
        last_line,
    ),
    Check(
        "training step",
        "x DQC: 6 cold, 18 warm, 45 two-grid; of PySCF: 1.0, 0.3, 0.2",
        script("training/training_step.py"),
        last_line,
    ),
    Check(
        "parts of a step",
        "warm 0.6 x, two-grid 0.3 x a cold step; nothing made twice",
        script("training/profile_step.py"),
        last_line,
    ),
    Check(
        "scaling",
        "exponent at most 2.0 in the number of orbitals, C2H6 to C8H18",
        script("training/scaling.py"),
        last_line,
    ),
    Check(
        "large molecules",
        "benzene with 342 orbitals and C8H18 train within 4 GB",
        script("training/large.py"),
        last_line,
    ),
    Check(
        "several steps per solution",
        "errors 1.02 x, fields 0.25 x, CPU time 0.6 x",
        script("training/scf_every.py"),
        last_line,
    ),
    Check(
        "processes",
        "two give 1.6 x the epochs of one; losses 1e-10 (first), 1e-7 (tenth)",
        script("training/processes.py"),
        last_line,
    ),
    Check(
        "fixed points",
        "evaluations, overhead, gradients, Fock builds: see the script",
        script("equilibrium/equilibrium.py"),
        last_line,
    ),
    Check(
        "polar molecules",
        "DEQ at least the best baseline less one standard error",
        script("equilibrium/deq_property.py"),
        last_line,
    ),
    Check(
        "exact data",
        "H2 1e-6 Ha, H4 and H2H2 1e-5 Ha, 72 points of H2 in 20 CPU s",
        script("models/ksr_exact.py"),
        last_line,
    ),
    Check(
        "KSR",
        "40 x dense; H2 31/32, MAE 0.8 mHa, 10 CPU min; H4, H2H2 MAE 1.6, H2+ 0.1 mHa",
        script("models/ksr.py"),
        ksr,
    ),
    Check(
        "Hamiltonians",
        "water: H 5, orbitals 20 uHa; fed back no worse; cycles 0.3 x, 0.7 x",
        script("models/hamiltonian.py", "forms", "cycles"),
        hamiltonian,
    ),
    Check(
        "single build",
        "energies of second order, forces of first; hamiltonian-water 0.05 uHa, 20 uHa/Bohr",
        script("models/single_build.py"),
        last_line,
    ),
    Check(
        "zoo",
        "PySCF 1e-8 Ha, forces 1e-6 Ha/Bohr; TDDFT, fitting, solvent, dynamics; refusals",
        pytest("tests/zoo", "tests/interop"),
        tests,
    ),
    Check(
        "zoo converges",
        "every fourth system of the data sets, within 1.35 x PBE's Fock builds",
        script(
            "xc/zoo_convergence.py",
            "--every",
            "4",
            "--xc",
            "zoo:nn-mgga",
            "--xc",
            "zoo:nn-hybrid",
            "--xc",
            "zoo:xcnn-gga",
            "--xc",
            "zoo:xcnn-lda",
        ),
        last_line,
    ),
    Check(
        "one electron",
        "constrained at most 0.3 x the deviation of its unconstrained twin",
        script("xc/one_electron.py", "--twins"),
        last_line,
    ),
    Check(
        "what matters",
        "an ablation: the base's error, and what each change does to it",
        script("xc/ablation.py", "--no-check"),
        last_line,
    ),
    Check(
        "XCNN board",
        "errors with and without what was trained on, as documented",
        script("xc/xcnn_board.py"),
        last_line,
    ),
    Check(
        "cost of neighbours",
        "a Fock matrix: NNNonlocal at most 3 x r2SCAN, VV10 at most half of wB97M-V",
        script("xc/nonlocal_cost.py"),
        last_line,
    ),
    Check(
        "Skala's cost",
        "an evaluation at least 1.5 times the skala package's speed, in no more memory",
        script("xc/skala_cost.py", "water", "benzene"),
        last_line,
    ),
    Check(
        "resume",
        "killed and resumed equals uninterrupted to 1e-10",
        pytest("tests/models/test_resume.py", "tests/runs"),
        tests,
    ),
]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="checks whose names contain this")
    parser.add_argument("--list", action="store_true", help="print the commands and stop")
    parser.add_argument("--logs", default="runs/bench", help="folder for the full outputs")
    options = parser.parse_args()
    chosen = [c for c in CHECKS if not options.only or any(o.lower() in c.name.lower() for o in options.only)]
    if options.list:
        for check in chosen:
            print(f"{check.name}: {' '.join(check.command[1:])}")
        return 0
    logs = Path(options.logs)
    logs.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    rows, failed = [], 0
    for check in chosen:
        print(f"running: {check.name} ...", flush=True)
        start = time.monotonic()
        done = subprocess.run(
            check.command,
            cwd=ROOT,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        minutes = (time.monotonic() - start) / 60
        log = logs / f"{re.sub('[^a-z]+', '-', check.name.lower())}.txt"
        log.write_text(done.stdout)
        result = outcome(done.returncode, done.stdout)
        failed += result == "FAIL"
        figures = "; ".join(
            [check.figures(done.stdout), *(f"not compared: {why}" for why in skipped(done.stdout))]
        )
        rows.append((result, check.name, check.bound, figures, f"{minutes:.1f} min"))
    heads = ("", "check", "bound", "result", "took")
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(5)]
    for row in [heads, tuple("-" * w for w in widths), *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
    print(f"full outputs: {logs}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
