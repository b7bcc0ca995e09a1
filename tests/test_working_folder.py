"""A working folder of a stranger: what lies in it is not run."""

import os
import subprocess
import sys
from pathlib import Path

PACKAGE = str(Path(__file__).resolve().parents[1])


def started(folder: Path, home: Path, first: str) -> str:
    """Import PySCF in a new process; return the settings file and the verbosity it has then."""
    environment = {k: v for k, v in os.environ.items() if k != "PYSCF_CONFIG_FILE"}
    environment |= {"HOME": str(home), "PYTHONPATH": PACKAGE}
    code = f"{first}import pyscf.__config__ as c, os\nprint(c.VERBOSE)"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_settings_of_pyscf_are_the_user_s_not_those_of_the_folder(tmp_path):
    folder, home = tmp_path / "archive", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    (folder / ".pyscf_conf.py").write_text(
        f"VERBOSE = 9\nopen({str(tmp_path / 'executed')!r}, 'w').close()\n"
    )
    assert started(folder, home, "import deepchem_dft\n") == "3"
    assert not (tmp_path / "executed").exists()
    (home / ".pyscf_conf.py").write_text("VERBOSE = 5\n")
    assert started(folder, home, "import deepchem_dft\n") == "5"
    assert not (tmp_path / "executed").exists()
    # PySCF alone would have run it.
    assert started(folder, home, "") == "9" and (tmp_path / "executed").exists()
