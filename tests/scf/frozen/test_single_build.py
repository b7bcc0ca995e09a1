"""One Fock build at given orbitals: derivatives by differences, orders of the errors, PySCF's numbers."""

import numpy as np
import pytest
import torch
from pyscf import dft
from scipy.linalg import eigh

from deepchem_dft.errors import InputError
from deepchem_dft.molecule import Molecule
from deepchem_dft.scf import KohnSham, SCFState

POSITIONS = np.array([[0.0, 0.0, 0.2], [0.1, 1.5, -0.9], [0.0, -1.4, -1.0]])


def water(positions=POSITIONS, **options):
    return Molecule((list("OHH"), positions), "6-31g", grid_level=1, **options)


def perturbed(molecule, fock, size, seed=0):
    """Orbitals of Fock matrices that are wrong by noise of that size (Ha) in the orthonormal basis."""
    overlap, rng, orbitals = molecule.overlap.numpy(), np.random.default_rng(seed), []
    values, vectors = np.linalg.eigh(overlap)
    root = (vectors * values**0.5) @ vectors.T
    for matrix in np.asarray(fock):
        noise = rng.normal(size=overlap.shape)
        orbitals.append(eigh(matrix + size * root @ (noise + noise.T) @ root, overlap)[1])
    kept = torch.zeros(len(orbitals), len(overlap))  # single_build fills them itself
    return SCFState(torch.tensor(np.array(orbitals)), kept.double())


def solved(molecule, xc, tol=1e-9, **options):
    result = KohnSham(molecule, xc, tol=tol, **options).run()
    return result, result._solution.evaluation.fock.numpy()


def carried(state, counts, old, new):
    """Occupied orbitals with their coefficients, symmetrically orthonormalised; empty ones somehow."""
    moved = []
    for orbitals, n in zip(state.orbitals.numpy(), counts):
        values, vectors = np.linalg.eigh(orbitals[:, :n].T @ new @ orbitals[:, :n])
        occupied = orbitals[:, :n] @ (vectors * values**-0.5) @ vectors.T
        rest = orbitals[:, n:] - occupied @ (occupied.T @ new @ orbitals[:, n:])
        values, vectors = np.linalg.eigh(rest.T @ new @ rest)
        moved.append(np.hstack([occupied, rest @ (vectors * values**-0.5) @ vectors.T]))
    return SCFState(torch.tensor(np.array(moved)), state.occupations)


@pytest.mark.parametrize(
    ("xc", "ion", "counts"),
    [("pbe", {}, [5]), ("b3lyp", {"charge": 1, "spin": 1}, [5, 4]), ("zoo:nn-mgga", {}, [5])],
)
def test_forces_are_the_derivative_of_the_energy_however_wrong_the_orbitals_are(xc, ion, counts):
    molecule, step = water(**ion), 1e-3
    _, fock = solved(molecule, xc, tol=1e-5)
    start = perturbed(molecule, fock, 0.02)
    problem = KohnSham(molecule, xc)
    found = problem.single_build(start)
    assert found.commutator > 0.01
    forces = found.forces()
    for atom, axis in ((0, 1), (1, 2)):
        energies = []
        for sign in (1, -1):
            positions = POSITIONS.copy()
            positions[atom, axis] += sign * step
            there = water(positions, **ion)
            orbitals = carried(start, counts, molecule.overlap.numpy(), there.overlap.numpy())
            energies.append(KohnSham(there, xc).single_build(orbitals).energy)
        slope = (energies[0] - energies[1]) / (2 * step)
        assert float(forces[atom, axis]) == pytest.approx(-slope, abs=3e-6)


@pytest.mark.parametrize("ion", [{}, {"charge": 1, "spin": 1}])
def test_errors_are_of_second_order_in_energies_and_of_first_in_forces(ion):
    molecule = water(**ion)
    result, fock = solved(molecule, "pbe")
    true, forces = float(result.energy.detach()), result.forces()
    energies, harris, off = [], [], []
    for size in (1e-2, 1e-3):
        found = KohnSham(molecule, "pbe").single_build(perturbed(molecule, fock, size))
        energies.append(found.energy - true)
        harris.append(found.harris_foulkes - true)
        off.append(float((found.forces() - forces).norm()))
        assert found.harris_foulkes < found.energy and found.energy > true
    assert energies[0] / energies[1] == pytest.approx(100, rel=0.15)
    assert harris[0] / harris[1] == pytest.approx(100, rel=0.4)
    assert off[0] / off[1] == pytest.approx(10, rel=0.25)
    assert off[1] > 1e-5  # which is what a reader must be told of


def test_energies_are_those_that_pyscf_makes_of_the_density_matrix():
    molecule = water()
    _, fock = solved(molecule, "pbe", tol=1e-5)
    found = KohnSham(molecule, "pbe").single_build(perturbed(molecule, fock, 0.02))
    field = dft.RKS(molecule.pyscf_mol, xc="pbe")
    field.grids.level = 1
    density = found.total_density_matrix.numpy()
    assert found.energy == pytest.approx(field.energy_tot(density), abs=1e-8)
    matrix = np.array(field.get_fock(dm=density))
    levels, orbitals = eigh(matrix, molecule.overlap.numpy())
    lowest = 2.0 * orbitals[:, :5] @ orbitals[:, :5].T
    change = float((matrix * (lowest - density)).sum())
    assert found.harris_foulkes == pytest.approx(found.energy + change, abs=1e-8)
    np.testing.assert_allclose(found.orbital_energies[0], levels, atol=1e-7)
    commutator = matrix @ density @ molecule.overlap.numpy()
    assert found.commutator > 1e-3 and np.abs(commutator - commutator.T).max() > 1e-3


def test_at_the_solution_they_are_those_of_the_solution_and_the_field_goes_on_from_there():
    molecule = water()
    result, _ = solved(molecule, "pbe")
    found = KohnSham(molecule, "pbe").single_build(result)
    assert found.energy == pytest.approx(float(result.energy.detach()), abs=1e-10)
    assert found.harris_foulkes == pytest.approx(found.energy, abs=1e-10)
    torch.testing.assert_close(found.forces(), result.forces(), rtol=0, atol=1e-8)
    torch.testing.assert_close(found.charges(), result.charges().detach(), rtol=0, atol=1e-8)
    assert KohnSham(molecule, "pbe").run(guess=found.state).iterations <= 2


def test_what_is_no_start_is_one_clear_error():
    molecule = water()
    state = KohnSham(molecule, "pbe", tol=1e-4).run().state
    with pytest.raises(InputError, match="'guess'"):
        KohnSham(molecule, "pbe").single_build(None)
    with pytest.raises(InputError, match="'guess'.*13 functions"):
        KohnSham(Molecule("H 0 0 0; H 0 0 1.4", "sto-3g"), "pbe").single_build(state)
    with pytest.raises(InputError, match="surroundings"):
        KohnSham(water(surroundings="water"), "pbe").single_build(state)
    with pytest.raises(InputError, match="'engine'"):
        KohnSham(molecule, "pbe", engine="dqc").single_build(state)
