"""Writing files so that readers, and a process killed half-way, see all of one or nothing."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

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
