"""Constants of molecules kept on disk by content hash, safe against concurrent writers."""

import hashlib
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from deepchem_dft.files import replacing
from deepchem_dft.molecule.memory import gigabytes
from deepchem_dft.molecule.tensors import DamagedFile, MatrixFile, write_matrix

_FORMAT = 2
_STALE_SECONDS = 86_400.0
_writing = True
# Looking through a full cache takes as long as a small molecule: once for so many writes of ours.
_SHARE = 0.01
_before_next_look: dict[Path, float] = {}  # bytes

#: Given a path for scratch data, returns the shape of a matrix and its rows, some at a time.
Maker = Callable[[Path], tuple[tuple[int, int], Iterable[np.ndarray]]]


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
        # Opened here: numpy does not close a file that turns out to be no archive.
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        checksum = arrays.pop("checksum")
        if bytes(checksum) != _digest(arrays):
            raise ValueError("checksum mismatch")
    except Exception as error:
        _complain(path, error)
        return None
    _touch(path)
    return arrays


def store(key: str, part: str, arrays: dict[str, np.ndarray]) -> None:
    """Store arrays under a key. Failing to (a full disk, say) is a warning, never an error."""
    path = _path(key, part)
    if path is None or not _writing or sum(a.nbytes for a in arrays.values()) > max_bytes():
        return
    try:
        with replacing(path, lasting=False) as draft, open(draft, "wb") as stream:
            checksum = np.frombuffer(_digest(arrays), dtype=np.uint8)
            np.savez(stream, **{"checksum": checksum, **arrays})  # type: ignore[arg-type]
        _prune_if_due(path)
    except OSError as error:
        warnings.warn(f"integrals could not be cached in {path.parent}: {reason(error)}", stacklevel=2)


def load_matrix(key: str, part: str, whole: bool) -> np.ndarray | MatrixFile | None:
    """Return a matrix stored under a key, or None. A damaged file counts as absent.

    Parameters
    ----------
    key, part : str
    whole : bool
        Read it, and compare it with its checksum. Otherwise it stays on disk, and only its size
        is checked.
    """
    path = _path(key, part, ".npy")
    if path is None:
        return None
    try:
        if not path.exists():
            return None
        file = MatrixFile(path)
        found = file.read() if whole else file
    except (OSError, DamagedFile) as error:
        _complain(path, error)
        return None
    _touch(path)
    return found


def store_matrix(key: str, part: str, size: int, make: Maker) -> MatrixFile | None:
    """Write a matrix under a key and return it, on disk.

    Returns None if it cannot be kept: caching is off, it is larger than the whole cache, or
    writing fails (on a full disk, say), which is a warning and never an error.

    Parameters
    ----------
    key, part : str
    size : int
        Its bytes.
    make : callable
        Called only if it will be written.
    """
    path = _path(key, part, ".npy")
    if path is None or not _writing or size > max_bytes():
        return None
    try:
        with replacing(path) as draft:
            scratch = draft.with_suffix(".scratch.tmp")
            try:
                with open(draft, "wb") as stream:
                    write_matrix(stream, *make(scratch))
            finally:
                scratch.unlink(missing_ok=True)
        stored = MatrixFile(path)
        _prune_if_due(path)
        return stored
    except OSError as error:
        warnings.warn(f"integrals could not be cached in {path.parent}: {reason(error)}", stacklevel=2)
        return None


def temporary_matrix(make: Maker) -> MatrixFile:
    """Write a matrix to a file that vanishes with the object (or the process).

    Raises
    ------
    OSError
        If there is no room.
    """
    stream = tempfile.TemporaryFile()  # noqa: SIM115  closed by the object that reads it
    try:
        with tempfile.TemporaryDirectory(prefix="deepchem-dft-") as folder:
            write_matrix(stream, *make(Path(folder) / "scratch"))
        return MatrixFile(stream)
    except BaseException:
        stream.close()
        raise


def reason(error: OSError) -> str:
    """Say in a few words what the system refused (HDF5 fills a page).

    Examples
    --------
    >>> reason(OSError(28, "a long story"))
    'No space left on device'
    """
    return os.strerror(error.errno) if error.errno else str(error)


def _complain(path: Path, error: Exception) -> None:
    """Warn of a file that is of no use, and remove it if something is wrong with it."""
    if isinstance(error, OSError):  # such as one that this user may not read
        problem = f"cannot be read ({reason(error)})"
    else:
        problem = f"are damaged ({error})"
        _remove(path)
    warnings.warn(f"cached integrals {path} {problem}; computing them again", stacklevel=3)


def _touch(path: Path) -> None:
    with suppress(OSError):
        os.utime(path)  # least recently used files go first when the cache is pruned


def _path(key: str, part: str, suffix: str = ".npz") -> Path | None:
    folder = cache_dir()
    if folder is None:
        return None
    max_bytes()  # a setting that is no size is reported now, not after hours of integrals
    return folder / key[:2] / f"{key}-{part}{suffix}"


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


def _prune_if_due(path: Path) -> None:
    """Prune the cache that a file was just written to, unless there was room when we last looked."""
    folder = path.parent.parent
    left = _before_next_look.get(folder, 0.0) - path.stat().st_size
    # A bound of its own may have been set since.
    _before_next_look[folder] = min(left, _SHARE * max_bytes())
    if left < 0.0:
        _prune(folder)
        _before_next_look[folder] = _SHARE * max_bytes()


def _prune(folder: Path) -> None:
    now, files = time.time(), []
    for path in folder.glob("*/*"):
        try:
            stat = path.stat()
        except OSError:
            continue  # another process removed it
        if path.suffix in (".npz", ".npy"):
            files.append((stat.st_mtime, stat.st_size, path))
        elif path.suffix == ".tmp" and now - stat.st_mtime > _STALE_SECONDS:
            _remove(path)  # its writer was killed
    # Room for what is written until the next look.
    excess = sum(size for _, size, _ in files) - (1.0 - _SHARE) * max_bytes()
    for _, size, path in sorted(files):
        if excess <= 0:
            break
        if _remove(path):
            excess -= size
