"""Keeps the bulky constants of many molecules within a memory budget, least recently used first."""

from __future__ import annotations

import os
import weakref
from collections import OrderedDict
from typing import Any


class MemoryBudget:
    """Track arrays that can be made again, and drop the oldest when a budget is exceeded.

    Parameters
    ----------
    limit : int
        Budget in bytes.

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

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._sizes: OrderedDict[tuple[int, str], tuple[weakref.ref, int]] = OrderedDict()

    def use(self, owner: Any, part: str, size: int) -> None:
        """Note that ``owner`` holds ``size`` bytes in ``part`` and has just used them."""
        key = (id(owner), part)
        known = self._sizes.pop(key, None)
        if known is None:
            weakref.finalize(owner, self._sizes.pop, key, None)
        self._sizes[key] = (weakref.ref(owner), size)
        total = sum(size for _, size in self._sizes.values())
        while total > self.limit and len(self._sizes) > 1:
            (_, oldest), (reference, freed) = self._sizes.popitem(last=False)
            holder = reference()
            if holder is not None:
                holder.release(oldest)
            total -= freed


#: Shared by all molecules of a process; ``DEEPCHEM_DFT_MEMORY_GB`` sets the limit (default 4 GB).
BUDGET = MemoryBudget(int(float(os.environ.get("DEEPCHEM_DFT_MEMORY_GB", "4")) * 1e9))
