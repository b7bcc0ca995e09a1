"""Run the three experiments of the differentiable-DFT paper and check that their figures say so.

Usage: python examples/benchmarks/training/paper.py
Kasim and Vinko, Phys. Rev. Lett. 127, 126403 (2021), in small. Ends non-zero if a figure is
missing, or if a trained functional has more than 0.75 times the error of LDA for ionisation
energies, 0.8 of PBE's for the H2 curve, 0.6 of PBE's with the L1 and the L2 loss.
"""

from __future__ import annotations

import subprocess
import sys

from main_job import ROOT, rows

PAPER = ROOT / "examples" / "paper"
#: Most error of a trained functional, relative to what it started from.
BOUNDS = {"atomic IE": 0.75, "H2 curve": 0.8, "L1": 0.6, "L2": 0.6}
COMMAND = [sys.executable, "-m", "deepchem_dft", "train"]


def judge(experiment: str, before: float, trained: float) -> list[str]:
    """Return what is wrong with two errors of an experiment, kcal/mol."""
    ratio = trained / before
    if ratio <= BOUNDS[experiment]:
        return []
    return [
        f"{experiment}: {trained:.2f} is {ratio:.2f} of the {before:.2f} kcal/mol it started "
        f"from (wanted <= {BOUNDS[experiment]})"
    ]


def main() -> int:
    failures, line = [], []

    run = ROOT / "runs" / "paper_ie_lda"
    subprocess.run([*COMMAND, str(PAPER / "ie_lda.yaml"), "--resume"], check=True, cwd=ROOT)
    table = rows(run)
    lda, trained = (float(table[name, "ie"]["mae"]) for name in ("LDA", "trained"))
    line.append(f"atomic IE: LDA {lda:.2f}, NN-LDA {trained:.2f} kcal/mol")
    failures += judge("atomic IE", lda, trained)
    figures = [run / "plots" / "error_by_molecule.png"]

    run = ROOT / "runs" / "paper_h2_curve"
    subprocess.run([*COMMAND, str(PAPER / "h2_curve.yaml"), "--resume"], check=True, cwd=ROOT)
    table = rows(run)
    pbe, trained = (float(table[name, "reaction"]["mae"]) for name in ("PBE", "trained"))
    line.append(f"H2 curve: PBE {pbe:.2f}, trained {trained:.2f} kcal/mol")
    failures += judge("H2 curve", pbe, trained)
    figures.append(run / "plots" / "h2_curve.png")

    subprocess.run([sys.executable, str(PAPER / "l1_vs_l2.py")], check=True, cwd=ROOT)
    figures.append(ROOT / "runs" / "paper_l1_vs_l2" / "l1_vs_l2.png")
    for name in ("l1", "l2"):
        table = rows(ROOT / "runs" / "paper_l1_vs_l2" / name)
        pbe, trained = (float(table[f, "ae"]["mae"]) for f in ("PBE", "trained"))
        line.append(f"{name.upper()}: PBE {pbe:.2f}, trained {trained:.2f} kcal/mol")
        failures += judge(name.upper(), pbe, trained)

    failures += [f"no figure {path}" for path in figures if not path.is_file()]
    for failure in failures:
        print(f"  FAIL  {failure}")
    print("; ".join(line))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
