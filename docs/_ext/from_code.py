"""Pages written from the code at build time, so that they cannot fall behind it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from typer.main import get_command
from typer.testing import CliRunner

if TYPE_CHECKING:  # the tests of this file do without Sphinx
    from sphinx.application import Sphinx


def write_pages(app: Sphinx) -> None:
    """Write pages of the command line and of the keys of configurations into ``generated``."""
    from deepchem_dft.cli import app as cli
    from deepchem_dft.runs.hamiltonian.schema import HamiltonianRunConfig
    from deepchem_dft.runs.ksr.schema import LatticeRunConfig
    from deepchem_dft.runs.xc.schema import RunConfig

    folder = Path(app.srcdir) / "generated"
    folder.mkdir(exist_ok=True)
    _write(folder / "cli.md", "\n".join(command_pages(cli)))
    usual = config_tables("Keys of a run configuration", RunConfig)
    _write(folder / "run-config.md", "\n".join(usual))
    ksr = config_tables("Keys of a run with `model: ksr`", LatticeRunConfig)
    _write(folder / "ksr-config.md", "\n".join(ksr))
    hamiltonian = config_tables("Keys of a run with `model: hamiltonian`", HamiltonianRunConfig)
    _write(folder / "hamiltonian-config.md", "\n".join(hamiltonian))
    write_cards(folder)


def write_cards(folder: Path) -> None:
    """Write a page per model that comes with the package, and a table of them to include."""
    from deepchem_dft import zoo
    from deepchem_dft.zoo.cards import list_text
    from deepchem_dft.zoo.registry import SHIPPED

    cards = [zoo.card(name, SHIPPED) for name in zoo.names(SHIPPED)]
    pages = folder / "models"
    pages.mkdir(exist_ok=True)
    for page in pages.glob("*.md"):
        if page.stem not in {card.name for card in cards}:
            page.unlink()
    for card in cards:
        _write(pages / f"{card.name}.md", _literal(card.text()))
    table = _literal(list_text(cards))
    for card in cards:
        link = f"[{card.name}](/generated/models/{card.name}.md)"
        table = table.replace(f"| {_literal(card.name)} |", f"| {link} |", 1)
    _write(folder / "models.inc", table + "\n")


def _literal(text: str) -> str:
    """Keep what a card says from being read as Markdown, but for bold print, lists and tables."""
    return re.sub(r"(?<!\*)\*(?!\*)|[_<$`\[\]{}~]", lambda found: "\\" + found[0], text)


def command_pages(cli: Any) -> list[str]:
    """Return the ``--help`` of the program and of each command."""
    os.environ.update(COLUMNS="88", TERM="dumb", NO_COLOR="1")
    lines = ["# Command line", ""]
    lines += ["What `deepchem-dft COMMAND --help` prints.", ""]
    for words in _commands(get_command(cli)):
        shown = CliRunner().invoke(cli, [*words, "--help"], prog_name="deepchem-dft").output
        title = " ".join(["deepchem-dft", *words])
        shown = "\n".join(map(str.rstrip, shown.strip().splitlines()))
        lines += [f"## {title}", "", "```text", shown, "```", ""]
    return lines


def _commands(command: Any, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [prefix]
    for name, child in getattr(command, "commands", {}).items():
        if not child.hidden:
            found += _commands(child, (*prefix, name))
    return found


def config_tables(title: str, root: type[BaseModel]) -> list[str]:
    """Return one table per section of a run configuration."""
    lines = [f"# {title}", ""]
    lines += ["Every key of the file that `deepchem-dft train` reads, with its default.", ""]
    seen: list[type[BaseModel]] = [root]
    for model in seen:
        name = model.__name__.removesuffix("Config")
        name = name.removeprefix("Lattice").removeprefix("Hamiltonian")
        title = "The file itself" if model is root else name
        text = (model.__doc__ or "").strip().split("\n\n")
        lines += [f"({_label(root, model)})=", f"## {title}", "", *text, ""]
        lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
        for key, field in model.model_fields.items():
            inner = _sections(field.annotation)
            seen += [m for m in inner if m not in seen]
            links = ", ".join(f"[section](#{_label(root, m)})" for m in inner)
            meaning = " ".join(filter(None, [field.description, links]))
            lines.append(f"| `{key}` | {_type(field.annotation)} | {_default(field)} | {meaning} |")
        lines.append("")
    return lines


def _label(root: type[BaseModel], model: type[BaseModel]) -> str:
    return f"{root.__name__}-{model.__name__}".lower()  # a section may be in several files


def _sections(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for a in getattr(annotation, "__args__", ()) for m in _sections(a)]


def _type(annotation: Any) -> str:
    if isinstance(annotation, type) and not getattr(annotation, "__args__", ()):
        text = "section" if issubclass(annotation, BaseModel) else annotation.__name__
    else:
        text = str(annotation).replace("typing.", "")
        for model in _sections(annotation):
            text = text.replace(f"{model.__module__}.{model.__qualname__}", "section")
    text = re.sub(r"Literal\[(.*?)\]", lambda m: m[1].replace(", ", " | "), text)
    return f"`{text}`".replace("|", "\\|")


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return ""
    return "see section" if isinstance(value, BaseModel) else f"`{value!r}`".replace("|", "\\|")


def _write(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text("utf-8") != text:  # unchanged files are not read again
        path.write_text(text, encoding="utf-8")


def escape_bars(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Let ``|grad n|`` in a docstring mean an absolute value, not a substitution of RST."""
    for number, line in enumerate(lines):
        if "|" in line and not re.match(r"\s*(>>>|\.\.\.|\||\+[-=])", line):
            parts = re.split(r"(``.*?``|:\w+:`.*?`)", line)  # odd parts are code or mathematics
            parts[::2] = [re.sub(r"(?<!\\)\|", r"\\|", part) for part in parts[::2]]
            lines[number] = "".join(parts)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("builder-inited", write_pages, priority=100)
    app.connect("autodoc-process-docstring", escape_bars)
    return {"version": "1", "parallel_read_safe": True}
