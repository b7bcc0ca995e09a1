"""Entries, labels and weights taken out of a DeepChem Dataset, checked and in float64."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from deepchem.data import Dataset, NumpyDataset
from torch import Tensor

from deepchem_dft import parallel
from deepchem_dft.errors import InputError
from deepchem_dft.fitting.ordering import column


@dataclass(frozen=True)
class Samples:
    """A data set in memory.

    Attributes
    ----------
    entries : list of DFTEntry
    target, weight : Tensor, shape (N, 1), float64
        Hartree for energies, 0 for ``dm`` and ``dens``.
    """

    entries: list[Any]
    target: Tensor
    weight: Tensor

    def __len__(self) -> int:
        return len(self.entries)

    def take(self, index: Sequence[int]) -> "Samples":
        """Return some of the entries, in the order given."""
        chosen = list(index)
        rows = torch.as_tensor(chosen, dtype=torch.long)
        return Samples([self.entries[i] for i in chosen], self.target[rows], self.weight[rows])


def read_samples(dataset: Dataset, device: torch.device | str = "cpu") -> Samples:
    """Read a whole data set, whose labels must be those of its entries.

    Raises
    ------
    InputError
        If it is empty, holds something other than ``DFTEntry``, or its labels were transformed.
    """
    entries = check_entries(dataset.X)
    if not entries:
        raise InputError("the data set has no entries", remedy="check the file it was made from")
    n = len(entries)
    target, weight = column(dataset.y, n, "labels"), column(dataset.w, n, "weights")
    for entry, value in zip(entries, target, strict=True):
        expected = float(np.ravel(entry.get_true_val())[0]) if entry.is_energy else 0.0
        if not abs(value[0] - expected) <= 1e-6 * max(1.0, abs(expected)):
            raise InputError(
                f"the data set's label is {value[0]:.8g} where the entry says {expected:.8g} Ha",
                entry=entry_name(entry),
                field="y",
                remedy="do not transform y: predictions are in Hartree. To train on other "
                "values, create the entries with them",
            )
    return Samples(entries, torch.as_tensor(target, device=device), torch.as_tensor(weight, device=device))


def check_entries(values: Any) -> list[Any]:
    """Return ``values`` as a list after checking that all are entries."""
    entries = list(values)
    for number, entry in enumerate(entries):
        if not (hasattr(entry, "get_systems") and hasattr(entry, "entry_type")):
            raise InputError(
                f"X holds a {type(entry).__name__} where a DFTEntry is needed",
                entry=str(number + 1),
                field="X",
                remedy="make the data set with DFTYamlLoader, or X from DFTEntry.create",
            )
    return entries


def check_same_entries(entries: Sequence[Any]) -> None:
    """Raise ``InputError`` if several processes were given different entries."""
    if parallel.world_size() > 1:
        text = repr(
            [(entry.entry_type, [s.key for s in entry.get_systems()], entry.label) for entry in entries]
        )
        parallel.check_same("entries", hashlib.sha256(text.encode()).hexdigest())


def entry_name(entry: Any) -> str:
    """Return an entry's name, or its type and systems if it has none."""
    name = getattr(entry, "name", None)
    if name:
        return str(name)
    return f"{entry.entry_type} of {', '.join(s.name for s in entry.get_systems())}"


def make_dataset(entries: Sequence[Any]) -> NumpyDataset:
    """Return a data set of entries: y (N, 1) Hartree, w (N, 1), ids the names."""
    X = np.empty(len(entries), dtype=object)
    X[:] = list(entries)
    y = np.array([[e.label] for e in entries], dtype=np.float64)
    w = np.array([[e.get_weight()] for e in entries], dtype=np.float64)
    return NumpyDataset(X, y, w, ids=[e.name for e in entries])


def unique_systems(entries: Iterable[Any]) -> list[Any]:
    """Return the systems of entries, each once, in order of appearance."""
    return list({s.key: s for e in entries for s in e.get_systems()}.values())
