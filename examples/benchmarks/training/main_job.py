"""Check the results of the main job (`make train`) against its bounds.

Usage: python examples/benchmarks/training/main_job.py [RUN_DIR]
Trains first if there is no finished run. Ends non-zero if a bound is missed.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
CONFIG = ROOT / "examples" / "train_pbe_mgga.yaml"


def rows(run: Path, role: str = "test") -> dict[tuple[str, str], dict[str, str]]:
    """Return summary rows by (functional, type)."""
    with open(run / "results.csv", newline="", encoding="utf-8") as stream:
        return {(r["functional"], r["type"]): r for r in csv.DictReader(stream) if r["role"] == role}


def overlap(run: Path) -> set[str]:
    """Names of test entries that were also trained or selected on."""
    sets = json.loads((run / "data.json").read_text())["sets"]
    names: dict[str, set[str]] = {}
    for group in sets:
        names.setdefault(group["role"], set()).update(e["name"] for e in group["entries"])
    return names.get("test", set()) & (names.get("train", set()) | names.get("valid", set()))


def main() -> int:
    run = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "runs" / "train_pbe_mgga"
    if not (run / "results.csv").is_file():
        command = [
            sys.executable,
            "-m",
            "deepchem_dft",
            "train",
            str(CONFIG),
            "--run-dir",
            str(run),
            "--resume",
        ]
        subprocess.run(command, check=True, cwd=ROOT)
    # As the run itself noted it, so that a run made by `make train` counts as well.
    minutes = json.loads((run / "status.json").read_text())["seconds_of_last_start"] / 60
    table = rows(run)
    ae, ie = table["trained", "ae"], table["trained", "ie"]
    pbe_ae, pbe_ie = table["PBE", "ae"], table["PBE", "ie"]
    checks = [
        ("test molecules", int(ae["n"]), ">=", 25),
        ("PBE MAE on them (kcal/mol)", float(pbe_ae["mae"]), ">=", 10.0),
        ("trained / PBE, atomisation", float(ae["mae"]) / float(pbe_ae["mae"]), "<=", 0.25),
        ("test atoms", int(ie["n"]), ">=", 10),
        ("trained / PBE, ionisation", float(ie["mae"]) / float(pbe_ie["mae"]), "<=", 1.1),
        ("unconverged", sum(int(r["unconverged"]) for r in table.values()), "<=", 0),
        ("test entries trained or selected on", len(overlap(run)), "<=", 0),
    ]
    checks.append(("minutes", minutes, "<=", 10.0))
    failed = 0
    for label, value, sign, bound in checks:
        good = value >= bound if sign == ">=" else value <= bound
        failed += not good
        print(f"  {'pass' if good else 'FAIL'}  {label}: {value:.4g} (wanted {sign} {bound:g})")
    print(
        f"MAE in kcal/mol, trained (PBE): atomisation {float(ae['mae']):.2f} "
        f"({float(pbe_ae['mae']):.2f}), ionisation {float(ie['mae']):.2f} "
        f"({float(pbe_ie['mae']):.2f}), {minutes:.1f} min"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
