"""A judgement as one HTML page: tables that sort and filter, errors by kind beside published ones."""

import math
from collections.abc import Sequence
from pathlib import Path

from deepchem_dft.files import write
from deepchem_dft.runs.board import tables
from deepchem_dft.runs.board.judging import KINDS, Column, Judgement
from deepchem_dft.runs.report.charts import Chart, Series
from deepchem_dft.runs.report.markup import Cell, Html, bullets, folded, join, number, table, tag
from deepchem_dft.runs.report.page import document
from deepchem_dft.runs.report.tables import filter_box
from deepchem_dft.units import HARTREE_TO_KCAL


def write_page(path: str | Path, found: Judgement, title: str, said: Sequence[str] = ()) -> None:
    """Write the page.

    Parameters
    ----------
    path : path
    found : Judgement
    title : str
    said : sequence of str
        How the values were computed: basis, grid, data sets.
    """
    parts = [
        ("kinds", "By kind", join([bullets([*said, *tables.facts(found)]), _kinds(found), _chart(found)])),
        ("sets", "By set", _sets(found)),
    ]
    if found.computed:
        parts.append(("worst", "Worst rows", join(_worst(found, column) for column in found.computed)))
    header, rows = tables.uncertainty_table(found)
    if rows:
        parts.append(("uncertainty", "Uncertainty", join([table(header, map(_cells, rows)), _spread(found)])))
    parts.append(("rows", "Rows", _rows(found)))
    parts.append(
        ("cost", "Cost", table(tables.cost_table(found)[0], map(_cells, tables.cost_table(found)[1])))
    )
    if states := tables.state_lines(found):
        parts.append(("states", "States", bullets(states)))
    page = document(title, parts, [f"not converged: {line}" for line in tables.lost_lines(found)])
    write(path, page.encode("utf-8", "replace"))


def _cells(line: Sequence[str]) -> list[Cell]:
    """Return cells that sort by the number they begin with, if they do."""
    return [Cell(line[0]), *(Cell(text, _value(text)) for text in line[1:])]


def _value(text: str) -> float | None:
    if text == "-":
        return math.nan
    try:
        return float(text.split()[0]) if text else None
    except ValueError:
        return None


def _kinds(found: Judgement) -> Html:
    header, rows = tables.kinds_table(found)
    own = {c.label for c in found.computed}
    body = [[Cell(line[0], style="own" if line[0] in own else ""), *_cells(line)[1:]] for line in rows]
    return table(header, body, style="overview")


def _chart(found: Judgement) -> Html:
    groups = found.by_kind()
    series = []
    for index, column in enumerate(found.columns):
        tips = [
            f"{column.label}, {KINDS[kind]}: {tables.number(column.mae(names))} kcal/mol (N = {len(names)})"
            for kind, names in groups.items()
        ]
        published = column.source == "published"
        places, errors = [float(i) for i in range(len(groups))], [column.mae(n) for n in groups.values()]
        series.append(Series(column.label, places, errors, index, not published, True, False, tips))
    chart = Chart(
        "Mean absolute error by kind", "kind of row", "MAE (kcal/mol)", series, ylog=True, names=list(groups)
    )
    return tag("div", chart.figure(), class_="charts")


def _sets(found: Judgement) -> Html:
    header, rows = tables.sets_table(found)
    box = filter_box("board-sets", "Filter: set, kind, functional …", len(rows))
    return join([box, table(header, map(_cells, rows), ident="board-sets")])


def _worst(found: Judgement, column: Column) -> Html:
    header, rows = tables.worst_table(found, column, 25)
    return folded(column.label, table(header, map(_cells, rows)), opened=True)


def _spread(found: Judgement) -> Html:
    series = []
    for index, column in enumerate(found.computed):
        names = [r.name for r in found.shared if r.name in column.uncertainties]
        if names:
            spreads = [column.uncertainties[n] for n in names]
            errors = [abs(column.errors[n]) for n in names]
            series.append(Series(column.label, spreads, errors, index, False, True, tips=names))
    chart = Chart(
        "Error against uncertainty",
        "uncertainty (kcal/mol)",
        "|error| (kcal/mol)",
        series,
        xlog=True,
        ylog=True,
        diagonal=True,
    )
    return tag("div", chart.figure(), class_="charts")


def _rows(found: Judgement) -> Html:
    header = ["row", *(c.label for c in found.columns), "reference", "kind", "set", "split"]
    body = []
    for row in found.rows:
        cells = [_error(column, row.name) for column in found.columns]
        end = [Cell(row.kind), Cell(row.set), Cell(row.split or "–")]
        body.append([Cell(row.name), *cells, number(row.reference * HARTREE_TO_KCAL), *end])
    hint = f"Calculated minus reference, kcal/mol. {tables.MARK}: learned from. A click on a heading sorts."
    box = filter_box("board-rows", "Filter: row, set, kind, split …", len(body))
    return join([tag("p", hint), box, table(header, body, ident="board-rows")])


def _error(column: Column, name: str) -> Cell:
    error = column.errors[name]
    if math.isnan(error):
        return Cell("not converged", math.nan, "; ".join(column.unconverged.get(name, [])), "bad")
    text = f"{round(error, 2) + 0.0:+.2f}"
    if name in column.uncertainties:
        text += f" ± {column.uncertainties[name]:.2f}"
    return Cell(text + (f" {tables.MARK}" if name in column.seen else ""), error)
