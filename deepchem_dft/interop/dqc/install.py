"""Install DQC, for which pip finds no wheel on any Python supported here; undo it completely."""

# DQC 0.1.0 and pylibxc2 6.0.0 are published as wheels for CPython 3.7 to 3.9 only, yet hold nothing
# that is tied to those versions: pure Python, and C libraries opened through ctypes. So pip is told
# to install the wheels for 3.9, with digests pinned here, into a folder of their own, which it does
# for any Python; once they are tried, they move into site-packages, from where pip removes them as
# it does others. What DQC imports besides (xitorch, h5py ...) are ordinary packages for pip.

import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from deepchem_dft.errors import DeepChemDFTError
from deepchem_dft.files import write
from deepchem_dft.locks import Lock

__all__ = ["DQCStatus", "InstallError", "install", "status", "uninstall"]

#: What pip installs, as lines of a requirements file: versions, and digests of the whole wheels.
#: (``dqclibs`` is not among them: DQC 0.1.0 carries its own copy of these libraries.)
WHEELS = {
    "dqc": "dqc==0.1.0 --hash=sha256:c9470d414a8272287e4d8c47ca5036187bddc6fba43298cf973b73709d34d829",
    "pylibxc2": "pylibxc2==6.0.0 "
    "--hash=sha256:1092d5d11e4cd12b93b8702eb691a8b0c82d77f8e56f65ed652c1bdd484ae002",
}
#: The folders these wheels put into site-packages, besides pip's records of them.
FOLDERS = ("dqc", "dqc.libs", "pylibxc")
#: Whose wheels: pip then neither runs anything nor asks which Python it runs on itself.
_FOR_PYTHON_39 = (
    "--no-deps --no-compile --only-binary=:all: --implementation cp --python-version 3.9 --abi cp39 "
    "--platform manylinux2014_x86_64 --platform manylinux2010_x86_64 --require-hashes"
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
#: Packages whose metadata leaves out Pythons they run on; this package has what they need.
_PAST_METADATA = {"xitorch": "xitorch>=0.5.1"}

#: Says, in site-packages, that DQC is there by this command, and which packages came with it.
NOTE = "deepchem_dft_dqc.json"
#: Folder DQC itself creates (basis sets it looked up); it goes with the rest.
_MADE_BY_DQC = "dqc/api/.database"

Say = Callable[[str], object]


class InstallError(DeepChemDFTError, RuntimeError):
    """An installation that was refused or failed; nothing of it is left on disk."""


@dataclass(frozen=True)
class DQCStatus:
    """What is installed, and whether it is whole.

    Attributes
    ----------
    target : Path
        The site-packages folder.
    state : {"absent", "installed", "damaged", "foreign"}
        ``damaged``: files are missing, of an installation that was interrupted, too (installing or
        undoing puts it right). ``foreign``: the packages are there, but not by this command.
    versions : dict of str to str
        Package versions, by name.
    missing_requirements : tuple of str
        Packages that DQC imports and pip can install.
    conflicts : tuple of str
        Packages of somebody else in the place, in words.
    """

    target: Path
    state: str
    versions: dict[str, str]
    missing_requirements: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Say it in words, one line per fact."""
        what = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        out = {
            "absent": f"DQC is not installed in {self.target}",
            "installed": f"installed in {self.target}: {what}",
            "damaged": f"DQC in {self.target} is not whole: install again, or undo",
            "foreign": f"in {self.target}, not installed by this command",
        }
        lines = [out[self.state], *self.conflicts]
        if self.missing_requirements:
            lines.append(f"DQC also needs: pip install {' '.join(self.missing_requirements)}")
        return lines


def install(*, dry_run: bool = False, say: Say = print) -> DQCStatus:
    """Install DQC and libxc's Python package from the wheels for Python 3.9, and what they import.

    Doing it twice changes nothing. If anything fails, nothing is left behind. The wheels come from
    where the user's pip looks for packages (a folder: ``PIP_FIND_LINKS``).

    Parameters
    ----------
    dry_run : bool
        Say what would be done; download and write nothing.
    say : callable
        Receives one line of text at a time.

    Returns
    -------
    DQCStatus

    Raises
    ------
    InstallError
        On another operating system or processor, if pip cannot get the pinned files, if DQC does
        not run here, or if another package is in the way.
    """
    site = _site()
    _check_platform()
    _check_environment(site)
    before = status()
    if before.conflicts:
        raise InstallError(
            f"cannot install DQC into {site}: " + "; ".join(before.conflicts) + ". Nothing was changed"
        )
    names = () if before.state == "installed" else tuple(WHEELS)
    missing = before.missing_requirements
    if dry_run:
        if names:
            pins = ", ".join(pin.partition(" ")[0] for pin in WHEELS.values())
            say(f"would download {pins} (wheels for Python 3.9, checked against pinned SHA-256 digests)")
            say(f"would create in {site}: {', '.join([*FOLDERS, NOTE])}")
        if missing:
            say(f"would install with pip: {', '.join(missing)}")
    if dry_run or not (names or missing):
        for line in before.lines() if not names else ():
            say(line)
        if not dry_run:
            say("nothing to do")
        return before
    with Lock(site / f".{NOTE}.lock", "DQC's installation"):
        if before.state == "damaged":
            _remove(say)
        try:
            # The note comes first: whatever is there after a kill can then be undone.
            came = [] if names else _packages(site) or []
            write(site / NOTE, json.dumps({"format": 1, "pip": sorted({*came, *missing})}, indent=1))
            if missing:
                _pip_install(missing, say)
            if names:
                _install_wheels(site, say)
        except BaseException as error:
            if names:
                _remove(lambda line: None)
            if isinstance(error, OSError):
                raise InstallError(f"cannot write to {site}: {error}. Nothing was changed") from error
            raise
    after = status()
    for line in after.lines():
        say(line)
    say("to undo it: deepchem-dft install-dqc --undo")
    return after


def uninstall(*, dry_run: bool = False, say: Say = print) -> bool:
    """Remove what :func:`install` put there, and nothing else.

    Returns
    -------
    bool
        True if there was something to remove.

    Raises
    ------
    InstallError
        If pip cannot remove it; doing it again goes on.
    """
    site = _site()
    packages = _packages(site)
    if packages is None:
        say(f"nothing to undo: DQC was not installed into {site} by this command")
        return False
    if dry_run:
        say(f"would remove with pip: {', '.join([*WHEELS, *packages])}")
        return True
    with Lock(site / f".{NOTE}.lock", "DQC's installation"):
        _remove(say)
    return True


def status() -> DQCStatus:
    """Look at what is installed without changing anything.

    Examples
    --------
    >>> status().state in ("absent", "installed", "damaged", "foreign")
    True
    """
    site = _site()
    importlib.invalidate_caches()
    missing = tuple(pip for name, pip in REQUIREMENTS.items() if importlib.util.find_spec(name) is None)
    found = {dist.metadata["Name"]: dist for dist in importlib.metadata.distributions(path=[str(site)])}
    if _packages(site) is None:
        there = [top for top in FOLDERS if (site / top).exists()]
        conflicts = tuple(dict.fromkeys(_owner(site, top) for top in there))
        return DQCStatus(site, "foreign" if conflicts else "absent", {}, missing, conflicts)
    ours = [found[name] for name in WHEELS if name in found]
    whole = all((site / str(file)).is_file() for dist in ours for file in dist.files or ())
    state = "installed" if whole and len(ours) == len(WHEELS) else "damaged"
    return DQCStatus(site, state, {dist.metadata["Name"]: dist.version for dist in ours}, missing)


def _install_wheels(site: Path, say: Say) -> None:
    """Have pip install beside the final place, test, move."""
    with tempfile.TemporaryDirectory(prefix=f".{NOTE}.", dir=site) as scratch:
        staging = Path(scratch) / "site-packages"
        pins = Path(scratch) / "requirements.txt"
        pins.write_text("\n".join(WHEELS.values()))
        say(f"downloading with pip: {', '.join(WHEELS)}")
        _pip("install", "--target", str(staging), *_FOR_PYTHON_39.split(), "--requirement", str(pins))
        _self_test(staging)
        # pip's records first: it can then remove what a kill leaves of the rest
        for top in sorted(staging.iterdir(), key=lambda path: (path.suffix != ".dist-info", path)):
            if (site / top.name).exists():  # os.rename would replace an empty folder
                raise InstallError(_owner(site, top.name) + ". Nothing was changed")
            os.rename(top, site / top.name)


def _remove(say: Say) -> None:
    """Remove DQC and what came with it; the note is last, so that it can be done again."""
    site = _site()
    names = [*WHEELS, *(_packages(site) or ())]
    for made in (site / _MADE_BY_DQC, *site.glob(f".{NOTE}.*/")):
        shutil.rmtree(made, ignore_errors=True)
    _pip("uninstall", "--yes", *names)
    (site / NOTE).unlink(missing_ok=True)
    say(f"removed with pip: {', '.join(names)}")
    for top in FOLDERS:
        for path in filter(Path.is_file, (site / top).rglob("*")):
            say(f"left alone, not ours: {path}")


def _pip_install(packages: Iterable[str], say: Say) -> None:
    """Have pip install packages for the running Python."""
    say(f"installing with pip: {', '.join(packages)}")
    if usual := [name for name in packages if name not in _PAST_METADATA]:
        _pip("install", *usual)
    if others := [_PAST_METADATA[name] for name in packages if name in _PAST_METADATA]:
        _pip("install", "--no-deps", "--ignore-requires-python", *others)


def _pip(command: str, *words: str) -> None:
    call = [sys.executable, "-m", "pip", command, "--quiet", "--disable-pip-version-check", "--no-input"]
    done = subprocess.run([*call, *words], capture_output=True, text=True, check=False)
    importlib.invalidate_caches()
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        # The last line, or what pip expected and got where a digest is not the pinned one.
        last = [line.strip() for line in said if "Expected sha256" in line or "Got  " in line] or said[-1:]
        raise InstallError(f"pip could not {command}: {'; '.join(last) or f'status {done.returncode}'}")


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


def _site() -> Path:
    return Path(sysconfig.get_path("platlib"))


def _packages(site: Path) -> list[str] | None:
    """Read which packages came with DQC; None if DQC did not come by this command."""
    try:
        noted = json.loads((site / NOTE).read_text())["pip"]
        return [name for name in REQUIREMENTS.values() if name in noted]  # whatever else it says
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InstallError(
            f"{site / NOTE} cannot be read ({error}); delete it, and: pip uninstall {' '.join(WHEELS)}"
        ) from error


def _check_platform() -> None:
    machine = platform.machine().lower()
    if sys.platform != "linux" or machine not in ("x86_64", "amd64") or sys.maxsize < 2**32:
        raise InstallError(
            "DQC's native libraries exist for 64-bit Linux on x86-64 only; this is "
            f"{sys.platform} on {machine}. Everything but the 'dqc' engine works without it"
        )
    if platform.libc_ver()[0] not in ("glibc", ""):
        raise InstallError("DQC's native libraries need glibc (they are manylinux2014 builds)")


def _check_environment(site: Path) -> None:
    """Refuse site-packages that must not or cannot be changed."""
    marker = Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED"
    if sys.prefix == sys.base_prefix and marker.exists():
        raise InstallError(
            "this Python belongs to the operating system; use a virtual environment: python3 -m venv .venv"
        )
    if not os.access(site, os.W_OK):
        raise InstallError(f"no permission to write to {site}; use a virtual environment")


def _owner(site: Path, top: str) -> str:
    """Say in words which package the folder ``top`` in ``site`` belongs to."""
    for dist in importlib.metadata.distributions(path=[str(site)]):
        if any(file.parts[0] == top for file in dist.files or ()):
            name, version = dist.metadata["Name"], dist.version
            text = f"{name} {version} is there already (run: pip uninstall {name})"
            if name.lower() == "pylibxc2" and version.startswith("0."):
                text += ": an empty placeholder, which is what plain pip finds on this Python version"
            return text
    return f"{site / top} is there already and belongs to no package pip knows of"
