"""Functionals that see the whole quadrature, in the self-consistent field."""

import pickle

import numpy as np
import pytest
import torch
from pyscf import dft

from deepchem_dft.molecule import Molecule
from deepchem_dft.molecule.grid import BLOCK_SHARE
from deepchem_dft.molecule.memory import BUDGET
from deepchem_dft.scf import KohnSham
from deepchem_dft.scf.batch import solve_batch
from deepchem_dft.scf.hamiltonian import KSHamiltonian
from deepchem_dft.scf.ladder import SCFStatus
from deepchem_dft.scf.quadrature import XCKernel
from deepchem_dft.xc import EnsembleXC, HybridXC
from tests.xc.toy import GatherXC

WATER = "O 0 0 0; H 0 0 1.8; H 1.7 0 -0.5"
LEVELS = [None, 1]


@pytest.fixture(scope="module")
def water():
    return Molecule(WATER, "sto-3g", grid_level=0)


def difference(parameter, by, step=1e-4):
    """Central differences of ``by()`` with respect to a parameter without dimensions."""
    found = []
    for sign in (1, -1):
        with torch.no_grad():
            parameter += sign * step
        found.append(by())
        with torch.no_grad():
            parameter -= sign * step
    return (found[0] - found[1]) / (2 * step)


def test_the_quadrature_is_pyscfs_with_every_points_atom(water):
    grids = dft.gen_grid.Grids(water.pyscf_mol)
    grids.level = 0
    grids.build(sort_grids=False)
    kept = np.abs(grids.weights) > 1e-20  # some are negative
    coords, atoms, own = grids.coords[kept], grids.atm_idx[kept], grids.quadrature_weights[kept]
    q = water.grid.quadrature
    order = [np.lexsort(np.round(p, 9).T) for p in (q.points.numpy(), coords)]
    np.testing.assert_allclose(q.points.numpy()[order[0]], coords[order[1]], atol=1e-12)
    np.testing.assert_array_equal(q.atoms.numpy()[order[0]], atoms[order[1]])
    np.testing.assert_allclose(q.atomic_weights.numpy()[order[0]], own[order[1]], rtol=1e-12)
    assert q.numbers.tolist() == [8, 1, 1]
    np.testing.assert_allclose(q.positions.numpy(), water.positions, atol=1e-12)


def test_numbers_are_those_of_elements_behind_effective_cores():
    iodide = Molecule("I 0 0 0; H 0 0 3.0", "def2-svp", grid_level=0)
    assert iodide.grid.quadrature.numbers.tolist() == [53, 1]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("restricted", [True, False])
def test_fock_matrix_is_the_derivative_of_the_energy(level, restricted, water):
    xc = HybridXC("pbe", GatherXC(level=level), aweight0=0.7)
    h = KSHamiltonian(water, xc, restricted)
    density = KohnSham(water, "pbe", restricted=restricted).run().state.density_matrix()
    draw = torch.Generator().manual_seed(0)
    change = torch.randn(density.shape, generator=draw, dtype=torch.float64) * 0.1
    change = change + change.mT
    step, fock = 1e-4, h.evaluate_matrix(density).fock
    up, down = (h.evaluate_matrix(density + s * step * change).energy for s in (1, -1))
    assert (fock * change).sum().item() == pytest.approx((up - down) / (2 * step), rel=1e-7)
    kernel = XCKernel(h, h.density_of_matrix(density))
    response = h.fock_response(change, kernel)
    up, down = (h.evaluate_matrix(density + s * step * change).fock for s in (1, -1))
    torch.testing.assert_close(response, (up - down) / (2 * step), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("level", LEVELS)
def test_energy_is_the_local_one_and_the_written_out_term(level, water):
    xc = HybridXC("pbe", GatherXC(level=level), aweight0=0.7)
    result = KohnSham(water, xc).run()
    h = KSHamiltonian(water, HybridXC("pbe", GatherXC(0.0), aweight0=0.7))
    local = h.evaluate(result.state.orbitals, result.state.occupations).energy
    # the term written out once more, on PySCF's own grid
    grids = dft.gen_grid.Grids(water.pyscf_mol)
    grids.level = level or 0
    grids.build(sort_grids=False)
    ao = dft.numint.eval_ao(water.pyscf_mol, grids.coords, deriv=1)
    rho = dft.numint.eval_rho(water.pyscf_mol, ao, result.total_density_matrix.detach().numpy(), xctype="GGA")
    slope = (rho[1:4] ** 2).sum(0)
    charge = (rho[0] + 0.05 * slope / (1 + slope)) * grids.weights
    near = [charge @ np.exp(-0.7 * ((grids.coords - at) ** 2).sum(1)) for at in water.positions]
    own = [charge[grids.atm_idx == atom].sum() for atom in range(3)]
    apart = ((water.positions[:, None] - water.positions) ** 2).sum(-1)
    expected = near @ np.exp(-apart / 10) @ near + sum(q**2 / z for q, z in zip(own, [8, 1, 1], strict=True))
    assert result.energy.item() - local == pytest.approx(0.7 * -0.02 * expected, rel=1e-9)


@pytest.mark.parametrize("level", LEVELS)
def test_slopes_of_the_energy_against_finite_differences(level, water):
    xc = HybridXC("pbe", GatherXC(level=level), aweight0=0.7)
    result = KohnSham(water, xc, tol=1e-8).run()
    parameters = list(xc.parameters())
    slopes = torch.autograd.grad(result.energy, parameters)
    frozen = torch.autograd.grad(result.frozen.energy(xc), parameters)
    again = KohnSham(water, xc, tol=1e-8)
    for parameter, slope, still in zip(parameters, slopes, frozen, strict=True):
        expected = difference(parameter, lambda: again.run(guess=result).energy.item())
        assert slope.item() == pytest.approx(expected, rel=1e-6)
        assert still.item() == pytest.approx(expected, rel=1e-6)


def test_sums_hand_on_the_terms_of_their_parts(water):
    pair, other = GatherXC(level=1), GatherXC(0.01, 0.3)
    state = KohnSham(water, "pbe").run().state

    def energy(xc):
        h = KSHamiltonian(water, xc)
        return h.evaluate(state.orbitals, state.occupations).energy

    inner = HybridXC("pbe", pair, aweight0=0.5)
    outer = HybridXC(inner, other, aweight0=2.0, bweight0=0.3)
    zero = energy(GatherXC(0.0))
    pbe, first, second = (energy(x) for x in (inner.xc, pair, other))
    expected = zero + 0.3 * ((pbe - zero) + 0.5 * (first - zero)) + 2.0 * (second - zero)
    assert energy(outer) == pytest.approx(expected, abs=1e-11)
    both = EnsembleXC([inner, other, "pbe"])
    assert energy(both) == pytest.approx((energy(inner) + second + pbe) / 3, abs=1e-11)
    result = KohnSham(water, both).run()
    members = both.energies(result)
    assert members.mean().item() == pytest.approx(result.energy.item(), abs=1e-10)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("charge", "family"), [(0, "gga"), (1, "mgga")])
def test_forces_are_minus_the_energy_derivative(level, charge, family, check_forces):
    """Through the density, points, weights and nuclei."""
    water = Molecule(WATER, "6-31g", charge=charge, spin=charge, grid_level=0)
    xc = HybridXC("pbe" if family == "gga" else "r2scan", GatherXC(level=level), aweight0=1.0)
    places = [(0, 2), (1, 2), (2, 0)]
    check_forces(water, xc, places, step=2e-3, tol=1e-9, within=1e-7, at_rest=1e-9)


@pytest.mark.parametrize("level", LEVELS)
def test_responses_against_finite_differences(level, water):
    """Dipole and orbital energies through the coupled-perturbed equations."""
    xc = HybridXC("pbe", GatherXC(level=level), aweight0=1.0)
    problem = KohnSham(water, xc, tol=1e-10)
    result = problem.run()
    measures = [lambda r: r.dipole[2], lambda r: r.orbital_energies[0, 3]]
    slopes = [torch.autograd.grad(m(result), xc.nnxc.strength, retain_graph=True)[0] for m in measures]
    for slope, measure in zip(slopes, measures, strict=True):
        expected = difference(xc.nnxc.strength, lambda: measure(problem.run(guess=result)).item())  # noqa: B023
        assert abs(expected) > 1e-3
        assert slope.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("charge", [0, 1])
def test_two_grids_give_what_one_gives(level, charge):
    water = Molecule(WATER, "6-31g", charge=charge, spin=charge, grid_level=2)
    xc = HybridXC("pbe", GatherXC(level=level), aweight0=1.0)
    plain = KohnSham(water, xc, tol=1e-8, two_grid=False).run()
    start = KohnSham(water, "pbe").run()
    both = KohnSham(water, xc, tol=1e-8, two_grid=True).run(guess=start)
    assert both.converged and both.commutator < 1e-8
    assert both.energy.item() == pytest.approx(plain.energy.item(), abs=1e-9)
    slopes = [torch.autograd.grad(r.energy, list(xc.parameters())) for r in (plain, both)]
    for one, other in zip(*slopes, strict=True):
        assert one.item() == pytest.approx(other.item(), abs=1e-7)
    # the second time the correction is known, and one evaluation on the fine grids is enough
    with torch.no_grad():
        xc.nnxc.strength *= 1.01
    again = KohnSham(water, xc, tol=1e-8, two_grid=True).run(guess=both)
    fresh = KohnSham(water, xc, tol=1e-8, two_grid=False).run()
    assert again.energy.item() == pytest.approx(fresh.energy.item(), abs=1e-9)


@pytest.mark.parametrize("level", LEVELS)
def test_systems_side_by_side(level):
    xc = HybridXC("pbe", GatherXC(level=level), aweight0=1.0)
    curve = [Molecule(f"H 0 0 0; F 0 0 {r}", "sto-3g", grid_level=0) for r in (1.6, 1.8, 2.2)]
    together = solve_batch([KSHamiltonian(m, xc) for m in curve], tol=1e-8)
    for found, molecule in zip(together, curve, strict=True):
        assert found.status is SCFStatus.CONVERGED
        expected = KohnSham(molecule, xc, tol=1e-8).run().energy.item()
        assert found.evaluation.energy == pytest.approx(expected, abs=1e-10)
        assert found.evaluation.rho.shape[2] == KSHamiltonian(molecule, xc).quadratures.size


@pytest.mark.parametrize("level", LEVELS)
def test_a_result_travels_with_its_grids(level, water):
    xc = HybridXC("pbe", GatherXC(level=level), aweight0=1.0)
    result = KohnSham(water, xc).run()
    again = pickle.loads(pickle.dumps(result))
    assert again.energy.item() == result.energy.item()
    torch.testing.assert_close(again.forces(), result.forces(), rtol=0, atol=1e-12)
    warm = KohnSham(water, xc).run(guess=again)
    assert warm.iterations <= 2 and warm.energy.item() == pytest.approx(result.energy.item(), abs=1e-10)


def test_a_functional_on_its_own_grid_alone_uses_no_other(water):
    h = KSHamiltonian(water, GatherXC(level=1))
    assert [grid.level for grid in h.grids] == [1]
    h = KSHamiltonian(water, HybridXC("pbe", GatherXC(level=0), aweight0=1.0))
    assert len(h.grids) == 1  # the molecule's own is of that level


@pytest.mark.parametrize("room", [0.0, 1.02, 10.0])
def test_orbitals_on_all_grids_keep_to_the_share_of_memory(room, monkeypatch):
    """With room for none of two grids, for one of them, and for both, in units of the larger one."""
    molecule = Molecule(WATER, "6-31g", grid_level=2)
    xc = HybridXC("pbe", GatherXC(level=1), aweight0=1.0)
    density = molecule.starting_density[None]
    expected = KSHamiltonian(molecule, xc).evaluate_matrix(density)
    size = 8 * 4 * molecule.grid.size * molecule.nao
    molecule.release()
    monkeypatch.setattr(BUDGET, "_limit", int(room * size / BLOCK_SHARE))
    h = KSHamiltonian(molecule, xc)
    found = h.evaluate_matrix(density)
    assert found.energy == pytest.approx(expected.energy, abs=1e-11)
    torch.testing.assert_close(found.fock, expected.fock, rtol=0, atol=1e-11)
    held = [BUDGET.held(grid._constants) for grid in h.grids]
    assert sum(held) <= room * size
    assert [bool(b) for b in held] == {0.0: [False, False], 1.02: [True, False], 10.0: [True, True]}[room]
