"""Three and four electrons: against PySCF on the bare points, and convergence with orbitals."""

import numpy as np
import pytest
import torch

from deepchem_dft.errors import ExactNotConverged, InputError
from deepchem_dft.lattice.exact import exact, mean_field
from deepchem_dft.lattice.exact.mean_field import hartree_fock, natural_orbitals
from deepchem_dft.lattice.exact.natural_ci import full_ci, several_electrons
from deepchem_dft.lattice.exact.one_body import OneBody, smooth_number
from deepchem_dft.lattice.exact.pair_ci import pair_ci
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.lattice.interaction import KAPPA, interaction
from deepchem_dft.lattice.systems import System, h2h2, h3, h4, ion, lih

#: Few enough points that every orbital there is can be taken.
TINY = Grid(12, 0.5, order=3)
SMALL = Grid(129, 0.16)


def integrals(size, seed=0):
    """Random integrals with the symmetries of real orbitals, the repulsion positive."""
    rng = np.random.default_rng(seed)
    core = 0.2 * rng.normal(size=(size, size)) + np.diag(np.arange(size))
    factors = rng.normal(size=(3 * size, size, size))
    factors = factors + factors.transpose(0, 2, 1)
    return core + core.T, 0.01 * np.einsum("Lpq,Lrs->pqrs", factors, factors)


@pytest.mark.parametrize("electrons", [(1, 1), (2, 1), (2, 2)])
@pytest.mark.parametrize("size", [4, 9])
def test_pairs_against_pyscf(electrons, size):
    core, repulsion = integrals(size, seed=size)
    energy, matrices = pair_ci(core, repulsion, electrons)
    known, known_matrices = full_ci(core, repulsion, electrons)
    assert energy == pytest.approx(known, abs=1e-9)
    assert np.allclose(matrices, known_matrices, atol=1e-5)
    assert np.trace(matrices, axis1=1, axis2=2) == pytest.approx(electrons)


@pytest.mark.parametrize(
    "system",
    [
        System([-1, 0.5, 1], [1, 1, 1], 3, 1),
        System([-1.5, -0.5, 0.6, 1.5], [1, 1, 1, 1], 4),
        System([-1, 1], [3, 1], 4),
        System([-1, 1], [3, 1], 4, 2),
        System([0.2], [4], 4, 4),
    ],
    ids=["H3", "H4", "LiH", "LiH triplet", "Be quintet"],
)
def test_all_orbitals_are_the_same_as_all_points(system):
    """The points are a basis, too: integrals there take neither orbitals nor mean fields."""
    core = TINY.kinetic_matrix().numpy() + np.diag(system.external_potential(TINY).numpy())
    repulsion = np.zeros((TINY.points,) * 4)
    i, j = np.indices((TINY.points, TINY.points))
    repulsion[i, i, j, j] = interaction(TINY.x[:, None] - TINY.x).numpy()
    energy, matrices = full_ci(core, repulsion, (system.up, system.down))
    state = several_electrons(system, TINY, TINY.points)
    assert state.energy == pytest.approx(energy, abs=1e-9)
    on_points = np.diagonal(matrices, axis1=1, axis2=2) / TINY.spacing
    assert np.allclose(state.spin_density, on_points, atol=1e-5)


def test_energies_fall_with_every_orbital():
    energies = [several_electrons(h4(2.08), SMALL, k).energy for k in (4, 6, 8, 12, 16)]
    assert all(after < before for before, after in zip(energies, energies[1:]))
    assert energies[-2] - energies[-1] < 1e-4 < energies[0] - energies[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "system",
    [h4(1.04), h4(2.96), h4(6.0), h2h2(0.16), h2h2(4.0), h2h2(7.52), h2h2(9.76), lih(3.2), h3(2.88)],
    ids=lambda system: system.name,
)
def test_orbitals_are_enough(system):
    """On the paper's grid: 44 orbitals change less than 1e-5 Ha, and so does what they leave."""
    state = exact(system, cached=False)
    better = several_electrons(system, Grid(), 44)
    assert 0 < state.energy - better.energy < 5e-6
    assert np.abs(state.density - better.density).max() < 1e-4


def force(state, nucleus: int) -> float:
    """Derivative of the energy by a nuclear position, from the density (Hellmann-Feynman)."""
    distance = state.grid.x.numpy() - state.system.positions[nucleus]
    slope = (
        -state.system.charges[nucleus]
        * KAPPA
        * np.sign(distance)
        * interaction(torch.from_numpy(distance)).numpy()
    )
    return float((state.density * slope).sum() * state.grid.spacing)


def test_density_is_that_of_the_energy():
    def solve(place):
        return several_electrons(System([-1.1, place], [3, 1], 4), SMALL, 16)

    step = 5e-3
    slope = (solve(1.23 + step).energy - solve(1.23 - step).energy) / (2 * step)
    assert force(solve(1.23), 1) == pytest.approx(slope, rel=1e-4)


def test_densities():
    four, three = several_electrons(h4(2.08), SMALL, 12), several_electrons(h3(1.6), SMALL, 12)
    assert four.spin_density.sum(1) * SMALL.spacing == pytest.approx([2, 2])
    assert three.spin_density.sum(1) * SMALL.spacing == pytest.approx([2, 1])
    assert np.allclose(*four.spin_density, atol=1e-6)  # a singlet
    for state in (four, three):
        assert np.allclose(state.density, state.density[::-1], atol=1e-5)
        assert state.density.min() > -1e-12


@pytest.mark.slow
def test_two_molecules_far_apart():
    """Four electrons are two and two where the halves are far from each other."""
    grid = Grid(601, 0.16)
    halves = 2 * exact(System([-0.8, 0.8], [1, 1], 2), grid).total_energy
    whole = several_electrons(System([-20.8, -19.2, 19.2, 20.8], [1] * 4, 4), grid, 20)
    assert whole.total_energy == pytest.approx(halves, abs=3e-5)
    assert whole.total_energy > halves - 1e-6  # from above


class TestMeanField:
    def solved(self, system, grid=SMALL):
        body = OneBody.of(system, grid).lowest(smooth_number(grid))
        return body, hartree_fock(system, grid, body)

    @pytest.mark.parametrize(
        "system", [h4(2.0), h4(5.92), lih(3.2), h3(1.6), ion(4, 4)], ids=lambda system: system.name
    )
    def test_is_an_upper_bound_and_stationary(self, system):
        body, field = self.solved(system)
        assert field.energy > several_electrons(system, SMALL, 12).energy
        # One Slater determinant of these orbitals, by PySCF: the same energy.
        up = field.coefficients[0][:, : system.up]
        down = field.coefficients[1][:, : system.down]
        both = np.linalg.qr(np.hstack([up, down]))[0]
        phi = body.orbitals @ both
        clouds = (phi[:, :, None] * phi[:, None, :]).reshape(SMALL.points, -1)
        repulsion = (clouds.T @ body.repulsion @ clouds).reshape((both.shape[1],) * 4)
        core = (both.T * body.energies) @ both
        ups, downs = (both.T @ c @ c.T @ both for c in (up, down))
        coulomb = np.einsum("pqrs,rs->pq", repulsion, ups + downs)
        energy = ((ups + downs) * (core + 0.5 * coulomb)).sum()
        for matrix in (ups, downs):
            energy -= 0.5 * (matrix * np.einsum("prsq,rs->pq", repulsion, matrix)).sum()
        assert field.energy == pytest.approx(energy, abs=1e-9)

    def test_spins_alternate_where_bonds_are_broken(self):
        body, field = self.solved(h4(5.92))
        up, down = ((body.orbitals @ c[:, :2]) ** 2 for c in field.coefficients)
        magnetisation = (up.sum(1) - down.sum(1)) / SMALL.spacing
        at_nuclei = [magnetisation[round(p / 0.16) + 64] for p in h4(5.92).positions]
        assert np.sign(at_nuclei).tolist() in ([1, -1, 1, -1], [-1, 1, -1, 1])

    def test_natural_orbitals_hold_all_electrons(self):
        system = h3(1.6)
        body, _ = self.solved(system)
        occupations, orbitals = natural_orbitals(system, SMALL, body)
        assert occupations.sum() == pytest.approx(3, abs=1e-9)
        assert occupations[0] < 2 + 1e-6 and np.all(np.diff(occupations) < 1e-12)
        assert np.allclose(orbitals.T @ orbitals, np.eye(len(orbitals)), atol=1e-10)

    def test_says_so_if_it_does_not_converge(self, monkeypatch):
        monkeypatch.setattr(mean_field, "_MAX_ITER", 2)
        with pytest.raises(ExactNotConverged, match=r"LiH R=3.2: Hartree-Fock .* wanted 1e-05"):
            self.solved(lih(3.2))


@pytest.mark.parametrize(
    ("orbitals", "solver", "field"), [(1, None, "orbitals"), (1000, None, "orbitals"), (8, "dmrg", "solver")]
)
def test_misuse(orbitals, solver, field):
    with pytest.raises(InputError) as caught:
        several_electrons(h4(2.0), SMALL, orbitals, solver)
    assert caught.value.field == field


def test_pairs_refuse_other_spins():
    with pytest.raises(InputError, match="cannot do 3 . 1 electrons"):
        several_electrons(System([0.0], [4], 4, 2), SMALL, 8, "pairs")
    assert several_electrons(System([0.0], [4], 4, 2), SMALL, 8).method == "full CI (pyscf)"
