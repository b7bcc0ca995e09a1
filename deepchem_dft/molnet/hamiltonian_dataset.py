"""Hamiltonians as a DeepChem data set that reads samples from their file when they are needed."""

from collections.abc import Iterator, Sequence
from typing import Any

import deepchem as dc
import numpy as np

from deepchem_dft.data.featurizer import object_array
from deepchem_dft.hamiltonian.files.source import SampleSource
from deepchem_dft.hamiltonian.sample import MATRICES, HamiltonianSample

#: Samples are kept once they are read, up to so many bytes in all.
MEMORY = 1 << 30


class _Kept:
    """The samples of a file, and those of them that fit into memory."""

    def __init__(self, source: SampleSource, memory: int) -> None:
        self.source, self.left = source, memory
        self.samples: dict[int, HamiltonianSample] = {}

    def __getitem__(self, row: int) -> HamiltonianSample:
        sample = self.samples.get(row)
        if sample is None:
            sample = self.source[row]
            # What networks add to a sample later (guess, core) counts as well.
            size = len(MATRICES) * 8 * sample.nao**2
            if size <= self.left:
                self.left -= size
                self.samples[row] = sample
        return sample

    def __getstate__(self) -> dict:
        freed = sum(len(MATRICES) * 8 * s.nao**2 for s in self.samples.values())
        return {"source": self.source, "left": self.left + freed, "samples": {}}


class HamiltonianDataset(dc.data.Dataset):
    """A data set of `HamiltonianSample` objects.

    ``X`` holds the samples, ``y`` (n, 1) their total energies in Hartree (nan where a file has
    none), ``w`` ones, ``ids`` their names. Iterating reads what it needs; `X` reads everything.

    Parameters
    ----------
    source : SampleSource
        The file.
    energies : np.ndarray
        (m,) of all samples of the file, Hartree.
    names : np.ndarray
        (m,) of str.
    rows : sequence of int, optional
        Which samples of the file, in which order; all by default.
    memory : int
        Bytes of samples that are kept once they are read. Data sets that `select` makes share it.
    """

    def __init__(
        self,
        source: SampleSource,
        energies: np.ndarray,
        names: np.ndarray,
        rows: Sequence[int] | np.ndarray | None = None,
        memory: int = MEMORY,
    ) -> None:
        chosen = np.arange(len(source)) if rows is None else np.asarray(rows, dtype=np.int64)
        self.source, self.energies, self.names = source, energies, names
        self.rows, self._kept = chosen, _Kept(source, memory)
        # DeepChem's own iteration, over row numbers in place of samples.
        self._table = dc.data.NumpyDataset(
            chosen, energies[chosen].reshape(-1, 1), np.ones((len(chosen), 1)), names[chosen].astype(str)
        )

    def __len__(self) -> int:
        return len(self.rows)

    def get_shape(self) -> tuple:
        """Return the shapes of X, y, w and ids."""
        return self._table.get_shape()

    def get_task_names(self) -> np.ndarray:
        """Return the name of the one column of y."""
        return np.array(["energy"])

    @property
    def X(self) -> np.ndarray:
        """(n,) samples, all of them in memory."""
        return self._samples(self.rows)

    @property
    def y(self) -> np.ndarray:
        """(n, 1) total energies, Hartree."""
        return self._table.y

    @property
    def w(self) -> np.ndarray:
        """(n, 1) ones."""
        return self._table.w

    @property
    def ids(self) -> np.ndarray:
        """(n,) names."""
        return self._table.ids

    def _samples(self, rows: Any) -> np.ndarray:
        found: list[Any] = [self._kept[int(row)] for row in rows]
        return object_array(found)

    def iterbatches(
        self,
        batch_size: int | None = None,
        epochs: int = 1,
        deterministic: bool = False,
        pad_batches: bool = False,
    ) -> Iterator[Any]:
        """Yield ``(X, y, w, ids)`` of a few samples at a time, as any DeepChem data set does."""
        for rows, y, w, ids in self._table.iterbatches(batch_size, epochs, deterministic, pad_batches):
            yield self._samples(rows), y, w, ids

    def itersamples(self) -> Iterator[Any]:
        """Yield ``(x, y, w, id)`` of each sample."""
        for row, y, w, ident in self._table.itersamples():
            yield self._kept[int(row)], y, w, ident

    def select(
        self, indices: Sequence[int] | np.ndarray, select_dir: str | None = None
    ) -> "HamiltonianDataset":
        """Return some of the samples as a data set that reads the same file."""
        rows = self.rows[np.asarray(indices)]
        chosen = HamiltonianDataset(self.source, self.energies, self.names, rows)
        chosen._kept = self._kept
        return chosen

    def transform(self, transformer: dc.trans.Transformer, **args: Any) -> dc.data.NumpyDataset:
        """Return transformed samples, all of them in memory."""
        return dc.data.NumpyDataset(*transformer.transform_array(self.X, self.y, self.w, self.ids))

    def make_pytorch_dataset(
        self, epochs: int = 1, deterministic: bool = False, batch_size: int | None = None
    ) -> Any:
        """Return a PyTorch data set of all samples, which are read into memory."""
        everything = dc.data.NumpyDataset(self.X, self.y, self.w, self.ids)
        return everything.make_pytorch_dataset(epochs, deterministic, batch_size)
