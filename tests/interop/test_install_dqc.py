"""Installing DQC: only the pinned files, all of them or none, and nothing else is touched."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from deepchem_dft.interop.dqc import install as installer
from deepchem_dft.interop.dqc import site_packages
from deepchem_dft.interop.dqc import wheels as wheels_module
from deepchem_dft.interop.dqc.engine import dqc_available
from deepchem_dft.interop.dqc.install import MANIFEST, InstallError, install, status, uninstall
from deepchem_dft.interop.dqc.wheels import Wheel, sha256

DQC_FILES = {
    "dqc/__init__.py": "__version__ = '0.1.0'\n",
    "dqc/api/__init__.py": "",
    "dqc/lib/libcgto.so": "not really a library",
    "dqc.libs/libgomp-a34b3233.so": "nor this",
    "dqc-0.1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: dqc\nVersion: 0.1.0\n",
    "dqc-0.1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nTag: cp39-cp39-manylinux2014_x86_64\n",
    "dqc-0.1.0.dist-info/RECORD": "dqc/__init__.py,,\ndqc-0.1.0.dist-info/RECORD,,",
}
XC_FILES = {
    "pylibxc/__init__.py": "",
    "pylibxc2-6.0.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: pylibxc2\nVersion: 6.0.0\n",
    "pylibxc2-6.0.0.dist-info/WHEEL": "Wheel-Version: 1.0\nTag: cp39-cp39-manylinux2010_x86_64\n",
    "pylibxc2-6.0.0.dist-info/RECORD": "",
}


def make_wheel(folder: Path, files: dict[str, str], name: str, version: str, tag: str) -> Wheel:
    path = folder / f"{name}-{version}-cp39-cp39-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in files.items():
            archive.writestr(member, content)
    tops = list(dict.fromkeys(member.split("/")[0] for member in files))
    return Wheel(name, version, path.name, sha256(path), tuple(tops))


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "downloads"
    folder.mkdir()
    return folder


@pytest.fixture
def wheels(source):
    return (
        make_wheel(source, DQC_FILES, "dqc", "0.1.0", "manylinux2014_x86_64"),
        make_wheel(source, XC_FILES, "pylibxc2", "6.0.0", "manylinux2010_x86_64"),
    )


@pytest.fixture
def site(tmp_path):
    """A site-packages folder in which another package lives already."""
    folder = tmp_path / "site-packages"
    (folder / "other").mkdir(parents=True)
    (folder / "other" / "__init__.py").write_text("x = 1\n")
    (folder / "other-1.0.dist-info").mkdir()
    (folder / "other-1.0.dist-info" / "METADATA").write_text("Name: other\nVersion: 1.0\n")
    return folder


def snapshot(folder: Path) -> dict[str, str]:
    """Every path below a folder with its content."""
    return {
        str(path.relative_to(folder)): path.read_text("latin-1") if path.is_file() else "(folder)"
        for path in sorted(folder.rglob("*"))
    }


class Listener(list):
    def __call__(self, line):
        self.append(line)

    @property
    def text(self):
        return "\n".join(self)


def put(site, source, wheels, **options):
    said = Listener()
    install(site, source=source, wheels=wheels, say=said, self_test=False, **options)
    return said.text


def test_installs_the_wheels_files_and_its_own_note(site, source, wheels):
    before = snapshot(site)
    text = put(site, source, wheels)
    new = {k for k, v in snapshot(site).items() if k not in before and v != "(folder)"}
    notes = {"dqc-0.1.0.dist-info/INSTALLER", "pylibxc2-6.0.0.dist-info/INSTALLER", MANIFEST}
    assert new == {*DQC_FILES, *XC_FILES, *notes}
    assert (site / "dqc/lib/libcgto.so").read_text() == DQC_FILES["dqc/lib/libcgto.so"]
    assert "install-dqc --undo" in text
    # pip can remove what RECORD lists, with the digest of the note in its own notation
    record = (site / "dqc-0.1.0.dist-info" / "RECORD").read_text()
    assert "dqc/__init__.py,," in record.splitlines()
    assert "dqc-0.1.0.dist-info/INSTALLER,sha256=" in record
    found = status(site, wheels=wheels)
    assert found.state == "installed" and found.versions == {"dqc": "0.1.0", "pylibxc2": "6.0.0"}


def test_the_check_at_the_end_gives_the_engines_own_answer(tmp_path):
    # the check's program is text, which neither linters nor renaming tools see
    available, why = dqc_available()
    if available:
        installer._self_test(tmp_path)
    else:
        with pytest.raises(InstallError) as raised:
            installer._self_test(tmp_path)
        assert why.splitlines()[-1] in str(raised.value)


def test_twice_changes_nothing(site, source, wheels):
    put(site, source, wheels)
    first = {p: p.stat().st_mtime_ns for p in site.rglob("*")}
    assert "nothing to do" in put(site, source, wheels)
    assert {p: p.stat().st_mtime_ns for p in site.rglob("*")} == first


def test_undo_leaves_the_folder_as_it_was(site, source, wheels):
    before = snapshot(site)
    put(site, source, wheels)
    (site / "dqc/api/.database/3-21g").mkdir(parents=True)  # DQC keeps basis sets it looked up
    (site / "dqc/api/.database/3-21g/01.gaussian94").write_text("H 0")
    (site / "dqc/__pycache__").mkdir()
    (site / "dqc/__pycache__/x.pyc").write_text("byte code")
    said = Listener()
    assert uninstall(site, dry_run=True, say=said) and "would remove" in said.text
    assert status(site, wheels=wheels).state == "installed"
    assert uninstall(site, say=said)
    assert snapshot(site) == before
    assert not uninstall(site, say=said) and "nothing to undo" in said[-1]


def test_undo_keeps_files_it_did_not_install(site, source, wheels):
    put(site, source, wheels)
    (site / "dqc" / "mine.py").write_text("precious")
    said = Listener()
    uninstall(site, say=said)
    assert (site / "dqc" / "mine.py").read_text() == "precious"
    assert not (site / "dqc" / "lib").exists()
    assert "mine.py" in said.text


def test_a_file_that_differs_in_one_byte_is_refused(site, source, wheels):
    path = source / wheels[1].filename
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    before = snapshot(site)
    with pytest.raises(InstallError, match="SHA-256"):
        put(site, source, wheels)
    assert snapshot(site) == before


def test_a_missing_file_is_named(site, source, wheels):
    (source / wheels[0].filename).unlink()
    with pytest.raises(InstallError, match=wheels[0].filename):
        put(site, source, wheels)


@pytest.mark.parametrize("member", ["../evil.py", "/evil.py", "other/__init__.py", "dqc/../x.py"])
def test_a_wheel_cannot_write_outside_its_folders(site, source, wheels, member):
    evil = make_wheel(source, {**DQC_FILES, member: "evil"}, "dqc", "0.1.0", "any")
    evil = Wheel("dqc", "0.1.0", evil.filename, evil.sha256, wheels[0].tops)
    before = snapshot(site.parent)
    with pytest.raises(InstallError, match="does not belong"):
        put(site, source, (evil, wheels[1]))
    assert snapshot(site.parent) == before


def test_the_placeholder_of_pylibxc2_is_named_and_left_alone(site, source, wheels):
    # what `pip install pylibxc2` finds on Python 3.10 and newer
    (site / "pylibxc").mkdir()
    (site / "pylibxc/__init__.py").write_text("# empty\n")
    info = site / "pylibxc2-0.0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pylibxc2\nVersion: 0.0.1\n")
    (info / "RECORD").write_text("pylibxc/__init__.py,,\npylibxc2-0.0.1.dist-info/METADATA,,\n")
    before = snapshot(site)
    with pytest.raises(InstallError, match=r"pip uninstall pylibxc2.*placeholder"):
        put(site, source, wheels)
    assert snapshot(site) == before
    assert status(site, wheels=wheels).state == "foreign"
    assert not uninstall(site, say=Listener())
    assert snapshot(site) == before


def test_a_folder_that_belongs_to_nobody_is_left_alone(site, source, wheels):
    (site / "dqc").mkdir()
    (site / "dqc" / "thesis.py").write_text("years of work")
    with pytest.raises(InstallError, match="belongs to no package"):
        put(site, source, wheels)
    assert snapshot(site / "dqc") == {"thesis.py": "years of work"}


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()])
@pytest.mark.parametrize("at", range(5))
def test_a_failure_half_way_leaves_nothing(site, source, wheels, monkeypatch, failure, at):
    before, rename, count = snapshot(site), os.rename, iter(range(99))

    def fail_at(*args):
        if next(count) == at:
            raise failure
        rename(*args)

    monkeypatch.setattr(installer.os, "rename", fail_at)
    wanted = InstallError if isinstance(failure, OSError) else KeyboardInterrupt
    with pytest.raises(wanted):
        put(site, source, wheels)
    assert snapshot(site) == before
    monkeypatch.undo()
    put(site, source, wheels)


def killed(site, source, wheels, pid):
    """Leave behind what a process that was killed between two renames leaves."""
    put(site, source, wheels)
    manifest = json.loads((site / MANIFEST).read_text())
    staging = site / manifest["staging"]
    staging.mkdir()
    shutil.move(site / "pylibxc", staging / "pylibxc")
    manifest.update(state="installing", pid=pid)
    (site / MANIFEST).write_text(json.dumps(manifest))


def test_after_a_kill_installing_again_or_undoing_puts_it_right(site, source, wheels):
    before = snapshot(site)
    gone = 2**22 + 1  # above the largest process number there can be
    killed(site, source, wheels, gone)
    assert status(site, wheels=wheels).state == "interrupted"
    put(site, source, wheels)
    assert status(site, wheels=wheels).state == "installed"
    uninstall(site, say=Listener())
    killed(site, source, wheels, gone)
    uninstall(site, say=Listener())
    assert snapshot(site) == before


def test_two_installations_at_once_do_not_mix(site, source, wheels):
    killed(site, source, wheels, os.getppid())  # a process that is alive
    with pytest.raises(InstallError, match="another process"):
        put(site, source, wheels)


def test_missing_files_are_noticed_and_brought_back(site, source, wheels):
    put(site, source, wheels)
    (site / "dqc/lib/libcgto.so").unlink()
    found = status(site, wheels=wheels)
    assert found.state == "damaged" and found.missing_files == ("dqc/lib/libcgto.so",)
    put(site, source, wheels)
    assert (site / "dqc/lib/libcgto.so").is_file()


def test_a_manifest_that_points_elsewhere_is_not_followed(site, source, wheels, tmp_path):
    put(site, source, wheels)
    victim = tmp_path / "victim.txt"
    victim.write_text("here")
    manifest = json.loads((site / MANIFEST).read_text())
    manifest["files"].append("../victim.txt")
    (site / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(InstallError, match="outside"):
        uninstall(site, say=Listener())
    assert victim.is_file()


def test_dry_run_says_everything_and_does_nothing(site, wheels, monkeypatch):
    monkeypatch.setattr(installer, "download", lambda *a: pytest.fail("downloaded"))
    before, said = snapshot(site), Listener()
    install(site, dry_run=True, wheels=wheels, say=said)
    assert snapshot(site) == before
    for word in ("would download", "dqc 0.1.0", "pylibxc2 6.0.0", str(site), "dqc.libs"):
        assert word in said.text


def test_packages_left_to_pip_are_named(site, source, wheels, monkeypatch):
    monkeypatch.setattr(installer, "REQUIREMENTS", {"json": "json", "no_such_thing": "no-such"})
    assert "pip install no-such" in put(site, source, wheels)


_IN_A_VENV = """
import sys
from deepchem_dft.interop.dqc import install as installer
from deepchem_dft.interop.dqc.wheels import Wheel

installer.REQUIREMENTS = {"left_to_pip": "left-to-pip"}
options = {"wheels": eval(sys.argv[1]), "source": sys.argv[2], "self_test": len(sys.argv) > 3}
done = installer.install(**options)
assert (done.state, done.missing_requirements) == ("installed", ()), done
import left_to_pip
installer.install(**options)
assert installer.uninstall()
"""


@pytest.mark.parametrize("test", [False, True], ids=["undone", "self-test fails"])
def test_pip_installs_what_dqc_imports_and_takes_it_back(tmp_path, wheels, source, offline_pip, test):
    """A real environment, real pip, and a package that is on no index."""
    info = "left_to_pip-1.0.dist-info"
    made = make_wheel(
        source,
        {
            "left_to_pip.py": "",
            f"{info}/RECORD": "left_to_pip.py,,\n",
            f"{info}/METADATA": "Metadata-Version: 2.1\nName: left-to-pip\nVersion: 1.0\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        },
        "left_to_pip",
        "1.0",
        "any",
    )
    (source / made.filename).rename(source / "left_to_pip-1.0-py3-none-any.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    site = next((tmp_path / "venv" / "lib").glob("python*")) / "site-packages"
    (site / "in-use.pth").write_text("\n".join(filter(os.path.isdir, sys.path)))
    before = snapshot(site)
    done = subprocess.run(
        [tmp_path / "venv/bin/python", "-B", "-c", _IN_A_VENV, repr(wheels), source, *["test"] * test],
        capture_output=True,
        text=True,
    )
    assert "installing with pip: left-to-pip" in done.stdout
    if test:
        assert "DQC cannot be used here" in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert "nothing to do" in done.stdout and "removed with pip: left-to-pip" in done.stdout
    assert snapshot(site) == before


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        ("sys.platform", "darwin", "64-bit Linux"),
        ("platform.machine", lambda: "aarch64", "aarch64"),
        ("platform.libc_ver", lambda: ("musl", "1.2"), "glibc"),
    ],
)
def test_other_machines_are_refused(site, source, wheels, monkeypatch, where, value, said):
    module, name = where.split(".")
    monkeypatch.setattr(getattr(site_packages, module), name, value)
    before = snapshot(site)
    with pytest.raises(InstallError, match=said):
        put(site, source, wheels)
    assert snapshot(site) == before


def test_the_operating_systems_python_is_left_alone(tmp_path, monkeypatch):
    (tmp_path / "EXTERNALLY-MANAGED").touch()
    monkeypatch.setattr(site_packages.sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    with pytest.raises(InstallError, match="virtual environment"):
        install(dry_run=True, say=Listener())


@pytest.fixture
def offline_pip(monkeypatch, source):
    """Let pip see nothing but one folder."""
    for name in [n for n in os.environ if n.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(source))


def test_pip_fetches_wheels_of_another_python_version(site, wheels, offline_pip):
    said = Listener()
    install(site, wheels=wheels, say=said, self_test=False)
    assert status(site, wheels=wheels).state == "installed"
    assert said[0].startswith("downloading dqc 0.1.0, pylibxc2 6.0.0")


def test_pips_reason_is_passed_on_when_it_finds_nothing(site, wheels, source, offline_pip):
    (source / wheels[0].filename).unlink()
    before = snapshot(site)
    with pytest.raises(InstallError, match=r"No matching distribution.*source"):
        install(site, wheels=wheels, say=Listener())
    assert snapshot(site) == before


def test_an_installation_that_does_not_work_is_taken_back(site, source, wheels, monkeypatch):
    # these wheels install a "dqc" that cannot do anything; the self-test is a real fresh process
    monkeypatch.setattr(installer, "REQUIREMENTS", {})
    before = snapshot(site)
    with pytest.raises(InstallError, match="DQC cannot be used here"):
        install(site, source=source, wheels=wheels, say=Listener())
    assert snapshot(site) == before


def test_pinned_wheels_are_for_one_python_and_pinned_whole():
    for wheel in installer.WHEELS:
        assert wheel.filename.startswith(f"{wheel.name}-{wheel.version}-cp39-cp39-manylinux")
        assert len(bytes.fromhex(wheel.sha256)) == len(hashlib.sha256().digest())
        assert wheel.dist_info == f"{wheel.name}-{wheel.version}.dist-info"
    assert wheels_module.INSTALLER == "deepchem-dft"
