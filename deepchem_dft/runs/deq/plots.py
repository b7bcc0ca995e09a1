"""Figures of a run on properties: learning curve, predictions against labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepchem_dft.runs.plots import _STYLE, _colour, _column, _pyplot, save


def learning_curve(history: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Draw losses and the iterations of the fixed points by epoch.

    Parameters
    ----------
    history : list of mapping
        Rows of ``history.csv``.
    path : str or Path
        The image file.
    """
    plt = _pyplot()
    epochs = _column(history, "epoch")
    with plt.rc_context(_STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8))
        for index, (key, label) in enumerate([("loss", "training"), ("valid_score", "validation")]):
            values = _column(history, key)
            known = np.isfinite(values)
            if known.any():
                left.semilogy(epochs[known], values[known], color=_colour(index), label=label)
        best = [row["epoch"] for row in history if row.get("best") == 1]
        if best:
            left.axvline(best[-1], color="0.6", lw=1, ls=":", label=f"kept: epoch {best[-1]}")
        left.set(xlabel="epoch", ylabel="loss", title="Loss")
        left.legend()
        for index, what in enumerate(("sample", "batch")):
            right.plot(
                epochs, _column(history, f"evaluations_per_{what}"), color=_colour(index), label=f"per {what}"
            )
        top = 1.15 * np.nanmax(_column(history, "evaluations_per_batch"))
        right.set(xlabel="epoch", ylabel="evaluations of the cell", title="Fixed points", ylim=(0, top))
        right.legend(loc="lower left")
        figure.tight_layout()
        save(figure, path)
        plt.close(figure)


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
    plt = _pyplot()
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(1, len(tasks), figsize=(4.4 * len(tasks), 4.2), squeeze=False)
        for number, (task, unit, axis) in enumerate(zip(tasks, units, axes[0])):
            label, value = y[:, number], predicted[:, number]
            ends = [min(label.min(), value.min()), max(label.max(), value.max())]
            axis.plot(ends, ends, color="0.6", lw=1)
            axis.scatter(label, value, s=10, alpha=0.6, color=_colour(0), linewidths=0)
            error = np.abs(value - label).mean()
            axis.set(
                xlabel=f"label ({unit})",
                ylabel=f"predicted ({unit})",
                title=f"{task}: MAE {error:.3g} {unit}",
            )
        figure.tight_layout()
        save(figure, path)
        plt.close(figure)
