"""What has to be installed: requirements, Pythons, DeepChem, and what make says about them."""

import ast
import contextlib
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _requirements(package: str, extra: str = "") -> set[str]:
    """Names of what a package requires, on the running Python or another; of one extra, or none."""
    found = set()
    for line in metadata.requires(package) or []:
        name, _, marker = line.partition(";")
        wanted = re.search(r"""extra == ["'](.*?)["']""", marker)
        if (wanted[1] if wanted else "") == extra:
            found.add(_canonical(re.match(r"[\w.-]+", name).group()))
    return found


def test_every_requirement_has_a_tested_version():
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    tested = {_canonical(line.split("==")[0].strip()) for line in lines if "==" in line}
    needed = {
        name
        for extra in ("", "test", "lint", "docs", "dqc", "property", "hamiltonian")
        for name in _requirements("deepchem_dft", extra)
    }
    assert needed <= tested, needed - tested


#: Not from the test extra: `install-dqc` brings the first two; benchmarks and tests do without the others.
_APART = {"dqc", "pylibxc", "torchdeq", "skala"}


def test_what_the_readmes_commands_import_comes_with_the_test_extra():
    """Tests, benchmarks and the code of pages; whatever else CI happens to have installed."""
    within = {"deepchem-dft", "pip"} | _requirements("deepchem_dft", "test")
    new = _requirements("deepchem_dft") | within
    while new:
        within |= new
        new = set()
        for name in within:
            with contextlib.suppress(metadata.PackageNotFoundError):  # not on this Python
                new |= _requirements(name) - within
    owners = metadata.packages_distributions()
    wrong = []
    for folder in ("tests", "examples", "docs/_ext", "deepchem_dft"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "mutation" in path.parts:  # a developer's tool
                continue
            for name in sorted(_imported(path) - set(sys.stdlib_module_names) - _APART):
                local = any(
                    (place / name).exists() or (place / f"{name}.py").exists()
                    for place in (ROOT, *(ROOT / "examples/benchmarks").iterdir(), *path.parents)
                )
                if not local and not within & set(map(_canonical, owners.get(name, ["nobody"]))):
                    wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong


def _imported(path: Path) -> set[str]:
    """Top names of the modules that a file imports when it runs."""
    found = set()
    nodes: list[ast.AST] = [ast.parse(path.read_text("utf-8"))]
    for node in nodes:  # grows
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").split(".")[0])
        nodes += ast.iter_child_nodes(node)
    return found


#: A DeepChem as pip finds it on Pythons that newer ones do not name; it cannot even be imported.
_OLD_DEEPCHEM = {
    "deepchem-2.5.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: deepchem\nVersion: 2.5.0\n",
    "deepchem/__init__.py": "import tensorflow",
}


@pytest.mark.parametrize(
    "files, said",
    [(_OLD_DEEPCHEM, "and 2.5.0 is installed"), ({}, "and none is installed")],
    ids=["old", "missing"],
)
def test_a_deepchem_that_will_not_do_is_refused_in_one_line(tmp_path, files, said):
    """In whichever room it is needed first, and on the command line."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    code = """if 1:
        import importlib, importlib.util, sys
        from importlib import metadata
        if not sys.argv[1:]:  # no DeepChem at all
            find, version = importlib.util.find_spec, metadata.version
            def none(call, error):
                return lambda name, *a: call(name, *a) if name != "deepchem" else error()
            def missing():
                raise metadata.PackageNotFoundError
            importlib.util.find_spec = none(find, lambda: None)
            metadata.version = none(version, missing)
            sys.modules["deepchem"] = None
        for name in ("data.loader", "models.xcmodel", "molnet.loader", "property.pictures"):
            try:
                importlib.import_module("deepchem_dft." + name)
            except ImportError as error:
                print(error)
        from deepchem_dft.cli import main
        sys.argv = ["deepchem-dft", "evaluate", "--xc", "pbe", "--dataset", "w4-11"]
        main()
    """
    done = subprocess.run(
        [sys.executable, "-c", code, *files],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 4 and all(said in line and "pip install" in line for line in lines)
    assert done.returncode == 1 and done.stderr == f"error: {lines[0]}\n"


def test_pythons_named_anywhere_are_those_of_setup():
    """setup.py, the Makefile and the pages that say what is needed."""
    first, past = re.search(
        r'python_requires=">=3\.(\d+),<3\.(\d+)"', (ROOT / "setup.py").read_text("utf-8")
    ).groups()
    minors = range(int(first), int(past))
    words = ", ".join(f"3.{m}" for m in minors[:-1]) + f" or 3.{minors[-1]}"
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert re.search(r"^VERSIONS := (.*)$", makefile, re.M)[1].split() == [f"3.{m}" for m in minors]
    for page in ("Makefile", "README.md", "docs/install.md"):
        assert f"Python {words}" in (ROOT / page).read_text("utf-8"), page


def _make(*words: str) -> subprocess.CompletedProcess:
    hidden = {"PYTHON", "VENV", "MAKEFLAGS", "MFLAGS", "MAKELEVEL"}  # of a `make test` around us
    return subprocess.run(
        ["make", "-n", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if k not in hidden},
    )


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
class TestPythonGivenToMake:
    """Refused in one line before anything is made; ``-n``: nothing is made here at all."""

    @pytest.mark.parametrize(
        "version, said",
        [
            ("3.10", "is Python 3.10; Python 3.11"),
            ("3.99", "is Python 3.99; Python 3.11"),
            (None, "does not run or has no venv module; Python 3.11"),
        ],
    )
    def test_another_version(self, tmp_path, version, said):
        python = tmp_path / "python"
        python.write_text(f"#!/bin/sh\necho {version}\n" if version else "#!/bin/sh\nexit 1\n")
        python.chmod(0o755)
        for target in ("test", "train", "bench", "docs"):
            done = _make(target, f"PYTHON={python}", f"VENV={tmp_path / 'venv'}")
            assert done.returncode and done.stdout == ""
            assert said in done.stderr and done.stderr.count("\n") == 1

    def test_one_that_the_environment_was_not_made_with(self, tmp_path):
        for name, version in [("python", "3.12"), ("other", "3.13"), ("old", "3.10")]:
            path = tmp_path / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"#!/bin/sh\necho {version}\n")
            path.chmod(0o755)
        here = f"VENV={tmp_path}"
        done = _make("test", here, f"PYTHON={path.with_name('other')}")
        assert "has Python 3.12, not 3.13: add VENV=.venv-3.13" in done.stderr
        assert _make("test", here, f"PYTHON={path.with_name('python')}").returncode == 0
        assert _make("test", here).returncode == 0
        path.rename(path.with_name("python"))
        assert "make distclean" in _make("test", here).stderr
