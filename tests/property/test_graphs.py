"""Batches of graphs: what comes out is what went in; what does not fit is named."""

import deepchem as dc
import numpy as np
import pytest
import torch
from deepchem.feat import GraphData

from deepchem_dft.errors import InputError
from deepchem_dft.property import collate


def test_graphs_are_laid_end_to_end(graphs):
    batch = collate(graphs, 5, 3)
    assert batch.sample.tolist() == [0] * 3 + [1] + [2] * 7 + [3] * 2 + [4] * 4
    for number, graph in enumerate(graphs):
        mine = batch.sample == number
        assert np.array_equal(batch.nodes[mine].numpy(), graph.node_features)
        first = int(mine.nonzero()[0])
        edges = mine[batch.source]
        assert np.array_equal(batch.source[edges].numpy() - first, graph.edge_index[0])
        assert np.array_equal(batch.target[edges].numpy() - first, graph.edge_index[1])
        assert np.array_equal(batch.edges[edges].numpy(), graph.edge_features)


@pytest.mark.parametrize(
    ("featurizer", "widths"),
    [
        (dc.feat.MolGraphConvFeaturizer(use_edges=True), (30, 11)),
        (dc.feat.MolGraphConvFeaturizer(use_edges=True, use_partial_charge=True), (31, 11)),
        (dc.feat.MolGraphConvFeaturizer(), (30, 0)),
        (dc.feat.DMPNNFeaturizer(), (133, 14)),
    ],
)
def test_deepchem_graphs_fit(featurizer, widths):
    batch = collate(featurizer.featurize(["CCO", "c1ccccc1N"]), *widths)
    assert batch.nodes.shape == (10, widths[0])
    assert batch.edges.shape == (2 * (2 + 7), widths[1])


def test_one_atom_without_bonds():
    methane = dc.feat.DMPNNFeaturizer().featurize(["C"])
    assert collate(methane, 133, 14).edges.shape == (0, 14)


def test_global_features_are_taken():
    graph = dc.feat.DMPNNFeaturizer(features_generators=["morgan"]).featurize(["CCO"])[0]
    batch = collate([graph], 133, 14, 2048)
    assert np.array_equal(batch.overall[0].numpy(), graph.global_features)


def test_several_edges_between_two_nodes():
    crystal = GraphData(np.eye(2), np.array([[0, 0, 1, 1], [1, 1, 0, 0]]), np.ones((4, 1)))
    assert len(collate([crystal], 2, 1).source) == 4


def _broken(**changes):
    parts = {
        "node_features": np.ones((2, 5)),
        "edge_index": np.array([[0, 1], [1, 0]]),
        "edge_features": np.ones((2, 3)),
    }
    graph = GraphData(**parts)
    for name, value in changes.items():
        setattr(graph, name, value)
    return graph


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (np.array([]), "not a graph"),
        (None, "not a graph"),
        (_broken(node_features=np.ones((0, 5))), "not a graph with nodes"),
        (_broken(node_features=np.ones((2, 4))), "n_features=4"),
        (_broken(edge_features=np.ones((2, 7))), "n_edge_features=7"),
        (_broken(edge_features=None), "n_edge_features=0"),
        (_broken(edge_features=np.ones((3, 3))), "3 rows for 2 edges"),
        (_broken(edge_index=np.array([[0, 5], [1, 0]])), "names a node"),
        (_broken(node_features=np.full((2, 5), np.nan)), "feature 0 is not a number"),
    ],
)
def test_what_does_not_fit_is_named(graph, message):
    with pytest.raises(InputError, match=message) as caught:
        collate([_broken(), graph], 5, 3, names=["ethane", "CHEMBL25"])
    assert "CHEMBL25" in str(caught.value)


def test_moving_changes_the_type(graphs):
    batch = collate(graphs, 5, 3).to("cpu", torch.float32)
    assert (batch.nodes.dtype, batch.edges.dtype) == (torch.float32, torch.float32)
    assert batch.sample.dtype == torch.int64
