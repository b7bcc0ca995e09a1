"""KSRModel as a DeepChem model: learning, selection, files, reproducibility, mistakes."""

from __future__ import annotations

import deepchem as dc
import numpy as np
import pytest
import torch
from torch import nn

from deepchem_dft import KSRModel
from deepchem_dft.errors import CheckpointError, FunctionalError, InputError, SCFNotConverged
from deepchem_dft.lattice.exact.state import ExactState
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.lattice.step import Molecules
from deepchem_dft.lattice.systems import System, h2, h2_plus, h4
from deepchem_dft.models import KSRLoss, KSRStage
from deepchem_dft.models.ksr.separability import Separability

pytestmark = pytest.mark.filterwarnings("ignore:.*not self-consistent")
GRID = Grid(121, 0.2)


def _state(system, grid):
    """A state that some functional could have: of the right form, not exact."""
    density = Molecules.of([system], grid).atoms()[0].numpy()
    energy = -1.05 * system.electrons + 0.04 * abs(system.positions[0])
    return ExactState(system, grid, energy, np.repeat(density / 2, 2, 0))


def _dataset(*systems, grid=GRID):
    states = np.empty(len(systems), dtype=object)
    states[:] = [_state(system, grid) for system in systems]
    y = np.array([[s.energy] for s in states])
    return dc.data.NumpyDataset(states, y, ids=[s.system.name for s in states])


def _model(functional="gradient", **options):
    """A quick model: few iterations, small networks."""
    defaults = {"grid": GRID, "iterations": 4, "skip": 2, "seed": 1}
    if isinstance(functional, str) and functional != "uniform-gas":
        defaults["functional_options"] = {"hidden": (6, 6), "windows": 3}
    return KSRModel(functional, **{**defaults, **options})


@pytest.fixture(scope="module")
def two():
    return _dataset(h2(1.28), h2(3.84))


@pytest.fixture(scope="module")
def others():
    return _dataset(h2(2.4), h2(4.8))


@pytest.mark.parametrize(("method", "epochs", "share"), [("lbfgs", 40, 0.02), ("adam", 60, 0.2)])
def test_two_molecules_are_learned_by_heart(two, method, epochs, share):
    model = _model("global", method=method, learning_rate=0.02, density_weight=0.1)
    losses = []
    final = model.fit(two, nb_epoch=epochs, all_losses=losses)
    assert len(losses) == len(model.history) == epochs
    assert final == losses[-1] < share * losses[0]
    before, after = (np.abs(m.predict(two) - two.y).mean() for m in (_model("global"), model))
    assert after < 0.3 * before
    assert model.history[-1].epoch == epochs
    assert model.history[-1].evaluations >= epochs


def test_lbfgs_needs_fewer_evaluations_than_adam(two):
    lbfgs, adam = _model(), _model(method="adam", learning_rate=0.01)
    lbfgs.fit(two, nb_epoch=15)
    adam.fit(two, nb_epoch=lbfgs.history[-1].evaluations)
    assert lbfgs.history[-1].loss < adam.history[-1].loss


def test_loss_is_that_of_its_formula(two):
    model = _model(energy_weight=2.0, density_weight=0.3, discount=0.8, skip=1, method="adam")
    states, expected = two.X, 0.0
    found = model.trajectory(states)
    for row, state in enumerate(states):
        errors = (found.energies[row] - state.energy).numpy()
        energy = sum(0.8 ** (3 - k) * errors[k] ** 2 for k in (1, 2, 3))
        deviation = found.mixed[row, 0].numpy() - state.density
        expected += (2.0 * energy + 0.3 * (deviation**2).sum() * GRID.spacing) / 2 / len(states)
    weighted = dc.data.NumpyDataset(two.X, two.y, np.array([[3.0], [3.0]]))
    assert model.fit(two, nb_epoch=1) == pytest.approx(expected, rel=1e-12)
    again = _model(energy_weight=2.0, density_weight=0.3, discount=0.8, skip=1, method="adam")
    assert again.fit(weighted, nb_epoch=1) == pytest.approx(3 * expected, rel=1e-12)


def test_batches_make_no_difference():
    dataset = _dataset(h2(1.28), h4(2.0), h2_plus(2.0), h2(3.84), h4(3.2))
    values = {}
    for size in (1, 2, 5):
        model = _model("global", batch_size=size)
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
    model = _model()
    dataset = _dataset(h2(1.28), h4(2.0), h2(3.84))
    order = [2, 0, 1]
    assert np.allclose(
        model.predict(dataset.select(order)), model.predict(dataset)[order], rtol=0, atol=1e-12
    )
    bare = np.empty(2, dtype=object)
    bare[:] = [h2(1.28), h2(3.84)]
    assert np.array_equal(model.predict(dc.data.NumpyDataset(bare)), model.predict(two))
    assert np.array_equal(model.predict_on_batch(bare), model.predict(two))


def test_metrics_and_disk_data_sets(two, tmp_path):
    model = _model()
    metric = dc.metrics.Metric(dc.metrics.mae_score)
    expected = np.abs(model.predict(two) - two.y).mean()
    assert model.evaluate(two, [metric])["mae_score"] == pytest.approx(expected, rel=1e-12)
    disk = dc.data.DiskDataset.from_numpy(two.X, two.y, data_dir=str(tmp_path))
    assert model.evaluate(disk, [metric])["mae_score"] == pytest.approx(expected, rel=1e-12)
    assert model.fit(disk, nb_epoch=2) == _model().fit(two, nb_epoch=2)


def test_the_validation_chooses_parameters(two, others):
    model = _model("global")
    model.fit(two, nb_epoch=12, valid_dataset=others, validate_every=2)
    scores = {r.epoch: r.score for r in model.history if r.score is not None}
    assert list(scores) == [2, 4, 6, 8, 10, 12]
    reached = np.abs(model.predict(others) - others.y).mean()
    assert reached == pytest.approx(min(scores.values()), rel=1e-9)
    best = [r.epoch for r in model.history if r.best][-1]
    assert scores[best] == min(scores.values())


def test_the_validation_chooses_a_seed(two, others):
    model = _model("global")
    model.fit(two, nb_epoch=6, valid_dataset=others, validate_every=3, seeds=[5, 1, 7])
    assert [r.seed for r in model.history] == [5] * 6 + [1] * 6 + [7] * 6
    alone = {}
    for seed in (5, 1, 7):
        one = _model("global", seed=seed)
        one.fit(two, nb_epoch=6, valid_dataset=others, validate_every=3)
        alone[seed] = one
    losses = [r.loss for seed in (5, 1, 7) for r in alone[seed].history]
    assert [r.loss for r in model.history] == losses
    winner = min(alone.values(), key=lambda m: m.progress.best_score)
    assert np.array_equal(model.predict(others), winner.predict(others))


def test_early_stopping_and_other_metrics(two, others):
    model, calls = _model("global"), []

    def worse_every_time(y_true, y_pred):
        calls.append(len(calls))
        return -calls[-1]

    model.fit(
        two,
        nb_epoch=30,
        valid_dataset=others,
        metric=worse_every_time,
        metric_greater_is_better=True,
        validate_every=1,
        early_stopping=3,
    )
    assert len(model.history) == 4
    assert [r.score for r in model.history] == [0, 1, 2, 3]
    metric = dc.metrics.Metric(dc.metrics.rms_score)
    model = _model("global")
    model.fit(two, nb_epoch=2, valid_dataset=others, metric=metric, validate_every=2)
    error = model.predict(others) - others.y
    assert model.history[-1].score == pytest.approx(np.sqrt((error**2).mean()), rel=1e-9)


# -- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["lbfgs", "adam"])
def test_a_resumed_run_is_as_if_it_had_never_stopped(two, others, method, tmp_path):
    options = {"method": method, "learning_rate": 0.01, "batch_size": 1}
    straight = _model("global", **options)
    straight.fit(two, nb_epoch=9, valid_dataset=others, validate_every=2)
    first = _model("global", **options, model_dir=str(tmp_path))
    first.fit(two, nb_epoch=5, valid_dataset=others, validate_every=2)
    second = _model("global", **{**options, "seed": 1}, model_dir=str(tmp_path))
    second.fit(two, nb_epoch=9, valid_dataset=others, validate_every=2, restore=True)
    # Validations of the last epoch of a fit are extra.
    assert [r.loss for r in second.history] == [r.loss for r in straight.history]
    assert np.array_equal(second.predict(others), straight.predict(others))


def test_a_killed_run_goes_on_within_its_seed(two, others, tmp_path):
    class Killed(Exception):
        pass

    straight = _model("global")
    settings = {"valid_dataset": others, "validate_every": 2, "seeds": 3}
    straight.fit(two, nb_epoch=6, **settings)

    def kill(report):
        if (report.seed, report.epoch) == (2, 5):
            raise Killed

    model = _model("global", model_dir=str(tmp_path))
    with pytest.raises(Killed):
        model.fit(two, nb_epoch=6, **settings, checkpoint_every=3, epoch_callback=kill)
    again = _model("global", model_dir=str(tmp_path))
    again.fit(two, nb_epoch=6, **{**settings, "seeds": None}, restore=True)
    assert [(r.seed, r.epoch, r.loss) for r in again.history] == [
        (r.seed, r.epoch, r.loss) for r in straight.history
    ]
    assert np.array_equal(again.predict(others), straight.predict(others))


def test_a_reloaded_model_predicts_the_same(two, tmp_path):
    model = _model("global", model_dir=str(tmp_path), functional_options={"gate_width": 0.6})
    model.fit(two, nb_epoch=3)
    again = _model("global", functional_options={"gate_width": 0.6})
    assert not np.array_equal(again.predict(two), model.predict(two))
    again.restore(model_dir=str(tmp_path))
    assert np.array_equal(again.predict(two), model.predict(two))
    assert again.history == model.history
    built = KSRModel.load(tmp_path)
    assert np.array_equal(built.predict(two), model.predict(two))
    assert built.functional.grid == GRID
    assert KSRModel.load(tmp_path, test_iterations=7).test_iterations == 7
    fresh = _model("global", functional_options={"gate_width": 0.6})
    fresh.load_from_pretrained(model, model_dir=str(tmp_path))
    assert np.array_equal(fresh.predict(two), model.predict(two))
    with pytest.raises(CheckpointError, match="different model"):
        _model("local").restore(model_dir=str(tmp_path))


def test_a_users_network_is_trained_saved_and_loaded(two, tmp_path):
    def network(seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return nn.Sequential(nn.Conv1d(1, 8, 3, padding=1), nn.SiLU(), nn.Conv1d(8, 1, 1)).double()

    model = _model(network, model_dir=str(tmp_path), iterations=3)
    first = _model(network(1), iterations=3)
    assert np.array_equal(first.predict(two), model.predict(two))
    model.fit(two, nb_epoch=8)
    assert model.history[-1].loss < 0.5 * model.history[0].loss
    with pytest.raises(CheckpointError, match="pass functional="):
        KSRModel.load(tmp_path)
    again = KSRModel.load(tmp_path, network(4))
    assert np.array_equal(again.predict(two), model.predict(two))


def test_the_users_random_numbers_go_on_undisturbed(two):
    np.random.seed(5)
    torch.manual_seed(5)
    expected = np.random.rand(), torch.rand(1).item()
    np.random.seed(5)
    torch.manual_seed(5)
    _model("global", method="adam").fit(two, nb_epoch=1)
    assert (np.random.rand(), torch.rand(1).item()) == expected


@pytest.mark.parametrize("stop", [(1, 1, 4), (2, 2, 2)])
def test_stages_come_one_after_the_other(two, others, stop, tmp_path):
    class Killed(Exception):
        pass

    def kill(report):
        if (report.seed, report.stage, report.epoch) == stop:
            raise Killed

    stages = [KSRStage(5, iterations=1, start="exact", energy_weight=3.0), KSRStage(3)]
    settings = {"valid_dataset": others, "validate_every": 2, "stages": stages}
    straight = _model("global")
    straight.fit(two, seeds=2, **settings)
    expected = [(s, stage, e) for s in (1, 2) for stage, n in ((1, 5), (2, 3)) for e in range(1, n + 1)]
    assert [(r.seed, r.stage, r.epoch) for r in straight.history] == expected
    step = _model("global", iterations=1, skip=0, start="exact", energy_weight=3.0)
    step.fit(two, nb_epoch=5)
    assert [r.loss for r in step.history] == [r.loss for r in straight.history[:5]]
    rest = _model("global")
    rest.functional.load_state_dict(step.functional.state_dict())
    rest.fit(two, nb_epoch=3)
    assert [r.loss for r in rest.history] == [r.loss for r in straight.history[5:8]]
    model = _model("global", model_dir=str(tmp_path))
    with pytest.raises(Killed):
        model.fit(two, seeds=2, **settings, checkpoint_every=1, epoch_callback=kill)
    again = _model("global", model_dir=str(tmp_path))
    again.fit(two, **settings, restore=True)
    assert [r.loss for r in again.history] == [r.loss for r in straight.history]
    assert np.array_equal(again.predict(others), straight.predict(others))
    with pytest.raises(InputError, match="stage 2 of 1"):
        again.fit(two, nb_epoch=3, restore=True)


# -- how it is iterated ----------------------------------------------------------------------------


def test_direct_learning_is_one_iteration_from_the_exact_density(two):
    model = _model("global", iterations=1, skip=0, start="exact")
    found = model.trajectory(two.X)
    assert found.energies.shape == (2, 1)
    model.fit(two, nb_epoch=15)
    assert model.history[-1].loss < 0.3 * model.history[0].loss
    with pytest.raises(InputError, match="no exact density"):
        model.trajectory([h2(1.28)])


def test_first_densities(two):
    starts = {}
    for start in ("noninteracting", "atoms", "exact"):
        found = _model("uniform-gas", start=start, mixing=0.4).trajectory(two.X, 1)
        before = (found.mixed - 0.4 * found.densities[:, 0]) / 0.6
        starts[start] = before[:, 0].numpy()
    molecules = Molecules.of([h2(1.28), h2(3.84)], GRID)
    assert np.allclose(starts["noninteracting"], molecules.density[:, 0])
    assert np.allclose(starts["atoms"], molecules.atoms()[:, 0])
    assert np.allclose(starts["exact"], [state.density for state in two.X])


def test_iterations_of_tests_are_their_own(two):
    model = _model("uniform-gas", test_iterations=30)
    found = model.trajectory(two.X)
    assert found.energies.shape[1] == 30
    assert np.allclose(model.predict(two)[:, 0], found.energy)
    model.test_iterations = None
    assert model.test_iterations == model.network.iterations == 4


def test_what_is_not_self_consistent_is_told(two):
    model = _model("uniform-gas", test_iterations=2, tol=1e-3)
    with pytest.warns(UserWarning, match="2 of 2 calculations are not self-consistent after 2"):
        model.predict(two)
    assert (model.last_residuals > 1e-3).all()
    strict = _model("uniform-gas", test_iterations=2, tol=1e-3, on_unconverged="raise")
    with pytest.raises(SCFNotConverged, match="raise test_iterations"):
        strict.predict(two)
    strict.test_iterations = 40
    assert np.isfinite(strict.predict(two)).all()
    assert strict.last_residuals.max() < 1e-3


def test_iterations_without_gradient_change_it_and_nothing_else(two):
    options = {"iterations": 6, "skip": 4, "method": "adam"}
    all_of_them, some = _model("global", **options), _model("global", burn_in=4, **options)
    assert all_of_them.fit(two, nb_epoch=1) == some.fit(two, nb_epoch=1)
    assert not np.array_equal(all_of_them.predict(two), some.predict(two))
    with pytest.raises(InputError, match="6 of 6 iterations are not differentiated"):
        _model(burn_in=6, **options)


def test_spins_apart(two):
    model = _model("global", polarised=True)
    triplet = System([-1.0, 1.0], [1, 1], 2, 2, name="triplet")
    dataset = _dataset(h2(2.0), triplet, h2_plus(2.0))
    found = model.trajectory(dataset.X)
    counts = GRID.integrate(found.densities[:, -1]).round(decimals=9).tolist()
    assert counts == [[1, 1], [2, 0], [1, 0]]
    model.fit(dataset, nb_epoch=3)
    assert model.history[-1].loss < model.history[0].loss


def test_far_copies_of_a_molecule_are_learned_to_have_twice_its_energy():
    grid = Grid(191, 0.22)
    dataset = _dataset(h2(1.2), h2(2.4), grid=grid)
    densities = torch.tensor(np.array([state.density for state in dataset.X]))[:, None]
    left = {}
    for weight in (0.0, 30.0):
        model = _model("global", iterations=1, skip=0, start="exact", separability_weight=weight, grid=grid)
        measure = Separability(model.functional, [s.system for s in dataset.X], densities)
        before = measure(model.functional).item()
        model.fit(dataset, nb_epoch=25)
        left[weight] = measure(model.functional).item()
    # The gate counts electrons, and two molecules have more: nothing but training can help.
    assert left[30.0] < 0.4 * min(before, left[0.0])
    assert len(measure) == 6
    assert measure.electrons.tolist() == [4.0] * 6
    counts = grid.integrate(measure.pairs)[:, 0]
    assert counts.tolist() == pytest.approx([4.0] * 6, abs=1e-5)
    centre = (grid.integrate(measure.pairs * grid.x.abs()) / counts[:, None])[:, 0]
    assert (2 * centre).tolist() == pytest.approx([8.2, 10.2, 12.2, 9.4, 11.4, 13.4], abs=0.3)


# -- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"functional": "globl"}, "unknown functional"),
        ({"method": "newton"}, "unknown method 'newton'"),
        ({"start": "cold"}, "no start 'cold'"),
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
        _model(options.pop("functional", "global"), **options)
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
        _model().fit(dc.data.NumpyDataset(**content), nb_epoch=1)


def test_other_mistakes_are_explained(two, tmp_path):
    with pytest.raises(InputError, match="give valid_dataset"):
        _model().fit(two, nb_epoch=1, seeds=2)
    with pytest.raises(InputError, match="give the model the same grid"):
        KSRModel(iterations=2, skip=0).fit(two, nb_epoch=1)
    with pytest.raises(InputError, match="no parameters to train"):
        _model("uniform-gas").fit(two, nb_epoch=1)
    with pytest.raises(InputError, match="one set of initial weights"):
        _model(nn.Conv1d(1, 1, 1).double()).fit(two, nb_epoch=1, valid_dataset=two, seeds=2)
    with pytest.raises(InputError, match="data sets, not on generators"):
        _model().fit_generator([])
    with pytest.raises(CheckpointError, match="train first"):
        _model(model_dir=str(tmp_path)).fit(two, nb_epoch=1, restore=True)
    far = _dataset(h2(1.28))
    far.X[0] = System([11.0, 12.5], [1, 1], 2, name="far H2")
    with pytest.raises(InputError, match="far H2.*outside the grid"):
        _model().predict(far)


def test_a_seed_that_explodes_does_not_end_the_others(two, others):
    class Exploding(nn.Module):
        def __init__(self, scale):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(scale, dtype=torch.float64))

        def forward(self, density):
            return -self.scale * density

    model = _model(lambda seed: Exploding(float("nan") if seed == 1 else 0.3))
    model.fit(two, nb_epoch=3, valid_dataset=others, validate_every=1, seeds=2)
    assert list(model.progress.failures) == ["1"]
    assert {r.seed for r in model.history} == {2}
    with pytest.raises((InputError, FunctionalError), match="not finite"):
        _model(Exploding(float("nan"))).fit(two, nb_epoch=1)


def test_only_some_parameters_may_be_trained(two):
    model = _model("global")
    before = {k: v.clone() for k, v in model.functional.state_dict().items()}
    model.fit(two, nb_epoch=3, variables=[model.functional.layers[0]])
    after = model.functional.state_dict()
    assert [k for k in before if not torch.equal(before[k], after[k])] == ["layers.0"]
    assert all(p.requires_grad for p in model.functional.parameters())


def test_the_loss_can_be_called_alone():
    assert KSRLoss(discount=0.5, skip=1).discounts(4).tolist() == [0.25, 0.5, 1.0]
