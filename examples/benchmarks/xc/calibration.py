"""Are an ensemble's uncertainties right? Calibrated on one data set, tested on another.

Usage: python examples/benchmarks/xc/calibration.py --xc zoo:NAME [--valid w4-11:valid]
           [--dataset w4-11:test] [--basis def2-qzvp] [--keep FILE.jsonl] [--out FIGURE.png]
           [--save NAME.safetensors]
Prints factor and floor, the coverage before and after, and the rank correlation with the absolute
error. Ends non-zero if what the calibrated 68 % interval covers of a test set is outside the 95 %
range of a right interval: 57 to 79 % of 70 errors. With --keep, a run that was stopped goes on.
--save writes the ensemble with its new calibration, and its card.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from scipy.stats import binom

from deepchem_dft import zoo
from deepchem_dft.cli.common import dataset_ref, load_deepchem, solution_progress
from deepchem_dft.runs.xc import calibration
from deepchem_dft.runs.xc.entries import EntrySet, select
from deepchem_dft.runs.xc.evaluate import Evaluation
from deepchem_dft.runs.xc.schema import DatasetRef
from deepchem_dft.scf.many import Solver
from deepchem_dft.scf.solutions import Functional
from deepchem_dft.units import HARTREE_TO_KCAL
from deepchem_dft.xc.ensemble import EnsembleXC


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--xc", required=True, help="an ensemble: zoo:NAME, or NAME.safetensors")
    parser.add_argument("--valid", action="append", help="data to calibrate on; may be repeated")
    parser.add_argument("--dataset", action="append", help="data to test on; may be repeated")
    parser.add_argument("--basis", help="default: that of the data")
    parser.add_argument("--grid-level", type=int, default=3)
    parser.add_argument("--max-heavy", type=int, help="leave out entries with more heavy atoms")
    parser.add_argument("--jobs", type=int, help="worker processes; default all cores")
    parser.add_argument("--keep", type=Path, help="file of solutions to go on from")
    parser.add_argument("--out", type=Path, help="figure of nominal against observed coverage")
    parser.add_argument("--save", type=Path, help="write the calibrated ensemble")
    options = parser.parse_args()
    load_deepchem()
    ensemble = zoo.functional(options.xc)
    if not isinstance(ensemble, EnsembleXC):
        sys.exit(f"{options.xc} is no ensemble: a single functional knows no uncertainty")

    functional = Functional.named(options.xc)
    sets = [
        (role, name)
        for role, names in (
            ("valid", options.valid or ["w4-11:valid"]),
            ("test", options.dataset or ["w4-11:test"]),
        )
        for name in names
    ]
    groups = [
        EntrySet(role, name, select(dataset_ref(name, max_heavy=options.max_heavy), options.basis))
        for role, name in sets
    ]
    names = {
        role: {e.name for g in groups if g.role == role for e in g.entries} for role in ("valid", "test")
    }
    shared = names["valid"] & names["test"]
    if shared:
        sys.exit(f"{len(shared)} entries are in both parts, {min(shared)} for one")
    known = trained_on(options.xc) & (names["valid"] | names["test"])
    if known:
        sys.exit(f"{options.xc} was trained on {len(known)} of these entries, {min(known)} for one")
    with Solver(options.jobs, cache=options.keep) as solver, solution_progress("solving") as show:
        evaluation = Evaluation(solver, options.grid_level)
        records = evaluation.run([(group, [functional]) for group in groups], show)
    valid = [r for r in records if r.role == "valid"]
    better = calibration.calibrated(ensemble, valid)
    print(
        f"calibration: {_text(better)}, {len(ensemble)} members "
        f"(was {_text(ensemble)}), from {sum(map(_counts, valid))} validation entries"
    )
    print("as it was:\n" + calibration.coverage_markdown(records))
    scaled = calibration.recalibrated(records, ensemble, better)
    print("calibrated:\n" + calibration.coverage_markdown(scaled))
    tested = [q for q in calibration.qualities(scaled) if q.role == "test"]
    if options.out is not None:
        calibration.draw(
            {f"{q.set}, {q.type}": (q.errors, q.uncertainties) for q in tested},
            options.out,
            f"Uncertainty of {options.xc}",
        )
        print(f"written: {options.out}")
    if options.save is not None:
        card = zoo.card(options.xc).to_dict()
        known = {k: v for k, v in card.items() if k not in ("format", "name", "kind", "form", "weights")}
        zoo.save(better, options.save, **known)
        print(f"written: {options.save}")
    lost = [r.entry for r in records if r.unconverged]
    wrong = [q for q in tested if not _right(q)]
    for name in lost:
        print(f"  FAILED {name} did not converge")
    for quality in wrong:
        print(f"  FAILED {quality.text()}")
    print(
        "; ".join(
            f"{q.set} {q.type}: {100 * q.covered:.0f} % of {len(q.errors)} covered, "
            f"rank correlation {q.rank:.2f}"
            for q in tested
        )
    )
    return 1 if wrong or lost else 0


def trained_on(name: str) -> set[str]:
    """Return the entries that a functional was trained on, as its card says."""
    data = zoo.card(name).training.get("config", {}).get("data", {})
    return {
        entry.name for one in data.get("train", ()) for entry in select(DatasetRef(**one), data.get("basis"))
    }


def _text(ensemble: EnsembleXC) -> str:
    return (
        f"{ensemble.calibration:.3f} x standard deviation and "
        f"{ensemble.floor * HARTREE_TO_KCAL:.2f} kcal/mol in quadrature"
    )


def _right(quality: calibration.Quality) -> bool:
    """Tell whether the coverage is within the 95 % range of as many errors with right intervals."""
    count = len(quality.errors)
    low, high = binom.ppf([0.025, 0.975], count, calibration.LEVEL)
    return low <= round(quality.covered * count) <= high


def _counts(record) -> bool:
    return record.uncertainty is not None


if __name__ == "__main__":
    sys.exit(main())
