"""The data set is a DeepChem data set: splitting, selecting, reloading, pickling, copying."""

import copy
import pickle

import deepchem as dc
import numpy as np
import pytest

from deepchem_dft.data import DFTEntry, DFTFeaturizer, DFTYamlLoader, arrays, read_yaml
from deepchem_dft.errors import InputError

H = {"moldesc": "H 0 0 0", "basis": "sto-3g", "spin": 1}
H2 = {"moldesc": "H 0 0 0; H 0 0 1.4", "basis": "sto-3g"}


@pytest.fixture
def dataset(all_files):
    return DFTYamlLoader().create_dataset(all_files)


def as_list(dataset):
    return [(x, float(y[0]), float(w[0]), i) for x, y, w, i in dataset.itersamples()]


def test_shapes_types_and_units(dataset, all_files):
    expected = [entry for file in all_files for entry in read_yaml(file)]
    assert isinstance(dataset, dc.data.DiskDataset)
    assert dataset.X.shape == (16,) and dataset.X.dtype == object
    assert dataset.y.shape == dataset.w.shape == (16, 1)
    assert dataset.y.dtype == dataset.w.dtype == np.float64
    assert list(dataset.X) == expected
    assert list(dataset.ids) == [e.name for e in expected] and len(set(dataset.ids)) == 16
    for entry, y, w, _ in as_list(dataset):
        assert y == (entry.get_true_val()[0] if entry.is_energy else 0.0)
        assert w == entry.get_weight()
    assert list(dataset.get_task_names()) == ["energy"]


@pytest.mark.parametrize("shard_size", [None, 1, 3, 100])
def test_shards_do_not_change_the_data(all_files, shard_size, tmp_path):
    folder = str(tmp_path / "set")
    dataset = DFTYamlLoader().create_dataset(all_files, folder, shard_size)
    assert dataset.get_number_shards() == {None: 1, 1: 16, 3: 6, 100: 1}[shard_size]
    again = dc.data.DiskDataset(folder)
    assert as_list(again) == as_list(dataset)
    assert list(dataset.X) == [e for file in all_files for e in read_yaml(file)]
    for wrong in (0, -1, True, "2", 1.5):
        with pytest.raises(InputError):
            DFTYamlLoader().create_dataset(all_files, folder, wrong)


def test_batches_cover_everything_in_order(dataset):
    for size in (1, 2, 5):
        names = [n for X, y, w, ids in dataset.iterbatches(size, deterministic=True) for n in ids]
        assert names == list(dataset.ids)


def test_splitters(dataset, tmp_path):
    for splitter in (dc.splits.RandomSplitter(), dc.splits.IndexSplitter()):
        parts = splitter.train_valid_test_split(dataset, seed=1)
        names = [name for part in parts for name in part.ids]
        assert sorted(names) == sorted(dataset.ids)
        assert all(x.name == name for part in parts for x, name in zip(part.X, part.ids, strict=True))
    folds = dc.splits.RandomSplitter().k_fold_split(dataset, 4, seed=0)
    assert sorted(n for _, fold in folds for n in fold.ids) == sorted(dataset.ids)


def test_select_copy_move_merge_reshard(dataset, tmp_path):
    part = dataset.select([5, 0], str(tmp_path / "part"))
    assert {x.name for x in part.X} == {dataset.X[0].name, dataset.X[5].name}
    copied = dataset.copy(str(tmp_path / "copy"))
    assert as_list(copied) == as_list(dataset)
    copied.move(str(tmp_path / "moved"))
    assert as_list(dc.data.DiskDataset(str(tmp_path / "moved"))) == as_list(dataset)
    merged = dc.data.DiskDataset.merge([part, dataset])
    assert len(merged) == 18
    dataset.reshard(4)
    assert dataset.get_number_shards() == 4 and len(dataset) == 16
    assert len(dataset.complete_shuffle()) == 16
    assert dataset.to_dataframe().shape[0] == 16


def test_pickle_and_deepcopy(dataset):
    for entry in dataset.X:
        for other in (pickle.loads(pickle.dumps(entry)), copy.deepcopy(entry), copy.copy(entry)):
            assert other == entry and hash(other) == hash(entry)
        assert len(pickle.dumps(entry)) < 5000
    assert as_list(pickle.loads(pickle.dumps(dataset))) == as_list(dataset)


def test_numpy_dataset(all_files):
    entries = read_yaml(all_files[2])
    dataset = dc.data.NumpyDataset(*arrays(entries))
    assert list(dataset.X) == entries and dataset.y.shape == (7, 1)
    assert list(dataset.select([2, 1]).X) == [entries[2], entries[1]]
    on_disk = dc.data.DiskDataset.from_numpy(*arrays(entries))
    assert as_list(on_disk) == as_list(dataset)


def test_numpy_never_looks_inside_entries(all_files):
    for entries in (read_yaml(all_files[0]), read_yaml(all_files[0])[:1]):
        assert np.array(entries, dtype=object).shape == (len(entries),)
        assert np.array(entries).shape == (len(entries),)
        assert np.asarray(entries).dtype == object


def test_one_glob_folder_or_list_gives_the_same(write, tmp_path):
    he = "{moldesc: He 0 0 0, basis: sto-3g}"
    for name in ("a", "b"):
        write(
            f"- {{e_type: ae, true_val: 0.17, name: {name}, systems: [{H2}, {H}, {H}]}}".replace("'", ""),
            f"{name}.yaml",
        )
    write(f"not for us: {he}", "c.txt")
    loader = DFTYamlLoader()
    files = [str(tmp_path / "a.yaml"), tmp_path / "b.yaml"]
    for inputs in (
        files,
        str(tmp_path / "*.yaml"),
        tmp_path,
        [str(tmp_path / "[ab].yaml")],
        (files[0], str(tmp_path)),
    ):
        assert list(loader.create_dataset(inputs).ids) == ["a", "b"]
    assert list(loader.create_dataset(files[::-1]).ids) == ["b", "a"]


def test_a_file_whose_name_looks_like_a_pattern(write, deepchem_file):
    with open(deepchem_file) as stream:
        path = write(stream.read(), "set[1].yaml")
    assert len(DFTYamlLoader().create_dataset(path)) == 4


def test_names_shared_by_files_get_the_files_in_front(write, tmp_path):
    text = f"- {{e_type: ie, true_val: 0.5, name: NAME, systems: [{H}]}}\n".replace("'", "")
    one = write(text.replace("NAME", "H") + text.replace("NAME", "other"), "one.yaml")
    two = write(text.replace("NAME", "H"), "two.yaml")
    (tmp_path / "deep").mkdir()
    three = write(text.replace("NAME", "H"), "deep/one.yaml")
    dataset = DFTYamlLoader().create_dataset([one, two, three])
    assert list(dataset.ids) == ["one/H", "other", "two/H", "deep/one/H"]
    assert [x.name for x in dataset.X] == list(dataset.ids)


def test_loader_calls_the_base_constructor_and_wants_our_featurizer():
    loader = DFTYamlLoader()
    assert loader.tasks == ["energy"] and loader.log_every_n == 1000
    assert loader.user_specified_features is None and loader.id_field is None
    with pytest.raises(InputError, match="DummyFeaturizer"):
        DFTYamlLoader(dc.feat.DummyFeaturizer())


def test_loader_uses_the_featurizer(deepchem_file):
    class Heavy(DFTFeaturizer):
        def featurize_one(self, datapoint):
            entry = super().featurize_one(datapoint)
            entry.tags["seen"] = True
            return entry

    dataset = DFTYamlLoader(Heavy()).create_dataset(deepchem_file)
    assert all(x.tags == {"seen": True} for x in dataset.X)


def test_featurizer_raises_with_the_name_of_the_entry():
    good = {"e_type": "ie", "true_val": 0.5, "systems": [H]}
    bad = {"name": "broken", "e_type": "ie", "true_val": 0.5, "systems": [H | {"spin": 2}]}
    featurizer = DFTFeaturizer()
    with pytest.raises(InputError, match="broken.*spin"):
        featurizer.featurize([good, bad])
    with pytest.raises(InputError, match="entry 2"):
        featurizer([good, 7])
    assert featurizer.featurize(good)[0].coefficients == [-1]
    native = {
        "type": "energy",
        "value": "-1.1 Ha",
        "systems": [{"geometry": "H 0 0 0; H 0 0 1.4", "basis": "sto-3g"}],
    }
    xcnn = {
        "type": "ie",
        "cmd": "-energy(systems[0])",
        "true_val": 0.5,
        "systems": [{"type": "mol", "kwargs": H}],
    }
    out = featurizer.featurize([native, xcnn, DFTEntry.create("ie", 0.5, [H])])
    assert out.shape == (3,) and [e.entry_type for e in out] == ["energy", "ie", "ie"]
