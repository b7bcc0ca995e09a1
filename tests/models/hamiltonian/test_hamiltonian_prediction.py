"""What a HamiltonianModel predicts: in order, whatever the batch, and all that follows from a matrix."""

import deepchem as dc
import numpy as np
import pytest

from deepchem_dft.errors import InputError
from deepchem_dft.hamiltonian.reference import Reference
from deepchem_dft.hamiltonian.sample import HamiltonianSample
from deepchem_dft.molecule import Molecule
from deepchem_dft.scf import KohnSham


@pytest.fixture
def trained(make_network, samples):
    model = make_network("equilibrium-delta", dtype="float64")
    model.fit(samples, nb_epoch=2, checkpoint_every=0)
    return model


def test_a_batch_of_different_molecules_equals_each_alone(trained, samples):
    trained.batch_size = 8
    together = trained.predict(samples)
    trained.batch_size = 1
    for a, b in zip(together, trained.predict(samples)):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-9)  # tol of the fixed point: 1e-10
    assert [len(m) for m in together] == [7, 7, 6, 6, 6, 7, 7, 7]


def test_plain_forms_do_not_depend_on_their_company_at_all(make_network, samples):
    model = make_network(dtype="float64")
    model.fit(samples, nb_epoch=2, checkpoint_every=0)
    model.batch_size = 8
    together = model.predict(samples)
    for sample, a in zip(samples.X, together):
        np.testing.assert_allclose(a, model.predict([sample])[0], rtol=0, atol=1e-12)


def test_a_turned_molecule_has_the_same_orbitals(make_network, samples, hamiltonians):
    # The potentials of the sap guess take no quadrature, whose points do not turn along.
    model = make_network("equilibrium-delta", dtype="float64", guess="sap")
    model.fit(samples, nb_epoch=2, checkpoint_every=0)
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    sample = hamiltonians[0]
    turned = HamiltonianSample(sample.numbers[[1, 0, 2]], sample.positions[[1, 0, 2]] @ turn + 3.0, "sto-3g")
    a, b = model.predict_properties([sample, turned])
    np.testing.assert_allclose(a.orbital_energies, b.orbital_energies, atol=1e-7)
    assert np.linalg.norm(a.dipole) == pytest.approx(np.linalg.norm(b.dipole), abs=1e-6)


def test_the_true_matrix_gives_what_the_reference_gives(trained, hamiltonians):
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
    solved = problem.run()
    once = found.single_build(grid_level=0)
    assert [once.energy, once.harris_foulkes] == pytest.approx([float(solved.energy)] * 2, abs=1e-8)
    np.testing.assert_allclose(once.forces(), solved.forces(), atol=2e-5)
    assert found.single_build("lda,pw", grid_level=0).energy > once.energy + 0.1
    overlap = found.coefficients.T @ sample.overlap @ found.coefficients
    np.testing.assert_allclose(overlap, np.eye(7), atol=1e-10)


def test_scores_are_in_microhartree(trained, samples, hamiltonians):
    found = trained.predict(samples)
    names = ["hamiltonian_mae", "orbital_mae", "energy_mae", "gap_mae"]
    scores = trained.evaluate(samples, names)
    errors = [np.abs(h - s.hamiltonian).mean() for h, s in zip(found, hamiltonians)]
    assert scores["hamiltonian_mae"] == pytest.approx(1e6 * np.mean(errors))
    energies = [1e6 * (p.energy - p.sample.energy) for p in trained.predict_properties(samples)]
    assert scores["energy_mae"] == pytest.approx(np.mean(energies), rel=1e-3)
    assert scores["unconverged"] == 0.0
    metric = dc.metrics.Metric(dc.metrics.mean_absolute_error)
    whole = np.concatenate([(h - s.hamiltonian).ravel() for h, s in zip(found, hamiltonians)])
    assert trained.evaluate(samples, [metric])["mean_absolute_error"] == pytest.approx(np.abs(whole).mean())


def test_what_was_never_met_is_no_explosion(trained, hamiltonians):
    """Pairs at other distances are hundreds of spreads from their means; see there."""
    far = HamiltonianSample([8, 1, 1], 1.8 * hamiltonians[0].positions, "sto-3g")
    inputs = [trained.prepared([s])[0].graph.inputs for s in (far, hamiltonians[0])]
    largest = [max(float(part.abs().max()) for part in one.values()) for one in inputs]
    assert largest[0] < 6 * 5**0.5  # root mean square 6 over the components of l = 2
    assert largest[1] < 6
    found = trained.predict_properties([far])[0]
    assert float(found.change.abs().max()) < 1.0  # Hartree


def test_deepchem_names_work(trained, samples, hamiltonians):
    a = trained.predict_on_batch(hamiltonians[:2])
    b = trained.predict(dc.data.NumpyDataset(hamiltonians[:2]))
    assert all(np.array_equal(x, y) for x, y in zip(a, b))
    with pytest.raises(InputError, match="transformers"):
        trained.predict(samples, ["log"])
    step = trained.get_global_step()
    trained.fit_on_batch(hamiltonians[:2], np.zeros((2, 1)), np.ones((2, 1)))
    assert trained.get_global_step() == step + 1
