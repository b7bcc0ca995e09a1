"""The ``load_*`` functions: MoleculeNet's form, splits, options, cache, errors."""

import inspect
import os
import pickle
import shutil
import time
from collections import Counter
from pathlib import Path

import deepchem as dc
import numpy as np
import pytest

from deepchem_dft import molnet
from deepchem_dft.data import DFTEntry, DFTFeaturizer
from deepchem_dft.errors import InputError
from deepchem_dft.molnet import datasets_dir, location
from deepchem_dft.molnet.cache import made_once
from deepchem_dft.units import HARTREE_TO_KCAL

#: (train, valid, test) of each function; None where the file has no split.
SIZES = {
    "load_w411": (31, 13, 70),
    "load_xcnn": (6, 6, 121),
    "load_atomic_ip": (2, 2, 14),
    "load_atomic_ea": (1, 1, 10),
    "load_molecular_ip": (2, 2, 12),
    "load_molecular_vip": (2, 4, 80),
    "load_barriers": (11, 6, 5),
    "load_h2_curve": None,
    "load_atomic_total_energy": None,
}
TOTALS = {
    name: sum(size) if size else {"load_h2_curve": 36, "load_atomic_total_energy": 18}[name]
    for name, size in SIZES.items()
}


def test_there_is_a_loader_for_every_file():
    assert {name for name in molnet.__all__ if name.startswith("load_")} == {
        *SIZES,
        "load_gscdb138",
        "load_nci",
        "load_labelled",
        "load_qmugs",
        "load_qmof",
        "load_oqmd",
        "load_ksr",
        "load_hamiltonian",
        "load_md17_hamiltonian",
        "load_qh9",
    }
    assert len(list(datasets_dir().glob("*.yaml"))) == len(SIZES) + 1  # xcnn has two


@pytest.mark.parametrize("name", SIZES)
def test_signature_is_that_of_moleculenet(name):
    ours = list(inspect.signature(getattr(molnet, name)).parameters)[:6]
    theirs = list(inspect.signature(dc.molnet.load_delaney).parameters)[:6]
    assert ours == theirs
    doc = getattr(molnet, name).__doc__
    assert "References" in doc and f"`{name}`" in molnet.__doc__


@pytest.mark.parametrize("name", SIZES)
def test_loads_with_its_published_split(name):
    tasks, datasets, transformers = getattr(molnet, name)()
    assert tasks == ["energy"] and transformers == []
    assert tuple(map(len, datasets)) == (SIZES[name] or (TOTALS[name],))
    for dataset, split in zip(datasets, ("train", "valid", "test"), strict=False):
        assert isinstance(dataset, dc.data.DiskDataset)
        assert dataset.y.shape == dataset.w.shape == (len(dataset), 1)
        assert dataset.y.dtype == np.float64
        for entry, y, identifier in zip(dataset.X, dataset.y, dataset.ids, strict=True):
            assert isinstance(entry, DFTEntry) and entry.name == identifier
            assert entry.get_true_val() == pytest.approx(y, abs=0)
            assert entry.split == (split if SIZES[name] else None)


@pytest.mark.parametrize("name", SIZES)
def test_without_a_splitter_everything_is_in_one_set(name):
    _, datasets, _ = getattr(molnet, name)(splitter=None)
    assert len(datasets) == 1 and len(datasets[0]) == TOTALS[name]
    assert len(set(datasets[0].ids)) == TOTALS[name]


@pytest.mark.parametrize("splitter", ["index", "random", dc.splits.RandomSplitter()])
def test_deepchem_splitters(splitter):
    _, parts, _ = molnet.load_w411(splitter=splitter)
    assert tuple(map(len, parts)) == (91, 11, 12)
    names = [name for part in parts for name in part.ids]
    assert len(set(names)) == 114
    _, (everything,), _ = molnet.load_w411(splitter=None)
    assert (names == list(everything.ids)) == (splitter == "index")


@pytest.mark.parametrize("splitter", ["scaffold", dc.splits.ScaffoldSplitter(), dc.splits.ButinaSplitter()])
def test_splitters_by_smiles_say_which_others_there_are(splitter):
    with pytest.raises(InputError, match="SMILES.*published, index, random.*RandomGroupSplitter.*load_nci"):
        molnet.load_w411(splitter=splitter)


@pytest.mark.parametrize(
    "splitter",
    [
        dc.splits.RandomGroupSplitter(list(range(114))),
        dc.splits.SpecifiedSplitter(list(range(10)), list(range(10, 20))),
    ],
)
def test_splitters_that_need_no_smiles_work(splitter):
    _, parts, _ = molnet.load_w411(splitter=splitter)
    ids = [name for part in parts for name in part.ids]
    assert len(ids) == len(set(ids)) == 114 and all(len(part) for part in parts)


def test_a_random_split_is_the_same_each_time_unless_the_splitter_is_the_user_s():
    named = {tuple(molnet.load_barriers(splitter="random", reload=r)[1][0].ids) for r in (True, True, False)}
    own = {tuple(molnet.load_barriers(splitter=dc.splits.RandomSplitter())[1][0].ids) for _ in range(3)}
    assert len(named) == 1 and len(own) > 1


def test_a_splitter_with_state():
    class First(dc.splits.Splitter):
        def __init__(self, chosen):
            self.chosen = chosen

        def split(self, dataset, **kwargs):
            rest = [i for i in range(len(dataset)) if i != self.chosen]
            return [self.chosen], rest, []

    for index in (3, 5):
        _, (train, valid, test), _ = molnet.load_barriers(splitter=First(index))
        assert list(train.ids) == [molnet.load_barriers(splitter=None)[1][0].ids[index]]
        assert len(valid) == 21 and len(test) == 0


@pytest.mark.parametrize("name", ["load_h2_curve", "load_atomic_total_energy"])
def test_a_set_without_split_says_so(name):
    with pytest.raises(InputError, match="no published split.*splitter=None"):
        getattr(molnet, name)(splitter="published", reload=False)


class TestOptions:
    def test_multireference_molecules_can_be_dropped(self):
        _, parts, _ = molnet.load_w411(multireference=False)
        assert tuple(map(len, parts)) == (20, 8, 64)
        names = {name for part in parts for name in part.ids}
        assert not names & {"w4-11:c2", "w4-11:o3", "w4-11:bn", "w4-11:b2"}

    def test_basis_replaces_every_basis(self):
        _, (everything,), _ = molnet.load_atomic_ip(splitter=None, basis="def2-svp")
        assert {s.basis for e in everything.X for s in e.get_systems()} == {"def2-svp"}
        _, (original,), _ = molnet.load_atomic_ip(splitter=None)
        assert {s.basis for e in original.X for s in e.get_systems()} == {
            "6-311++G(3df,3pd)",
            "6-311+G(2d,p)",
        }
        for new, old in zip(everything.X, original.X, strict=True):
            assert (new.name, new.label, new.coefficients, new.split, new.tags, new.source) == (
                old.name,
                old.label,
                old.coefficients,
                old.split,
                old.tags,
                old.source,
            )
            assert [(s.moldesc, s.charge, s.spin) for s in new.get_systems()] == [
                (s.moldesc, s.charge, s.spin) for s in old.get_systems()
            ]

    def test_atomisation_energies_keep_their_coefficients_in_another_basis(self):
        _, (train, _, _), _ = molnet.load_w411(basis={"default": "def2-svp", "H": "sto-3g"})
        alane = next(e for e in train.X if e.name == "w4-11:alh3")
        assert alane.coefficients == [-1.0, 1.0, 3.0]
        assert alane.label * HARTREE_TO_KCAL == pytest.approx(213.169)

    @pytest.mark.parametrize(
        "dataset, train, valid", [("dataset1", 6, 6), ("dataset2", 12, 12), ("dataset3", 7, 6)]
    )
    def test_xcnn_sets(self, dataset, train, valid):
        """ae + ie: 4+2 and 4+2; 8+4 and 8+4; 5+2 and 4+2."""
        _, parts, _ = molnet.load_xcnn(dataset=dataset)
        assert tuple(map(len, parts)) == (train, valid, 121)
        kinds = Counter(e.entry_type for e in parts[2].X)
        assert kinds == {"ae": 103, "ie": 18}

    def test_xcnn_densities_are_listed_and_not_made(self):
        _, (train, valid, _), _ = molnet.load_xcnn(densities=True)
        dens = [e for part in (train, valid) for e in part.X if e.entry_type == "dens"]
        assert len(dens) == 15 and all(e.is_ccsd for e in dens)
        assert all((y == 0) == (not e.is_energy) for y, e in zip(train.y, train.X, strict=True))
        helium = next(e for e in dens if e.name.endswith("dens-He"))
        assert helium.get_systems()[0].basis == "6-311+G(2d,p)"
        _, (train, _, _), _ = molnet.load_xcnn(densities=True, basis="sto-3g")
        assert {s.basis for e in train.X for s in e.get_systems()} == {"sto-3g"}

    @pytest.mark.parametrize(
        "dataset, overlap", [("dataset1", 8 + 4), ("dataset2", 16 + 8), ("dataset3", 9 + 4)]
    )
    def test_unseen_only_removes_the_overlap(self, dataset, overlap):
        _, (train, valid, test), _ = molnet.load_xcnn(dataset=dataset, unseen_only=True)
        assert len(test) == 121 - overlap

        def atoms(entry):
            return entry.entry_type, tuple(sorted(entry.get_systems()[0].symbols))

        used = {atoms(e) for part in (train, valid) for e in part.X}
        assert not used & {atoms(e) for e in test.X}

    def test_suspect_values_can_be_dropped(self):
        assert len(molnet.load_xcnn(suspect=False)[1][2]) == 121 - 3
        _, (everything,), _ = molnet.load_molecular_vip(splitter=None, suspect=False)
        assert len(everything) == 84
        assert not {"molecular-vip:NO", "molecular-vip:N2H4"} & set(everything.ids)

    def test_spin_orbit_free_brings_the_values_to_w4(self):
        _, (_, _, plain), _ = molnet.load_xcnn()
        _, (_, _, free), _ = molnet.load_xcnn(spin_orbit_free=True)
        silicon = {e.name: e for e in free.X}["xcnn-test:SiF4"]
        before = {e.name: e for e in plain.X}["xcnn-test:SiF4"]
        # Si 149.68/cm, four F at 134.7/cm: the lowering of the ground terms (NIST levels).
        assert (silicon.label - before.label) * HARTREE_TO_KCAL == pytest.approx(
            (149.68 + 4 * 134.7) / 349.755, abs=0.01
        )
        for old, new in zip(plain.X, free.X, strict=True):
            assert new.label >= old.label
            assert (new.label == old.label) == (
                old.entry_type == "ie" or old.tags["atomic_spin_orbit_kcal"] == 0
            )

    def test_h2_total_energies_are_one_hartree_lower(self):
        _, (binding,), _ = molnet.load_h2_curve()
        _, (total,), _ = molnet.load_h2_curve(target="total")
        assert np.allclose(binding.y - total.y, 1.0, atol=1e-12)
        assert {e.entry_type for e in total.X} == {"energy"}
        assert all(len(e.get_systems()) == 1 and e.coefficients == [1.0] for e in total.X)
        at = np.array([e.tags["distance"] for e in total.X])
        assert at[np.argmin(total.y)] == 1.4
        assert total.y.min() == pytest.approx(-1.1744757, abs=1e-7)


def test_data_sets_are_read_from_the_files_and_lie_in_a_private_folder(tmp_path):
    """Nothing is kept where others could exchange it: DeepChem's files are pickles."""
    for path in datasets_dir().glob("*.yaml"):
        shutil.copy(path, tmp_path)
    before = molnet.load_atomic_ea(data_dir=str(tmp_path), save_dir=str(tmp_path / "s"))[1][0]
    file = tmp_path / "atomic-ea.yaml"
    file.write_text(file.read_text().replace("1.461113 eV", "2.0 eV"))
    after = molnet.load_atomic_ea(data_dir=str(tmp_path), save_dir=str(tmp_path / "s"))[1][0]
    assert before.y[0, 0] * 27.211386 == pytest.approx(1.461113, abs=1e-6)
    assert after.y[0, 0] * 27.211386 == pytest.approx(2.0, abs=1e-6)
    assert before.data_dir != after.data_dir and not (tmp_path / "s").exists()
    folder = Path(after.data_dir).parent
    assert folder.stat().st_mode & 0o777 == 0o700 and folder.stat().st_uid == os.getuid()


def test_data_sets_survive_pickling_selection_and_merging():
    _, (train, valid, _), _ = molnet.load_barriers()
    assert pickle.loads(pickle.dumps(list(train.X))) == list(train.X)
    chosen = train.select([4, 0])
    assert list(chosen.ids) == [train.ids[4], train.ids[0]]
    both = dc.data.DiskDataset.merge([train, valid])
    assert len(both) == 17 and list(both.X) == [*train.X, *valid.X]


def test_several_loaders_can_be_merged_without_name_clashes():
    _, parts, _ = molnet.load_w411()
    _, more, _ = molnet.load_xcnn()
    _, barriers, _ = molnet.load_barriers()
    merged = dc.data.DiskDataset.merge([parts[0], more[0], barriers[0]])
    assert len(set(merged.ids)) == len(merged) == 31 + 6 + 11


@pytest.mark.parametrize(
    "arguments, field",
    [
        ({"transformers": ["normalization"]}, "transformers"),
        ({"transformers": [dc.trans.NormalizationTransformer]}, "transformers"),
        ({"splitter": "scaffold"}, "splitter"),
        ({"splitter": 3}, "splitter"),
        ({"featurizer": "ECFP"}, "featurizer"),
        ({"featurizer": dc.feat.RawFeaturizer()}, "featurizer"),
        ({"data_dir": "/nowhere"}, "data_dir"),
        ({"basis": "def2-tzpv"}, "basis"),
        ({"basis": 6}, "basis"),
    ],
)
def test_mistakes_are_input_errors_that_name_the_field(arguments, field):
    with pytest.raises(InputError) as info:
        molnet.load_w411(reload=False, **arguments)
    assert field in str(info.value.field) and info.value.remedy


def test_basis_error_names_the_entry():
    with pytest.raises(InputError) as info:
        molnet.load_atomic_ip(basis="6-311++G(3df,3pd)", reload=False)
    assert info.value.entry == "atomic-ip:He" and "He" in str(info.value)


def test_unknown_xcnn_data_set_and_h2_target():
    with pytest.raises(InputError, match="did you mean .dataset"):
        molnet.load_xcnn(dataset="dataset4")
    with pytest.raises(InputError, match="binding or total"):
        molnet.load_h2_curve(target="free")
    with pytest.raises(TypeError, match="multireferences"):
        molnet.load_w411(multireferences=False)


def test_featurizers_by_name_and_object():
    for featurizer in (None, "dft", "DFT", DFTFeaturizer()):
        assert len(molnet.load_atomic_ea(featurizer=featurizer)[1][2]) == 10


def test_what_killed_makers_of_a_data_set_left_goes_after_a_day(tmp_path):
    for name, age in ((".draft-old", 90_000), (".draft-new", 600), ("mine", 90_000)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half.npz").write_bytes(b"half")
        os.utime(tmp_path / name, (time.time() - age,) * 2)

    def make(draft):
        (draft / "whole").write_text("it")

    assert made_once(tmp_path, "key", make, lambda f: (f / "whole").read_text()) == "it"
    assert {p.name for p in tmp_path.iterdir()} == {"key", ".draft-new", "mine"}


class TestLocation:
    def test_checkout_first_then_the_installed_copy(self, tmp_path, monkeypatch):
        package = tmp_path / "site-packages" / "deepchem_dft"
        installed, beside = package / "_datasets", package.parent / "datasets"
        monkeypatch.setattr(location, "_PACKAGE", package)
        with pytest.raises(InputError, match="reinstall"):
            datasets_dir()
        installed.mkdir(parents=True)
        beside.mkdir()
        (installed / "w4-11.yaml").write_text("")
        assert datasets_dir() == installed  # another package's site-packages/datasets is not ours
        (beside / "w4-11.yaml").write_text("")
        assert datasets_dir() == beside

    def test_the_package_reads_its_own_checkout(self):
        assert (datasets_dir() / "README.md").is_file()
        assert datasets_dir().name in ("datasets", "_datasets")
