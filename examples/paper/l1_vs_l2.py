"""Train one network with the L1 and with the L2 loss and draw both next to each other.

    python examples/paper/l1_vs_l2.py [--out runs/paper_l1_vs_l2]

Writes OUT/l1, OUT/l2 (run directories) and OUT/l1_vs_l2.png. Running it again goes on where it
stopped.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

# DeepChem logs a line for every optional package it does not find.
logging.getLogger("deepchem").setLevel(logging.ERROR)

from deepchem_dft.runs import load_config, run  # noqa: E402
from deepchem_dft.runs.tables import EntryRecord  # noqa: E402

CONFIG = Path(__file__).with_name("l1_vs_l2.yaml")
plt.style.use("deepchem_dft.figures")
COLOURS = {"PBE": "C5", "L1": "C0", "L2": "C1"}


def errors(records: list[EntryRecord], functional: str) -> dict[str, np.ndarray]:
    """Return the converged test errors (kcal/mol) by test set."""
    out: dict[str, list[float]] = {}
    for record in records:
        if (record.functional, record.role) == (functional, "test") and not record.unconverged:
            out.setdefault(record.set, []).append(record.error)
    return {name: np.array(values) for name, values in out.items()}


def draw(histories: dict[str, list[dict]], found: dict[str, dict[str, np.ndarray]], path: Path):
    """Draw validation errors by epoch and the distribution of test errors."""
    sets = list(found["L1"])
    figure, axes = plt.subplots(1, 1 + len(sets), figsize=(4.2 * (1 + len(sets)), 3.8))
    for name, rows in histories.items():
        known = [
            (r["epoch"], r["valid_mae_kcal"]) for r in rows if r["valid_mae_kcal"] == r["valid_mae_kcal"]
        ]
        axes[0].plot(*zip(*known), label=name, color=COLOURS[name])
    axes[0].set(xlabel="epoch", ylabel="validation MAE (kcal/mol)", title="Training")
    axes[0].legend()
    for axis, label in zip(axes[1:], sets):
        data = [np.abs(found[name][label]) for name in COLOURS]
        boxes = axis.boxplot(data, tick_labels=list(COLOURS), patch_artist=True)
        for line in boxes["medians"]:
            line.set_color("black")
        for box, colour in zip(boxes["boxes"], COLOURS.values()):
            box.set(facecolor=colour, alpha=0.5)
        for position, values in enumerate(data, start=1):
            axis.annotate(
                f"MAE {values.mean():.1f}",
                (position, 0),
                xytext=(0, -30),
                ha="center",
                textcoords="offset points",
                fontsize=9,
            )
        axis.set(ylabel="absolute error (kcal/mol)", title=f"{label} (N={len(data[0])})", ylim=(0, None))
    figure.tight_layout()
    figure.savefig(path)
    print(f"written: {path}")


def main() -> None:
    """Run both trainings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/paper_l1_vs_l2"))
    parser.add_argument("overrides", nargs="*", help="such as training.epochs=5")
    arguments = parser.parse_args()
    found, histories = {}, {}
    for loss in ("l1", "l2"):
        config = load_config(CONFIG, [f"training.loss={loss}", *arguments.overrides])
        result = run(config, arguments.out / loss, resume=True)
        found[loss.upper()] = errors(result.records, "trained")
        found["PBE"] = errors(result.records, "PBE")
        histories[loss.upper()] = result.directory.read_history()
    for name in COLOURS:
        for label, values in found[name].items():
            print(
                f"{name:>4}  {label:<12} MAE {np.abs(values).mean():7.2f} kcal/mol, "
                f"max {np.abs(values).max():7.2f} kcal/mol (N={len(values)})"
            )
    draw(histories, found, arguments.out / "l1_vs_l2.png")


if __name__ == "__main__":
    main()
