"""Files whole or not at all, text read, and one error for whatever the system refuses."""

import codecs
import errno
import gzip
import io
import os
import secrets
import shutil
import sqlite3
import stat
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from deepchem_dft.errors import InputError, StorageError

PathLike = str | os.PathLike

#: Byte order marks; that of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ELSEWHERE = "write to another folder"
#: What to do about what the system says.
_REMEDIES = {
    errno.ENOSPC: "make room on that disk, or write to another one",
    errno.EDQUOT: "remove files of yours there, or write to another disk",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EROFS: _ELSEWHERE,
    errno.EACCES: f"{_ELSEWHERE}, or change the permissions",
    errno.EPERM: f"{_ELSEWHERE}, or change the permissions",
    errno.EISDIR: "add the name of a file",
    errno.ENOTDIR: "a part of the path is a file: choose another path",
    errno.EEXIST: "a part of the path is a file: choose another path",
    errno.ENAMETOOLONG: "use a shorter name",
    errno.ENOENT: "check the path",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.EIO: "the disk has a fault: write to another one",
}


def refusal(error: BaseException, path: str | Path | None = None, verb: str = "written") -> StorageError:
    """Return what the system refused as an error that names the file and what to do.

    Parameters
    ----------
    error : OSError
    path : path, optional
        What was being written. A file that the error itself names goes first, unless it is a
        draft of `replacing`.
    verb : str
        What could not be done to it.

    Examples
    --------
    >>> print(refusal(OSError(28, "No space left on device"), "a.csv"))
    a.csv: cannot be written (no space left on device).
    Remedy: make room on that disk, or write to another one.
    """
    number = getattr(error, "errno", None)
    named = getattr(error, "filename", None)
    if isinstance(named, (str, bytes, os.PathLike)) and not _is_draft(os.fsdecode(named)):
        path = os.fsdecode(named)
    if number is None and ("full" in str(error) or " written" in str(error)):
        number = errno.ENOSPC  # of SQLite, and of numpy's short writes
    words = os.strerror(number) if number else str(error).splitlines()[0]
    return StorageError(
        f"cannot be {verb} ({words[:1].lower()}{words[1:]})",
        number=number,
        file=None if path is None else str(path),
        remedy=_REMEDIES.get(number or 0, _ELSEWHERE),
    )


#: Pattern of names that become part of a path: one component, no surprise on any system.
SAFE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._+\-]{0,99}$"


@contextmanager
def storing(path: str | Path) -> Iterator[None]:
    """Raise what the system refuses while a file is written as one `StorageError` that names it."""
    try:
        yield
    except StorageError:
        raise
    except (OSError, sqlite3.OperationalError) as error:
        raise refusal(error, path) from error


def _is_draft(name: str) -> bool:
    return os.path.basename(name).startswith(".") and name.endswith(".tmp")


@contextmanager
def replacing(path: str | Path, lasting: bool = True) -> Iterator[Path]:
    """Give a private path beside ``path``, and rename it to ``path`` if all went well.

    The folder is made if need be. Whatever goes wrong inside, the old file stays and nothing is
    left behind. A link stays one, and what is no ordinary file (``/dev/stdout``, a pipe) is written
    to when all is done.

    Parameters
    ----------
    path : path
    lasting : bool
        Have it on the disk before it is renamed, so that a power failure leaves no empty file.
        What can be made again, and is checked when it is read, need not.

    Yields
    ------
    Path
        Where to write; it ends in ``.tmp``.

    Raises
    ------
    StorageError
        If the system refuses: a full disk, a folder without permission...

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder) / "a.txt") as draft:
    ...         _ = draft.write_text("all of it")
    ...     [(p.name, p.read_text()) for p in Path(folder).iterdir()]
    [('a.txt', 'all of it')]
    """
    with storing(path):
        mode = _mode(path)
        if mode is not None and not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            with tempfile.TemporaryDirectory(prefix="deepchem-dft-") as folder:
                yield (draft := Path(folder) / f".{os.getpid()}.tmp")
                with open(draft, "rb") as source, open(path, "wb") as device:
                    shutil.copyfileobj(source, device)
            return
        place = Path(os.path.realpath(path))
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = _draft_of(place)
        try:
            yield draft
            _settle(draft, mode, lasting)
            os.replace(draft, place)
        except BaseException:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            raise


def _draft_of(place: Path) -> Path:
    # Names of files end at 255 bytes, also those of drafts.
    return place.with_name(f".{place.name[:40]}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def _mode(path: str | Path) -> int | None:
    try:
        return os.stat(path).st_mode
    except OSError:
        return None


def _settle(draft: Path, mode: int | None, lasting: bool) -> None:
    """Bring a file to the disk, where networks tell of a lack of room, with the old one's mode."""
    handle = os.open(draft, os.O_RDONLY)
    try:
        if lasting:
            os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS):  # file systems without fsync
            raise
    finally:
        os.close(handle)
    if mode is not None:
        with suppress(OSError):
            os.chmod(draft, stat.S_IMODE(mode))


def write(path: str | Path, content: str | bytes) -> None:
    """Write a file so that a kill, or a full disk, leaves the old content or the new.

    Raises
    ------
    StorageError
        If the system refuses.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.txt"
    >>> write(path, "all of it")
    >>> path.read_text()
    'all of it'
    """
    raw = content.encode() if isinstance(content, str) else content
    with replacing(path) as draft, open(draft, "wb", buffering=0) as stream:
        write_all(stream, raw)


def write_all(stream: BinaryIO, raw: bytes) -> None:
    """Write all of it to an unbuffered file."""
    left = memoryview(raw)
    while left:
        left = left[stream.write(left) :]


def check_writable(path: str | Path) -> None:
    """Raise `StorageError` unless a file can be written there, before anything is computed for it.

    The folder must exist. An empty draft is made in it, and removed again.
    """
    mode = _mode(path)
    with storing(path):
        if mode is not None and stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "", str(path))
        if mode is not None and not stat.S_ISREG(mode):
            if not os.access(path, os.W_OK):
                raise PermissionError(errno.EACCES, "", str(path))
            return
        with suppress(FileNotFoundError):
            os.stat(path)  # a name that is too long; that of the draft is not
        draft = _draft_of(Path(os.path.realpath(path)))
        try:
            os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        finally:
            draft.unlink(missing_ok=True)


def make_folder(path: str | Path) -> Path:
    """Make a folder and those above it, if need be; raise `StorageError` if that is refused."""
    with storing(path):
        Path(path).mkdir(parents=True, exist_ok=True)
    return Path(path)


def sweep(folder: str | Path) -> None:
    """Remove what killed writers left in a folder, and below, that is in nobody else's hands."""
    for draft in Path(folder).rglob(".*.tmp"):
        with suppress(OSError):
            draft.unlink()


@contextmanager
def open_text(path: PathLike, errors: str = "strict") -> Iterator[TextIO]:
    """Open a text file, unpacking it on the way if its name ends in ``.gz``.

    It is UTF-8, with a byte order mark or without, or UTF-16 or UTF-32 with one. Lines may end as
    on any system.

    Parameters
    ----------
    path : path
    errors : str
        What becomes of bytes that are no text, as in :func:`open`.

    Raises
    ------
    InputError
        For a file that is missing, unreadable, cut off inside its compression or no text, also
        while it is read.
    """
    file = os.fspath(path)
    unpack: Any = gzip.open if file.endswith(".gz") else open
    encoding = "utf-8"
    try:
        with unpack(file, "rb") as raw:
            head = raw.peek(4)[:4]
            encoding = next((name for mark, name in _MARKS if head.startswith(mark)), "utf-8-sig")
            if encoding == "utf-8-sig" and b"\0" in head:
                raise InputError(
                    "the file is binary, or UTF-16 without a byte order mark",
                    file=file,
                    field="text",
                    remedy="save it as UTF-8 text",
                )
            with io.TextIOWrapper(raw, encoding=encoding, errors=errors, newline="") as stream:
                yield stream
    except FileNotFoundError:
        raise InputError(
            "the file does not exist", file=file, field="path", remedy="check the path"
        ) from None
    except UnicodeError as error:
        shown = encoding.removesuffix("-sig").upper()
        at = f" (byte {error.start} of a piece)" if isinstance(error, UnicodeDecodeError) else ""
        raise InputError(
            f"the file is not {shown} text{at}",
            file=file,
            field="text",
            remedy="save it as UTF-8 text, or download it again",
        ) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"the compressed file is cut off or damaged ({error})",
            file=file,
            field="text",
            remedy="download it again",
        ) from None
    except OSError as error:
        raise InputError(
            f"the file cannot be read ({error.strerror or error})",
            file=file,
            field="path",
            remedy="check the path and its permissions",
        ) from None
    except ValueError as error:
        if isinstance(error, InputError) or "null" not in str(error):
            raise
        raise InputError(
            "a path cannot hold a null character", field="path", remedy="check the path"
        ) from None
