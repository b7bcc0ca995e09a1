"""Density and density-matrix entries: whole labels, zero for the model's own, right gradients."""

import deepchem as dc
import numpy as np
import pytest
import torch
from torch import nn

from deepchem_dft.data import DFTEntry

SYSTEM = {"moldesc": "Li 0 0 0; H 0 0 3.015", "basis": "sto-3g"}


@pytest.fixture
def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).double()


def own_result(model):
    from deepchem_dft.data import DFTSystem

    molecule = model.model.solver.molecule(DFTSystem(SYSTEM))
    with torch.no_grad():
        return molecule, model.model.layer(molecule)


def own_entries(model, folder):
    """Return entries whose targets are the model's own density matrix and density."""
    molecule, result = own_result(model)
    matrix = result.total_density_matrix.detach().numpy()
    np.save(folder / "dm.npy", matrix)
    np.savez(
        folder / "dens.npz",
        points=molecule.points,
        weights=molecule.weights,
        density=result.density(molecule.points).detach(),
    )
    return [
        DFTEntry.create("dm", str(folder / "dm.npy"), [SYSTEM]),
        DFTEntry.create("dens", str(folder / "dens.npz"), [SYSTEM]),
    ]


def test_own_density_gives_zero_loss_and_no_nan(make_model, make_dataset, network, tmp_path):
    model = make_model("lda,pw", network, aweight0=0.2, tol=1e-9, grid_level=3)
    dataset = make_dataset(own_entries(model, tmp_path))
    assert dataset.y.ravel().tolist() == [0.0, 0.0]
    np.testing.assert_allclose(model.predict(dataset), 0.0, atol=1e-8)
    assert model.fit(dataset, nb_epoch=1) == pytest.approx(0.0, abs=1e-14)
    assert all(torch.isfinite(p).all() for p in model.model.parameters())


def test_every_element_of_the_label_counts(make_model, make_dataset, network, tmp_path):
    """A change of any element changes the prediction: labels are neither cut nor truncated."""
    model = make_model("lda,pw", network, aweight0=0.2, tol=1e-9, grid_level=1)
    molecule, result = own_result(model)
    matrix = result.total_density_matrix.detach().numpy()
    overlap = molecule.overlap.numpy()
    for i, j in ((0, 0), (5, 5), (5, 0)):
        target = matrix.copy()
        target[i, j] += 1e-3
        target[j, i] = target[i, j]
        target *= np.vdot(matrix, overlap) / np.vdot(target, overlap)  # keep trace(D S)
        np.save(tmp_path / "dm.npy", target)
        entry = DFTEntry.create("dm", str(tmp_path / "dm.npy"), [SYSTEM])
        expected = np.sqrt(((target - matrix) ** 2).mean())
        assert model.predict(make_dataset([entry])).item() == pytest.approx(expected, rel=1e-5)


def test_density_deviation_is_the_weighted_integral(make_model, make_dataset, network, tmp_path):
    model = make_model("lda,pw", network, aweight0=0.2, tol=1e-9, grid_level=3)
    molecule, result = own_result(model)
    points, weights = molecule.points.numpy(), molecule.weights.numpy()
    density = result.density(points).detach().numpy()
    changed = density * (1 + 1e-2 * np.cos(points[:, 2]))
    changed *= (weights @ density) / (weights @ changed)
    np.savez(tmp_path / "d.npz", points=points, weights=weights, density=changed)
    entry = DFTEntry.create("dens", str(tmp_path / "d.npz"), [SYSTEM])
    expected = np.sqrt(weights @ (changed - density) ** 2)
    assert model.predict(make_dataset([entry])).item() == pytest.approx(expected, rel=1e-5)


def test_gradient_of_a_mixture_against_finite_differences(make_model, make_dataset, network, tmp_path):
    model = make_model("lda,pw", network, aweight0=0.2, tol=1e-10, grid_level=3)
    entries = own_entries(model, tmp_path)
    entries.append(DFTEntry.create("energy", "-7.9", [SYSTEM]))
    with torch.no_grad():
        network[2].weight += 0.3
    dataset = make_dataset(entries)

    def loss():
        value = model.model.train()(dataset.X)
        weight = torch.tensor([[3.0], [2.0], [1e-3]], dtype=torch.float64)
        return model.entry_loss(entries, value, torch.as_tensor(dataset.y), weight)

    loss().backward()
    for parameter, index in ((network[0].weight, (1, 0)), (model.functional.bweight, ())):
        values = []
        for shift in (1e-3, -2e-3):
            with torch.no_grad():
                parameter[index] += shift
                values.append(loss().item())
        with torch.no_grad():
            parameter[index] += 1e-3
        numeric = (values[0] - values[1]) / 2e-3
        assert parameter.grad[index].item() == pytest.approx(numeric, rel=1e-4)


def test_mixture_trains_and_is_evaluated_per_type(make_model, make_dataset, network, tmp_path):
    reference = make_model("lda,pw", network, aweight0=0.2, grid_level=3)
    entries = own_entries(reference, tmp_path)
    entries.append(DFTEntry.create("energy", "-7.9", [SYSTEM]))
    dataset = make_dataset(entries)
    model = make_model(
        "lda,pw",
        grid_level=3,
        learning_rate=0.02,
        hidden_size=6,
        type_weights={"energy": 1e-3, "dens": 10.0},
        scf_every=4,
    )
    losses = []
    model.fit(dataset, nb_epoch=8, all_losses=losses)
    assert losses[-1] < 0.5 * losses[0]
    by_type = model.evaluate_by_type(dataset)
    prediction = model.predict(dataset).ravel()
    assert by_type["dm"] == pytest.approx(prediction[0]) and by_type["dens"] == pytest.approx(prediction[1])
    assert by_type["energy"] == pytest.approx(abs(prediction[2] + 7.9) * 627.5094740631)
    metric = dc.metrics.Metric(dc.metrics.mae_score)
    score = model.evaluate(dataset, metric)["mae_score"]
    assert score == pytest.approx(np.abs(prediction - dataset.y.ravel()).mean())
    # Densities need the field of every step, so that nothing was frozen.
    assert all(r.scf_solutions == 1 for r in model.history)
