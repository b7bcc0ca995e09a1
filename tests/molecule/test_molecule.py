"""Molecules: constants against PySCF, refusals, identity."""

import pickle

import numpy as np
import pytest
import torch
from pyscf import dft, gto, scf

from deepchem_dft.errors import InputError
from deepchem_dft.molecule import Molecule

WATER = "O 0 0 0.2217; H 0 1.4309 -0.8867; H 0 -1.4309 -0.8867"


@pytest.fixture
def reference():
    return gto.M(atom=WATER, unit="Bohr", basis="6-31g", verbose=0)


def test_constants_equal_pyscf(water, reference):
    assert water.overlap.numpy() == pytest.approx(reference.intor("int1e_ovlp"), abs=1e-13)
    assert water.core_hamiltonian.numpy() == pytest.approx(scf.hf.get_hcore(reference), abs=1e-12)
    assert water.nuclear_repulsion == pytest.approx(reference.energy_nuc(), abs=1e-12)
    density = np.random.default_rng(0).normal(size=(water.nao, water.nao))
    density = density + density.T
    eri = reference.intor("int2e")
    j = np.einsum("ijkl,kl->ij", eri, density)
    k = np.einsum("ikjl,kl->ij", eri, density)
    assert water.coulomb(torch.from_numpy(density)).numpy() == pytest.approx(j, abs=1e-10)
    assert water.exchange(torch.from_numpy(density)).numpy() == pytest.approx(k, abs=1e-10)
    with reference.with_range_coulomb(0.33):
        long_range = reference.intor("int2e")
    k = np.einsum("ikjl,kl->ij", long_range, density)
    assert water.exchange(torch.from_numpy(density), omega=0.33).numpy() == pytest.approx(k, abs=1e-10)


def test_grid_equals_pyscf(water, reference):
    grids = dft.gen_grid.Grids(reference)
    grids.level = 1
    grids.build()
    assert float(water.weights.sum()) == pytest.approx(grids.weights.sum(), rel=1e-12)
    overlap = torch.zeros_like(water.overlap)
    for rows, columns, (ao,) in water.grid.blocks(0):
        kept = torch.arange(water.nao) if columns is None else columns
        overlap[kept[:, None], kept] += (ao * water.weights[rows, None]).T @ ao
    assert overlap.numpy() == pytest.approx(water.overlap.numpy(), abs=2e-3)


def test_integers_of_numpy_are_grid_levels(water):
    other = Molecule(WATER, basis="6-31g", grid_level=np.int32(1))
    assert other.key == water.key and type(other.grid_level) is int


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"spin": 1}, "cannot have spin"),
        ({"charge": 11}, "more electrons"),
        ({"spin": 12}, "unpaired"),
        ({"basis": "no-such-basis"}, "basis"),
        ({"nelec": (-1.0, 2.0)}, "not possible"),
        ({"nelec": (float("nan"), 2.0)}, "not possible"),
        ({"grid_level": 12}, "grid level"),
        ({"nelec": (40.0, 1.0)}, "do not fit"),
    ],
)
def test_impossible_molecules_are_refused(options, match):
    with pytest.raises(InputError, match=match):
        Molecule(WATER, **{"basis": "sto-3g", **options})


def test_effective_core_potential_removes_electrons():
    iodine = Molecule("I 0 0 0", basis="def2-svp", spin=1)
    assert sum(iodine.nelec) == 25
    assert iodine.pyscf_mol.has_ecp()


def test_keys_tell_molecules_apart(water):
    assert water.key == Molecule(WATER, basis="6-31g", grid_level=1).key
    for other in ({"charge": 1, "spin": 1}, {"basis": "sto-3g"}, {"grid_level": 2}):
        assert Molecule(WATER, **{"basis": "6-31g", "grid_level": 1, **other}).key != water.key


def test_pickle_carries_the_recipe_only(water):
    water.coulomb(water.starting_density)
    content = pickle.dumps(water)
    assert len(content) < 20_000
    assert pickle.loads(content).overlap.shape == (water.nao, water.nao)


def test_units():
    bohr = Molecule("H 0 0 0; H 0 0 1.4", basis="sto-3g")
    angstrom = Molecule("H 0 0 0; H 0 0 0.7408480952642", basis="sto-3g", unit="angstrom")
    assert angstrom.positions == pytest.approx(bohr.positions, abs=1e-10)
