"""What pip does for DQC: pinned wheels, verified by SHA-256 and unpacked, and other packages."""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import importlib
import io
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from deepchem_dft.errors import DeepChemDFTError

#: What is written to ``INSTALLER`` in each ``.dist-info``.
INSTALLER = "deepchem-dft"


class InstallError(DeepChemDFTError, RuntimeError):
    """An installation that was refused or failed; nothing of it is left on disk."""


@dataclass(frozen=True)
class Wheel:
    """One wheel, pinned by content.

    Attributes
    ----------
    name, version : str
        As on the package index.
    filename : str
        The wheel's file name.
    sha256 : str
        Digest of the whole file, in hexadecimal.
    tops : tuple of str
        The folders it puts into site-packages, its ``.dist-info`` last. Nothing else may be in it.
    python : str
        The Python version pip is told to fetch it for.
    """

    name: str
    version: str
    filename: str
    sha256: str
    tops: tuple[str, ...]
    python: str = "3.9"

    @property
    def dist_info(self) -> str:
        """Name of the wheel's metadata folder."""
        return self.tops[-1]


def sha256(path: Path) -> str:
    """Return the SHA-256 digest of a file in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def download(wheels: Sequence[Wheel], folder: Path, python: str = sys.executable) -> None:
    """Fetch wheels into ``folder`` with pip, from the index the user's pip is configured for.

    pip is asked for CPython wheels of another Python version, so it neither installs nor runs
    anything.

    Raises
    ------
    InstallError
        With pip's last words, if pip is missing or cannot find a wheel.
    """
    for wheel in wheels:
        command = [
            python,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-input",
            "--no-deps",
            "--only-binary=:all:",
            "--implementation",
            "cp",
            "--python-version",
            wheel.python,
            "--abi",
            "cp" + wheel.python.replace(".", ""),
            "--platform",
            "manylinux2014_x86_64",
            "--platform",
            "manylinux2010_x86_64",
            "--dest",
            str(folder),
            f"{wheel.name}=={wheel.version}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            words = (done.stderr or done.stdout).strip().splitlines()
            raise InstallError(
                f"pip could not download {wheel.name} {wheel.version}: "
                f"{words[-1] if words else f'exit status {done.returncode}'}. Where no package "
                f"index is reachable, fetch {wheel.filename} elsewhere and name its folder as "
                "the source"
            )


#: Packages whose metadata leaves out Pythons they run on; this package has what they need.
_PAST_METADATA = {"xitorch": "xitorch>=0.5.1"}


@contextlib.contextmanager
def with_pip(packages: Sequence[str], say: Callable[[str], object]) -> Iterator[None]:
    """Have pip install packages for the running Python; take them back if what follows fails.

    Raises
    ------
    InstallError
        With pip's last words.
    """
    if not packages:
        yield
        return
    say(f"installing with pip: {', '.join(packages)}")
    usual = [name for name in packages if name not in _PAST_METADATA]
    others = [_PAST_METADATA[name] for name in packages if name in _PAST_METADATA]
    try:
        if usual:
            _pip("install", *usual)
        if others:
            _pip("install", "--no-deps", "--ignore-requires-python", *others)
        importlib.invalidate_caches()
        yield
    except BaseException:
        pip_uninstall(packages)
        raise


def pip_uninstall(packages: Sequence[str]) -> None:
    """Have pip remove packages from the running Python; those that are gone do not matter.

    Raises
    ------
    InstallError
        With pip's last words.
    """
    _pip("uninstall", "--yes", *packages)
    importlib.invalidate_caches()


def _pip(command: str, *words: str) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            command,
            "--quiet",
            "--disable-pip-version-check",
            "--no-input",
            *words,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise InstallError(
            f"pip could not {command} {' '.join(words)}: "
            f"{said[-1] if said else f'exit status {done.returncode}'}"
        )


def verified(wheels: Sequence[Wheel], folder: Path) -> list[Path]:
    """Return the wheel files in ``folder`` after checking each against its pinned digest.

    Raises
    ------
    InstallError
        If a file is missing, or is not byte for byte the one that was pinned.
    """
    paths = []
    for wheel in wheels:
        path = folder / wheel.filename
        if not path.is_file():
            raise InstallError(f"there is no {wheel.filename} in {folder}")
        found = sha256(path)
        if found != wheel.sha256:
            raise InstallError(
                f"{wheel.filename} is not the file this command was written for: its SHA-256 is "
                f"{found}, expected {wheel.sha256}. Nothing was installed"
            )
        paths.append(path)
    return paths


def members(wheel: Wheel, path: Path) -> list[str]:
    """List what a wheel will put on disk, refusing anything outside its own folders.

    Returns
    -------
    list of str
        Relative POSIX paths, including the ``INSTALLER`` note added on unpacking.
    """
    names = []
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            parts = PurePosixPath(info.filename).parts
            is_link = stat.S_ISLNK(info.external_attr >> 16)
            if not parts or parts[0] not in wheel.tops or ".." in parts or is_link:
                raise InstallError(f"{path.name} holds {info.filename!r}, which does not belong")
            if not info.is_dir():
                names.append(info.filename)
    note = f"{wheel.dist_info}/INSTALLER"
    return names if note in names else [*names, note]


def unpack(wheel: Wheel, path: Path, into: Path) -> None:
    """Unpack a verified wheel, keeping file modes, and sign its ``RECORD`` so pip can remove it."""
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            written = Path(archive.extract(info, into))
            mode = (info.external_attr >> 16) & 0o777
            if mode and not info.is_dir():
                written.chmod(mode | 0o644)
    note = into / wheel.dist_info / "INSTALLER"
    note.write_text(INSTALLER + "\n")
    record = into / wheel.dist_info / "RECORD"
    rows = list(csv.reader(io.StringIO(record.read_text()))) if record.is_file() else []
    digest = base64.urlsafe_b64encode(hashlib.sha256(note.read_bytes()).digest()).rstrip(b"=")
    entry = [f"{wheel.dist_info}/INSTALLER", f"sha256={digest.decode()}", str(note.stat().st_size)]
    rows = [row for row in rows if row and row[0] != entry[0]] + [entry]
    with open(record, "w", newline="") as handle:
        csv.writer(handle, lineterminator="\n").writerows(rows)
