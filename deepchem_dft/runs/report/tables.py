"""The report's tables of errors: by functional, and entry by entry."""

import math
from collections.abc import Sequence

from deepchem_dft.runs.report.markup import Cell, Html, bullets, folded, join, number, table, tag
from deepchem_dft.runs.report.reading import RunData
from deepchem_dft.runs.report.scores import Key, Scores
from deepchem_dft.runs.tables import TYPE_TITLES, Summary
from deepchem_dft.units import HARTREE_TO_KCAL

#: Columns of molecules.csv and results.csv of runs on Hamiltonians: what they are called here.
_COLUMNS = {
    "hamiltonian_mae": "H (µHa)",
    "orbital_mae": "orbitals (µHa)",
    "gap_error": "gap (µHa)",
    "coefficient_similarity": "coefficients, mean |cos|",
    "energy_error": "energy (µHa)",
    "H": "H (µHa)",
    "orbitals": "orbitals (µHa)",
    "gap": "gap (µHa)",
    "coefficients": "coefficients, mean |cos|",
    "energy": "energy (µHa)",
    "cycles": "SCF cycles",
    "name": "molecule",
    "N": "molecules",
}
#: Rows of a table that are shown at once; the others come by a click, and count in filters.
_MOST = 3000


def overview(scores: Scores) -> Html | None:
    """Return mean absolute errors on the test sets, functionals against sets."""
    role = "test" if any(key.role == "test" for key in scores.records) else None
    # Different entries cannot be compared: then only those count that all were asked for.
    groups = {
        (name, kind): scores.summaries(scores.common(keys) or keys)
        for (r, name, kind), keys in scores.groups().items()
        if role in (None, r)
    }
    groups = {key: rows for key, rows in groups.items() if rows[0].unit == "kcal/mol"}
    if not groups:
        return None
    cells = {(s.functional, key): s for key, rows in groups.items() for s in rows}
    header = ["MAE (kcal/mol)"]
    for name, kind in groups:
        counts = sorted({s.n for s in groups[name, kind]})
        header.append(f"{name}: {TYPE_TITLES.get(kind, kind)} (N\xa0=\xa0{_range(counts)})")
    best = {
        key: min((s.mae for s in rows if s.mae == s.mae and not s.unconverged), default=math.nan)
        for key, rows in groups.items()
    }
    body = []
    for functional in scores.names:
        if not any((functional, key) in cells for key in groups):
            continue
        row = [Cell(functional, style="own" if functional in scores.trained else "")]
        for key in groups:
            summary = cells.get((functional, key))
            row.append(Cell("–", math.nan) if summary is None else _mae(summary, summary.mae == best[key]))
        body.append(row)
    return table(header, body, style="overview")


def _range(counts: list[int]) -> str:
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"


def _mae(summary: Summary, best: bool) -> Cell:
    cell = number(
        summary.mae, note=f"{summary.n} entries, worst {summary.worst}", style="best" if best else ""
    )
    lost = f" ({summary.unconverged} not converged)" if summary.unconverged else ""
    return Cell(cell.shown + lost, cell.value, cell.note, cell.style)


def error_tables(scores: Scores) -> Html:
    """Return the statistics of every set; those of training and validation are folded."""
    parts = []
    for (role, name, kind), keys in scores.groups().items():
        rows = scores.summaries(keys)
        unit, digits = rows[0].unit, 2 if rows[0].unit == "kcal/mol" else 5
        common = scores.common(keys)
        shared = {s.functional: s for s in scores.summaries(common)}
        differ = len(common) < len(keys) and len(common) > 0
        header = ["functional", "N", "MAE", "ME", "largest", "worst", "not converged"]
        header += [f"MAE of the {len(common)} common"] * differ
        body = []
        for s in rows:
            style = "own" if s.functional in scores.trained else ""
            line = [
                Cell(s.functional, style=style),
                number(s.n, 0),
                number(s.mae, digits),
                number(s.me, digits),
                number(s.max, digits),
                Cell(s.worst),
                number(s.unconverged, 0),
            ]
            line += [number(shared[s.functional].mae, digits)] if differ else []
            body.append(line)
        title = f"{role}: {name}, {TYPE_TITLES.get(kind, kind)} ({unit})"
        parts.append(folded(title, table(header, body), opened=role == "test"))
    return join(parts)


def entry_table(scores: Scores) -> Html:
    """Return all errors, a row for each entry and a column for each functional."""
    header = ["entry", *scores.names, "reference", "type", "set"]
    rows = []
    for key in sorted(
        scores.records,
        key=lambda k: ("test", "valid", "train").index(k.role) if k.role in ("test", "valid", "train") else 3,
    ):
        found = scores.records[key]
        one = next(iter(found.values()))
        scale = HARTREE_TO_KCAL if one.is_energy else 1.0
        reference = number(one.reference * scale) if one.is_energy else Cell("0", 0.0)
        errors = [_error(scores, key, name) for name in scores.names]
        rows.append([Cell(key.entry), *errors, reference, Cell(key.type), Cell(f"{key.role}: {key.set}")])
    return join(
        [
            tag(
                "p",
                "Calculated minus reference, in kcal/mol for energies. A click on a heading sorts "
                "by it. Dashes: not evaluated.",
            ),
            filter_box("entries", "Filter: molecule, set, type …", len(rows)),
            table(header, rows, ident="entries"),
        ]
    )


def _error(scores: Scores, key: Key, name: str) -> Cell:
    record = scores.records[key].get(name)
    if record is None:
        return Cell("–", math.nan)
    exact = scores.exact[key, name]
    if math.isnan(record.error):
        return Cell("not converged", math.nan, "; ".join(record.unconverged), "bad", exact="nan")
    shown = f"{round(record.error, 2) + 0.0:+.2f}" if record.is_energy else f"{record.error:.2e}"
    spread = scores.uncertainty.get((key, name))
    if spread:
        shown += f" ± {float(spread):.2f}"
    if record.is_energy:
        note = f"calculated {record.value * HARTREE_TO_KCAL:.3f} kcal/mol"
    else:
        note = "deviation of a density"
    return Cell(shown, record.error, note, exact=exact)


def filter_box(ident: str, hint: str, count: int) -> Html:
    """Return a box that filters the table of this name; without scripts it is not shown."""
    return tag(
        "p",
        tag("input", type="search", placeholder=hint, aria_label=hint, data_filter=ident),
        " ",
        tag("output", f"{count} of {count}", data_count=ident),
        class_="filter",
    )


def plain_rows(rows: Sequence[dict[str, str]], ident: str | None = None) -> Html:
    """Return rows of a CSV file as a table; numbers in columns that hold nothing else."""
    columns = list(rows[0])
    numeric = {c for c in columns if all(_is_number(row[c]) or row[c] in ("", "-") for row in rows)}
    digits = {
        c: 5 if max((abs(float(row[c])) for row in rows if _is_number(row[c])), default=0.0) <= 1.5 else 2
        for c in numeric
    }
    body = [[_plain(row[c], digits.get(c)) for c in columns] for row in rows]
    return table([_COLUMNS.get(c, c) for c in columns], body, ident=ident)


def _plain(text: str, digits: int | None) -> Cell:
    if digits is None:
        return Cell(text)
    if not _is_number(text):
        return Cell("–", math.nan)
    value = float(text)
    return Cell(text if text.lstrip("-").isdigit() else f"{value:.{digits}f}", value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def matrices(run: RunData, ident: str) -> Html:
    """Return the tables of a run on Hamiltonians; ``ident`` names the larger one."""
    parts: list[Html] = []
    if run.results:
        parts += [tag("p", "Mean absolute errors by set and method."), plain_rows(run.results)]
    if run.molecules:
        rows = run.molecules[:_MOST]
        cut = f", the first {_MOST}" if len(rows) < len(run.molecules) else ""
        parts += [
            folded(
                f"Molecule by molecule ({len(run.molecules)}{cut})",
                filter_box(ident, "Filter: molecule, set, method …", len(rows)),
                plain_rows(rows, ident),
            )
        ]
    return join(parts) if parts else bullets(["no results yet"])
