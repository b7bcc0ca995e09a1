"""One update per self-consistent field against many: the same training, judged self-consistently.

Usage: python examples/benchmarks/training/scf_every.py [--out DIR] [overrides such as training.epochs=5]

Runs scf_every.yaml three times: every optimiser step through the self-consistent field; up to
twenty steps at frozen densities, fewer where a density would move (training.scf_trust); and the
same twenty without that safeguard. Prints training time, fields solved, and the errors of the
trained functionals, which are always evaluated self-consistently. Ends non-zero if the trusted
twenty are more than 2 % worse than every step, solve more than a quarter of the fields, or take
more than 0.6 times the CPU time; or if one way does not take a quarter off PBE's training error.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
logging.getLogger("deepchem").setLevel(logging.ERROR)

from deepchem_dft.fitting.progress import Reporter  # noqa: E402
from deepchem_dft.runs import load_config, run  # noqa: E402

CONFIG = Path(__file__).with_suffix(".yaml")
WAYS = {
    "every step": ["training.scf_every=1"],
    "20, trusted": ["training.scf_every=20"],
    "20, blindly": ["training.scf_every=20", "training.scf_trust=1.0e3"],
}


#: Most that "20, trusted" may have, relative to "every step"; and any way, relative to PBE.
BOUNDS = {"train": 1.02, "valid": 1.02, "fields": 0.25, "seconds": 0.6, "train / PBE": 0.75}


def judge(found: dict[str, dict[str, float]]) -> list[str]:
    """Return what misses its bound, of rows with train, valid (kcal/mol), fields and seconds."""
    every, trusted = found["every step"], found["20, trusted"]
    ratios = {
        f"20, trusted / every step, {key}": (trusted[key] / every[key], BOUNDS[key])
        for key in ("train", "valid", "fields", "seconds")
    }
    ratios |= {
        f"{name}, train / PBE": (found[name]["train"] / found["PBE"]["train"], BOUNDS["train / PBE"])
        for name in WAYS
    }
    return [f"{name}: {ratio:.2f} > {bound}" for name, (ratio, bound) in ratios.items() if not ratio <= bound]


class Stopwatch(Reporter):
    """Counts CPU seconds between the start of training and the start of the evaluation."""

    def __init__(self) -> None:
        self.marks: dict[str, float] = {}

    def phase(self, name: str, total: int | None = None) -> None:
        """Note when a phase begins."""
        self.marks.setdefault(name, time.process_time())

    @property
    def training(self) -> float:
        """CPU seconds of the training phase."""
        return self.marks["evaluating"] - self.marks["training"]


def main() -> int:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/scf_every"))
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_args()
    print(f"{'':14s} {'CPU s':>8s} {'fields':>7s} {'train MAE':>10s} {'valid MAE (kcal/mol)':>21s}")
    first, found = None, {}
    for name, options in WAYS.items():
        config = load_config(CONFIG, [*options, "evaluation.processes=1", *arguments.overrides])
        watch = Stopwatch()
        result = run(config, arguments.out / name.replace(", ", "_").replace(" ", "_"), reporter=watch)
        errors = {(r.functional, r.role): [] for r in result.records}
        for record in result.records:
            errors[record.functional, record.role].append(abs(record.error))
        mae = {key: sum(values) / len(values) for key, values in errors.items()}
        if first is None:
            first = watch.training
            found["PBE"] = {role: mae["PBE", role] for role in ("train", "valid")}
            print(f"{'PBE':14s} {'':8s} {'':7s} {mae['PBE', 'train']:10.2f} {mae['PBE', 'valid']:21.2f}")
        fields = sum(row["scf_solutions"] for row in result.directory.read_history())
        found[name] = {
            "train": mae["trained", "train"],
            "valid": mae["trained", "valid"],
            "fields": fields,
            "seconds": watch.training,
        }
        print(
            f"{name:14s} {watch.training:8.1f} {fields:7d} {mae['trained', 'train']:10.2f} "
            f"{mae['trained', 'valid']:21.2f}   ({first / watch.training:.1f} x faster)",
            flush=True,
        )
    missed = judge(found)
    print("\n".join([*(f"  MISSED {line}" for line in missed), f"{len(missed)} bounds missed"]))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
