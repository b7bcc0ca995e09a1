"""Install DQC, for which pip finds no wheel on any Python supported here; undo it completely."""

# DQC 0.1.0 and pylibxc2 6.0.0 are published as wheels for CPython 3.7 to 3.9 only, yet hold nothing
# that is tied to those versions: pure Python, and C libraries opened through ctypes. So the wheels
# for 3.9 are downloaded, compared with digests pinned here, and unpacked into site-packages. What
# DQC imports besides (xitorch, basis_set_exchange, h5py ...) are ordinary packages: pip installs
# those that are missing, and undoing removes them again.

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepchem_dft.files import replacing
from deepchem_dft.interop.dqc.site_packages import alive, check_environment, check_platform, owner, prune
from deepchem_dft.interop.dqc.wheels import (
    InstallError,
    Wheel,
    download,
    members,
    pip_uninstall,
    unpack,
    verified,
    with_pip,
)

__all__ = ["WHEELS", "DQCStatus", "InstallError", "install", "status", "uninstall"]

#: The wheels. (``dqclibs`` is not among them: DQC 0.1.0 carries its own copy of these libraries.)
WHEELS = (
    Wheel(
        name="dqc",
        version="0.1.0",
        filename="dqc-0.1.0-cp39-cp39-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        sha256="c9470d414a8272287e4d8c47ca5036187bddc6fba43298cf973b73709d34d829",
        tops=("dqc", "dqc.libs", "dqc-0.1.0.dist-info"),
    ),
    Wheel(
        name="pylibxc2",
        version="6.0.0",
        filename="pylibxc2-6.0.0-cp39-cp39-manylinux2010_x86_64.whl",
        sha256="1092d5d11e4cd12b93b8702eb691a8b0c82d77f8e56f65ed652c1bdd484ae002",
        tops=("pylibxc", "pylibxc2-6.0.0.dist-info"),
    ),
)

#: Import name and pip name of what DQC imports and these wheels do not have.
REQUIREMENTS = {
    "torch": "torch",
    "xitorch": "xitorch",
    "numpy": "numpy",
    "scipy": "scipy",
    "h5py": "h5py",
    "basis_set_exchange": "basis-set-exchange",
}

#: The list of what was installed, kept beside it in site-packages.
MANIFEST = "deepchem_dft_dqc.json"
#: Folder DQC itself creates (basis sets it looked up); it goes with the rest.
_MADE_BY_DQC = "dqc/api/.database"

Say = Callable[[str], object]


@dataclass(frozen=True)
class DQCStatus:
    """What is installed, and whether it is whole.

    Attributes
    ----------
    target : Path
        The site-packages folder looked at.
    state : {"absent", "installed", "damaged", "interrupted", "foreign"}
        ``damaged``: files are missing. ``interrupted``: an installation was killed half-way
        (installing or undoing again puts it right). ``foreign``: the packages are there, but
        were not put there by this command.
    versions : dict of str to str
        Package versions, by name.
    missing_files, missing_requirements : tuple of str
        Files gone since the installation; packages that DQC imports and pip can install.
    conflicts : tuple of str
        Packages of somebody else in the place, in words.
    """

    target: Path
    state: str
    versions: dict[str, str]
    missing_files: tuple[str, ...] = ()
    missing_requirements: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Say it in words, one line per fact."""
        what = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        out = [
            {
                "absent": f"DQC is not installed in {self.target}",
                "installed": f"installed in {self.target}: {what}",
                "damaged": f"damaged in {self.target}: {what}; "
                f"{len(self.missing_files)} files are missing: install again",
                "interrupted": f"an installation into {self.target} was interrupted: install again, or undo",
                "foreign": f"in {self.target}, not installed by this command",
            }[self.state]
        ]
        out += self.conflicts
        if self.missing_requirements:
            out.append(f"DQC also needs: pip install {' '.join(self.missing_requirements)}")
        return out


def install(
    target: str | os.PathLike[str] | None = None,
    *,
    dry_run: bool = False,
    source: str | os.PathLike[str] | None = None,
    say: Say = print,
    wheels: Sequence[Wheel] = WHEELS,
    self_test: bool = True,
) -> DQCStatus:
    """Install DQC and libxc's Python package from the wheels for Python 3.9, and what they import.

    Doing it twice changes nothing. If anything fails, nothing is left behind.

    Parameters
    ----------
    target : path, optional
        The folder to install into. Default: site-packages of the running Python. What DQC
        imports besides is installed there only; elsewhere it is named.
    dry_run : bool
        Say what would be done; download and write nothing.
    source : path, optional
        A folder that holds the wheels already. Default: let pip download them.
    say : callable
        Receives one line of text at a time.
    wheels : sequence of Wheel
        What to install; for tests.
    self_test : bool
        Import DQC in a fresh process, and undo everything if that fails.

    Returns
    -------
    DQCStatus

    Raises
    ------
    InstallError
        On another operating system or processor, if a download fails or is not the pinned file,
        or if another package is in the way.
    """
    folder = _target(target)
    check_platform()
    if target is None:
        check_environment(folder)
    before = status(folder, wheels=wheels)
    wanted = before.missing_requirements if target is None else ()
    if before.state == "installed" and not wanted:
        for line in before.lines():
            say(line)
        say("nothing to do")
        return before
    if before.conflicts:
        raise InstallError(
            f"cannot install DQC into {folder}: " + "; ".join(before.conflicts) + ". Nothing was changed"
        )
    if before.state == "installed":
        return _complete(folder, wanted, wheels, say, dry_run=dry_run)
    names = ", ".join(f"{w.name} {w.version}" for w in wheels)
    if dry_run:
        say(
            f"would {'read' if source else 'download'} {names} (wheels for Python "
            f"{wheels[0].python}, checked against pinned SHA-256 digests)"
        )
        say(f"would create in {folder}: {', '.join([*_tops(wheels), MANIFEST])}")
        if wanted:
            say(f"would install with pip: {', '.join(wanted)}")
        elif before.missing_requirements:
            say(before.lines()[-1])
        return before
    if before.state != "absent":
        uninstall(folder, say=say)
        before = status(folder, wheels=wheels)
        wanted = before.missing_requirements if target is None else ()

    with tempfile.TemporaryDirectory(prefix="deepchem-dft-") as scratch:
        if source is None:
            say(f"downloading {names}")
            download(wheels, Path(scratch))
        paths = verified(wheels, Path(source or scratch))
        say("digests match")
        with with_pip(wanted, say):
            complete = target is None or not before.missing_requirements
            _unpack_all(wheels, paths, folder, self_test and complete, wanted)
    after = status(folder, wheels=wheels)
    for line in after.lines():
        say(line)
    say("to undo it: deepchem-dft install-dqc --undo")
    return after


def uninstall(
    target: str | os.PathLike[str] | None = None, *, dry_run: bool = False, say: Say = print
) -> bool:
    """Remove what :func:`install` put there, and nothing else.

    Parameters
    ----------
    target, dry_run, say
        As for :func:`install`.

    Returns
    -------
    bool
        True if there was something to remove.
    """
    folder = _target(target)
    manifest = _read_manifest(folder)
    if manifest is None:
        say(f"nothing to undo: DQC was not installed into {folder} by this command")
        return False
    files, tops = manifest["files"], manifest["tops"]
    present = [name for name in files if (folder / name).is_file()]
    if dry_run:
        say(f"would remove {len(present)} files in {folder}: {', '.join([*tops, MANIFEST])}")
        if manifest["pip"]:
            say(f"would remove with pip: {', '.join(manifest['pip'])}")
        return True
    try:
        for name in present:
            (folder / name).unlink()
        for made in (manifest["staging"], _MADE_BY_DQC):
            shutil.rmtree(folder / made, ignore_errors=True)
        left = [path for top in tops for path in prune(folder / top)]
        if manifest["pip"]:
            pip_uninstall(manifest["pip"])
        (folder / MANIFEST).unlink()  # last, so that an interrupted removal can be finished
    except OSError as error:
        raise InstallError(
            f"cannot remove DQC from {folder}: {error}. Run it again with the right to write there"
        ) from error
    say(f"removed {len(present)} files from {folder}")
    if manifest["pip"]:
        say(f"removed with pip: {', '.join(manifest['pip'])}")
    for path in left:
        say(f"left alone, not ours: {path}")
    return True


def status(target: str | os.PathLike[str] | None = None, *, wheels: Sequence[Wheel] = WHEELS) -> DQCStatus:
    """Look at what is installed without changing anything.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     status(folder).state
    'absent'
    """
    folder = _target(target)
    manifest = _read_manifest(folder)
    found = importlib.util.find_spec
    missing = tuple(pip for name, pip in REQUIREMENTS.items() if found(name) is None)
    if manifest is None:
        conflicts = tuple(owner(folder, top) for top in _tops(wheels) if (folder / top).exists())
        conflicts = tuple(dict.fromkeys(conflicts))
        state = "foreign" if conflicts else "absent"
        return DQCStatus(folder, state, {}, (), missing, conflicts)
    gone = tuple(name for name in manifest["files"] if not (folder / name).is_file())
    state = "damaged" if gone else "installed"
    if manifest["state"] != "installed":
        state = "interrupted"
        if alive(manifest["pid"]):
            busy = f"another process ({manifest['pid']}) is installing there now"
            return DQCStatus(folder, state, manifest["versions"], gone, missing, (busy,))
    return DQCStatus(folder, state, manifest["versions"], gone, missing)


def _complete(
    folder: Path, packages: Sequence[str], wheels: Sequence[Wheel], say: Say, *, dry_run: bool
) -> DQCStatus:
    """Add to an installation what DQC imports and somebody removed, or an older version left."""
    if dry_run:
        say(f"would install with pip: {', '.join(packages)}")
        return status(folder, wheels=wheels)
    manifest = _read_manifest(folder) or {}
    manifest["pip"] = sorted({*manifest["pip"], *packages})
    with with_pip(packages, say), replacing(folder / MANIFEST) as draft:
        draft.write_text(json.dumps(manifest, indent=1))
    after = status(folder, wheels=wheels)
    for line in after.lines():
        say(line)
    return after


def _unpack_all(
    wheels: Sequence[Wheel], paths: Sequence[Path], folder: Path, self_test: bool, by_pip: Sequence[str]
) -> None:
    """Unpack beside the final place, test, move; roll back whatever happens."""
    staging = folder / f".{MANIFEST}.{os.getpid()}"
    files = [n for w, p in zip(wheels, paths, strict=True) for n in members(w, p)]
    manifest = {
        "format": 1,
        "state": "installing",
        "pid": os.getpid(),
        "staging": staging.name,
        "versions": {w.name: w.version for w in wheels},
        "sha256": {w.name: w.sha256 for w in wheels},
        "tops": list(_tops(wheels)),
        "files": sorted(files),
        "pip": list(by_pip),
    }
    created = not folder.exists()
    moved: list[Path] = []
    written = False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / MANIFEST, "x") as handle:  # "x": of two processes only one goes on
            written = True
            json.dump(manifest, handle)
        staging.mkdir()
        for wheel, path in zip(wheels, paths, strict=True):
            unpack(wheel, path, staging)
        if self_test:
            _self_test(staging)
        for top in _tops(wheels):
            if (folder / top).exists():  # somebody was faster; never overwrite
                raise InstallError(owner(folder, top))
            os.rename(staging / top, folder / top)
            moved.append(folder / top)
        manifest["state"] = "installed"
        done = staging / MANIFEST
        done.write_text(json.dumps(manifest, indent=1))
        os.replace(done, folder / MANIFEST)
    except BaseException as error:
        for top_path in moved:
            shutil.rmtree(top_path, ignore_errors=True)
        if written:
            (folder / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(staging, ignore_errors=True)
        if created:
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise InstallError(f"cannot write to {folder}: {error}. Nothing was changed") from error
        raise
    shutil.rmtree(staging, ignore_errors=True)


def _self_test(site: Path) -> None:
    """Import DQC from ``site`` in a fresh process."""
    code = (
        "import sys; from deepchem_dft.interop.dqc.engine import dqc_available; "
        "ok, why = dqc_available(); print(why); sys.exit(not ok)"
    )
    path = os.pathsep.join([str(site), *(entry for entry in sys.path if entry)])
    done = subprocess.run(
        [sys.executable, "-B", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    if done.returncode:
        words = (done.stdout + done.stderr).strip().splitlines() or ["no reason given"]
        raise InstallError(f"DQC cannot be used here: {words[-1]}. Nothing was changed")


def _target(target: str | os.PathLike[str] | None) -> Path:
    return Path(target or sysconfig.get_path("platlib")).expanduser().absolute()


def _tops(wheels: Sequence[Wheel]) -> tuple[str, ...]:
    return tuple(top for wheel in wheels for top in wheel.tops)


def _read_manifest(folder: Path) -> dict | None:
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        names = [*manifest["files"], *manifest["tops"], manifest["staging"]]
        ours = REQUIREMENTS.values()
        manifest["pip"] = [name for name in manifest.get("pip", ()) if name in ours]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InstallError(
            f"{folder / MANIFEST} cannot be read ({error}); delete it and the "
            f"folders {', '.join(_tops(WHEELS))} by hand"
        ) from error
    if any(Path(name).is_absolute() or ".." in Path(name).parts for name in names):
        raise InstallError(f"{folder / MANIFEST} names files outside {folder}; not touching them")
    return manifest
