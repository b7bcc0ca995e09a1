"""Locks on folders and files, which end with their process; and files that grow under one."""

import errno
import json
import os
import socket
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Self

from deepchem_dft.errors import InputError
from deepchem_dft.files import make_folder, storing, write_all

try:
    import fcntl
except ImportError:  # not a POSIX system: there are no locks
    fcntl = None  # type: ignore[assignment]

#: Name of the file in a folder that keeps the folder for one process.
LOCK = ".lock"
#: What ``flock`` answers where the file system has no locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF)


class Lock:
    """Holds a file against other processes until it is released, or this process is gone.

    Parameters
    ----------
    path : path
        A file for this purpose alone; it is made, and removed in the end.
    what : str
        What is held, for the message to those who come later.
    remedy : str

    Raises
    ------
    InputError
        If another process has it; the message names that.
    StorageError
        If the file cannot be made.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / ".lock"
    >>> with Lock(path, "the run"):
    ...     path.exists()
    True
    >>> path.exists()
    False
    """

    def __init__(self, path: str | Path, what: str, remedy: str = "wait for it, or end it") -> None:
        self.path = Path(path)
        self._handle = _locked(self.path, what, remedy)
        try:
            with suppress(OSError):  # a full disk: the lock holds all the same
                os.ftruncate(self._handle, 0)
                os.write(self._handle, f"{os.getpid()} {socket.gethostname()}\n".encode())
        except BaseException:  # Ctrl-C
            self.release()
            raise

    def release(self) -> None:
        """Let others have it."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            try:
                with suppress(OSError):
                    self.path.unlink()
            finally:
                os.close(handle)

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _locked(path: Path, what: str, remedy: str) -> int:
    """Open a file, make it if need be, and lock it for this process.

    The lock ends with the handle, so with the process at the latest. Where the file system has no
    locks, this warns and goes on.
    """
    while True:
        with storing(path):
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _take(handle, path, what, remedy)
            # Between opening and locking, its last holder may have removed it.
            if _same(handle, path):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _take(handle: int, path: Path, what: str, remedy: str) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            warnings.warn(
                f"{path}: the file system has no locks; take care that no other process writes there",
                stacklevel=4,
            )
            return
        place = path.parent if path.name == LOCK else path
        raise InputError(
            f"another process is writing {what}{_holder(handle)}", file=str(place), remedy=remedy
        ) from None


def _same(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except OSError:
        return False


def _holder(handle: int) -> str:
    """Say who has a lock: what its file says, else what the kernel knows."""
    with suppress(OSError, ValueError):
        number, host = os.pread(handle, 300, 0).decode().split()
        return f" ({int(number)} on {host})"
    with suppress(OSError, ValueError, IndexError):
        node = os.fstat(handle)
        place = f"{os.major(node.st_dev):02x}:{os.minor(node.st_dev):02x}:{node.st_ino}"
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if words[1] == "FLOCK" and words[5] == place:
                return f" ({int(words[4])} on {socket.gethostname()})"
    return ""


class GrowingFile:
    """A file that grows by whole records, in the hands of one process.

    Parameters
    ----------
    path : path
        Made if it is not there.
    head : bytes
        How the file begins.

    Attributes
    ----------
    stream : BinaryIO
        To read from; unbuffered.
    size : int
        Bytes of whole records, the head included: see :meth:`cut`.
    new : bool
        Whether there was nothing, or no more than a piece of the head that a kill left.

    Raises
    ------
    InputError
        If another process has it.
    StorageError
        If it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.csv"
    >>> with GrowingFile(path, b"name\\n") as file:
    ...     file.write(b"water\\n")
    >>> path.read_text(), GrowingFile(path, b"name\\n").new
    ('name\\nwater\\n', False)
    """

    def __init__(self, path: str | os.PathLike, head: bytes = b"") -> None:
        self.path, self._made = Path(path), not os.path.lexists(path)
        make_folder(self.path.parent)
        handle = _locked(self.path, "the file", "wait for it, or choose another name")
        self.stream: BinaryIO = open(handle, "r+b", buffering=0)  # noqa: SIM115
        try:
            with storing(self.path):
                start = self.stream.read(len(head) + 1)
                self.size = self.stream.seek(0, os.SEEK_END)
                self.new = not start or len(start) < len(head) and head.startswith(start)
                if self.new:
                    self.cut(0)
                    self.write(head)
        except BaseException:
            self.close()
            raise

    def refuse_unless(self, resume: bool) -> None:
        """Raise `InputError` for a file that was there, unless it is to be gone on with."""
        if not self.new and not resume:
            raise InputError(
                "the file exists",
                file=str(self.path),
                field="out",
                remedy="choose another name, or go on with it by --resume",
            )

    def cut(self, size: int) -> None:
        """Drop what is behind ``size``: the piece of a record that a kill left."""
        self.size = size
        with storing(self.path):
            if os.fstat(self.stream.fileno()).st_size > size:
                os.ftruncate(self.stream.fileno(), size)

    def write(self, record: bytes) -> None:
        """Write one record; it survives whatever happens to this process afterwards.

        Raises
        ------
        StorageError
            If there is no room; the file is as before.
        """
        try:
            with storing(self.path):
                self.stream.seek(self.size)
                write_all(self.stream, record)
        except BaseException:
            with suppress(OSError):
                os.ftruncate(self.stream.fileno(), self.size)
            raise
        self.size += len(record)

    def close(self) -> None:
        """Give the file free for others; one that was made in vain vanishes."""
        if not self.stream.closed:
            with suppress(OSError):
                if self._made and not os.fstat(self.stream.fileno()).st_size:
                    self.path.unlink()
            self.stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def compare_settings(found: Mapping[str, Any], wanted: Mapping[str, Any], path: Path) -> None:
    """Raise `InputError` unless a file was made with the same settings."""
    asked = json.loads(json.dumps(dict(wanted)))  # as it comes back from a file
    for key in sorted({*found, *asked} - {"input"}):
        if found.get(key) != asked.get(key):
            raise InputError(
                f"the file was begun with {found.get(key)!r} and not {asked.get(key)!r}",
                file=str(path),
                field=key,
                remedy="go on with the same settings, or choose another file",
            )
