"""KSRModel as a DeepChem model: learning, selection, files, reproducibility, mistakes."""

import deepchem as dc
import numpy as np
import pytest
import torch
from torch import nn

from deepchem_dft import KSRModel
from deepchem_dft.errors import CheckpointError, FunctionalError, InputError
from deepchem_dft.lattice.systems import System, h2, h2_plus, h4
from deepchem_dft.models import KSRLoss, KSRStage

from .lattice import GRID, dataset_of, model_of

pytestmark = pytest.mark.filterwarnings("ignore:.*not self-consistent")


@pytest.mark.parametrize(("method", "epochs", "share"), [("lbfgs", 40, 0.02), ("adam", 60, 0.2)])
def test_two_molecules_are_learned_by_heart(two, method, epochs, share):
    model = model_of("global", method=method, learning_rate=0.02, density_weight=0.1)
    losses = []
    final = model.fit(two, nb_epoch=epochs, all_losses=losses)
    assert len(losses) == len(model.history) == epochs
    assert final == losses[-1] < share * losses[0]
    before, after = (np.abs(m.predict(two) - two.y).mean() for m in (model_of("global"), model))
    assert after < 0.3 * before
    assert model.history[-1].epoch == epochs
    assert model.history[-1].evaluations >= epochs


def test_lbfgs_needs_fewer_evaluations_than_adam(two):
    lbfgs, adam = model_of(), model_of(method="adam", learning_rate=0.01)
    lbfgs.fit(two, nb_epoch=15)
    adam.fit(two, nb_epoch=lbfgs.history[-1].evaluations)
    assert lbfgs.history[-1].loss < adam.history[-1].loss


def test_loss_is_that_of_its_formula(two):
    model = model_of(energy_weight=2.0, density_weight=0.3, discount=0.8, skip=1, method="adam")
    states, expected = two.X, 0.0
    found = model.trajectory(states)
    for row, state in enumerate(states):
        errors = (found.energies[row] - state.energy).numpy()
        energy = sum(0.8 ** (3 - k) * errors[k] ** 2 for k in (1, 2, 3))
        deviation = found.mixed[row, 0].numpy() - state.density
        expected += (2.0 * energy + 0.3 * (deviation**2).sum() * GRID.spacing) / 2 / len(states)
    weighted = dc.data.NumpyDataset(two.X, two.y, np.array([[3.0], [3.0]]))
    assert model.fit(two, nb_epoch=1) == pytest.approx(expected, rel=1e-12)
    again = model_of(energy_weight=2.0, density_weight=0.3, discount=0.8, skip=1, method="adam")
    assert again.fit(weighted, nb_epoch=1) == pytest.approx(3 * expected, rel=1e-12)


def test_batches_make_no_difference():
    dataset = dataset_of(h2(1.28), h4(2.0), h2_plus(2.0), h2(3.84), h4(3.2))
    values = {}
    for size in (1, 2, 5):
        model = model_of("global", batch_size=size)
        prediction, density = model.predict(dataset), model.predict_density(dataset)
        model.fit(dataset, nb_epoch=3)
        values[size] = prediction, density, np.array([r.loss for r in model.history])
    for size in (1, 2):
        for one, other in zip(values[size], values[5], strict=True):
            assert np.abs(one - other).max() < 1e-9
    assert values[1][0].shape == (5, 1)
    assert values[1][1].shape == (5, len(GRID))
    assert (values[1][1].sum(1) * GRID.spacing).tolist() == pytest.approx([2, 4, 1, 2, 4])


def test_predictions_keep_the_order_and_take_systems(two):
    model = model_of()
    dataset = dataset_of(h2(1.28), h4(2.0), h2(3.84))
    order = [2, 0, 1]
    assert np.allclose(
        model.predict(dataset.select(order)), model.predict(dataset)[order], rtol=0, atol=1e-12
    )
    bare = np.empty(2, dtype=object)
    bare[:] = [h2(1.28), h2(3.84)]
    assert np.array_equal(model.predict(dc.data.NumpyDataset(bare)), model.predict(two))
    assert np.array_equal(model.predict_on_batch(bare), model.predict(two))


def test_metrics_and_disk_data_sets(two, tmp_path):
    model = model_of()
    metric = dc.metrics.Metric(dc.metrics.mae_score)
    expected = np.abs(model.predict(two) - two.y).mean()
    assert model.evaluate(two, [metric])["mae_score"] == pytest.approx(expected, rel=1e-12)
    disk = dc.data.DiskDataset.from_numpy(two.X, two.y, data_dir=str(tmp_path))
    assert model.evaluate(disk, [metric])["mae_score"] == pytest.approx(expected, rel=1e-12)
    assert model.fit(disk, nb_epoch=2) == model_of().fit(two, nb_epoch=2)


def test_the_validation_chooses_parameters(two, others):
    model = model_of("global")
    model.fit(two, nb_epoch=12, valid_dataset=others, validate_every=2)
    scores = {r.epoch: r.score for r in model.history if r.score is not None}
    assert list(scores) == [2, 4, 6, 8, 10, 12]
    reached = np.abs(model.predict(others) - others.y).mean()
    assert reached == pytest.approx(min(scores.values()), rel=1e-9)
    best = [r.epoch for r in model.history if r.best][-1]
    assert scores[best] == min(scores.values())


def test_the_validation_chooses_a_seed(two, others):
    model = model_of("global")
    model.fit(two, nb_epoch=6, valid_dataset=others, validate_every=3, seeds=[5, 1, 7])
    assert [r.seed for r in model.history] == [5] * 6 + [1] * 6 + [7] * 6
    alone = {}
    for seed in (5, 1, 7):
        one = model_of("global", seed=seed)
        one.fit(two, nb_epoch=6, valid_dataset=others, validate_every=3)
        alone[seed] = one
    losses = [r.loss for seed in (5, 1, 7) for r in alone[seed].history]
    assert [r.loss for r in model.history] == losses
    winner = min(alone.values(), key=lambda m: m.progress.best.score)
    assert np.array_equal(model.predict(others), winner.predict(others))


def test_where_nothing_else_is_known_the_loss_chooses_a_seed(two, others):
    stages = [KSRStage(3, energy_weight=0.0), KSRStage(4)]
    model = model_of("global")
    model.fit(two, stages=stages, validate_every=2, seeds=[5, 1, 7], select="loss")
    last = {r.seed: r.loss for r in model.history if r.stage == 2}
    assert {r.stage for r in model.history if r.score is not None} == {
        2
    }  # losses of other weights say nothing
    winner = min(last, key=last.get)
    alone = model_of("global", seed=winner)
    alone.fit(two, stages=stages)
    assert np.array_equal(model.predict(others), alone.predict(others))
    with pytest.raises(InputError, match="either a validation set or the loss"):
        model.fit(two, nb_epoch=1, valid_dataset=others, select="loss")


# -- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["lbfgs", "adam"])
def test_a_resumed_run_is_as_if_it_had_never_stopped(two, others, method, tmp_path):
    options = {"method": method, "learning_rate": 0.01, "batch_size": 1}
    straight = model_of("global", **options)
    straight.fit(two, nb_epoch=9, valid_dataset=others, validate_every=2)
    first = model_of("global", **options, model_dir=str(tmp_path))
    first.fit(two, nb_epoch=5, valid_dataset=others, validate_every=2)
    second = model_of("global", **{**options, "seed": 1}, model_dir=str(tmp_path))
    second.fit(two, nb_epoch=9, valid_dataset=others, validate_every=2, restore=True)
    # Validations of the last epoch of a fit are extra.
    assert [r.loss for r in second.history] == [r.loss for r in straight.history]
    assert np.array_equal(second.predict(others), straight.predict(others))


def test_a_killed_run_goes_on_within_its_seed(two, others, tmp_path):
    class Killed(Exception):
        pass

    straight = model_of("global")
    settings = {"valid_dataset": others, "validate_every": 2, "seeds": 3}
    straight.fit(two, nb_epoch=6, **settings)

    def kill(report):
        if (report.seed, report.epoch) == (2, 5):
            raise Killed

    model = model_of("global", model_dir=str(tmp_path))
    with pytest.raises(Killed):
        model.fit(two, nb_epoch=6, **settings, checkpoint_every=3, epoch_callback=kill)
    again = model_of("global", model_dir=str(tmp_path))
    again.fit(two, nb_epoch=6, **{**settings, "seeds": None}, restore=True)
    assert [(r.seed, r.epoch, r.loss) for r in again.history] == [
        (r.seed, r.epoch, r.loss) for r in straight.history
    ]
    assert np.array_equal(again.predict(others), straight.predict(others))


def test_a_reloaded_model_predicts_the_same(two, tmp_path):
    model = model_of("global", model_dir=str(tmp_path), functional_options={"gate_width": 0.6})
    model.fit(two, nb_epoch=3)
    again = model_of("global", functional_options={"gate_width": 0.6})
    assert not np.array_equal(again.predict(two), model.predict(two))
    again.restore(model_dir=str(tmp_path))
    assert np.array_equal(again.predict(two), model.predict(two))
    assert again.history == model.history
    built = KSRModel.load(tmp_path)
    assert np.array_equal(built.predict(two), model.predict(two))
    assert built.functional.grid == GRID
    assert KSRModel.load(tmp_path, test_iterations=7).test_iterations == 7
    fresh = model_of("global", functional_options={"gate_width": 0.6})
    fresh.load_from_pretrained(model, model_dir=str(tmp_path))
    assert np.array_equal(fresh.predict(two), model.predict(two))
    with pytest.raises(CheckpointError, match="different model"):
        model_of("local").restore(model_dir=str(tmp_path))


def test_a_users_network_is_trained_saved_and_loaded(two, tmp_path):
    def network(seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return nn.Sequential(nn.Conv1d(1, 8, 3, padding=1), nn.SiLU(), nn.Conv1d(8, 1, 1)).double()

    model = model_of(network, model_dir=str(tmp_path), iterations=3)
    first = model_of(network(1), iterations=3)
    assert np.array_equal(first.predict(two), model.predict(two))
    model.fit(two, nb_epoch=8)
    assert model.history[-1].loss < 0.5 * model.history[0].loss
    with pytest.raises(CheckpointError, match="pass functional="):
        KSRModel.load(tmp_path)
    again = KSRModel.load(tmp_path, network(4))
    assert np.array_equal(again.predict(two), model.predict(two))


@pytest.mark.parametrize("stop", [(1, 1, 4), (2, 2, 2)])
def test_stages_come_one_after_the_other(two, others, stop, tmp_path):
    class Killed(Exception):
        pass

    def kill(report):
        if (report.seed, report.stage, report.epoch) == stop:
            raise Killed

    stages = [KSRStage(5, iterations=1, start="exact", energy_weight=3.0), KSRStage(3)]
    settings = {"valid_dataset": others, "validate_every": 2, "stages": stages}
    straight = model_of("global")
    straight.fit(two, seeds=2, **settings)
    expected = [(s, stage, e) for s in (1, 2) for stage, n in ((1, 5), (2, 3)) for e in range(1, n + 1)]
    assert [(r.seed, r.stage, r.epoch) for r in straight.history] == expected
    step = model_of("global", iterations=1, skip=0, start="exact", energy_weight=3.0)
    step.fit(two, nb_epoch=5)
    assert [r.loss for r in step.history] == [r.loss for r in straight.history[:5]]
    rest = model_of("global")
    rest.functional.load_state_dict(step.functional.state_dict())
    rest.fit(two, nb_epoch=3)
    assert [r.loss for r in rest.history] == [r.loss for r in straight.history[5:8]]
    model = model_of("global", model_dir=str(tmp_path))
    with pytest.raises(Killed):
        model.fit(two, seeds=2, **settings, checkpoint_every=1, epoch_callback=kill)
    again = model_of("global", model_dir=str(tmp_path))
    again.fit(two, **settings, restore=True)
    assert [r.loss for r in again.history] == [r.loss for r in straight.history]
    assert np.array_equal(again.predict(others), straight.predict(others))
    with pytest.raises(InputError, match="stage 2 of 1"):
        again.fit(two, nb_epoch=3, restore=True)


# -- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"functional": "globl"}, "unknown functional"),
        ({"method": "newton"}, "unknown method 'newton'"),
        ({"start": "cold"}, "unknown start 'cold'"),
        ({"on_unconverged": "none"}, "unknown on_unconverged"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"device": "cuda"}, "CPU"),
        ({"skip": 4}, "all 4 are skipped"),
        ({"discount": 0.0}, "discount 0.0"),
        ({"energy_weight": 0.0, "density_weight": 0.0}, "not both zero"),
        ({"functional_options": {"hiden": (3,)}}, "hiden"),
    ],
)
def test_models_that_cannot_be(options, message):
    with pytest.raises(InputError, match=message):
        model_of(options.pop("functional", "global"), **options)
    with pytest.raises(TypeError, match="iteration"):
        KSRModel(iteration=3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.array([1.0, 2.0])}, "X holds a float64"),
        ({"y": np.array([[1.0], [np.nan]])}, "not all finite"),
        ({"y": np.array([[-2.0], [-1.5]])}, "H2 R=1.28.*label is -2 where the exact state says"),
    ],
)
def test_data_that_cannot_be_trained_on(two, change, message):
    content = {"X": two.X, "y": two.y, **change}
    with pytest.raises(InputError, match=message):
        model_of().fit(dc.data.NumpyDataset(**content), nb_epoch=1)


def test_other_mistakes_are_explained(two, tmp_path):
    with pytest.raises(InputError, match="give valid_dataset"):
        model_of().fit(two, nb_epoch=1, seeds=2)
    with pytest.raises(InputError, match="give the model the same grid"):
        KSRModel(iterations=2, skip=0).fit(two, nb_epoch=1)
    with pytest.raises(InputError, match="no parameters to train"):
        model_of("uniform-gas").fit(two, nb_epoch=1)
    with pytest.raises(InputError, match="one set of initial weights"):
        model_of(nn.Conv1d(1, 1, 1).double()).fit(two, nb_epoch=1, valid_dataset=two, seeds=2)
    with pytest.raises(InputError, match="data sets, not on generators"):
        model_of().fit_generator([])
    with pytest.raises(CheckpointError, match="train first"):
        model_of(model_dir=str(tmp_path)).fit(two, nb_epoch=1, restore=True)
    far = dataset_of(h2(1.28))
    far.X[0] = System([11.0, 12.5], [1, 1], 2, name="far H2")
    with pytest.raises(InputError, match="far H2.*outside the grid"):
        model_of().predict(far)


def test_a_seed_that_explodes_does_not_end_the_others(two, others):
    class Exploding(nn.Module):
        def __init__(self, scale):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(scale, dtype=torch.float64))

        def forward(self, density):
            return -self.scale * density

    model = model_of(lambda seed: Exploding(float("nan") if seed == 1 else 0.3))
    model.fit(two, nb_epoch=3, valid_dataset=others, validate_every=1, seeds=2)
    assert list(model.progress.failures) == ["1"]
    assert {r.seed for r in model.history} == {2}
    with pytest.raises((InputError, FunctionalError), match="not finite"):
        model_of(Exploding(float("nan"))).fit(two, nb_epoch=1)


def test_the_loss_can_be_called_alone():
    assert KSRLoss(discount=0.5, skip=1).discounts(4).tolist() == [0.25, 0.5, 1.0]
