"""Spins and electrons of molecules far from each other, and of atoms whose bonds are loose."""

import numpy as np
import pytest
from pyscf import dft, gto

from deepchem_dft import KohnSham, Molecule
from deepchem_dft.scf.hamiltonian import KSHamiltonian
from deepchem_dft.scf.ladder import solve
from deepchem_dft.scf.search import ground_state
from deepchem_dft.scf.search.regrouped import Parts, regrouped
from deepchem_dft.scf.search.signs import Findings, stretched
from deepchem_dft.xc import get_xc

METHYL = "C 0 0 0; H 0 2.04 0; H 1.767 -1.02 0; H -1.767 -1.02 0"


def solved(geometry: str, spin: int, charge: int = 0):
    fields = KSHamiltonian(Molecule(geometry, "sto-3g", charge, spin, grid_level=0), get_xc("pbe"), False)
    return fields, solve(fields, tol=1e-5)


def alone(geometry: str, spin: int) -> float:
    """PySCF's energy, Ha."""
    field = dft.UKS(gto.M(atom=geometry, unit="bohr", basis="sto-3g", spin=spin, verbose=0))
    field.set(xc="pbe", small_rho_cutoff=0.0).grids.level = 0
    return float(field.kernel())


def test_a_radical_and_an_atom_take_each_others_spin():
    """Two unpaired electrons on carbon and one against them on methyl: none of it is an atom's."""
    value = float(KohnSham(Molecule(f"{METHYL}; C 0 0 50", "sto-3g", 0, 1, grid_level=0), "pbe").run().energy)
    # where an open shell points on the coarsest grid is worth 1e-4 Ha
    assert value == pytest.approx(alone(METHYL, 1) + alone("C 0 0 0", 2), abs=3e-4)


def test_ways_keep_electrons_and_spin():
    fields, solution = solved(f"{METHYL}; C 0 0 50", 1)
    apart = Parts(fields, solution)
    assert sum(a + b for a, b in apart.held) == 15
    ways = apart.ways()
    assert 1 <= len(ways) <= 6 and [tuple(w) for w in ways].count(tuple(apart.held)) == 0
    for way in ways:
        assert np.sum(way, 0).tolist() == [8, 7]
        orbitals, overlap = apart.filled(way), fields.overlap
        assert np.abs((orbitals.mT @ overlap @ orbitals).numpy() - np.eye(13)).max() < 1e-10
        for spin in (0, 1):  # each part has what it was given: nothing overlaps over 50 Bohr
            occupied = orbitals[spin, :, : (8, 7)[spin]]
            share = ((occupied @ occupied.mT) @ overlap).diagonal()
            expected = [electrons[spin] for electrons in way]
            assert [float(share[:8].sum()), float(share[8:].sum())] == pytest.approx(expected, abs=1e-8)


def test_the_same_spins_the_other_way_round_cost_nothing():
    """A methyl turned over entire, beside a closed shell, which does not see its spin."""
    fields, solution = solved(f"{METHYL}; He 0 0 50; H 0 30 0", 0)
    apart = Parts(fields, solution)
    turned = [(b, a) for a, b in apart.held]
    energy = fields.evaluate(apart.filled(turned), solution.state.occupations).energy
    assert energy == pytest.approx(solution.evaluation.energy, abs=1e-6)
    # a mirror image of the whole, which therefore is not among the ways
    assert turned not in apart.ways()


def test_atoms_are_left_to_their_own_spins():
    for geometry, spin in (("C 0 0 0; C 0 0 50", 2), (METHYL, 1)):
        assert list(regrouped(*solved(geometry, spin))) == []


def test_of_a_molecules_atoms_little_is_tried():
    """Atoms that feel each other point in several ways; those of methyl have few shares, pointing one."""
    counts = []
    for geometry in (f"{METHYL}; N 0 0 9", "C 0 0 0; N 0 0 9; H 9 0 0"):
        molecule = Molecule(geometry, "sto-3g", 0, 0, grid_level=1)
        fields = KSHamiltonian(molecule, get_xc("lda,pw"), False)
        explorer = ground_state.Explorer(fields, solve(fields, tol=1e-3), 1e-6, 100, Findings())
        kinds = [s.kind for s in ground_state._starts(explorer, {"apart": ""})]
        counts.append((kinds.count("shared out"), kinds.count("regrouped")))
    (few, regrouped_), (many, none) = counts
    assert few <= 3 and regrouped_ >= 1 and many > 8 and none == 0


def test_atoms_of_loose_bonds_get_their_spins():
    assert not stretched(Molecule("O 0 0 0; O 0 0 2.28", "sto-3g", 0, 2, grid_level=0))
    loose = "C 2.56 0 0; H 0 0 0; C -2.51 0 0"
    assert stretched(Molecule(loose, "sto-3g", 0, 1, grid_level=0))
    fields = KSHamiltonian(Molecule(loose, "sto-3g", 0, 1, grid_level=1), get_xc("pbe"), False)
    solution = solve(fields, tol=1e-5)
    counts = []
    for gap in (0.02, 0.04):  # the levels of a real solution moved about
        for levels, filling in zip(solution.energies, solution.state.occupations, strict=True):
            empty = filling < 1e-10
            levels[empty] += gap - float(levels[empty].min() - levels[~empty].max())
        explorer = ground_state.Explorer(fields, solution, 1e-6, 100, Findings())
        kinds = [s.kind for s in ground_state._starts(explorer, {"tiny": ""})]
        counts.append(kinds.count("shared out"))
    assert counts == [2, 0]


@pytest.mark.slow
def test_spins_come_apart_where_a_bond_is_loose():
    """C..H..C with both bonds a quarter too long: PySCF's state from the bare nuclei."""
    geometry = "C 2.558668 0 0; H 0 0 0; C -2.513842 0 0"
    value = float(KohnSham(Molecule(geometry, "sto-3g", 0, 1, grid_level=1), "r2scan").run().energy)
    field = dft.UKS(gto.M(atom=geometry, unit="bohr", basis="sto-3g", spin=1, verbose=0))
    field.set(xc="r2scan", small_rho_cutoff=0.0).grids.level = 1
    energies = [field.kernel(dm0=field.get_init_guess(key=key)) for key in ("minao", "1e")]
    assert value < min(energies) + 1e-5
