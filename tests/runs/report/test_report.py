"""Reports: one file, everything escaped, numbers those of the run's own tables."""

import base64
import csv
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from deepchem_dft.cli import app
from deepchem_dft.errors import InputError
from deepchem_dft.runs.report import write_report
from deepchem_dft.runs.report.reading import read_runs
from deepchem_dft.runs.report.scores import names_of
from deepchem_dft.runs.report.sections import convergence
from deepchem_dft.runs.tables import ENTRY_COLUMNS

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


class Page(HTMLParser):
    """Everything a test wants to know of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[tuple[str, str]]]] = {}
        self.words: list[str] = []
        self._table, self._cell = "", None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag == "table":
            self._table = found.get("id") or f"table {len(self.tables)}"
            self.tables[self._table] = []
        elif tag == "tr":
            self.tables[self._table].append([])
        elif tag in ("td", "th"):
            self._cell = [found.get("data-v") or "", ""]

    def handle_endtag(self, tag):
        if tag in ("td", "th") and self._cell:
            self.tables[self._table][-1].append((self._cell[0], self._cell[1]))
            self._cell = None

    def handle_data(self, data):
        self.words.append(data)
        if self._cell:
            self._cell[1] += data

    @property
    def text(self) -> str:
        return " ".join(self.words)


def make_run(folder: Path, name: str, entries=(), config=None, **files) -> Path:
    """Write a run directory by hand; entries are (functional, role, entry, reference, value)."""
    run = folder / name
    (run / "plots").mkdir(parents=True)
    content = {"name": name, "data": {"train": ["w4-11:train"], "basis": "sto-3g"}}
    (run / "config.yaml").write_text(yaml.safe_dump({**content, **(config or {})}))
    with open(run / "entries.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(ENTRY_COLUMNS)
        for functional, role, entry, reference, value, *more in entries:
            error = "" if value == "" else f"{(float(value) - reference) * 627.509474:.6f}"
            writer.writerow(
                [
                    functional,
                    role,
                    "a set",
                    entry,
                    "ae",
                    f"{reference:.10f}",
                    value,
                    "hartree",
                    error,
                    *(more or ["", ""]),
                    "",
                ]
            )
    for file, text in files.items():
        (run / file.replace("__", ".")).write_text(text)
    return run


def page_of(runs, folder: Path) -> Page:
    to = folder / "report.html"
    write_report(runs, to)
    return Page(to.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tiny_page(finished, tmp_path_factory):
    """Text of the report on a finished run."""
    to = tmp_path_factory.mktemp("report") / "report.html"
    written = write_report([finished[1].directory.path], to)
    assert written.notes == []
    return to.read_text(encoding="utf-8")


def test_page_needs_nothing_else(tiny_page):
    page = Page(tiny_page)
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        assert not any(name.startswith("on") or name in ("style", "srcset") for name in attributes)
        for name in ("src", "href", "action", "data"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/png;base64,"))
    assert not re.search(r"https?://|@import|url\(", tiny_page)
    assert tiny_page.count("<script") == 1


def test_policy_allows_this_script_and_style_alone(tiny_page):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', tiny_page)[1]
    policy = policy.replace("&#x27;", "'")
    for tag, rule in (("script", "script-src"), ("style", "style-src")):
        content = re.search(rf"<{tag}>(.*?)</{tag}>", tiny_page, re.S)[1]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{rule} 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy and "unsafe" not in policy


def test_numbers_are_those_of_entries_csv(tiny_page, finished):
    rows = Page(tiny_page).tables["entries"]
    header = [text for _, text in rows[0]]
    with open(finished[1].directory / "entries.csv", newline="") as stream:
        known = {(r["entry"], r["functional"]): r for r in csv.DictReader(stream)}
    assert len(known) == 12 and len(rows) == 5
    seen = 0
    for row in rows[1:]:
        entry = row[0][1]
        for name, (exact, shown) in zip(header, row):
            if name in ("lda", "pbe", "trained"):
                assert exact == known[entry, name]["error_kcal_per_mol"]
                assert float(shown) == pytest.approx(float(exact), abs=0.0051)
                seen += 1
    assert seen == len(known)


def test_page_opens_with_an_answer_a_figure_and_the_runs_own_table(tiny_page, finished):
    with open(finished[1].directory / "results.csv", newline="") as stream:
        mae = {r["functional"]: float(r["mae"]) for r in csv.DictReader(stream) if r["role"] == "test"}
    overview = next(t for t in Page(tiny_page).tables.values() if t[0][0][1] == "MAE (kcal/mol)")
    assert {row[0][1]: float(row[1][0]) for row in overview[1:]} == pytest.approx(mae, abs=1e-6)
    assert overview[1][0][1] == "trained"
    first = tiny_page.split("<section")[1]
    assert first.startswith(' id="answer"') and "<svg" in first and "MAE (kcal/mol)" in first
    assert re.search(r"trained: (NOT )?better than pbe on .*mean absolute error", first)


@pytest.mark.parametrize(
    "words",
    [
        "train and test share",
        "Parity",
        "H2 dissociation",
        "training loss",
        "kcal/mol",
        "SHA-256",
        "limit of high density",
        "All self-consistent fields converged",
        "torch",
        "seed",
        "hidden:",
    ],
)
def test_sections_are_there(tiny_page, words):
    assert words in Page(tiny_page).text


def test_no_path_of_this_machine_is_told(tiny_page, finished):
    folder = finished[1].directory.path.resolve()
    assert str(folder.parent) not in tiny_page and "data.yaml" in tiny_page


def test_text_of_the_data_is_never_markup(tmp_path):
    evil = "<img src=x onerror=alert(1)>\"'&</script><script>alert(2)</script>"
    run = make_run(
        tmp_path,
        "evil",
        [("trained", "test", evil, 0.1, "0.2"), (evil, "test", evil, 0.1, "0.3", "", evil)],
        {"name": evil, "description": evil, "baselines": {evil: "pbe"}},
        versions__json=json.dumps({evil: evil}),
        results__md=f"## Overlap of the data\n- {evil}\n",
    )
    to = tmp_path / "report.html"
    write_report([run], to, title=evil)
    text = to.read_text(encoding="utf-8")
    page = Page(text)
    assert "<img" not in text and text.count("<script") == text.count("</script") == 1
    assert evil in page.text and page.tables["entries"][1][0][1] == evil
    assert not any(name.startswith("on") for _, found in page.tags for name in found)


def test_unconverged_entries_have_no_error(tmp_path):
    run = make_run(
        tmp_path,
        "a",
        [
            ("pbe", "test", "N2", 0.3, "nan", "", "N2 (max_iterations)"),
            ("pbe", "test", "H2", 0.1, "0.11", "", ""),
        ],
    )
    page = page_of([run], tmp_path)
    cells = {row[0][1]: row[1] for row in page.tables["entries"][1:]}
    assert cells["N2"] == ("nan", "not converged")
    assert cells["H2"] == ("6.275095", "+6.28")
    assert "(1 not converged)" in page.text


def test_uncertainty_is_shown(tmp_path):
    run = make_run(tmp_path, "a", [("trained", "test", "H2", 0.1, "0.11", "1.500000", "")])
    assert page_of([run], tmp_path).tables["entries"][1][1][1] == "+6.28 ± 1.50"


def test_an_unfinished_run_shows_what_it_has(tmp_path):
    run = make_run(
        tmp_path,
        "young",
        history__csv="epoch,stage,loss,train_mae_kcal,"
        "valid_mae_kcal,seconds\n1,1,5.0,3.0,,2.5\n2,1,4.0,,,2.5\n",
    )
    shutil.copy(run / "config.yaml", tmp_path / "config.yaml")
    written = write_report([run], tmp_path / "report.html")
    assert any("no results yet" in note for note in written.notes)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "no results yet" in page.text and "5.0 s" in page.text and "Loss" in page.text


def test_folders_that_are_no_runs_are_refused(tmp_path):
    run = make_run(tmp_path, "a")
    with pytest.raises(InputError, match=r"no config.yaml.*such as .*a"):
        read_runs([tmp_path])
    with pytest.raises(InputError, match="train"):
        read_runs([tmp_path / "nowhere"])
    with pytest.raises(InputError, match="twice"):
        read_runs([run, f"{run}/../a"])
    with pytest.raises(InputError, match="no run"):
        read_runs([])


# -- several runs --------------------------------------------------------------------------------


@pytest.fixture
def three(tmp_path):
    """Runs a and b agree on PBE; c has it in another basis, and another test entry."""
    common = [
        ("pbe", "test", "H2", 0.10, "0.11"),
        ("trained", "test", "H2", 0.10, "0.105"),
        ("lda", "test", "H2", 0.10, "0.14"),
    ]
    other = [
        ("pbe", "test", "H2", 0.10, "0.12"),
        ("trained", "test", "H2", 0.10, "0.101"),
        ("trained", "test", "N2", 0.30, "0.36"),
        ("pbe", "test", "N2", 0.30, "0.35"),
    ]
    return [make_run(tmp_path, "a", common), make_run(tmp_path, "b", common), make_run(tmp_path, "c", other)]


def test_baselines_that_agree_appear_once(three):
    names = names_of(read_runs(three))
    assert names["a", "pbe"] == names["b", "pbe"] == "pbe (a, b)"
    assert names["c", "pbe"] == "pbe (c)" and names["a", "lda"] == "lda"
    assert [names[run, "trained"] for run in "abc"] == ["a", "b", "c"]


def test_runs_are_compared_on_the_entries_they_share(three, tmp_path):
    page = page_of(three, tmp_path)
    overview = next(t for t in page.tables.values() if t[0][0][1] == "MAE (kcal/mol)")
    assert "(N\xa0=\xa01)" in overview[0][1][1]
    shown = {row[0][1]: row[1][1] for row in overview[1:]}
    assert shown["c"] == "0.63" and shown["a"] == "3.14" and shown["pbe (c)"] == "12.55"
    whole = next(t for t in page.tables.values() if t[0][0][1] == "functional")
    line = next(row for row in whole if row[0][1] == "c")
    assert line[2][1] == "19.14"  # of both of its entries: (0.6275 + 37.6506) / 2
    assert line[-1][1] == "0.63"


def test_runs_of_one_name_are_told_apart(tmp_path):
    runs = [make_run(tmp_path / side, "x", config={"name": "same"}) for side in ("l", "r")]
    assert [run.label for run in read_runs(runs)] == ["same 1", "same 2"]


def test_differences_of_configurations_are_listed(tmp_path):
    runs = [
        make_run(tmp_path, name, config={"training": {"loss": loss}})
        for name, loss in (("a", "l1"), ("b", "l2"))
    ]
    table = next(t for t in page_of(runs, tmp_path).tables.values() if t[0][0][1] == "key")
    assert [[text for _, text in row] for row in table] == [["key", "a", "b"], ["training.loss", "l1", "l2"]]


def test_a_lattice_run_shows_its_curves(tmp_path):
    points = [
        (name, "test", f"H2 R={r}", -1.0 / r, f"{-1.0 / r + shift:.6f}")
        for name, shift in (("trained", 0.001), ("LDA", 0.1))
        for r in (1.0, 2.0, 4.0)
    ]
    run = make_run(
        tmp_path,
        "k",
        points,
        {"model": "ksr"},
        history__csv="seed,stage,epoch,loss,valid_mae_kcal\n0,1,1,5,\n0,2,1,4,2.5\n1,1,1,3,\n1,2,1,2,1.5\n",
    )
    (run / "plots" / "trajectory_h2.png").write_bytes(PIXEL)
    (run / "plots" / "page.png").write_text("<script>alert(1)</script>")
    page = page_of([run], tmp_path)
    assert "a set, one dimension: error" in page.text and "seed 1" in page.text
    images = [found["src"] for tag, found in page.tags if tag == "img"]
    assert images == ["data:image/png;base64," + base64.b64encode(PIXEL).decode()]
    assert "Enhancement" not in page.text


def test_a_run_on_matrices_shows_its_tables(tmp_path):
    run = make_run(
        tmp_path,
        "h",
        config={"model": "hamiltonian"},
        results__csv='set,N,H,cycles\n"test: 300 K, delta",20,49.24,6.0 of 10.0\n',
        molecules__csv="role,name,hamiltonian_mae,converged\ntest,water/1,51.5,True\n",
        history__csv="epoch,loss,train_mae_uha,valid_mae_uha\n1,9,80,\n2,8,60,55\n",
    )
    page = page_of([run], tmp_path)
    assert page.tables["molecules-0"][1][2] == ("51.5", "51.50")
    assert "H (µHa)" in page.text and "6.0 of 10.0" in page.text and "averaged weights" in page.text


def test_convergence_is_counted_by_functional(tmp_path):
    def line(molecule, functional, iterations, converged=True):
        return json.dumps(
            {
                "molecule": molecule,
                "functional": functional,
                "name": f"mol {molecule}",
                "energy": -1.0,
                "converged": converged,
                "status": "converged" if converged else "max_iterations",
                "iterations": iterations,
                "seconds": 0.5,
            }
        )

    lines = [
        line("1", "pbe", 10),
        line("2", "pbe", 20),
        line("1", "module:old", 7),
        line("1", "module:new", 12),
        line("2", "module:new", 24),
        line("3", "module:new", 99, False),
        '{"molecule": "cut',
    ]
    run = make_run(
        tmp_path,
        "a",
        config={"functional": {"xc": "PBE"}, "baselines": {"Parent": "pbe"}},
        energies__jsonl="\n".join(lines),
    )
    page = Page(convergence(read_runs([run])[0], {}))
    rows = {row[0][1]: [text for _, text in row[1:]] for row in page.tables["table 0"]}
    assert rows["trained"] == ["3", "1", "18.0", "18.0", "24", "× 1.20", "1.5", "0.50"]
    assert rows["Parent"][:6] == ["2", "0", "15.0", "15.0", "20", "× 1.00"]
    assert rows["during training (1)"][5] == "× 0.70"
    assert "trained: mol 3 (max_iterations)" in page.text


# -- the command ---------------------------------------------------------------------------------


def test_command_writes_a_report(tmp_path):
    run = make_run(tmp_path, "a", [("pbe", "test", "H2", 0.1, "0.11")])
    to = tmp_path / "out.html"
    done = CliRunner().invoke(app, ["report", str(run), "--out", str(to), "--title", "Mine"])
    assert done.exit_code == 0 and f"written: {to}" in done.output
    assert "<h1>Mine</h1>" in to.read_text(encoding="utf-8")


def test_command_names_what_is_missing_and_what_is_wrong(tmp_path):
    run = make_run(tmp_path, "a")
    done = CliRunner().invoke(app, ["report", str(run), "--out", str(tmp_path / "r.html")])
    assert done.exit_code == 0 and "missing: a: no enhancement factors" in done.output
    for arguments, words in (
        ([str(tmp_path), "--out", str(tmp_path / "x.html")], "not a run"),
        ([str(run), "--out", str(tmp_path / "no" / "x.html")], "folder"),
    ):
        done = CliRunner().invoke(app, ["report", *arguments])
        assert isinstance(done.exception, InputError) and words in str(done.exception)
        assert not (tmp_path / "x.html").exists()
