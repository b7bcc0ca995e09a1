"""How a KSRModel iterates: where it starts, how far it goes, what it says of the end; spins and copies."""

import numpy as np
import pytest
import torch

from deepchem_dft.errors import InputError, SCFNotConverged
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.lattice.step import Molecules
from deepchem_dft.lattice.systems import System, h2, h2_plus
from deepchem_dft.models.ksr.loss import Separability

from .lattice import GRID, dataset_of, model_of

pytestmark = pytest.mark.filterwarnings("ignore:.*not self-consistent")


def test_direct_learning_is_one_iteration_from_the_exact_density(two):
    model = model_of("global", iterations=1, skip=0, start="exact")
    found = model.trajectory(two.X)
    assert found.energies.shape == (2, 1)
    model.fit(two, nb_epoch=15)
    assert model.history[-1].loss < 0.3 * model.history[0].loss
    with pytest.raises(InputError, match="no exact density"):
        model.trajectory([h2(1.28)])


def test_first_densities(two):
    starts = {}
    for start in ("noninteracting", "atoms", "exact"):
        found = model_of("uniform-gas", start=start, mixing=0.4).trajectory(two.X, 1)
        before = (found.mixed - 0.4 * found.densities[:, 0]) / 0.6
        starts[start] = before[:, 0].numpy()
    molecules = Molecules.of([h2(1.28), h2(3.84)], GRID)
    assert np.allclose(starts["noninteracting"], molecules.density[:, 0])
    assert np.allclose(starts["atoms"], molecules.atoms()[:, 0])
    assert np.allclose(starts["exact"], [state.density for state in two.X])


def test_iterations_of_tests_are_their_own(two):
    model = model_of("uniform-gas", test_iterations=30)
    found = model.trajectory(two.X)
    assert found.energies.shape[1] == 30
    assert np.allclose(model.predict(two)[:, 0], found.energy)
    model.test_iterations = None
    assert model.test_iterations == model.network.iterations == 4


def test_what_is_not_self_consistent_is_told(two):
    model = model_of("uniform-gas", test_iterations=2, tol=1e-3)
    with pytest.warns(UserWarning, match="2 of 2 calculations are not self-consistent after 2"):
        model.predict(two)
    assert (model.last_residuals > 1e-3).all()
    strict = model_of("uniform-gas", test_iterations=2, tol=1e-3, on_unconverged="raise")
    with pytest.raises(SCFNotConverged, match="raise test_iterations"):
        strict.predict(two)
    strict.test_iterations = 40
    assert np.isfinite(strict.predict(two)).all()
    assert strict.last_residuals.max() < 1e-3


def test_iterations_without_gradient_change_it_and_nothing_else(two):
    options = {"iterations": 6, "skip": 4, "method": "adam"}
    all_of_them, some = model_of("global", **options), model_of("global", burn_in=4, **options)
    assert all_of_them.fit(two, nb_epoch=1) == some.fit(two, nb_epoch=1)
    assert not np.array_equal(all_of_them.predict(two), some.predict(two))
    with pytest.raises(InputError, match="6 of 6 iterations are not differentiated"):
        model_of(burn_in=6, **options)


def test_spins_apart(two):
    model = model_of("global", polarised=True)
    triplet = System([-1.0, 1.0], [1, 1], 2, 2, name="triplet")
    dataset = dataset_of(h2(2.0), triplet, h2_plus(2.0))
    found = model.trajectory(dataset.X)
    counts = GRID.integrate(found.densities[:, -1]).round(decimals=9).tolist()
    assert counts == [[1, 1], [2, 0], [1, 0]]
    model.fit(dataset, nb_epoch=3)
    assert model.history[-1].loss < model.history[0].loss


def test_far_copies_of_a_molecule_are_learned_to_have_twice_its_energy():
    grid = Grid(191, 0.22)
    dataset = dataset_of(h2(1.2), h2(2.4), grid=grid)
    densities = torch.tensor(np.array([state.density for state in dataset.X]))[:, None]
    left = {}
    for weight in (0.0, 30.0):
        model = model_of("global", iterations=1, skip=0, start="exact", separability_weight=weight, grid=grid)
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
