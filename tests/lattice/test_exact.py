"""Exact states of one and two electrons: against closed forms, sparse solvers, exact theorems."""

import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse as sparse
import torch
from scipy.optimize import brentq
from scipy.special import jvp
from threadpoolctl import threadpool_info, threadpool_limits

from deepchem_dft.errors import ExactNotConverged, InputError
from deepchem_dft.lattice.exact import exact, natural_ci, one_body, two_body
from deepchem_dft.lattice.exact.state import lowest_state
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.lattice.interaction import AMPLITUDE, KAPPA, interaction
from deepchem_dft.lattice.systems import CURVE, System, h2, h2_plus, h3_plus, heh_plus, ion

#: Small boxes are what makes these tests quick; those that are about walls ask for the warning.
pytestmark = pytest.mark.filterwarnings("ignore:.*the walls of the grid:UserWarning")
SMALL = Grid(111, 0.16)


def sparse_two_electrons(system: System, grid: Grid, sign: int = 1) -> float:
    """Lowest energy of the Hamiltonian on all pairs of points, by SciPy's shift and invert.

    Restricted to (anti)symmetric functions of the two coordinates, with no basis and no Davidson.
    """
    n = grid.points
    one = sparse.csr_matrix(grid.kinetic_matrix().numpy()) + sparse.diags(
        system.external_potential(grid).numpy()
    )
    unit = sparse.identity(n)
    w = interaction(grid.x[:, None] - grid.x).numpy()
    hamiltonian = sparse.kron(one, unit) + sparse.kron(unit, one) + sparse.diags(w.ravel())
    left, right = np.triu_indices(n, 0 if sign > 0 else 1)
    columns = np.arange(len(left))
    weight = np.where(left == right, 1.0, np.sqrt(0.5))
    fold = sparse.csr_matrix((weight, (left * n + right, columns)), (n * n, len(left)))
    off = left != right
    fold += sparse.csr_matrix(
        (sign * weight[off], ((right * n + left)[off], columns[off])), (n * n, len(left))
    )
    folded = (fold.T @ hamiltonian @ fold).tocsc()
    return float(sparse.linalg.eigsh(folded, 1, sigma=-8.0, return_eigenvectors=False)[0])


def continuum_hydrogen(charge: float) -> float:
    """Energy of one electron without a grid: J'_nu(2 sqrt(2 A Z) / kappa) = 0."""
    argument = 2 * np.sqrt(2 * AMPLITUDE * charge) / KAPPA

    def slope(energy):
        return jvp(2 * np.sqrt(-2 * energy) / KAPPA, argument)

    energies = np.linspace(-AMPLITUDE * charge + 1e-9, -1e-3, 1000)
    signs = np.sign([slope(energy) for energy in energies])
    first = int(np.flatnonzero(signs[:-1] != signs[1:])[0])
    return brentq(slope, energies[first], energies[first + 1], xtol=1e-14)


@pytest.mark.parametrize("charge", [1, 2, 4])
def test_one_electron_tends_to_the_closed_form(charge):
    coarse, fine = (exact(ion(charge, 1), Grid(round(20.48 / h) + 1, h)).energy for h in (0.08, 0.04))
    known = continuum_hydrogen(charge)
    assert 0 > fine - known > 0.3 * (coarse - known)  # quadratic in the spacing
    assert (4 * fine - coarse) / 3 == pytest.approx(known, abs=3e-6 * charge**2)


def test_hydrogen_is_that_of_the_literature():
    # A and kappa were fitted to the soft-Coulomb atom, -0.669777 Ha.
    assert continuum_hydrogen(1) == pytest.approx(-0.669777, abs=1e-6)


@pytest.mark.parametrize(
    "system",
    [
        h2(0.8),
        h2(1.52),
        h2(5.92),
        h3_plus(1.76),
        heh_plus(1.6),
        ion(1, 2),
        ion(4, 2),
        System([-0.37, 1.91], [1, 1], 2, name="off points and centre"),
    ],
    ids=lambda system: system.name,
)
def test_two_electrons_against_a_sparse_solver(system):
    known = sparse_two_electrons(system, SMALL)
    assert exact(system, SMALL).energy == pytest.approx(known, abs=1e-10)


def test_triplet_against_a_sparse_solver():
    system = System([-0.8, 0.8], [1, 1], 2, spin=2)
    state = exact(system, SMALL)
    assert state.energy == pytest.approx(sparse_two_electrons(system, SMALL, -1), abs=1e-10)
    assert state.energy > exact(h2(1.6), SMALL).energy + 0.1
    assert SMALL.spacing * state.spin_density.sum(1) == pytest.approx([2, 0], abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("distance", CURVE["h2"][::9])
def test_h2_on_the_paper_s_grid_against_a_sparse_solver(distance):
    known = sparse_two_electrons(h2(distance), Grid())
    assert exact(h2(distance), cached=False).energy == pytest.approx(known, abs=1e-9)


def test_atoms_far_apart_are_two_atoms():
    # The state to be found is then almost orthogonal to both electrons in the lowest orbital.
    grid = Grid(400, 0.16)
    state = exact(h2(32.0), grid)
    assert state.total_energy == pytest.approx(2 * exact(ion(1, 1), grid).energy, abs=1e-7)


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


@pytest.mark.parametrize(
    "make",
    [
        lambda p: System([-1.1, p], [1, 1], 1, 1),
        lambda p: System([-1.1, p], [2, 1], 2),
        lambda p: System([-1.1, p], [1, 1], 2, 2),
    ],
)
def test_density_is_that_of_the_energy(make):
    """The derivative of the energy by a nuclear position is an integral over the density."""
    state, step = exact(make(1.03), SMALL), 1e-3
    ahead, behind = (exact(make(1.03 + s), SMALL).energy for s in (step, -step))
    assert force(state, 1) == pytest.approx((ahead - behind) / (2 * step), rel=1e-5)


def test_density_is_normalised_symmetric_and_positive():
    state = exact(h2(1.6), SMALL)
    assert state.density.sum() * SMALL.spacing == pytest.approx(2, abs=1e-12)
    assert state.density.min() >= 0
    assert np.allclose(state.density, state.density[::-1], atol=1e-8)
    assert np.array_equal(*state.spin_density)
    assert exact(h2_plus(2.4), SMALL).spin_density.sum(1) * SMALL.spacing == pytest.approx([1, 0])


def test_moving_by_grid_points_changes_nothing():
    grid = Grid(251, 0.16)
    here = exact(System([-0.8, 0.8], [2, 1], 2), grid)
    there = exact(System([-0.8 + 25 * 0.16, 0.8 + 25 * 0.16], [2, 1], 2), grid)
    assert there.energy == pytest.approx(here.energy, abs=1e-9)
    assert np.allclose(here.density[:-25], there.density[25:], atol=1e-6)


def test_between_points_the_energy_is_right_to_the_order_of_the_grid():
    known = continuum_hydrogen(1)
    for grid, bound in ((Grid(257), 2e-4), (Grid(513, 0.04), 5e-5)):
        for part in (0.0, 0.3, 0.5):
            energy = exact(System([part * grid.spacing], [1], 1, 1), grid).energy
            assert abs(energy - known) < bound


def test_energies_with_and_without_nuclei():
    grid = Grid(257)
    state = exact(h2(1.52), grid)
    assert state.total_energy - state.energy == pytest.approx(h2(1.52).nuclear_repulsion())
    totals = [exact(h2(r), grid).total_energy for r in (1.44, 1.52, 1.60)]
    assert np.argmin(totals) == 1  # where the halves of H2H2 have their bond


def test_walls_are_reported():
    system = System([7.2], [1], 1, 1, name="H by the wall")
    with pytest.warns(UserWarning, match="H by the wall: the walls .* raise the energy by about"):
        near = exact(system, SMALL)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        far = exact(system, Grid(311, 0.16))
    assert 0.25 < near.wall_error / (near.energy - far.energy) < 2
    assert far.wall_error < 1e-10


def test_what_cannot_be_solved():
    with pytest.raises(InputError, match="5 electrons are too many") as caught:
        exact(ion(5, 5))
    assert caught.value.field == "electrons"
    for electrons in (1, 2, 4):
        with pytest.raises(InputError, match="outside the grid"):
            exact(System([0, 9.0], [2, 2], electrons, electrons % 2), SMALL)


class TestCache:
    system = System([-0.8, 0.9], [1, 2], 2, name="cached")

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv("DEEPCHEM_DFT_CACHE", str(tmp_path))
        return tmp_path

    def solved(self, monkeypatch):
        import deepchem_dft.lattice.exact as room

        calls = []

        def counted(system, grid):
            calls.append(system)
            return two_body.two_electrons(system, grid)

        monkeypatch.setattr(room, "two_electrons", counted)
        return calls

    def test_second_time_is_read(self, monkeypatch):
        calls = self.solved(monkeypatch)
        first, second = exact(self.system, SMALL), exact(self.system, SMALL)
        assert len(calls) == 1 and first == second
        assert np.array_equal(first.spin_density, second.spin_density)
        assert pickle.loads(pickle.dumps(first)) == first
        exact(self.system, SMALL, cached=False)
        assert len(calls) == 2

    def test_everything_counts(self, monkeypatch):
        calls = self.solved(monkeypatch)
        exact(self.system, SMALL)
        for system, grid in (
            (System([-0.8, 0.91], [1, 2], 2), SMALL),
            (System([-0.8, 0.9], [2, 1], 2), SMALL),
            (System([-0.8, 0.9], [1, 2], 2, 2), SMALL),
            (self.system, Grid(112, 0.16)),
            (self.system, Grid(111, 0.17)),
            (self.system, Grid(111, 0.16, 3)),
        ):
            exact(system, grid)
        assert len(calls) == 7
        exact(System([-0.8, 0.9], [1, 2], 2, name="another name"), SMALL)
        exact(self.system, SMALL, orbitals=7)  # no orbitals are used
        assert len(calls) == 7

    def test_damaged_files_are_made_anew(self, folder, monkeypatch):
        calls = self.solved(monkeypatch)
        state = exact(self.system, SMALL)
        (file,) = folder.rglob("*.npz")
        file.write_bytes(file.read_bytes()[:-100])
        with pytest.warns(UserWarning, match="damaged"):
            assert exact(self.system, SMALL) == state
        assert len(calls) == 2

    def test_walls_are_reported_again(self):
        system = System([7.2], [1], 1, 1)
        for _ in range(2):
            with pytest.warns(UserWarning, match="this system: the walls"):
                exact(system, SMALL)


def test_what_does_not_converge_is_said():
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(200, 200))  # nothing to precondition with
    with pytest.raises(ExactNotConverged, match="H9: .* 100 iterations: residual .*, wanted 1.0e-30"):
        lowest_state(lambda v: (matrix + matrix.T) @ v, np.ones(200), np.ones(200), tol=1e-30, name="H9")


def test_one_thread_and_then_as_many_as_before(monkeypatch):
    import deepchem_dft.lattice.exact as room

    def threads():
        return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}

    seen = []

    def solve(system, grid):
        seen.append(threads())
        return one_body.one_electron(system, grid)

    monkeypatch.setattr(room, "one_electron", solve)
    with threadpool_limits(2):
        before = threads()
        exact(ion(1, 1), SMALL, cached=False)
        assert seen == [{1}] and threads() == before


def test_methods_are_named():
    assert {exact(ion(n, n), SMALL, 6).method for n in (1, 2, 3)} == {
        "banded eigenvalue problem",
        "two electrons on all pairs of points",
        "full CI (pairs)",
    }
    assert exact(ion(3, 3), SMALL, 6).orbitals == 6 and exact(ion(2, 2), SMALL).orbitals is None
    assert one_body.smooth_number(Grid()) == 165 and natural_ci.SOLVERS == ("pairs", "pyscf")
