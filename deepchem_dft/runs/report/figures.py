"""The report's charts: learning curves, parity, dissociation, enhancement factors, iterations."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from deepchem_dft.runs.report.charts import Chart, Series, thinned
from deepchem_dft.runs.report.enhancement import INDICATORS, RADII, Factors
from deepchem_dft.runs.report.reading import RunData
from deepchem_dft.runs.report.scores import Key, Scores, colours_of, names_of
from deepchem_dft.runs.tables import DEVIATION_UNITS, TYPE_TITLES
from deepchem_dft.units import HARTREE_TO_KCAL

#: Columns of history.csv by kind of run: (columns, label of the axis, logarithmic).
_CURVES: dict[str, list[tuple[list[str], str, bool]]] = {
    "xc": [
        (["loss"], "training loss (weighted)", True),
        (["train_mae_kcal", "valid_mae_kcal"], "mean absolute error (kcal/mol)", True),
    ],
    "ksr": [(["loss"], "training loss", True), (["valid_mae_kcal"], "mean absolute error (kcal/mol)", True)],
    "hamiltonian": [
        (["loss"], "training loss", True),
        (["train_mae_uha", "valid_mae_uha"], "mean absolute error of H (µHa)", True),
    ],
    "deq": [(["loss", "valid_score"], "loss", True)],
}
_WORDS = {
    "loss": "loss",
    "valid_score": "validation",
    "train_mae_kcal": "training",
    "valid_mae_kcal": "validation",
    "train_mae_uha": "training, running weights",
    "valid_mae_uha": "validation, averaged weights",
}
#: A functional this many times worse than the best is not drawn among the errors.
_FAR = 8.0
_DISTANCE = re.compile(r" R=([0-9.]+)$")


def learning_curves(runs: Sequence[RunData]) -> list[Chart]:
    """Return charts of losses and errors by epoch, one set for each kind of run."""
    found = []
    for kind in dict.fromkeys(run.kind for run in runs):
        chosen = [run for run in runs if run.kind == kind and run.history]
        for columns, axis, log in _CURVES.get(kind, []):
            title = "Loss" if columns == ["loss"] else "Error"
            title += f": {chosen[0].label}" if len(chosen) == 1 < len(runs) else ""
            chart = Chart(title, "epoch", axis, ylog=log)
            chart.marks = _stages(chosen[0]) if len(chosen) == 1 else []
            for number, run in enumerate(chosen):
                chart.series += _history(run, columns, number, len(chosen) > 1)
            if chart.series:
                found.append(chart)
    return found


def _history(run: RunData, columns: list[str], number: int, several: bool) -> list[Series]:
    out = []
    seeds = list(dict.fromkeys(row.get("seed", 0.0) for row in run.history))
    for which, seed in enumerate(seeds):
        rows = [row for row in run.history if row.get("seed", 0.0) == seed]
        numbered = list(enumerate(rows, 1))  # a run of several stages may count each from one
        for place, column in enumerate(columns):
            known = [(i, row) for i, row in numbered if math.isfinite(row.get(column, math.nan))]
            shown = thinned(known)
            words = [run.label] * several + [f"seed {seed:.0f}"] * (len(seeds) > 1)
            words += [_WORDS[column]] * (len(columns) > 1 or not words or column != "loss")
            values = [row[column] for _, row in shown]
            unit = " kcal/mol" if column.endswith("kcal") else " µHa" * column.endswith("uha")
            tips = [f"{', '.join(words)}, epoch {i}: {v:.4g}{unit}" for (i, _), v in zip(shown, values)]
            colour = number if several else which if len(seeds) > 1 else place
            out.append(
                Series(
                    ", ".join(words),
                    [float(i) for i, _ in shown],
                    values,
                    colour,
                    dashed=several and place < len(columns) - 1,
                    tips=tips,
                )
            )
    return [series for series in out if series.x]


def _stages(run: RunData) -> list[float]:
    rows = [row for row in run.history if row.get("seed", 0.0) == run.history[0].get("seed", 0.0)]
    return [
        number + 0.5
        for number, (a, b) in enumerate(pairwise(rows), 1)
        if a.get("stage", 0.0) != b.get("stage", 0.0)
    ]


def parity(scores: Scores, colours: Mapping[str, int]) -> list[Chart]:
    """Return, for each type of entry, values and errors against the reference.

    Functionals whose errors would squeeze all others are left out of the charts of errors; their
    titles say so.
    """
    roles = scores.shown_roles()
    kinds = dict.fromkeys(key.type for key in scores.records if key.role in roles)
    found = []
    for kind in kinds:
        if kind in DEVIATION_UNITS:
            continue
        title = TYPE_TITLES.get(kind, kind)
        keys = [key for key in scores.records if key.role in roles and key.type == kind]
        values = Chart(f"Parity: {title}", "reference (kcal/mol)", "calculated (kcal/mol)", diagonal=True)
        errors = Chart(
            f"Errors: {title}", "reference (kcal/mol)", "calculated − reference (kcal/mol)", rules=[(0.0, "")]
        )
        maes: dict[str, float] = {}
        for name in scores.names:
            points = [_point(scores, key, name) for key in keys if name in scores.records[key]]
            points = [p for p in points if math.isfinite(p[1])]
            if points:
                maes[name] = sum(abs(p[1]) for p in points) / len(points)
                x, error = [p[0] for p in points], [p[1] for p in points]
                one = Series(
                    f"{name} (MAE {maes[name]:.2f})",
                    x,
                    error,
                    colours[name],
                    line=False,
                    points=True,
                    tips=[p[2] for p in points],
                )
                values.series.append(replace(one, y=[a + e for a, e in zip(x, error)]))
                errors.series.append(one)
        if len(maes) > 2:
            far = [name for name, mae in maes.items() if mae > _FAR * min(maes.values())]
            errors.series = [s for s, name in zip(errors.series, maes) if name not in far]
            errors.title += f" (without {', '.join(far)})" if far else ""
        if values.series:
            found += [values, errors]
    return found


def _point(scores: Scores, key: Key, name: str) -> tuple[float, float, str]:
    record = scores.records[key][name]
    at = record.reference * HARTREE_TO_KCAL
    tip = (
        f"{key.entry}, {name}: {at + record.error:.2f}, reference {at:.2f}, "
        f"error {record.error:+.2f} kcal/mol"
    )
    return at, record.error, tip


def dissociation(runs: Sequence[RunData]) -> list[Chart]:
    """Return energies and errors along stretched bonds: H2 curves, and those of lattice runs."""
    return [*_h2_curves(runs), *_lattice_curves(runs)]


def _pair(title: str) -> tuple[Chart, Chart]:
    return (
        Chart(title, "R (Bohr)", "total energy (Ha)"),
        Chart(f"{title}: error", "R (Bohr)", "calculated − exact (kcal/mol)", rules=[(0.0, "")]),
    )


def _add(
    pair: tuple[Chart, Chart],
    name: str,
    colour: int,
    x: list[float],
    energies: list[float],
    exact: list[float],
) -> None:
    errors = [(e - b) * HARTREE_TO_KCAL for e, b in zip(energies, exact)]
    tips = [
        f"{name}, R = {r:.3f} Bohr: {e:.6f} Ha" + (f", error {d:+.2f} kcal/mol" if math.isfinite(d) else "")
        for r, e, d in zip(x, energies, errors)
    ]
    for chart, y in zip(pair, (energies, errors)):
        if any(map(math.isfinite, y)):
            chart.series.append(Series(name, x, y, colour, points=len(x) <= 20, tips=tips))


def _h2_curves(runs: Sequence[RunData]) -> list[Chart]:
    names, colours = names_of(runs), colours_of(runs)
    pair = _pair("H2 dissociation")
    longest: tuple[list[float], list[float]] = ([], [])
    drawn: list[str] = []
    for run in [run for run in runs if run.curve]:
        rows = run.curve
        distance = next(iter(rows[0]))
        x = [_value(row[distance]) for row in rows]
        exact = [_value(row.get("exact_hartree", "")) for row in rows]
        if len(x) > len(longest[0]) and any(map(math.isfinite, exact)):
            longest = (x, exact)
        columns = [c for c in rows[0] if c.endswith("_hartree") and c != "exact_hartree"]
        for column in columns:
            name = names[run.label, column.removesuffix("_hartree")]
            if name not in drawn:
                energies = [_value(row[column]) for row in rows]
                _add(pair, name, colours[name], x, energies, exact)
                drawn.append(name)
    if longest[0]:
        tips = [f"exact, R = {r:.3f} Bohr: {e:.6f} Ha" for r, e in zip(*longest)]
        pair[0].series.append(Series("exact", *longest, colour=-1, tips=tips))
    return _ordered(pair)


def _ordered(pair: Sequence[Chart]) -> list[Chart]:
    """Return charts that hold something, by colour, which is by importance; exact values last."""
    for chart in pair:
        chart.series.sort(key=lambda series: series.colour if series.colour >= 0 else 1000)
    return [chart for chart in pair if chart.series]


def _lattice_curves(runs: Sequence[RunData]) -> list[Chart]:
    """Return the curves of entries that are named by their distances."""
    names, colours = names_of(runs), colours_of(runs)
    pairs: dict[str, tuple[Chart, Chart]] = {}
    exact: dict[str, dict[float, float]] = {}
    drawn: set[tuple[str, str]] = set()
    for run in runs:
        groups: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
        for row in run.entries:
            match = _DISTANCE.search(row["entry"])
            if match and row["role"] == "test":
                point = (float(match[1]), _value(row["value"]), _value(row["reference"]))
                groups.setdefault((row["set"], row["functional"]), []).append(point)
        for (name, functional), points in groups.items():
            shown = names[run.label, functional]
            if len(points) < 3 or (name, shown) in drawn:
                continue
            drawn.add((name, shown))
            x, values, true = map(list, zip(*sorted(points)))
            exact.setdefault(name, {}).update(zip(x, true))
            pair = pairs.setdefault(name, _pair(f"{name}, one dimension"))
            _add(pair, shown, colours[shown], x, values, true)
    for name, pair in pairs.items():
        curve = sorted(exact[name].items())
        pair[0].series.append(Series("exact", [r for r, _ in curve], [e for _, e in curve], -1))
    return [chart for pair in pairs.values() for chart in _ordered(pair)]


def enhancement(found: Factors) -> list[Chart]:
    """Return charts of enhancement factors, the parent's dashed."""
    if found.family == "lda":
        chart = Chart("Enhancement of a uniform gas", "r_s (Bohr)", "F_xc", xlog=True)
        return [_filled(chart, found, {"": (0.0, 0.0)})]
    indicators = INDICATORS if found.family == "mgga" else (0.0,)
    ends = {f", α = {a:g}" if found.family == "mgga" else "": a for a in indicators}
    first = Chart(
        "F_x (limit of high density)", "reduced gradient s", "F_x", rules=[(1.804, "1.804, Lieb and Oxford")]
    )
    charts = [_filled(first, found, {end: (RADII[0], a) for end, a in ends.items()})]
    if found.family == "gga":
        chart = Chart("F_xc by density", "reduced gradient s", "F_xc")
        keys = {f", r_s = {radius:g} Bohr": (radius, 0.0) for radius in RADII[1:]}
        return [*charts, _filled(chart, found, keys)]
    for radius in RADII[1:]:
        chart = Chart(f"F_xc at r_s = {radius:g} Bohr", "reduced gradient s", "F_xc")
        charts.append(_filled(chart, found, {end: (radius, a) for end, a in ends.items()}))
    return charts


def _filled(chart: Chart, found: Factors, keys: Mapping[str, tuple[float, float]]) -> Chart:
    """Add the curves, named by what they are curves of; equal ones of the parent once."""
    where = "r_s" if found.family == "lda" else "s"
    own, before = ([found.curves[key][which] for key in keys.values()] for which in (0, 1))
    same = all(math.isclose(a, b, abs_tol=1e-6) for other in before[1:] for a, b in zip(before[0], other))
    rows = [("trained" + end, values, colour, False) for colour, (end, values) in enumerate(zip(keys, own))]
    if found.parent and same:
        rows.append((found.parent + (", any α" if len(keys) > 1 else ""), before[0], -1, True))
    elif found.parent:
        rows += [
            (found.parent + end, values, colour, True)
            for colour, (end, values) in enumerate(zip(keys, before))
        ]
    for name, values, colour, dashed in rows:
        tips = [f"{name}: {v:.3f} at {where} = {x:.3g}" for x, v in zip(found.x, values)]
        chart.series.append(Series(name, found.x, values, colour, dashed=dashed, tips=tips))
    return chart


def iterations(counts: Mapping[str, list[int]], lost: Mapping[str, int], colours: Mapping[str, int]) -> Chart:
    """Return the share of systems that are self-consistent after so many iterations.

    Parameters
    ----------
    counts : mapping of str to list of int
        Iterations of the systems that converged, by functional.
    lost : mapping of str to int
        How many did not.
    colours : mapping of str to int
        Their colours elsewhere.
    """
    chart = Chart(
        "Self-consistent after so many iterations", "iterations", "systems (%)", xlog=True, yzero=True
    )
    for number, (name, values) in enumerate(counts.items()):
        total = len(values) + lost.get(name, 0)
        x: list[float] = []
        y: list[float] = []
        tips: list[str] = []
        for count in sorted(set(values)):
            share = 100.0 * sum(v <= count for v in values) / total
            if y:  # a step: first along, then up
                x, y, tips = [*x, float(count)], [*y, y[-1]], [*tips, ""]
            x, y = [*x, float(count)], [*y, share]
            tips.append(f"{name}: {share:.0f} % of {total} systems after {count} iterations")
        colour = colours.get(name, len(colours) + number)
        chart.series.append(Series(name, x, y, colour, tips=tips))
    return chart


def _value(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
