"""Starting determinants: what is turned into what, and that all are orthonormal."""

import math

import numpy as np
import pytest
import torch

from deepchem_dft.molecule import Molecule
from deepchem_dft.scf.hamiltonian import KSHamiltonian
from deepchem_dft.scf.ladder import orthonormal_basis, starting_density
from deepchem_dft.scf.search.starts import (
    AtomicStart,
    Shares,
    completed,
    frontier,
    kicked,
    mixed,
    turned,
    unpaired,
)
from deepchem_dft.xc import get_xc

LEVELS = torch.tensor([[-1.0, -0.3, -0.2, 0.1, 0.3], [-0.9, -0.1, -0.2, 0.2, 0.04]], dtype=torch.float64)
FILLED = torch.tensor([[1.0, 1, 1, 0, 0], [1, 1, 0, 0, 0]], dtype=torch.float64)


def identity(spins: int = 2, size: int = 5) -> torch.Tensor:
    return torch.eye(size, dtype=torch.float64).repeat(spins, 1, 1)


def assert_orthonormal(orbitals: torch.Tensor, overlap: torch.Tensor | None = None) -> None:
    metric = orbitals.mT @ (orbitals if overlap is None else overlap @ orbitals)
    torch.testing.assert_close(
        metric, torch.eye(metric.shape[-1], dtype=torch.float64).expand_as(metric), rtol=0, atol=1e-10
    )


def test_hunds_rule_for_all_elements_up_to_zinc_and_ions():
    """Ground-state multiplicities (NIST), but for Cr and Cu, whose s electron moves over."""
    expected = [1, 0, 1, 0, 1, 2, 3, 2, 1, 0, 1, 0, 1, 2, 3, 2, 1, 0, 1, 0, 1, 2, 3]
    assert [unpaired(z, 0) for z in range(1, 24)] == expected
    assert [unpaired(z, 0) for z in (24, 25, 26, 27, 28, 29, 30)] == [6, 5, 4, 3, 2, 1, 0]
    assert [unpaired(7, q) for q in (-1, 1, 2, 7, 8)] == [2, 2, 1, 0, None]


def shares(geometry: str, charge: int = 0, spin: int = 0, closed: bool = False) -> Shares:
    return Shares(Molecule(geometry, "sto-3g", charge, spin, grid_level=0), closed)


def test_spins_of_two_nitrogen_atoms():
    n2 = shares("N 0 0 0; N 0 0 9")
    assert n2.spins((0, 0)) == [(3, -3), (1, -1)]  # of mirror images, one
    assert n2.spins((1, -1)) == [(2, -2), (0, 0)]
    assert shares("N 0 0 0; N 0 0 9", spin=6).spins((0, 0)) == [(3, 3)]
    assert shares("N 0 0 0; N 0 0 9", spin=2).spins((0, 0)) == [(-1, 3), (3, -1), (1, 1)]
    assert n2.spins((8, -8)) == []
    assert shares("N 0 0 0; N 0 0 9", closed=True).spins((0, 0)) == []
    assert shares("N 0 0 0; N 0 0 9", closed=True).spins((1, -1)) == [(0, 0)]


def test_spins_keep_to_the_functions_there_are():
    """Hydrogen in sto-3g has one function: two electrons are paired, three do not fit."""
    h2 = shares("H 0 0 0; H 0 0 9")
    assert h2.spins((0, 0)) == [(1, -1)] and h2.spins((-1, 1)) == [(0, 0)]
    assert h2.spins((-2, 2)) == []


def test_charges_are_shared_out_likeliest_first():
    geometry = "H 0 0 0; He 0 0 9; Li 0 9 0"
    neutral = shares(geometry).charges()
    assert neutral[0] == (0, 0, 0) and len(neutral) == len(set(neutral)) == 7
    assert all(sum(row) == 0 and max(map(abs, row)) <= 1 for row in neutral)
    cation = shares(geometry, 1, 1).charges()
    assert set(cation[:3]) == {(1, 0, 0), (0, 1, 0), (0, 0, 1)} and (1, 1, -1) in cation
    twice = shares(geometry, 2).charges()
    assert {(1, 1, 0), (2, 0, 0), (0, 0, 2)} <= set(twice)
    assert all(sum(row) == 2 for row in twice)
    anion = shares(geometry, -1, 1).charges()
    assert (-1, 0, 0) in anion[:3] and all(sum(row) == -1 for row in anion)


def test_more_charge_than_atoms_and_more_atoms_than_are_looked_at():
    both = shares("Li 0 0 0; Li 0 0 9", 3, 1).charges()
    assert both[0] == (2, 1) and set(both) == {(2, 1), (3, 0), (1, 2)}
    chain = "; ".join(f"He 0 0 {8 * k}" for k in range(20))
    many = shares(chain, 1, 1).charges()
    assert len(many) == 13 and all(sorted(row) == [0] * 19 + [1] for row in many)
    five = shares("; ".join(f"He 0 0 {8 * k}" for k in range(5)), 2).charges()
    assert sorted(five[:10]) == sorted(set(five[:10])) and all(max(row) == 1 for row in five[:10])
    assert five[10:] == [tuple(2 * (i == k) for i in range(5)) for k in range(4)]


def test_of_very_many_ways_the_largest_spins_are_left():
    """Eight N atoms: 4^8 ways, of which 2^8 have three unpaired electrons on each; 70 add to zero."""
    chain = "; ".join(f"N 0 0 {8 * k}" for k in range(8))
    found = shares(chain).spins((0,) * 8)
    assert len(found) == 35 and all(set(map(abs, m)) == {3} and sum(m) == 0 for m in found)
    seven = shares(chain.rpartition(";")[0], spin=21).spins((0,) * 7)  # 4^7 are few enough
    assert seven == [(3,) * 7]
    assert shares("; ".join(f"N 0 0 {8 * k}" for k in range(15)), spin=1).spins((0,) * 15) == []


def test_electrons_of_a_core_that_is_left_out_are_not_shared_out():
    """Iodine with a pseudopotential: seven electrons in eight functions."""
    hi = Shares(Molecule("I 0 0 0; H 0 0 9", "lanl2dz", grid_level=0))
    assert hi.spins((0, 0)) == [(1, -1)] and (0, 0) in hi.spins((-1, 1))
    assert hi.spins((8, -8)) == hi.spins((-10, 10)) == []
    assert Shares(Molecule("I 0 0 0; H 0 0 9", "lanl2dz", grid_level=0), closed=True).spins((-1, 1)) == [
        (0, 0)
    ]


@pytest.mark.parametrize(
    ("geometry", "asked", "found"),
    [
        ("N 0 0 0; N 0 0 9", (2.4, -2.6), ((0, 0), (3, -3))),
        ("N 0 0 0; N 0 0 9", (-1.2, 0.9), ((0, 0), (-1, 1))),
        ("H 0 0 0; H 0 0 9", (-0.2, 0.1), ((0, 0), (-1, 1))),
    ],
)
def test_local_spins_closest_to_those_asked_for(geometry, asked, found):
    assert shares(geometry).closest(asked) == found


def test_the_best_come_in_turns():
    found = shares("N 0 0 0; N 0 0 9").best(5)
    assert found[0] == ((0, 0), (3, -3)) and len(found) == 5
    assert ((1, -1), (2, -2)) in found[1:3] and found.index(((0, 0), (1, -1))) == 3


def test_frontier_orbitals_are_those_near_the_gap():
    up, down = frontier(LEVELS, FILLED, 0.15)
    assert [x.tolist() for x in up] == [[2, 1], [3]]
    # a hole: empty orbital 2 below occupied orbital 1, and whatever lies between counts as near
    assert [x.tolist() for x in down] == [[1], [2, 4]]
    assert [x.tolist() for x in frontier(LEVELS, FILLED, 1.0)[0]] == [[2, 1, 0], [3, 4]]
    nothing, everything = frontier(LEVELS, torch.stack([0 * FILLED[0], 0 * FILLED[0] + 1]), 0.1)
    assert [len(x) for x in (*nothing, *everything)] == [0, 0, 0, 0]


def test_turned_by_an_angle():
    new = turned(identity(), [(1, 0, 3, math.pi / 6)])
    assert torch.equal(new[0], identity()[0]) and torch.equal(
        new[1][:, [1, 2, 4]], identity()[1][:, [1, 2, 4]]
    )
    np.testing.assert_allclose(new[1, :, 0], [3**0.5 / 2, 0, 0, 0.5, 0], atol=1e-15)
    np.testing.assert_allclose(new[1, :, 3], [-0.5, 0, 0, 3**0.5 / 2, 0], atol=1e-15)


def test_mixed_orbitals_stay_among_those_near_the_gap():
    near = frontier(LEVELS, FILLED, 0.15)
    new = mixed(identity(), near, 3)
    assert_orthonormal(new)
    assert torch.equal(new[0][:, [0, 4]], identity()[0][:, [0, 4]])
    assert torch.equal(new[1][:, [0, 3]], identity()[1][:, [0, 3]])
    assert new[0][[0, 4]][:, [1, 2, 3]].abs().max() == 0
    assert (new[0][[1, 2, 3]][:, [1, 2, 3]] - identity(1, 3)[0]).abs().max() > 0.3
    assert torch.equal(mixed(identity(), near, 3), new)
    assert not torch.equal(mixed(identity(), near, 4), new)
    none = [(torch.arange(0), torch.arange(3))] * 2
    assert torch.equal(mixed(identity(), none, 3), identity())


def test_kicks_are_small_and_spare_no_orbital():
    alike = torch.zeros(2, 5, 5, dtype=torch.float64)
    new = kicked(identity(), alike, 1)
    assert_orthonormal(new)
    change = (new - identity()).abs()
    assert 0.01 < change.max() < 0.5 and (change.sum(1) > 1e-3).all()
    assert not torch.allclose(new[0], new[1]) and torch.equal(kicked(identity(), alike, 1), new)
    assert (kicked(identity(), alike, 1, 0.1) - identity()).abs().max() > 1.8 * change.max()


def test_kicks_of_orbitals_far_apart_are_smaller():
    """In first order: by 0.3 Ha over what lies between them, where that is less than one."""
    alike = torch.zeros(2, 5, 5, dtype=torch.float64)
    levels = torch.tensor([-20.0, -1.0, -0.9, -0.5, 0.5], dtype=torch.float64)
    one, other = (
        kicked(identity(), fock, 1, 1e-6) - identity() for fock in (alike, alike + torch.diag(levels))
    )
    apart = (levels[:, None] - levels).abs()
    factor = torch.where(apart > 0.3, 0.3 / apart, 1.0)
    torch.testing.assert_close(other, one * factor, rtol=0, atol=1e-10)


@pytest.fixture(scope="module")
def far_apart() -> KSHamiltonian:
    molecule = Molecule("N 0 0 0; H 0 0 30", "sto-3g", 0, 2, grid_level=0)
    return KSHamiltonian(molecule, get_xc("lda,pw"))


def atomic(hamiltonian: KSHamiltonian) -> AtomicStart:
    basis = orthonormal_basis(hamiltonian.overlap)
    fock = hamiltonian.evaluate_matrix(starting_density(hamiltonian)).fock.mean(0)
    return AtomicStart(hamiltonian, fock, basis)


@pytest.mark.parametrize(
    ("charges", "spins"), [((0, 0), (3, -1)), ((0, 0), (1, 1)), ((-1, 1), (2, 0)), ((1, -1), (2, 0))]
)
def test_atoms_hold_the_electrons_they_are_given(far_apart, charges, spins):
    """Populations of atoms far from each other, counted from the determinant."""
    orbitals = atomic(far_apart)(charges, spins)
    assert_orthonormal(orbitals, far_apart.overlap)
    occupied = [orbitals[0][:, :5], orbitals[1][:, :3]]  # 8 electrons, 2 unpaired
    for atom, rows, protons in ((0, slice(0, 5), 7), (1, slice(5, 6), 1)):
        held = [float(((c @ c.T) @ far_apart.overlap)[rows, rows].trace()) for c in occupied]
        assert sum(held) == pytest.approx(protons - charges[atom], abs=1e-8)
        assert held[0] - held[1] == pytest.approx(spins[atom], abs=1e-8)


def test_open_shells_turn_within_their_level(far_apart):
    start = atomic(far_apart)
    still, other = start((0, 0), (1, 1)), start((0, 0), (1, 1), turn=2)
    assert_orthonormal(other, far_apart.overlap)
    assert torch.equal(start((0, 0), (1, 1), turn=2), other)
    assert (still[0][:, :5] @ still[0][:, :5].T - other[0][:, :5] @ other[0][:, :5].T).abs().max() > 0.1
    # 1s and 2s of nitrogen are levels of their own
    for k in range(2):
        dot = still[0][:, k] @ far_apart.overlap @ other[0][:, k]
        assert abs(float(dot)) == pytest.approx(1.0, abs=1e-6)


def test_electrons_of_both_spins_keep_out_of_each_others_way():
    """Oxygen without net spin beside a nitrogen atom: one p orbital is alpha's alone, one beta's."""
    molecule = Molecule("O 0 0 0; N 0 0 40", "sto-3g", spin=3, grid_level=0)
    fields = KSHamiltonian(molecule, get_xc("pbe"))
    orbitals = atomic(fields)((0, 0), (0, 3), crossed=True)
    assert_orthonormal(orbitals, molecule.overlap)
    held = [(c[2:5, :n] @ c[2:5, :n].mT).numpy() for c, n in zip(orbitals, (9, 6), strict=True)]
    for density in held:  # two of three p orbitals are filled
        assert np.linalg.eigvalsh(density) == pytest.approx([0.0, 1.0, 1.0], abs=0.02)
    assert np.linalg.eigvalsh(held[0] - held[1]) == pytest.approx([-1.0, 0.0, 1.0], abs=0.02)
    pairs = shares("O 0 0 0; N 0 0 40", spin=3).pairs
    assert [pairs((0, 0), m) for m in ((0, 3), (2, 1), (2, 3))] == [True, True, False]
    assert [pairs((q, -q), (1, 2)) for q in (-1, 1)] == [False, True]  # O- and N+; O+ and N-


def test_occupied_orbitals_are_completed():
    molecule = Molecule("H 0 0 0; H 0 0 1.4; H 0 0 2.8; H 0 0 4.2", "6-31g", grid_level=0)
    overlap, draw = molecule.overlap, torch.Generator().manual_seed(0)
    occupied = torch.randn(len(overlap), 3, generator=draw, dtype=torch.float64)
    whole = completed(occupied, overlap, orthonormal_basis(overlap))
    assert_orthonormal(whole, overlap)
    projector = whole[:, :3] @ whole[:, :3].T @ overlap  # the same space
    torch.testing.assert_close(projector @ occupied, occupied)
    metric = occupied.T @ overlap @ occupied
    values, vectors = torch.linalg.eigh(metric)  # Loewdin's are the closest
    torch.testing.assert_close(whole[:, :3], occupied @ (vectors / values.sqrt()) @ vectors.T)
    none = completed(occupied[:, :0], overlap, orthonormal_basis(overlap))
    assert_orthonormal(none, overlap)
    with pytest.raises(ValueError, match="not independent"):
        completed(torch.cat([occupied, occupied[:, :1]], 1), overlap, orthonormal_basis(overlap))
