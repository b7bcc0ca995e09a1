"""HamiltonianModel: forms, training, prediction in order, files, resuming, mistakes."""

import copy
from dataclasses import replace

import deepchem as dc
import numpy as np
import pytest
import torch

from deepchem_dft.errors import CheckpointError, InputError, SCFNotConverged
from deepchem_dft.hamiltonian.forms import FORMS
from deepchem_dft.hamiltonian.reference import Reference
from deepchem_dft.hamiltonian.sample import HamiltonianSample
from deepchem_dft.models import HamiltonianModel


def _weights(model):
    return {k: v.clone() for k, v in model.model.state_dict().items()}


def _same(one, other):
    return all(torch.equal(v, other[k]) for k, v in one.items())


def _feed_back(model):
    """Make what is fed back large."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for parameter in model.model.head.parameters():
            parameter.normal_()


class TestTraining:
    def test_a_few_molecules_are_learnt_by_heart(self, make_network, samples):
        model = make_network(width=16, hidden=32, batch_size=8)
        first = model.fit(samples, nb_epoch=1, checkpoint_every=0)
        model = make_network(width=16, hidden=32, batch_size=8)
        last = model.fit(samples, nb_epoch=100, checkpoint_every=0)
        assert last < 1e-2 * first
        found = model.evaluate(samples)
        assert found["hamiltonian_mae"] < 1000  # microhartree; the guess is 15,000 off
        assert found["coefficient_similarity"] > 0.9999

    def test_the_same_seed_gives_the_same_weights(self, make_network, samples):
        np.random.seed(7)
        torch.manual_seed(7)
        models = [make_network(), make_network(), make_network(seed=2)]
        before = np.random.get_state()[1].copy(), torch.get_rng_state()
        for model in models:
            model.fit(samples, nb_epoch=3, checkpoint_every=0)
        assert _same(_weights(models[0]), _weights(models[1]))
        assert not _same(_weights(models[0]), _weights(models[2]))
        # nobody else's random numbers were used
        np.testing.assert_array_equal(np.random.get_state()[1], before[0])
        assert torch.equal(torch.get_rng_state(), before[1])

    def test_the_rate_rises_and_falls(self, make_network, samples):
        model = make_network(warmup=6, decay=2.0)
        model.fit(samples, nb_epoch=8, checkpoint_every=0)  # 3 steps each
        rates = [report.learning_rate for report in model.history]
        assert rates[0] == pytest.approx(1e-2 * 3 / 6 * (1 - 2 / 24) ** 2)
        assert rates[-1] == pytest.approx(1e-2 * (1 - 23 / 24) ** 2)
        assert rates[1] == max(rates)
        assert [report.step for report in model.history] == list(range(3, 25, 3))

    def test_optimisers_and_schedules_of_deepchem_are_taken(self, make_network, samples):
        rate = dc.models.optimizers.ExponentialDecay(1e-2, 0.5, 3)
        models = [make_network(learning_rate=rate), make_network(optimizer=dc.models.optimizers.AdamW(rate))]
        for model in models:
            model.fit(samples, nb_epoch=3)  # of three steps
            rates = [report.learning_rate for report in model.history]
            assert rates[2] < 0.3 * rates[0]
        assert not _same(_weights(models[0]), _weights(models[1]))
        again = HamiltonianModel.load(models[0].model_dir)
        assert _same(_weights(models[0]), _weights(again))

    def test_averages_predict(self, make_network, samples):
        averaged, plain = make_network(ema=0.9), make_network(ema=0.0)
        for model in (averaged, plain):
            model.fit(samples, nb_epoch=4, checkpoint_every=0)
        trained = averaged.progress.last
        assert _same(trained, dict(plain.model.named_parameters()))  # the same steps were taken
        assert not _same(trained, dict(averaged.model.named_parameters()))

    def test_what_a_sample_lacks_is_computed(self, make_network, hamiltonians):
        bare = [HamiltonianSample(s.numbers, s.positions, "sto-3g", s.hamiltonian) for s in hamiltonians]
        found = []
        for samples in (bare, hamiltonians):
            model = make_network()
            model.fit(dc.data.NumpyDataset(samples), nb_epoch=1, checkpoint_every=0)
            found.append(model.predict(samples))
        for a, b in zip(*found):
            np.testing.assert_allclose(a, b, atol=1e-6)
        np.testing.assert_allclose(bare[0].guess, hamiltonians[0].guess, atol=1e-10)

    def test_weights_of_samples_count(self, make_network, hamiltonians):
        w = np.array([[1.0], [0.0]])
        two = dc.data.NumpyDataset(hamiltonians[:2], np.zeros((2, 1)), w)
        models = [make_network(), make_network()]
        models[0].fit(two, nb_epoch=2, checkpoint_every=0)
        models[0].model.fitted.fill_(True)
        models[1].load_from_pretrained(models[0])
        assert models[0].history[0].train_mae > 0
        alone = make_network()
        alone.preparation.measure((s, s.name) for s in hamiltonians[:2])
        alone.model.fitted.fill_(True)
        alone.fit(dc.data.NumpyDataset(hamiltonians[:1]), nb_epoch=2, checkpoint_every=0)
        for a, b in zip(models[0].model.parameters(), alone.model.parameters()):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


class TestForms:
    @pytest.mark.parametrize("form", FORMS)
    def test_every_form_learns_and_is_restored(self, form, make_network, samples):
        model = make_network(form)
        model.fit(samples, nb_epoch=3)
        assert model.history[-1].loss < model.history[0].loss
        iterated = form.startswith("equilibrium")
        assert (model.history[-1].iterations > 0) == iterated
        found = model.predict_properties(samples)
        assert [(p.iterations > 0, p.converged) for p in found] == [(iterated, True)] * 8
        again = HamiltonianModel.load(model.model_dir)
        for a, b in zip(model.predict(samples), again.predict(samples)):
            np.testing.assert_array_equal(a, b)

    def test_an_unconverged_fixed_point_is_not_silent(self, make_network, samples):
        model = make_network("equilibrium-delta", max_iter=1)
        model.preparation.measure((s, s.name) for s in samples.X)
        model.model.fitted.fill_(True)
        _feed_back(model)
        with pytest.warns(UserWarning, match="8 of 8 predictions are not self-consistent"):
            found = model.predict_properties(samples)
        assert not any(p.converged for p in found)
        assert all(p.residual > 0 for p in found)
        model.on_unconverged = "raise"
        with pytest.raises(SCFNotConverged, match="water/0"):
            model.predict(samples)

    def test_what_did_not_converge_teaches_nothing(self, make_network, samples):
        model = make_network("equilibrium-delta", max_iter=1)
        _feed_back(model)
        before = dict(model.model.named_parameters())
        before = {k: v.detach().clone() for k, v in before.items()}
        with pytest.warns(UserWarning):
            model.fit(samples, nb_epoch=1, checkpoint_every=0)
            model.predict(samples)
        assert model.history[0].unconverged == 1.0
        assert _same(before, dict(model.model.named_parameters()))

    def test_ablations_see_less(self, make_network, samples):
        for inputs in (["overlap"], ["core", "guess"]):
            model = make_network(inputs=inputs)
            model.fit(samples, nb_epoch=1, checkpoint_every=0)
            assert len(model.network.known) == len(inputs)

    def test_the_other_guess(self, make_network, hamiltonians):
        model = make_network(guess="sap")
        model.fit(dc.data.NumpyDataset(hamiltonians), nb_epoch=1, checkpoint_every=0)
        sample = hamiltonians[0]
        found = model.prepared([sample])[0].base.view(7, 7).numpy()
        np.testing.assert_allclose(found, Reference(sample).guess("sap"), atol=1e-12)
        assert np.abs(found - sample.guess).max() > 0.01

    def test_matrices_are_put_together_in_double_precision(self, make_network, hamiltonians):
        """Elements of H reach 25 Ha, so that float32 alone would round by a microhartree."""
        one = dc.data.NumpyDataset(hamiltonians[:1])
        model = make_network("direct")
        model.preparation.measure([(hamiltonians[0], "0")])
        model.model.fitted.fill_(True)
        with torch.no_grad():
            for parameter in model.network.readouts.parameters():
                parameter.zero_()  # what is left is the mean: of one sample, its invariants
        found = model.predict(one)[0]
        assert found.dtype == np.float64
        assert abs(found[0, 0] - hamiltonians[0].hamiltonian[0, 0]) < 1e-11


class TestFiles:
    def test_a_checkpoint_of_a_running_training_predicts_with_averages(self, make_network, samples):
        model = make_network(ema=0.9)
        seen = []

        def look(report):
            seen.append({k: v.clone() for k, v in model.progress.average.items()})

        model.fit(samples, nb_epoch=2, checkpoint_every=1, epoch_callback=look)
        middle = HamiltonianModel.load(model.get_checkpoints()[2])
        assert middle.progress.epoch == 1
        assert _same(seen[0], dict(middle.model.named_parameters()))

    @pytest.mark.parametrize(
        "change",
        [
            {"form": "direct"},
            {"guess": "sap"},
            {"inputs": ["core", "overlap", "guess"]},
            {"width": 9},
            {"elements": ["H", "O", "N"]},
            {"cutoff": 9.0},
        ],
    )
    def test_a_checkpoint_of_another_model_is_refused(self, change, make_network, samples):
        model = make_network()
        model.fit(samples, nb_epoch=1)
        other = make_network(**change)
        before = _weights(other)
        with pytest.raises(CheckpointError):
            other.restore(model_dir=model.model_dir)
        assert _same(before, _weights(other))

    def test_a_pretrained_model_is_a_beginning(self, make_network, samples):
        model = make_network()
        model.fit(samples, nb_epoch=2)
        copied, bottom = make_network(seed=5), make_network(seed=5)
        copied.load_from_pretrained(model.model_dir)
        assert copied.get_global_step() == 0
        for a, b in zip(copied.predict(samples), model.predict(samples)):
            np.testing.assert_array_equal(a, b)
        own = _weights(bottom)
        bottom.load_from_pretrained(model, include_top=False)
        kept = {k for k, v in bottom.model.state_dict().items() if torch.equal(v, own[k])}
        assert {k for k in own if k.startswith("network.readouts.")} <= kept
        assert not torch.equal(bottom.network.of_element.weight, own["network.of_element.weight"])


class TestMistakes:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"form": "indirect"}, "unknown form"),
            ({"guess": "hcore"}, "unknown guess"),
            ({"inputs": []}, "the inputs are"),
            ({"inputs": ["density"]}, "unknown inputs"),
            ({"elements": ["Xx"]}, "no element 'Xx'"),
            ({"mae_weight": -1.0}, "weights of the loss"),
            ({"mae_weight": 0.0, "mse_weight": 0.0}, "weights of the loss"),
            ({"ema": 1.0}, "ema=1.0"),
            ({"unit": 0.0}, "the unit"),
        ],
    )
    def test_arguments(self, options, message, make_network):
        with pytest.raises(InputError, match=message):
            make_network(**options)
        with pytest.raises(TypeError, match="learning_rat"):
            make_network(learning_rat=1.0)

    @pytest.mark.parametrize(
        ("change", "field", "message"),
        [
            ({"numbers": [7, 1, 1], "charge": -1}, "numbers", "nuclear charge 7 is not among"),
            ({"basis": "6-31g"}, "basis", "the basis is 6-31g, that of the model is sto-3g"),
            ({"xc": "b3lyp"}, "xc", "the functional is b3lyp"),
            ({"hamiltonian": None}, "hamiltonian", "there is no Hamiltonian to learn from"),
            ({"charge": 1}, "charge", "9 electrons are no closed shell"),
            (
                {"hamiltonian": np.eye(6), "overlap": None, "core": None, "guess": None},
                "basis",
                "6 orbitals, sto-3g gives this molecule 7",
            ),
            ({"positions": np.zeros((3, 3))}, None, "coincide"),
        ],
    )
    def test_entries_are_named(self, change, field, message, make_network, hamiltonians):
        bad = copy.copy(hamiltonians[1])
        for name, value in change.items():
            setattr(bad, name, np.asarray(value) if name == "numbers" else value)
        data = dc.data.NumpyDataset([hamiltonians[0], bad], ids=["good", "bad one"])
        with pytest.raises(InputError, match=message) as caught:
            make_network().fit(data, nb_epoch=1, checkpoint_every=0)
        assert caught.value.entry == "bad one"
        assert field is None or caught.value.field == field

    def test_an_untrained_model_does_not_predict(self, make_network, samples):
        with pytest.raises(InputError, match="has not been trained"):
            make_network().predict(samples)
        with pytest.raises(InputError, match="is no HamiltonianSample"):
            make_network().fit(dc.data.NumpyDataset(np.eye(2)), nb_epoch=1)
        with pytest.raises(InputError, match="is empty"):
            make_network().fit(dc.data.NumpyDataset(np.zeros(0), np.zeros((0, 1))), nb_epoch=1)

    def test_elements_basis_and_functional_of_data(self, hamiltonians):
        model = HamiltonianModel.for_data(hamiltonians, width=4, hidden=8)
        assert model.config["elements"] == [1, 8, 9]
        assert (model.config["basis"], model.config["xc"]) == ("sto-3g", "pbe")
        other = [replace(s, xc="gga_x_pbe,gga_c_pbe") for s in hamiltonians[:1]]
        assert model.prepared(other)[0].nao == 7  # the same functional by another name


@pytest.mark.gpu
@pytest.mark.parametrize("form", sorted(FORMS))
def test_steps_on_a_gpu(make_network, samples, form):
    """The same losses as on the CPU; prints time and memory of a step (pytest -s)."""
    import time

    losses = {}
    for device in ("cpu", "cuda"):
        model, marks = make_network(form, device=torch.device(device)), [time.perf_counter()]
        model.fit(
            samples,
            8,
            checkpoint_every=0,
            deterministic=True,
            epoch_callback=lambda report, marks=marks: marks.append(time.perf_counter()),
        )
        losses[device] = [report.loss for report in model.history]
        print(f"{form} on {device}: {1000 * np.median(np.diff(marks)[3:]):.1f} ms per epoch")
    print(f"{torch.cuda.max_memory_allocated() / 1024**2:.0f} MiB")
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=1e-2)
