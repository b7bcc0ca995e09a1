"""Constants on disk: damage, limits, other writers, folders that cannot be written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from deepchem_dft.errors import InputError
from deepchem_dft.molecule import Molecule, cache, constants, integrals
from deepchem_dft.molecule.memory import MemoryBudget

WATER = "O 0 0 0.2217; H 0 1.4309 -0.8867; H 0 -1.4309 -0.8867"


def refuse(*_, **__):
    raise PermissionError(13, "Permission denied")


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def test_disk_cache_is_used_and_survives_damage(water, forget, monkeypatch, tmp_path):
    monkeypatch.setenv("DEEPCHEM_DFT_CACHE", str(tmp_path))
    density = water.starting_density
    water.coulomb(density)
    files = sorted(tmp_path.rglob("*.npz"))
    assert len(files) == 2
    assert not list(tmp_path.rglob("*.tmp"))

    forget()
    again = Molecule(WATER, basis="6-31g", grid_level=1)
    with monkeypatch.context() as patch:
        patch.setattr(integrals, "electron_repulsion", None)  # would fail if called
        assert torch.equal(again.coulomb(density), water.coulomb(density))

    for path in files:
        damage(path)
    forget()
    fresh = Molecule(WATER, basis="6-31g", grid_level=1)
    with pytest.warns(UserWarning, match="damaged"):
        assert torch.allclose(fresh.coulomb(fresh.starting_density), water.coulomb(density))


def test_a_shared_cache_may_be_read_only(monkeypatch, tmp_path, recwarn):
    monkeypatch.setenv("DEEPCHEM_DFT_CACHE", str(tmp_path))
    cache.store("aa", "part", {"x": np.arange(1000.0)})
    path = next(tmp_path.rglob("*.npz"))
    for module, name in ((os, "utime"), (os, "replace"), (Path, "unlink"), (tempfile, "mkstemp")):
        monkeypatch.setattr(module, name, refuse)
    assert cache.load("aa", "part")["x"][-1] == 999 and not recwarn.list
    damage(path)
    with pytest.warns(UserWarning, match="damaged"):
        assert cache.load("aa", "part") is None
    with pytest.warns(UserWarning, match="could not be cached"):
        cache.store("aa", "part", {"x": np.zeros(3)})


def test_a_cached_file_that_may_not_be_read_is_left_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("DEEPCHEM_DFT_CACHE", str(tmp_path))
    cache.store("aa", "part", {"x": np.zeros(3)})
    with monkeypatch.context() as patch:
        patch.setattr(np, "load", refuse)
        with pytest.warns(UserWarning, match="cannot be read"):
            assert cache.load("aa", "part") is None
    assert cache.load("aa", "part") is not None


@pytest.mark.parametrize("text", ["abc", "-1", "nan", "inf", "8 GB"])
def test_sizes_in_the_environment_are_checked(monkeypatch, tmp_path, text):
    monkeypatch.setenv("DEEPCHEM_DFT_CACHE", str(tmp_path))
    monkeypatch.setenv("DEEPCHEM_DFT_CACHE_GB", text)
    monkeypatch.setattr(integrals, "one_electron", None)  # it is reported before any work
    with pytest.raises(InputError, match="DEEPCHEM_DFT_CACHE_GB") as caught:
        _ = Molecule("He 0 0 0", basis="sto-3g").overlap
    assert caught.value.field == "DEEPCHEM_DFT_CACHE_GB" and caught.value.remedy
    monkeypatch.setenv("DEEPCHEM_DFT_MEMORY_GB", text)
    with pytest.raises(InputError, match="DEEPCHEM_DFT_MEMORY_GB"):
        MemoryBudget().use(constants.Constants("x"), "eri", 1)


def test_pruning_removes_what_killed_writers_left(monkeypatch, tmp_path):
    monkeypatch.setenv("DEEPCHEM_DFT_CACHE", str(tmp_path))
    cache.store("aa", "part", {"x": np.zeros(3)})
    old, young = tmp_path / "aa" / "old.tmp", tmp_path / "aa" / "young.tmp"
    for path in (old, young):
        path.write_bytes(b"half")
    yesterday = old.stat().st_mtime - 90_000
    os.utime(old, (yesterday, yesterday))
    cache.store("aa", "other", {"x": np.zeros(3)})
    assert young.exists() and not old.exists()
    assert len(list(tmp_path.rglob("*.npz"))) == 2


def test_content_key_depends_on_the_version_of_pyscf(monkeypatch):
    import pyscf

    before = cache.content_key({"a": 1})
    monkeypatch.setattr(pyscf, "__version__", "0.0.1")
    assert cache.content_key({"a": 1}) != before


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


def test_read_only_cache_adds_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("DEEPCHEM_DFT_CACHE", str(tmp_path))
    with cache.read_only():
        assert Molecule("He 0 0 0", basis="sto-3g").overlap.shape == (1, 1)
    assert not list(tmp_path.rglob("*.npz"))
    cache.store("aa", "part", {"x": np.zeros(3)})
    with cache.read_only():
        assert cache.load("aa", "part") is not None
