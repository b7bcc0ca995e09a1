"""Samples on their way into a model: labels and weights checked, in an order fixed by a seed."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from deepchem_dft.errors import InputError


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


def batches(order: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Cut ``order`` into batches; the last may be smaller, none is padded.

    Examples
    --------
    >>> [batch.tolist() for batch in batches(np.arange(5), 2)]
    [[0, 1], [2, 3], [4]]
    """
    for start in range(0, len(order), size):
        yield order[start : start + size]


def epoch_order(n: int, seed: int, epoch: int, deterministic: bool = False) -> np.ndarray:
    """Return the order of the entries in an epoch, from the seed and the epoch's number alone.

    A run that is resumed therefore sees what an uninterrupted one sees.

    Examples
    --------
    >>> bool((epoch_order(9, seed=1, epoch=4) == epoch_order(9, seed=1, epoch=4)).all())
    True
    """
    if deterministic:
        return np.arange(n)
    return np.random.default_rng([seed, epoch]).permutation(n)


def column(values: Any, n: int, what: str) -> np.ndarray:
    """Return labels or weights as an (n, 1) float64 array.

    Raises
    ------
    InputError
        If they are not n finite numbers.
    """
    try:
        array = np.asarray(values, dtype=np.float64).reshape(n, -1)
    except (TypeError, ValueError):
        raise InputError(f"the {what} are not {n} numbers", field=what) from None
    if array.shape[1] != 1 or not np.isfinite(array).all():
        raise InputError(
            f"the {what} have shape {np.shape(values)} or are not all finite",
            field=what,
            remedy=f"give one finite number for each of the {n} entries",
        )
    return array


def unwrap(values: Any) -> Any:
    """Take DeepChem's one-element list off a batch's inputs, labels or weights."""
    if isinstance(values, (list, tuple)) and len(values) == 1:
        inner = values[0]
        return inner if isinstance(inner, (list, tuple, np.ndarray, Tensor)) else values
    return values


def refuse_transformers(transformers: Sequence[Any]) -> None:
    """Raise if a transformer changes labels.

    Raises
    ------
    InputError
        Predictions are energies in Hartree that come out of a self-consistent field; a functional
        cannot be trained on scaled ones.
    """
    for transformer in transformers:
        if getattr(transformer, "transform_y", True):
            raise InputError(
                f"{type(transformer).__name__} transforms labels, which XCModel cannot work with: "
                "its predictions are in Hartree",
                field="transformers",
                remedy="use transformers=[] and the untransformed data set; scale the loss with "
                "loss_unit or type_weights instead",
            )
