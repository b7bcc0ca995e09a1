"""DEQModel with ``reuse``: the same fixed points in fewer evaluations, from the last of the same sample."""

import copy
import pickle

import deepchem as dc
import numpy as np
import pytest
import torch

from deepchem_dft import DEQModel
from deepchem_dft.errors import InputError
from deepchem_dft.property.network import LastSolutions

SMILES = ["CCO", "CC", "CCN", "CCC", "c1ccccc1", "CC(=O)O", "C1CCCCC1", "CC#N", "CCCl", "CO", "CCCCCC", "CF"]
POLAR = [1, 0, 1, 0, 0, 1, 0, 1, 1, 1, 0, 1]


@pytest.fixture(scope="module")
def graphs():
    return dc.feat.MolGraphConvFeaturizer(use_edges=True).featurize(SMILES)


@pytest.fixture
def molecules(graphs):
    return dc.data.NumpyDataset(graphs, np.array(POLAR)[:, None], ids=SMILES)


@pytest.fixture
def vectors():
    x = np.random.default_rng(0).normal(size=(20, 6))
    return dc.data.NumpyDataset(x, x[:, :2])


def test_starting_from_the_last_fixed_point_finds_the_same_in_fewer_evaluations(molecules):
    options = {"learning_rate": 0.0002, "batch_size": 5, "width": 16, "dtype": "float64", "train_tol": 1e-7}
    cold, warm = (DEQModel(1, "classification", reuse=reuse, **options) for reuse in (False, True))
    for model in (cold, warm):
        model.fit(molecules, nb_epoch=8)
    assert np.abs(warm.predict(molecules) - cold.predict(molecules)).max() < 1e-6
    first, last = warm.history[0], warm.history[-1]
    assert first.iterations == cold.history[0].iterations
    assert last.iterations < 0.85 * cold.history[-1].iterations
    # Predictions look the known fixed points over once, whatever the order and the batches are.
    order = np.random.default_rng(0).permutation(12)
    warm.batch_size = 4
    again = warm.predict(molecules.select(order))
    assert warm.last_solve.iterations == 12
    assert np.abs(again - cold.predict(molecules)[order]).max() < 1e-6


def test_a_molecule_that_has_moved_starts_from_where_it_was(graphs):
    """Bonds change as a geometry does in dynamics; identifier and atoms tell whose fixed point it is."""

    def moved(scale, ids=("here", "there")):
        changed = [copy.deepcopy(graph) for graph in graphs[4:6]]
        for graph in changed:
            graph.edge_features = graph.edge_features * scale
        return dc.data.NumpyDataset(np.array(changed, dtype=object), ids=ids)

    model = DEQModel(1, n_features=30, reuse=True, dtype="float64")
    model.predict(moved(1.0))
    cold = model.last_solve.iterations
    found = model.predict(moved(1.01))
    assert model.last_solve.iterations < 0.9 * cold
    other = DEQModel(1, n_features=30, dtype="float64")
    assert np.abs(found - other.predict(moved(1.01))).max() < 1e-9
    model.predict(moved(1.0, ("not", "met")))
    assert model.last_solve.iterations == cold
    model.predict(dc.data.NumpyDataset(graphs[[0, 1]], ids=["here", "there"]))  # other molecules, same names
    assert model.last_solve.iterations > 12


def test_what_is_reused(vectors, molecules):
    model = DEQModel(2, cell="fingerprint", n_features=6, reuse=True, adjoint="unrolled")
    with pytest.raises(InputError, match="unrolled"):
        model.fit(vectors, nb_epoch=1)
    model.adjoint = "implicit"
    model.fit(vectors, nb_epoch=2)
    assert pickle.loads(pickle.dumps(model)).network.last._known == {} != model.network.last._known
    small = LastSolutions(limit=100)
    small.keep(["a", "b"], torch.ones(2, 10), None, torch.tensor([True, True]))  # 40 bytes each
    small.keep(["a", "c"], torch.ones(2, 10), None, torch.tensor([False, True]))
    small.keep(["d"], torch.ones(1, 10), None, torch.tensor([True]))
    assert list(small._known) == ["b", "c"]
