"""Errors of functionals, entry by entry and summarised, as CSV and Markdown."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from deepchem_dft.files import write
from deepchem_dft.sinks import csv_row, markdown_cell
from deepchem_dft.units import HARTREE_TO_KCAL

#: Units of the deviations that are not energies.
DEVIATION_UNITS = {"dm": "electrons (rms element)", "dens": "electrons/Bohr^1.5"}


@dataclass
class EntryRecord:
    """One entry evaluated with one functional.

    Attributes
    ----------
    functional : str
        Name of the row in tables.
    role : str
        train, valid or test.
    set : str
        Label of the data set.
    entry, type : str
        Name and type of the entry.
    reference, value : float
        Hartree for energies; for dm and dens 0 and the deviation. ``value`` is NaN if one of the
        entry's systems did not converge.
    unconverged : list of str
        The systems to blame, with their status.
    uncertainty : float or None
        Half the width of the interval that is meant to hold 68 % of the true values, Ha; known for
        energies by ensembles only.
    notes : list of str
        What has to be said of the entry's systems: lower states, negative gaps.
    """

    functional: str
    role: str
    set: str
    entry: str
    type: str
    reference: float
    value: float
    unconverged: list[str] = field(default_factory=list)
    uncertainty: float | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def is_energy(self) -> bool:
        """False for dm and dens."""
        return self.type not in DEVIATION_UNITS

    @property
    def error(self) -> float:
        """Calculated minus reference, in kcal/mol for energies; NaN if unconverged."""
        return (self.value - self.reference) * (HARTREE_TO_KCAL if self.is_energy else 1.0)


@dataclass
class Summary:
    """Statistics of one functional on one data set and entry type.

    ``mae``, ``me`` and ``max`` (largest absolute error) are in ``unit``, over the converged
    entries; ``unconverged`` counts the others out of ``n``.
    """

    functional: str
    role: str
    set: str
    type: str
    n: int
    unconverged: int
    mae: float
    me: float
    max: float
    worst: str
    unit: str


def summarise(records: Iterable[EntryRecord]) -> list[Summary]:
    """Group records by functional, set and type, in order of appearance.

    Examples
    --------
    >>> records = [EntryRecord("pbe", "test", "w4-11", "h2", "ae", 0.10, 0.11),
    ...            EntryRecord("pbe", "test", "w4-11", "n2", "ae", 0.30, float("nan"), ["N2"])]
    >>> row = summarise(records)[0]
    >>> row.n, row.unconverged, round(row.mae, 3), row.unit
    (2, 1, 6.275, 'kcal/mol')
    """
    groups: dict[tuple[str, str, str, str], list[EntryRecord]] = {}
    for record in records:
        key = (record.functional, record.role, record.set, record.type)
        groups.setdefault(key, []).append(record)
    out = []
    for (functional, role, name, kind), members in groups.items():
        good = [r for r in members if math.isfinite(r.error)]
        errors = [r.error for r in good]
        worst = max(good, key=lambda r: abs(r.error)) if good else None
        out.append(
            Summary(
                functional,
                role,
                name,
                kind,
                n=len(members),
                unconverged=len(members) - len(good),
                mae=sum(map(abs, errors)) / len(errors) if errors else math.nan,
                me=sum(errors) / len(errors) if errors else math.nan,
                max=abs(worst.error) if worst else math.nan,
                worst=worst.entry if worst else "",
                unit=DEVIATION_UNITS.get(kind, "kcal/mol"),
            )
        )
    return out


def verdict(summaries: Sequence[Summary], trained: str, parent: str) -> list[str]:
    """Say for every test set whether a trained functional beats its parent, in a sentence each.

    Parameters
    ----------
    summaries : list of Summary
    trained, parent : str
        Names of their rows.

    Examples
    --------
    >>> rows = [Summary(name, "test", "w4-11", "ae", 45, 0, mae, 0.0, 9.0, "h2", "kcal/mol")
    ...         for name, mae in (("pbe", 14.5), ("trained", 2.5))]
    >>> verdict(rows, "trained", "pbe")
    ['better than pbe on w4-11 (45 atomisation energies): mean absolute error 2.50 instead of 14.50 kcal/mol']
    """
    rows = {(s.functional, s.set, s.type): s for s in summaries if s.role == "test"}
    out = []
    for (name, group, kind), own in rows.items():
        other = rows.get((parent, group, kind))
        if name != trained or other is None or not math.isfinite(own.mae + other.mae):
            continue
        word = "better than" if own.mae < other.mae else "NOT better than"
        out.append(
            f"{word} {parent} on {group} ({own.n} {TYPE_TITLES[kind]}): mean absolute error "
            f"{_number(own.mae, own.unit)} instead of {_number(other.mae, own.unit)} {own.unit}"
        )
    return out


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Return rows as the text of a CSV file; None and NaN are empty cells, formulae are inert."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(
        csv_row("" if c is None or isinstance(c, float) and math.isnan(c) else c for c in row) for row in rows
    )
    return text.getvalue()


def write_summary_csv(path: str | Path, summaries: Sequence[Summary]) -> None:
    """Write one line per functional, set and type."""
    rows: list[Sequence[object]] = [[f.name for f in fields(Summary)]]
    for summary in summaries:
        row = asdict(summary)
        for key in ("mae", "me", "max"):
            row[key] = f"{row[key]:.6f}"
        rows.append(list(row.values()))
    write(path, csv_text(rows))


#: Of ``entries.csv``.
ENTRY_COLUMNS = [
    "functional",
    "role",
    "set",
    "entry",
    "type",
    "reference",
    "value",
    "unit",
    "error_kcal_per_mol",
    "uncertainty_kcal_per_mol",
    "unconverged",
    "notes",
]


def write_entries_csv(path: str | Path, records: Iterable[EntryRecord]) -> None:
    """Write one line per entry and functional: reference, value, error, uncertainty if known."""
    rows: list[list[object]] = [list(ENTRY_COLUMNS)]
    for r in records:
        unit = "hartree" if r.is_energy else DEVIATION_UNITS[r.type]
        error = f"{r.error:.6f}" if r.is_energy else ""
        spread = "" if r.uncertainty is None else f"{r.uncertainty * HARTREE_TO_KCAL:.6f}"
        rows.append(
            [
                r.functional,
                r.role,
                r.set,
                r.entry,
                r.type,
                f"{r.reference:.10f}",
                f"{r.value:.10f}",
                unit,
                error,
                spread,
                "; ".join(r.unconverged),
                "; ".join(r.notes),
            ]
        )
    write(path, csv_text(rows))


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return an aligned Markdown table; the first column is text, the others numbers.

    Examples
    --------
    >>> print(markdown_table(["functional", "MAE"], [["pbe", "14.2"]]))
    | functional |  MAE |
    |:-----------|-----:|
    | pbe        | 14.2 |
    """
    table = [[markdown_cell(cell) for cell in row] for row in (header, *rows)]
    widths = [max(3, *(len(row[i]) for row in table)) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [cells[0].ljust(widths[0])]
        padded += [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:])]
        return "| " + " | ".join(padded) + " |"

    rule = "|:" + "-" * (widths[0] + 1) + "|"
    rule += "".join("-" * (width + 1) + ":|" for width in widths[1:])
    return "\n".join([line(table[0]), rule, *map(line, table[1:])])


def _number(value: float, unit: str) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.2f}" if unit == "kcal/mol" else f"{value:.3e}"


def summary_markdown(summaries: Sequence[Summary], roles: Sequence[str] = ()) -> str:
    """Return the results: one Markdown table per set and type, functionals as rows.

    Parameters
    ----------
    summaries : list of Summary
        As made by :func:`summarise`.
    roles : list of str, optional
        Order (and choice) of roles; default: test, valid, train.
    """
    parts = []
    for role in roles or ("test", "valid", "train"):
        groups: dict[tuple[str, str], list[Summary]] = {}
        for summary in summaries:
            if summary.role == role:
                groups.setdefault((summary.set, summary.type), []).append(summary)
        for (name, kind), rows in groups.items():
            unit = rows[0].unit
            title = f"{role}: {name} ({TYPE_TITLES[kind]}, {unit})"
            parts.append(f"### {markdown_cell(title)}\n")
            header = ["functional", "N", "MAE", "ME", "max", "worst", "unconverged"]
            body = [
                [
                    s.functional,
                    str(s.n),
                    _number(s.mae, unit),
                    _number(s.me, unit),
                    _number(s.max, unit),
                    s.worst,
                    str(s.unconverged),
                ]
                for s in rows
            ]
            parts.append(markdown_table(header, body) + "\n")
    return "\n".join(parts)


def overview_markdown(summaries: Sequence[Summary], role: str = "test") -> str:
    """Return one table of mean absolute errors: functionals as rows, sets as columns."""
    chosen = [s for s in summaries if s.role == role and s.unit == "kcal/mol"]
    columns = list(dict.fromkeys((s.set, s.type) for s in chosen))
    if not columns:
        return ""
    cells = {(s.functional, s.set, s.type): s for s in chosen}
    counts = {(s.set, s.type): s.n for s in chosen}
    header = ["MAE, kcal/mol"] + [f"{n} {t} (N={counts[n, t]})" for n, t in columns]
    body = []
    for functional in dict.fromkeys(s.functional for s in chosen):
        row = [functional]
        for name, kind in columns:
            cell = cells.get((functional, name, kind))
            text = "-" if cell is None else _number(cell.mae, cell.unit)
            lost = cell.unconverged if cell else 0
            row.append(text + (f" ({lost} unconverged)" if lost else ""))
        body.append(row)
    return markdown_table(header, body)


TYPE_TITLES = {
    "energy": "total energies",
    "ae": "atomisation energies",
    "ie": "ionisation energies",
    "ea": "electron affinities",
    "reaction": "reaction energies",
    "fractional_charge": "deviations from the line between whole charges",
    "fractional_spin": "fractional-spin errors",
    "dm": "density-matrix deviations",
    "dens": "density deviations",
}


def entries_markdown(records: Sequence[EntryRecord]) -> str:
    """Return one Markdown table of values and errors, entry by entry.

    A column for the uncertainty is there if any record has one, those for reference and error if any
    reference is known.
    """
    judged = not records or any(math.isfinite(r.reference) for r in records)
    known = any(r.uncertainty is not None for r in records)
    names = ["reference", "calculated", "error"] if judged else ["calculated"]
    header = ["entry", "functional", "type", *names, *["uncertainty"] * known, "unit", "unconverged"]
    rows = []
    for r in records:
        scale = HARTREE_TO_KCAL if r.is_energy else 1.0
        unit = "kcal/mol" if r.is_energy else DEVIATION_UNITS[r.type]
        values = [r.reference * scale, r.value * scale, r.error] if judged else [r.value * scale]
        if known:
            values.append(math.nan if r.uncertainty is None else r.uncertainty * scale)
        numbers = [_number(value, unit) for value in values]
        rows.append([r.entry, r.functional, r.type, *numbers, unit, "; ".join(r.unconverged)])
    return markdown_table(header, rows)


def entries_data(records: Sequence[EntryRecord]) -> list[dict[str, Any]]:
    """Return records as plain data, the unit of each beside its numbers; NaN where nothing converged."""
    out = []
    for r in records:
        scale = HARTREE_TO_KCAL if r.is_energy else 1.0
        out.append(
            {
                **{name: getattr(r, name) for name in ("functional", "role", "set", "entry", "type")},
                "unit": "kcal/mol" if r.is_energy else DEVIATION_UNITS[r.type],
                "reference": r.reference * scale,
                "calculated": r.value * scale,
                "error": r.error,
                "uncertainty": None if r.uncertainty is None else r.uncertainty * scale,
                "unconverged": r.unconverged,
                "notes": r.notes,
            }
        )
    return out


def notes_markdown(records: Iterable[EntryRecord], most: int = 20) -> str:
    """Return a list of what has to be said of entries' systems; empty if nothing has."""
    lines = list(dict.fromkeys(f"- {r.functional}, {r.entry}: {note}" for r in records for note in r.notes))
    if len(lines) > most:
        lines[most:] = [f"- and {len(lines) - most} more, in the CSV file"]
    return "\n".join(lines)
