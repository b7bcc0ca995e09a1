"""Make notebooks of the tutorials: ``make notebooks``.

Usage: python docs/_ext/notebooks.py [NAME ...] [--out DIR] [--only-source] [--repository OWNER/NAME]

Pages of ``docs/tutorials`` that link to their notebook are the source. Their Python blocks become cells,
configurations with a first line ``# file: name`` become cells that write that file, and what stands in a
comment ``<!-- notebook`` is a cell of notebooks alone. Everything else stays text. Notebooks are run from
their first cell to the last, in an empty folder, and kept with what they show.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import jupytext
import nbformat

DOCS = Path(__file__).resolve().parents[1]
TUTORIALS, NOTEBOOKS = DOCS / "tutorials", DOCS / "notebooks"
#: Seconds that one cell may take, on a machine that is busy with other things, too.
TIMEOUT = 3600

_SETUP = """\
# Installs the package where it is missing, on Colab for instance; elsewhere this does nothing.
import importlib.util

if importlib.util.find_spec("deepchem_dft") is None:
    %pip install --quiet deepchem_dft

import deepchem_dft  # before DeepChem, which would list the packages that it does not find

%matplotlib inline"""

_COLAB = "https://colab.research.google.com"
_SHIELD = "https://img.shields.io/badge"


def names() -> list[str]:
    """Return the names of the tutorials that are notebooks as well: their pages say so."""
    pages = TUTORIALS.glob("*.md")
    return sorted(page.stem for page in pages if "[This page as a notebook]" in page.read_text("utf-8"))


def notebook(name: str, repository: str = "") -> Any:
    """Return the notebook of a tutorial, not run.

    Parameters
    ----------
    name : str
        Of the page, without its ending.
    repository : str
        Owner and name of the GitHub repository that has the notebooks, for a badge that opens them
        on Colab. Without one there is no such badge.
    """
    text = (TUTORIALS / f"{name}.md").read_text("utf-8")
    text = re.sub(r"^\[This page as a notebook\].*\n\n", "", text, flags=re.M)
    text = re.sub(r"^<!-- notebook\n(.*?)^-->\n", r"```python\n\1```\n", text, flags=re.M | re.S)
    text = re.sub(
        r"^```yaml\n# file: (\S+)\n(.*?)^```\n",
        r"```python\n%%writefile \1\n\2```\n",
        text,
        flags=re.M | re.S,
    )
    title, _, rest = text.partition("\n")
    made = jupytext.reads(rest, fmt="md")
    heading = nbformat.v4.new_markdown_cell(f"{title}\n\n{_badges(name, repository)}")
    made.cells = [heading, nbformat.v4.new_code_cell(_SETUP), *(c for c in made.cells if c.source.strip())]
    for number, cell in enumerate(made.cells):
        cell.id, cell.metadata = f"{name}-{number}", {}
        if cell.cell_type == "markdown":
            cell.source = _plain(cell.source)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    made.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    made.nbformat, made.nbformat_minor = 4, 5
    return made


def _badges(name: str, repository: str) -> str:
    """Return what stands under the title: where this comes from, and where it opens."""
    badges = [f"[![tutorial]({_SHIELD}/docs-tutorial-0072B2)](../tutorials/{name}.md)"]
    badges += [f"[![install]({_SHIELD}/python-3.11_to_3.13-009E73)](../install.md)"]
    if repository:
        place = f"{_COLAB}/github/{repository}/blob/main/docs/notebooks/{name}.ipynb"
        badges.insert(0, f"[![Open in Colab]({_COLAB}/assets/colab-badge.svg)]({place})")
    return " ".join(badges)


def _plain(text: str) -> str:
    """Turn the roles of MyST into links and code that every notebook shows."""
    text = re.sub(r"\{doc\}`(?:([^`<]+) <)?([^`>]+)>?`", _page, text)
    return re.sub(r"\{py:\w+\}`(?:([^`<]+) <[^>]+>|([^`]+))`", _code, text)


def _page(found: re.Match[str]) -> str:
    target = found[2].lstrip("/") if found[2].startswith("/") else os.path.normpath(f"tutorials/{found[2]}")
    label = found[1] or target.rpartition("/")[2]
    if target.startswith("generated/"):  # made with the documentation, so not beside the notebook
        return f"*{label}*"
    folder, _, name = target.rpartition("/")
    return f"[{label}]({name}.ipynb)" if folder == "tutorials" else f"[{label}](../{target}.md)"


def _code(found: re.Match[str]) -> str:
    target = found[2] or ""
    return f"`{found[1] or (target[1:].rpartition('.')[2] if target.startswith('~') else target)}`"


def execute(made: Any, folder: Path, kernel: str = "python3") -> Any:
    """Run a notebook in a folder and return it with its outputs; the first error is raised."""
    from nbclient import NotebookClient

    # Commands of cells are those of this Python; threads as in the tests.
    kept = {name: os.environ.get(name) for name in ("PATH", "MPLBACKEND")}
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"] or ""])
    os.environ.pop("MPLBACKEND", None)  # figures belong into the notebook
    try:
        client = NotebookClient(
            made,
            timeout=TIMEOUT,
            kernel_name=kernel,
            startup_timeout=300,  # of busy machines
            extra_arguments=["--IPKernelApp.log_level=ERROR"],
            record_timing=False,
            resources={"metadata": {"path": str(folder)}},
        )
        client.execute()
    finally:
        for name, value in kept.items():
            if value is not None:
                os.environ[name] = value
    made.metadata["language_info"] = {"name": "python"}
    for cell in made.cells:
        if cell.cell_type == "code":
            cell.outputs = _kept(cell.outputs)
    return made


def _kept(outputs: list[Any]) -> list[Any]:
    """Return outputs as they are worth keeping: without what names this machine or this minute."""
    kept: list[Any] = []
    for output in outputs:
        output.get("metadata", {}).clear()
        if output.output_type == "stream":
            output.text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.text)
            if kept and kept[-1].output_type == "stream" and kept[-1].name == output.name:
                kept[-1].text += output.text  # commands come in pieces
                continue
        kept.append(output)
    return kept


def main() -> None:
    """Make the notebooks that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names())}; default: all")
    parser.add_argument("--out", type=Path, default=NOTEBOOKS, help="folder of the notebooks")
    parser.add_argument("--only-source", action="store_true", help="do not run them; keep known outputs")
    parser.add_argument("--repository", default="", help="on GitHub, for a badge that opens them on Colab")
    options = parser.parse_args()
    if unknown := set(options.names) - set(names()):
        parser.error(f"no tutorial is called {', '.join(sorted(unknown))}")
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.names or names():
        made, path = notebook(name, options.repository), options.out / f"{name}.ipynb"
        if options.only_source:
            _take_outputs(made, path)
        else:
            with tempfile.TemporaryDirectory() as folder:
                execute(made, Path(folder))
        nbformat.write(made, path)
        print(f"{path}: {path.stat().st_size // 1024} kB", flush=True)


def _take_outputs(made: Any, path: Path) -> None:
    """Give cells the outputs that an earlier notebook has for the same code."""
    if not path.is_file():
        return
    earlier = {c.source: c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"}
    for cell in made.cells:
        if cell.cell_type == "code" and cell.source in earlier:
            known = earlier[cell.source]
            cell.outputs, cell.execution_count = known.outputs, known.execution_count


if __name__ == "__main__":
    main()
