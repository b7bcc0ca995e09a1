"""Figures of a run on Hamiltonians: learning curve, orbital energies, iterations."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepchem_dft.runs.drawing import by_epoch, colour, column, drawing, whole_numbers

if TYPE_CHECKING:
    from deepchem_dft.runs.hamiltonian.evaluation import Evaluated


def learning_curve(history: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Draw errors of H and the learning rate by epoch.

    Parameters
    ----------
    history : list of mapping
        Rows of ``history.csv``.
    path : str or Path
        The image file.
    """
    with drawing(path, layout="tight") as ((left, right),):
        names = {
            "train_mae_uha": "training, running weights",
            "valid_mae_uha": "validation, averaged weights",
        }
        by_epoch(left, history, names, ylabel="mean absolute error of H (µHa)", title="Error")
        names = {"loss": "loss", "learning_rate": "learning rate"}
        by_epoch(right, history, names, title="Loss and learning rate")
        for axis in (left, right):
            axis.set_yscale("log")


def iterations(history: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Draw evaluations of the feedback per molecule and the unconverged share, by epoch."""
    epochs = column(history, "epoch")
    with drawing(path, layout="tight") as ((left, right),):
        left.plot(epochs, column(history, "iterations"), color=colour(0))
        left.set(xlabel="epoch", ylabel="iterations per molecule", title="Fixed points", ylim=(0, None))
        right.plot(epochs, 100 * column(history, "unconverged_share"), color=colour(1))
        right.set(xlabel="epoch", ylabel="unconverged (%)", title="Not found", ylim=(-0.5, None))
        whole_numbers(left)
        whole_numbers(right)


def orbital_parity(found: "Evaluated", path: str | Path) -> None:
    """Draw predicted against true energies of occupied orbitals and the lowest empty one."""
    true, predicted, empty = [], [], []
    for one in found.scores:
        for number, (a, b) in enumerate(one.orbitals):
            true.append(a)
            predicted.append(b)
            empty.append(number == len(one.orbitals) - 1)
    x, y, last = np.array(true), np.array(predicted), np.array(empty)
    shown = x > -2.0  # cores lie far below and would squeeze the rest
    with drawing(path, size=(9.5, 4.0), layout="tight") as ((left, right),):
        ends = [x[shown].min(initial=0.0) - 0.05, x[shown].max(initial=0.0) + 0.05]
        left.plot(ends, ends, color="grey", linewidth=1)
        for index, (chosen, label) in enumerate(
            [(shown & ~last, "occupied, valence"), (shown & last, "lowest empty")]
        ):
            look = {"s": 6, "color": colour(index), "alpha": 0.5, "linewidths": 0}
            left.scatter(x[chosen], y[chosen], label=label, **look)
            right.scatter(x[chosen], 1e3 * (y - x)[chosen], **look)
        right.axhline(0.0, color="grey", linewidth=1)
        left.set(
            xlabel="orbital energy (Ha)",
            ylabel="predicted (Ha)",
            title=f"{found.set.label}: orbital energies",
        )
        right.set(xlabel="orbital energy (Ha)", ylabel="predicted - true (mHa)", title="Error")
        left.legend(markerscale=2)
