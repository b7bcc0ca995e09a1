"""Kohn-Sham trajectories: against dense matrices, finite differences, and exact limits."""

import numpy as np
import pytest
import torch
from _dense_ksr import DenseKSR
from scipy.linalg import eigh

from deepchem_dft.errors import InputError
from deepchem_dft.lattice.functionals import LatticeFunctional, make_functional
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.lattice.interaction import hartree_energy, hartree_potential
from deepchem_dft.lattice.step import Molecules
from deepchem_dft.lattice.systems import System, h2, h2_plus, h3, h4, lih
from deepchem_dft.lattice.trajectory import run_trajectory

GRID = Grid(257, 0.12)


class NoXC(LatticeFunctional):
    """Hartree's approximation: its Kohn-Sham equations need no network."""

    def energy(self, density):
        return 0.0 * density.sum((1, 2))


def _loss(trajectory, targets):
    """A loss in the manner of KSR, over all iterations."""
    weights = 0.9 ** torch.arange(trajectory.energies.shape[1] - 1, -1, -1).double()
    squares = (trajectory.energies - targets[:, None]) ** 2
    return (squares @ weights).sum() + GRID.integrate(trajectory.mixed**2).sum()


def _compare_with_dense(grid, system, iterations):
    xc = make_functional("global", grid, seed=4)
    with torch.no_grad():
        found = run_trajectory([system], xc, iterations)
    energies, density = DenseKSR(grid.points, grid.spacing).trajectory(
        list(system.positions),
        list(system.charges),
        system.electrons,
        (xc.eta, list(xc.layers), xc.gate_width),
        iterations,
    )
    assert (found.energies[0] - energies).abs().max() < 1e-9
    assert grid.integrate((found.mixed[0, 0] - density).abs()) < 1e-9


@pytest.mark.parametrize(
    "system", [h2(3.84), System([-0.78, 0.66], [1, 1], 2, name="between points"), h4(2.04)]
)
def test_dense_matrices_give_the_same(system):
    _compare_with_dense(Grid(161, 0.12), system, 5)


@pytest.mark.slow
@pytest.mark.parametrize("system", [h2(1.28), h2(3.84), h2(1.36), h4(2.0)])
def test_dense_matrices_give_the_same_on_the_grid_of_the_paper(system):
    _compare_with_dense(Grid(), system, 15)


@pytest.mark.parametrize("polarised", [False, True])
def test_gradient_through_fifteen_iterations_is_that_of_finite_differences(polarised):
    molecules = Molecules.of([h2(1.28), h2(3.84), h4(2.0)], GRID, polarised)
    xc = make_functional("global", GRID, polarised=polarised, seed=1)
    # Weights that have learned something: random ones may make trajectories chaotic.
    with torch.no_grad():
        for layer in xc.layers:
            layer *= 0.7
    targets = torch.tensor([-2.06, -1.57, -4.6], dtype=torch.float64)

    def value():
        return _loss(run_trajectory(molecules, xc), targets)

    value().backward()
    generator = torch.Generator().manual_seed(0)
    direction = [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in xc.parameters()]
    slope = sum((p.grad * d).sum() for p, d in zip(xc.parameters(), direction, strict=True))
    values, h = [], 1e-4
    with torch.no_grad():
        for steps in (-2, -1, 1, 2):
            for p, d in zip(xc.parameters(), direction, strict=True):
                p += steps * h * d
            values.append(value())
            for p, d in zip(xc.parameters(), direction, strict=True):
                p -= steps * h * d
    difference = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
    assert abs(difference / slope - 1) < 1e-6


def test_every_parameter_has_its_own_finite_difference():
    molecules = Molecules.of([h2(2.4)], GRID)
    xc = make_functional("global", GRID, seed=2)
    targets = torch.tensor([-1.8], dtype=torch.float64)
    _loss(run_trajectory(molecules, xc, 5), targets).backward()
    for parameter in xc.parameters():
        flat, gradient = parameter.data.view(-1), parameter.grad.view(-1)
        index = int(gradient.abs().argmax())
        values = []
        with torch.no_grad():
            for step in (1e-4, -1e-4):
                flat[index] += step
                values.append(_loss(run_trajectory(molecules, xc, 5), targets))
                flat[index] -= step
        difference = (values[0] - values[1]) / 2e-4
        assert abs(difference / gradient[index] - 1) < 1e-5


def test_self_consistent_hartree_is_stationary_and_its_virial_components_add_up():
    """Without exchange and correlation: the energy is that of the density, and minimal."""
    xc, molecule = NoXC(GRID), Molecules.of([h2(2.4)], GRID)
    with torch.no_grad():
        found = run_trajectory(molecule, xc, 60, decay=1.0)
    assert found.residual < 1e-12
    density = found.density[0]
    potential = molecule.external[0] + hartree_potential(GRID, density)
    values, vectors = eigh(GRID.kinetic_matrix().numpy() + np.diag(potential.numpy()))
    assert np.abs(2 * vectors[:, 0] ** 2 / GRID.spacing - density.numpy()).max() < 1e-10
    expected = 2 * values[0] - hartree_energy(GRID, density)
    assert abs(found.energy[0] - expected) < 1e-10
    assert found.energies[0, 0] > found.energies[0, -1]


def test_one_electron_is_exact_whatever_the_network():
    """The self-interaction gate: energy and density of the one-electron problem, at once."""
    systems = [h2_plus(r) for r in (0.64, 2.48, 8.48)]
    for polarised in (False, True):
        xc = make_functional("global", GRID, polarised=polarised, seed=9)
        with torch.no_grad():
            found = run_trajectory(systems, xc, 2)
        for row, system in enumerate(systems):
            h = GRID.kinetic_matrix() + torch.diag(system.external_potential(GRID))
            values, vectors = torch.linalg.eigh(h)
            assert (found.energies[row] - values[0]).abs().max() < 1e-10
            exact = vectors[:, 0] ** 2 / GRID.spacing
            assert (found.density[row] - exact).abs().max() < 1e-9


@pytest.mark.parametrize("polarised", [False, True])
def test_all_of_a_batch_are_as_if_alone(polarised):
    systems = [h2(1.28), h4(2.0), h2_plus(2.0), h3(1.6), lih(3.2)]
    xc = make_functional("global", GRID, polarised=polarised, seed=1)
    with torch.no_grad():
        for layer in xc.layers:  # random weights amplify rounding errors
            layer *= 0.4
        together = run_trajectory(systems, xc, 8)
        for row, system in enumerate(systems):
            alone = run_trajectory([system], xc, 8)
            assert (alone.energies[0] - together.energies[row]).abs().max() < 1e-11
            assert (alone.mixed[0] - together.mixed[row]).abs().max() < 1e-11
    counts = GRID.integrate(together.density)
    assert counts.tolist() == pytest.approx([2, 4, 1, 3, 4], abs=1e-11)


def test_spins_of_a_closed_shell_are_half_of_it():
    """A functional of the total density alone, treated with and without spin."""

    class Total(LatticeFunctional):
        def energy(self, density):
            return -0.3 * GRID.integrate(density.sum(1) ** 2)

    with torch.no_grad():
        one = run_trajectory([h2(1.6), h4(2.0)], Total(GRID), 6)
        two = run_trajectory([h2(1.6), h4(2.0)], Total(GRID, polarised=True), 6)
    assert (one.energies - two.energies).abs().max() < 1e-12
    assert (two.densities[:, :, 0] - two.densities[:, :, 1]).abs().max() < 1e-12
    assert (one.density - two.density).abs().max() < 1e-12


@pytest.mark.parametrize(("shift", "bound"), [(0.06, 5e-3), (3.0, 1e-8), (-1.5, 5e-3)])
def test_molecules_off_the_centre(shift, bound):
    """Whole points off: the same numbers. Half a point, or any distance: the grid's error."""
    grid = Grid(401, 0.12)
    there = System([shift - 1.2, shift + 1.2], [1, 1], 2)
    with torch.no_grad():
        found = run_trajectory([h2(2.4), there], make_functional("uniform-gas", grid), 6)
    assert (found.energies[0] - found.energies[1]).abs().max() < bound
    assert abs(grid.integrate(found.density * grid.x)[1] / 2 - shift) < bound


def test_symmetric_molecules_stay_symmetric_and_others_do_not_become():
    """The network's windows are lopsided; its average over the molecule's sides is not."""
    xc = make_functional("global", GRID, seed=1)
    between = System([-0.72, 0.6], [1, 1], 2)  # centred half a point to the left
    with torch.no_grad():
        found = run_trajectory([h2(1.44), between, lih(2.4)], xc, 4)
    symmetric, between, lopsided = found.density
    assert (symmetric - symmetric.flip(0)).abs().max() < 1e-13
    assert (between[:-1] - between[:-1].flip(0)).abs().max() < 1e-13
    assert (lopsided - lopsided.flip(0)).abs().max() > 0.1


def test_iterations_are_counted_damped_and_cut_as_asked():
    xc = NoXC(GRID)
    with torch.no_grad():
        all_of_them = run_trajectory([h2(2.0)], xc, 6, mixing=0.4, decay=0.8)
        some = run_trajectory([h2(2.0)], xc, 6, mixing=0.4, decay=0.8, last=2)
        first = run_trajectory([h2(2.0)], xc, 1, mixing=0.4)
    assert all_of_them.energies.shape == (1, 6)
    assert torch.equal(some.energies, all_of_them.energies[:, 4:])
    start = Molecules.of([h2(2.0)], GRID).density
    assert torch.allclose(first.mixed, start + 0.4 * (first.densities[:, 0] - start))
    moved = GRID.integrate((first.densities[:, 0] - start).abs()).item() / 2
    assert first.residual.item() == pytest.approx(moved)
    assert not first.converged().any()


@pytest.mark.parametrize(
    ("systems", "options", "message"),
    [
        ([], {}, "no systems"),
        ([System([20.0, 21.0], [1, 1], 2, name="far H2")], {}, "far H2.*outside the grid"),
        ([h2(1.0)], {"iterations": 0}, "at least 1 iteration"),
        ([h2(1.0)], {"mixing": 1.5}, "at most 1"),
        ([h2(1.0)], {"start": torch.zeros(1, 257)}, r"shape \(1, 1, 257\)"),
    ],
)
def test_bad_arguments_are_explained(systems, options, message):
    with pytest.raises(InputError, match=message):
        run_trajectory(systems, NoXC(GRID), **options)


def test_a_functional_that_explodes_is_an_error():
    class Exploding(LatticeFunctional):
        def energy(self, density):
            return (density / 0).sum((1, 2))

    with pytest.raises(InputError, match="potential is not finite"):
        run_trajectory([h2(1.0)], Exploding(GRID))
