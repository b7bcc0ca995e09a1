"""The split written in a data file, as a DeepChem splitter."""

from __future__ import annotations

from typing import Any

import deepchem as dc
import numpy as np

from deepchem_dft.errors import InputError


class PublishedSplitter(dc.splits.Splitter):
    """Split a data set of `DFTEntry` objects by the ``split`` each entry carries.

    Fractions and seeds are ignored: the split is part of the data.

    Raises
    ------
    InputError
        If an entry has no split.

    Examples
    --------
    >>> import deepchem as dc, numpy as np
    >>> from deepchem_dft.data.entry import DFTEntry
    >>> atom = {"moldesc": "He 0 0 0", "basis": "sto-3g"}
    >>> entries = [DFTEntry.create("energy", -2.9, [atom], split=s)
    ...            for s in ("test", "train", "valid", "train")]
    >>> dataset = dc.data.NumpyDataset(np.array(entries, dtype=object), y=np.zeros((4, 1)))
    >>> PublishedSplitter().split(dataset)
    ([1, 3], [2], [0])
    """

    def split(
        self,
        dataset: dc.data.Dataset,
        frac_train: float = 0.8,
        frac_valid: float = 0.1,
        frac_test: float = 0.1,
        seed: int | None = None,
        log_every_n: int | None = None,
    ) -> tuple[list[int], list[int], list[int]]:
        """Return the indices of the train, valid and test entries, in data set order.

        Parameters
        ----------
        dataset : Dataset
            Its ``X`` holds entries with a ``split``.
        frac_train, frac_valid, frac_test, seed, log_every_n
            Accepted for DeepChem's sake and ignored.

        Returns
        -------
        tuple of three lists of int
        """
        parts: dict[str, list[int]] = {"train": [], "valid": [], "test": []}
        entries: np.ndarray = dataset.X
        for index, entry in enumerate(entries):
            name: Any = getattr(entry, "split", None)
            if name not in parts:
                raise InputError(
                    "the entry has no published split",
                    entry=str(getattr(entry, "name", index)),
                    field="split",
                    remedy="use splitter=None or one of DeepChem's, or write split: into the file",
                )
            parts[name].append(index)
        return parts["train"], parts["valid"], parts["test"]
