"""Kinds of input a model may have: how data sets of them become batches, and cells for them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from deepchem_dft.errors import InputError
from deepchem_dft.property.cells import Cell, DenseCell, GraphCell, ImageCell
from deepchem_dft.property.graphs import GraphBatch, collate

#: Widths of what ``MolGraphConvFeaturizer(use_edges=True)`` and ``CircularFingerprint`` make.
ATOM_FEATURES, EDGE_FEATURES, FINGERPRINT, PICTURE = 30, 11, 2048, (3, 32, 32)


class Kind(Protocol):
    """One kind of input."""

    @property
    def n_features(self) -> int | tuple[int, ...]:
        """Features per atom, length of the vectors, or shape of the pictures."""

    def cell(self, width: int, layers: int, bound: float | None, pooling: tuple[str, ...]) -> Cell:
        """Return a new cell for it."""

    def batch(self, x: np.ndarray, names: Sequence[Any] | None = None) -> Any:
        """Return a batch of the X of a data set, whose samples are called so in errors."""

    def move(self, batch: Any, device: torch.device, dtype: torch.dtype) -> Any:
        """Return it on a device."""

    def fit_scales(self, cell: Any, dataset: Any, batch_size: int) -> None:
        """Let the cell learn the scale of its input from a data set, if it does not know it."""


class Graphs:
    """Molecules and crystals as DeepChem's ``GraphData``."""

    def __init__(self, n_features: Any, n_edge_features: int, n_global_features: int) -> None:
        n_features = ATOM_FEATURES if n_features is None else int(n_features)
        self.sizes = (n_features, n_edge_features, n_global_features)
        self._with_pairs = False

    @property
    def n_features(self) -> int:
        """Features per atom."""
        return self.sizes[0]

    def cell(self, width: int, layers: int, bound: float | None, pooling: tuple[str, ...]) -> Cell:
        """Return a new :class:`GraphCell`."""
        self._with_pairs = "pairs" in pooling
        return GraphCell(*self.sizes, width=width, layers=layers, bound=bound, pooling=pooling)

    def batch(self, x: np.ndarray, names: Sequence[Any] | None = None) -> GraphBatch:
        """Return the graphs as one."""
        return collate(list(x), *self.sizes, names=names, with_pairs=self._with_pairs)

    def move(self, batch: GraphBatch, device: torch.device, dtype: torch.dtype) -> GraphBatch:
        """Return the batch on a device."""
        return batch.to(device, dtype)

    def fit_scales(self, cell: Any, dataset: Any, batch_size: int) -> None:
        """Learn the scale of the global features."""
        if self.sizes[2] and not cell.standardize.known:
            cell.standardize.fit(b.overall for b in _batches(self.batch, dataset, batch_size))


class Vectors:
    """Fingerprints and descriptors."""

    def __init__(self, n_features: Any, n_edge_features: int, n_global_features: int) -> None:
        self.size = FINGERPRINT if n_features is None else int(n_features)

    @property
    def n_features(self) -> int:
        """Length of the vectors."""
        return self.size

    def cell(self, width: int, layers: int, bound: float | None, pooling: tuple[str, ...]) -> Cell:
        """Return a new :class:`DenseCell`."""
        return DenseCell(self.size, width, layers, bound)

    def batch(self, x: np.ndarray, names: Sequence[Any] | None = None) -> Tensor:
        """Return a matrix (B, n_features); NaN is allowed."""
        return _array(x, (self.size,))

    def move(self, batch: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Return the batch on a device."""
        return batch.to(device, dtype)

    def fit_scales(self, cell: Any, dataset: Any, batch_size: int) -> None:
        """Learn the scale of every feature."""
        if not cell.standardize.known:
            cell.standardize.fit(_batches(self.batch, dataset, batch_size))


class Images:
    """Pictures of shape (channels, height, width)."""

    def __init__(self, n_features: Any, n_edge_features: int, n_global_features: int) -> None:
        shape = PICTURE if n_features is None else n_features
        if isinstance(shape, int) or len(shape) != 3:
            raise InputError(
                f"{shape} is not the shape of a picture",
                field="n_features",
                remedy="give (channels, height, width)",
            )
        self.shape = tuple(int(s) for s in shape)

    @property
    def n_features(self) -> tuple[int, ...]:
        """Shape of the pictures."""
        return self.shape

    def cell(self, width: int, layers: int, bound: float | None, pooling: tuple[str, ...]) -> Cell:
        """Return a new :class:`ImageCell`."""
        return ImageCell(self.shape, width, layers, bound)

    def batch(self, x: np.ndarray, names: Sequence[Any] | None = None) -> Tensor:
        """Return a tensor (B, channels, height, width)."""
        batch = _array(x, self.shape)
        bad = ~torch.isfinite(batch).flatten(1).all(1)
        if bad.any():
            row = int(bad.nonzero()[0])
            raise InputError(
                "a pixel is not a number", field="X", entry=str(row if names is None else names[row])
            )
        return batch

    def move(self, batch: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Return the batch on a device."""
        return batch.to(device, dtype)

    def fit_scales(self, cell: Any, dataset: Any, batch_size: int) -> None:
        """Do nothing: pictures are normalised one by one."""


#: Kinds of input by the name of their cell.
KINDS: dict[str, Callable[[Any, int, int], Kind]] = {"graph": Graphs, "fingerprint": Vectors, "image": Images}


def _has_edges(graph: Any) -> bool:
    return getattr(graph, "edge_index", None) is not None and graph.edge_index.shape[1] > 0


def described(x: np.ndarray) -> dict[str, Any]:
    """Return which cell the X of a data set is for and what sizes it has, as arguments of ``DEQModel``.

    Raises
    ------
    InputError
        If it is neither graphs, vectors nor pictures.

    Examples
    --------
    >>> described(np.zeros((5, 7)))
    {'cell': 'fingerprint', 'n_features': 7}
    """
    x = np.asarray(x)
    first: Any = x.flat[0] if x.size else None
    if hasattr(first, "node_features"):
        found = {"cell": "graph", "n_features": int(first.node_features.shape[1])}
        # an atom alone does not say how wide the features of its edges would be
        bonded = [graph.edge_features for graph in x.flat if _has_edges(graph)]
        if bonded:
            found["n_edge_features"] = 0 if bonded[0] is None else int(bonded[0].shape[1])
        return found
    if x.dtype != object and x.ndim == 2:
        return {"cell": "fingerprint", "n_features": int(x.shape[1])}
    if x.dtype != object and x.ndim == 4:
        return {"cell": "image", "n_features": tuple(int(n) for n in x.shape[1:])}
    raise InputError(
        f"samples of {type(first).__name__}, shape {x.shape[1:]}, are neither graphs, vectors nor pictures",
        field="X",
        remedy="use a featurizer such as MolGraphConvFeaturizer(use_edges=True) or CircularFingerprint()",
    )


def sample_names(x: np.ndarray, ids: Sequence[Any]) -> list[tuple[str, int]]:
    """Return what tells samples apart: identifiers, and atoms whatever their bonds, or the numbers.

    Examples
    --------
    >>> one, other = sample_names(np.array([[0.5], [0.6]]), ["a", "a"])
    >>> one[0], one == other
    ('a', False)
    """
    contents = (np.ascontiguousarray(getattr(one, "node_features", one), dtype=float) for one in x)
    return [(str(name), crc32(content.tobytes())) for name, content in zip(ids, contents)]


def _array(x: np.ndarray, shape: tuple[int, ...]) -> Tensor:
    try:
        array = np.asarray(x, dtype=float)
    except (TypeError, ValueError):
        raise InputError(
            "the samples are not arrays of numbers of one shape",
            field="X",
            remedy="choose the cell that fits the featurizer",
        ) from None
    if array.shape[1:] != shape:
        raise InputError(
            f"samples of shape {array.shape[1:]}, where the model expects {shape}",
            field="X",
            remedy="build the model with n_features="
            f"{array.shape[1] if array.ndim == 2 else array.shape[1:]}",
        )
    return torch.from_numpy(array)


def _batches(batch: Callable[[np.ndarray, Any], Any], dataset: Any, batch_size: int) -> Iterator[Any]:
    for x, _, _, ids in dataset.iterbatches(batch_size, deterministic=True):
        yield batch(x, ids)
