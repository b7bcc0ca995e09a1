"""What all ``load_*`` functions do: read, split (as published, too), hand over in MoleculeNet's form."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import deepchem as dc
import numpy as np
from deepchem.molnet.load_function.molnet_loader import _MolnetLoader

from deepchem_dft.data import DFTEntry, DFTFeaturizer, DFTYamlLoader, arrays
from deepchem_dft.data.loader import TASKS
from deepchem_dft.errors import InputError
from deepchem_dft.molnet.location import find_file
from deepchem_dft.molnet.stored import disk_dataset, private_folder


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


Loaded = tuple[list[str], tuple[dc.data.Dataset, ...], list[Any]]
Choose = Callable[[list[DFTEntry]], list[DFTEntry]]

#: Splitters that may be named; the other MoleculeNet names need SMILES or class labels.
SPLITTERS: dict[str, type[dc.splits.Splitter]] = {
    "published": PublishedSplitter,
    "index": dc.splits.IndexSplitter,
    "random": dc.splits.RandomSplitter,
}
#: Those of DeepChem that read SMILES from the ids of a data set. The ids of entries are their names:
#: radicals, ions and stretched bonds have no SMILES that RDKit and a calculation would agree on.
BY_SMILES = (
    dc.splits.ScaffoldSplitter,
    dc.splits.ButinaSplitter,
    dc.splits.FingerprintSplitter,
    dc.splits.MaxMinSplitter,
    dc.splits.MolecularWeightSplitter,
)
#: Arguments of all loaders; what else one takes chooses or changes entries.
_COMMON = ("featurizer", "splitter", "transformers", "data_dir", "save_dir")
_PARTS = ("train", "valid", "test")
_SEED = 0


def passed_on(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return what a `DFTLoader` is made with, of all arguments of a ``load_*`` function."""
    options = {key: value for key, value in arguments.items() if key not in (*_COMMON, "reload")}
    return {"options": options, **{key: arguments[key] for key in _COMMON}}


class DFTLoader(_MolnetLoader):
    """MoleculeNet's loader for data sets of `DFTEntry` objects.

    Parameters
    ----------
    name : str
        Name of the data set, for messages.
    files : sequence of str
        The data files it is made of.
    choose : callable
        Takes the entries of all files, returns those of the data set.
    featurizer : None, "dft" or DFTFeaturizer
    splitter : None, str or Splitter
    transformers : sequence
        Must be empty.
    data_dir, save_dir : path, optional
        Where the YAML files are; the other is accepted for MoleculeNet's sake.
    options : mapping
        Everything the entries depend on besides the files, for messages.
    """

    def __init__(
        self,
        name: str,
        files: Sequence[str],
        choose: Choose,
        *,
        featurizer: Any,
        splitter: Any,
        transformers: Any,
        data_dir: str | None,
        save_dir: str | None,
        options: dict[str, Any],
    ) -> None:
        _refuse_transformers(transformers)
        self.name, self.choose, self.options = name, choose, options
        self.files = [find_file(file, data_dir) for file in files]
        # A splitter of the user's own brings its own seed.
        self.seeded = {"seed": _SEED} if isinstance(splitter, str) else {}
        folder = str(self.files[0].parent)
        super().__init__(
            _featurizer(featurizer), _splitter(splitter), [], list(TASKS), folder, save_dir or folder
        )

    def create_dataset(self) -> dc.data.DiskDataset:
        """Return all entries as one data set."""
        return _write(self._entries(), private_folder() / "all")

    def load_dataset(self, name: str | None = None, reload: bool = True) -> Loaded:
        """Return the data set in MoleculeNet's form.

        Parameters
        ----------
        name, reload : optional
            Accepted for the sake of the base class. The files are read each time, which takes a
            second at most: a data set on disk would hold pickles, which run code.

        Returns
        -------
        tuple
            Tasks, (train, valid, test) or (all,), transformers (none).
        """
        entries, folder = self._entries(), private_folder()
        if self.splitter is None:
            return list(self.tasks), (_write(entries, folder / "all"),), []
        # Splitters look at X, y and ids only; a data set in memory spares them the disk.
        everything = dc.data.NumpyDataset(*arrays(entries))
        indices = self.splitter.split(everything, **self.seeded)
        parts = tuple(
            _write([entries[int(i)] for i in chosen], folder / part)
            for part, chosen in zip(_PARTS, indices, strict=True)
        )
        return list(self.tasks), parts, []

    def _entries(self) -> list[DFTEntry]:
        loader = DFTYamlLoader(self.featurizer)
        entries = self.choose(loader.read([str(file) for file in self.files]))
        if not entries:
            raise self.nothing_left()
        return entries

    def nothing_left(self) -> InputError:
        """Return the error that no entry fits the options."""
        return InputError(
            f"no entry of {self.name} fits the options",
            field="options",
            remedy=f"leave some out of {_text(self.options)}",
        )


def _write(entries: list[DFTEntry], folder: Path) -> dc.data.DiskDataset:
    return disk_dataset(iter([arrays(entries) if entries else _EMPTY]), folder, TASKS)


_EMPTY = (np.empty(0, dtype=object), np.empty((0, 1)), np.empty((0, 1)), np.empty(0, dtype=str))


def _text(options: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in options.items())


def _featurizer(featurizer: Any) -> DFTFeaturizer:
    if featurizer is None or (isinstance(featurizer, str) and featurizer.lower() == "dft"):
        return DFTFeaturizer()
    if isinstance(featurizer, DFTFeaturizer):
        return featurizer
    raise InputError(
        f"{featurizer!r} does not make entries", field="featurizer", remedy='use featurizer="dft"'
    )


def _splitter(splitter: Any) -> dc.splits.Splitter | None:
    if isinstance(splitter, BY_SMILES) or splitter in ("scaffold", "butina", "fingerprint"):
        kind = splitter if isinstance(splitter, str) else type(splitter).__name__
        raise InputError(
            f"'{kind}' sorts molecules by SMILES, and entries of calculations have none",
            field="splitter",
            remedy=f"use one of {', '.join(SPLITTERS)}, DeepChem's RandomGroupSplitter (groups of your own) "
            "or SpecifiedSplitter, or None for one data set; molecules given as SMILES "
            "(load_nci, load_labelled) are split by scaffold as they are loaded",
        )
    if splitter is None or isinstance(splitter, dc.splits.Splitter):
        return splitter
    if isinstance(splitter, str) and splitter.lower() in SPLITTERS:
        return SPLITTERS[splitter.lower()]()
    raise InputError(
        f"unknown splitter {splitter!r}",
        field="splitter",
        remedy=f"use one of {', '.join(SPLITTERS)}, a DeepChem Splitter that needs no "
        "SMILES, or None for one data set",
    )


def _refuse_transformers(transformers: Any) -> None:
    if transformers is None or (isinstance(transformers, (list, tuple)) and not transformers):
        return
    raise InputError(
        "entries cannot be transformed: their values must stay in Hartree, to be compared with "
        "combinations of total energies",
        field="transformers",
        remedy="use transformers=[]",
    )
