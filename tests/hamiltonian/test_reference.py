"""PySCF's answers, checked where a sign or an order could be wrong."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
from pyscf import dft, gto

from deepchem_dft.errors import InputError, SCFNotConverged
from deepchem_dft.hamiltonian.files.sampling import (
    HARTREE_TO_WAVENUMBER,
    KELVIN_TO_HARTREE,
    modes_of,
    normal_modes,
    relax,
)
from deepchem_dft.hamiltonian.reference import Reference, masses
from deepchem_dft.hamiltonian.sample import HamiltonianSample
from deepchem_dft.units import AU_TO_DEBYE

WATER = HamiltonianSample([8, 1, 1], [[0, 0, 0.1], [0.1, 1.45, 1.1], [0, -1.4, 1.2]], "sto-3g", xc="pbe")


@pytest.fixture(scope="module")
def reference():
    return Reference(WATER)


@pytest.fixture(scope="module")
def solution(reference):
    return reference.solve()


def test_a_plain_pyscf_run_gives_the_same(solution):
    atom = [("OHH"[i], row) for i, row in enumerate(WATER.positions.tolist())]
    mole = gto.M(atom=atom, unit="Bohr", basis="sto-3g", verbose=0)
    field = dft.RKS(mole, xc="pbe").run(conv_tol=1e-12)
    assert solution.energy == pytest.approx(field.e_tot, abs=1e-9)
    np.testing.assert_allclose(solution.hamiltonian, field.get_fock(), atol=1e-6)


def test_the_hamiltonian_reproduces_its_own_density(reference, solution):
    energies, orbitals = scipy.linalg.eigh(solution.hamiltonian, reference.overlap)
    density = 2 * orbitals[:, :5] @ orbitals[:, :5].T
    np.testing.assert_allclose(density, solution.density, atol=1e-5)
    np.testing.assert_allclose(energies, solution.orbital_energies, atol=1e-6)
    assert reference.energy(density) == pytest.approx(solution.energy, abs=1e-9)


def test_a_good_start_saves_cycles(reference, solution):
    cold = reference.solve(conv_tol=1e-9)
    assert reference.solve(solution.density, conv_tol=1e-9).cycles <= 2 < cold.cycles
    with pytest.raises(SCFNotConverged, match="2 cycles"):
        reference.solve(conv_tol=1e-9, max_cycle=2)


@pytest.mark.parametrize("kind, limit", [("minao", 0.1), ("sap", 0.2)])
def test_guesses_are_near(reference, solution, kind, limit):
    error = np.abs(reference.guess(kind) - solution.hamiltonian).mean()
    assert error < limit < np.abs(reference.core - solution.hamiltonian).mean()


def test_atomic_potentials_need_no_quadrature():
    """That guess turns with the molecule exactly: its s-p block is a vector."""
    turn = scipy.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    here, there = (
        Reference(replace(WATER, positions=p)).guess("sap")
        for p in (WATER.positions, WATER.positions @ turn.T)
    )
    np.testing.assert_allclose(turn @ here[2:5, 5], there[2:5, 5], atol=1e-10)


def test_forces_and_dipole_agree_with_finite_differences(reference, solution):
    step = 1e-3
    up, down = (
        Reference(replace(WATER, positions=WATER.positions + s * np.eye(3)[[1, 0, 0]] * [[0], [0], [1]]))
        .solve()
        .energy
        for s in (step, -step)
    )
    assert reference.forces(solution)[2, 0] == pytest.approx(-(up - down) / 2 / step, abs=2e-4)
    size = np.linalg.norm(reference.dipole(solution.density)) * AU_TO_DEBYE
    assert 1.3 < size < 2.2


def test_what_cannot_be_solved():
    with pytest.raises(InputError, match="9 electrons"):
        Reference(replace(WATER, charge=1))
    with pytest.raises(InputError) as caught:
        Reference(WATER, "pbe-d3").core, Reference(WATER, "no-such").guess()
    assert caught.value.field == "xc"
    with pytest.raises(InputError, match="no functional"):
        Reference(replace(WATER, xc=None)).solve()
    with pytest.raises(InputError, match="unknown guess"):
        Reference(WATER).guess("huckel")
    with pytest.raises(InputError, match="coincide"):
        Reference(replace(WATER, positions=np.zeros((3, 3))))


class TestModes:
    def test_a_diatomic(self):
        """The frequency of H2 from energies along the bond is that of the Hessian."""
        start = HamiltonianSample([1, 1], [[0, 0, 0], [0.3, 0.4, 1.3]], "sto-3g")
        minimum = relax(start, "lda,vwn")
        modes = normal_modes(minimum, "lda,vwn")
        length = np.linalg.norm(minimum.positions[1] - minimum.positions[0])

        def energy(distance):
            positions = [[0, 0, 0], [0, 0, distance]]
            return Reference(replace(minimum, positions=positions), "lda,vwn").solve().energy

        step = 0.02
        middle = energy(length)
        stiff = (energy(length + step) + energy(length - step) - 2 * middle) / step**2
        expected = np.sqrt(stiff / (masses([1])[0] / 2))
        assert len(modes.frequencies) == 1
        assert modes.frequencies[0] == pytest.approx(expected, rel=5e-3)
        assert 3000 < expected * HARTREE_TO_WAVENUMBER < 6000

    def harmonic(self, numbers, positions, seed=0):
        """A Hessian of springs between all atoms that are free of strain."""
        size = len(numbers)
        hessian = np.zeros((size, 3, size, 3))
        for i in range(size):
            for j in range(i):
                along = positions[i] - positions[j]
                along = np.outer(along, along) / (along @ along) * (0.2 + 0.1 * i * j)
                for a, b, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
                    hessian[a, :, b] += sign * along
        return hessian.reshape(3 * size, 3 * size)

    def test_draws_have_the_energy_of_their_temperature(self):
        """Each mode has kT / 2 of potential energy on average; nothing moves or turns."""
        numbers = np.array([8, 1, 1])
        hessian = self.harmonic(numbers, WATER.positions)
        modes = modes_of(hessian, numbers, WATER.positions)
        assert len(modes.frequencies) == 3
        rng = np.random.default_rng(0)
        for temperature in (300.0, 500.0):
            moves = np.array([modes.draw(temperature, rng) for _ in range(3000)]) - WATER.positions
            flat = moves.reshape(len(moves), -1)
            energies = 0.5 * np.einsum("gi,ij,gj->g", flat, hessian, flat)
            expected = 3 * 0.5 * KELVIN_TO_HARTREE * temperature
            assert energies.mean() == pytest.approx(expected, rel=0.05)
            np.testing.assert_allclose(np.einsum("n,gnx->gx", masses(numbers), moves), 0, atol=1e-8)

    def test_counts(self):
        line = np.array([[0, 0, -2.2], [0, 0, 0], [0, 0, 2.3]])
        assert len(modes_of(self.harmonic([8, 6, 8], line), np.array([8, 6, 8]), line).frequencies) == 4
        assert len(modes_of(np.zeros((3, 3)), np.array([18]), np.zeros((1, 3))).frequencies) == 0

    def test_a_saddle_is_refused(self):
        numbers = np.array([8, 1, 1])
        with pytest.raises(InputError, match="no minimum"):
            modes_of(-self.harmonic(numbers, WATER.positions), numbers, WATER.positions)
