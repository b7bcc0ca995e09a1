"""Files are written whole or not at all."""

import pytest

from deepchem_dft.files import replacing


def test_a_failure_keeps_the_old_file_and_leaves_nothing_behind(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    with replacing(path) as draft:
        draft.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as draft:
        draft.write_text("half of the n")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]
