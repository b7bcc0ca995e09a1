"""Figures of a run on Hamiltonians: learning curve, orbital energies, iterations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepchem_dft.runs.plots import _STYLE, _colour, _column, _pyplot, save

if TYPE_CHECKING:
    from deepchem_dft.runs.hamiltonian.run import Evaluated


def learning_curve(history: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Draw errors of H and the learning rate by epoch.

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
        for index, (key, label) in enumerate(
            [
                ("train_mae_uha", "training, running weights"),
                ("valid_mae_uha", "validation, averaged weights"),
            ]
        ):
            values = _column(history, key)
            known = np.isfinite(values)
            if known.any():
                left.semilogy(epochs[known], values[known], color=_colour(index), label=label)
        left.set(xlabel="epoch", ylabel="mean absolute error of H (µHa)", title="Error")
        if left.lines:
            left.legend()
        right.semilogy(epochs, _column(history, "loss"), color=_colour(0), label="loss")
        right.semilogy(epochs, _column(history, "learning_rate"), color=_colour(1), label="learning rate")
        right.set(xlabel="epoch", title="Loss and learning rate")
        right.legend()
        figure.tight_layout()
        save(figure, path)
        plt.close(figure)


def iterations(history: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Draw evaluations of the feedback per molecule and the unconverged share, by epoch."""
    plt = _pyplot()
    epochs = _column(history, "epoch")
    with plt.rc_context(_STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8))
        left.plot(epochs, _column(history, "iterations"), color=_colour(0))
        left.set(xlabel="epoch", ylabel="iterations per molecule", title="Fixed points", ylim=(0, None))
        right.plot(epochs, 100 * _column(history, "unconverged_share"), color=_colour(1))
        right.set(xlabel="epoch", ylabel="unconverged (%)", title="Not found", ylim=(-0.5, None))
        figure.tight_layout()
        save(figure, path)
        plt.close(figure)


def orbital_parity(found: Evaluated, path: str | Path) -> None:
    """Draw predicted against true energies of occupied orbitals and the lowest empty one."""
    plt = _pyplot()
    true, predicted, empty = [], [], []
    for one in found.scores:
        for number, (a, b) in enumerate(one.orbitals):
            true.append(a)
            predicted.append(b)
            empty.append(number == len(one.orbitals) - 1)
    x, y, last = np.array(true), np.array(predicted), np.array(empty)
    shown = x > -2.0  # cores lie far below and would squeeze the rest
    with plt.rc_context(_STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4.0))
        ends = [x[shown].min(initial=0.0) - 0.05, x[shown].max(initial=0.0) + 0.05]
        left.plot(ends, ends, color="grey", linewidth=1)
        for index, (chosen, label) in enumerate(
            [(shown & ~last, "occupied, valence"), (shown & last, "lowest empty")]
        ):
            look = {"s": 6, "color": _colour(index), "alpha": 0.5, "linewidths": 0}
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
        figure.tight_layout()
        save(figure, path)
        plt.close(figure)
