"""Seeing to it that a piece of code executes nothing, writes in one folder only, and comes back."""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Events of the interpreter that mean that something was run.
_RUNS = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "subprocess.Popen",
    "pty.spawn",
    "pickle.find_class",
    "socket.connect",
)
_CHANGES = (
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.chmod",
    "os.truncate",
    "shutil.rmtree",
    "shutil.move",
    "shutil.copyfile",
)


class TooLong(BaseException):
    """The CPU time of one case is used up. Not an Exception, so that nothing swallows it."""


class Watch:
    """An audit hook that notes what is run, and what is written outside some folders.

    Parameters
    ----------
    allowed : sequence of Path
        Folders in which may be written.
    """

    def __init__(self, allowed: list[Path]) -> None:
        self.allowed = tuple(os.path.realpath(path) for path in allowed)
        self.active = False
        self.seen: list[str] = []
        gc.collect()  # what was left before may remove its files (PySCF's are temporary) and is not watched
        sys.addaudithook(self._event)

    def _event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.active:
            return
        if event == "subprocess.Popen" and arguments[0] == "git":
            return  # which version of the package this is
        if event.startswith(_RUNS):
            self.seen.append(f"{event} {arguments!r:.200}")
        elif event == "open":
            path, mode, flags = arguments
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if writes and isinstance(path, (str, bytes)) and not self._inside(path):
                self.seen.append(f"written: {path!r}")
        elif event in _CHANGES:
            for path in arguments:
                if isinstance(path, (str, bytes, os.PathLike)) and not self._inside(path):
                    self.seen.append(f"{event}: {path!r}")

    def _inside(self, path: Any) -> bool:
        if os.fspath(path) in ("/dev/null", b"/dev/null"):
            return True
        real = os.path.realpath(os.fsdecode(path))
        return any(real == folder or real.startswith(folder + os.sep) for folder in self.allowed)

    @contextmanager
    def watching(self, seconds: float) -> Iterator[list[str]]:
        """Watch; after so many CPU seconds raise `TooLong`."""
        self.seen = []

        def ring(*_: Any) -> None:
            raise TooLong

        before = signal.signal(signal.SIGVTALRM, ring)
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
        self.active = True
        try:
            yield self.seen
        finally:
            self.active = False
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(signal.SIGVTALRM, before)


def limit_memory(more: int) -> None:
    """Let this process take so many bytes more than it has, as address space."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    now = pages * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + more, now + more))
