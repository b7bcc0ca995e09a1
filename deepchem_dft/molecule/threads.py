"""One number of threads for torch and PySCF: either alone would leave the other with all cores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from pyscf import lib


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
