"""Files written so that readers, and a process killed half-way, see all or nothing; text read."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import secrets
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from deepchem_dft.errors import InputError

PathLike = str | os.PathLike

#: Byte order marks; that of UTF-32 begins with that of UTF-16.
_MARKS = ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
          (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))

#: Pattern of names that become part of a path: one component, no surprise on any system.
SAFE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._+\-]{0,99}$"


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a private path beside ``path``, and rename it to ``path`` if all went well.

    The folder is made if need be. Whatever goes wrong inside, the old file stays and nothing is
    left behind.

    Yields
    ------
    Path
        Where to write; it ends in ``.tmp``.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder) / "a.txt") as draft:
    ...         _ = draft.write_text("all of it")
    ...     [(p.name, p.read_text()) for p in Path(folder).iterdir()]
    [('a.txt', 'all of it')]
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        yield draft
        os.replace(draft, path)
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise


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
                raise InputError("the file is binary, or UTF-16 without a byte order mark",
                                 file=file, field="text", remedy="save it as UTF-8 text")
            with io.TextIOWrapper(raw, encoding=encoding, errors=errors, newline="") as stream:
                yield stream
    except FileNotFoundError:
        raise InputError("the file does not exist", file=file, field="path",
                         remedy="check the path") from None
    except UnicodeError as error:
        shown = encoding.removesuffix("-sig").upper()
        at = f" (byte {error.start} of a piece)" if isinstance(error, UnicodeDecodeError) else ""
        raise InputError(f"the file is not {shown} text{at}", file=file, field="text",
                         remedy="save it as UTF-8 text, or download it again") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"the compressed file is cut off or damaged ({error})", file=file,
                         field="text", remedy="download it again") from None
    except OSError as error:
        raise InputError(f"the file cannot be read ({error.strerror or error})", file=file,
                         field="path", remedy="check the path and its permissions") from None
    except ValueError as error:
        if isinstance(error, InputError) or "null" not in str(error):
            raise
        raise InputError("a path cannot hold a null character", field="path",
                         remedy="check the path") from None
