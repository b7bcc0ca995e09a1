"""Figures of a run: learning curve, parity, error by molecule, dissociation curve."""

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from deepchem_dft.files import write
from deepchem_dft.runs.tables import EntryRecord
from deepchem_dft.units import HARTREE_TO_KCAL

#: Colours that stay apart for colour-blind readers (Okabe and Ito), trained functional first.
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_STYLE = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "figure.dpi": 150,
    "savefig.bbox": "tight",
    "axes.axisbelow": True,
}


def _pyplot() -> Any:
    """Return pyplot on the file-only backend; imported late because it takes half a second."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _trained_first(names: Sequence[str]) -> list[str]:
    """Keep the order, but give the trained functional the strongest colour."""
    return sorted(dict.fromkeys(names), key=lambda name: name != "trained")


@contextmanager
def drawing(
    path: str | Path, rows: int = 1, columns: int = 2, size: tuple[float, float] = (9.5, 3.8), **layout: Any
) -> Iterator[np.ndarray]:
    """Give the axes of a new figure, shape (rows, columns), which is written in the end."""
    plt = _pyplot()
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, **layout)
        try:
            yield axes
            save(figure, path)
        finally:
            plt.close(figure)


def by_epoch(
    axis: Any, history: Sequence[Mapping[str, Any]], columns: Mapping[str, str], **labels: Any
) -> None:
    """Draw columns of a history, named in the legend, where their values are known."""
    epochs = _column(history, "epoch")
    for index, (key, label) in enumerate(columns.items()):
        values = _column(history, key)
        known = np.isfinite(values)
        if known.any():
            axis.plot(epochs[known], values[known], color=_colour(index), label=label)
    axis.set(xlabel="epoch", **labels)
    if axis.get_legend_handles_labels()[0]:
        axis.legend()


def save(figure: Any, path: str | Path) -> None:
    """Write a figure, of the kind that the name's ending says; all of it or nothing."""
    content = io.BytesIO()
    figure.savefig(content, format=Path(path).suffix[1:].lower() or "png")
    write(path, content.getvalue())


def learning_curve(history: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Draw loss and errors by epoch.

    Parameters
    ----------
    history : list of mapping
        Rows of ``history.csv``: ``epoch``, ``stage``, ``loss``, ``train_mae_kcal``,
        ``valid_mae_kcal``; missing values are None or NaN. A dotted line parts the stages.
    path : str or Path
        The image file.
    """
    with drawing(path, layout="tight") as ((left, right),):
        loss = _column(history, "loss")
        left.plot(_column(history, "epoch"), loss, color=_colour(0))
        if np.nanmin(loss, initial=np.inf) > 0:
            left.set_yscale("log")
        left.set(xlabel="epoch", ylabel="training loss (weighted)", title="Loss")
        names = {"train_mae_kcal": "training", "valid_mae_kcal": "validation"}
        by_epoch(
            right, history, names, ylabel="mean absolute error (kcal/mol)", title="Error", ylim=(0, None)
        )
        for axis in (left, right):
            axis.xaxis.get_major_locator().set_params(integer=True)
            for before, after in pairwise(history):
                if before.get("stage") != after.get("stage"):
                    axis.axvline(0.5 + before["epoch"], color="grey", linestyle=":", linewidth=1)


def _column(history: Sequence[Mapping[str, Any]], key: str) -> np.ndarray:
    values = [row.get(key) for row in history]
    return np.array([math.nan if v in (None, "") else float(v) for v in values])


def parity(records: Sequence[EntryRecord], path: str | Path, title: str = "") -> None:
    """Draw calculated against reference energies, with the errors below.

    Parameters
    ----------
    records : list of EntryRecord
        Energies only are drawn; unconverged entries cannot be.
    path : str or Path
        The image file.
    title : str
        Heading.
    """
    chosen = [r for r in records if r.is_energy and math.isfinite(r.error)]
    names = _trained_first([r.functional for r in chosen])
    with drawing(path, 2, 1, (6.2, 7.2), sharex=True, height_ratios=(2.2, 1)) as ((top,), (bottom,)):
        for index, name in enumerate(names):
            rows = [r for r in chosen if r.functional == name]
            reference = np.array([r.reference for r in rows]) * HARTREE_TO_KCAL
            errors = np.array([r.error for r in rows])
            look = {
                "marker": MARKERS[index % len(MARKERS)],
                "color": _colour(index),
                "s": 26,
                "alpha": 0.8,
                "linewidths": 0,
                "zorder": 10 - index,
            }
            label = f"{name} ({np.mean(np.abs(errors)):.1f})"
            top.scatter(reference, reference + errors, label=label, **look)
            bottom.scatter(reference, errors, **look)
        low, high = top.get_xlim()
        top.plot([low, high], [low, high], color="grey", linewidth=0.8, zorder=0)
        top.set_xlim(low, high)
        bottom.axhline(0.0, color="grey", linewidth=0.8)
        bottom.axhspan(-1, 1, color="grey", alpha=0.15, label="±1 kcal/mol")
        top.set(ylabel="calculated (kcal/mol)", title=title or "Calculated against reference")
        bottom.set(xlabel="reference (kcal/mol)", ylabel="error (kcal/mol)")
        if chosen:
            top.legend(title="MAE (kcal/mol)")
        bottom.legend(loc="best", fontsize=9)


def error_by_molecule(
    records: Sequence[EntryRecord], path: str | Path, title: str = "", rank_by: str = ""
) -> None:
    """Draw the signed error of every entry as a row of a dot plot.

    Parameters
    ----------
    records : list of EntryRecord
        Energies only are drawn. An entry that did not converge is marked with a cross on the zero
        line; one that is not of the test set says so.
    path : str or Path
        The image file.
    title : str
        Heading.
    rank_by : str
        The functional whose errors give the order; default the last one.
    """
    energies = [replace(r, entry=_row_label(r)) for r in records if r.is_energy]
    names = _trained_first([r.functional for r in energies])
    if rank_by not in names:
        rank_by = names[-1] if names else ""
    rank = {r.entry: r.error for r in energies if r.functional == rank_by}
    entries = list(dict.fromkeys(r.entry for r in energies))
    entries.sort(key=lambda e: rank.get(e, 0.0) if math.isfinite(rank.get(e, 0.0)) else 0.0)
    row_of = {entry: index for index, entry in enumerate(entries)}
    with drawing(path, 1, 1, (7.0, 1.4 + 0.2 * max(len(entries), 4))) as ((axis,),):
        for index, name in enumerate(names):
            rows = [r for r in energies if r.functional == name]
            good = [r for r in rows if math.isfinite(r.error)]
            bad = [r for r in rows if not math.isfinite(r.error)]
            axis.scatter(
                [r.error for r in good],
                [row_of[r.entry] for r in good],
                color=_colour(index),
                marker=MARKERS[index % len(MARKERS)],
                s=24,
                alpha=0.85,
                linewidths=0,
                zorder=10 - index,
                label=name,
            )
            if bad:
                axis.scatter(
                    [0.0] * len(bad),
                    [row_of[r.entry] for r in bad],
                    marker="x",
                    color=_colour(index),
                    label=f"{name}: not converged",
                    zorder=20,
                )
        axis.axvline(0.0, color="grey", linewidth=0.8)
        axis.set_yticks(range(len(entries)), entries, fontsize=8)
        axis.set_ylim(-0.7, len(entries) - 0.3)
        axis.set(xlabel="calculated - reference (kcal/mol)", title=title or "Error by molecule")
        if names:
            axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))


def _row_label(record: EntryRecord) -> str:
    name = record.entry.rpartition(":")[2]
    return name if record.role == "test" else f"{name} ({record.role})"


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
        for index, name in enumerate(_trained_first(list(curves))):
            energies = np.asarray(curves[name], dtype=float)
            look = {
                "color": _colour(index),
                "marker": MARKERS[index % len(MARKERS)],
                "markersize": 3.5,
                "linewidth": 1.3,
            }
            left.plot(distances, energies, label=name, **look)
            half = np.asarray((uncertainties or {}).get(name, 0.0), dtype=float)
            band = {"color": _colour(index), "alpha": 0.2, "linewidth": 0}
            if half.any():
                left.fill_between(distances, energies - half, energies + half, **band)
            if exact:
                # The tabulated curve is dense: a spline is far closer than what the eye can see.
                errors = (energies - spline(distances)) * HARTREE_TO_KCAL
                axes[0][1].plot(distances, errors, label=name, **look)
                if half.any():
                    wide = half * HARTREE_TO_KCAL
                    axes[0][1].fill_between(distances, errors - wide, errors + wide, **band)
        left.set(xlabel=xlabel, ylabel="total energy (Ha)", title=title)
        _show_wells(left, curves)
        left.legend()
        if exact:
            axes[0][1].axhline(0.0, color="black", linewidth=2.2, alpha=0.7)
            axes[0][1].set(xlabel=xlabel, ylabel="calculated - exact (kcal/mol)", title="Error")
