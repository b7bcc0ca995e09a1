"""Small graphs, without waiting for a featurizer."""

import numpy as np
import pytest
from deepchem.feat import GraphData


def random_graph(rng: np.random.Generator, nodes: int, width: int = 5, edge_width: int = 3) -> GraphData:
    """Return a ring of nodes with random features; one node alone has no edges."""
    ahead = np.arange(nodes)
    pairs = np.stack([ahead, (ahead + 1) % nodes]) if nodes > 2 else np.zeros((2, 0), int)
    if nodes == 2:
        pairs = np.array([[0], [1]])
    index = np.concatenate([pairs, pairs[::-1]], axis=1)
    return GraphData(rng.normal(size=(nodes, width)), index, rng.normal(size=(index.shape[1], edge_width)))


@pytest.fixture
def graphs() -> list[GraphData]:
    """Rings of 1 to 7 atoms: 5 features per node, 3 per edge."""
    rng = np.random.default_rng(0)
    return [random_graph(rng, n) for n in (3, 1, 7, 2, 4)]
