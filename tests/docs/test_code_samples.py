"""Every sample in the documentation runs: Python, data files, configurations, commands."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
PAGES = [p for p in PAGES if not {"_build", "generated"} & set(p.relative_to(ROOT).parts)]
_BLOCK = re.compile(r"^(?P<note><!--[^\n]*-->\n)?```(?P<kind>\w+)\n(?P<body>.*?)^```$", re.M | re.S)


def blocks(page: Path, kind: str) -> list[str]:
    """Return the fenced blocks of a kind, leaving out those marked ``<!-- not run: why -->``."""
    found = _BLOCK.finditer(page.read_text("utf-8"))
    return [m["body"] for m in found if m["kind"] == kind and "not run" not in (m["note"] or "")]


def pages_with(kind: str) -> list:
    """Return the pages that have such blocks, as parameters with readable ids."""
    return [pytest.param(p, id=p.relative_to(ROOT).as_posix()) for p in PAGES if blocks(p, kind)]


def write_files(page: Path, folder: Path) -> list[Path]:
    """Write the YAML blocks that begin with ``# file: name``."""
    written = []
    for text in blocks(page, "yaml"):
        first = re.match(r"# file: (\S+)\n", text)
        assert first, f"{page.name}: a YAML block does not say its file name"
        path = folder / first[1]
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


@pytest.mark.parametrize("page", pages_with("python"))
def test_python_samples_run(page, tmp_path, monkeypatch, capsys):
    write_files(page, tmp_path)
    for folder in ("examples", "datasets"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.chdir(tmp_path)
    namespace: dict = {"__name__": "__sample__"}
    for number, text in enumerate(blocks(page, "python"), 1):
        code = compile(text, f"{page.relative_to(ROOT)} block {number}", "exec")
        exec(code, namespace)


@pytest.mark.parametrize("page", pages_with("yaml"))
def test_yaml_samples_are_valid(page, tmp_path):
    from deepchem_dft.data import read_yaml
    from deepchem_dft.runs.config import load_config

    for path in write_files(page, tmp_path):
        content = yaml.safe_load(path.read_text("utf-8"))
        if isinstance(content, dict) and "training" in content:
            load_config(path)
        else:
            assert read_yaml(str(path))


@pytest.mark.parametrize("page", pages_with("console"))
def test_commands_exist(page):
    """Parse every ``deepchem-dft`` command and look up every ``make`` target."""
    from typer.main import get_command

    from deepchem_dft.cli import app

    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    for line in "".join(blocks(page, "console")).splitlines():
        if not line.startswith("$ "):
            continue
        words = shlex.split(line[2:], comments=True)
        if words[0] == "make":
            assert {w for w in words[1:] if "=" not in w} <= targets, line
        elif words[0] == "deepchem-dft":
            _parse(get_command(app), "deepchem-dft", words[1:])


def _parse(command, name, words):
    words = [w for w in words if w != "COMMAND"]
    with command.make_context(name, list(words), resilient_parsing=False) as context:
        if not hasattr(command, "commands"):
            return
        rest = [*context._protected_args, *context.args]
        child_name, child, child_words = command.resolve_command(context, rest)
        _parse(child, child_name, child_words)
