"""Pages of model cards say what the cards say."""

import importlib.util
from pathlib import Path

from deepchem_dft import zoo
from deepchem_dft.zoo.registry import SHIPPED

ROOT = Path(__file__).resolve().parents[2]


def _extension():
    spec = importlib.util.spec_from_file_location("from_code", ROOT / "docs/_ext/from_code.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_page_per_card_and_a_table(tmp_path):
    old = tmp_path / "models" / "gone.md"
    old.parent.mkdir()
    old.write_text("# a model that is no longer shipped")
    _extension().write_cards(tmp_path)
    names = zoo.names(SHIPPED)
    assert sorted(page.stem for page in old.parent.iterdir()) == names
    table = (tmp_path / "models.inc").read_text()
    for name in names:
        page = (old.parent / f"{name}.md").read_text().replace("\\", "")
        card = zoo.card(name, SHIPPED)
        assert page == card.text() and card.known_failures[0] in page
        assert f"(/generated/models/{name}.md)" in table and card.summary in table.replace("\\", "")


def test_markdown_in_a_card_stays_text():
    literal = _extension()._literal
    assert literal("match: */300K/*") == "match: \\*/300K/\\*"
    assert literal("**bold** <b> $x$ a_b") == "**bold** \\<b> \\$x\\$ a\\_b"
