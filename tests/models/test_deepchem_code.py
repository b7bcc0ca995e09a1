"""Code written for DeepChem's XCModel runs with only the imports changed."""

import copy
import io
import pickle
import tempfile
import textwrap

import deepchem as dc
import numpy as np
import pytest
import torch

from deepchem_dft.data import DFTYamlLoader
from deepchem_dft.models import DFTXC, XCModel

YAML = textwrap.dedent(
    """\
    - e_type: ae
      true_val: '0.09194410469'
      systems:
      - moldesc: Li 1.5070 0 0; H -1.5070 0 0
        basis: 6-31g
      - moldesc: Li 0 0 0
        basis: 6-31g
        spin: '1'
      - moldesc: H 0 0 0
        basis: 6-31g
        spin: 1
    - e_type: ie
      true_val: '0.198142'
      systems:
      - moldesc: Li 0 0 0
        basis: 6-31g
        spin: 1
      - moldesc: Li 0 0 0
        basis: 6-31g
        charge: 1
        spin: 0
      weight: 2
    """
)


@pytest.fixture
def inputs(tmp_path):
    path = tmp_path / "test_dftxcdata.yaml"
    path.write_text(YAML)
    return str(path)


def test_the_tutorial(inputs):
    data = DFTYamlLoader()
    model_dir = tempfile.mkdtemp()
    dataset = data.create_dataset(inputs)
    model = XCModel(
        "lda_x", batch_size=1, log_frequency=1, mode="classification", n_tasks=2, model_dir=model_dir
    )
    loss = model.fit(dataset, nb_epoch=2, checkpoint_interval=1)
    assert loss < 0.02
    reload_model = XCModel(
        "lda_x", batch_size=1, log_frequency=1, mode="classification", n_tasks=2, model_dir=model_dir
    )
    reload_model.restore()
    predict = model.predict(dataset)
    r_predict = reload_model.predict(dataset)
    assert np.all(predict == r_predict) and (-np.array(predict)).shape == (2, 1)
    metric = dc.metrics.Metric(dc.metrics.mae_score)
    scores = model.evaluate(dataset, [metric])
    assert scores["mae_score"] < 0.3
    model2 = XCModel("lda_x", batch_size=2, log_frequency=1, mode="classification")
    loss2 = model2.fit(dataset, nb_epoch=2, checkpoint_interval=2)
    assert loss2 < 0.2
    assert dataset.y[0] != dataset.y[1]


def test_positional_arguments_and_deepchems_network(inputs):
    dataset = DFTYamlLoader().create_dataset(inputs)
    model = XCModel("lda_x", None, 2, 6, 2, 2, 0, 0, "regression", torch.device("cpu"), grid_level=0, seed=0)
    network = model.functional.nnxc.nnmodel
    linear = [m for m in network.modules() if isinstance(m, torch.nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == [(2, 6), (6, 6), (6, 1)]
    assert np.isfinite(model.fit(dataset, nb_epoch=1))


def test_base_class_entry_points(inputs, tmp_path):
    dataset = DFTYamlLoader().create_dataset(inputs)
    model = XCModel("lda_x", batch_size=1, grid_level=0, seed=0, model_dir=str(tmp_path / "m"))
    losses = []
    by_generator = model.fit_generator(
        model.default_generator(dataset, epochs=2), all_losses=losses, checkpoint_interval=1
    )
    assert losses == [by_generator] and model.get_global_step() == 4
    assert model.last_epoch.loss == by_generator and len(model.get_checkpoints()) == 5
    one = model.fit_on_batch(dataset.X[:1], dataset.y[:1], dataset.w[:1])
    assert np.isfinite(one) and model.get_global_step() == 5
    on_batch = model.predict_on_batch(dataset.X)
    by_generator = model.predict_on_generator(model.default_generator(dataset))
    np.testing.assert_array_equal(on_batch, by_generator)
    model.save()
    model.reload()


def test_default_generator_never_pads(inputs):
    dataset = DFTYamlLoader().create_dataset(inputs)
    model = XCModel("lda_x", batch_size=5, grid_level=0)
    batches = list(model.default_generator(dataset, pad_batches=True))
    assert len(batches) == 1 and len(batches[0][0][0]) == 2
    assert batches[0][2][0].ravel().tolist() == [1.0, 2.0]


def test_weights_of_the_file_count_in_the_loss(inputs):
    dataset = DFTYamlLoader().create_dataset(inputs)
    model = XCModel("lda_x", grid_level=0, learning_rate=0.0, seed=0)
    loss = model.fit(dataset, nb_epoch=1, checkpoint_interval=0)
    squares = (model.predict(dataset) - dataset.y).ravel() ** 2
    assert loss == pytest.approx((squares[0] + 2 * squares[1]) / 2, rel=1e-7)


def test_splits_and_selections_train(inputs):
    dataset = DFTYamlLoader().create_dataset(inputs)
    train, valid = dc.splits.RandomSplitter().train_test_split(dataset, frac_train=0.5, seed=0)
    model = XCModel("lda_x", grid_level=0, seed=0)
    model.fit(train, nb_epoch=1, valid_dataset=valid)
    assert model.last_epoch.valid_mae_kcal is not None
    assert model.predict(dataset.select([1])).shape == (1, 1)


def test_deepchems_validation_callback(inputs, tmp_path):
    dataset = DFTYamlLoader().create_dataset(inputs)
    metric = dc.metrics.Metric(dc.metrics.mae_score)
    output = io.StringIO()
    callback = dc.models.ValidationCallback(dataset, 1, [metric], output, save_dir=str(tmp_path / "best"))
    quiet = XCModel("lda_x", grid_level=0, seed=0, model_dir=str(tmp_path / "a"))
    watched = XCModel("lda_x", grid_level=0, seed=0, model_dir=str(tmp_path / "b"))
    assert quiet.fit(dataset, nb_epoch=2) == watched.fit(dataset, nb_epoch=2, callbacks=callback)
    assert "Step 2 validation: mae_score=" in output.getvalue()
    watched.restore(model_dir=str(tmp_path / "best"))


def test_tensorboard_on_request(inputs, tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    dataset = DFTYamlLoader().create_dataset(inputs)
    model = XCModel("lda_x", grid_level=0, seed=0, tensorboard=True, model_dir=str(tmp_path))
    model.fit(dataset, nb_epoch=2, valid_dataset=dataset)
    log = events.EventAccumulator(str(tmp_path)).Reload()
    assert {"loss", "mae_kcal", "valid_mae_kcal", "unconverged"} <= set(log.Tags()["scalars"])
    logged = [e.value for e in log.Scalars("loss")]
    assert logged == pytest.approx([r.loss for r in model.history], rel=1e-6)


def test_module_can_be_copied_and_pickled_without_its_integrals(inputs):
    dataset = DFTYamlLoader().create_dataset(inputs)
    model = XCModel("lda_x", grid_level=0, seed=0)
    expected = model.predict(dataset)
    for twin in (copy.deepcopy(model.model), pickle.loads(pickle.dumps(model.model))):
        assert isinstance(twin, DFTXC) and not twin.solver._molecules
        with torch.no_grad():
            np.testing.assert_array_equal(twin.eval()(dataset.X).numpy(), expected)
        with torch.no_grad():
            twin.xc.bweight.fill_(0.5)
            assert np.abs(twin(dataset.X).numpy() - expected).max() > 1e-3
