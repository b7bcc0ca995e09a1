"""The table of what data sets hold is that of the files."""

from deepchem_dft.runs.xc.contents import contents, counted
from deepchem_dft.runs.xc.selection import dataset_names


def test_the_table_says_what_is_in_the_files():
    assert [one.name for one in contents()] == dataset_names()
    for one in contents():
        assert counted(one.name) == one, "write datasets/contents.json anew"


def test_what_is_not_in_the_table_is_counted(tmp_path):
    (tmp_path / "contents.json").write_text('{"w4-11": {"entries": 1, "types": ["ae"], "splits": []}}')
    found = {one.name: one for one in contents(tmp_path)}
    assert found["w4-11"].entries == 1  # as the table has it
    assert found["barriers"] == counted("barriers")
