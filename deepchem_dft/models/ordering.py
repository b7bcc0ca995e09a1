"""Samples in an order that a seed fixes, from any DeepChem data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np


def seeded_batches(batches: Iterable[Any], seed: tuple[int, ...]) -> Iterator[Any]:
    """Yield what ``Dataset.iterbatches`` yields, shuffled by a seed.

    DeepChem's data sets shuffle with numpy's global random numbers while they are iterated, a
    ``DiskDataset`` shard by shard. They see numbers of their own here; everybody else's go on as
    if nothing had been drawn.

    Parameters
    ----------
    batches : iterable
        Not yet begun.
    seed : tuple of int

    Examples
    --------
    >>> import deepchem as dc
    >>> dataset = dc.data.NumpyDataset(np.arange(5))
    >>> def order(seed):
    ...     return [x[0] for x, *_ in seeded_batches(dataset.iterbatches(1), seed)]
    >>> order((0, 1)) == order((0, 1)), order((0, 1)) == order((0, 2))
    (True, False)
    """
    source = iter(batches)
    own = np.random.RandomState([s % 2**32 for s in seed]).get_state()
    while True:
        theirs = np.random.get_state()
        np.random.set_state(own)
        try:
            batch = next(source, None)
        finally:
            own = np.random.get_state()
            np.random.set_state(theirs)
        if batch is None:
            return
        yield batch
