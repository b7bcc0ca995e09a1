"""HamiltonianModel: forms, training, prediction in order, files, resuming, mistakes."""

from __future__ import annotations

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
from deepchem_dft.molecule import Molecule
from deepchem_dft.scf import KohnSham


@pytest.fixture
def make(tmp_path):
    """Return a factory of quick models; each gets a folder of its own unless told."""

    def factory(form="delta", **options):
        folder = tmp_path / f"model{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        small = {
            "width": 8,
            "hidden": 16,
            "layers": 1,
            "n_radial": 8,
            "feedback_width": 4,
            "warmup": 10,
            "learning_rate": 1e-2,
            "batch_size": 3,
            "grid_level": 0,
            "seed": 1,
            "model_dir": str(folder),
        }
        elements = options.pop("elements", ["H", "O", "F"])
        return HamiltonianModel(elements, "sto-3g", "pbe", form, **{**small, **options})

    return factory


@pytest.fixture
def dataset(hamiltonians):
    return dc.data.NumpyDataset(hamiltonians, ids=[s.name for s in hamiltonians])


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
    def test_a_few_molecules_are_learnt_by_heart(self, make, dataset):
        model = make(width=16, hidden=32, batch_size=8)
        first = model.fit(dataset, nb_epoch=1, checkpoint_every=0)
        model = make(width=16, hidden=32, batch_size=8)
        last = model.fit(dataset, nb_epoch=100, checkpoint_every=0)
        assert last < 1e-2 * first
        found = model.evaluate(dataset)
        assert found["hamiltonian_mae"] < 1000  # microhartree; the guess is 15,000 off
        assert found["coefficient_similarity"] > 0.9999

    def test_the_same_seed_gives_the_same_weights(self, make, dataset):
        np.random.seed(7)
        torch.manual_seed(7)
        models = [make(), make(), make(seed=2)]
        before = np.random.get_state()[1].copy(), torch.get_rng_state()
        for model in models:
            model.fit(dataset, nb_epoch=3, checkpoint_every=0)
        assert _same(_weights(models[0]), _weights(models[1]))
        assert not _same(_weights(models[0]), _weights(models[2]))
        # nobody else's random numbers were used
        np.testing.assert_array_equal(np.random.get_state()[1], before[0])
        assert torch.equal(torch.get_rng_state(), before[1])

    def test_the_rate_rises_and_falls(self, make, dataset):
        model = make(warmup=6, decay=2.0)
        model.fit(dataset, nb_epoch=8, checkpoint_every=0)  # 3 steps each
        rates = [report.learning_rate for report in model.history]
        assert rates[0] == pytest.approx(1e-2 * 3 / 6 * (1 - 2 / 24) ** 2)
        assert rates[-1] == pytest.approx(1e-2 * (1 - 23 / 24) ** 2)
        assert rates[1] == max(rates)
        assert [report.step for report in model.history] == list(range(3, 25, 3))

    def test_optimisers_and_schedules_of_deepchem_are_taken(self, make, dataset):
        rate = dc.models.optimizers.ExponentialDecay(1e-2, 0.5, 3)
        models = [make(learning_rate=rate), make(optimizer=dc.models.optimizers.AdamW(rate))]
        for model in models:
            model.fit(dataset, nb_epoch=3)  # of three steps
            rates = [report.learning_rate for report in model.history]
            assert rates[2] < 0.3 * rates[0]
        assert not _same(_weights(models[0]), _weights(models[1]))
        again = HamiltonianModel.load(models[0].model_dir)
        assert _same(_weights(models[0]), _weights(again))

    def test_averages_predict(self, make, dataset):
        averaged, plain = make(ema=0.9), make(ema=0.0)
        for model in (averaged, plain):
            model.fit(dataset, nb_epoch=4, checkpoint_every=0)
        trained = averaged.progress.last
        assert _same(trained, dict(plain.model.named_parameters()))  # the same steps were taken
        assert not _same(trained, dict(averaged.model.named_parameters()))

    def test_validation_keeps_the_best(self, make, dataset, hamiltonians):
        valid = dc.data.NumpyDataset(hamiltonians[:2])
        model = make(learning_rate=0.1, decay=0.0)  # wild, so that the last is not the best
        model.fit(dataset, nb_epoch=8, valid_dataset=valid, validate_every=2, checkpoint_every=0)
        found = [report.valid_mae for report in model.history]
        assert [e is None for e in found] == [True, False] * 4
        best = min(e for e in found if e is not None)
        assert model.evaluate(valid)["hamiltonian_mae"] == pytest.approx(best, rel=1e-9)
        assert model.history[found.index(best)].best

    def test_only_given_variables_are_trained(self, make, dataset):
        model = make()
        before = _weights(model)
        model.fit(
            dataset, nb_epoch=1, checkpoint_every=0, variables=list(model.network.readouts.parameters())
        )
        changed = {
            k for k, v in dict(model.model.named_parameters()).items() if not torch.equal(v, before[k])
        }
        assert changed
        assert all(name.startswith("network.readouts") for name in changed)

    def test_what_a_sample_lacks_is_computed(self, make, hamiltonians):
        bare = [HamiltonianSample(s.numbers, s.positions, "sto-3g", s.hamiltonian) for s in hamiltonians]
        found = []
        for samples in (bare, hamiltonians):
            model = make()
            model.fit(dc.data.NumpyDataset(samples), nb_epoch=1, checkpoint_every=0)
            found.append(model.predict(samples))
        for a, b in zip(*found):
            np.testing.assert_allclose(a, b, atol=1e-6)
        np.testing.assert_allclose(bare[0].guess, hamiltonians[0].guess, atol=1e-10)

    def test_weights_of_samples_count(self, make, hamiltonians):
        w = np.array([[1.0], [0.0]])
        two = dc.data.NumpyDataset(hamiltonians[:2], np.zeros((2, 1)), w)
        models = [make(), make()]
        models[0].fit(two, nb_epoch=2, checkpoint_every=0)
        models[0].model.fitted.fill_(True)
        models[1].load_from_pretrained(models[0])
        assert models[0].history[0].train_mae > 0
        alone = make()
        alone.preparation.measure((s, s.name) for s in hamiltonians[:2])
        alone.model.fitted.fill_(True)
        alone.fit(dc.data.NumpyDataset(hamiltonians[:1]), nb_epoch=2, checkpoint_every=0)
        for a, b in zip(models[0].model.parameters(), alone.model.parameters()):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


class TestForms:
    @pytest.mark.parametrize("form", FORMS)
    def test_every_form_learns_and_is_restored(self, form, make, dataset):
        model = make(form)
        model.fit(dataset, nb_epoch=3)
        assert model.history[-1].loss < model.history[0].loss
        iterated = form.startswith("equilibrium")
        assert (model.history[-1].iterations > 0) == iterated
        found = model.predict_properties(dataset)
        assert [(p.iterations > 0, p.converged) for p in found] == [(iterated, True)] * 8
        again = HamiltonianModel.load(model.model_dir)
        for a, b in zip(model.predict(dataset), again.predict(dataset)):
            np.testing.assert_array_equal(a, b)

    def test_an_unconverged_fixed_point_is_not_silent(self, make, dataset):
        model = make("equilibrium-delta", max_iter=1)
        model.preparation.measure((s, s.name) for s in dataset.X)
        model.model.fitted.fill_(True)
        _feed_back(model)
        with pytest.warns(UserWarning, match="8 of 8 predictions are not self-consistent"):
            found = model.predict_properties(dataset)
        assert not any(p.converged for p in found)
        assert all(p.residual > 0 for p in found)
        model.on_unconverged = "raise"
        with pytest.raises(SCFNotConverged, match="water/0"):
            model.predict(dataset)

    def test_what_did_not_converge_teaches_nothing(self, make, dataset):
        model = make("equilibrium-delta", max_iter=1)
        _feed_back(model)
        before = dict(model.model.named_parameters())
        before = {k: v.detach().clone() for k, v in before.items()}
        with pytest.warns(UserWarning):
            model.fit(dataset, nb_epoch=1, checkpoint_every=0)
            model.predict(dataset)
        assert model.history[0].unconverged == 1.0
        assert _same(before, dict(model.model.named_parameters()))

    def test_ablations_see_less(self, make, dataset):
        for inputs in (["overlap"], ["core", "guess"]):
            model = make(inputs=inputs)
            model.fit(dataset, nb_epoch=1, checkpoint_every=0)
            assert len(model.network.known) == len(inputs)

    def test_the_other_guess(self, make, hamiltonians):
        model = make(guess="sap")
        model.fit(dc.data.NumpyDataset(hamiltonians), nb_epoch=1, checkpoint_every=0)
        sample = hamiltonians[0]
        found = model.prepared([sample])[0].base.view(7, 7).numpy()
        np.testing.assert_allclose(found, Reference(sample).guess("sap"), atol=1e-12)
        assert np.abs(found - sample.guess).max() > 0.01

    def test_matrices_are_put_together_in_double_precision(self, make, hamiltonians):
        """Elements of H reach 25 Ha, so that float32 alone would round by a microhartree."""
        one = dc.data.NumpyDataset(hamiltonians[:1])
        model = make("direct")
        model.preparation.measure([(hamiltonians[0], "0")])
        model.model.fitted.fill_(True)
        with torch.no_grad():
            for parameter in model.network.readouts.parameters():
                parameter.zero_()  # what is left is the mean: of one sample, its invariants
        found = model.predict(one)[0]
        assert found.dtype == np.float64
        assert abs(found[0, 0] - hamiltonians[0].hamiltonian[0, 0]) < 1e-11


class TestPrediction:
    @pytest.fixture
    def trained(self, make, dataset):
        model = make("equilibrium-delta", dtype="float64")
        model.fit(dataset, nb_epoch=2, checkpoint_every=0)
        return model

    def test_a_batch_of_different_molecules_equals_each_alone(self, trained, dataset):
        trained.batch_size = 8
        together = trained.predict(dataset)
        trained.batch_size = 1
        for a, b in zip(together, trained.predict(dataset)):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-9)  # tol of the fixed point: 1e-10
        assert [len(m) for m in together] == [7, 7, 6, 6, 6, 7, 7, 7]

    def test_plain_forms_do_not_depend_on_their_company_at_all(self, make, dataset):
        model = make(dtype="float64")
        model.fit(dataset, nb_epoch=2, checkpoint_every=0)
        model.batch_size = 8
        together = model.predict(dataset)
        for sample, a in zip(dataset.X, together):
            np.testing.assert_allclose(a, model.predict([sample])[0], rtol=0, atol=1e-12)

    def test_a_turned_molecule_has_the_same_orbitals(self, make, dataset, hamiltonians):
        # The potentials of the sap guess take no quadrature, whose points do not turn along.
        model = make("equilibrium-delta", dtype="float64", guess="sap")
        model.fit(dataset, nb_epoch=2, checkpoint_every=0)
        turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
        sample = hamiltonians[0]
        turned = HamiltonianSample(
            sample.numbers[[1, 0, 2]], sample.positions[[1, 0, 2]] @ turn + 3.0, "sto-3g"
        )
        a, b = model.predict_properties([sample, turned])
        np.testing.assert_allclose(a.orbital_energies, b.orbital_energies, atol=1e-7)
        assert np.linalg.norm(a.dipole) == pytest.approx(np.linalg.norm(b.dipole), abs=1e-6)

    def test_the_true_matrix_gives_what_the_reference_gives(self, trained, hamiltonians):
        """Everything derived from a matrix, against PySCF's converged calculation."""
        sample = hamiltonians[0]
        found = trained.predict_properties([sample])[0]
        found.hamiltonian = sample.hamiltonian
        reference = Reference(sample, grid_level=0)
        solution = reference.solve()
        np.testing.assert_allclose(found.orbital_energies, solution.orbital_energies, atol=1e-6)
        np.testing.assert_allclose(found.density_matrix, solution.density, atol=1e-5)
        np.testing.assert_allclose(found.dipole, reference.dipole(solution.density), atol=1e-5)
        assert found.energy == pytest.approx(sample.energy, abs=1e-9)
        homo, lumo = solution.orbital_energies[4:6]
        assert found.homo_lumo_gap == pytest.approx(lumo - homo, abs=1e-6)
        before, after = found.cycles()
        assert after <= 3 < before
        problem = KohnSham(
            Molecule((list("OHH"), sample.positions), "sto-3g", grid_level=0), "pbe", two_grid=False
        )
        assert problem.run(guess=found.state).iterations <= 2 < problem.run().iterations
        overlap = found.coefficients.T @ sample.overlap @ found.coefficients
        np.testing.assert_allclose(overlap, np.eye(7), atol=1e-10)

    def test_scores_are_in_microhartree(self, trained, dataset, hamiltonians):
        found = trained.predict(dataset)
        names = ["hamiltonian_mae", "orbital_mae", "energy_mae", "gap_mae"]
        scores = trained.evaluate(dataset, names)
        errors = [np.abs(h - s.hamiltonian).mean() for h, s in zip(found, hamiltonians)]
        assert scores["hamiltonian_mae"] == pytest.approx(1e6 * np.mean(errors))
        energies = [1e6 * (p.energy - p.sample.energy) for p in trained.predict_properties(dataset)]
        assert scores["energy_mae"] == pytest.approx(np.mean(energies), rel=1e-3)
        assert scores["unconverged"] == 0.0
        metric = dc.metrics.Metric(dc.metrics.mean_absolute_error)
        whole = np.concatenate([(h - s.hamiltonian).ravel() for h, s in zip(found, hamiltonians)])
        assert trained.evaluate(dataset, [metric])["mean_absolute_error"] == pytest.approx(
            np.abs(whole).mean()
        )

    def test_what_was_never_met_is_no_explosion(self, trained, hamiltonians):
        """Pairs at other distances are hundreds of spreads from their means; see there."""
        far = HamiltonianSample([8, 1, 1], 1.8 * hamiltonians[0].positions, "sto-3g")
        inputs = [trained.prepared([s])[0].graph.inputs for s in (far, hamiltonians[0])]
        largest = [max(float(part.abs().max()) for part in one.values()) for one in inputs]
        assert largest[0] < 6 * 5**0.5  # root mean square 6 over the components of l = 2
        assert largest[1] < 6
        found = trained.predict_properties([far])[0]
        assert float(found.change.abs().max()) < 1.0  # Hartree

    def test_deepchem_names_work(self, trained, dataset, hamiltonians):
        a = trained.predict_on_batch(hamiltonians[:2])
        b = trained.predict(dc.data.NumpyDataset(hamiltonians[:2]))
        assert all(np.array_equal(x, y) for x, y in zip(a, b))
        with pytest.raises(InputError, match="transformers"):
            trained.predict(dataset, ["log"])
        step = trained.get_global_step()
        trained.fit_on_batch(hamiltonians[:2], np.zeros((2, 1)), np.ones((2, 1)))
        assert trained.get_global_step() == step + 1


class TestFiles:
    def test_an_interrupted_training_goes_on_bitwise(self, make, dataset, hamiltonians, tmp_path):
        valid = dc.data.NumpyDataset(hamiltonians[:2])
        options = {"valid_dataset": valid, "validate_every": 2, "checkpoint_every": 1}
        straight = make("equilibrium-delta")
        straight.fit(dataset, nb_epoch=6, **options)

        def stop(report):
            if report.epoch == 3:
                raise KeyboardInterrupt

        killed = make("equilibrium-delta")
        with pytest.raises(KeyboardInterrupt):
            killed.fit(dataset, nb_epoch=6, epoch_callback=stop, **options)
        again = make("equilibrium-delta", model_dir=killed.model_dir)
        again.fit(dataset, nb_epoch=6, restore=True, **options)
        assert _same(_weights(straight), _weights(again))
        assert _same(straight.progress.last, again.progress.last)
        clean = [[{**vars(r), "seconds": 0} for r in m.history] for m in (straight, again)]
        assert repr(clean[0]) == repr(clean[1])
        assert again.get_global_step() == straight.get_global_step() == 18

    def test_a_checkpoint_of_a_running_training_predicts_with_averages(self, make, dataset):
        model = make(ema=0.9)
        seen = []

        def look(report):
            seen.append({k: v.clone() for k, v in model.progress.average.items()})

        model.fit(dataset, nb_epoch=2, checkpoint_every=1, epoch_callback=look)
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
    def test_a_checkpoint_of_another_model_is_refused(self, change, make, dataset):
        model = make()
        model.fit(dataset, nb_epoch=1)
        other = make(**change)
        before = _weights(other)
        with pytest.raises(CheckpointError):
            other.restore(model_dir=model.model_dir)
        assert _same(before, _weights(other))

    def test_a_pretrained_model_is_a_beginning(self, make, dataset):
        model = make()
        model.fit(dataset, nb_epoch=2)
        copied, bottom = make(seed=5), make(seed=5)
        copied.load_from_pretrained(model.model_dir)
        assert copied.get_global_step() == 0
        for a, b in zip(copied.predict(dataset), model.predict(dataset)):
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
    def test_arguments(self, options, message, make):
        with pytest.raises(InputError, match=message):
            make(**options)
        with pytest.raises(TypeError, match="learning_rat"):
            make(learning_rat=1.0)

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
    def test_entries_are_named(self, change, field, message, make, hamiltonians):
        bad = copy.copy(hamiltonians[1])
        for name, value in change.items():
            setattr(bad, name, np.asarray(value) if name == "numbers" else value)
        data = dc.data.NumpyDataset([hamiltonians[0], bad], ids=["good", "bad one"])
        with pytest.raises(InputError, match=message) as caught:
            make().fit(data, nb_epoch=1, checkpoint_every=0)
        assert caught.value.entry == "bad one"
        assert field is None or caught.value.field == field

    def test_an_untrained_model_does_not_predict(self, make, dataset):
        with pytest.raises(InputError, match="has not been trained"):
            make().predict(dataset)
        with pytest.raises(InputError, match="is no HamiltonianSample"):
            make().fit(dc.data.NumpyDataset(np.eye(2)), nb_epoch=1)
        with pytest.raises(InputError, match="is empty"):
            make().fit(dc.data.NumpyDataset(np.zeros(0), np.zeros((0, 1))), nb_epoch=1)

    def test_elements_basis_and_functional_of_data(self, hamiltonians):
        model = HamiltonianModel.for_data(hamiltonians, width=4, hidden=8)
        assert model.config["elements"] == [1, 8, 9]
        assert (model.config["basis"], model.config["xc"]) == ("sto-3g", "pbe")
        other = [replace(s, xc="gga_x_pbe,gga_c_pbe") for s in hamiltonians[:1]]
        assert model.prepared(other)[0].nao == 7  # the same functional by another name


@pytest.mark.gpu
@pytest.mark.parametrize("form", sorted(FORMS))
def test_steps_on_a_gpu(make, dataset, form):
    """The same losses as on the CPU; prints time and memory of a step (pytest -s)."""
    import time

    losses = {}
    for device in ("cpu", "cuda"):
        model, marks = make(form, device=torch.device(device)), [time.perf_counter()]
        model.fit(
            dataset,
            8,
            checkpoint_every=0,
            deterministic=True,
            epoch_callback=lambda report, marks=marks: marks.append(time.perf_counter()),
        )
        losses[device] = [report.loss for report in model.history]
        print(f"{form} on {device}: {1000 * np.median(np.diff(marks)[3:]):.1f} ms per epoch")
    print(f"{torch.cuda.max_memory_allocated() / 1024**2:.0f} MiB")
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=1e-2)
