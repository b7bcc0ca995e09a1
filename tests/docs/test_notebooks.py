"""Notebooks of the tutorials: made from the pages, run, with figures, and small."""

import importlib.util
import re
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
_FILE = ROOT / "docs" / "_ext" / "notebooks.py"
_spec = importlib.util.spec_from_file_location("notebooks", _FILE)
notebooks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(notebooks)

#: Those that end in seconds; the others are run by `make test-slow`.
QUICK = ("dissociation-curve",)
EACH = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow, id=name) for name in notebooks.names()
]


def code_of(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def images(notebook):
    outputs = [output for cell in code_of(notebook) for output in cell.outputs]
    return [output for output in outputs if "image/png" in output.get("data", {})]


@pytest.fixture(params=notebooks.names())
def kept(request):
    """A notebook as it lies in the repository, and its name."""
    return request.param, nbformat.read(notebooks.NOTEBOOKS / f"{request.param}.ipynb", as_version=4)


def test_kept_notebooks_are_those_of_the_pages(kept):
    name, found = kept
    made = notebooks.notebook(name)
    assert [(c.cell_type, c.source) for c in found.cells] == [(c.cell_type, c.source) for c in made.cells], (
        f"docs/tutorials/{name}.md has changed: run `make notebooks`"
    )
    nbformat.validate(found)


def test_kept_notebooks_ran_from_top_to_bottom_and_show_something(kept):
    name, found = kept
    cells = code_of(found)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error"]
    assert images(found)
    assert (notebooks.NOTEBOOKS / f"{name}.ipynb").stat().st_size < 300_000


def test_kept_notebooks_greet_with_no_warnings_and_name_no_machine(kept):
    _, found = kept
    streams = [o for c in code_of(found) for o in c.outputs if o.output_type == "stream"]
    assert not [
        o.text
        for o in streams
        if o.name == "stderr" and re.search("warn|skipped|normalization", o.text, re.I)
    ]
    assert not [o.text for o in streams if re.search(r"/(?:home|root|tmp|work|Users)/", o.text)]


def test_kept_notebooks_begin_with_title_badges_and_environment(kept):
    name, found = kept
    heading, setup = found.cells[:2]
    assert heading.source.startswith("# ") and "img.shields.io" in heading.source
    assert "%pip install" in setup.source and "find_spec" in setup.source
    text = "\n".join(c.source for c in found.cells if c.cell_type == "markdown")
    assert not re.search(r"\{(?:doc|py:\w+)\}`", text)
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)\)", text)
    missing = [link for link in links if not (notebooks.NOTEBOOKS / link).is_file()]
    assert not missing


def test_a_badge_opens_colab_where_the_repository_is_known():
    heading = notebooks.notebook("deq", "someone/something").cells[0].source
    place = "colab.research.google.com/github/someone/something/blob/main/docs/notebooks/deq.ipynb"
    assert place in heading
    assert "colab" not in notebooks.notebook("deq").cells[0].source


@pytest.mark.parametrize("name", EACH)
def test_notebooks_run(name, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    assert sys.executable
    done = notebooks.execute(notebooks.notebook(name), tmp_path)
    assert all(cell.execution_count for cell in code_of(done))
    assert images(done)


def test_an_error_in_a_cell_is_raised(tmp_path):
    from nbclient.exceptions import CellExecutionError

    broken = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")])
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        notebooks.execute(broken, tmp_path)
