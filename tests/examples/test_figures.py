"""``make figures``: every picture of README and docs has a source that exists."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from deepchem_dft.runs import load_config

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def figures():
    spec = importlib.util.spec_from_file_location("figures", ROOT / "examples" / "figures.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["figures"] = module  # for its dataclass
    spec.loader.exec_module(module)
    yield module
    del sys.modules["figures"]


def test_every_picture_has_a_source_and_is_shown(figures):
    drawn = {name for source in figures.SOURCES for name in source.figures}
    kept = {path.stem for path in (ROOT / "docs" / "images").iterdir()}
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    shown = {name for page in pages for name in re.findall(r"images/(\w+)\.png\)", page.read_text("utf-8"))}
    assert drawn == kept == shown


def test_sources_are_scripts_and_configurations_of_the_repository(figures):
    for source in figures.SOURCES:
        named = [word for word in source.command if word.startswith("examples/")]
        assert named and all((ROOT / word).is_file() for word in named)
        (config,) = [word for word in named if word.endswith(".yaml")] or [None]
        if config:
            load_config(ROOT / config)
            assert all(file.startswith(f"{{runs}}/{source.run}/") for file in source.figures.values())


def test_what_is_drawn_is_put_where_the_docs_have_it(figures, tmp_path):
    words = "import pathlib; pathlib.Path(r'{drawn}/a.png').write_bytes(b'new')"
    out = tmp_path / "images"
    out.mkdir()
    (out / "x.png").write_bytes(b"old")
    figures.draw(figures.Source(("-c", words), {"x": "a.png"}), tmp_path / "runs", out)
    assert (out / "x.png").read_bytes() == b"new"


def test_figures_that_cost_hours_are_left_out_on_request(figures, tmp_path, monkeypatch, capsys):
    drawn = []
    monkeypatch.setattr(figures, "draw", lambda source, runs, out: drawn.append(source))
    monkeypatch.setattr(sys, "argv", ["figures.py", "--ready", "--runs", str(tmp_path)])
    figures.main()
    assert drawn and not any(source.run for source in drawn)
    monkeypatch.setattr(sys, "argv", ["figures.py", "--list", "--runs", str(tmp_path)])
    figures.main()
    assert "zoo_hybrid_errors: nn-hybrid (not there)" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["figures.py", "nothing"])
    with pytest.raises(SystemExit):
        figures.main()
