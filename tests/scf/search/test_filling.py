"""Wrongly filled shells that no gradient sees are found, and end where PySCF's fields end."""

import pytest
import torch
from pyscf import dft, gto

from deepchem_dft import KohnSham, Molecule
from deepchem_dft.scf.batch import solve_batch
from deepchem_dft.scf.hamiltonian import KSHamiltonian
from deepchem_dft.scf.ladder import solve
from deepchem_dft.scf.search.filling import filled_from_below, has_hole
from deepchem_dft.xc import get_xc


def copper_ion() -> Molecule:
    return Molecule("Cu 0 0 0", "def2-svp", charge=1, grid_level=1)


def pyscf_energy() -> float:
    mf = dft.RKS(gto.M(atom="Cu 0 0 0", basis="def2-svp", charge=1, verbose=0)).set(xc="pbe")
    mf.grids.level = 1
    mf.small_rho_cutoff = 0.0
    return mf.set(conv_tol=1e-11).kernel()


def test_an_empty_d_shell_is_no_end():
    """DIIS alone stops 700 eV too high, where s and p may not mix with d."""
    ion = copper_ion()
    hamiltonian = KSHamiltonian(ion, get_xc("pbe"), True)
    trapped = solve(hamiltonian, tol=1e-6)
    assert has_hole(trapped) and trapped.residual < 1e-6
    expected = pyscf_energy()
    assert trapped.evaluation.energy > expected + 20.0
    free = filled_from_below(hamiltonian, trapped, tol=1e-6, max_iter=500)
    assert not has_hole(free)
    assert float(free.evaluation.energy) == pytest.approx(expected, abs=1e-7)
    assert free.iterations > trapped.iterations
    result = KohnSham(ion, "pbe").run()
    assert result.aufbau and result.energy.item() == pytest.approx(expected, abs=1e-7)
    both = solve_batch([hamiltonian, KSHamiltonian(copper_ion(), hamiltonian.xc, True)])
    assert all(float(s.evaluation.energy) == pytest.approx(expected, abs=1e-7) for s in both)


def test_without_steps_left_it_stays_as_it_is(monkeypatch):
    hamiltonian = KSHamiltonian(copper_ion(), get_xc("pbe"), True)
    trapped = solve(hamiltonian, tol=1e-6)
    monkeypatch.delattr(KSHamiltonian, "evaluate")  # not one more Fock matrix
    for most in (3, trapped.iterations):
        assert filled_from_below(hamiltonian, trapped, tol=1e-6, max_iter=most) is trapped


def test_a_filling_that_was_asked_for_is_kept():
    """A hole in the lowest orbital of neon, as in a core ionisation."""
    given = torch.ones(5, dtype=torch.float64)
    hollow = Molecule(
        "Ne 0 0 0",
        "6-31g",
        charge=1,
        spin=1,
        grid_level=0,
        occupations=(given.tolist(), [0.0, 1.0, 1.0, 1.0, 1.0]),
    )
    hamiltonian = KSHamiltonian(hollow, get_xc("lda,pw"), False)
    solution = solve(hamiltonian, tol=1e-6)
    assert filled_from_below(hamiltonian, solution, tol=1e-6, max_iter=500) is solution


def test_ordinary_molecules_have_no_hole():
    water = Molecule("O 0 0 0.22; H 0 1.43 -0.89; H 0 -1.43 -0.89", "6-31g", grid_level=0)
    assert not has_hole(solve(KSHamiltonian(water, get_xc("pbe"), True)))
