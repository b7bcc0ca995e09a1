"""Calculators, results and functionals after use: copied, and sent to another process."""

import copy
import multiprocessing
import pickle

import pytest
import torch
from ase import Atoms

from deepchem_dft import KohnSham, Molecule, zoo
from deepchem_dft.interop.ase import KohnShamCalculator
from deepchem_dft.interop.pyscf import to_pyscf
from deepchem_dft.xc import HybridXC, build_network

COPIES = {"pickle": lambda thing: pickle.loads(pickle.dumps(thing)), "deepcopy": copy.deepcopy}
WAYS = pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)


def radical():
    return Molecule("O 0 0 0; H 0 0 1.83", "sto-3g", spin=1, grid_level=0)


def trainable():
    network = build_network(family="gga", hidden=(4,), zero_last=False, seed=0)
    return HybridXC("pbe", network, 0.1, exchange=0.2, train_exchange=True)


@WAYS
def test_a_result_keeps_values_gradients_and_its_start(copied):
    xc = trainable()
    result = KohnSham(radical(), xc).run()
    result.forces(), result.density_matrix, result.soft_modes, result.frozen.energy(xc)
    result.energy.backward()
    other = copied(result)
    assert other.status is result.status and other.molecule.key == result.molecule.key
    for name in ("energy", "density_matrix", "orbital_energies", "dipole", "soft_modes"):
        torch.testing.assert_close(getattr(other, name), getattr(result, name), rtol=0, atol=1e-13)
    torch.testing.assert_close(other.forces(), result.forces(), rtol=0, atol=1e-12)
    assert other.notes == result.notes and other.spin_square == result.spin_square
    assert other.gap == result.gap and other.restricted == result.restricted
    # It has parameters of its own, and its gradient goes to them.
    own = other._hamiltonian.xc
    own.zero_grad()
    other.energy.backward()
    for mine, theirs in zip(own.parameters(), xc.parameters(), strict=True):
        assert mine is not theirs
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-12, atol=1e-15)
    again = KohnSham(other.molecule, own).run(guess=copied(other.state))
    assert again.iterations <= 3 and abs(float(again.energy - result.energy)) < 1e-9


@WAYS
def test_a_result_of_other_parameters_carries_no_gradient(copied):
    xc = trainable()
    result = KohnSham(radical(), xc).run()
    with torch.no_grad():
        xc.aweight.add_(1.0)
    assert not result.energy.requires_grad
    other = copied(result)
    assert not other.energy.requires_grad and float(other.energy) == float(result.energy)


@pytest.mark.parametrize(
    "name",
    ["pbe", "native:pbe", "camb3lyp", *(f"zoo:{n}" for n in zoo.names() if zoo.card(n).kind == "functional")],
)
def test_every_functional_after_use(name):
    problem = KohnSham(Molecule("H 0 0 0; H 0 0 1.4", "sto-3g", grid_level=0), name)
    energy = float(problem.run().energy.detach())
    for copied in COPIES.values():
        assert float(copied(problem).run().energy.detach()) == pytest.approx(energy, abs=1e-12)


@WAYS
def test_a_used_calculator(copied):
    atoms = Atoms(
        "H2", [(0, 0, 0), (0, 0, 0.74)], calculator=KohnShamCalculator(xc="pbe", basis="sto-3g", grid_level=0)
    )
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    other = copied(atoms)
    assert other.get_potential_energy() == energy and (other.get_forces() == forces).all()
    other.rattle(0.01, seed=1)
    atoms.rattle(0.01, seed=1)
    assert other.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    assert other.calc.result is not atoms.calc.result


@WAYS
def test_a_twin_in_pyscf(copied):
    mf = to_pyscf(Molecule("H 0 0 0; H 0 0 1.4", "sto-3g", grid_level=0), "zoo:nn-mgga")
    energy = mf.kernel()
    other = copied(mf)
    assert other.e_tot == energy and type(other) is type(mf)
    assert other.kernel() == pytest.approx(energy, abs=1e-10)
    assert other.nuc_grad_method().grid_response


def test_another_process_reads_a_result():
    result = KohnSham(Molecule("H 0 0 0; H 0 0 1.4", "sto-3g", grid_level=0), "zoo:nn-mgga").run()
    result.energy.backward()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.apply(getattr, (result, "gap"))
    assert there == result.gap
