"""A site-packages folder: may it be written to, and whose is what is in it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import sysconfig
from pathlib import Path

from deepchem_dft.interop.dqc.wheels import InstallError


def check_platform() -> None:
    """Raise InstallError where manylinux2014 wheels for x86-64 cannot run."""
    machine = platform.machine().lower()
    if sys.platform != "linux" or machine not in ("x86_64", "amd64") or sys.maxsize < 2**32:
        raise InstallError(
            "DQC's native libraries exist for 64-bit Linux on x86-64 only; this is "
            f"{sys.platform} on {machine}. Everything but the 'dqc' engine works without it"
        )
    if platform.libc_ver()[0] not in ("glibc", ""):
        raise InstallError("DQC's native libraries need glibc (they are manylinux2014 builds)")


def check_environment(folder: Path) -> None:
    """Raise InstallError if the running Python's site-packages must not or cannot be changed."""
    marker = Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED"
    if sys.prefix == sys.base_prefix and marker.exists():
        raise InstallError(
            "this Python belongs to the operating system; use a virtual environment: python3 -m venv .venv"
        )
    if not os.access(folder, os.W_OK):
        raise InstallError(f"no permission to write to {folder}; use a virtual environment")


def owner(folder: Path, top: str) -> str:
    """Say in words which package the folder ``top`` in ``folder`` belongs to."""
    for dist in importlib.metadata.distributions(path=[str(folder)]):
        name, version = dist.metadata["Name"], dist.version
        own = Path(str(getattr(dist, "_path", ""))).name
        if own != top and not any(f.parts[:1] == (top,) for f in dist.files or ()):
            continue
        text = f"{name} {version} is there already (run: pip uninstall {name})"
        if name.lower() == "pylibxc2" and version.startswith("0."):
            text += ": an empty placeholder, which is what plain pip finds on this Python version"
        return text
    return f"{folder / top} is there already and belongs to no package pip knows of"


def prune(top: Path) -> list[Path]:
    """Remove byte code and empty folders under ``top``; return the files that stay."""
    for cache in sorted(top.rglob("__pycache__")):
        shutil.rmtree(cache, ignore_errors=True)
    for path in sorted((p for p in top.rglob("*") if p.is_dir()), reverse=True):
        if not any(path.iterdir()):
            path.rmdir()
    if top.is_dir() and not any(top.iterdir()):
        top.rmdir()
    return [path for path in top.rglob("*") if path.is_file()]


def alive(pid: int) -> bool:
    """Tell whether another process of that number is running."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
