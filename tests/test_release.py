"""What is released: one version everywhere, configurations inside, a recipe with the same requirements."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import deepchem_dft
from deepchem_dft.errors import InputError
from deepchem_dft.runs import examples
from deepchem_dft.runs.config import load_config

from .journeys import installed

ROOT = Path(__file__).resolve().parents[1]
#: Names of packages on conda-forge, where they are others than on PyPI.
CONDA = {
    "torch": "pytorch",
    "matplotlib": "matplotlib-base",
    "basis-set-exchange": "basis_set_exchange",
    "lazy-loader": "lazy_loader",
    "tqdm": None,  # asked for by a build of DeepChem that conda-forge does not have
}


def setup_arguments() -> dict:
    """What setup.py gives setuptools."""
    code = (
        "import json, runpy, setuptools; setuptools.setup = lambda **k: print(json.dumps("
        "{n: k[n] for n in ('version', 'install_requires', 'python_requires', 'entry_points')})); "
        "runpy.run_path('setup.py')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_the_recipe_is_that_of_setup():
    recipe, asked = yaml.safe_load((ROOT / "conda" / "recipe.yaml").read_text("utf-8")), setup_arguments()
    assert recipe["context"]["version"] == asked["version"] == deepchem_dft.__version__
    run = dict((line.split(" ", 1) + [""])[:2] for line in recipe["requirements"]["run"])
    assert run.pop("python") == asked["python_requires"]
    wanted = {}
    for line in asked["install_requires"]:
        name, bound = re.fullmatch(r"([\w-]+)((?:[<>=!]=?[\w.,]+)*)", line.partition(";")[0].strip()).groups()
        known = CONDA.get(name, name)
        if known is not None and "dev" not in bound:
            wanted[known] = bound
    assert run == wanted
    assert recipe["build"]["python"]["entry_points"] == asked["entry_points"]["console_scripts"]


def test_the_changelog_begins_with_this_version_and_a_date():
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    first = re.search(r"^## (.*)$", text, re.M)[1]
    assert re.fullmatch(rf"{re.escape(deepchem_dft.__version__)} - 20\d\d-[01]\d-[0-3]\d", first), first


@pytest.mark.parametrize("name", examples.names())
def test_examples_can_be_trained_from_anywhere(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_config(examples.find(name))
    assert config.name and "hamiltonian" not in name


def test_a_wheel_has_the_same_examples(tmp_path):
    build = ["build", f"--build-base={tmp_path}", f"--build-lib={tmp_path / 'lib'}"]
    subprocess.run([sys.executable, "setup.py", "-q", *build], cwd=ROOT, check=True, capture_output=True)
    folder = tmp_path / "lib" / "deepchem_dft" / "_examples"
    shipped = {p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob("*.yaml")}
    assert set(examples.names()) <= shipped
    for path in folder.rglob("*.yaml"):
        assert path.read_bytes() == (ROOT / "examples" / path.relative_to(folder)).read_bytes()


def test_an_unknown_example_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="did you mean train_pbe_mgga"):
        examples.find("train_pbe_mga")


def test_commands_of_the_readme_are_found_and_made_short():
    found = installed.commands(ROOT / "README.md")
    assert found and all(line.startswith("deepchem-dft ") for line in found)
    for line in [*found, *installed.EVERYDAY.splitlines()]:
        assert installed.shortened(line)
    short = installed.shortened("deepchem-dft scf water.xyz --xc zoo:nn-mgga   # a comment")
    assert short[:4] == ["scf", "water.xyz", "--xc", "zoo:nn-mgga"] and "sto-3g" in short
    for status, err, verdict in (
        (0, "", "works"),
        (1, "error: it needs geometric. Remedy: pip install geometric.", "names its extra"),
        (1, "error: no", ""),
        (1, "Traceback\nerror: pip install x", ""),
    ):
        assert installed.judged(subprocess.CompletedProcess([], status, "", err)) == verdict
