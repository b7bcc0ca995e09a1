"""Keeps the bulky constants of many molecules within a memory budget, least recently used first."""

from __future__ import annotations

import math
import os
import weakref
from collections import OrderedDict
from typing import Any

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
        raise InputError(f"the environment variable {variable} is {text!r}, which is not a size",
                         field=variable,
                         remedy=f"set it to a number of GB such as {default:g}, or unset it")
    return int(size * 1e9)


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
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._sizes: OrderedDict[tuple[int, str], tuple[weakref.ref, int]] = OrderedDict()

    @property
    def limit(self) -> int:
        """The budget in bytes; the environment is read when it is needed, not at import."""
        return gigabytes("DEEPCHEM_DFT_MEMORY_GB", 4) if self._limit is None else self._limit

    def use(self, owner: Any, part: str, size: int) -> None:
        """Note that ``owner`` holds ``size`` bytes in ``part`` and has just used them."""
        limit = self.limit
        key = (id(owner), part)
        known = self._sizes.pop(key, None)
        if known is None:
            weakref.finalize(owner, self._sizes.pop, key, None)
        self._sizes[key] = (weakref.ref(owner), size)
        total = sum(size for _, size in self._sizes.values())
        while total > limit and len(self._sizes) > 1:
            total -= self._drop_oldest()

    def clear(self) -> None:
        """Drop everything."""
        while self._sizes:
            self._drop_oldest()

    def _drop_oldest(self) -> int:
        (_, oldest), (reference, freed) = self._sizes.popitem(last=False)
        holder = reference()
        if holder is not None:
            holder.release(oldest)
        return freed


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
    """Return the memory that can still be used, or all there is, or None if neither is known."""
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


def check_room(size: int, name: str) -> None:
    """Refuse electron-repulsion integrals that do not fit into memory, before they are computed.

    Constants of other molecules are dropped first if that may help.

    Raises
    ------
    InputError
        With the estimate in GB.
    """
    available = available_bytes()
    if available is not None and size > _USABLE * available:
        BUDGET.clear()
        available = available_bytes()
    if available is not None and size > _USABLE * available:
        raise InputError(
            f"the electron-repulsion integrals of {name} need {size / 1e9:.3g} GB of memory, "
            f"and {available / 1e9:.3g} GB are available", field="basis",
            remedy="use a smaller basis or a smaller molecule, or a machine with more memory")
