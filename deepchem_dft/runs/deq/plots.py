"""Figures of a run on properties: learning curve, predictions against labels."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepchem_dft.runs.drawing import by_epoch, colour, column, drawing, mark_kept


def learning_curve(history: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Draw losses and the iterations of the fixed points by epoch.

    Parameters
    ----------
    history : list of mapping
        Rows of ``history.csv``.
    path : str or Path
        The image file.
    """
    with drawing(path, layout="tight") as ((left, right),):
        left.set_yscale("log")
        names = {"loss": "training", "valid_score": "validation"}
        by_epoch(left, history, names, ylabel="loss", title="Loss")
        best = [row["epoch"] for row in history if row.get("best") == 1]
        if best:
            mark_kept(left, best[-1])
            left.legend()
        names = {f"evaluations_per_{what}": f"per {what}" for what in ("sample", "batch")}
        top = 1.15 * np.nanmax(column(history, "evaluations_per_batch"))
        by_epoch(right, history, names, ylabel="evaluations of the cell", title="Fixed points", ylim=(0, top))
        right.legend(loc="lower left")


def parity(
    y: np.ndarray, predicted: np.ndarray, tasks: Sequence[str], units: Sequence[str], path: str | Path
) -> None:
    """Draw predictions against labels, a panel for each task.

    Parameters
    ----------
    y, predicted : ndarray, shape (N, tasks)
    tasks, units : sequence of str
    path : str or Path
        The image file.
    """
    with drawing(path, 1, len(tasks), (4.4 * len(tasks), 4.2), layout="tight") as axes:
        for number, (task, unit, axis) in enumerate(zip(tasks, units, axes[0])):
            label, value = y[:, number], predicted[:, number]
            ends = [min(label.min(), value.min()), max(label.max(), value.max())]
            axis.plot(ends, ends, color="0.6", lw=1)
            axis.scatter(label, value, s=10, alpha=0.6, color=colour(0), linewidths=0)
            error = np.abs(value - label).mean()
            axis.set(
                xlabel=f"label ({unit})",
                ylabel=f"predicted ({unit})",
                title=f"{task}: MAE {error:.3g} {unit}",
            )
