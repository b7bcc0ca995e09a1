"""What all ``load_*`` functions do: read, split, cache, and hand over in MoleculeNet's form."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import deepchem as dc
import numpy as np
from deepchem.molnet.load_function.molnet_loader import _MolnetLoader

from deepchem_dft import __version__
from deepchem_dft.data import DFTEntry, DFTFeaturizer, DFTYamlLoader, arrays
from deepchem_dft.data.loader import TASKS
from deepchem_dft.errors import InputError
from deepchem_dft.molnet.cache import code_digest, default_save_dir, made_once
from deepchem_dft.molnet.location import find_file
from deepchem_dft.molnet.splitter import PublishedSplitter

logger = logging.getLogger(__name__)

Loaded = tuple[list[str], tuple[dc.data.Dataset, ...], list[Any]]
Choose = Callable[[list[DFTEntry]], list[DFTEntry]]

#: Splitters that may be named; the other MoleculeNet names need SMILES or class labels.
SPLITTERS: dict[str, type[dc.splits.Splitter]] = {
    "published": PublishedSplitter,
    "index": dc.splits.IndexSplitter,
    "random": dc.splits.RandomSplitter,
}
_PARTS = ("train", "valid", "test")


class DFTLoader(_MolnetLoader):
    """MoleculeNet's loader for data sets of `DFTEntry` objects.

    Parameters
    ----------
    name : str
        Name of the data set, for the cache.
    files : sequence of str
        The data files it is made of.
    choose : callable
        Takes the entries of all files, returns those of the data set.
    featurizer : None, "dft" or DFTFeaturizer
    splitter : None, str or Splitter
    transformers : sequence
        Must be empty.
    data_dir, save_dir : path, optional
        Where the YAML files are; where data sets are cached.
    options : mapping
        Everything the entries depend on besides the files.
    """

    def __init__(
        self, name: str, files: Sequence[str], choose: Choose, *, featurizer: Any, splitter: Any,
        transformers: Any, data_dir: str | None, save_dir: str | None, options: dict[str, Any],
    ) -> None:
        _refuse_transformers(transformers)
        self.name, self.choose, self.options = name, choose, options
        self.files = [find_file(file, data_dir) for file in files]
        # A splitter or featurizer object may carry state that no cache key can see.
        self.cacheable = (splitter is None or isinstance(splitter, str)) and not isinstance(
            featurizer, DFTFeaturizer)
        super().__init__(
            _featurizer(featurizer), _splitter(splitter), [], list(TASKS),
            str(self.files[0].parent), str(save_dir or default_save_dir()))

    def create_dataset(self) -> dc.data.DiskDataset:
        """Return all entries as one data set in a temporary folder."""
        return _write(self._entries(), None)

    def load_dataset(self, name: str | None = None, reload: bool = True) -> Loaded:
        """Return the data set in MoleculeNet's form.

        Parameters
        ----------
        name : str, optional
            Accepted for the sake of the base class.
        reload : bool
            Keep the data sets in ``save_dir`` and take them from there the next time.

        Returns
        -------
        tuple
            Tasks, (train, valid, test) or (all,), transformers (none).
        """
        if reload and self.cacheable:
            try:
                return self._cached()
            except OSError as error:  # a folder that cannot be written, a full disk
                logger.warning("%s is not cached in %s: %s", self.name, self.save_dir, error)
        folder = Path(tempfile.mkdtemp())
        self._make(folder)
        return self._open(folder)

    def _entries(self) -> list[DFTEntry]:
        loader = DFTYamlLoader(self.featurizer)
        entries = self.choose(loader.read([str(file) for file in self.files]))
        if not entries:
            raise InputError(f"no entry of {self.name} fits the options", field="options",
                             remedy=f"leave some out of {_text(self.options)}")
        return entries

    def _parts(self) -> tuple[str, ...]:
        return ("all",) if self.splitter is None else _PARTS

    def _make(self, folder: Path) -> None:
        entries = self._entries()
        if self.splitter is None:
            _write(entries, folder / "all")
            return
        # Splitters look at X, y and ids only; a data set in memory spares them the disk.
        everything = dc.data.NumpyDataset(*arrays(entries))
        for part, indices in zip(_PARTS, self.splitter.split(everything), strict=True):
            _write([entries[int(i)] for i in indices], folder / part)

    def _cached(self) -> Loaded:
        home = Path(self.save_dir) / f"{self.name}-featurized"
        return made_once(home, self._key(), self._make, self._open)

    def _key(self) -> str:
        """Hash of everything the cached data sets depend on, the code that made them included."""
        digest = hashlib.sha256(json.dumps(
            [__version__, type(self.splitter).__name__, self.options], sort_keys=True,
            default=str).encode())
        digest.update(code_digest())
        for file in self.files:
            digest.update(file.read_bytes())
        return digest.hexdigest()[:20]

    def _open(self, folder: Path) -> Loaded:
        datasets = tuple(dc.data.DiskDataset(str(folder / part)) for part in self._parts())
        return list(self.tasks), datasets, []


def _write(entries: list[DFTEntry], folder: Path | None) -> dc.data.DiskDataset:
    shards = [arrays(entries)] if entries else [_EMPTY]
    return dc.data.DiskDataset.create_dataset(
        shards, None if folder is None else str(folder), list(TASKS))


_EMPTY = (np.empty(0, dtype=object), np.empty((0, 1)), np.empty((0, 1)), np.empty(0, dtype=str))


def _text(options: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in options.items())


def _featurizer(featurizer: Any) -> DFTFeaturizer:
    if featurizer is None or (isinstance(featurizer, str) and featurizer.lower() == "dft"):
        return DFTFeaturizer()
    if isinstance(featurizer, DFTFeaturizer):
        return featurizer
    raise InputError(f"{featurizer!r} does not make entries", field="featurizer",
                     remedy='use featurizer="dft"')


def _splitter(splitter: Any) -> dc.splits.Splitter | None:
    if splitter is None or isinstance(splitter, dc.splits.Splitter):
        return splitter
    if isinstance(splitter, str) and splitter.lower() in SPLITTERS:
        return SPLITTERS[splitter.lower()]()
    raise InputError(f"unknown splitter {splitter!r}", field="splitter",
                     remedy=f"use one of {', '.join(SPLITTERS)}, a DeepChem Splitter that needs no "
                     "SMILES, or None for one data set")


def _refuse_transformers(transformers: Any) -> None:
    if transformers is None or (isinstance(transformers, (list, tuple)) and not transformers):
        return
    raise InputError(
        "entries cannot be transformed: their values must stay in Hartree, to be compared with "
        "combinations of total energies", field="transformers", remedy="use transformers=[]")
