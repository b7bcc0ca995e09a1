"""Figures of a run: learning curve, parity, error by molecule, dissociation curve."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from deepchem_dft.runs.drawing import (
    MARKERS,
    accuracy_band,
    by_epoch,
    colour,
    column,
    drawing,
    formula,
    mark_kept,
    whole_numbers,
)
from deepchem_dft.runs.tables import EntryRecord
from deepchem_dft.units import HARTREE_TO_KCAL

#: A functional whose errors are so many times the usual ones does not set the scale of a figure.
_FAR_OFF = 10.0


def _trained_first(names: Sequence[str]) -> list[str]:
    """Keep the order, but give the trained functional the strongest colour."""
    return sorted(dict.fromkeys(names), key=lambda name: name != "trained")


def learning_curve(history: Sequence[Mapping[str, Any]], path: str | Path, selected: bool = False) -> None:
    """Draw loss and errors by epoch.

    Parameters
    ----------
    history : list of mapping
        Rows of ``history.csv``: ``epoch``, ``stage``, ``loss``, ``train_mae_kcal``,
        ``valid_mae_kcal``, ``valid_score``; missing values are None or NaN. A dashed line parts the
        stages.
    path : str or Path
        The image file.
    selected : bool
        Whether the parameters of the best validation were kept, which is then marked: the epoch of
        the last stage with the lowest score.
    """
    with drawing(path, layout="tight") as ((left, right),):
        loss = column(history, "loss")
        left.plot(column(history, "epoch"), loss, color=colour(0))
        if np.nanmin(loss, initial=np.inf) > 0:
            left.set_yscale("log")
        left.set(xlabel="epoch", ylabel="training loss (weighted)", title="Loss")
        whole_numbers(left)
        names = {"train_mae_kcal": "training", "valid_mae_kcal": "validation"}
        for axis in (left, right):
            for before, after in pairwise(history):
                if before.get("stage") != after.get("stage"):
                    axis.axvline(0.5 + before["epoch"], color="grey", linestyle="--", linewidth=1)
        accuracy_band(right, 1.0, "below 1 kcal/mol")
        score = column(history, "valid_score")
        last = column(history, "stage") == column(history[-1:], "stage")
        if selected and np.isfinite(score[last]).any():
            mark_kept(right, column(history, "epoch")[last][np.nanargmin(score[last])])
        by_epoch(
            right, history, names, ylabel="mean absolute error (kcal/mol)", title="Error", ylim=(0, None)
        )


def parity(
    records: Sequence[EntryRecord], path: str | Path, title: str = "", trained: str = "trained"
) -> None:
    """Draw calculated against reference energies, with the errors below.

    Parameters
    ----------
    records : list of EntryRecord
        Energies only are drawn; unconverged entries cannot be.
    path : str or Path
        The image file.
    title : str
        Heading.
    trained : str
        What the legend calls the functional that the run trained.
    """
    chosen = [r for r in records if r.is_energy and math.isfinite(r.error)]
    names = _trained_first([r.functional for r in chosen])
    with drawing(path, 2, 1, (6.2, 7.2), sharex=True, height_ratios=(2.2, 1)) as ((top,), (bottom,)):
        accuracy_band(bottom, 1.0)
        for index, name in enumerate(names):
            rows = [r for r in chosen if r.functional == name]
            reference = np.array([r.reference for r in rows]) * HARTREE_TO_KCAL
            errors = np.array([r.error for r in rows])
            look = _dots(index, 26)
            label = f"{_shown(name, trained)} ({np.mean(np.abs(errors)):.1f})"
            top.scatter(reference, reference + errors, label=label, **look)
            bottom.scatter(reference, errors, **look)
        low, high = top.get_xlim()
        top.plot([low, high], [low, high], color="grey", linewidth=0.8, zorder=0)
        top.set_xlim(low, high)
        bottom.axhline(0.0, color="grey", linewidth=0.8)
        top.set(ylabel="calculated (kcal/mol)", title=title or "Calculated against reference")
        bottom.set(xlabel="reference (kcal/mol)", ylabel="error (kcal/mol)")
        if chosen:
            top.legend(title="MAE (kcal/mol)")
        bottom.legend(loc="best")


def _shown(name: str, trained: str) -> str:
    return trained if name == "trained" else name


def _dots(index: int, size: float) -> dict[str, Any]:
    return {
        "marker": MARKERS[index % len(MARKERS)],
        "color": colour(index),
        "s": size,
        "alpha": 0.85,
        "linewidths": 0,
        "zorder": 10 - index,
    }


def error_by_molecule(
    records: Sequence[EntryRecord],
    path: str | Path,
    title: str = "",
    rank_by: str = "",
    trained: str = "trained",
) -> None:
    """Draw the signed error of every entry as a row of a dot plot.

    Parameters
    ----------
    records : list of EntryRecord
        Energies only are drawn, an entry of several sets once. Entries that are not of the test set
        have a panel of their own for each role. An entry that did not converge is marked with a
        cross on the zero line.
    path : str or Path
        The image file.
    title : str
        Heading.
    rank_by : str
        The functional whose errors give the order; default the last one.
    trained : str
        What the legend calls the functional that the run trained.
    """
    energies = list({(r.role, r.entry, r.functional): r for r in records if r.is_energy}.values())
    names = _trained_first([r.functional for r in energies])
    rank_by = rank_by if rank_by in names or not names else names[-1]
    roles = sorted({r.role for r in energies}, key=("test", "valid", "train").index) or ["test"]
    panels = {role: _ranked([r for r in energies if r.role == role], rank_by) for role in roles}
    heights = [max(len(rows), 4) for rows in panels.values()]
    low, high = _usual_range(energies, names)
    size = (7.0, 0.8 + 0.6 * len(roles) + 0.2 * sum(heights))
    with drawing(path, len(roles), 1, size, "constrained", sharex=True, height_ratios=heights) as axes:
        for (role, entries), (axis,) in zip(panels.items(), axes):
            accuracy_band(axis, 1.0, vertical=True)
            axis.axvline(0.0, color="grey", linewidth=0.8)
            for index, name in enumerate(names):
                rows = [r for r in energies if (r.role, r.functional) == (role, name)]
                _errors_in_rows(axis, rows, entries, index, _shown(name, trained), (low, high))
            axis.set_yticks(range(len(entries)), [formula(e.rpartition(":")[2]) for e in entries], fontsize=8)
            axis.set_ylim(-0.7, len(entries) - 0.3)
            axis.set(xlim=(low, high), title=_ROLES[role] if len(roles) > 1 else "")
        axes[-1][0].set_xlabel("calculated - reference (kcal/mol)")
        axes[0][0].figure.suptitle(title or "Error by molecule", fontsize=12)
        if names:
            axes[0][0].legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))


_ROLES = {"test": "test", "valid": "selected on", "train": "trained on"}


def _ranked(records: Sequence[EntryRecord], by: str) -> dict[str, int]:
    """Return the row of every entry, in the order of the errors of one functional."""
    rank = {r.entry: r.error for r in records if r.functional == by and math.isfinite(r.error)}
    entries = sorted(dict.fromkeys(r.entry for r in records), key=lambda e: rank.get(e, 0.0))
    return {entry: row for row, entry in enumerate(entries)}


def _usual_range(records: Sequence[EntryRecord], names: Sequence[str]) -> tuple[float, float]:
    """Return limits that hold every error, but for functionals that are far off beside the others."""
    errors = {
        name: [r.error for r in records if r.functional == name and math.isfinite(r.error)] for name in names
    }
    usual = {name: np.mean(np.abs(row)) for name, row in errors.items() if row}
    limit = _FAR_OFF * float(np.median(list(usual.values()))) if usual else math.inf
    shown = [e for name, value in usual.items() if value <= limit or name == "trained" for e in errors[name]]
    low, high = min(shown, default=-1.0), max(shown, default=1.0)
    margin = 0.06 * (high - low) + 0.5
    return low - margin, high + margin


def _errors_in_rows(
    axis: Any,
    records: Sequence[EntryRecord],
    row_of: Mapping[str, int],
    index: int,
    label: str,
    limits: tuple[float, float],
) -> None:
    """Draw the errors of one functional; those beyond the limits as arrows at the edge."""
    good = [r for r in records if math.isfinite(r.error)]
    inside = [r for r in good if limits[0] <= r.error <= limits[1]]
    look = _dots(index, 24)
    axis.scatter([r.error for r in inside], [row_of[r.entry] for r in inside], label=label, **look)
    beyond = [r for r in good if r not in inside]
    for side, marker, some in (
        (limits[0], "<", [r for r in beyond if r.error < limits[0]]),
        (limits[1], ">", [r for r in beyond if r.error > limits[1]]),
    ):
        if some:
            edge = {**look, "marker": marker, "clip_on": False, "label": f"{label}: off the scale"}
            axis.scatter([side] * len(some), [row_of[r.entry] for r in some], **edge)
    bad = [row_of[r.entry] for r in records if not math.isfinite(r.error)]
    if bad:
        crosses = {"marker": "x", "color": colour(index), "zorder": 20}
        axis.scatter([0.0] * len(bad), bad, label=f"{label}: not converged", **crosses)


def _show_wells(axis: Any, curves: Mapping[str, Sequence[float]]) -> None:
    """Cut off the repulsive wall, beside which a well is a dent."""
    rows = [np.asarray(row, dtype=float)[np.isfinite(row)] for row in curves.values()]
    rows = [row for row in rows if row.size]
    if not rows:
        return
    lowest, ends = min(row.min() for row in rows), max(row[-1] for row in rows)
    depth, (bottom, top) = ends - lowest, axis.get_ylim()
    if depth > 0 and top > ends + depth:
        axis.set_ylim(max(bottom, lowest - 0.2 * depth), ends + 0.6 * depth)


def dissociation_curve(
    distances: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    path: str | Path,
    *,
    exact: tuple[Sequence[float], Sequence[float]] | None = None,
    title: str = "Dissociation curve",
    xlabel: str = "R (Bohr)",
    uncertainties: Mapping[str, Sequence[float]] | None = None,
    trained: str = "trained",
) -> None:
    """Draw total energies along a stretched bond, and their errors if exact values are known.

    Parameters
    ----------
    distances : list of float
        Bohr.
    curves : mapping of str to list of float
        Functional to energies in Hartree; NaN where the calculation did not converge.
    path : str or Path
        The image file.
    exact : (distances, energies), optional
        Reference values, Bohr and Hartree.
    title, xlabel : str
        Labels.
    uncertainties : mapping of str to list of float, optional
        Half the widths (Ha) of bands around the curves of these functionals.
    trained : str
        What the legend calls the functional that the run trained.
    """
    from scipy.interpolate import CubicSpline

    width = 9.8 if exact else 5.6
    with drawing(path, 1, 2 if exact else 1, (width, 4.0), layout="tight") as axes:
        left = axes[0][0]
        if exact:
            spline = CubicSpline(*exact, extrapolate=False)
            smooth = np.linspace(min(distances), max(distances), 300)
            bold = {"color": "black", "linewidth": 2.2, "alpha": 0.7}
            left.plot(smooth, spline(smooth), label="exact", **bold)
            accuracy_band(axes[0][1], 1.0)
        for index, name in enumerate(_trained_first(list(curves))):
            energies = np.asarray(curves[name], dtype=float)
            look = {"color": colour(index), "marker": MARKERS[index % len(MARKERS)], "markersize": 3.5}
            left.plot(distances, energies, label=_shown(name, trained), **look)
            half = np.asarray((uncertainties or {}).get(name, 0.0), dtype=float)
            band = {"color": colour(index), "alpha": 0.2, "linewidth": 0}
            if half.any():
                left.fill_between(distances, energies - half, energies + half, **band)
            if exact:
                # The tabulated curve is dense: a spline is far closer than what the eye can see.
                errors = (energies - spline(distances)) * HARTREE_TO_KCAL
                axes[0][1].plot(distances, errors, label=_shown(name, trained), **look)
                if half.any():
                    wide = half * HARTREE_TO_KCAL
                    axes[0][1].fill_between(distances, errors - wide, errors + wide, **band)
        left.set(xlabel=xlabel, ylabel="total energy (Ha)", title=title)
        _show_wells(left, curves)
        left.legend()
        if exact:
            axes[0][1].axhline(0.0, color="black", linewidth=2.2, alpha=0.7)
            axes[0][1].set(xlabel=xlabel, ylabel="calculated - exact (kcal/mol)", title="Error")
