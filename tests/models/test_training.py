"""Training: it learns, its gradient is right, its loss means what the documentation says."""

import math
import warnings
from dataclasses import replace

import deepchem as dc
import numpy as np
import pytest
import torch
from torch import nn

from deepchem_dft.data import DFTEntry
from deepchem_dft.errors import FunctionalError, InputError
from deepchem_dft.models import XCModel

HARTREE = 627.5094740631  # kcal/mol


def weights_of(model):
    return torch.cat([p.detach().double().flatten() for p in model.model.parameters()])


def test_overfits_two_entries(make_model, small):
    model = make_model(learning_rate=0.005, loss="huber", loss_unit="kcal/mol", hidden_size=8)
    first = model.fit(small, nb_epoch=1)
    model.fit(small, nb_epoch=60)
    errors = np.abs(model.predict(small) - small.y) * HARTREE
    assert first > 5.0
    assert errors.max() < 1.0


def test_starts_exactly_at_the_conventional_functional(make_model, dataset, float32_network):
    plain = XCModel("lda,pw", nn.Linear(2, 1), aweight0=1e-300, grid_level=0).predict(dataset)
    for model in (make_model(), make_model("lda,pw", float32_network)):
        np.testing.assert_allclose(model.predict(dataset), plain, rtol=0, atol=1e-12)
    untouched = float32_network[0].weight.detach().clone()
    assert torch.equal(make_model("lda,pw", float32_network).functional.nnxc.nnmodel[0].weight, untouched)


def test_gradient_of_the_loss_against_finite_differences(make_model, dataset):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    model = make_model("lda,pw", network, aweight0=0.3, tol=1e-9, type_weights={"ie": 2.0})

    def loss():
        value = model.model.eval()(dataset.X)
        target, weight = torch.as_tensor(dataset.y), torch.as_tensor(dataset.w)
        return model.entry_loss(list(dataset.X), value, target, weight)

    loss().backward()
    chosen = [
        (model.functional.aweight, ()),
        (model.functional.bweight, ()),
        (network[0].weight, (1, 0)),
        (network[2].weight, (0, 2)),
    ]
    for parameter, index in chosen:
        values = []
        for shift in (1e-4, -2e-4):
            with torch.no_grad():
                parameter[index] += shift
                values.append(loss().item())
        with torch.no_grad():
            parameter[index] += 1e-4
        numeric = (values[0] - values[1]) / 2e-4
        assert parameter.grad[index].item() == pytest.approx(numeric, rel=1e-6, abs=1e-10)


def test_loss_of_an_epoch_does_not_depend_on_the_batches(make_model, dataset):
    losses = {}
    for size in (1, 2, 5):
        model = make_model(batch_size=size, learning_rate=0.0)
        losses[size] = model.fit(dataset, nb_epoch=1, checkpoint_interval=0)
        assert model.get_global_step() == math.ceil(5 / size)
    by_hand = np.mean((make_model().predict(dataset) - dataset.y) ** 2)
    for size in losses:
        assert losses[size] == pytest.approx(by_hand, rel=1e-8)


def test_report_says_what_happened(make_model, dataset):
    model = make_model(batch_size=2, learning_rate=0.0)
    seen = []
    model.fit(dataset, nb_epoch=2, epoch_callback=seen.append)
    errors = np.abs(model.predict(dataset) - dataset.y).ravel() * HARTREE
    report = model.last_epoch
    assert seen == model.history and len(seen) == 2 and report.epoch == 2
    assert report.mae_kcal == pytest.approx(errors.mean(), rel=1e-6)
    assert report.by_type["ie"] == pytest.approx(errors[[1, 3]].mean(), rel=1e-6)
    assert set(report.by_type) == {"ae", "ie", "energy"}
    assert report.unconverged == 0 and report.valid_mae_kcal is None


def test_unseeded_models_differ(make_model):
    assert make_model(seed=None).seed != make_model(seed=None).seed
    assert not torch.equal(weights_of(make_model(seed=None)), weights_of(make_model(seed=None)))


def test_plain_float32_network_trains(make_model, small, float32_network):
    model = make_model("lda,pw", float32_network, learning_rate=0.02)
    assert model.functional.aweight.item() == 0.0
    first = model.fit(small, nb_epoch=1)
    last = model.fit(small, nb_epoch=15)
    assert last < 0.5 * first
    assert float32_network[0].weight.dtype == torch.float32
    assert model.functional.aweight.item() != 0.0


@pytest.mark.parametrize("loss", ["l1", "huber", dc.models.losses.L2Loss(), "callable"])
def test_every_loss_trains(make_model, small, loss):
    if loss == "callable":
        loss = lambda p, y, w: (w * (p - y).abs() ** 1.5).sum()  # noqa: E731
    model = make_model(loss=loss, loss_unit="ev")
    losses = []
    model.fit(small, nb_epoch=6, all_losses=losses, checkpoint_interval=0)
    assert len(losses) == 6 and losses[-1] < losses[0]


def test_deepchem_loss_argument_and_step_callbacks(make_model, small):
    model, steps = make_model(batch_size=1), []

    def loss(outputs, labels, weights):
        return (weights[0] * (outputs[0] - labels[0]) ** 4).mean()

    value = model.fit(small, nb_epoch=1, loss=loss, callbacks=lambda m, s: steps.append((m, s)))
    assert steps == [(model, 1), (model, 2)]
    assert 0 < value < 1


def test_frozen_steps_solve_less_and_learn_the_same(make_model, small):
    runs = {}
    for every in (1, 5):
        model = make_model(scf_every=every, learning_rate=0.005)
        model.fit(small, nb_epoch=15)
        runs[every] = model
        assert sum(r.scf_solutions for r in model.history) == 2 * 15 / every
    losses = [runs[k].history[-1].loss for k in (1, 5)]
    assert losses[1] < 0.5 * runs[5].history[0].loss
    assert losses[1] == pytest.approx(losses[0], rel=0.2)


def test_a_system_is_solved_early_where_its_density_would_move(make_model, small):
    counts = {}
    for trust in (1e-9, 1.0):
        model = make_model(scf_every=100, scf_trust=trust, learning_rate=0.01)
        model.fit(small, nb_epoch=8)
        counts[trust] = sum(r.scf_solutions for r in model.history)
    assert counts[1.0] == 2 < counts[1e-9] <= 16


def test_frozen_step_equals_self_consistent_gradient_where_nothing_moved(make_model, small):
    model = make_model(scf_every=2, tol=1e-9)
    network = model.model.train()
    gradients = []
    for step in (0, 1):
        network.solver.step = step
        network.zero_grad()
        network(small.X).sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
    assert network.solver.solutions == 2
    # Not to the last digit: frozen steps merge grid points that look alike to the network.
    torch.testing.assert_close(gradients[0], gradients[1], rtol=2e-4, atol=1e-6)


def test_unconverged_entries_are_left_out_counted_and_warned_about_once(make_model, dataset):
    # One Fock build is enough for nothing but the hydrogen atom's starting guess.
    model = make_model(max_iter=1)
    before = weights_of(model)
    with pytest.warns(UserWarning, match="did not converge") as caught:
        loss = model.fit(dataset, nb_epoch=2)
    assert sum("did not converge" in str(w.message) for w in caught) == 1
    assert model.last_epoch.unconverged == 5 and math.isnan(loss)
    assert torch.equal(weights_of(model), before)


def test_an_unconverged_entry_does_not_change_what_the_others_teach(
    make_model, make_dataset, entries, monkeypatch
):
    results = []
    for chosen, broken in (([entries[3]], None), ([entries[2], entries[3]], "He")):
        model = make_model()
        layer = type(model.model.layer)
        usual = layer.forward

        def forward(self, molecule, guess=None, on_unconverged="raise", _b=broken, _u=usual):
            options = self.scf
            if molecule.name == _b:
                self.scf = replace(options, max_iter=1)
            try:
                return _u(self, molecule, guess, on_unconverged)
            finally:
                self.scf = options

        monkeypatch.setattr(layer, "forward", forward)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loss = model.fit(make_dataset(chosen), nb_epoch=2, deterministic=True)
        monkeypatch.undo()
        results.append((loss, weights_of(model)))
        assert model.last_epoch.unconverged == len(chosen) - 1
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1])


def test_nan_network_is_named_and_leaves_no_checkpoint(make_model, small, float32_network):
    model = make_model("lda,pw", float32_network, aweight0=1.0)
    model.fit(small, nb_epoch=1)
    kept = model.get_checkpoints()
    with torch.no_grad():
        float32_network[0].weight.fill_(math.nan)
    with pytest.raises(FunctionalError) as error:
        model.fit(small, nb_epoch=1)
    assert error.value.entry and error.value.remedy
    with pytest.raises(FunctionalError, match="no checkpoint is written"):
        model.save_checkpoint()
    assert model.get_checkpoints() == kept
    model.restore()
    assert np.isfinite(model.predict(small)).all()


def test_nan_loss_is_named(make_model, small):
    model = make_model(loss=lambda p, y, w: (p - y).sum() * math.nan)
    before = weights_of(model)
    with pytest.raises(FunctionalError, match="the loss is not a number") as error:
        model.fit(small, nb_epoch=1)
    assert error.value.entry
    assert torch.equal(weights_of(model), before) and not model.get_checkpoints()


def test_gradient_clipping(make_model, small):
    model = make_model(optimizer=dc.models.optimizers.GradientDescent(learning_rate=1.0), max_grad_norm=1e-3)
    before = weights_of(model)
    model.fit(small, nb_epoch=1)
    assert (weights_of(model) - before).norm().item() == pytest.approx(1e-3, rel=1e-3)


def test_regularization_is_added(make_model, small):
    model = make_model(learning_rate=0.0)
    plain = model.fit(small, nb_epoch=1)
    model.regularization_loss = lambda: model.functional.bweight**2
    assert model.fit(small, nb_epoch=1) == pytest.approx(plain + 1.0, rel=1e-9)


def test_learning_rate_batch_size_and_scf_every_may_follow_the_epoch(make_model, small):
    model, steps = make_model(), []

    def plan(m, epoch):
        m.set_learning_rate(0.0 if epoch == 1 else 0.01)
        m.batch_size = epoch
        m.scf_every = epoch
        steps.append((epoch, m.get_global_step(), weights_of(m)))

    model.fit(small, nb_epoch=3, before_epoch=plan)
    assert [s[:2] for s in steps] == [(1, 0), (2, 2), (3, 3)]
    assert torch.equal(steps[0][2], steps[1][2]) and not torch.equal(steps[1][2], steps[2][2])


@pytest.mark.parametrize("network", [nn.Dropout(0.1), nn.BatchNorm1d(2)])
def test_networks_that_cannot_become_self_consistent_are_refused(make_model, small, network):
    model = make_model("lda,pw", nn.Sequential(network, nn.Linear(2, 1)))
    with pytest.raises(InputError, match=type(network).__name__):
        model.fit(small)


def test_nothing_to_train_is_refused(make_model, small, float32_network):
    for parameter in float32_network.parameters():
        parameter.requires_grad_(False)
    model = make_model("lda,pw", float32_network, aweight0=1.0, train_a=False, train_b=False)
    with pytest.raises(InputError, match="no trainable parameters"):
        model.fit(small)


# -- validation ---------------------------------------------------------------------------------


def test_best_parameters_are_those_with_the_best_validation(make_model, overtrained):
    train, valid = overtrained
    model, snapshots = make_model(learning_rate=0.02), []
    model.fit(
        train,
        nb_epoch=8,
        valid_dataset=valid,
        epoch_callback=lambda r: snapshots.append((r.score, weights_of(model))),
    )
    scores = [s for s, _ in snapshots]
    best = int(np.argmin(scores))
    assert 0 < best < 7, "choose a learning rate with which validation gets worse again"
    assert [r.best for r in model.history][best] and not model.history[-1].best
    assert torch.equal(weights_of(model), snapshots[best][1])
    error = abs(model.predict(valid) - valid.y).mean() * HARTREE
    assert error == pytest.approx(scores[best], rel=1e-6)
    fresh = make_model(model_dir=model.model_dir)
    fresh.restore()
    assert torch.equal(weights_of(fresh), weights_of(model))


def test_early_stopping_counts_validations(make_model, overtrained):
    train, valid = overtrained
    model = make_model(learning_rate=0.02)
    model.fit(train, nb_epoch=40, valid_dataset=valid, early_stopping=2)
    best = max(r.epoch for r in model.history if r.best)
    assert len(model.history) == best + 2 < 40
    model = make_model(learning_rate=0.02)
    model.fit(train, nb_epoch=40, valid_dataset=valid, early_stopping=1, validate_every=3)
    assert [r.epoch for r in model.history if r.score is not None] == list(
        range(3, len(model.history) + 1, 3)
    )


def test_validation_does_not_change_training(make_model, small, make_dataset, entries):
    alone, watched = make_model(), make_model()
    alone.fit(small, nb_epoch=3)
    watched.fit(small, nb_epoch=3, valid_dataset=make_dataset(entries[:2]), restore_best=False)
    assert torch.equal(weights_of(alone), weights_of(watched))


def test_metric_of_the_user_selects(make_model, small, dataset):
    metric = dc.metrics.Metric(dc.metrics.mae_score)
    model = make_model()
    model.fit(small, nb_epoch=2, valid_dataset=dataset, metric=metric, restore_best=False)
    expected = abs(model.predict(dataset) - dataset.y).mean()
    assert model.history[-1].score == pytest.approx(expected, rel=1e-6)
    model.fit(
        small, nb_epoch=1, valid_dataset=dataset, metric=lambda y, p: 3.0, metric_greater_is_better=True
    )
    assert model.history[-1].score == -3.0


def test_an_epoch_with_unconverged_validation_entries_is_not_the_best():
    from deepchem_dft.models.xc.progress import EpochReport, Progress

    progress = Progress()
    for epoch, (score, lost) in enumerate([(5.0, 0), (1.0, 1), (math.nan, 0), (4.0, 0)], 1):
        progress.consider(EpochReport(epoch, 0.0, score=score, valid_unconverged=lost), {})
    assert progress.best.epoch == 4 and progress.best.validations_since == 0


# -- what is in the data set ----------------------------------------------------------------------


def test_data_sets_that_cannot_be_trained_on_are_refused(make_model, small, make_dataset):
    model = make_model()
    scaled = dc.trans.NormalizationTransformer(transform_y=True, dataset=small).transform(small)
    with pytest.raises(InputError, match="do not transform y"):
        model.fit(scaled)
    with pytest.raises(InputError, match="no entries"):
        model.fit(make_dataset([]))
    with pytest.raises(InputError, match="DFTEntry is needed"):
        model.fit(dc.data.NumpyDataset(np.zeros((2, 3)), np.zeros((2, 1))))
    bad = dc.data.NumpyDataset(small.X, small.y, np.array([[1.0], [math.nan]]))
    with pytest.raises(InputError, match="weights"):
        model.fit(bad)


def test_labels_stay_in_double_precision(make_model, make_dataset, entries):
    value = -1.174475714220443
    entry = DFTEntry.create("energy", str(value), [entries[4].get_systems()[0].system])
    assert float(np.float32(value)) != value
    model, seen = make_model(learning_rate=0.0), []

    def loss(outputs, labels, weights):
        seen.append(labels[0].item())
        return (outputs[0] - labels[0]).abs().mean()

    model.fit(make_dataset([entry]), nb_epoch=1, loss=loss)
    model.fit_generator(model.default_generator(make_dataset([entry])), loss=loss)
    assert seen == [value, value]
    assert model._prepare_batch(([], [np.array([[value]])], []))[1][0].item() == value


def test_systems_of_one_shape_can_be_solved_side_by_side(make_model):
    """As on a GPU; the same values, gradients and number of solutions."""
    curve = [
        DFTEntry.create("energy", "-1.1 Ha", [{"moldesc": f"H 0 0 0; H 0 0 {r}", "basis": "6-31g"}])
        for r in (1.2, 1.4, 1.7)
    ]
    found = []
    for together in (False, True):
        network = make_model(tol=1e-8).model.train()
        network.solver.side_by_side = together
        for _ in range(2):  # cold, then warm
            network.zero_grad()
            network(curve).sum().backward()
        gradient = torch.cat([p.grad.flatten() for p in network.parameters()])
        found.append((network(curve).detach(), gradient, network.solver.solutions))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=1e-10)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-7, atol=1e-9)
    assert found[0][2] == found[1][2] == 9
