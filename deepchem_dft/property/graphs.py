"""Many graphs as one: nodes and edges of a batch of molecules or crystals laid end to end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepchem_dft.errors import InputError
from deepchem_dft.property.pooling import pairs_of


@dataclass(frozen=True)
class GraphBatch:
    """The graphs of a batch, without padding.

    Attributes
    ----------
    nodes : Tensor, shape (N, F)
        Features of the nodes (atoms) of all graphs.
    source, target : Tensor of int, shape (E,)
        Each edge runs from a node to a node; a bond is two edges.
    edges : Tensor, shape (E, K)
        Features of the edges; K = 0 where the graphs have none.
    sample : Tensor of int, shape (N,)
        Number of the graph a node belongs to.
    overall : Tensor, shape (B, G)
        Features of the graphs as a whole; G may be 0.
    pairs : Tensor of int, shape (3, P), or None
        All pairs of nodes of one graph with their distance in bonds, if asked for.
    """

    nodes: Tensor
    source: Tensor
    target: Tensor
    edges: Tensor
    sample: Tensor
    overall: Tensor
    pairs: Tensor | None = None

    def __len__(self) -> int:
        return len(self.overall)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "GraphBatch":
        """Return the batch on a device, with features of a type."""
        return GraphBatch(
            self.nodes.to(device, dtype),
            self.source.to(device),
            self.target.to(device),
            self.edges.to(device, dtype),
            self.sample.to(device),
            self.overall.to(device, dtype),
            None if self.pairs is None else self.pairs.to(device),
        )


def collate(
    graphs: Sequence[Any],
    n_features: int,
    n_edge_features: int,
    n_global_features: int = 0,
    names: Sequence[Any] | None = None,
    with_pairs: bool = False,
) -> GraphBatch:
    """Lay graphs end to end.

    Parameters
    ----------
    graphs : sequence of deepchem.feat.GraphData
        As ``MolGraphConvFeaturizer``, ``DMPNNFeaturizer`` or a crystal featurizer make them.
        Several edges between the same two nodes are allowed (neighbouring cells of a crystal), and
        nodes without edges.
    n_features, n_edge_features, n_global_features : int
        Widths expected of ``node_features``, ``edge_features`` and ``global_features``. With
        ``n_edge_features=0`` the features of edges are left aside.
    names : sequence, optional
        What to call the graphs in errors; default their numbers.
    with_pairs : bool
        Whether to work out the distances of nodes.

    Returns
    -------
    GraphBatch
        In float64.

    Raises
    ------
    InputError
        For something that is no graph (DeepChem puts an empty array in the place of a molecule it
        could not featurize), widths that differ, and features that are NaN or infinite.

    Examples
    --------
    >>> import deepchem as dc
    >>> graphs = dc.feat.MolGraphConvFeaturizer(use_edges=True).featurize(["CCO", "CC"])
    >>> batch = collate(graphs, 30, 11)
    >>> batch.nodes.shape, batch.edges.shape, batch.sample.tolist()
    (torch.Size([5, 30]), torch.Size([6, 11]), [0, 0, 0, 1, 1])
    """
    nodes, edges, overall, pairs, distances = [], [], [], [], []
    counts: list[int] = []
    for number, graph in zip(range(len(graphs)) if names is None else names, graphs, strict=True):
        features = _matrix(getattr(graph, "node_features", None), number, "node_features")
        if features is None or not len(features):
            raise InputError(
                "this is not a graph with nodes",
                entry=str(number),
                field="X",
                remedy="leave out molecules that the featurizer could not handle",
            )
        index = np.asarray(graph.edge_index, dtype=np.int64).reshape(2, -1)
        if index.size and not (index.min() >= 0 and index.max() < len(features)):
            raise InputError(
                f"an edge names a node that is not one of the {len(features)}",
                entry=str(number),
                field="edge_index",
            )
        nodes.append(_width(features, n_features, number, "node_features", "n_features"))
        pairs.append(index + sum(counts))
        if with_pairs:
            distances.append(pairs_of(index, len(features)) + [[sum(counts)], [sum(counts)], [0]])
        counts.append(len(features))
        edge = _edges(graph, index.shape[1], number) if n_edge_features else None
        if edge is None:
            edge = np.zeros((index.shape[1], 0))
        edges.append(_width(edge, n_edge_features, number, "edge_features", "n_edge_features"))
        whole = np.zeros((1, 0))
        if n_global_features:
            given = getattr(graph, "global_features", None)
            whole = whole if given is None else np.asarray(given, dtype=float).reshape(1, -1)
        overall.append(_width(whole, n_global_features, number, "global_features", "n_global_features"))
    joined = torch.from_numpy(np.concatenate(pairs, axis=1)) if pairs else torch.zeros(2, 0).long()
    return GraphBatch(
        _stack(nodes, n_features),
        joined[0],
        joined[1],
        _stack(edges, n_edge_features),
        torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts, dtype=torch.long)),
        _stack(overall, n_global_features),
        torch.from_numpy(np.concatenate([np.zeros((3, 0), int), *distances], axis=1)) if with_pairs else None,
    )


def _stack(parts: list[np.ndarray], width: int) -> Tensor:
    return torch.from_numpy(np.concatenate([np.zeros((0, width)), *parts]))


def _matrix(value: Any, number: Any, field: str) -> np.ndarray | None:
    if value is None:
        return None
    matrix = np.asarray(value, dtype=float)
    if matrix.ndim != 2:
        raise InputError(
            f"an array of shape {matrix.shape} in place of a matrix", entry=str(number), field=field
        )
    return matrix


def _edges(graph: Any, count: int, number: Any) -> np.ndarray | None:
    edges = getattr(graph, "edge_features", None)
    if count == 0:  # featurizers write the features of no edges in shapes of all kinds
        return None
    matrix = _matrix(edges, number, "edge_features")
    if matrix is not None and len(matrix) != count:
        raise InputError(f"{len(matrix)} rows for {count} edges", entry=str(number), field="edge_features")
    return matrix


def _width(matrix: np.ndarray, width: int, number: Any, field: str, option: str) -> np.ndarray:
    if not len(matrix):
        return np.zeros((0, width))
    if matrix.shape[1] != width:
        raise InputError(
            f"{matrix.shape[1]} features per row, where the model expects {width}",
            entry=str(number),
            field=field,
            remedy=f"build the model with {option}={matrix.shape[1]}",
        )
    bad = ~np.isfinite(matrix).all(axis=0)
    if bad.any() and field != "global_features":  # those are standardised NaN-safe
        raise InputError(
            f"feature {int(bad.argmax())} is not a number",
            entry=str(number),
            field=field,
            remedy="leave this sample out, or featurize without partial charges",
        )
    return matrix
