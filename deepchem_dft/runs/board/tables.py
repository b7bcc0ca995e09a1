"""A judgement as Markdown tables and as a CSV file."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deepchem_dft.files import write
from deepchem_dft.runs.board.judging import KINDS, TRIVIAL, Column, Judgement
from deepchem_dft.runs.tables import csv_text, markdown_table
from deepchem_dft.runs.xc.calibration import coverage, rank_correlation
from deepchem_dft.units import HARTREE_TO_KCAL

#: How rows and columns are marked that a functional has learned from.
MARK = "†"
NOT_SEEN = "of rows not learned from"


def number(value: float) -> str:
    """Return kcal/mol to two places, or what is smaller to two digits.

    Examples
    --------
    >>> number(1.234), number(0.00012), number(float("nan")), number(0.0)
    ('1.23', '1.2e-04', '-', '0.00')
    """
    if math.isnan(value):
        return "-"
    return f"{value:.1e}" if 0 < abs(value) < 0.005 else f"{value:.2f}"


def unseen(column: Column, names: Sequence[str]) -> list[str]:
    """Return the rows that a column has not learned from."""
    return [name for name in names if name not in column.seen]


def kinds_table(found: Judgement) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of mean absolute errors by kind, with the weighted total."""
    groups = found.by_kind()
    header = ["MAE, kcal/mol", *(f"{kind} ({len(names)})" for kind, names in groups.items()), found.total]
    rows = []
    for column in found.columns:
        label = f"{column.label} (published)" if column.source == "published" else column.label
        cells = [number(column.mae(names)) for names in groups.values()]
        rows.append([label, *cells, number(found.weighted(column))])
        if column.seen:
            left = {kind: unseen(column, names) for kind, names in groups.items()}
            every = [name for names in left.values() for name in names]
            cells = [
                number(column.mae(left[kind])) + (f" ({len(left[kind])})" if left[kind] != names else "")
                for kind, names in groups.items()
            ]
            rows.append([f"{column.label} {NOT_SEEN}", *cells, number(found.weighted(column, every))])
    best = [found.strongest(names) for names in groups.values()]
    total = min(found.published, key=found.weighted, default=None)
    rows.append(
        ["strongest published", *(c.label if c else "-" for c in best), total.label if total else "-"]
    )
    return header, rows


def sets_table(found: Judgement) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of mean absolute errors by set."""
    kinds = {row.set: row.kind for row in found.rows}
    shown = [c for c in found.columns if c.source != "published"]
    header = ["set", "kind", "N", *(c.label for c in shown), "strongest published", "its MAE"]
    rows = []
    for name, names in sorted(found.groups(lambda row: row.set).items()):
        best = found.strongest(names)
        cells = [_marked(number(c.mae(names)), c, names) for c in shown]
        end = ["-", "-"] if best is None else [best.label, number(best.mae(names))]
        rows.append([name, kinds[name], str(len(names)), *cells, *end])
    return header, rows


def _marked(text: str, column: Column, names: Sequence[str]) -> str:
    learned = sum(name in column.seen for name in names)
    return text if not learned else f"{text} {MARK}{learned if learned < len(names) else ''}"


def worst_table(found: Judgement, column: Column, most: int = 10) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the largest errors of a functional, with the strongest peer of the kind."""
    header = ["row", "kind", "reference", "error", "uncertainty", "strongest published", "its error"]
    best = {kind: found.strongest(names) for kind, names in found.by_kind().items()}
    rows = []
    chosen = sorted(found.shared, key=lambda row: -abs(column.errors[row.name]))[:most]
    for row in chosen:
        peer = best[row.kind]
        rows.append(
            [
                row.name + (f" {MARK}" if row.name in column.seen else ""),
                row.kind,
                number(row.reference * HARTREE_TO_KCAL),
                number(column.errors[row.name]),
                number(column.uncertainties.get(row.name, math.nan)),
                "-" if peer is None else peer.label,
                number(math.nan if peer is None else peer.errors[row.name]),
            ]
        )
    return header, rows


def uncertainty_table(found: Judgement) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of how often 68 % intervals hold the reference, by kind; no rows without any."""
    header = [
        "functional",
        "kind",
        "N",
        "within 68 % interval",
        "mean uncertainty",
        "MAE",
        "rank correlation",
    ]
    rows = []
    for column in found.computed:
        for kind, names in found.by_kind().items():
            known = [n for n in names if n in column.uncertainties]
            if not known:
                continue
            errors = [column.errors[n] for n in known]
            spreads = [column.uncertainties[n] for n in known]
            covered = f"{100 * float(coverage(errors, spreads)):.0f} %"
            numbers = [number(sum(spreads) / len(known)), number(column.mae(known))]
            rank = number(rank_correlation(errors, spreads)) if len(known) > 2 else "-"
            rows.append([column.label, kind, str(len(known)), covered, *numbers, rank])
    return header, rows


def cost_table(found: Judgement) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of Fock builds and time by functional."""
    header = ["functional", "systems", "Fock builds", "per system", "seconds", "per system (s)"]
    rows = []
    for column in found.computed:
        cost, n = column.cost, max(column.cost.systems, 1)
        rows.append(
            [
                column.label,
                str(cost.systems),
                str(cost.iterations),
                f"{cost.iterations / n:.1f}",
                f"{cost.seconds:.0f}",
                f"{cost.seconds / n:.2f}",
            ]
        )
    return header, rows


def facts(found: Judgement) -> list[str]:
    """Return sentences on what the tables hold, and on what they leave out."""
    names = f"{len(found.shared)} of {len(found.rows)} rows" if len(found.shared) < len(found.rows) else ""
    lines = [
        f"{names or f'{len(found.rows)} rows'} of {found.board.name}; calculated minus reference, kcal/mol. "
        + ", ".join(f"{kind}: {KINDS[kind]}" for kind in found.by_kind())
        + "."
    ]
    if names:
        lines.append("Rows with a value of every functional are compared; the others did not converge.")
    total = found.total[:1].upper() + found.total[1:]
    lines.append(
        f"{total}: mean of |error| times 56.84 kcal/mol over the mean absolute reference energy of the set. "
        f"{TRIVIAL!r}: the mean reference of the set's training rows as a guess. Published values: the "
        "authors' basis."
    )
    if any(column.seen for column in found.columns):
        lines.append(f"{MARK}: rows that the functional has learned from, or whose molecules it has.")
    return lines


def markdown(found: Judgement, by_set: bool = True, most: int = 10) -> str:
    """Return all tables as Markdown."""
    parts = ["### by kind\n", "\n".join(facts(found)) + "\n", markdown_table(*kinds_table(found))]
    if by_set:
        parts += ["\n### by set (MAE, kcal/mol)\n", markdown_table(*sets_table(found))]
    for column in found.computed:
        parts += [f"\n### worst rows of {column.label} (kcal/mol)\n"]
        parts += [markdown_table(*worst_table(found, column, most))]
    header, rows = uncertainty_table(found)
    if rows:
        parts += ["\n### uncertainties (kcal/mol)\n", markdown_table(header, rows)]
    if found.computed:
        parts += ["\n### cost\n", markdown_table(*cost_table(found))]
    for title, lines in (("not converged", lost_lines(found)), ("states", state_lines(found))):
        if lines:
            parts += [f"\n### {title}\n", *(f"- {line}" for line in lines[:20])]
            parts += [f"- and {len(lines) - 20} more, in the CSV file"] * (len(lines) > 20)
    return "\n".join(parts) + "\n"


def as_data(found: Judgement) -> dict[str, Any]:
    """Return a judgement as plain data for JSON, the unit in every name; NaN is what is not known."""
    kinds, sets = found.by_kind(), found.groups(lambda row: row.set)
    columns = []
    for column in found.columns:
        one: dict[str, Any] = {
            "functional": column.label,
            "source": column.source,
            "mae_kcal_mol": {kind: column.mae(names) for kind, names in kinds.items()},
            "mae_of_sets_kcal_mol": {name: column.mae(names) for name, names in sets.items()},
            "weighted_total_kcal_mol": found.weighted(column),
        }
        if column.source == "computed":
            one |= {
                "learned_from": sorted(column.seen),
                "unconverged": column.unconverged,
                "notes": column.notes,
                "cost": asdict(column.cost),
            }
        columns.append(one)
    rows = [
        {
            "row": row.name,
            "kind": row.kind,
            "set": row.set,
            "reference_kcal_mol": row.reference * HARTREE_TO_KCAL,
            "errors_kcal_mol": {c.label: c.errors[row.name] for c in found.columns},
            "uncertainties_kcal_mol": {
                c.label: c.uncertainties[row.name] for c in found.columns if row.name in c.uncertainties
            },
        }
        for row in found.rows
    ]
    return {
        "board": found.board.name,
        "weighted_total": found.total,
        "compared": [row.name for row in found.shared],
        "functionals": columns,
        "rows": rows,
    }


def lost_lines(found: Judgement) -> list[str]:
    """Return which rows have no value of a functional, and the systems to blame."""
    return [f"{c.label}, {n}: {', '.join(w)}" for c in found.computed for n, w in c.unconverged.items()]


def state_lines(found: Judgement) -> list[str]:
    """Return what has to be said of the states of systems, each system once per functional."""
    lines = [f"{c.label}: {note}" for c in found.computed for notes in c.notes.values() for note in notes]
    return list(dict.fromkeys(lines))


def write_csv(path: str | Path, found: Judgement) -> None:
    """Write a line per row: what it is, its weight, errors and uncertainties of every column (kcal/mol)."""
    header = ["row", "set", "type", "kind", "split", "weight", "reference_kcal_per_mol"]
    for column in found.columns:
        kind = "" if column.source == "computed" else f" ({column.source})"
        header.append(f"{column.label}{kind} error")
        if column.source == "computed":
            words = ("uncertainty", "learned from", "not converged", "notes")
            header += [f"{column.label} {word}" for word in words]
    lines: list[Sequence[object]] = [header]
    for row in found.rows:
        line: list[object] = [row.name, row.set, row.type, row.kind, row.split or ""]
        weight = found.weights.get(row.name)
        line += ["" if weight is None else f"{weight:.4f}", f"{row.reference * HARTREE_TO_KCAL:.5f}"]
        for column in found.columns:
            error = column.errors[row.name]
            line.append("" if math.isnan(error) else f"{error:.5f}")
            if column.source == "computed":
                spread = column.uncertainties.get(row.name)
                line.append("" if spread is None else f"{spread:.5f}")
                line.append("yes" if row.name in column.seen else "no")
                line.append("; ".join(column.unconverged.get(row.name, [])))
                line.append("; ".join(column.notes.get(row.name, [])))
        lines.append(line)
    write(path, csv_text(lines))
