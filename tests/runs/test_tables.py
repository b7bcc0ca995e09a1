"""Tables: averages, and that what did not converge never enters one."""

import csv
import math

import pytest

from deepchem_dft.runs.tables import (
    EntryRecord,
    entries_markdown,
    overview_markdown,
    summarise,
    summary_markdown,
    write_entries_csv,
    write_summary_csv,
)
from deepchem_dft.units import HARTREE_TO_KCAL

KCAL = 1.0 / HARTREE_TO_KCAL


@pytest.fixture
def records() -> list[EntryRecord]:
    rows = []
    for name, errors in {"pbe": (3.0, -1.0, 8.0), "trained": (1.0, math.nan, -2.0)}.items():
        for entry, error in zip(("a", "b", "c"), errors):
            bad = ["b (stalled)"] if math.isnan(error) else []
            rows.append(EntryRecord(name, "test", "set", entry, "ae", 0.2, 0.2 + error * KCAL, bad))
    rows.append(EntryRecord("pbe", "test", "set", "d", "dm", 0.0, 0.01))
    return rows


def test_statistics(records):
    pbe, trained, matrix = summarise(records)
    assert (pbe.n, pbe.unconverged, pbe.worst) == (3, 0, "c")
    assert [pbe.mae, pbe.me, pbe.max] == pytest.approx([4.0, 10.0 / 3.0, 8.0])
    assert (trained.n, trained.unconverged) == (3, 1)
    assert [trained.mae, trained.me, trained.max] == pytest.approx([1.5, -0.5, 2.0])
    assert matrix.mae == pytest.approx(0.01) and "kcal" not in matrix.unit


def test_nothing_converged_is_not_zero():
    (row,) = summarise([EntryRecord("x", "test", "s", "a", "ae", 0.1, math.nan, ["a"])])
    assert math.isnan(row.mae) and row.unconverged == 1
    assert " - " in summary_markdown([row])


def test_markdown(records):
    text = summary_markdown(summarise(records))
    assert "kcal/mol" in text and "| trained" in text and "electrons" in text
    assert "(1 unconverged)" in overview_markdown(summarise(records))
    widths = {len(line) for line in entries_markdown(records).splitlines()}
    assert len(widths) == 1


def test_csv(records, tmp_path):
    write_summary_csv(tmp_path / "s.csv", summarise(records))
    write_entries_csv(tmp_path / "e.csv", records)
    summary = list(csv.DictReader((tmp_path / "s.csv").read_text().splitlines()))
    assert float(summary[0]["mae"]) == pytest.approx(4.0) and summary[0]["unit"] == "kcal/mol"
    entries = list(csv.DictReader((tmp_path / "e.csv").read_text().splitlines()))
    assert entries[4]["unconverged"] == "b (stalled)" and entries[4]["value"] == "nan"
    assert float(entries[0]["error_kcal_per_mol"]) == pytest.approx(3.0)
