"""Figures of a one-dimensional run: learning curves, dissociation curves, trajectories."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepchem_dft.runs.drawing import (
    MARKERS,
    accuracy_band,
    colour,
    drawing,
    formula,
    line_style,
    whole_numbers,
)
from deepchem_dft.units import HARTREE_TO_KCAL

if TYPE_CHECKING:
    from deepchem_dft.lattice.exact import ExactState
    from deepchem_dft.models import KSRModel
    from deepchem_dft.runs.ksr.evaluation import CurveSet, Evaluated

#: Chemical accuracy, mHa.
_ACCURATE = 1000 / HARTREE_TO_KCAL


def learning_curve(history: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Draw loss and validation error of every seed by epoch.

    Parameters
    ----------
    history : list of mapping
        Rows of ``history.csv``: ``seed``, ``epoch``, ``loss``, ``valid_mae_kcal``.
    path : str or Path
        The image file.
    """
    kept: tuple[Any, Any, str] | None = None
    with drawing(path, layout="tight") as ((left, right),):
        for index, seed in enumerate(dict.fromkeys(row["seed"] for row in history)):
            rows = [row for row in history if row["seed"] == seed]
            look = {"color": colour(index), "linestyle": line_style(index), "linewidth": 1}
            look["label"] = f"seed {int(seed)}"
            epochs = np.arange(1, len(rows) + 1)  # those of all stages
            left.semilogy(epochs, [r["loss"] for r in rows], **look)
            scores = np.array(
                [math.nan if _missing(r["valid_mae_kcal"]) else r["valid_mae_kcal"] for r in rows]
            )
            judged = np.isfinite(scores)
            if judged.any():
                right.semilogy(epochs[judged], scores[judged], **look)
            best = [k for k, row in enumerate(rows) if row.get("best") == 1]
            if best:  # the last of these, of all seeds, is the one that was kept
                kept = (
                    epochs[best[-1]],
                    scores[best[-1]],
                    f"kept: seed {int(seed)}, epoch {epochs[best[-1]]}",
                )
        if kept is not None:
            right.plot(*kept[:2], "*", color="black", markersize=11, zorder=10, label=kept[2])
            right.legend(handles=right.get_lines()[-1:])
        right.axhline(1.0, color="grey", linestyle=":", linewidth=1)
        whole_numbers(left)
        whole_numbers(right)
        left.set(xlabel="epoch", ylabel="training loss", title="Loss")
        right.set(xlabel="epoch", ylabel="mean absolute error (kcal/mol)", title="Validation")
        left.legend(fontsize=7, ncols=2)


def _missing(value: Any) -> bool:
    return value in (None, "") or math.isnan(value)


def curve(found: Sequence[Evaluated], marks: Sequence[CurveSet], path: str | Path) -> None:
    """Draw total energies over the distance, and errors with the band of chemical accuracy.

    Parameters
    ----------
    found : list of Evaluated
        Functionals on the same set; the last is drawn on top.
    marks : list of CurveSet
        What was trained on, of the same family.
    path : str or Path
        The image file.
    """
    distances, states = found[0].curve.distances, found[0].curve.states
    repulsion = np.array([state.system.nuclear_repulsion() for state in states])
    exact = np.array([state.energy for state in states])
    with drawing(path, size=(9.8, 4.0), layout="tight") as ((left, right),):
        left.plot(distances, exact + repulsion, color="black", linewidth=2.2, alpha=0.7, label="exact")
        for index, one in enumerate(reversed(found)):
            look = {
                "color": colour(index),
                "marker": MARKERS[index % len(MARKERS)],
                "markersize": 3,
                "linewidth": 1.2,
            }
            left.plot(distances, one.energies + repulsion, label=one.functional, **look)
            right.plot(distances, 1000 * (one.energies - exact), label=one.functional, **look)
        for mark in marks:
            total = [state.total_energy for state in mark.states]
            left.plot(mark.distances, total, "D", color="#D00000", markersize=6, zorder=9, label="trained on")
            for distance in mark.distances:
                right.axvline(distance, color="#D00000", linestyle=":", linewidth=1)
        accuracy_band(right, _ACCURATE)
        error = 1000 * np.abs(found[-1].energies - exact).max()
        limit = max(3.0, min(1.3 * error, 60.0))
        left.set(xlabel="R (Bohr)", ylabel="total energy (Ha)", title=_title(found[0].curve))
        right.set(xlabel="R (Bohr)", ylabel="calculated - exact (mHa)", title="Error", ylim=(-limit, limit))
        low, high = (exact + repulsion).min(), (exact + repulsion).max()
        left.set_ylim(low - 0.3 * (high - low), high + 0.3 * (high - low))
        left.legend()
        right.legend(handles=right.patches[:1])


def _title(curve: CurveSet) -> str:
    """Return what the user called a set, or the name of its molecules."""
    if curve.label != curve.family:
        return curve.label
    return formula(curve.states[0].system.name.split(" R=")[0])


def trajectories(model: KSRModel, states: Sequence[ExactState], path: str | Path) -> None:
    """Draw the error of the energy, and the density, along the iterations of some molecules.

    Parameters
    ----------
    model : KSRModel
    states : list of ExactState
    path : str or Path
        The image file.
    """
    from matplotlib import colormaps
    from matplotlib.ticker import ScalarFormatter, SymmetricalLogLocator

    found = model.trajectory(states)
    x = model.functional.grid.x.numpy()
    with drawing(path, 2, len(states), (4.8 * len(states), 6.2), layout="tight") as axes:
        for number, state in enumerate(states):
            top, bottom = axes[:, number]
            energies = 1000 * (found.energies[number].numpy() - state.energy)
            count = len(energies)
            top.plot(range(1, count + 1), energies, "o-", color=colour(0), markersize=3)
            accuracy_band(top, _ACCURATE)
            whole_numbers(top)
            top.set_yscale("symlog", linthresh=1)
            top.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=1))
            top.yaxis.set_major_formatter(ScalarFormatter())
            top.set(xlabel="iteration", ylabel="calculated - exact (mHa)", title=state.system.name)
            shown = sorted({0, 1, 3, count - 1} & set(range(count)))
            shades = colormaps["viridis"](np.linspace(0.9, 0.1, len(shown)))
            for k, shade in zip(shown, shades, strict=True):
                density = found.densities[number, k].sum(0).numpy()
                bottom.plot(x, density, color=shade, linewidth=1.2, label=f"iteration {k + 1}")
            bottom.plot(x, state.density, "k--", linewidth=1.2, label="exact")
            reach = max(abs(p) for p in state.system.positions) + 4
            bottom.set(xlabel="x (Bohr)", ylabel="density (1/Bohr)", xlim=(-reach, reach))
            bottom.legend(fontsize=8)
