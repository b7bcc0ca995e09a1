"""What a newcomer does, with every other supported Python that this machine has."""

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RUNNING = f"{sys.version_info[0]}.{sys.version_info[1]}"
_LINE = re.search(r"^VERSIONS := (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.M)
OTHERS = [version for version in _LINE[1].split() if version != RUNNING]
#: A part of the tests that uses DeepChem, NumPy, pandas, PySCF, libxc and torch together.
TESTS = "tests/models/test_deepchem_code.py tests/molnet tests/scf/test_energies.py tests/zoo"


def interpreter(version: str) -> Path | None:
    """Return a Python of that version on the path, or among those of pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    found = [shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python"))]
    for python in filter(None, found):
        done = subprocess.run(
            [python, "-c", "import ensurepip, sys; print(sys.version)"], capture_output=True, text=True
        )
        if done.stdout.startswith(f"{version}."):
            return Path(python)
    return None


def losses(run: Path) -> list[list[float]]:
    with open(run / "history.csv", newline="") as stream:
        keys = ("loss", "train_mae_kcal", "valid_mae_kcal")
        return [[float(row[key] or 0) for key in keys] for row in csv.DictReader(stream)]


@pytest.mark.slow
@pytest.mark.parametrize("version", OTHERS)
def test_training_gives_the_same_numbers_and_tests_pass(version, tiny, tmp_path):
    """A new environment by ``make``; several gigabytes if pip takes the torch with CUDA."""
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} on this machine")
    left_out = ".*", "runs", "_build", "generated", "__pycache__", "*.egg-info", "build", "dist"
    clone = tmp_path / "clone"
    shutil.copytree(ROOT, clone, ignore=shutil.ignore_patterns(*left_out))
    hidden = {"PYTHON", "VENV", "ARGS", "CONFIG", "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PYTHONPATH"}
    environment = {k: v for k, v in os.environ.items() if k not in hidden and not k.startswith("PYTEST")}
    try:
        for words in (
            ["train", f"CONFIG={tiny}", f"ARGS=--run-dir {tmp_path / 'there'}"],
            ["test", "WORKERS=1", f"ARGS={TESTS}"],
        ):
            done = subprocess.run(
                ["make", f"PYTHON={python}", *words],
                cwd=clone,
                text=True,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            assert done.returncode == 0, done.stdout[-5000:]
        assert re.search(r" [1-9]\d* passed", done.stdout)
    finally:
        shutil.rmtree(clone / ".venv", ignore_errors=True)
    command = [sys.executable, "-m", "deepchem_dft", "train", tiny, "--run-dir", tmp_path / "here"]
    subprocess.run(command, check=True, capture_output=True)
    assert losses(tmp_path / "there") == [
        pytest.approx(row, rel=1e-6, abs=1e-6) for row in losses(tmp_path / "here")
    ]
