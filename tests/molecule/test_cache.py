"""Constants on disk: damage, limits, other writers, folders that cannot be written."""

import os
import tempfile
from contextlib import contextmanager
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


def truncate(path):
    os.truncate(path, path.stat().st_size - 1000)


def molecule(density_fit):
    return Molecule(WATER, basis="6-31g", grid_level=1, density_fit=density_fit)


#: Exact integrals, fitted ones in memory, and fitted ones that are left on disk.
KINDS = pytest.mark.parametrize("kind", ["exact", "fitted", "streamed"])


@pytest.fixture
def water_of_kind(kind, forget, monkeypatch):
    """Return a function that makes water anew; nothing large fits into memory for the last."""
    if kind == "streamed":
        monkeypatch.setenv("DEEPCHEM_DFT_MEMORY_GB", "0.00001")

    def make(without_integrals=False):
        forget()
        if without_integrals:
            for name in ("electron_repulsion", "three_index", "three_index_rows"):
                monkeypatch.setattr(integrals, name, None)  # would fail if called
        return molecule(False if kind == "exact" else "weigend")

    return make


@KINDS
def test_disk_cache_is_used(water_of_kind, monkeypatch, tmp_path, kind):
    monkeypatch.setenv("DEEPCHEM_DFT_CACHE", str(tmp_path))
    first = water_of_kind()
    matrix = first.coulomb(first.starting_density)
    assert sorted(p.suffix for p in tmp_path.rglob("*.np?")) == [
        ".npz" if kind == "exact" else ".npy",
        ".npz",
    ]
    assert not list(tmp_path.rglob("*.tmp"))
    again = water_of_kind(without_integrals=True)
    assert torch.equal(again.coulomb(again.starting_density), matrix)


@KINDS
@pytest.mark.parametrize("harm", [damage, truncate])
def test_a_damaged_cache_is_made_again(water_of_kind, monkeypatch, tmp_path, kind, harm):
    monkeypatch.setenv("DEEPCHEM_DFT_CACHE", str(tmp_path))
    first = water_of_kind()
    matrix = first.coulomb(first.starting_density)
    files = list(tmp_path.rglob("*.np?"))
    for path in files:
        if kind != "streamed" or harm is truncate or path.suffix == ".npz":
            harm(path)
    again = water_of_kind()
    with pytest.warns(UserWarning, match="damaged") as caught:
        assert torch.allclose(again.coulomb(again.starting_density), matrix)
    # Reading a file in pieces cannot compare its checksum.
    assert len(caught) == (1 if kind == "streamed" and harm is damage else 2)
    last = water_of_kind(without_integrals=True)
    assert torch.allclose(last.coulomb(last.starting_density), matrix)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00v\x00{'descr'" * 20])
def test_a_file_with_a_broken_header_is_damaged(content, tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPCHEM_DFT_CACHE", str(tmp_path))
    cache.store_matrix("aa", "part", 8, lambda _: ((1, 1), [np.zeros((1, 1))]))
    path = next(tmp_path.rglob("*.npy"))
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="damaged"):
        assert cache.load_matrix("aa", "part", whole=False) is None
    assert not path.exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@KINDS
def test_a_full_disk_is_a_warning(water_of_kind, monkeypatch, tmp_path, kind):
    first = water_of_kind()
    matrix = first.coulomb(first.starting_density)
    monkeypatch.setenv("DEEPCHEM_DFT_CACHE", str(tmp_path))

    @contextmanager
    def on_a_full_disk(path, **_):
        yield Path("/dev/full")

    monkeypatch.setattr(cache, "replacing", on_a_full_disk)
    if kind == "streamed":  # nowhere at all: then memory has to do
        monkeypatch.setattr(tempfile, "TemporaryFile", lambda: open("/dev/full", "r+b"))  # noqa: SIM115
    again = water_of_kind()
    with pytest.warns(UserWarning, match="No space left") as caught:
        assert torch.allclose(again.coulomb(again.starting_density), matrix)
    assert ("kept in memory" in str(caught[-1].message)) == (kind == "streamed")
    assert not list(tmp_path.rglob("*.np?"))


def test_without_a_cache_the_file_is_temporary(monkeypatch, tmp_path):
    monkeypatch.setenv("DEEPCHEM_DFT_MEMORY_GB", "0.00001")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for setting, most in (("off", "8"), (str(tmp_path / "cache"), "0.000001")):
        monkeypatch.setenv("DEEPCHEM_DFT_CACHE", setting)
        monkeypatch.setenv("DEEPCHEM_DFT_CACHE_GB", most)  # larger than the whole cache
        water = molecule("weigend")
        water.coulomb(water.overlap)
        (part,) = (v for k, v in water._constants._large.items() if k.startswith("fit"))
        assert part.nbytes == 0 and part.shape == (water.fitting.size, 91)
        assert not [p for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".npz"]
        water.release()


def test_removing_a_file_that_is_in_use_does_no_harm(monkeypatch, tmp_path):
    monkeypatch.setenv("DEEPCHEM_DFT_CACHE", str(tmp_path))
    rows = np.random.default_rng(0).normal(size=(5, 4))
    cache.store_matrix("aa", "part", rows.nbytes, lambda _: (rows.shape, [rows[:2], rows[2:]]))
    file = cache.load_matrix("aa", "part", whole=False)
    next(tmp_path.rglob("*.npy")).unlink()
    assert np.array_equal(np.concatenate([block.copy() for block in file.blocks(2)]), rows)
    assert np.array_equal(file.read(), rows)


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
    cache._before_next_look.clear()  # as in another process
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


def test_a_cache_with_room_is_not_looked_through_at_every_write(monkeypatch, tmp_path):
    looks = []
    monkeypatch.setenv("DEEPCHEM_DFT_CACHE", str(tmp_path))
    monkeypatch.setenv("DEEPCHEM_DFT_CACHE_GB", "0.01")
    prune = cache._prune
    monkeypatch.setattr(cache, "_prune", lambda folder: (looks.append(folder), prune(folder)))
    for number in range(300):  # of 8 kB each: a hundredth of the bound is written every 12 of them
        cache.store(f"{number:04d}", "part", {"x": np.zeros(1000)})
        assert sum(path.stat().st_size for path in tmp_path.rglob("*.npz")) <= 10_000_000
    assert 10 < len(looks) < 40


def test_dynamics_leaves_nothing_behind_but_the_first_geometry(monkeypatch, tmp_path):
    from ase import Atoms

    from deepchem_dft.interop.ase import KohnShamCalculator

    monkeypatch.setenv("DEEPCHEM_DFT_CACHE", str(tmp_path))
    atoms = Atoms("H2", [(0, 0, 0), (0, 0, 0.74)])
    atoms.calc = KohnShamCalculator(basis="sto-3g", grid_level=0)
    atoms.get_forces()
    first = set(tmp_path.rglob("*.np*"))
    atoms.positions[1, 2] = 0.76
    atoms.get_forces()
    assert first and set(tmp_path.rglob("*.np*")) == first


def test_a_cache_that_cannot_be_written_is_a_warning(monkeypatch, tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    monkeypatch.setenv("DEEPCHEM_DFT_CACHE", str(blocker))
    with pytest.warns(UserWarning, match="could not be cached"):
        assert Molecule("He 0 0 0", basis="sto-3g").overlap.shape == (1, 1)


def test_two_processes_may_write_the_same_entry(monkeypatch, tmp_path):
    import subprocess
    import sys

    code = (
        "from deepchem_dft.molecule import Molecule\n"
        f"m = Molecule({WATER!r}, basis='6-31g', grid_level=1)\n"
        "print(float(m.coulomb(m.starting_density).sum()))"
    )
    monkeypatch.setenv("DEEPCHEM_DFT_CACHE", str(tmp_path))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    answers = [p.communicate() for p in processes]
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
