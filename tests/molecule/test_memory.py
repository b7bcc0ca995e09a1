"""Constants in memory: shared by charge states, within a budget, refused if they cannot fit."""

import os
import pickle
import weakref

import numpy as np
import pytest
import torch

from deepchem_dft.errors import InputError
from deepchem_dft.molecule import Molecule, cache, integrals, memory
from deepchem_dft.molecule.memory import MemoryBudget

WATER = "O 0 0 0.2217; H 0 1.4309 -0.8867; H 0 -1.4309 -0.8867"


def test_a_bad_memory_setting_does_not_stop_the_import():
    import subprocess
    import sys

    environment = {**os.environ, "DEEPCHEM_DFT_MEMORY_GB": "abc"}
    subprocess.run([sys.executable, "-c", "import deepchem_dft.molecule.memory"], env=environment, check=True)


def test_sizes_in_the_environment_are_used(monkeypatch):
    monkeypatch.setenv("DEEPCHEM_DFT_MEMORY_GB", "0.5")
    monkeypatch.setenv("DEEPCHEM_DFT_CACHE_GB", "")
    assert MemoryBudget().limit == 500_000_000 and cache.max_bytes() == 8_000_000_000


def test_packed_size_is_that_of_the_integrals(water):
    eri = integrals.electron_repulsion(water.pyscf_mol, None)
    assert memory.packed_bytes(water.nao) == eri.nbytes


@pytest.mark.parametrize("omega", [None, 0.3])
def test_integrals_that_do_not_fit_are_refused(water, monkeypatch, omega):
    monkeypatch.setenv("DEEPCHEM_DFT_CACHE", "off")
    density, size = torch.eye(water.nao, dtype=torch.float64), memory.packed_bytes(water.nao)
    with monkeypatch.context() as patch:
        patch.setattr(integrals, "electron_repulsion", None)  # would fail if called
        patch.setattr(memory, "available_bytes", lambda: int(1.2 * size))
        with pytest.raises(InputError, match=f"{size / 1e9:.3g} GB") as caught:
            water.exchange(density, omega)
        assert caught.value.field == "basis" and "smaller basis" in caught.value.remedy
        assert "density_fit=True" in caught.value.remedy
    for available in (int(1.3 * size), None):
        monkeypatch.setattr(memory, "available_bytes", lambda available=available: available)
        water.release()
        assert water.exchange(density, omega).shape == density.shape


def test_constants_of_others_make_room(water, monkeypatch):
    helium = Molecule("He 0 0 0", basis="6-31g", grid_level=1)
    helium.grid.blocks(0)
    size = memory.packed_bytes(water.nao)
    monkeypatch.setattr(
        memory,
        "available_bytes",
        lambda: size if helium.grid._constants.held("ao0") is not None else 2 * size,
    )
    assert water.coulomb(water.overlap).shape == (water.nao, water.nao)
    assert helium.grid._constants.held("ao0") is None


def test_available_memory_is_plausible():
    available = memory.available_bytes()
    assert available is None or 1e7 < available < 1e14


def test_constants_are_shared_by_charge_states(water, monkeypatch):
    cation = Molecule(WATER, basis="6-31g", charge=1, spin=1, grid_level=1)
    other = Molecule(WATER, basis="6-31g", grid_level=2)
    water.coulomb(water.overlap)
    assert cation.key != water.key
    assert cation.points is water.points and cation.grid.blocks(1) is water.grid.blocks(1)
    assert cation._eri(None) is water._eri(None)
    assert other.points is not water.points and other._eri(None) is water._eri(None)
    assert pickle.loads(pickle.dumps(cation)).points is water.points

    water.grid.release()
    assert cation.grid._constants.held("ao1") is None
    cation.release()
    assert water._constants.held("eri") is None
    assert water.coulomb(water.overlap).shape == (water.nao, water.nao)

    holder = weakref.ref(water._constants)
    del water.__dict__["_constants"]
    assert holder() is not None
    del cation.__dict__["_constants"], other.__dict__["_constants"]
    assert holder() is None  # nothing but molecules keeps constants alive


def test_shared_constants_count_once():
    budget, pair = MemoryBudget(limit=15), [Molecule(WATER, "sto-3g", 2 * n) for n in (0, 1)]
    for molecule in pair:
        budget.use(molecule._constants, "eri", 10)
    molecule._constants._large["eri"] = np.zeros(1)
    budget.use(pair[0]._constants, "eri", 10)
    assert pair[0]._constants.held("eri") is not None


def test_memory_budget_releases_the_oldest():
    budget = MemoryBudget(limit=int(2.5e6))
    molecules = [Molecule(f"He 0 0 {r}", basis="6-31g", grid_level=1) for r in range(3)]
    released = []
    for molecule in molecules:
        molecule.release = lambda part, m=molecule: released.append((m, part))
        budget.use(molecule, "eri", 1_000_000)
    assert released == [(molecules[0], "eri")]


def test_releasing_lowers_the_count_at_once(water):
    before = memory.BUDGET.held()
    water.coulomb(water.overlap)
    water.grid.blocks(0)
    assert memory.BUDGET.held() > before + memory.packed_bytes(water.nao)
    water.release()
    assert memory.BUDGET.held() == before


def test_what_is_used_together_stays_together():
    class Owner:
        def __init__(self):
            self.released = []

        def release(self, part):
            self.released.append(part)

    budget, (integrals_, grid, other) = MemoryBudget(limit=100), (Owner() for _ in range(3))
    budget.use(other, "eri", 30, "other molecule")
    budget.use(integrals_, "eri", 80, "this molecule")
    budget.use(grid, "ao", 80, "this molecule")
    assert other.released and not integrals_.released and not grid.released
    budget.use(other, "eri", 30, "other molecule")
    assert integrals_.released and grid.released and budget.held() == 30


def test_a_failed_attempt_takes_nothing(water):
    before = memory.BUDGET.held()
    for failure in (MemoryError, KeyboardInterrupt):

        def fail(failure=failure):
            raise failure

        with pytest.raises(failure):
            water._constants.large("eri", fail, 1000)
    assert water._constants.large("eri", lambda: None, 1000) is None
    assert memory.BUDGET.held() == before


def group(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (folder / name).write_text(f"{value}\n")


@pytest.mark.parametrize("visible", [True, False])
def test_limits_of_containers_count_version_2(tmp_path, visible):
    membership, root = tmp_path / "cgroup", tmp_path / "fs"
    membership.write_text("0::/a/b\n")
    assert memory.container_bytes(membership, root) is None
    content = {
        "memory.max": 1000,
        "memory.current": 700,
        "memory.stat": "anon 1\ninactive_file 100\nfile 200",
    }
    group(root / "a" / "b", {**content, "memory.max": "max"})
    assert memory.container_bytes(membership, root) is None
    # The limit of the parent holds; inside a container it is the mount itself.
    group(root / "a" if visible else root, content)
    assert memory.container_bytes(membership, root) == 400


def test_limits_of_containers_count_version_1(tmp_path):
    membership, root = tmp_path / "cgroup", tmp_path / "fs"
    membership.write_text("9:cpu,cpuacct:/x\n4:memory:/x\n0::/\n")
    group(
        root / "memory" / "x",
        {
            "memory.limit_in_bytes": 1000,
            "memory.usage_in_bytes": 1200,
            "memory.stat": "total_inactive_file 50",
        },
    )
    group(
        root / "memory",
        {"memory.limit_in_bytes": 2**63 - 4096, "memory.usage_in_bytes": 5000, "memory.stat": ""},
    )
    assert memory.container_bytes(membership, root) == 0
    assert memory.container_bytes(tmp_path / "missing", root) is None


def test_the_smaller_of_system_and_container_counts(monkeypatch):
    monkeypatch.setattr(memory, "_system_bytes", lambda: 100)
    for container, expected in ((50, 50), (200, 100), (None, 100)):
        monkeypatch.setattr(memory, "container_bytes", lambda container=container: container)
        assert memory.available_bytes() == expected
