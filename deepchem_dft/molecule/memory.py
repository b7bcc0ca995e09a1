"""Constants of many molecules within a memory budget, torch and PySCF within one number of threads."""

import math
import os
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pyscf import lib

from deepchem_dft.errors import InputError

#: Share of the available memory that one set of integrals may take.
_USABLE = 0.8


def gigabytes(variable: str, default: float) -> int:
    """Return the bytes that an environment variable gives in GB.

    Raises
    ------
    InputError
        Naming the variable, if it is not a size.

    Examples
    --------
    >>> gigabytes("DEEPCHEM_DFT_NOT_SET_GB", 0.5)
    500000000
    """
    text = os.environ.get(variable, "").strip()
    try:
        size = float(text) if text else default
    except ValueError:
        size = math.nan
    if not (math.isfinite(size) and size >= 0):
        raise InputError(
            f"the environment variable {variable} is {text!r}, which is not a size",
            field=variable,
            remedy=f"set it to a number of GB such as {default:g}, or unset it",
        )
    return int(size * 1e9)


class _Held(NamedTuple):
    owner: weakref.ref
    size: int
    group: str | None


class MemoryBudget:
    """Track arrays that can be made again, and drop the oldest when a budget is exceeded.

    Parameters
    ----------
    limit : int, optional
        Budget in bytes. By default ``DEEPCHEM_DFT_MEMORY_GB`` (4 GB if that is not set).

    Examples
    --------
    >>> class Owner:
    ...     data = "x"
    ...     def release(self, part): self.data = None
    >>> budget, a, b = MemoryBudget(limit=100), Owner(), Owner()
    >>> budget.use(a, "data", 80); budget.use(b, "data", 80)
    >>> a.data is None, b.data
    (True, 'x')
    >>> budget.forget(b, "data"); budget.held()
    0
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._entries: OrderedDict[tuple[int, str], _Held] = OrderedDict()

    @property
    def limit(self) -> int:
        """The budget in bytes; the environment is read when it is needed, not at import."""
        return gigabytes("DEEPCHEM_DFT_MEMORY_GB", 4) if self._limit is None else self._limit

    def held(self, owner: Any = None) -> int:
        """Return the bytes that an owner holds, or all of them together."""
        return sum(e.size for e in list(self._entries.values()) if owner is None or e.owner() is owner)

    def use(self, owner: Any, part: str, size: int, group: str | None = None) -> None:
        """Note that ``owner`` holds ``size`` bytes in ``part`` and has just used them.

        Others are dropped to make room, but none of the same ``group``: what is used together
        would be made again at every turn.
        """
        limit, key, entries = self.limit, (id(owner), part), self._entries
        entries.pop(key, None)
        entries[key] = _Held(weakref.ref(owner, lambda _: entries.pop(key, None)), size, group)
        excess = self.held() - limit
        for other, entry in list(entries.items()):
            if excess <= 0:
                break
            if other != key and (group is None or entry.group != group):
                excess -= entry.size
                self._drop(other)

    def forget(self, owner: Any, part: str) -> None:
        """Note that ``owner`` holds nothing in ``part`` any more."""
        self._entries.pop((id(owner), part), None)

    def clear(self) -> None:
        """Drop everything."""
        for key in list(self._entries):
            self._drop(key)

    def _drop(self, key: tuple[int, str]) -> None:
        entry = self._entries.pop(key, None)
        holder = None if entry is None else entry.owner()
        if holder is not None:
            holder.release(key[1])


#: Shared by all molecules of a process; ``DEEPCHEM_DFT_MEMORY_GB`` sets the limit (default 4 GB).
BUDGET = MemoryBudget()


def packed_bytes(nao: int) -> int:
    """Return the size of electron-repulsion integrals packed with eightfold symmetry.

    Examples
    --------
    >>> packed_bytes(2)  # (11|11) (21|11) (21|21) (22|11) (22|21) (22|22)
    48
    """
    pairs = nao * (nao + 1) // 2
    return 8 * (pairs * (pairs + 1) // 2)


def available_bytes() -> int | None:
    """Return the memory that can still be used, or all there is, or None if neither is known.

    In a container that is what its limit leaves, if that is less.
    """
    found = [size for size in (_system_bytes(), container_bytes()) if size is not None]
    return min(found, default=None)


def _system_bytes() -> int | None:
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:  # what is free leaves out what the system can reclaim, so all memory is the bound
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
    return total if total > 0 else None


def container_bytes(
    membership: str | Path = "/proc/self/cgroup", root: str | Path = "/sys/fs/cgroup"
) -> int | None:
    """Return what the limits of this process's control groups leave, or None without limits.

    Parameters
    ----------
    membership : path
        Lists the groups: ``0::/path`` (version 2) or ``4:memory:/path`` (version 1).
    root : path
        Where the groups are mounted.
    """
    try:
        lines = Path(membership).read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return None
    found = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if controllers == "":
            top, names = Path(root), ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            top = Path(root, "memory")
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        # A limit may be set further up; inside a container the group itself may not be visible.
        folder = top / group.strip("/")
        for place in (folder, *(p for p in folder.parents if p == top or top in p.parents)):
            left = _left_in_group(place, *names)
            if left is not None:
                found.append(left)
    return min(found, default=None)


def _left_in_group(folder: Path, limit: str, usage: str, reclaimable: str) -> int | None:
    try:
        most = int((folder / limit).read_text("ascii"))  # "max" is no number: no limit
        used = int((folder / usage).read_text("ascii"))
        for line in (folder / "memory.stat").read_text("ascii").splitlines():
            if line.startswith(reclaimable + " "):
                used -= int(line.split()[1])  # cached files make room when it is needed
    except (OSError, ValueError, IndexError):
        return None
    return max(most - used, 0)


def fits_available(size: int) -> bool:
    """True unless an array is known to be too large for the memory that is available."""
    available = available_bytes()
    return available is None or size <= _USABLE * available


def check_room(size: int, name: str) -> None:
    """Refuse electron-repulsion integrals that do not fit into memory, before they are computed.

    Constants of other molecules are dropped first if that may help.

    Raises
    ------
    InputError
        With the estimate in GB.
    """
    if not fits_available(size):
        BUDGET.clear()
    if not fits_available(size):
        available = available_bytes() or 0
        raise InputError(
            f"the electron-repulsion integrals of {name} need {size / 1e9:.3g} GB of memory, "
            f"and {available / 1e9:.3g} GB are available",
            field="basis",
            remedy="fit the density (density_fit=True), or use a smaller basis, a smaller molecule "
            "or a machine with more memory",
        )


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let torch and PySCF use so many threads each, and put back what was before.

    Examples
    --------
    >>> with threads(1):
    ...     torch.get_num_threads(), lib.num_threads()
    (1, 1)
    """
    before = torch.get_num_threads(), lib.num_threads()
    torch.set_num_threads(number)
    lib.num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        lib.num_threads(before[1])
