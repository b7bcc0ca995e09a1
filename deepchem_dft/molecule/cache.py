"""Constants of molecules kept on disk by content hash, safe against concurrent writers."""

from __future__ import annotations

import hashlib
import json
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from deepchem_dft.files import replacing
from deepchem_dft.molecule.memory import gigabytes

_FORMAT = 2
_STALE_SECONDS = 86_400.0
_writing = True


def cache_dir() -> Path | None:
    """Return the folder for cached constants, or None if caching on disk is off.

    The environment variable ``DEEPCHEM_DFT_CACHE`` names the folder; ``off`` disables the cache.
    The default is ``~/.cache/deepchem_dft``.
    """
    setting = os.environ.get("DEEPCHEM_DFT_CACHE", "")
    if setting.lower() == "off":
        return None
    if setting:
        return Path(setting)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "deepchem_dft"


def max_bytes() -> int:
    """Return the size the disk cache is pruned to (``DEEPCHEM_DFT_CACHE_GB``, default 8 GB)."""
    return gigabytes("DEEPCHEM_DFT_CACHE_GB", 8)


@contextmanager
def read_only() -> Iterator[None]:
    """Use what is cached on disk but add nothing: for molecules that are needed once."""
    global _writing
    before, _writing = _writing, False
    try:
        yield
    finally:
        _writing = before


def content_key(content: dict) -> str:
    """Return a hash of everything the constants depend on, PySCF's version included.

    Examples
    --------
    >>> content_key({"a": 1, "b": 2}) == content_key({"b": 2, "a": 1})
    True
    """
    import pyscf

    content = {"format": _FORMAT, "pyscf": pyscf.__version__, **content}
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def load(key: str, part: str) -> dict[str, np.ndarray] | None:
    """Return the arrays stored under a key, or None. A damaged file counts as absent.

    The folder may be one that others share and that this process cannot write.

    Raises
    ------
    InputError
        If ``DEEPCHEM_DFT_CACHE_GB`` is not a size.
    """
    path = _path(key, part)
    if path is None:
        return None
    try:
        if not path.exists():
            return None
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        checksum = arrays.pop("checksum")
        if bytes(checksum) != _digest(arrays):
            raise ValueError("checksum mismatch")
    except OSError as error:  # nothing is wrong with a file that this user may not read
        warnings.warn(f"cached integrals {path} cannot be read ({error}); computing them again",
                      stacklevel=2)
        return None
    except Exception as error:  # whatever is wrong with it, it can be made again
        warnings.warn(f"cached integrals {path} are damaged ({error}); computing them again",
                      stacklevel=2)
        _remove(path)
        return None
    with suppress(OSError):
        os.utime(path)  # least recently used files go first when the cache is pruned
    return arrays


def store(key: str, part: str, arrays: dict[str, np.ndarray]) -> None:
    """Store arrays under a key. Failing to (a full disk, say) is a warning, never an error."""
    path = _path(key, part)
    if path is None or not _writing:
        return
    try:
        with replacing(path) as draft, open(draft, "wb") as stream:
            checksum = np.frombuffer(_digest(arrays), dtype=np.uint8)
            np.savez(stream, **{"checksum": checksum, **arrays})  # type: ignore[arg-type]
        _prune(path.parent.parent)
    except OSError as error:
        warnings.warn(f"integrals could not be cached in {path.parent}: {error}", stacklevel=2)


def _path(key: str, part: str) -> Path | None:
    folder = cache_dir()
    if folder is None:
        return None
    max_bytes()  # a setting that is no size is reported now, not after hours of integrals
    return folder / key[:2] / f"{key}-{part}.npz"


def _remove(path: Path) -> bool:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # the folder belongs to someone else
        return False
    return True


def _digest(arrays: dict[str, np.ndarray]) -> bytes:
    # blake2b reads about 1 GB/s, so checking costs less than recomputing by far.
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}{array.shape}{array.dtype}".encode())
        digest.update(array.data if array.size else b"")
    return digest.digest()


def _prune(folder: Path) -> None:
    now, files = time.time(), []
    for path in folder.glob("*/*"):
        try:
            stat = path.stat()
        except OSError:
            continue  # another process removed it
        if path.suffix == ".npz":
            files.append((stat.st_mtime, stat.st_size, path))
        elif path.suffix == ".tmp" and now - stat.st_mtime > _STALE_SECONDS:
            _remove(path)  # its writer was killed
    excess = sum(size for _, size, _ in files) - max_bytes()
    for _, size, path in sorted(files):
        if excess <= 0:
            break
        if _remove(path):
            excess -= size
