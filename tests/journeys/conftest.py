"""Files that a user would have, and the command line in this process."""

from pathlib import Path

import pytest

from ..cli.conftest import command

__all__ = ["command", "files"]

#: Small molecules, Angstrom; what is not said in the comment has to be said or assumed.
FILES = {
    "h.xyz": "1\n\nH 0 0 0\n",
    "h2.xyz": "2\nhydrogen\nH 0 0 0\nH 0 0 0.7414\n",
    "h2_cation.xyz": "2\ncharge=1 mult=2\nH 0 0 0\nH 0 0 1.06\n",
    "oh.xyz": "2\nmult=2\nO 0 0 0\nH 0 0 0.9697\n",
    "water.xyz": "3\nwater\nO 0 0 0.1173\nH 0 0.7572 -0.4692\nH 0 -0.7572 -0.4692\n",
}


@pytest.fixture
def files(tmp_path, monkeypatch) -> Path:
    """Return the working folder, with a few molecules in it."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path
