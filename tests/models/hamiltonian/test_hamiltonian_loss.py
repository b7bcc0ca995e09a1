"""The loss of a HamiltonianModel: its parts, its gradients, learning without labels."""

from dataclasses import replace

import deepchem as dc
import numpy as np
import pytest
import torch

from deepchem_dft.hamiltonian.reference import Reference
from deepchem_dft.hamiltonian.sample import HamiltonianSample
from deepchem_dft.models import HamiltonianLoss, HamiltonianModel
from deepchem_dft.models.hamiltonian.samples import Batch


@pytest.fixture
def model(tmp_path):
    return HamiltonianModel(
        ["H", "O", "F"],
        "sto-3g",
        guess="sap",
        width=8,
        hidden=16,
        layers=1,
        n_radial=8,
        warmup=5,
        learning_rate=3e-3,
        batch_size=4,
        grid_level=0,
        dtype="float64",
        model_dir=str(tmp_path / "model"),
    )


@pytest.fixture
def batch(model, hamiltonians):
    model.preparation.measure((s, s.name) for s in hamiltonians)
    return Batch.of([model.preparation(s, s.name) for s in hamiltonians[:4:3]], "cpu")


def _elements(batch, shift=0.02):
    """Elements of the blocks of the true matrices, disturbed."""
    true = batch.together("label")[batch.graph.place]
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=len(true))) * shift
    noise = 0.5 * (noise + noise[batch.graph.mirror])
    return true + noise, noise


def test_matrix_errors_are_means_of_each_molecule(batch):
    found, noise = _elements(batch)
    loss, mae = HamiltonianLoss(2.0, 3.0, unit=1e-3)(batch, found)
    for row, sample in enumerate(batch.samples):
        own = noise[batch.graph.owner == row]
        count = sample.nao**2
        assert len(own) == count  # nothing is beyond the cutoff
        assert mae[row] == pytest.approx(float(own.abs().mean()))
        expected = 2e3 * own.abs().mean() + 3e6 * own.square().mean()
        assert loss[row] == pytest.approx(float(expected))


def test_orbital_energies_are_pyscfs(batch):
    matrices = batch.matrices(_elements(batch)[0])
    loss, _ = HamiltonianLoss(0.0, 0.0, 1.0, unit=1e-3)(batch, _elements(batch)[0])
    for row, (sample, matrix) in enumerate(zip(batch.samples, matrices)):
        true = Reference(sample.sample, grid_level=0).solve().orbital_energies
        energies, _ = sample.solve(matrix.numpy())
        count = sample.n_occupied + 1
        expected = 1e3 * np.abs(energies - true)[:count].mean()
        assert loss[row] == pytest.approx(expected, rel=1e-4)


def test_the_commutator_is_that_of_the_density(batch):
    elements, _ = _elements(batch)
    loss, _ = HamiltonianLoss(0.0, 0.0, 0.0, 1.0, unit=1.0)(batch, elements)
    for row, (sample, matrix) in enumerate(zip(batch.samples, batch.matrices(elements))):
        reference = Reference(sample.sample, grid_level=0)
        _, orbitals = sample.solve(matrix.numpy())
        density = 2 * orbitals[:, :5] @ orbitals[:, :5].T
        s, fock = reference.overlap, reference.fock(density)
        x = sample.orthogonal.numpy()
        residual = x @ (fock @ density @ s - s @ density @ fock) @ x
        assert loss[row] == pytest.approx((residual**2).mean(), rel=1e-9)
    exact = _elements(batch, 0.0)[0]
    assert HamiltonianLoss(0.0, 0.0, 0.0, 1.0, unit=1.0)(batch, exact)[0].max() < 1e-12


@pytest.mark.parametrize("weights", [(1.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0)])
def test_gradients_agree_with_finite_differences(weights, batch):
    loss = HamiltonianLoss(*weights, unit=0.1)
    elements = _elements(batch)[0].requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss(batch, elements)[0].sum(), elements)
    direction = torch.from_numpy(np.random.default_rng(1).normal(size=len(elements)))
    direction = direction + direction[batch.graph.mirror]
    step = 1e-5
    with torch.no_grad():
        up, down = (loss(batch, elements + sign * step * direction)[0].sum() for sign in (1, -1))
    assert float(gradient @ direction) == pytest.approx(float(up - down) / (2 * step), rel=1e-5)


def test_equal_orbital_energies_do_no_harm(tmp_path):
    """Gradients of eigenvectors are infinite for pi orbitals; those of the density are not."""
    sample = HamiltonianSample([9, 1], [[0, 0, 0], [0, 0, 1.7]], "sto-3g", xc="pbe")
    model = HamiltonianModel(
        ["H", "F"],
        "sto-3g",
        width=4,
        hidden=8,
        layers=0,
        grid_level=0,
        dtype="float64",
        model_dir=str(tmp_path / "model"),
    )
    sample.hamiltonian = Reference(sample, grid_level=0).solve().hamiltonian
    model.preparation.measure([(sample, "HF")])
    batch = Batch.of(model.prepared([sample]), "cpu")
    elements = batch.together("label")[batch.graph.place].requires_grad_(True)
    loss = HamiltonianLoss(0.0, 0.0, 0.0, 1.0, unit=1.0)(batch, 0.99 * elements)[0].sum()
    (gradient,) = torch.autograd.grad(loss, elements)
    assert bool(torch.isfinite(gradient).all())
    assert gradient.abs().max() < 1


def test_self_consistency_teaches_without_labels(model, hamiltonians):
    """Begun with two labels, the model gets closer to the other molecules' densities."""
    labelled = dc.data.NumpyDataset(hamiltonians[:2])
    model.fit(labelled, nb_epoch=15, checkpoint_every=0)
    rest = [replace(s, hamiltonian=None) for s in (hamiltonians[5], hamiltonians[6])]
    true = [Reference(s, grid_level=0).solve() for s in rest]

    def errors():
        found = model.predict_properties(rest)
        return np.array(
            [[np.abs(p.density_matrix - t.density).max(), p.energy - t.energy] for p, t in zip(found, true)]
        )

    before = errors()
    model.hamiltonian_loss = HamiltonianLoss(0.0, 0.0, 0.0, 1.0, unit=0.1)
    model.optimizer.learning_rate = 1e-3
    model.fit(dc.data.NumpyDataset(rest), nb_epoch=15, checkpoint_every=0)
    losses = [report.loss for report in model.history[-15:]]
    assert losses[-1] < 0.4 * losses[0]
    assert np.isnan(model.history[-1].train_mae)
    assert (errors() < 0.6 * before).all()
