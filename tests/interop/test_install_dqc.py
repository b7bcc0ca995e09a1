"""Installing DQC: only the pinned files, all of them or none, and nothing else is touched."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from deepchem_dft.errors import InputError
from deepchem_dft.interop.dqc import install as installer
from deepchem_dft.interop.dqc.engine import dqc_available
from deepchem_dft.interop.dqc.install import NOTE, InstallError, install, status, uninstall
from deepchem_dft.locks import Lock

FILES = {
    "dqc": ["dqc/__init__.py", "dqc/api/__init__.py", "dqc/lib/libcgto.so", "dqc.libs/libgomp-a3.so"],
    "pylibxc2": ["pylibxc/__init__.py"],
    "left_to_pip": ["left_to_pip.py"],
}


def make_wheel(folder: Path, name: str, version: str, tag: str) -> str:
    """Write a wheel and return its line of requirements."""
    path, info = folder / f"{name}-{version}-{tag}.whl", f"{name}-{version}.dist-info"
    content = {file: "not really a library" if file.endswith(".so") else "" for file in FILES[name]}
    content[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    content[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n"
    content[f"{info}/RECORD"] = "\n".join(f"{file},," for file in [*content, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in content.items():
            archive.writestr(member, text)
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


@pytest.fixture
def source(tmp_path, monkeypatch):
    """The only place where pip looks for packages: two wheels for Python 3.9 and one for every Python."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    for name in [n for n in os.environ if n.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    pins = {
        "dqc": make_wheel(folder, "dqc", "0.1.0", "cp39-cp39-manylinux2014_x86_64"),
        "pylibxc2": make_wheel(folder, "pylibxc2", "6.0.0", "cp39-cp39-manylinux2010_x86_64"),
    }
    make_wheel(folder, "left_to_pip", "1.0", "py3-none-any")
    monkeypatch.setattr(installer, "WHEELS", pins)
    monkeypatch.setattr(installer, "REQUIREMENTS", {"left_to_pip": "left_to_pip"})
    return folder


@pytest.fixture
def site(tmp_path, monkeypatch, source):
    """The site-packages of a new environment, in which another package lives already."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    folder = next((tmp_path / "venv" / "lib").glob("python*")) / "site-packages"
    (folder / "in-use.pth").write_text("\n".join(filter(os.path.isdir, sys.path)))  # pip, among others
    (folder / "other").mkdir()
    (folder / "other" / "__init__.py").write_text("x = 1\n")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv/bin/python"))
    monkeypatch.setattr(installer, "_site", lambda: folder)
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.fixture
def works(monkeypatch):
    """The wheels of these tests cannot do anything; take it that they can."""
    monkeypatch.setattr(installer, "_self_test", lambda staging: None)


def snapshot(folder: Path) -> dict[str, str]:
    """Every path below a folder with its content."""
    return {
        str(path.relative_to(folder)): path.read_text("latin-1") if path.is_file() else "(folder)"
        for path in sorted(folder.rglob("*"))
        if "__pycache__" not in path.parts
    }


class Listener(list):
    def __call__(self, line):
        self.append(line)

    @property
    def text(self):
        return "\n".join(self)


def test_installed_twice_and_undone(site, works):
    before, said = snapshot(site), Listener()
    done = install(say=said)
    assert (done.state, done.missing_requirements) == ("installed", ())
    assert done.versions == {"dqc": "0.1.0", "pylibxc2": "6.0.0"}
    new = {k for k, v in snapshot(site).items() if k not in before and v != "(folder)"}
    assert {file for file in new if ".dist-info" not in file} == {NOTE, *sum(FILES.values(), [])}
    assert "installing with pip: left_to_pip" in said and "install-dqc --undo" in said.text

    first = {p: p.stat().st_mtime_ns for p in site.rglob("*")}
    install(say=said)
    assert said[-1] == "nothing to do"
    assert {p: p.stat().st_mtime_ns for p in site.rglob("*")} == first

    (site / "dqc/api/.database/3-21g").mkdir(parents=True)  # DQC keeps basis sets it looked up
    (site / "dqc/api/.database/3-21g/01.gaussian94").write_text("H 0")
    assert uninstall(dry_run=True, say=said) and "would remove" in said[-1]
    assert status().state == "installed"
    assert uninstall(say=said) and said[-1] == "removed with pip: dqc, pylibxc2, left_to_pip"
    assert snapshot(site) == before
    assert not uninstall(say=said) and "nothing to undo" in said[-1]


@pytest.mark.slow
def test_what_was_there_stays_when_dqc_goes(site, works):
    (site / "left_to_pip.py").touch()  # by somebody else
    install(say=Listener())
    (site / "dqc" / "mine.py").write_text("precious")
    said = Listener()
    uninstall(say=said)
    assert (site / "dqc" / "mine.py").read_text() == "precious" and "mine.py" in said.text
    assert not (site / "dqc" / "lib").exists() and (site / "left_to_pip.py").exists()


@pytest.mark.slow
def test_missing_files_and_packages_are_noticed_and_brought_back(site, works):
    install(say=Listener())
    (site / "left_to_pip.py").unlink()
    assert status().missing_requirements == ("left_to_pip",)
    (site / "dqc/lib/libcgto.so").unlink()
    assert status().state == "damaged" and "not whole" in status().lines()[0]
    shutil.rmtree(site / "left_to_pip-1.0.dist-info")
    assert install(say=Listener()).state == "installed"
    assert (site / "dqc/lib/libcgto.so").is_file() and (site / "left_to_pip.py").is_file()


def spoil(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("do", "said"),
    [
        pytest.param(
            spoil, r"pip could not install: Expected sha256 [0-9a-f]+; Got +[0-9a-f]+", marks=pytest.mark.slow
        ),
        (Path.unlink, "No matching distribution found for dqc==0.1.0"),
        # the self-test is a real fresh process
        pytest.param(Path.exists, "DQC cannot be used here: ", marks=pytest.mark.slow),
    ],
)
def test_what_cannot_be_had_is_refused_and_leaves_nothing(site, source, do, said):
    before = snapshot(site)
    do(next(source.glob("dqc-*")))
    with pytest.raises(InstallError, match=said) as raised:
        install(say=Listener())
    assert "\n" not in str(raised.value)
    assert snapshot(site) == before


@pytest.mark.parametrize(
    ("failure", "at"),
    [pytest.param(OSError("disk full"), 0, marks=pytest.mark.slow), (KeyboardInterrupt(), 3)],
)
def test_a_failure_half_way_leaves_nothing(site, works, monkeypatch, failure, at):
    before, rename, count = snapshot(site), os.rename, iter(range(99))

    def fail_at(*args):
        if next(count) == at:
            raise failure
        rename(*args)

    monkeypatch.setattr(installer.os, "rename", fail_at)
    with pytest.raises(InstallError if at == 0 else KeyboardInterrupt):
        install(say=Listener())
    assert snapshot(site) == before


@pytest.mark.slow
def test_after_a_kill_installing_again_or_undoing_puts_it_right(site, works):
    before = snapshot(site)
    for put_right in (install, uninstall):
        install(say=Listener())
        (site / f".{NOTE}.abc" / "site-packages").mkdir(parents=True)
        for top in ("dqc", "pylibxc"):  # killed between two renames
            shutil.move(site / top, site / f".{NOTE}.abc" / "site-packages" / top)
        assert status().state == "damaged"
        put_right(say=Listener())
        assert not (site / f".{NOTE}.abc").exists()
        assert status().state == ("installed" if put_right is install else "absent")
    assert snapshot(site) == before


@pytest.mark.skipif(sys.platform == "win32", reason="no locks")
def test_two_installations_at_once_do_not_mix(site):
    with (
        Lock(site / f".{NOTE}.lock", "DQC's installation"),
        pytest.raises(InputError, match="another process"),
    ):
        install(say=Listener())


def placeholder(site):  # what `pip install pylibxc2` finds on Python 3.10 and newer
    info = site / "pylibxc2-0.0.1.dist-info"
    for path in (site / "pylibxc/__init__.py", info / "METADATA", info / "RECORD"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pylibxc2\nVersion: 0.0.1\n")
    (info / "RECORD").write_text("pylibxc/__init__.py,,\n")


def thesis(site):
    (site / "dqc").mkdir()
    (site / "dqc" / "thesis.py").write_text("years of work")


def note_of_another_kind(site):
    (site / NOTE).write_text(json.dumps(["?"]))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (placeholder, "pip uninstall pylibxc2.*placeholder.*Nothing was changed"),
        (thesis, "belongs to no package"),
        (note_of_another_kind, "cannot be read.*delete it"),
    ],
)
def test_what_is_in_the_way_is_named_and_left_alone(site, make, said):
    make(site)
    before = snapshot(site)
    with pytest.raises(InstallError, match=said):
        install(say=Listener())
    if make is not note_of_another_kind:
        assert status().state == "foreign" and not uninstall(say=Listener())
    assert snapshot(site) == before


def test_a_note_cannot_have_other_packages_removed(site):
    (site / NOTE).write_text(json.dumps({"pip": ["left_to_pip", "torch", "--requirement=/x"]}))
    assert installer._packages(site) == ["left_to_pip"]


def test_dry_run_says_everything_and_does_nothing(site, monkeypatch):
    monkeypatch.setattr(installer, "_pip", lambda *a: pytest.fail("called pip"))
    before, said = snapshot(site), Listener()
    install(dry_run=True, say=said)
    assert snapshot(site) == before
    for word in ("would download", "dqc==0.1.0", "pylibxc2==6.0.0", str(site), "dqc.libs", "left_to_pip"):
        assert word in said.text


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        ("sys.platform", "darwin", "64-bit Linux"),
        ("platform.machine", lambda: "aarch64", "aarch64"),
        ("platform.libc_ver", lambda: ("musl", "1.2"), "glibc"),
        ("os.access", lambda *_: False, "no permission"),
    ],
)
def test_other_machines_are_refused(site, monkeypatch, where, value, said):
    before = snapshot(site)
    monkeypatch.setattr(f"deepchem_dft.interop.dqc.install.{where}", value)
    with pytest.raises(InstallError, match=said):
        install(say=Listener())
    monkeypatch.undo()
    assert snapshot(site) == before


def test_the_operating_systems_python_is_left_alone(tmp_path, monkeypatch):
    (tmp_path / "EXTERNALLY-MANAGED").touch()
    monkeypatch.setattr(installer.sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    with pytest.raises(InstallError, match="virtual environment"):
        install(dry_run=True, say=Listener())


def test_the_check_at_the_end_gives_the_engines_own_answer(tmp_path):
    # the check's program is text, which neither linters nor renaming tools see
    available, why = dqc_available()
    if available:
        installer._self_test(tmp_path)
    else:
        with pytest.raises(InstallError) as raised:
            installer._self_test(tmp_path)
        assert why.splitlines()[-1] in str(raised.value)
