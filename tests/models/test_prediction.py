"""Prediction and evaluation: against PySCF, in order, on mixtures, with clear refusals."""

import deepchem as dc
import numpy as np
import pytest
import torch
from torch import nn

from deepchem_dft.data import DFTEntry
from deepchem_dft.errors import FunctionalError, InputError, SCFNotConverged
from deepchem_dft.models import DFTXC, XCModel

HARTREE = 627.5094740631  # kcal/mol


def pyscf_energy(atom, spin, charge=0, level=0):
    from pyscf import dft, gto

    mole = gto.M(atom=atom, unit="bohr", basis="6-31g", spin=spin, charge=charge, verbose=0)
    field = dft.UKS(mole, xc="lda,pw")
    field.grids.level, field.grids.prune, field.conv_tol = level, None, 1e-12
    return field.kernel()


def test_untrained_predictions_are_those_of_pyscf(make_model, dataset):
    h2, h = pyscf_energy("H 0 0 0; H 0 0 1.4", 0), pyscf_energy("H 0 0 0", 1)
    he, ion = pyscf_energy("He 0 0 0", 0), pyscf_energy("He 0 0 0", 1, 1)
    expected = np.array([2 * h - h2, ion - he, he, -h, h2])
    prediction = make_model().predict(dataset)
    assert prediction.shape == (5, 1) and prediction.dtype == np.float64
    np.testing.assert_allclose(prediction.ravel(), expected, rtol=0, atol=2e-4)


def test_grid_of_the_prediction_can_be_matched_to_pyscf(make_model, make_dataset, entries):
    from pyscf import dft, gto

    mole = gto.M(atom="He 0 0 0", basis="6-31g", verbose=0)
    field = dft.RKS(mole, xc="lda,pw")
    field.grids.level, field.conv_tol = 2, 1e-12
    value = make_model(grid_level=2, tol=1e-8).predict(make_dataset([entries[2]])).item()
    assert value == pytest.approx(field.kernel(), abs=1e-8)


def test_order_and_batch_size_do_not_matter(make_model, dataset, make_dataset, entries):
    expected = make_model(batch_size=5).predict(dataset)
    for size in (1, 2, 100):
        np.testing.assert_array_equal(make_model(batch_size=size).predict(dataset), expected)
    shuffled = [3, 0, 4, 2, 1]
    other = make_model(batch_size=2).predict(make_dataset([entries[i] for i in shuffled]))
    np.testing.assert_array_equal(other, expected[shuffled])


def test_prediction_does_not_depend_on_what_was_solved_before(make_model, dataset, small):
    model = make_model()
    model.fit(small, nb_epoch=2)
    expected = model.predict(dataset)
    np.testing.assert_array_equal(model.predict(dataset), expected)
    model.model.states.clear()
    np.testing.assert_array_equal(model.predict(dataset), expected)
    one_by_one = [model.predict_on_batch([entry]).item() for entry in dataset.X]
    np.testing.assert_array_equal(one_by_one, expected.ravel())


def test_each_system_is_solved_once(make_model, dataset):
    model = make_model(batch_size=1)
    model.predict(dataset)
    assert model.model.solver.solutions == 4  # H2, H, He, He+


def test_evaluate_scores_a_disk_data_set_as_deepchem_does(make_model, dataset, tmp_path):
    disk = dc.data.DiskDataset.from_numpy(
        dataset.X, dataset.y, dataset.w, dataset.ids, data_dir=str(tmp_path / "disk")
    )
    model = make_model(batch_size=2)
    metrics = [dc.metrics.Metric(dc.metrics.mae_score), dc.metrics.Metric(dc.metrics.rms_score)]
    scores = model.evaluate(disk, metrics)
    errors = model.predict(dataset) - dataset.y
    assert scores["mae_score"] == pytest.approx(np.abs(errors).mean(), rel=1e-12)
    assert scores["rms_score"] == pytest.approx(np.sqrt((errors**2).mean()), rel=1e-12)
    scores, per_task = model.evaluate(disk, metrics[0], per_task_metrics=True)
    np.testing.assert_allclose(per_task["mae_score"], np.abs(errors).mean(), rtol=1e-12)
    generator = model.default_generator(disk, pad_batches=True)
    again = model.evaluate_generator(generator, metrics[0])
    assert again["mae_score"] == pytest.approx(np.abs(errors).mean(), rel=1e-12)


def test_evaluate_by_type(make_model, dataset):
    model = make_model()
    errors = np.abs(model.predict(dataset) - dataset.y).ravel() * HARTREE
    expected = {"ae": errors[0], "ie": errors[[1, 3]].mean(), "energy": errors[[2, 4]].mean()}
    assert model.evaluate_by_type(dataset) == pytest.approx(expected, rel=1e-12)


def test_transformed_labels_are_refused(make_model, dataset):
    model = make_model()
    norm = dc.trans.NormalizationTransformer(transform_y=True, dataset=dataset)
    metric = dc.metrics.Metric(dc.metrics.mae_score)
    for call in (
        lambda: model.predict(dataset, [norm]),
        lambda: model.evaluate(dataset, metric, [norm]),
        lambda: model.evaluate_generator(model.default_generator(dataset), metric, [norm]),
        lambda: model.predict_on_batch(dataset.X, [norm]),
    ):
        with pytest.raises(InputError, match="NormalizationTransformer transforms labels"):
            call()
    with pytest.raises(InputError, match="do not transform y"):
        model.evaluate(norm.transform(dataset), metric)
    weights_only = dc.trans.BalancingTransformer.__new__(dc.trans.BalancingTransformer)
    weights_only.transform_y = False
    assert model.predict(dataset, [weights_only]).shape == (5, 1)


def test_unconverged_predictions_raise_and_name_the_entry(make_model, make_dataset):
    helium = [{"moldesc": "He 0 0 0", "basis": "6-31g"}]
    entry = DFTEntry.create("energy", "-2.9", helium, name="stubborn")
    model = make_model(max_iter=1)
    with pytest.raises(SCFNotConverged, match="entry stubborn, system He") as error:
        model.predict(make_dataset([entry]))
    assert error.value.result is not None and not error.value.result.converged
    assert np.isnan(model.predict(make_dataset([entry]), on_unconverged="nan")).all()
    with pytest.raises(SCFNotConverged):
        model.predict(make_dataset([entry]))
    lenient = make_model(max_iter=1, on_unconverged="nan")
    assert np.isnan(lenient.predict(make_dataset([entry]))).all()
    assert lenient.evaluate_by_type(make_dataset([entry])) == {}
    with pytest.raises(SCFNotConverged, match="stubborn"):
        lenient.evaluate(make_dataset([entry]), dc.metrics.Metric(dc.metrics.mae_score))


def test_uncertainty_is_refused(make_model, dataset):
    with pytest.raises(InputError, match="no uncertainty"):
        make_model().predict_uncertainty(dataset)


@pytest.mark.parametrize(
    ("arguments", "options", "field"),
    [
        (("no-such-functional",), {}, None),
        ((None,), {}, "xcstr"),
        (("pbe",), {"input_size": 2}, "input_size"),
        (("pbe", nn.Linear(2, 1)), {}, "nnmodel"),
        (("lda", nn.Linear(2, 3)), {}, "nnmodel"),
        (("lda",), {"aweight0": 0.0, "train_a": False}, "aweight0"),
        (("lda",), {"family": "hyper"}, "family"),
        (("lda",), {"loss": "l7"}, "loss"),
        (("lda",), {"batch_size": 0}, "batch_size"),
        (("lda",), {"device": "mps"}, "device"),
        (("lda",), {"modeltype": 3}, "modeltype"),
        (("lda",), {"scf_every": 0}, "scf_every"),
        (("lda",), {"tol": -1.0}, "tol"),
        (("lda",), {"on_unconverged": "ignore"}, "on_unconverged"),
    ],
)
def test_impossible_models_are_refused(arguments, options, field):
    with pytest.raises(InputError) as error:
        XCModel(*arguments, **options)
    assert field is None or error.value.field == field
    assert error.value.remedy


def test_misspelt_keyword_is_an_error():
    with pytest.raises(TypeError, match="learning_rat'"):
        XCModel("lda", learning_rat=0.1)


def test_unusable_systems_name_the_entry(make_model, make_dataset, entries, float32_network):
    with torch.no_grad():
        float32_network[2].bias.fill_(float("nan"))
    with pytest.raises(FunctionalError):
        make_model("lda,pw", float32_network, aweight0=1.0).predict(make_dataset(entries[:1]))


def test_dftxc_as_a_torch_module_under_deepchems_signature(entries, float32_network):
    module = DFTXC("lda_x", float32_network, grid_level=0)
    names = [name for name, _ in module.named_parameters()]
    assert len(names) == len(set(names)) == 6  # two layers, a and b, each once
    values = module(entries[2:4])
    assert values.shape == (2, 1) and values.dtype == torch.float64
    values.sum().backward()
    assert module.xc.aweight.grad is not None
