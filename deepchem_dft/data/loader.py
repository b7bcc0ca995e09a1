"""DeepChem's data loader for YAML files of energies and densities."""

import copy
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from numbers import Integral
from pathlib import Path

import numpy as np
from deepchem.data import DataLoader, DiskDataset

from deepchem_dft.data.entry import DFTEntry
from deepchem_dft.data.featurizer import DFTFeaturizer, object_array
from deepchem_dft.data.reading.reader import PathLike, advice, collect, find_files, read_document
from deepchem_dft.errors import InputError

#: The single task of a data set of entries.
TASKS = ["energy"]


class DFTYamlLoader(DataLoader):
    """Make a DeepChem data set of YAML files.

    Parameters
    ----------
    featurizer : DFTFeaturizer, optional
    log_every_n : int

    Examples
    --------
    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "h2.yaml").write_text('''
    ... format: deepchem_dft/1
    ... defaults: {basis: sto-3g, unit: angstrom, energy_unit: kcal/mol}
    ... systems: {h2: "H 0 0 0; H 0 0 0.7414"}
    ... entries: [{name: H2, type: ae, value: 109.5, molecule: h2, atoms: auto}]
    ... ''')
    >>> dataset = DFTYamlLoader().create_dataset(folder / "h2.yaml")
    >>> dataset.X
    array([DFTEntry(ae 'H2': -E(H2) + 2 E(H) = 0.174499 Ha)], dtype=object)
    >>> dataset.y.round(3), list(dataset.ids)
    (array([[0.174]]), ['H2'])
    """

    def __init__(self, featurizer: DFTFeaturizer | None = None, log_every_n: int = 1000) -> None:
        featurizer = DFTFeaturizer() if featurizer is None else featurizer
        if not isinstance(featurizer, DFTFeaturizer):
            raise InputError(
                f"{type(featurizer).__name__} does not make entries",
                field="featurizer",
                remedy="use DFTFeaturizer, or leave it out",
            )
        super().__init__(list(TASKS), featurizer, log_every_n=log_every_n)

    def create_dataset(
        self,
        inputs: PathLike | Sequence[PathLike],
        data_dir: str | None = None,
        shard_size: int | None = None,
    ) -> DiskDataset:
        """Read files into a data set on disk.

        Parameters
        ----------
        inputs : path, glob pattern, folder, or a list of them
            YAML files in any of the three schemas.
        data_dir : str, optional
            Folder of the data set; a temporary one by default.
        shard_size : int, optional
            Entries per shard; all in one by default, so that batches mix the whole set.

        Returns
        -------
        DiskDataset
            ``X`` (N,) of `DFTEntry`; ``y`` (N, 1) in Hartree, 0 for dm and dens; ``w`` (N, 1) the
            weights; ``ids`` the names, with the file's in front where two files share a name.

        Raises
        ------
        InputError
            The first problem, naming file, entry, field and remedy. Nothing is written then.
        """
        whole = isinstance(shard_size, Integral) and not isinstance(shard_size, bool)
        if shard_size is not None and not (whole and shard_size > 0):
            raise InputError(
                f"shard_size {shard_size} is not possible",
                field="shard_size",
                remedy="give a number of at least 1, or None for one shard",
            )
        entries = self.read(inputs)
        shards = self._shards(entries, shard_size or len(entries))
        return DiskDataset.create_dataset(shards, None if data_dir is None else str(data_dir), self.tasks)

    def read(self, inputs: PathLike | Sequence[PathLike]) -> list[DFTEntry]:
        """Return the entries of files as a list, with unique names; see `create_dataset`."""
        groups: list[tuple[str, list[DFTEntry]]] = []
        for file in find_files(inputs):
            document = read_document(file)
            entries, problems = collect(document, self.featurizer.featurize_one)
            if problems:
                raise problems[0]
            for message in advice(entries):
                warnings.warn(f"{file}: {message}", stacklevel=3)
            groups.append((file, entries))
        return unique_names(groups)

    @staticmethod
    def _shards(entries: list[DFTEntry], size: int) -> Iterator[tuple[np.ndarray, ...]]:
        for start in range(0, len(entries), size):
            yield arrays(entries[start : start + size])


def arrays(entries: Sequence[DFTEntry]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return X, y, w and ids of some entries, as DeepChem's data sets take them.

    Examples
    --------
    >>> import deepchem as dc
    >>> he = {"moldesc": "He 0 0 0", "basis": "sto-3g"}
    >>> dc.data.NumpyDataset(*arrays([DFTEntry.create("energy", -2.9, [he])])).y
    array([[-2.9]])
    """
    entries = list(entries)
    return (
        object_array(entries),
        np.array([[e.label] for e in entries], dtype=np.float64),
        np.array([[e.get_weight()] for e in entries], dtype=np.float64),
        np.array([e.name for e in entries]),
    )


def unique_names(groups: Sequence[tuple[str, list[DFTEntry]]]) -> list[DFTEntry]:
    """Join the entries of several files; those that share a name get the file's in front."""
    counts = Counter(entry.name for _, entries in groups for entry in entries)
    out: list[DFTEntry] = []
    taken: set[str] = set()
    for file, entries in groups:
        for original in entries:
            entry = copy.copy(original)
            if counts[entry.name] > 1:
                entry.name = f"{Path(file).stem}/{original.name}"
                if entry.name in taken:
                    entry.name = f"{Path(file).resolve().parent.name}/{entry.name}"
                base, count = entry.name, 2
                while entry.name in taken:
                    entry.name, count = f"{base}-{count}", count + 1
            taken.add(entry.name)
            out.append(entry)
    return out
