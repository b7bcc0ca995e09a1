"""Systems solved side by side, against each of them solved alone."""

import copy

import pytest
import torch

from deepchem_dft.errors import FunctionalError, InputError
from deepchem_dft.molecule import Molecule
from deepchem_dft.scf.batch import _LockStep, solve_batch
from deepchem_dft.scf.hamiltonian import KSHamiltonian
from deepchem_dft.scf.ladder import SCFStatus, UnfitGuess, prepare, solve
from deepchem_dft.scf.search.ground_state import ground_state
from deepchem_dft.xc import NNLDA, build_network, get_xc


def curve(symbol, distances, basis="6-31g", **options):
    return [
        Molecule(f"{symbol} 0 0 0; {symbol} 0 0 {r}", basis, grid_level=0, name=f"{symbol}2 {r}", **options)
        for r in distances
    ]


def alone(hamiltonian, tol=1e-6):
    solution = solve(hamiltonian, tol=tol)
    return ground_state(hamiltonian, solution, cold=True, tol=tol, max_iter=500, unrestricted=False)[0]


def alike(found, expected, tolerance=1e-10):
    assert found.status is expected.status
    assert abs(found.evaluation.energy - expected.evaluation.energy) < tolerance
    densities = [s.state.density_matrix() for s in (found, expected)]
    torch.testing.assert_close(*densities, rtol=0, atol=1e-7)
    torch.testing.assert_close(found.energies, expected.energies, rtol=0, atol=1e-7)


@pytest.fixture
def in_lock_step(monkeypatch):
    """How many systems each batch has held, and how many it converged."""
    held = []
    original = _LockStep.__call__

    def call(self):
        found = original(self)
        held.append((len(self.hamiltonians), len(found)))
        return found

    monkeypatch.setattr(_LockStep, "__call__", call)
    return held


CURVES = [
    ("H", "lda,pw", "lda", (1.0, 1.4, 2.0, 4.0), {}),
    ("N", "native:pbe", "gga", (1.9, 2.1, 2.6), {}),
    ("N", "pbe0", "mgga", (1.9, 2.3), {}),
    ("O", "native:pbe", "mgga", (2.1, 2.5), {"spin": 2}),
    ("N", "camb3lyp", "gga", (2.0, 2.2), {"charge": 1, "spin": 1}),
]


@pytest.mark.parametrize(("symbol", "parent", "family", "distances", "options"), CURVES)
def test_a_curve(symbol, parent, family, distances, options, neural, in_lock_step):
    functional = neural(parent, family)
    points = [KSHamiltonian(m, functional) for m in curve(symbol, distances, **options)]
    together = solve_batch(points, tol=1e-7)
    assert in_lock_step == [(len(points), len(points))]
    for found, expected in zip(together, [alone(h, 1e-7) for h in points], strict=True):
        alike(found, expected)
        # The search for lower states turns degenerate orbitals, which rounding chooses.
        assert len(found.history) == len(expected.history)
        evaluation, other = found.evaluation, expected.evaluation
        assert evaluation.rho.shape == other.rho.shape
        torch.testing.assert_close(evaluation.rho, other.rho, rtol=0, atol=1e-7)
        assert evaluation.exchange.keys() == other.exchange.keys()
        assert evaluation.fixed_energy == pytest.approx(other.fixed_energy, abs=1e-6)


def test_warm_starts(neural, in_lock_step):
    functional = neural("native:pbe")
    points = [KSHamiltonian(m, functional) for m in curve("N", (2.0, 2.1, 2.2))]
    states = [solve(h).state for h in points]
    with torch.no_grad():
        functional.aweight += 0.01
    cold = solve_batch(points, tol=1e-8)
    warm = solve_batch(points, [states[0], None, states[2]], tol=1e-8)
    for found, expected in zip(warm, cold, strict=True):
        alike(found, expected)
    assert warm[0].iterations < cold[0].iterations and warm[1].iterations == cold[1].iterations
    assert len(in_lock_step) == 2


def test_company_changes_nothing(neural):
    functional = neural("native:pbe")
    points = [KSHamiltonian(m, functional) for m in curve("N", (1.9, 2.1, 2.6, 3.0))]
    whole = solve_batch(points)
    backwards = solve_batch(points[::-1])[::-1]
    pairs = solve_batch(points[:2]) + solve_batch(points[2:])
    for other in (backwards, pairs):
        for found, expected in zip(other, whole, strict=True):
            assert found.iterations == expected.iterations
            assert abs(found.evaluation.energy - expected.evaluation.energy) < 1e-10


def test_different_molecules_grids_and_shapes(neural, in_lock_step):
    functional = neural("native:pbe")
    made = [
        ("N 0 0 0; N 0 0 2.1", 0),
        ("H 0 0 0; Cl 0 0 2.4", 0),
        ("O 0 0 0; H 0 0 1.8", 1),
        ("C 0 0 0; O 0 0 2.13", 0),
    ]
    molecules = [Molecule(atoms, "sto-3g", spin=spin, grid_level=0) for atoms, spin in made]
    points = [KSHamiltonian(m, functional) for m in molecules]
    assert points[0].grid.size != points[1].grid.size
    assert points[0].overlap.shape == points[1].overlap.shape != points[2].overlap.shape
    together = solve_batch(points)
    assert in_lock_step == [(3, 3)]  # OH is alone in its shape
    for found, h in zip(together, points, strict=True):
        alike(found, alone(h))


def test_what_diis_does_not_converge_goes_down_the_ladder(in_lock_step):
    # the single pi* electron of NO may turn about the axis, and extrapolation never settles it
    functional = NNLDA(build_network(family="lda", hidden=(16, 16), zero_last=False, seed=1))
    made = [("O 0 0 0; O 0 0 2.28", 2), ("N 0 0 0; O 0 0 2.18", 1), ("C 0 0 0; N 0 0 2.2", 1)]
    points = [
        KSHamiltonian(Molecule(atoms, "6-31g", spin=spin, grid_level=0), functional) for atoms, spin in made
    ]
    together = solve_batch(points)
    assert in_lock_step == [(3, 2)]
    assert [s.status for s in together] == [SCFStatus.CONVERGED] * 3
    for found, h in zip(together, points, strict=True):
        alike(found, alone(h))


def test_a_limit_of_iterations_is_kept(neural):
    points = [KSHamiltonian(m, neural("lda,pw", "lda")) for m in curve("N", (2.1,))] * 2
    for solution in solve_batch(points, max_iter=3):
        assert solution.status is SCFStatus.MAX_ITERATIONS and solution.iterations <= 3


def test_evenly_filled_shells_and_fractions():
    functional = get_xc("native:lda")
    third = (1.0, 1.0, 2 / 3, 2 / 3, 2 / 3)
    molecules = [
        Molecule("O 0 0 0", "6-31g", grid_level=0, spin=2),
        Molecule("O 0 0 0", "6-31g", grid_level=0, nelec=(4.5, 3.5)),
        Molecule("O 0 0 0", "6-31g", grid_level=0, occupations=(third, third)),
    ]
    points = [KSHamiltonian(m, functional, restricted=False) for m in molecules]
    for found, h in zip(solve_batch(points), points, strict=True):
        assert found.evaluation.energy == pytest.approx(solve(h).evaluation.energy, abs=1e-9)


def test_misuse(neural):
    functional = neural("native:pbe")
    points = [KSHamiltonian(m, functional) for m in curve("H", (1.2, 1.4))]
    assert solve_batch([]) == []
    with pytest.raises(InputError, match="1 guesses for 2 systems"):
        solve_batch(points, [None])
    stranger = KSHamiltonian(points[0].molecule, copy.deepcopy(functional))
    with pytest.raises(InputError, match="same functional"):
        solve_batch([points[0], stranger])
    unfit = solve(KSHamiltonian(curve("H", (1.4,), "sto-3g")[0], functional)).state
    with pytest.raises(UnfitGuess):
        solve_batch(points, [unfit, None])


def test_a_functional_that_gives_nan_names_the_molecule(neural):
    functional = neural("native:pbe")
    with torch.no_grad():
        functional.nnxc.nnmodel.layers[-1].weight[0, 0] = float("nan")
    points = [KSHamiltonian(m, functional) for m in curve("H", (1.2, 1.4))]
    with pytest.raises(FunctionalError, match="for H2 1.2"):
        solve_batch(points)


def test_systems_leave_when_they_have_converged(neural):
    """The work shrinks with them, so that one late system costs no more than alone."""
    functional = neural("native:pbe")
    points = [KSHamiltonian(m, functional) for m in curve("N", (2.0, 2.1))]
    state = solve(points[0], tol=1e-9).state
    starts = [prepare(points[0], state), prepare(points[1], None)]
    run = _LockStep(points, starts, tol=1e-7, max_iter=50, diis_iterations=12)
    seen = []
    original = run.grids.potentials
    run.grids.potentials = lambda rho: seen.append(len(rho)) or original(rho)
    assert sorted(run()) == [0, 1]
    assert seen[0] == 2 and set(seen[1:]) == {1}
