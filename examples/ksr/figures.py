"""Draw what the configurations of this folder lead to, side by side.

Usage: python examples/ksr/figures.py [h2] [transfer] [--runs DIR] [--out DIR]

h2: the dissociation curve of H2 from two separations by four ways to learn, and the error of each
(h2_global, h2_gradient, h2_local, h2_direct.yaml; Fig. 2 of Li et al., Phys. Rev. Lett. 126,
036401, 2021). transfer: errors of h2_h4.yaml for all molecules it is tested on (Fig. 4). Runs that
are not there yet are trained, others are read.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from deepchem_dft.lattice.systems import FAMILIES
from deepchem_dft.runs import load_config, run
from deepchem_dft.runs.drawing import accuracy_band
from deepchem_dft.units import HARTREE_TO_KCAL

plt.style.use("deepchem_dft.figures")
HERE = Path(__file__).resolve().parent
ACCURATE = 1000 / HARTREE_TO_KCAL  # mHa
WAYS = {"global": "KSR-global", "gradient": "KSR-GGA", "local": "KSR-LDA", "direct": "direct ML"}
NAMES = {"h2_plus": "H$_2^+$", "h2": "H$_2$", "h4": "H$_4$", "h2h2": "H$_2$ + H$_2$"}


def curve(result, label: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return distances (Bohr), exact and trained total energies (Ha) of a test set."""
    rows = [r for r in result.records if (r.role, r.set, r.functional) == ("test", label, "trained")]
    distances = np.array([float(r.entry.split("R=")[1]) for r in rows])
    repulsion = np.array([FAMILIES[label](float(x)).nuclear_repulsion() for x in distances])
    exact, found = (np.array([getattr(r, name) for r in rows]) + repulsion for name in ("reference", "value"))
    return distances, exact, found


def train(name: str, runs: Path):
    return run(load_config(HERE / f"{name}.yaml"), runs / name, resume=True)


def draw_h2(runs: Path, out: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    for way, name in WAYS.items():
        distances, exact, found = curve(train(f"h2_{way}", runs), "h2")
        if way == "global":
            left.plot(distances, exact, color="0.3", linewidth=4, label="exact")
        left.plot(distances, found, ".-", linewidth=1, label=name)
        right.plot(distances, np.maximum(np.abs(found - exact) * 1000, 1e-2), ".-", linewidth=1, label=name)
    for axis in (left, right):
        for position in (1.28, 3.84):
            axis.axvline(position, color="0.5", linestyle=":", linewidth=1)
        axis.set_xlabel("R (Bohr)")
    right.axhspan(1e-2, ACCURATE, color="grey", alpha=0.25, linewidth=0, label="below 1 kcal/mol")
    right.legend(handles=right.patches)
    right.set(yscale="log", ylabel="absolute error (mHa)", ylim=(1e-2, 300))
    left.set(ylabel="total energy (Ha)", title="H$_2$, trained on the dotted separations")
    left.legend()
    figure.tight_layout()
    figure.savefig(out / "ksr_h2_functionals.png")


def draw_transfer(runs: Path, out: Path) -> None:
    result = train("h2_h4", runs)
    figure, axes = plt.subplots(2, 4, figsize=(14, 5.6), sharex="col")
    for (label, name), (top, bottom) in zip(NAMES.items(), axes.T, strict=True):
        distances, exact, found = curve(result, label)
        top.plot(distances, exact, color="0.3", linewidth=4, label="exact")
        top.plot(distances, found, ".-", color="C0", linewidth=1, label="trained")
        errors = 1000 * (found - exact)
        accuracy_band(bottom, ACCURATE)
        bottom.plot(distances, errors, ".-", color="C0", linewidth=1)
        bottom.set(xlabel="R (Bohr)", ylim=(-6, 6))
        for axis in (top, bottom):
            for record in result.records:
                if (record.role, record.set, record.functional) == ("train", label, "trained"):
                    axis.axvline(
                        float(record.entry.split("R=")[1]), color="0.5", linestyle=":", linewidth=0.8
                    )
        top.set_title(f"{name}: MAE {np.nanmean(np.abs(errors)):.2f} mHa")
    axes[0, 0].set_ylabel("total energy (Ha)")
    axes[1, 0].set_ylabel("error (mHa)")
    axes[0, 0].legend()
    axes[1, 0].legend(handles=axes[1, 0].patches, loc="lower left")
    figure.tight_layout()
    figure.savefig(out / "ksr_transfer.png")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help="h2, transfer; default: both")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder of the figures")
    options = parser.parse_args()
    drawings = {"h2": draw_h2, "transfer": draw_transfer}
    for part in options.parts or drawings:
        if part not in drawings:
            parser.error(f"there is no part {part!r}")
        drawings[part](options.runs, options.out)


if __name__ == "__main__":
    main()
