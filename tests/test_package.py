"""The package as a whole: lazy names, layers, size of files, what a wheel ships."""

import ast
import importlib
import subprocess
import sys
from collections import Counter
from importlib import metadata
from pathlib import Path

import pytest

import deepchem_dft

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "deepchem_dft"
MODULES = sorted(PACKAGE.rglob("*.py"))

#: Where the outside world may be imported: a folder of the package, or a file.
ALLOWED = {
    "pyscf": (
        "molecule/",
        "xc/libxc_names.py",
        "interop/",
        "data/densities.py",
        "lattice/exact/natural_ci.py",
        "hamiltonian/reference.py",
    ),
    "dqc": ("interop/dqc/",),
    "pylibxc": ("interop/dqc/",),
    "xitorch": ("interop/dqc/",),
    "tblite": ("data/properties/xtb.py",),
    "ase": (
        "data/properties/atoms.py",
        "hamiltonian/files/md17.py",
        "interop/ase.py",
        "interop/ase_plugin.py",
        "interop/relaxation.py",
        "molecule/reading/by_ase.py",
    ),
    "e3nn": ("hamiltonian/", "interop/skala/"),
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
    assert getattr(deepchem_dft, name).__doc__
    assert name in dir(deepchem_dft)


def test_lazy_packages_hold_what_their_stubs_say():
    stubs = sorted(PACKAGE.rglob("__init__.pyi"))
    assert len(stubs) >= 7
    for stub in stubs:
        package = importlib.import_module(".".join(stub.parent.relative_to(ROOT).parts))
        for name in package.__all__:
            assert getattr(package, name) is not None, (stub, name)


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
    """A file of more than 400 lines is two, a folder of more than 20 files as well."""
    silent, long, files = [], [], Counter()
    for path in (p for room in ("deepchem_dft", "tests", "examples") for p in (ROOT / room).rglob("*.py")):
        text = path.read_text("utf-8")
        if text.strip() and not ast.get_docstring(ast.parse(text)):
            silent.append(str(path))
        if len(text.splitlines()) > 400:
            long.append(str(path))
        files[path.parent] += 1
    assert (silent, long, [str(p) for p, count in files.items() if count > 20]) == ([], [], [])


def test_a_wheel_ships_the_reference_data(tmp_path):
    subprocess.run(
        [
            sys.executable,
            "setup.py",
            "-q",
            "build",
            f"--build-base={tmp_path}",
            f"--build-lib={tmp_path / 'lib'}",
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
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
