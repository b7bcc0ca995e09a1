"""Loaders of Hamiltonians: splits as published, samples from the file, nothing hidden."""

import pickle
import random
import sqlite3
import subprocess
import sys
from dataclasses import replace

import deepchem as dc
import numpy as np
import pytest

from deepchem_dft.errors import InputError
from deepchem_dft.hamiltonian.files.md17 import write_md17
from deepchem_dft.hamiltonian.files.qh9 import write_qh9, write_qh9_dynamic
from deepchem_dft.hamiltonian.files.store import write_samples
from deepchem_dft.hamiltonian.sample import HamiltonianSample
from deepchem_dft.molnet import hamiltonian_splits as splits
from deepchem_dft.molnet import hamiltonians as loaders
from deepchem_dft.molnet import load_hamiltonian, load_md17_hamiltonian, load_qh9

POSITIONS = np.array([[0, 0, 0.1], [0.1, 1.45, 1.1], [0, -1.4, 1.2]])


def water(number: int, nao: int = 7) -> HamiltonianSample:
    matrix = np.eye(nao) * number
    return HamiltonianSample(
        [8, 1, 1],
        POSITIONS + 0.01 * number,
        "sto-3g",
        matrix,
        overlap=np.eye(nao),
        energy=-75.0 - number,
        forces=np.zeros((3, 3)),
        xc="pbe",
        name=f"water/1/300K/{number}",
    )


@pytest.fixture
def md17(tmp_path):
    write_md17(tmp_path / "schnorb_hamiltonian_water.db", [water(i) for i in range(20)])
    return tmp_path


@pytest.fixture
def stored(tmp_path):
    others = [
        HamiltonianSample(
            [2],
            [[0, 0, 0]],
            "sto-3g",
            np.eye(1),
            overlap=np.eye(1),
            energy=-2.8,
            forces=np.zeros((1, 3)),
            xc="pbe",
            name=f"helium/{i}",
        )
        for i in range(5)
    ]
    write_samples(tmp_path / "mixed.h5", [*(water(i) for i in range(20)), *others])
    return tmp_path / "mixed.h5"


class TestSplits:
    def test_md17_counts_and_first_members(self):
        """numpy's permutation of seed 42, as QHNet draws it."""
        train, valid, test = splits.md17_published(np.array([8, 1, 1]), 4999)
        expected = np.random.RandomState(42).permutation(4999)
        assert (len(train), len(valid), len(test)) == (500, 500, 3999)
        np.testing.assert_array_equal(np.concatenate([train, valid, test]), expected)
        ethanol = splits.md17_published(np.array([6, 6, 8] + [1] * 6), 30000)
        assert [len(part) for part in ethanol] == [25000, 500, 4500]
        malondialdehyde = splits.md17_published(np.array([6, 6, 6, 8, 8] + [1] * 4), 26978)
        assert [len(part) for part in malondialdehyde] == [25000, 500, 1478]

    def test_too_few_geometries_have_no_published_split(self):
        with pytest.raises(InputError, match="no published split of 900 geometries of H2O"):
            splits.md17_published(np.array([8, 1, 1]), 900)

    def test_qh9_stable_counts(self):
        """130,831 molecules: 104,664 / 13,083 / 13,084."""
        train, valid, test = splits.shares(130831)
        assert (len(train), len(valid), len(test)) == (104664, 13083, 13084)
        np.testing.assert_array_equal(valid, np.random.RandomState(43).permutation(130831)[104664:117747])

    @pytest.mark.parametrize(
        "molecules, frames, geometry, molecule",
        [
            (2998, 100, (239840, 29980, 29980), (2398, 299, 301)),
            (2399, 60, (119950, 11995, 11995), (1919, 239, 241)),
        ],
    )
    def test_qh9_dynamic_counts(self, molecules, frames, geometry, molecule):
        rows = np.repeat(np.arange(molecules), frames)
        parts = splits.by_molecule(rows)
        assert [len(part) for part in parts] == [n * frames for n in molecule]
        order = list(range(molecules))
        random.seed(43)
        random.shuffle(order)
        assert {int(rows[i]) for i in parts[1]} == set(order[molecule[0] : sum(molecule[:2])])
        few = splits.by_geometry(rows[: 50 * frames])
        assert [len(part) * molecules // 50 for part in few] == list(geometry)

    def test_each_molecule_of_qh9_dynamic_has_its_own_seed(self):
        train, valid, test = splits.by_geometry(np.repeat(np.arange(3), 100))
        order = 200 + np.random.RandomState(299).permutation(100)
        np.testing.assert_array_equal(train[160:], order[:80])
        np.testing.assert_array_equal(test[20:], order[90:])

    def test_qh9_ood_is_by_size(self):
        parts = splits.by_size(np.array([3, 20, 21, 22, 23, 29]))
        assert [part.tolist() for part in parts] == [[0, 1], [2, 3], [4, 5]]

    def test_nothing_is_in_two_parts(self):
        for parts in (
            splits.shares(97),
            splits.counted(97, (30, 10)),
            splits.by_geometry(np.repeat(np.arange(4), 23)),
        ):
            assert sorted(np.concatenate(parts).tolist()) == list(range(sum(map(len, parts))))


class TestMD17:
    def load(self, folder, **options):
        options = {
            "splitter": "random",
            "basis": "sto-3g",
            "data_dir": str(folder),
            "save_dir": str(folder / "kept"),
            **options,
        }
        return load_md17_hamiltonian(**options)

    def test_samples_and_energies(self, md17):
        tasks, (train, valid, test), transformers = self.load(md17, sizes=(10, 4))
        assert (tasks, transformers) == (["energy"], [])
        assert (len(train), len(valid), len(test)) == (10, 4, 6)
        sample, y, w, ident = next(train.itersamples())
        assert isinstance(sample, HamiltonianSample) and sample.name == ident
        assert (sample.energy, w.tolist()) == (y[0], [1.0])
        everything = {*train.ids, *valid.ids, *test.ids}
        assert everything == {str(i) for i in range(1, 21)}

    def test_published_needs_the_whole_file(self, md17):
        with pytest.raises(InputError, match="no published split of 20"):
            self.load(md17, splitter="published")

    def test_the_file_is_checked_once(self, md17, monkeypatch):
        first = self.load(md17)[1][0]
        monkeypatch.setattr(loaders.MD17File, "read", None)  # nothing may be read now
        again = self.load(md17)[1][0]
        np.testing.assert_array_equal(first.y, again.y)

    def test_a_changed_file_is_checked_again(self, md17):
        self.load(md17)
        write_md17(md17 / "schnorb_hamiltonian_water.db", [water(i + 3) for i in range(20)])
        assert max(part.y.max() for part in self.load(md17)[1]) == -78.0

    def test_bad_rows_may_be_skipped_and_are_told(self, md17):
        path = md17 / "schnorb_hamiltonian_water.db"
        whole = self.load(md17, reload=False)[1]
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE systems SET data = x'00' WHERE id IN (4, 9)")
        with pytest.raises(InputError, match="row 4"):
            self.load(md17)
        with pytest.warns(UserWarning, match=r"2 samples left out; the first: .*row 4"):
            parts = self.load(md17, on_bad="skip")[1]
        for part, before in zip(parts, whole):
            assert part.ids.tolist() == [i for i in before.ids if i not in ("4", "9")]

    @pytest.mark.parametrize(
        "options, field",
        [
            ({"molecule": "benzene"}, "molecule"),
            ({"splitter": "scaffold"}, "splitter"),
            ({"featurizer": "ecfp"}, "featurizer"),
            ({"transformers": ["clipping"]}, "transformers"),
            ({"sizes": (19, 1)}, "sizes"),
            ({"splitter": "index", "sizes": (1, 1)}, "sizes"),
            ({"data_dir": None}, "data_dir"),
            ({"on_bad": "ignore"}, "on_bad"),
            ({"molecule": "uracil"}, "data_dir"),
        ],
    )
    def test_misuse(self, md17, options, field):
        with pytest.raises(InputError) as caught:
            self.load(md17, **options)
        assert caught.value.field == field


def test_qh9(tmp_path):
    samples = [water(i) for i in range(10)]
    write_qh9(tmp_path / "QH9Stable.db", samples)
    write_qh9_dynamic(tmp_path / "QH9Dynamic_300k.db", [samples, samples[:10], samples[:10]])
    options = {"data_dir": str(tmp_path), "basis": "sto-3g", "reload": False}
    _, (train, valid, test), _ = load_qh9(**options)
    assert (len(train), len(valid), len(test)) == (8, 1, 1) and np.isnan(train.y).all()
    assert [len(d) for d in load_qh9(splitter="ood", **options)[1]] == [10, 0, 0]
    _, (train, valid, test), _ = load_qh9(version="300k", **options)
    assert (len(train), len(valid), len(test)) == (24, 3, 3) and train.y.max() < -74
    _, parts, _ = load_qh9(version="300k", splitter="molecule", **options)
    assert not {i.split("-")[0] for i in parts[0].ids} & {i.split("-")[0] for i in parts[2].ids}
    with pytest.raises(InputError, match="ood"):
        load_qh9(version="300k", splitter="ood", **options)


class TestDataset:
    @pytest.fixture
    def dataset(self, stored):
        return load_hamiltonian(stored, splitter=None, reload=False)[1][0]

    def test_it_is_the_data_set_in_memory(self, dataset):
        memory = dc.data.NumpyDataset(dataset.X, dataset.y, dataset.w, dataset.ids)
        assert dataset.get_shape() == memory.get_shape()
        for pad in (False, True):
            for mine, theirs in zip(
                dataset.iterbatches(4, 2, True, pad), memory.iterbatches(4, 2, True, pad), strict=True
            ):
                assert [s.name for s in mine[0]] == [s.name for s in theirs[0]]
                for a, b in zip(mine[1:], theirs[1:]):
                    np.testing.assert_array_equal(a, b)
        np.random.seed(7)
        mine = [x[0].name for x, *_ in dataset.iterbatches(1)]
        np.random.seed(7)
        assert mine == [x[0].name for x, *_ in memory.iterbatches(1)]

    def test_molecules_of_different_size_share_a_batch(self, dataset):
        assert {sample.nao for x, *_ in dataset.iterbatches(25) for sample in x} == {1, 7}

    def test_selections_share_what_was_read(self, dataset):
        part = dataset.select([3, 1])
        assert part.ids.tolist() == [dataset.ids[3], dataset.ids[1]]
        sample = next(part.itersamples())[0]
        sample.guess = "added by a model"
        assert next(dataset.select([3]).itersamples())[0].guess == "added by a model"

    def test_what_does_not_fit_into_memory_is_read_again(self, stored):
        full = load_hamiltonian(stored, splitter=None, reload=False)[1][0]
        small = type(full)(full.source, full.energies, full.names, memory=4 * 8 * 49 * 2)
        first, second = list(small.itersamples()), list(small.itersamples())
        same = [a[0] is b[0] for a, b in zip(first, second)]
        assert same == [True, True] + [False] * 18 + [False] * 5
        np.testing.assert_array_equal(first[9][0].hamiltonian, second[9][0].hamiltonian)

    def test_it_can_be_pickled_and_split(self, dataset):
        list(dataset.itersamples())
        again = pickle.loads(pickle.dumps(dataset))
        assert again.X[24].numbers.tolist() == [2] and len(pickle.dumps(dataset)) < 20000
        train, test = dc.splits.RandomSplitter().train_test_split(dataset, seed=0)
        assert len(train) + len(test) == 25

    def test_by_molecule(self, stored):
        parts = load_hamiltonian(stored, splitter="molecule", reload=False)[1]
        found = [{name.split("/")[0] for name in part.ids} for part in parts]
        assert not found[0] & found[2] and found[0] | found[1] | found[2] == {"water", "helium"}


@pytest.mark.slow
def test_loading_does_not_import_e3nn(stored):
    code = (
        f"import sys; from deepchem_dft.molnet import load_hamiltonian; "
        f"load_hamiltonian({str(stored)!r}, reload=False); print('e3nn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr[-500:]


def test_problems_keep_the_sample_out(tmp_path):
    bad = replace(water(1), basis="sto-3g")
    bad.hamiltonian = np.full((7, 7), 2.0) + np.triu(np.ones((7, 7)))
    write_qh9(tmp_path / "QH9Stable.db", [water(0), bad])
    with pytest.raises(InputError, match="not symmetric") as caught:
        load_qh9(data_dir=str(tmp_path), basis="sto-3g", reload=False)
    assert caught.value.entry == "row 1 (id 1)"
