"""A file system that fails: every write, making, renaming and syncing below a folder is a step.

At one step something happens: the disk is full from then on or refuses once, the folder becomes
read-only, permission is lost, the process is killed, or Ctrl-C is pressed before or after it.
"""

import builtins
import errno
import gc
import io
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

#: Steps that need room on a disk.
_ROOM = ("open", "write", "mkdir", "fsync")
#: What the system answers to the steps that fail; it goes on doing so, but for the last.
ERRORS = {"full": errno.ENOSPC, "read-only": errno.EROFS, "denied": errno.EACCES, "once": errno.EDQUOT}
LASTING = ("full", "read-only", "denied")


class Shim:
    """Counts steps below a folder, and lets one of them fail.

    Parameters
    ----------
    root : Path
    at : int
        The step, from 1; 0 for none.
    what : {"full", "read-only", "denied", "once", "kill", "copies", "interrupt", "interrupt after"}
    """

    def __init__(self, root: Path, at: int = 0, what: str = "full") -> None:
        self.root, self.at, self.what = os.path.realpath(root), at, what
        self.count, self.failed = 0, ""
        self.handles: dict[int, str] = {}

    def step(self, kind: str, path: str) -> None:
        """Count a step, and fail if it is its turn."""
        if self.what in ("full", "once") and kind not in _ROOM:
            return
        self.count += 1
        if self.what == "copies":
            self.copy()
            return
        due = self.count >= self.at if self.what in LASTING else self.count == self.at
        if not self.at or not due or self.what == "interrupt after":
            return
        self.failed = self.failed or f"{kind} {path}"
        if self.what == "kill":
            os._exit(99)
        if self.what == "interrupt":
            raise KeyboardInterrupt
        number = ERRORS[self.what]
        if kind in ("write", "fsync"):  # the system knows no name
            raise OSError(number, os.strerror(number))
        raise OSError(number, os.strerror(number), path)

    def copy(self) -> None:
        """Keep what a kill at this step would leave: whoever runs to the end meets all of them."""
        shutil.copytree(self.root, f"{self.root}-kills/{self.count}", symlinks=True)

    def done(self, kind: str, path: str) -> None:
        """Press Ctrl-C after a step, if it is its turn."""
        if self.what == "interrupt after" and self.count == self.at and not self.failed:
            self.failed = f"{kind} {path}"
            raise KeyboardInterrupt

    def below(self, path: object) -> str:
        """Return the path if it is below the root, else nothing."""
        if isinstance(path, int):
            return self.handles.get(path, "")
        try:
            name = os.path.abspath(os.fsdecode(path))  # type: ignore[arg-type]
        except TypeError:
            return ""
        return name if f"{name}{os.sep}".startswith(self.root + os.sep) else ""

    @contextmanager
    def working(self) -> "Iterator[Shim]":
        """Put the shim between Python and the system."""
        real = {
            name: getattr(os, name)
            for name in (
                "open",
                "close",
                "write",
                "fsync",
                "ftruncate",
                "replace",
                "rename",
                "mkdir",
                "unlink",
                "remove",
                "rmdir",
            )
        }
        real_open = builtins.open
        shim = self

        class Raw(io.FileIO):
            def write(self, content):
                name = shim.below(self.name)
                try:
                    shim.step("write", name)
                except OSError:
                    super().write(memoryview(content)[: len(content) // 2])  # half of it was there
                    raise
                written = super().write(content)
                shim.done("write", name)
                return written

        def fake_open(
            file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True, opener=None
        ):
            if not shim.below(file) or not set(mode) & set("wax+"):
                return real_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
            if not isinstance(file, int):
                shim.step("open", shim.below(file))
            raw = Raw(file, mode.replace("b", "").replace("t", ""), closefd, opener)
            shim.done("open", shim.below(file))
            if buffering == 0:
                return raw
            stream = (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw)
            return stream if "b" in mode else io.TextIOWrapper(stream, encoding or "utf-8", errors, newline)

        def os_open(path, flags, *more, **options):
            name = shim.below(path)
            if name and flags & (os.O_WRONLY | os.O_RDWR):
                shim.step("open", name)
            handle = real["open"](path, flags, *more, **options)
            if name:
                shim.handles[handle] = name
                if flags & (os.O_WRONLY | os.O_RDWR):
                    shim.done("open", name)
            return handle

        def os_close(handle):
            shim.handles.pop(handle, None)
            return real["close"](handle)

        def counted(kind: str, place: int = 0) -> Callable:
            def call(*arguments, **options):
                if name := shim.below(arguments[place]):
                    shim.step(kind, name)
                result = real[kind](*arguments, **options)
                if name:
                    shim.done(kind, name)
                return result

            return call

        changed = {name: counted(name) for name in real}
        changed |= {
            "open": os_open,
            "close": os_close,
            "replace": counted("replace", 1),
            "rename": counted("rename", 1),
        }
        try:
            for name, function in changed.items():
                setattr(os, name, function)
            builtins.open = io.open = fake_open  # type: ignore[assignment]
            yield self
        finally:
            builtins.open = io.open = real_open
            for name, function in real.items():
                setattr(os, name, function)


def killed(shim: Shim, perform: Callable[[], object]) -> bool:
    """Perform something in a child that the shim may kill; return whether it did."""
    child = os.fork()  # no second import of everything; the child shares nothing it could harm
    if not child:
        gc.freeze()  # a model that is collected here would take its folder away
        status = 1
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            with shim.working():
                perform()
            status = 0
        finally:
            os._exit(status)
    _, ended = os.waitpid(child, 0)
    status = os.waitstatus_to_exitcode(ended)
    assert status in (0, 99), f"the child ended with {status}"
    return status == 99
