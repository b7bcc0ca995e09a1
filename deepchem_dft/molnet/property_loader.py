"""What the loaders of property data do: stream, split, label, featurize, keep on disk."""

import hashlib
import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import deepchem as dc
import numpy as np
from deepchem.molnet.load_function.molnet_loader import TransformerGenerator, _MolnetLoader
from deepchem.molnet.load_function.molnet_loader import transformers as TRANSFORMERS
from rdkit import rdBase

from deepchem_dft import __version__
from deepchem_dft.data.featurizer import object_array
from deepchem_dft.data.properties.records import OnBad, PropertyRecord
from deepchem_dft.errors import InputError
from deepchem_dft.molecule.cache import reason
from deepchem_dft.molnet.cache import code_digest, default_save_dir, made_once
from deepchem_dft.molnet.property_sets import ClassTransformer, PropertySet, names
from deepchem_dft.molnet.stored import (
    Shard,
    Unstorable,
    disk_dataset,
    private_folder,
    read_shards,
    write_shard,
)

logger = logging.getLogger(__name__)

Loaded = tuple[list[str], tuple[dc.data.Dataset, ...], list[Any]]
#: Samples per file of a data set; what is in memory at a time.
SHARD = 4096
_PARTS = ("train", "valid", "test")
_SEED = 0


class PropertyLoader(_MolnetLoader):
    """MoleculeNet's loader for `PropertyRecord` streams.

    The records are read twice: once for what decides the split and the thresholds, and once to be
    featurized and written, a shard at a time.

    Parameters
    ----------
    kind : PropertySet
    read : callable
        ``read(quantities, bad)`` yields records.
    files : sequence of path
        All that is read, for the cache.
    task : str or sequence of str
        One classification task, or any regression tasks.
    threshold : float, sequence of float or None
        Of a classification task.
    on_bad : {"raise", "skip"}
    featurizer, splitter, transformers, data_dir, save_dir
        As in MoleculeNet.
    options : mapping
        Everything else the records depend on.
    """

    def __init__(
        self,
        kind: PropertySet,
        read: Callable[[list[str], OnBad], Iterator[PropertyRecord]],
        files: Sequence[Path],
        *,
        task: Any,
        threshold: Any,
        on_bad: str,
        featurizer: Any,
        splitter: Any,
        transformers: Any,
        save_dir: str | None,
        options: Mapping[str, Any],
    ) -> None:
        tasks = [task] if isinstance(task, str) else list(task)
        self.kind, self.read, self.files = kind, read, list(files)
        self.class_task, self.quantities = kind.choose(tasks)
        self.bounds = self.class_task.bounds(threshold) if self.class_task else None
        if threshold is not None and not self.class_task:
            raise InputError(
                "only classes have a threshold",
                field="threshold",
                remedy=f"leave it out, or use task={names(kind.classes)}",
            )
        if on_bad not in ("raise", "skip"):
            raise InputError(
                f"on_bad={on_bad!r} is not known", field="on_bad", remedy="use 'raise' or 'skip'"
            )
        self.skip = on_bad == "skip"
        generators = [_generator(t) for t in transformers or ()]
        made = _chosen(featurizer, kind.featurizers, dc.feat.Featurizer, "featurizer")
        split = (
            splitter
            if splitter is None
            else _chosen(splitter, kind.splitters, dc.splits.Splitter, "splitter")
        )
        # A splitter or somebody else's featurizer may carry state that no cache key can see.
        cacheable = (splitter is None or isinstance(splitter, str)) and (
            type(made).__module__.partition(".")[0] in ("deepchem", "deepchem_dft")
        )
        self.options = {**options, "tasks": tasks, "bounds": self.bounds, "skip": self.skip}
        folder, home = str(self.files[0].parent), save_dir or default_save_dir()
        self.home = Path(home) if home and cacheable else None
        super().__init__(made, split, generators, tasks, folder, home or folder)

    def load_dataset(self, name: str | None = None, reload: bool = True) -> Loaded:
        """Return the data sets in MoleculeNet's form.

        Parameters
        ----------
        name : str, optional
            Accepted for the sake of the base class.
        reload : bool
            Keep the data sets in ``save_dir`` and take them from there the next time.
        """
        if reload and self.home is not None:
            try:
                return made_once(
                    self.home / f"{self.kind.name}-featurized", self._key(), self._store, self._opened
                )
            except Unstorable:  # RDKit molecules and crystals as they are
                logger.info("%s is not cached: its features are objects", self.kind.name)
            except OSError as error:  # a folder that cannot be written, a full disk
                logger.warning("%s is not cached in %s: %s", self.kind.name, self.home, reason(error))
        folder = private_folder()
        try:
            drafts, bounds = self._fill(lambda name: _DiskPart(folder / name, self.tasks))
            return self._finished([draft.dataset for draft in drafts], bounds, folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _records(self) -> Iterator[PropertyRecord]:
        self.skipped: list[InputError] = []
        yield from self.read(self.quantities, self._bad)

    def _bad(self, error: InputError) -> None:
        if not self.skip:
            raise error
        self.skipped.append(error)

    def _parts(self) -> tuple[str, ...]:
        return ("all",) if self.splitter is None else _PARTS

    def _fill(self, part: "Callable[[str], _Part]") -> tuple[list[Any], tuple[float, ...] | None]:
        """Read everything into parts; return them, and the bounds of the classes."""
        values, part_of = self._plan()
        bounds = None
        if self.class_task is not None:
            bounds = self.bounds or (float(np.median(values[part_of == 0])),)
            values = ClassTransformer(bounds, self.class_task.classes).numbers(values)
            if len(np.unique(values[part_of == 0])) < 2:
                raise InputError(
                    f"all training samples are in one class at {bounds}",
                    file=str(self.files[0]),
                    field="threshold",
                    remedy="choose another threshold, or None for the median",
                )
        parts = [part(name) for name in self._parts()]
        self._write(parts, values, part_of)
        return parts, bounds

    def _store(self, folder: Path) -> None:
        """Keep the data sets as they are before transformers, which take a moment to make anew."""
        _, bounds = self._fill(lambda name: _StoredPart(folder / name, self.tasks))
        (folder / "bounds.json").write_text(json.dumps(bounds), encoding="utf-8")

    def _opened(self, folder: Path) -> Loaded:
        private = private_folder()
        drafts = [
            disk_dataset(read_shards(folder / part), private / part, self.tasks) for part in self._parts()
        ]
        bounds = json.loads((folder / "bounds.json").read_text(encoding="utf-8"))
        return self._finished(drafts, bounds, private)

    def _finished(
        self, datasets: list[dc.data.DiskDataset], bounds: Sequence[float] | None, folder: Path
    ) -> Loaded:
        transformers: list[Any] = []
        if self.class_task is not None and bounds is not None:
            transformers.append(ClassTransformer(bounds, self.class_task.classes))
        for generator in self.transformers:
            made = generator.create_transformer(datasets[0])
            datasets = [self._transformed(d, made, folder) for d in datasets]
            transformers.append(made)
        return list(self.tasks), tuple(datasets), transformers

    @staticmethod
    def _transformed(dataset: dc.data.DiskDataset, transformer: Any, folder: Path) -> Any:
        if not len(dataset):
            return dataset
        return transformer.transform(dataset, out_dir=tempfile.mkdtemp(dir=folder))

    def _plan(self) -> tuple[np.ndarray, np.ndarray]:
        """Return all values and the part each record goes to (-1 for none)."""
        idents, rows = [], []
        for record in self._records():
            idents.append(record.ident)
            rows.append([record.values[name] for name in self.quantities])
        if not rows:
            raise InputError(
                "there is no record that could be used", file=str(self.files[0]), field="records"
            ) from next(iter(self.skipped), None)
        values = np.array(rows, dtype=np.float64)
        if self.splitter is None:
            return values, np.zeros(len(values), dtype=np.int8)
        part_of = np.full(len(values), -1, dtype=np.int8)
        table = dc.data.NumpyDataset(np.zeros((len(values), 1)), values, ids=np.array(idents))
        for part, indices in enumerate(self.splitter.split(table, seed=_SEED)):
            part_of[np.asarray(indices, dtype=int)] = part
        return values, part_of

    def _write(self, parts: "Sequence[_Part]", values: np.ndarray, part_of: np.ndarray) -> None:
        for record, row, part in zip(self._records(), values, part_of):
            if part < 0:
                continue
            try:
                parts[part].add(self._features(record), row, record.ident)
            except InputError as error:
                self._bad(error.located(file=record.file, entry=record.entry))
        if self.skipped:
            warnings.warn(
                f"{self.kind.name}: {len(self.skipped)} records left out; the first: {self.skipped[0]}",
                stacklevel=2,
            )
        for part in parts:
            part.close()

    def _features(self, record: PropertyRecord) -> Any:
        """Return the features of one record; DeepChem would put an empty array for a failure."""
        name = type(self.featurizer).__name__
        with rdBase.BlockLogs():  # RDKit deprecates what DeepChem calls, a line per molecule
            made = self.featurizer.featurize([record.subject])
        if len(made) == 1 and not (isinstance(made[0], np.ndarray) and made[0].size == 0):
            return made[0]
        try:
            self.featurizer._featurize(record.subject)
            reason = "it returns nothing"
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{name} cannot featurize it ({reason})",
            file=record.file,
            entry=record.entry,
            field="featurizer",
            remedy="choose another featurizer, or leave it out by on_bad='skip'",
        )

    def _key(self) -> str:
        """Hash of everything the cached data sets depend on, the code that made them included."""
        files = [
            path for file in self.files for path in ([file] if file.is_file() else sorted(file.rglob("*")))
        ]
        identity = [(str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
        names = [t.get_directory_name() for t in self.transformers]
        everything = [
            __version__,
            code_digest().hex(),
            _state(self.featurizer),
            names,
            type(self.splitter).__name__,
            self.options,
            identity,
        ]
        text = json.dumps(everything, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:20]


def load_properties(
    kind: PropertySet,
    read: Callable[[list[str], OnBad], Iterator[PropertyRecord]],
    files: Sequence[Path],
    arguments: Mapping[str, Any],
    **options: Any,
) -> Loaded:
    """Load a data set for a function that was called with ``arguments``; see `PropertyLoader`."""
    names = ("task", "threshold", "on_bad", "featurizer", "splitter", "transformers", "save_dir")
    own = {name: arguments[name] for name in names}
    loader = PropertyLoader(kind, read, files, options=options, **own)
    return loader.load_dataset(reload=arguments["reload"])


class _Part:
    """A data set that grows by shards."""

    def __init__(self, tasks: list[str]) -> None:
        self.tasks, self.shards = tasks, 0
        self.rows: list[tuple[Any, np.ndarray, str]] = []

    def add(self, features: Any, labels: np.ndarray, ident: str) -> None:
        self.rows.append((features, labels, ident))
        if len(self.rows) == SHARD:
            self._flush()

    def _flush(self) -> None:
        features = [row[0] for row in self.rows]
        same = bool(features) and all(
            isinstance(f, np.ndarray) and f.shape == features[0].shape for f in features
        )
        y = np.array([row[1] for row in self.rows]).reshape(-1, len(self.tasks))
        self._keep(
            (
                np.stack(features) if same else object_array(features),
                y,
                np.ones_like(y),
                np.array([row[2] for row in self.rows], dtype=str),
            )
        )
        self.shards, self.rows = self.shards + 1, []

    def _keep(self, shard: Shard) -> None:
        raise NotImplementedError

    def close(self) -> None:
        if self.rows or not self.shards:  # an empty part has a shard, too
            self._flush()


class _DiskPart(_Part):
    """DeepChem's data set, in a folder of this process."""

    def __init__(self, folder: Path, tasks: list[str]) -> None:
        super().__init__(tasks)
        self.dataset = dc.data.DiskDataset.create_dataset([], str(folder), tasks)

    def _keep(self, shard: Shard) -> None:
        self.dataset.add_shard(*shard)


class _StoredPart(_Part):
    """Files that execute nothing when they are read."""

    def __init__(self, folder: Path, tasks: list[str]) -> None:
        super().__init__(tasks)
        self.folder = folder
        folder.mkdir()

    def _keep(self, shard: Shard) -> None:
        write_shard(self.folder / f"shard-{self.shards}.npz", shard)


def _state(featurizer: dc.feat.Featurizer) -> list[Any]:
    """Return what tells featurizers apart; ``repr`` fails for some of DeepChem's."""
    plain = (bool, int, float, str, list, tuple, type(None))
    kept = {key: value for key, value in vars(featurizer).items() if isinstance(value, plain)}
    return [type(featurizer).__qualname__, kept]


def _chosen(value: Any, options: Mapping[str, Callable[[], Any]], base: type, field: str) -> Any:
    if isinstance(value, base):
        return value
    if isinstance(value, str) and value.lower() in options:
        return options[value.lower()]()
    raise InputError(
        f"{value!r} is not possible here",
        field=field,
        remedy=f"use one of {', '.join(options)}, or a DeepChem {field.capitalize()}",
    )


def _generator(value: Any) -> TransformerGenerator:
    if isinstance(value, TransformerGenerator):
        return value
    if isinstance(value, str) and value.lower() in TRANSFORMERS:
        return TRANSFORMERS[value.lower()]
    raise InputError(
        f"{value!r} is no transformer",
        field="transformers",
        remedy=f"use {', '.join(TRANSFORMERS)} or a TransformerGenerator",
    )
