"""The package as a whole: lazy names, layers, size of files, what a wheel ships."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import deepchem_dft

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "deepchem_dft"
MODULES = sorted(PACKAGE.rglob("*.py"))

#: Rooms from the ground up; a room may import from those before it.
LAYERS = [
    {"units", "errors", "files"},
    {"parallel", "needs"},
    {"molecule", "xc", "equilibrium"},
    {"scf", "hamiltonian", "lattice", "data", "property"},
    {"models"},
    {"molnet", "interop", "zoo"},
    {"runs"},
    {"cli"},
]
#: Where the outside world may be imported: a folder of the package, or a file.
ALLOWED = {
    "pyscf": ("molecule/", "xc/libxc.py", "interop/", "data/densities.py",
              "lattice/exact/full_ci.py", "hamiltonian/reference.py"),
    "dqc": ("interop/dqc",),
    "pylibxc": ("interop/dqc",),
    "xitorch": ("interop/dqc",),
    "tblite": ("data/xtb.py",),
    "ase": ("data/atoms.py", "hamiltonian/files/md17.py", "interop/ase.py"),
    "e3nn": ("hamiltonian/",),
}


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, deepchem_dft; dir(deepchem_dft); "
        "heavy = 'torch deepchem pyscf numpy pydantic';"
        "print([m for m in heavy.split() if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


@pytest.mark.parametrize("name", deepchem_dft.__all__)
def test_public_name_is_that_of_its_room(name):
    value = getattr(deepchem_dft, name)
    if name in deepchem_dft._ROOMS:
        room = importlib.import_module(f"deepchem_dft.{deepchem_dft._ROOMS[name]}")
        assert value is getattr(room, name)
        assert value.__doc__
    assert name in dir(deepchem_dft)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Molecul"):
        deepchem_dft.Molecul  # noqa: B018


def test_version_is_that_of_the_installed_package():
    assert metadata.version("deepchem_dft") == deepchem_dft.__version__


def _imports(path: Path) -> set[str]:
    """Return dotted names of all modules a file imports at run time, relative ones resolved."""
    found = set()
    package = ("deepchem_dft", *path.relative_to(PACKAGE).parts[:-1])
    tree = ast.parse(path.read_text("utf-8"))
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *filter(None, [node.module])])
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def test_imports_point_downwards():
    rank = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
    wrong = []
    for path in MODULES:
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room not in rank:  # __init__ and __main__ may look anywhere
            continue
        for name in _imports(path):
            top, *rest = name.split(".")
            if top == "deepchem_dft" and rest and rest[0] in rank and rest[0] != room:
                upward = rank[rest[0]] >= rank[room]
                # Two sibling rooms of one level may not know each other either, with two
                # exceptions: KohnSham(engine="dqc") has to reach for the second opinion, and
                # get_xc("zoo:NAME") for trained functionals.
                if upward and (room, rest[0]) not in {("scf", "interop"), ("xc", "zoo")}:
                    wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong


def test_outside_world_is_imported_in_few_places():
    wrong = []
    for path in MODULES:
        place = path.relative_to(PACKAGE).as_posix()
        for name in _imports(path):
            allowed = ALLOWED.get(name.split(".")[0])
            if allowed and not place.startswith(allowed):
                wrong.append(f"{place} imports {name}")
    assert not wrong


def test_every_file_says_what_it_is_for_and_is_short():
    silent, long = [], []
    for path in MODULES:
        text = path.read_text("utf-8")
        if text.strip() and not ast.get_docstring(ast.parse(text)):
            silent.append(path.name)
        if len(text.splitlines()) > 420:
            long.append(path.name)
    assert (silent, long) == ([], [])


def test_every_requirement_has_a_tested_version():
    canonical = {
        re.sub(r"[-_.]+", "-", line.split("==")[0].strip()).lower()
        for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
        if "==" in line
    }
    needed = set()
    for line in metadata.requires("deepchem_dft") or []:
        needed.add(re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", line).group()).lower())
    assert needed <= canonical, needed - canonical


#: A DeepChem as pip finds it on Pythons that newer ones do not name; it cannot even be imported.
_OLD_DEEPCHEM = {
    "deepchem-2.5.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: deepchem\nVersion: 2.5.0\n",
    "deepchem/__init__.py": "import tensorflow",
}


@pytest.mark.parametrize("files, said", [(_OLD_DEEPCHEM, "and 2.5.0 is installed"),
                                         ({}, "and none is installed")], ids=["old", "missing"])
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
    done = subprocess.run([sys.executable, "-c", code, *files], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"})
    lines = done.stdout.splitlines()
    assert len(lines) == 4 and all(said in line and "pip install" in line for line in lines)
    assert done.returncode == 1 and done.stderr == f"error: {lines[0]}\n"


def test_pythons_named_anywhere_are_those_of_setup():
    """setup.py, the Makefile and the pages that say what is needed."""
    first, past = re.search(r'python_requires=">=3\.(\d+),<3\.(\d+)"',
                            (ROOT / "setup.py").read_text("utf-8")).groups()
    minors = range(int(first), int(past))
    words = ", ".join(f"3.{m}" for m in minors[:-1]) + f" or 3.{minors[-1]}"
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert re.search(r"^VERSIONS := (.*)$", makefile, re.M)[1].split() == [f"3.{m}" for m in minors]
    for page in ("Makefile", "README.md", "docs/install.md"):
        assert f"Python {words}" in (ROOT / page).read_text("utf-8"), page


def _make(*words: str) -> subprocess.CompletedProcess:
    hidden = {"PYTHON", "VENV", "MAKEFLAGS", "MFLAGS", "MAKELEVEL"}  # of a `make test` around us
    return subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True,
                          env={k: v for k, v in os.environ.items() if k not in hidden})


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
class TestPythonGivenToMake:
    """Refused in one line before anything is made; ``-n``: nothing is made here at all."""

    @pytest.mark.parametrize("version, said", [
        ("3.10", "is Python 3.10; Python 3.11"), ("3.99", "is Python 3.99; Python 3.11"),
        (None, "does not run or has no venv module; Python 3.11")])
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


def test_a_wheel_ships_the_reference_data(tmp_path):
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build", f"--build-base={tmp_path}",
         f"--build-lib={tmp_path / 'lib'}"],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    shipped = {p.name for p in (tmp_path / "lib" / "deepchem_dft" / "_datasets").rglob("*.yaml")}
    assert shipped == {p.name for p in (ROOT / "datasets").rglob("*.yaml")}
    assert shipped
    models = {p.name for p in (tmp_path / "lib" / "deepchem_dft" / "zoo").glob("shipped/*")}
    assert models == {p.name for p in (PACKAGE / "zoo").glob("shipped/*")}


def test_module_can_be_run():
    done = subprocess.run(
        [sys.executable, "-m", "deepchem_dft", "--help"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0
    assert "train" in done.stdout
    assert "Traceback" not in done.stderr
