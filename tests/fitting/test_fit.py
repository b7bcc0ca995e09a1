"""One way to fit: what every family of models does alike, whatever it is that it trains."""

import inspect
import warnings

import deepchem as dc
import numpy as np
import pytest
import torch

from deepchem_dft.data import DFTEntry
from deepchem_dft.errors import InputError, SCFNotConverged
from deepchem_dft.fitting.model import Fitting
from deepchem_dft.hamiltonian.reference import Reference
from deepchem_dft.hamiltonian.sample import HamiltonianSample
from deepchem_dft.lattice.exact import exact
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.lattice.systems import h2
from deepchem_dft.models import DEQModel, HamiltonianModel, KSRModel, XCModel


class Killed(Exception):
    """What ends a training in these tests."""


class Family:
    """A family's model, small enough to train in a second, with data to train and to judge by."""

    epochs = 6

    def __init__(self, make, train, valid) -> None:
        self.make, self.train, self.valid = make, train, valid

    def weights(self, model):
        return torch.cat([p.detach().double().flatten() for p in model.model.parameters() if p.requires_grad])


def _energies(*values):
    entries = [
        DFTEntry.create("energy", f"{value} Ha", [{"moldesc": geometry, "basis": "sto-3g"}])
        for geometry, value in values
    ]
    x = np.empty(len(entries), dtype=object)
    x[:] = entries
    return dc.data.NumpyDataset(x, np.array([[e.label] for e in entries]))


def _xc():
    train = _energies(("H 0 0 0; H 0 0 1.4", -1.17), ("He 0 0 0", -2.9))
    valid = _energies(("H 0 0 0; H 0 0 2.0", -1.1))

    def make(**options):
        return XCModel(
            "lda,pw",
            {"family": "lda", "hidden": [6]},
            **{"grid_level": 0, "seed": 3, "learning_rate": 0.02, "batch_size": 1, **options},
        )

    return Family(make, train, valid)


def _ksr():
    grid = Grid(129, 0.2)

    def states(*distances):
        found = [exact(h2(r), grid) for r in distances]
        return dc.data.NumpyDataset(
            np.array(found, dtype=object), np.array([[state.energy] for state in found])
        )

    def make(**options):
        return KSRModel(
            "local",
            grid=grid,
            iterations=4,
            skip=2,
            method="adam",
            **{
                "test_iterations": 6,
                "tol": 1.0,
                "learning_rate": 0.02,
                "batch_size": 1,
                "seed": 3,
                **options,
            },
        )

    return Family(make, states(1.28, 3.84), states(2.4))


def _hamiltonian():
    def samples(*distances):
        out = []
        for r in distances:
            bare = HamiltonianSample([1, 1], [[0, 0, 0], [0, 0, r]], "sto-3g", xc="pbe")
            solved = Reference(bare).solve().hamiltonian
            out.append(HamiltonianSample(bare.numbers, bare.positions, "sto-3g", solved))
        return dc.data.NumpyDataset(out)

    def make(**options):
        return HamiltonianModel(
            ["H"],
            "sto-3g",
            **{
                "width": 4,
                "hidden": 8,
                "warmup": 1,
                "seed": 3,
                "batch_size": 1,
                "learning_rate": 0.02,
                **options,
            },
        )

    return Family(make, samples(1.3, 1.6, 1.9), samples(1.5))


def _deq():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(24, 5)).astype(np.float32)
    y = (x[:, :1] * x[:, 1:2] + x[:, 2:3]) / 2

    def make(**options):
        return DEQModel(
            1,
            cell="fingerprint",
            n_features=5,
            **{"width": 8, "hidden": 8, "seed": 3, "batch_size": 8, "learning_rate": 0.02, **options},
        )

    return Family(make, dc.data.NumpyDataset(x[:16], y[:16]), dc.data.NumpyDataset(x[16:], y[16:]))


_MAKERS = {"xc": _xc, "ksr": _ksr, "hamiltonian": _hamiltonian, "deq": _deq}


@pytest.fixture(scope="module", params=sorted(_MAKERS))
def family(request):
    return _MAKERS[request.param]()


def test_all_have_the_same_options():
    """No family leaves one out, or gives it another meaning by another default."""
    own = {
        XCModel: {"stages", "processes"},
        KSRModel: {"seeds", "stages"},
        HamiltonianModel: {"keep_optimizer"},
        DEQModel: set(),
    }
    common = inspect.signature(Fitting.fit).parameters
    for model, more in own.items():
        fit = getattr(model.fit, "__wrapped__", model.fit)
        names = set(inspect.signature(fit).parameters)
        assert names >= more, model
        passes_on = any(p.kind is p.VAR_KEYWORD for p in inspect.signature(fit).parameters.values())
        assert passes_on or set(common) <= names, model


class TestFit:
    @staticmethod
    def fit(family, model, epochs, **options):
        """Train with validation and without checkpoints; return the model."""
        model.fit(family.train, epochs, valid_dataset=family.valid, checkpoint_interval=0, **options)
        return model

    def test_overfits(self, family):
        model = family.make()
        first = model.fit(family.train, 1, checkpoint_interval=0)
        assert model.fit(family.train, 25, checkpoint_interval=0) < 0.5 * first

    def test_reports_every_epoch_and_calls_back(self, family):
        model, before, after, steps, losses = family.make(), [], [], [], []
        value = model.fit(
            family.train,
            3,
            checkpoint_interval=0,
            before_epoch=lambda m, e: before.append(e),
            epoch_callback=after.append,
            callbacks=lambda m, s: steps.append(s),
            all_losses=losses,
        )
        assert before == [1, 2, 3] and after == model.history
        assert [report.epoch for report in after] == [1, 2, 3]
        assert losses == [report.loss for report in after] and losses[-1] == value
        per_epoch = -(-len(family.train) // model.batch_size)
        assert steps == list(range(1, 3 * per_epoch + 1)) and model.get_global_step() == steps[-1]

    def test_ends_with_the_best_validated_parameters(self, family):
        scores, model = [], family.make()

        def metric(y, p):
            scores.append(float(len(scores) != 2))  # the third validation is the best
            return scores[-1]

        options = {"metric": metric, "validate_every": 1}
        self.fit(family, model, 5, **options)
        assert [report.best for report in model.history] == [True, False, True, False, False]
        scores.clear()
        # The learning rate of Hamiltonians falls over all epochs of a fit: stop this one early.
        short = self.fit(family, family.make(), 5, **options, early_stopping=2)
        assert torch.equal(family.weights(short), family.weights(model))

    def test_own_score_is_that_of_the_end_of_the_epoch(self, family):
        every, last = (
            self.fit(family, family.make(), 2, validate_every=n, restore_best=False).history for n in (1, 2)
        )
        assert all(np.isfinite(report.score) and report.score > 0 for report in every)
        assert [report.score is None for report in last] == [True, False]
        # Of a functional, a field that starts elsewhere ends within its tolerance.
        assert last[1].score == pytest.approx(every[1].score, rel=1e-8)

    def test_stops_early(self, family):
        model = family.make()
        worse = {"metric": lambda y, p: float(len(model.history)), "early_stopping": 3}
        self.fit(family, model, 9, validate_every=1, **worse)
        assert len(model.history) == 4
        with pytest.raises(InputError, match="something to judge by"):
            family.make().fit(family.train, 2, early_stopping=1)

    def test_a_killed_training_goes_on_as_if_nothing_had_happened(self, family, tmp_path):
        options = {"valid_dataset": family.valid, "validate_every": 1, "checkpoint_every": 1}
        whole = family.make(model_dir=str(tmp_path / "whole"))
        whole.fit(family.train, family.epochs, **options)

        def kill(report):
            if report.epoch == 3:
                raise Killed

        first = family.make(model_dir=str(tmp_path / "killed"))
        with pytest.raises(Killed):
            first.fit(family.train, family.epochs, epoch_callback=kill, **options)
        again = family.make(model_dir=str(tmp_path / "killed"))
        again.fit(family.train, family.epochs, restore=True, **options)
        assert [r.loss for r in again.history] == [r.loss for r in whole.history]
        assert [r.score for r in again.history] == [r.score for r in whole.history]
        assert torch.equal(family.weights(again), family.weights(whole))

    def test_a_finished_training_can_be_made_longer(self, family, tmp_path):
        if isinstance(family.make(), HamiltonianModel):
            pytest.skip("its learning rate falls over all epochs that are asked for")
        options = {"valid_dataset": family.valid, "validate_every": 1}
        whole = family.make()
        whole.fit(family.train, 5, **options)
        model = family.make(model_dir=str(tmp_path))
        model.fit(family.train, 3, **options)
        again = family.make(model_dir=str(tmp_path))
        again.fit(family.train, 5, restore=True, **options)
        assert [r.loss for r in again.history] == [r.loss for r in whole.history]

    def test_reloads(self, family, tmp_path):
        model = family.make(model_dir=str(tmp_path))
        model.fit(family.train, 2)
        again = type(model).load(str(tmp_path))
        assert torch.equal(family.weights(again), family.weights(model))
        for a, b in zip(model.predict(family.valid), again.predict(family.valid), strict=True):
            np.testing.assert_array_equal(a, b)
        assert [r.loss for r in again.history] == [r.loss for r in model.history]

    def test_begins_with_the_parameters_of_another(self, family, tmp_path):
        """By its folder or itself, with or without the last layer; counters and optimiser stay."""
        source = family.make(model_dir=str(tmp_path))
        source.fit(family.train, 2)
        for given in (str(tmp_path), source):
            model = family.make(seed=4)
            model.load_from_pretrained(given)
            assert torch.equal(family.weights(model), family.weights(source))
            assert model.get_global_step() == 0
        part = family.make(seed=4)
        own = family.weights(part)
        part.load_from_pretrained(source, include_top=False)
        taken = family.weights(part) == family.weights(source)
        assert bool(taken.any()) and not bool(taken.all())
        assert torch.equal(family.weights(part)[~taken], own[~taken])

    def test_is_deterministic(self, family):
        runs = []
        for seed in (3, 3, 4):
            torch.manual_seed(len(runs))  # nobody's global numbers play a part
            np.random.seed(len(runs))
            model = family.make(seed=seed)
            model.fit(family.train, 2, checkpoint_interval=0)
            runs.append(family.weights(model))
        assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])

    def test_leaves_the_users_random_numbers_alone(self, family):
        def draw():
            return np.random.rand(), torch.rand(1).item()

        noise = {"dropout": 0.3} if isinstance(family.make(), DEQModel) else {}
        np.random.seed(5)
        torch.manual_seed(5)
        expected = draw()
        np.random.seed(5)
        torch.manual_seed(5)
        family.make(**noise).fit(family.train, 1)
        assert draw() == expected

    def test_trains_the_variables_asked_for(self, family):
        model = family.make()
        model.fit(family.train, 1, checkpoint_interval=0)
        before = family.weights(model)
        chosen = next(p for p in model.model.parameters() if p.requires_grad and p.ndim > 1)
        wanted = int(chosen.numel())
        model.fit(family.train, 2, checkpoint_interval=0, variables=[chosen])
        assert 0 < int((family.weights(model) != before).sum()) <= wanted
        assert all(p.requires_grad for p in model.model.parameters() if p is chosen)

    @pytest.mark.parametrize(
        "options", [{"validate_every": 0}, {"checkpoint_every": -1}, {"early_stopping": 0}]
    )
    def test_refuses_options_that_make_no_sense(self, family, options):
        with pytest.raises(InputError) as caught:
            family.make().fit(family.train, 1, valid_dataset=family.valid, **options)
        assert caught.value.field in options

    def test_writes_no_checkpoint_if_none_is_wanted(self, family, tmp_path):
        for number, options in enumerate(
            ({"checkpoint_interval": 0}, {"checkpoint_every": 0}, {"max_checkpoints_to_keep": 0})
        ):
            model = family.make(model_dir=str(tmp_path / f"{number}"))
            model.fit(family.train, 1, **options)
            assert not model.get_checkpoints()


class TestUnconverged:
    """The same words about what did not converge, in every family."""

    @staticmethod
    def cases():
        hard = {
            "xc": {"max_iter": 1},
            "ksr": {"tol": 1e-12},
            "hamiltonian": {"form": "equilibrium-delta", "max_iter": 1},
            "deq": {"max_iter": 2, "bound": None},
        }
        for name, options in hard.items():
            family = _MAKERS[name]()
            model = family.make(**options)
            if name == "hamiltonian":
                model.preparation.measure((s, s.name) for s in family.train.X)
                model.model.fitted.fill_(True)
                with torch.no_grad(), torch.random.fork_rng(devices=[]):
                    torch.manual_seed(0)
                    for parameter in model.model.head.parameters():
                        parameter.normal_()
            # H2 in a minimal basis is solved by its symmetry.
            yield name, model, (_energies(("Li 0 0 0; H 0 0 3", -7.9)) if name == "xc" else family.valid)

    def test_raise_warn_nan(self):
        for name, model, data in self.cases():
            place = model.model if name == "xc" else model
            place.on_unconverged = "raise"
            with pytest.raises(SCFNotConverged):
                model.predict(data)
            place.on_unconverged = "warn"
            with pytest.warns(UserWarning, match="not converge|not self-consistent|no converged"):
                model.predict(data)
            place.on_unconverged = "nan"
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)
                found = model.predict(data)
            assert all(np.isnan(one).all() for one in found), name
            with pytest.raises(InputError, match="on_unconverged"):
                type(model)(**{**_arguments(name), "on_unconverged": "ignore"})


def _arguments(name):
    return {"xc": {"xcstr": "lda,pw"}, "ksr": {}, "hamiltonian": {"elements": ["H"]}, "deq": {"n_tasks": 1}}[
        name
    ]
