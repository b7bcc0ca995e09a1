"""A killed run goes on to the result it would have had; reloading gives the same predictions."""

import dataclasses

import deepchem as dc
import numpy as np
import pytest
import torch
from torch import nn

from deepchem_dft import checkpoint as files
from deepchem_dft.errors import CheckpointError
from deepchem_dft.models import XCModel


class Killed(Exception):
    pass


def state_of(model):
    """Return all a run ends with, but for wall times."""
    reports = [dataclasses.asdict(r) for r in model.history]
    for report in reports:
        report.pop("seconds")
    weights = {k: v.clone() for k, v in model.model.state_dict().items()}
    return weights, reports


def assert_same(one, two):
    for name, value in one[0].items():
        torch.testing.assert_close(value, two[0][name], rtol=0, atol=1e-10)
    assert len(one[1]) == len(two[1])
    for a, b in zip(*(x[1] for x in (one, two))):
        assert a.keys() == b.keys()
        for key in a:
            if a[key] is not None or b[key] is not None:
                assert a[key] == pytest.approx(b[key], rel=1e-10, abs=1e-10), key


def settings(k):
    """Learning-rate schedule and momentum, so that the optimiser's state matters."""
    rate = dc.models.optimizers.ExponentialDecay(0.02, 0.9, 2)
    return {"optimizer": dc.models.optimizers.Adam(rate), "batch_size": 2, "scf_every": k, "loss": "l1"}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Keep finished runs of six epochs, by scf_every."""
    return {}


def reference(uninterrupted, make_model, dataset, valid, k):
    if k not in uninterrupted:
        model = make_model(**settings(k))
        model.fit(dataset, nb_epoch=6, valid_dataset=valid)
        uninterrupted[k] = (state_of(model), model.predict(dataset))
    return uninterrupted[k]


@pytest.mark.parametrize(("k", "kill_at"), [(1, 1), (1, 5), (1, 8), (3, 4), (3, 11), (3, 18)])
def test_killed_at_a_step_resumes_to_the_same_result(
    make_model, make_dataset, entries, dataset, uninterrupted, k, kill_at
):
    valid = make_dataset(entries[:1])
    expected, prediction = reference(uninterrupted, make_model, dataset, valid, k)

    def kill(model, step):
        if step == kill_at:
            raise Killed

    first = make_model(**settings(k))
    with pytest.raises(Killed):
        first.fit(dataset, nb_epoch=6, valid_dataset=valid, callbacks=kill)
    torch.rand(5)  # what another process would have done to the random numbers
    again = make_model(model_dir=first.model_dir, **settings(k))
    restore = bool(again.get_checkpoints())
    assert restore == (kill_at > 3)  # three steps make an epoch
    again.fit(dataset, nb_epoch=6, valid_dataset=valid, restore=restore)
    assert_same(state_of(again), expected)
    np.testing.assert_allclose(again.predict(dataset), prediction, rtol=0, atol=1e-10)


def test_killed_after_a_checkpoint_within_an_epoch(make_model, dataset, uninterrupted):
    def kill(model, step):
        if step == 8:
            raise Killed

    whole = make_model(**settings(3))
    whole.fit(dataset, nb_epoch=4, checkpoint_interval=0)
    first = make_model(**settings(3))
    with pytest.raises(Killed):
        first.fit(dataset, nb_epoch=4, checkpoint_interval=2, callbacks=kill)
    again = make_model(model_dir=first.model_dir, **settings(3))
    steps = []
    again.fit(dataset, nb_epoch=4, restore=True, callbacks=lambda m, s: steps.append(s))
    assert steps == [9, 10, 11, 12]
    assert_same(state_of(again), state_of(whole))


def test_network_that_draws_random_numbers_resumes(make_model, small):
    """A loss that draws from torch and numpy sees the numbers it would have seen."""

    def noisy(p, y, w):
        return ((p - y - 0.01 * torch.randn(1) + 0.01 * np.random.rand()) ** 2).sum()

    def kill(model, step):
        if step == 3:
            raise Killed

    torch.manual_seed(5)
    np.random.seed(5)
    whole = make_model(loss=noisy)
    whole.fit(small, nb_epoch=4)
    torch.manual_seed(5)
    np.random.seed(5)
    first = make_model(loss=noisy)
    with pytest.raises(Killed):
        first.fit(small, nb_epoch=4, callbacks=kill)
    torch.manual_seed(99)
    np.random.seed(99)
    again = make_model(loss=noisy, model_dir=first.model_dir)
    again.fit(small, nb_epoch=4, restore=True)
    assert_same(state_of(again), state_of(whole))


def test_unseeded_run_keeps_its_order_of_entries(make_model, dataset):
    def kill(model, step):
        if step == 7:
            raise Killed

    first = make_model(seed=None, **settings(1))
    first.save_checkpoint()
    whole = make_model(seed=None, model_dir=first.model_dir, **settings(1))
    whole.restore()
    assert whole.seed == first.seed
    whole.fit(dataset, nb_epoch=4, checkpoint_interval=0)
    with pytest.raises(Killed):
        first.fit(dataset, nb_epoch=4, callbacks=kill)
    again = make_model(seed=None, model_dir=first.model_dir, **settings(1))
    again.fit(dataset, nb_epoch=4, restore=True)
    assert_same(state_of(again), state_of(whole))


def test_restore_of_a_finished_run_goes_on_from_the_last_parameters(make_model, overtrained):
    """Selecting the best parameters at the end of a run must not change a longer run."""
    train, valid = overtrained
    whole = make_model(learning_rate=0.02)
    whole.fit(train, nb_epoch=8, valid_dataset=valid)
    model = make_model(learning_rate=0.02)
    model.fit(train, nb_epoch=6, valid_dataset=valid)
    assert not model.history[-1].best
    again = make_model(learning_rate=0.02, model_dir=model.model_dir)
    again.fit(train, nb_epoch=8, valid_dataset=valid, restore=True)
    assert_same(state_of(again), state_of(whole))
    loss = again.fit(train, nb_epoch=8, valid_dataset=valid, restore=True)  # nothing left to do
    assert loss == whole.history[-1].loss
    assert_same(state_of(again), state_of(whole))


def test_two_fits_equal_one_long_fit(make_model, dataset):
    one, two = make_model(batch_size=2), make_model(batch_size=2)
    one.fit(dataset, nb_epoch=4)
    two.fit(dataset, nb_epoch=1)
    two.fit(dataset, nb_epoch=3)
    assert_same(state_of(one), state_of(two))


# -- reloading ------------------------------------------------------------------------------------


def test_reload_into_a_fresh_model_gives_the_same_predictions(make_model, dataset):
    model = make_model(seed=1)
    model.fit(dataset, nb_epoch=3)
    expected = model.predict(dataset)
    fresh = make_model(seed=2, model_dir=model.model_dir)
    assert np.abs(fresh.predict(dataset) - expected).max() > 1e-6
    fresh.restore()
    np.testing.assert_allclose(fresh.predict(dataset), expected, rtol=0, atol=1e-10)
    assert fresh.get_global_step() == 3 and len(fresh.history) == 3


def test_load_rebuilds_the_model_from_its_file_alone(make_model, dataset):
    network = {"hidden": [5], "dtype": "float32"}
    model = make_model("pbe", network, loss="huber", type_weights={"ae": 2.0})
    model.fit(dataset, nb_epoch=1)
    again = XCModel.load(model.get_checkpoints()[0])
    assert again.xc == "pbe" and again.entry_loss.type_weights == {"ae": 2.0}
    assert again.model.options.grid_level == 0
    assert again.functional.nnxc.nnmodel.config["hidden"] == [5]
    np.testing.assert_allclose(again.predict(dataset), model.predict(dataset), rtol=0, atol=1e-10)


def test_load_asks_for_a_network_it_does_not_hold(make_model, small, float32_network):
    model = make_model("lda,pw", float32_network)
    model.fit(small, nb_epoch=2)
    with pytest.raises(CheckpointError, match="pass nnmodel="):
        XCModel.load(model.model_dir)
    same_kind = nn.Sequential(nn.Linear(2, 4), nn.Softplus(), nn.Linear(4, 1))
    again = XCModel.load(model.model_dir, same_kind)
    np.testing.assert_allclose(again.predict(small), model.predict(small), rtol=0, atol=1e-10)
    with pytest.raises(CheckpointError, match="belongs to a different model"):
        XCModel.load(
            model.model_dir,
            nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1)),
        )


def test_restore_refuses_other_models_and_damaged_files(make_model, small):
    model = make_model()
    model.fit(small, nb_epoch=1)
    with pytest.raises(CheckpointError, match="trained on top of libxc"):
        make_model("lda,vwn", model_dir=model.model_dir).restore()
    with pytest.raises(CheckpointError, match="different model"):
        make_model(hidden_size=5).restore(model_dir=model.model_dir)
    with pytest.raises(CheckpointError, match="no checkpoint found"):
        make_model().fit(small, restore=True)
    path = model.get_checkpoints()[0]
    with open(path, "r+b") as file:
        file.truncate(1000)
    before = model.functional.bweight.item()
    with pytest.raises(CheckpointError, match="checkpoint1.pt.*damaged"):
        model.restore()
    assert model.functional.bweight.item() == before


def test_number_and_order_of_checkpoints(make_model, small):
    model = make_model()
    model.fit(small, nb_epoch=4, max_checkpoints_to_keep=2)
    paths = model.get_checkpoints()
    assert [files.read(p)["progress"]["epoch"] for p in paths] == [4, 3]
    model.restore(paths[1])
    assert len(model.history) == 3
    other = make_model()
    other.fit(small, nb_epoch=4, checkpoint_every=3)
    assert [files.read(p)["progress"]["epoch"] for p in other.get_checkpoints()] == [4, 3]
    silent = make_model()
    silent.fit(small, nb_epoch=1, checkpoint_interval=0)
    assert silent.get_checkpoints() == []


def test_best_parameters_can_be_restored_from_any_checkpoint(make_model, overtrained):
    train, valid = overtrained
    model = make_model(learning_rate=0.02)
    model.fit(train, nb_epoch=8, valid_dataset=valid)
    expected = model.predict(valid)
    model.fit(train, nb_epoch=2)  # now worse, and with no validation of its own
    with pytest.raises(CheckpointError, match="validated"):
        model.restore(best=True)
    whole = model.get_checkpoints()[2]
    model.restore(whole, best=True)
    np.testing.assert_allclose(model.predict(valid), expected, rtol=0, atol=1e-10)


# -- from other models ----------------------------------------------------------------------------


def test_load_from_pretrained_by_model_folder_and_file(make_model, small):
    source = make_model(seed=1)
    source.fit(small, nb_epoch=3)
    expected = source.predict(small)
    for origin in (source, source.model_dir, source.get_checkpoints()[0]):
        model = make_model(seed=2)
        model.load_from_pretrained(origin)
        np.testing.assert_allclose(model.predict(small), expected, rtol=0, atol=1e-10)
        assert model.get_global_step() == 0
    model.fit(small, nb_epoch=1)
    model.load_from_pretrained(source)
    assert not model.model.states.to_dict()  # orbitals of the functional that was overwritten


def test_load_from_pretrained_without_the_top_layer(make_model, small):
    source = make_model(seed=1)
    source.fit(small, nb_epoch=3)
    model = make_model(seed=2)
    model.load_from_pretrained(source, include_top=False)
    new, old = (m.functional.nnxc.nnmodel for m in (model, source))
    assert torch.equal(new[0].weight, old[0].weight)
    assert not new[2].weight.any() and old[2].weight.any()


def test_load_from_pretrained_without_checkpoints_takes_the_parameters_in_memory(make_model, small):
    source = make_model(seed=1)
    source.fit(small, nb_epoch=2, checkpoint_interval=0)
    model = make_model(seed=2)
    model.load_from_pretrained(source)
    np.testing.assert_allclose(model.predict(small), source.predict(small), rtol=0, atol=1e-10)
    with pytest.raises(CheckpointError, match="no such file"):
        model.load_from_pretrained("/nowhere")


def test_load_from_pretrained_with_deepchem_maps(make_model):
    source, model = make_model(seed=1), make_model(seed=2)
    assignment = {source.functional.nnxc.nnmodel[0].weight: model.functional.nnxc.nnmodel[0].weight}
    values = {k: k.detach().numpy() + 1.0 for k in assignment}
    model.load_from_pretrained(source, assignment, values)
    torch.testing.assert_close(
        model.functional.nnxc.nnmodel[0].weight, source.functional.nnxc.nnmodel[0].weight + 1.0
    )


@pytest.mark.parametrize(
    "path",
    [
        {"two_grid": None},
        {"two_grid": False},
        {"scf_every": 4, "scf_trust": 1e-8},
        {"scf_every": 3},
        {"density_fit": True},
    ],
    ids=["two-grid", "warm", "trusted", "held", "fitted"],
)
def test_every_fast_path_resumes_to_the_same_result(make_model, make_dataset, tmp_path, path):
    """Orbitals, trends, anchors of held densities and counters are in the checkpoint."""
    from deepchem_dft.data import DFTEntry

    systems = [
        {"moldesc": "Li 0 0 0; H 0 0 3.0", "basis": "6-31g"},
        {"moldesc": "H 0 0 0; H 0 0 1.4", "basis": "6-31g"},
    ]
    data = make_dataset(
        [
            DFTEntry.create("energy", f"{value} Ha", [system])
            for value, system in zip((-8.07, -1.17), systems, strict=True)
        ]
    )
    options = {"grid_level": 2, "batch_size": 1, **path}
    whole = make_model(**options, model_dir=str(tmp_path / "whole"))
    whole.fit(data, nb_epoch=7)
    make_model(**options, model_dir=str(tmp_path / "parts")).fit(data, nb_epoch=4)
    again = make_model(**options, model_dir=str(tmp_path / "parts"))
    again.fit(data, nb_epoch=7, restore=True)
    assert_same(state_of(again), state_of(whole))
