"""The report's other sections: runs, convergence, data, configuration, versions."""

import base64
import math
from collections.abc import Mapping, Sequence
from statistics import mean, median
from typing import Any

import yaml

from deepchem_dft.runs.kinds import KINDS
from deepchem_dft.runs.report.figures import iterations
from deepchem_dft.runs.report.markup import Cell, Html, bullets, folded, join, number, table, tag
from deepchem_dft.runs.report.reading import TRAINED, RunData

#: What a functional is called that was solved with before the training had ended.
_ON_THE_WAY = "during training"
#: Figures of a run directory that the report draws itself.
_REDRAWN = ("learning_curve", "parity", "error_by_molecule", "h2_curve")


def transposed(runs: Sequence[RunData], rows: Sequence[tuple[str, Sequence[Any]]]) -> Html:
    """Return a table with a column for each run."""
    header = ["", *(run.label for run in runs)]
    return table(header, [[name, *values] for name, values in rows], sortable=False)


def summary(runs: Sequence[RunData]) -> Html:
    """Return what was trained, with what outcome, side by side."""
    rows: list[tuple[str, list[Any]]] = [
        ("description", [Cell(run.get("description") or "–", style="words") for run in runs]),
        ("trained", [_trained(run) for run in runs]),
        ("state", [run.status.get("state", "unknown") for run in runs]),
        ("starts from", [_start(run) for run in runs]),
        ("network", [_network(run) for run in runs]),
        ("basis, grid level", [_basis(run) for run in runs]),
        ("epochs", [str(len(run.history)) if run.history else "–" for run in runs]),
        ("training time", [duration(run.seconds) for run in runs]),
        ("seed", [str(run.get("training.seed", "–")) for run in runs]),
        ("directory", [run.path.resolve().name for run in runs]),
    ]
    return transposed(runs, [row for row in rows if any(_shown(c) != "–" for c in row[1])])


def _trained(run: RunData) -> str:
    return KINDS[run.kind].trained if run.kind in KINDS else run.kind


def _shown(cell: Any) -> str:
    return str(cell.shown if isinstance(cell, Cell) else cell)


def _start(run: RunData) -> str:
    if run.kind == "xc":
        return str(run.get("functional.xc", "–"))
    return str(run.get("network.guess", "–")) if run.kind == "hamiltonian" else "–"


def _network(run: RunData) -> str:
    if run.kind == "ksr":
        return str(run.get("functional.kind", "–"))
    if run.kind == "deq":
        return f"{run.get('network.cell')}, width {run.get('network.width')}"
    if run.kind == "hamiltonian":
        return (
            f"{run.get('network.form')}, width {run.get('network.width')}, {run.get('network.layers')} layers"
        )
    if run.get("functional.enhancement"):
        degree = run.get("functional.enhancement.degree")
        size = f"degree {degree}" if degree else _times_each(run.get("functional.enhancement.hidden"))
        return f"factors on exchange and correlation, {size}"
    family, hidden = run.get("functional.network.family"), run.get("functional.network.hidden")
    return f"{family}, {_times_each(hidden)}" if family else "–"


def _times_each(widths: Any) -> str:
    return " × ".join(map(str, widths if isinstance(widths, list) else [widths or "–"]))


def _basis(run: RunData) -> str:
    if run.kind != "xc":
        return "–"
    return f"{run.get('data.basis') or 'as in the data'}, {run.get('data.grid_level')}"


def duration(seconds: float) -> str:
    """Return a time that is easy to read.

    Examples
    --------
    >>> duration(3.21), duration(166.0), duration(7322.0), duration(float("nan"))
    ('3.2 s', '2 min 46 s', '2 h 2 min', '–')
    """
    if math.isnan(seconds):
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


# -- convergence ---------------------------------------------------------------------------------


def convergence(run: RunData, colours: Mapping[str, int]) -> Html:
    """Return statistics of a run's self-consistent fields, by functional."""
    groups: dict[str, list[dict[str, Any]]] = {}
    names = _functional_names(run)
    for one in run.solutions:
        groups.setdefault(names[one["functional"]], []).append(one)
    parent = parent_label(run)
    header = [
        "functional",
        "systems",
        "not converged",
        "iterations (mean)",
        "median",
        "most",
        f"against {parent}",
        "seconds (sum)",
        "per system",
    ]
    steps = {
        name: {one["molecule"]: one["iterations"] for one in rows if one["converged"]}
        for name, rows in groups.items()
    }
    body, bad = [], []
    for name, rows in groups.items():
        own, seconds = list(steps[name].values()), [float(one["seconds"]) for one in rows]
        lost = [one for one in rows if not one["converged"]]
        bad += [f"{name}: {one['name']} ({one['status']})" for one in lost]
        shared = steps[name].keys() & steps.get(parent, {}).keys()
        ratio = math.nan
        if shared:
            ratio = sum(steps[name][m] for m in shared) / sum(steps[parent][m] for m in shared)
        body.append(
            [
                Cell(name, style="own" if name == TRAINED else ""),
                number(len(rows), 0),
                number(len(lost), 0, style="bad" if lost else ""),
                number(mean(own) if own else math.nan, 1),
                number(median(own) if own else math.nan, 1),
                number(max(own, default=math.nan), 0),
                _times(ratio, len(shared)),
                number(sum(seconds), 1),
                number(mean(seconds), 2),
            ]
        )
    shown = {
        name: list(found.values())
        for name, found in steps.items()
        if found and not name.startswith(_ON_THE_WAY)
    }
    failed = {name: sum(not one["converged"] for one in rows) for name, rows in groups.items()}
    ordered = sorted(shown.items(), key=lambda item: item[0] != TRAINED)
    chart = iterations(dict(ordered), failed, colours)
    return join(
        [
            table(header, body),
            tag("p", "All self-consistent fields converged." if not bad else "Not converged:"),
            bullets(bad) if bad else None,
            tag("div", chart.figure(), class_="charts") if shown else None,
            tag(
                "p",
                "Molecules start from the orbitals of the functional before them where there is "
                "one, so that counts of iterations and seconds flatter the later ones.",
                class_="aside",
            ),
        ]
    )


def _times(ratio: float, shared: int) -> Cell:
    cell = number(ratio, 2, f"of {shared} systems that both have")
    return Cell("–" if math.isnan(ratio) else f"× {cell.shown}", cell.value, cell.note)


def _functional_names(run: RunData) -> dict[str, str]:
    """Return the names of functionals by the keys under which their solutions are kept."""
    keys = list(dict.fromkeys(one["functional"] for one in run.solutions))
    baselines = run.get("baselines")
    labels = {
        str(xc).strip().lower(): label
        for label, xc in (baselines.items() if isinstance(baselines, dict) else ())
    }
    modules = [key for key in keys if key.startswith("module:")]
    names = {}
    for key in keys:
        names[key] = labels.get(key, key)
    # The last one is what the training ended with; those before it were met on the way.
    for number_, key in enumerate(modules, 1):
        names[key] = f"{_ON_THE_WAY} ({number_})"
    if modules:
        last = max(
            range(len(run.solutions)),
            key=lambda i: i if run.solutions[i]["functional"].startswith("module:") else -1,
        )
        names[run.solutions[last]["functional"]] = TRAINED
    return names


def parent_label(run: RunData) -> str:
    """Return what a run calls the functional that its training started from."""
    parent = str(run.get("functional.xc", "")).strip().lower()
    names = _functional_names(run)
    return names.get(parent, parent)


# -- data, configuration, versions ---------------------------------------------------------------


def data(run: RunData) -> Html:
    """Return the sets of a run with their entries, and what they share."""
    rows, entries = [], []
    for one in run.data.get("sets", []):
        if not isinstance(one, dict):
            continue
        members = one.get("entries") or one.get("distances") or []
        count = one.get("molecules", len(members))
        label = str(one.get("set", ""))
        rows.append(
            [
                Cell(str(one.get("role", ""))),
                label,
                number(float(count), 0),
                str(one.get("file") or one.get("family") or ""),
            ]
        )
        words = [str(m.get("name", "")) if isinstance(m, dict) else f"R = {m:g} Bohr" for m in members]
        if words:
            entries.append(folded(f"{one.get('role')}: {label}", tag("p", ", ".join(words))))
    if not any(row[3] for row in rows):
        rows = [row[:3] for row in rows]
    digest = run.data.get("sha256")
    header = ["role", "set", "entries", "source"][: len(rows[0]) if rows else 0]
    return join(
        [
            table(header, rows) if rows else tag("p", "Nothing is known of the data."),
            tag("h3", "Overlap") if run.overlap else None,
            bullets(run.overlap) if run.overlap else None,
            folded("All entries", *entries) if entries else None,
            tag("p", "SHA-256 of the data: ", tag("code", digest)) if digest else None,
        ]
    )


def configuration(runs: Sequence[RunData]) -> Html:
    """Return configurations: where they differ, what was set, and everything."""
    parts: list[Html | None] = []
    for kind in dict.fromkeys(run.kind for run in runs):
        alike = [run for run in runs if run.kind == kind]
        if len(alike) > 1:
            parts += [tag("h3", "Where they differ"), _differences(alike)]
    for run in runs:
        chosen = yaml.safe_dump(run.chosen, sort_keys=False, width=80, allow_unicode=True)
        whole = yaml.safe_dump(run.config, sort_keys=False, width=80, allow_unicode=True)
        parts += [
            tag("h3", run.label) if len(runs) > 1 else None,
            folded("What was set", tag("pre", chosen), opened=len(runs) == 1),
            folded("With all defaults", tag("pre", whole)),
        ]
    return join(parts)


def _differences(runs: Sequence[RunData]) -> Html:
    flat = [_flat(run.config) for run in runs]
    keys = [
        key
        for key in dict.fromkeys(key for one in flat for key in one)
        if len({one.get(key, "–") for one in flat}) > 1 and key not in ("name", "description")
    ]
    if not keys:
        return tag("p", "Nowhere but in their names.")
    rows = [[key, *(Cell(one.get(key, "–"), style="words") for one in flat)] for key in keys]
    return table(["key", *(run.label for run in runs)], rows, sortable=False)


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    """Return dotted keys and what they are; a list of plain values is one.

    Examples
    --------
    >>> _flat({"data": {"train": [{"names": ["H", "C"]}], "basis": None}})
    {'data.train.0.names': 'H, C', 'data.basis': '–'}
    """
    if isinstance(value, list) and any(isinstance(v, (dict, list)) for v in value):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        parts = [_flat(one, f"{prefix}{key}.") for key, one in value.items()]
        return {key: shown for part in parts for key, shown in part.items()}
    if isinstance(value, list):
        value = ", ".join(map(str, value)) or None
    return {prefix.rstrip("."): "–" if value is None else str(value)}


def versions(runs: Sequence[RunData]) -> Html:
    """Return versions, seeds and hashes side by side."""
    keys = list(dict.fromkeys(key for run in runs for key in run.versions))
    rows: list[tuple[str, list[Any]]] = [
        ("seed", [str(run.get("training.seed", "–")) for run in runs]),
        *((key, [str(run.versions.get(key) or "–") for run in runs]) for key in keys),
        (
            "hash of the configuration",
            [tag("code", str(run.status.get("config_hash", "–"))[:16]) for run in runs],
        ),
    ]
    return transposed(runs, rows)


def images(run: RunData) -> Html:
    """Return the figures of a run directory that the report does not draw itself."""
    found = []
    for title, content in run.images:
        if title in _REDRAWN or title.startswith("curve_"):
            continue
        words = title.replace("_", " ")
        source = "data:image/png;base64," + base64.b64encode(content).decode("ascii")
        picture = tag("img", src=source, alt=words)
        found.append(tag("figure", tag("figcaption", words), picture, class_="image"))
    return tag("div", *found, class_="images") if found else Html()
