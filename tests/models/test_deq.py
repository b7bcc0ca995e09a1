"""DEQModel as a DeepChem model: data sets, weights, metrics, files, reproducibility, solvers."""

import io
import warnings

import deepchem as dc
import numpy as np
import pytest
import torch

from deepchem_dft import DEQModel
from deepchem_dft.data.properties.crystal_graph import CrystalGraphFeaturizer
from deepchem_dft.data.properties.records import Crystal
from deepchem_dft.equilibrium import Anderson, Implicit
from deepchem_dft.errors import CheckpointError, InputError

SMILES = [
    "CCO",
    "CC",
    "CCN",
    "CCC",
    "c1ccccc1",
    "CC(=O)O",
    "C1CCCCC1",
    "CC#N",
    "CCCl",
    "CO",
    "CCCCCC",
    "c1ccncc1",
]
POLAR = [1, 0, 1, 0, 0, 1, 0, 1, 1, 1, 0, 1]


@pytest.fixture(scope="module")
def graphs():
    return dc.feat.MolGraphConvFeaturizer(use_edges=True).featurize(SMILES)


@pytest.fixture
def molecules(graphs):
    return dc.data.NumpyDataset(graphs, np.array(POLAR)[:, None], ids=SMILES)


@pytest.fixture
def vectors():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 6))
    return dc.data.NumpyDataset(x, np.stack([x[:, 0] * x[:, 1], np.sin(x[:, 2])], 1))


def _vector_model(**options):
    options = {"learning_rate": 0.01, "batch_size": 16, "width": 16, **options}
    return DEQModel(2, cell="fingerprint", n_features=6, **options)


def test_molecules_are_learned_by_heart(molecules):
    model = DEQModel(1, "classification", learning_rate=0.01, batch_size=4, width=16)
    model.fit(molecules, nb_epoch=25)
    metric = dc.metrics.Metric(dc.metrics.roc_auc_score)
    assert model.evaluate(molecules, [metric])["roc_auc_score"] == 1.0
    probabilities = model.predict(molecules)
    assert probabilities.shape == (12, 1, 2)
    assert np.allclose(probabilities.sum(2), 1, atol=1e-6)
    assert ((probabilities[:, 0, 1] > 0.5) == POLAR).all()
    first, last = model.history[0], model.history[-1]
    assert len(model.history) == 25 and last.epoch == 25
    assert last.loss < 0.1 * first.loss
    assert (last.unconverged, last.evaluations > 2) == (0.0, True)


def test_vectors_are_learned_by_heart(vectors):
    model = _vector_model(learning_rate=0.02)
    model.fit(vectors, nb_epoch=80)
    error = model.predict(vectors) - vectors.y
    assert np.sqrt((error**2).mean()) < 0.2 * vectors.y.std()


@pytest.mark.parametrize(("dtype", "limit"), [("float32", 1e-6), ("float64", 1e-10)])
@pytest.mark.parametrize(
    ("bound", "pooling"), [(0.9, ("mean", "sum", "max", "attention")), (0.99, ("mean", "pairs"))]
)
def test_prediction_does_not_depend_on_batches(molecules, dtype, limit, bound, pooling):
    model = DEQModel(2, n_features=30, dtype=dtype, bound=bound, pooling=pooling)
    all_at_once = model.predict(molecules)
    assert all_at_once.shape == (12, 2)
    for size in (1, 5):
        model.batch_size = size
        assert np.abs(model.predict(molecules) - all_at_once).max() < limit
    order = np.random.default_rng(0).permutation(12)
    turned = model.predict(molecules.select(order))
    assert np.abs(turned - all_at_once[order]).max() < limit


def test_one_seed_one_model(molecules):
    def train(seed):
        np.random.seed(seed + 7)  # numpy's and torch's global numbers play no part
        torch.manual_seed(seed + 3)
        model = DEQModel(1, "classification", dropout=0.3, batch_size=5, seed=seed // 10)
        model.fit(molecules, nb_epoch=3)
        return model.predict(molecules)

    assert np.array_equal(train(0), train(1))
    assert not np.array_equal(train(0), train(10))


def test_missing_labels_play_no_part(vectors):
    y, w = vectors.y.copy(), np.ones((40, 2))
    w[5:20, 0] = 0
    y[5:20, 0] = np.nan
    other = y.copy()
    other[5:20, 0] = 1e6
    results = []
    for labels in (y, other):
        model = _vector_model()
        model.fit(dc.data.NumpyDataset(vectors.X, labels, w), nb_epoch=2)
        results.append(model.predict(vectors))
    assert np.isfinite(results[0]).all()
    assert np.array_equal(*results)


def test_weights_count(vectors):
    heavy = np.ones((40, 2))
    heavy[:, 1] = 1e-6
    model = _vector_model(learning_rate=0.02)
    model.fit(dc.data.NumpyDataset(vectors.X, vectors.y, heavy), nb_epoch=60)
    error = np.abs(model.predict(vectors) - vectors.y).mean(0)
    assert error[0] < 0.5 * error[1]


@pytest.mark.parametrize(
    ("y", "mode", "message"),
    [
        ([[0.0], [np.nan]], "regression", "entry b, .*label nan"),
        ([[0.0], [2.0]], "classification", "entry b, .*class from 0 to 1"),
        ([[0.5], [1.0]], "classification", "entry a, .*class"),
        ([[0.0, 1.0], [1.0, 0.0]], "regression", "2 labels per sample for 1 tasks"),
    ],
)
def test_bad_labels_are_named(y, mode, message):
    dataset = dc.data.NumpyDataset(np.ones((2, 3)), np.array(y), ids=["a", "b"])
    with pytest.raises(InputError, match=message):
        DEQModel(1, mode, "fingerprint", 3).fit(dataset, nb_epoch=1)


def test_a_molecule_that_was_not_featurized_is_named(graphs):
    x = np.array([*graphs[:2], None], dtype=object)
    x[2] = np.array([])
    dataset = dc.data.NumpyDataset(x, np.zeros((3, 1)), ids=["CCO", "CC", "methane"])
    with pytest.raises(InputError, match="entry methane"):
        DEQModel(1).predict(dataset)


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "ranking"},
        {"cell": "text"},
        {"solver": "newton"},
        {"adjoint": "magic"},
        {"dtype": "int8"},
        {"n_tasks": 0},
        {"cell": "image", "n_features": 7},
    ],
)
def test_unknown_options_are_refused(options):
    with pytest.raises(InputError):
        DEQModel(**{"n_tasks": 1, **options})
    with pytest.raises(TypeError, match="widht"):
        DEQModel(1, widht=3)


def test_vectors_of_another_length_are_refused(vectors):
    with pytest.raises(InputError, match="n_features=6"):
        DEQModel(2, cell="fingerprint", n_features=8).predict(vectors)


def test_a_reloaded_model_predicts_the_same_and_goes_on_the_same(vectors, tmp_path):
    straight = _vector_model(dropout=0.2)
    straight.fit(vectors, nb_epoch=4)
    model = _vector_model(dropout=0.2, model_dir=str(tmp_path))
    model.fit(vectors, nb_epoch=2)
    again = _vector_model(dropout=0.2, seed=0, model_dir=str(tmp_path))
    again.restore()
    assert np.array_equal(again.predict(vectors), model.predict(vectors))
    assert again.history == model.history
    final = _vector_model(dropout=0.2, seed=0, model_dir=str(tmp_path))
    final.fit(vectors, nb_epoch=4, restore=True)
    assert np.array_equal(final.predict(vectors), straight.predict(vectors))
    assert [r.epoch for r in final.history] == [1, 2, 3, 4]
    with pytest.raises(CheckpointError, match="different model"):
        _vector_model(width=8, model_dir=str(tmp_path)).restore()


def test_pretrained_parameters_and_scales_are_taken_over(vectors, tmp_path):
    source = _vector_model(model_dir=str(tmp_path))
    source.fit(vectors, nb_epoch=2)
    target = DEQModel(1, cell="fingerprint", n_features=6, width=16)
    target.load_from_pretrained(source, include_top=False)
    embeddings = [m.predict_embedding(vectors) for m in (source, target)]
    assert embeddings[0].shape == (40, 16)
    assert np.abs(embeddings[0] - embeddings[1]).max() < 1e-6


def test_solver_and_adjoint_can_be_changed(vectors):
    model = _vector_model(solver="damped", bound=0.95, dtype="float64", max_iter=1000)
    forward = model.predict(vectors)
    needed = model.last_solve.evaluations
    for solver in ("anderson", "broyden", Anderson(window=3)):
        model.solver = solver
        assert model.solver == solver
        assert np.abs(model.predict(vectors) - forward).max() < 1e-9
        assert model.last_solve.evaluations < needed
    with pytest.raises(InputError, match="solver 'newton'"):
        model.solver = "newton"
    for adjoint in ("implicit", "truncated", "unrolled"):
        model.adjoint = adjoint
        model.fit(vectors, nb_epoch=1)
    assert model.history[2].loss < model.history[0].loss


@pytest.mark.parametrize("adjoint", ["implicit", "unrolled"])
def test_gradient_is_that_of_finite_differences(molecules, adjoint):
    model = DEQModel(1, width=4, hidden=0, dtype="float64", adjoint=adjoint, train_tol=1e-13)
    model._ensure_built()
    ((x, _, _),) = model.default_generator(molecules, mode="predict")
    batch = model.kind.move(x[0], model.device, torch.float64)
    model.model.train()

    def value():
        return model.network(batch).output.square().sum()

    parameter = model.network.cell.others[0]
    with torch.no_grad():
        parameter.mul_(3)  # so that the bound takes part
        parameter[0] *= 0.9
    (gradient,) = torch.autograd.grad(value(), parameter)
    with torch.no_grad():
        parameter[0, 1] += 1e-5
        above = value().item()
        parameter[0, 1] -= 2e-5
        below = value().item()
    assert abs((above - below) / 2e-5 - gradient[0, 1].item()) < 1e-8


def test_what_does_not_converge_is_told(vectors):
    model = _vector_model(bound=None, max_iter=3)
    with pytest.warns(UserWarning, match="40 of 40 samples have no converged fixed point"):
        model.predict(vectors)
    assert model.last_solve.unconverged_fraction == 1
    before = [p.detach().clone() for p in model.network.parameters() if p.requires_grad]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(vectors, nb_epoch=1)
    assert (model.history[0].unconverged, model.history[0].loss) == (1.0, 0.0)
    after = [p for p in model.network.parameters() if p.requires_grad]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    model.adjoint = "unrolled"  # three steps of iteration are a network too
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(vectors, nb_epoch=1)
    assert not torch.equal(before[0], next(model.network.cell.parameters()))


def test_samples_without_a_gradient_count_as_unconverged(vectors):
    """Fixed points are found, but three steps do not solve the equations of the gradient."""
    adjoint = Implicit("damped", tol=1e-8, max_iter=3, on_failure="drop")
    model = _vector_model(adjoint=adjoint, dtype="float64")
    with pytest.warns(UserWarning, match="no gradient for"):
        model.fit(vectors, nb_epoch=1)
    assert model.history[-1].unconverged == 1.0
    model.predict(vectors)
    assert model.last_solve.unconverged == 0


def test_a_validation_callback_does_not_disturb_training(vectors):
    metric = dc.metrics.Metric(dc.metrics.mae_score)
    plain = _vector_model(dropout=0.5)
    plain.fit(vectors, nb_epoch=3)
    watched = _vector_model(dropout=0.5)
    callback = dc.models.ValidationCallback(vectors, 1, [metric], output_file=io.StringIO())
    watched.fit(vectors, nb_epoch=3, callbacks=[callback])
    assert np.array_equal(plain.predict(vectors), watched.predict(vectors))
    assert [r.loss for r in plain.history] == [r.loss for r in watched.history]


def test_jacobian_penalty_flattens_the_cell(vectors):
    slopes = []
    for weight in (0.0, 10.0):
        model = _vector_model(bound=None, jacobian_weight=weight)
        model.fit(vectors, nb_epoch=10)
        slopes.append(model.network.cell.weights[0].norm().item())
    assert slopes[1] < 0.9 * slopes[0]


def test_a_disk_dataset_and_normalised_labels(vectors, tmp_path):
    disk = dc.data.DiskDataset.from_numpy(vectors.X, 100 * vectors.y + 7, data_dir=str(tmp_path))
    scale = dc.trans.NormalizationTransformer(transform_y=True, dataset=disk)
    model = _vector_model()
    model.fit(scale.transform(disk), nb_epoch=40)
    error = model.predict(scale.transform(disk), transformers=[scale]) - disk.y
    assert np.abs(error).mean() < 0.6 * np.abs(disk.y - disk.y.mean(0)).mean()


def test_pictures_are_learned_by_heart():
    rng = np.random.default_rng(0)
    y = np.arange(12) % 3
    x = rng.normal(size=(12, 1, 8, 8)) * 0.3
    for picture, label in zip(x, y, strict=True):
        picture[0, 2 * label : 2 * label + 2] += 1  # a stripe whose place is the class
    dataset = dc.data.NumpyDataset(x, y[:, None])
    model = DEQModel(
        1, "classification", "image", (1, 8, 8), n_classes=3, width=8, learning_rate=0.01, batch_size=6
    )
    model.fit(dataset, nb_epoch=40)
    assert (model.predict(dataset)[:, 0].argmax(1) == y).all()
    assert model.history[-1].unconverged == 0


def test_crystals_are_learned_by_heart():
    cells = {"fcc": [[0, 1, 1], [1, 0, 1], [1, 1, 0]], "bcc": [[-1, 1, 1], [1, -1, 1], [1, 1, -1]]}
    crystals, y = [], []
    for element, length in (("Cu", 1.8), ("Ag", 2.0), ("Al", 2.0), ("Fe", 1.6), ("W", 1.6)):
        for number, cell in enumerate(cells.values()):
            crystals.append(Crystal.create(element, [element], [[0, 0, 0]], length * np.array(cell)))
            y.append([number])
    graphs = CrystalGraphFeaturizer().featurize(crystals)
    dataset = dc.data.NumpyDataset(graphs, np.array(y))
    model = DEQModel(
        1, "classification", n_features=103, n_edge_features=41, width=16, learning_rate=0.01, batch_size=5
    )
    model.fit(dataset, nb_epoch=30)
    assert (model.predict(dataset)[:, 0].argmax(1) == np.ravel(y)).all()


@pytest.mark.parametrize(
    ("x", "cell", "n_features"),
    [
        (np.random.default_rng(0).normal(size=(6, 5)), "fingerprint", 5),
        (np.random.default_rng(0).random((4, 1, 8, 8)), "image", (1, 8, 8)),
        (dc.feat.MolGraphConvFeaturizer().featurize(["CCO", "CC", "CN"]), "graph", 30),
        (dc.feat.DMPNNFeaturizer().featurize(["CCO", "C", "CN"]), "graph", 133),
    ],
    ids=["vectors", "pictures", "graphs", "dmpnn"],
)
def test_the_features_choose_the_cell(x, cell, n_features, tmp_path):
    """As if it had been said, to the last bit, also once loaded again."""
    dataset = dc.data.NumpyDataset(x, np.arange(len(x), dtype=float)[:, None])
    model = DEQModel(1, width=8, model_dir=str(tmp_path / "m"), seed=3)
    model.fit(dataset, nb_epoch=1)
    assert (model.config["cell"], model.kind.n_features) == (cell, n_features)
    more = {"n_edge_features": model.config["n_edge_features"]} if cell == "graph" else {}
    said = DEQModel(1, cell=cell, n_features=n_features, width=8, seed=3, **more)
    said.fit(dataset, nb_epoch=1)
    assert np.array_equal(model.predict(dataset), said.predict(dataset))
    assert np.array_equal(DEQModel.load(tmp_path / "m").predict(dataset), said.predict(dataset))


def test_what_is_said_is_not_changed():
    fingerprints = dc.data.NumpyDataset(np.zeros((3, 7)), np.zeros((3, 1)))
    for said in ({"cell": "graph"}, {"cell": "fingerprint", "n_features": 8}):
        with pytest.raises(InputError):
            DEQModel(1, **said).fit(fingerprints, nb_epoch=1)
    words = dc.data.NumpyDataset(np.array(["CCO", "CC"], dtype=object), np.zeros((2, 1)))
    with pytest.raises(InputError, match="neither graphs, vectors nor pictures"):
        DEQModel(1).fit(words, nb_epoch=1)
