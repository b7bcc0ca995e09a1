"""Test error against the number of training molecules, for KSR and for direct machine learning.

Usage: python examples/ksr/training_size.py [--runs DIR] [--out FIGURE] [--families h2 h4]

After Fig. 4 of Li et al., Phys. Rev. Lett. 126, 036401 (2021). H2 is trained through trajectories
(h2_global.yaml) and directly (h2_direct.yaml), H4 in the two ways of h2_h4.yaml and h2_direct.yaml,
each with as many separations as said and two sets of initial weights. Runs are resumed, and kept.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from deepchem_dft.runs import load_config, run
from deepchem_dft.runs.drawing import formula

HERE = Path(__file__).resolve().parent
SEPARATIONS = {
    "h2": {2: [1.28, 3.84], 4: [0.48, 1.28, 2.72, 4.80], 8: [0.48, 1.28, 2.08, 2.72, 3.36, 4.00, 4.80, 5.76]},
    "h4": {2: [1.60, 4.00], 4: [1.12, 2.08, 3.20, 4.80], 8: [1.12, 1.60, 2.08, 2.56, 3.20, 4.00, 4.80, 5.76]},
}
#: Configuration of each family and way, and what it changes.
WAYS = {
    ("h2", "KSR"): ("h2_global.yaml", ["training.epochs=200"]),
    ("h2", "direct"): ("h2_direct.yaml", []),
    ("h4", "KSR"): ("h2_h4.yaml", ["training.separability_weight=0"]),
    ("h4", "direct"): ("h2_direct.yaml", ["functional={gate_width: 0.25}"]),
}
VALID = {"h2": "[0.96, 1.68, 2.24, 2.96, 4.40, 5.52]", "h4": "valid"}


def error(family: str, way: str, size: int, folder: Path) -> tuple[float, int]:
    """Return the mean absolute error over the family's test separations, mHa.

    Those whose calculation does not converge are left out, and counted.
    """
    name, changes = WAYS[family, way]
    config = load_config(
        HERE / name,
        [
            f"data.train=[{{family: {family}, distances: {SEPARATIONS[family][size]}}}]",
            f"data.valid=[{{family: {family}, distances: {VALID[family]}}}]",
            f"data.test=['{family}:test']",
            "training.seeds=2",
            "output.plots=false",
            "evaluation.baseline=false",
            *changes,
        ],
    )
    result = run(config, folder / f"{family}_{way}_{size}", resume=True)
    errors = np.array([1000 * abs(r.value - r.reference) for r in result.records if r.role == "test"])
    return float(np.nanmean(errors)), int(np.isnan(errors).sum())


def draw(found: dict[tuple[str, str], dict[int, float]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.style.use("deepchem_dft.figures")
    families = list(dict.fromkeys(family for family, _ in found))
    figure, axes = plt.subplots(
        1, len(families), figsize=(4.4 * len(families), 3.6), squeeze=False, sharey=True
    )
    for axis, family in zip(axes[0], families, strict=True):
        for (one, way), values in found.items():
            if one == family:
                axis.loglog(list(values), list(values.values()), "o-", label=way)
        axis.axhspan(1e-1, 1.594, color="grey", alpha=0.25, linewidth=0, label="below 1 kcal/mol")
        axis.set(xlabel="training molecules", title=formula(family.upper()))
        axis.set_xticks([2, 4, 8], ["2", "4", "8"], minor=False)
        axis.minorticks_off()
        axis.legend()
    axes[0][0].set_ylabel("test error (mHa)")
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/training_size"))
    parser.add_argument("--out", type=Path, help="figure; default: in the folder of the runs")
    parser.add_argument("--families", nargs="+", choices=["h2", "h4"], default=["h2", "h4"])
    options = parser.parse_args()
    found: dict[tuple[str, str], dict[int, float]] = {}
    for family in options.families:
        for way in ("KSR", "direct"):
            for size in SEPARATIONS[family]:
                value, lost = error(family, way, size, options.runs)
                found.setdefault((family, way), {})[size] = value
                note = f"; {lost} did not converge" if lost else ""
                print(f"{family} {way:<7} {size} molecules: {value:9.2f} mHa{note}", flush=True)
    options.runs.mkdir(parents=True, exist_ok=True)
    draw(found, options.out or options.runs / "training_size.png")


if __name__ == "__main__":
    main()
