"""Names of anybody's in a terminal, a spreadsheet, a page and a log: shown, never obeyed."""

import csv
import io
import logging
import re
import warnings

import pytest

from deepchem_dft import sinks
from deepchem_dft.cli.common import console
from deepchem_dft.data.properties.label_file import LabelRow
from deepchem_dft.runs.rows import read_rows
from deepchem_dft.runs.tables import (
    EntryRecord,
    csv_text,
    entries_markdown,
    markdown_table,
    overview_markdown,
    summarise,
    summary_markdown,
    write_entries_csv,
    write_summary_csv,
)
from deepchem_dft.runs.xc.entries import EntrySet, overlap_markdown

HOSTILE = [
    '=HYPERLINK("http://x","y")',
    "+1+1",
    "-2+cmd|' /C calc'!A0",
    "@SUM(1+1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "\uff1d1+1",
    "a\x1b[2Jb",
    "\x1b]8;;http://x\x07k\x1b]8;;\x07",
    "a|b|c",
    "<script>alert(1)</script>",
    "<img src=x>",
    "![x](http://x/y.png)",
    "[x](javascript:y)",
    "\u202egnp.exe",
    "a\nb",
    "a\r\n| fake | row |",
    "[bold red]x[/]",
    "'quoted",
    "\x9b2J",
    "a\u2028b",
]
#: What a spreadsheet takes for the start of a formula.
FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


def records(name: str) -> list[EntryRecord]:
    return [
        EntryRecord(name, role, name, name, "ae", 0.1, value, [name] if value != value else [])
        for role, value in (("test", 0.11), ("test", float("nan")), ("train", -0.2))
    ]


def inert(text: str) -> bool:
    """Whether a terminal shows each character and obeys none."""
    return all(c.isprintable() or c in "\n\t" for c in text)


@pytest.mark.parametrize("name", HOSTILE)
def test_tables_of_a_run(name, tmp_path):
    write_entries_csv(tmp_path / "entries.csv", records(name))
    write_summary_csv(tmp_path / "results.csv", summarise(records(name)))
    for file in ("entries.csv", "results.csv"):
        text = (tmp_path / file).read_text(encoding="utf-8")
        assert inert(text)
        for row in csv.reader(io.StringIO(text)):
            for cell in row:
                number = re.fullmatch(r"-?\d+\.\d+|nan", cell)
                assert number or not cell.startswith(FORMULA)
        # Programs read the name itself, but for what cannot be shown.
        (first, *_) = read_rows(tmp_path / file)
        assert first["set"] == sinks.one_line(name)
        assert first.number("mae" if file == "results.csv" else "value") > 0


def test_numbers_stay_numbers():
    text = csv_text([["a", -1.5, "-1.5", "+2e-3", "nan", None, float("nan"), -3, "1-2"]])
    assert text == "a,-1.5,-1.5,+2e-3,nan,,,-3,1-2\n"


@pytest.mark.parametrize("name", HOSTILE)
def test_markdown(name):
    rows = records(name)
    texts = [
        markdown_table(["set", name], [[name, "1"], ["b", name]]),
        entries_markdown(rows),
        summary_markdown(summarise(rows)),
        overview_markdown(summarise(rows)),
    ]
    for text in texts:
        assert inert(text) and not re.search(r"<[A-Za-z/!?]", text)
        assert not re.search(r"(?<!\\)\]\(", text)
        tables = [
            [line for line in block.splitlines() if line.startswith("| ")] for block in text.split("###")
        ]
        for lines in filter(None, tables):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
        assert "| fake |" not in text


def test_a_set_s_name_adds_no_lines_to_the_overlap():
    from deepchem_dft.data import DFTEntry

    helium = {"moldesc": "He 0 0 0", "basis": "sto-3g"}
    entries = [DFTEntry.create("energy", -2.9, [helium], name="x\n## Results\n<b>")]
    lines = overlap_markdown([EntrySet(r, "s", entries) for r in ("train", "test")]).splitlines()
    assert len(lines) > 2 and all(line.startswith("- ") for line in lines)
    assert not any("<b>" in line for line in lines)


@pytest.mark.parametrize("name", HOSTILE)
def test_terminal(name, capsys):
    out = console()
    out.print(name, markup=True)  # nobody can ask for markup of a name
    out.print(f"error: {name}", markup=False)
    shown = capsys.readouterr().out
    assert inert(shown) and shown.count("[bold red]x[/]") == 2 * (name == "[bold red]x[/]")


def test_a_pipe_is_no_terminal_whatever_jupyter_asks_for(monkeypatch, capsys):
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE"):
        monkeypatch.setenv(name, "1")
    assert not console().is_terminal and not console(stderr=True).is_terminal


def test_chlorine_is_no_picture(capsys):
    console().print("LDA, atomic-ip:Cl: Cl+: a note")
    assert capsys.readouterr().out == "LDA, atomic-ip:Cl: Cl+: a note\n"


def test_error_line_and_warnings(capsys):
    from deepchem_dft.cli import _show_own_warnings
    from deepchem_dft.cli.processes import report

    report("error: \x1b[2Jx")
    with warnings.catch_warnings():
        _show_own_warnings()
        warnings.showwarning(UserWarning("\x1b]0;y\x07"), UserWarning, "f", 1)
    assert inert(capsys.readouterr().err)


def test_log_of_a_run(tmp_path):
    from deepchem_dft.runs.config import validate
    from deepchem_dft.runs.rundir import RunDirectory

    config = validate({"data": {"train": ["w4-11"]}})
    with RunDirectory(tmp_path / "run").opened(config):
        logging.getLogger("deepchem_dft").warning("solved %s", "a\x1b[2Jb")
    text = (tmp_path / "run" / "log.txt").read_text(encoding="utf-8")
    assert "solved a?[2Jb" in text and inert(text)


@pytest.mark.parametrize("name", HOSTILE)
def test_label_files(name):
    line = LabelRow(name, "C", problem=f"={name}").text()
    assert inert(line)
    assert not any(cell.startswith(FORMULA) for cell in next(csv.reader([line])))


def test_html_of_a_report_is_escaped(tmp_path):
    from deepchem_dft.runs.report.page import page
    from deepchem_dft.runs.report.reading import read_runs

    name = "<script>alert(1)</script>"
    (tmp_path / "config.yaml").write_text(
        f"data: {{train: [w4-11]}}\ndescription: '{name}'\nbaselines: {{'{name}': pbe}}\n"
    )
    write_entries_csv(tmp_path / "entries.csv", records(name))
    html, _ = page(read_runs([tmp_path]), name)
    assert name not in html and "&lt;script&gt;alert(1)" in html


def test_plain_text_is_left_alone():
    for text in ("H2O", "w4-11:c2h4", "Be (1S)", "a < b", "O\u2082 \u00e9 \u03b1", "[Fe]+"):
        assert sinks.markdown_cell(text) == text == sinks.one_line(text) == sinks.csv_cell(text)
        assert sinks.csv_plain(text) == text
