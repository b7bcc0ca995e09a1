"""Molecules: constants against PySCF, electron counts, caching."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from pyscf import dft, gto, scf

from deepchem_dft.errors import InputError
from deepchem_dft.molecule import Molecule, cache
from deepchem_dft.molecule.memory import MemoryBudget

WATER = "O 0 0 0.2217; H 0 1.4309 -0.8867; H 0 -1.4309 -0.8867"


@pytest.fixture
def water():
    return Molecule(WATER, basis="6-31g", grid_level=1)


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
    assert water.exchange(torch.from_numpy(density), omega=0.33).numpy() == pytest.approx(
        k, abs=1e-10)


def test_grid_equals_pyscf(water, reference):
    grids = dft.gen_grid.Grids(reference)
    grids.level = 1
    grids.build()
    assert float(water.weights.sum()) == pytest.approx(grids.weights.sum(), rel=1e-12)
    ao = water.grid_orbitals(0)[0]
    overlap = (ao * water.weights[:, None]).T @ ao
    assert overlap.numpy() == pytest.approx(water.overlap.numpy(), abs=2e-3)


@pytest.mark.parametrize(("charge", "spin", "nelec"), [
    (0, 0, (5, 5)), (1, 1, (5, 4)), (-1, 1, (6, 5)), (0, 2, (6, 4)), (0, -2, (4, 6)),
])
def test_electron_numbers(charge, spin, nelec):
    molecule = Molecule(WATER, basis="6-31g", charge=charge, spin=spin)
    assert molecule.nelec == nelec


def test_fractional_electrons_set_charge_and_spin():
    molecule = Molecule("He 0 0 0", basis="6-31g", nelec=(1.0, 0.25))
    assert molecule.charge == pytest.approx(0.75)
    assert molecule.spin == pytest.approx(0.75)


@pytest.mark.parametrize(("options", "match"), [
    ({"spin": 1}, "cannot have spin"), ({"charge": 11}, "more electrons"),
    ({"spin": 12}, "unpaired"), ({"basis": "no-such-basis"}, "basis"),
    ({"nelec": (-1.0, 2.0)}, "not possible"), ({"nelec": (float("nan"), 2.0)}, "not possible"),
    ({"grid_level": 12}, "grid level"), ({"nelec": (40.0, 1.0)}, "do not fit"),
])
def test_impossible_molecules_are_refused(options, match):
    with pytest.raises(InputError, match=match):
        Molecule(WATER, **{"basis": "sto-3g", **options})


def test_effective_core_potential_removes_electrons():
    iodine = Molecule("I 0 0 0", basis="def2-svp", spin=1)
    assert sum(iodine.nelec) == 25
    assert iodine.pyscf_mol.has_ecp()


def test_disk_cache_is_used_and_survives_damage(water, monkeypatch, tmp_path):
    monkeypatch.setenv("DEEPCHEM_DFT_CACHE", str(tmp_path))
    density = water.starting_density
    water.coulomb(density)
    files = sorted(tmp_path.rglob("*.npz"))
    assert len(files) == 2
    assert not list(tmp_path.rglob("*.tmp"))

    from deepchem_dft.molecule import integrals
    again = Molecule(WATER, basis="6-31g", grid_level=1)
    with monkeypatch.context() as patch:
        patch.setattr(integrals, "electron_repulsion", None)  # would fail if called
        assert torch.equal(again.coulomb(density), water.coulomb(density))

    for path in files:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
    fresh = Molecule(WATER, basis="6-31g", grid_level=1)
    with pytest.warns(UserWarning, match="damaged"):
        assert torch.allclose(fresh.coulomb(fresh.starting_density), water.coulomb(density))


def test_cache_is_pruned_to_its_limit(monkeypatch, tmp_path):
    monkeypatch.setenv("DEEPCHEM_DFT_CACHE", str(tmp_path))
    monkeypatch.setenv("DEEPCHEM_DFT_CACHE_GB", "0.00001")
    for key in ("aa", "bb", "cc"):
        cache.store(key, "part", {"x": np.zeros(1000)})
    assert len(list(tmp_path.rglob("*.npz"))) == 1


def test_a_cache_that_cannot_be_written_is_a_warning(monkeypatch, tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    monkeypatch.setenv("DEEPCHEM_DFT_CACHE", str(blocker))
    with pytest.warns(UserWarning, match="could not be cached"):
        assert Molecule("He 0 0 0", basis="sto-3g").overlap.shape == (1, 1)


def test_two_processes_may_write_the_same_entry(monkeypatch, tmp_path):
    import subprocess
    import sys

    code = ("from deepchem_dft.molecule import Molecule\n"
            f"m = Molecule({WATER!r}, basis='6-31g', grid_level=1)\n"
            "print(float(m.coulomb(m.starting_density).sum()))")
    monkeypatch.setenv("DEEPCHEM_DFT_CACHE", str(tmp_path))
    processes = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [p.communicate(timeout=120) for p in processes]
    assert all(p.returncode == 0 for p in processes), answers
    assert answers[0][0] == answers[1][0]
    assert not list(tmp_path.rglob("*.tmp"))


def test_keys_tell_molecules_apart(water):
    assert water.key == Molecule(WATER, basis="6-31g", grid_level=1).key
    for other in ({"charge": 1, "spin": 1}, {"basis": "sto-3g"}, {"grid_level": 2}):
        assert Molecule(WATER, **{"basis": "6-31g", "grid_level": 1, **other}).key != water.key


def test_pickle_carries_the_recipe_only(water):
    water.coulomb(water.starting_density)
    content = pickle.dumps(water)
    assert len(content) < 20_000
    assert pickle.loads(content).overlap.shape == (water.nao, water.nao)


def test_memory_budget_releases_the_oldest():
    budget = MemoryBudget(limit=int(2.5e6))
    molecules = [Molecule(f"He 0 0 {r}", basis="6-31g", grid_level=1) for r in range(3)]
    released = []
    for molecule in molecules:
        molecule.release = lambda part, m=molecule: released.append((m, part))
        budget.use(molecule, "eri", 1_000_000)
    assert released == [(molecules[0], "eri")]


def test_units():
    bohr = Molecule("H 0 0 0; H 0 0 1.4", basis="sto-3g")
    angstrom = Molecule("H 0 0 0; H 0 0 0.7408480952642", basis="sto-3g", unit="angstrom")
    assert angstrom.positions == pytest.approx(bohr.positions, abs=1e-10)


def test_read_only_cache_adds_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("DEEPCHEM_DFT_CACHE", str(tmp_path))
    with cache.read_only():
        assert Molecule("He 0 0 0", basis="sto-3g").overlap.shape == (1, 1)
    assert not list(tmp_path.rglob("*.npz"))
    cache.store("aa", "part", {"x": np.zeros(3)})
    with cache.read_only():
        assert cache.load("aa", "part") is not None
