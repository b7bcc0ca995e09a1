"""QMugs, QMOF and OQMD from files in the layouts of their releases."""

import gzip
import inspect
import json
import shutil
import tarfile

import deepchem as dc
import numpy as np
import pytest

# The build for Python 3.12 has it in dc.models only where transformers is installed.
from deepchem.models.fcnet import MultitaskClassifier

from deepchem_dft import molnet
from deepchem_dft.data.properties.records import Crystal
from deepchem_dft.errors import InputError
from deepchem_dft.molnet import property_loader
from deepchem_dft.units import HARTREE_TO_EV

pytestmark = pytest.mark.usefixtures("cache")


@pytest.mark.parametrize("name", ["load_qmugs", "load_qmof", "load_oqmd", "load_nci"])
def test_signature_is_that_of_moleculenet(name):
    ours = list(inspect.signature(getattr(molnet, name)).parameters)[:6]
    assert ours == list(inspect.signature(dc.molnet.load_delaney).parameters)[:6]
    assert "References" in getattr(molnet, name).__doc__


class TestQMugs:
    @pytest.fixture(params=["csv", "csv.gz", "folder", "tar.gz", "one sdf"])
    def download(self, request, qmugs_csv, qmugs_sdf, tmp_path):
        if request.param == "csv":
            return qmugs_csv
        if request.param == "csv.gz":
            plain = qmugs_csv / "summary.csv"
            (qmugs_csv / "summary.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
            plain.unlink()
            return qmugs_csv
        if request.param == "folder":
            return qmugs_sdf
        if request.param == "tar.gz":
            with tarfile.open(tmp_path / "structures.tar.gz", "w:gz") as archive:
                archive.add(qmugs_sdf / "structures", "structures")
            return tmp_path / "structures.tar.gz"
        records = [p.read_text() for p in sorted((qmugs_sdf / "structures").rglob("*.sdf"))]
        (tmp_path / "all.sdf").write_text("".join(records))
        return tmp_path / "all.sdf"

    def test_every_form_of_the_release_gives_the_same(self, download):
        tasks, (everything,), transformers = molnet.load_qmugs(
            splitter=None, featurizer="ecfp", data_dir=download, task=["dipole", "gap", "energy"]
        )
        assert tasks == ["dipole", "gap", "energy"] and transformers == []
        assert everything.X.shape == (10, 2048) and everything.y.dtype == np.float64
        found = dict(zip(everything.ids, everything.y, strict=True))
        # Benzene has two conformers, of which the second is the lower one.
        assert found["c1ccccc1"] == pytest.approx([0.0, 0.4 * HARTREE_TO_EV, -232.01])
        assert found["CC#N"] == pytest.approx([4.1, 0.45 * HARTREE_TO_EV, -132.6])

    def test_levels_and_conformers(self, qmugs_csv):
        def dipoles(**options):
            _, (everything,), _ = molnet.load_qmugs(
                "ecfp", None, data_dir=qmugs_csv, task="dipole", **options
            )
            return sorted(everything.y.ravel())

        dft = dipoles()
        assert len(dft) == 10 and len(dipoles(conformers="all")) == 12
        assert dipoles(level="GFN2") == pytest.approx([d + 0.5 for d in dft])

    def test_polar_means_above_the_median_of_the_training_set(self, qmugs_csv):
        tasks, parts, (classes,) = molnet.load_qmugs(data_dir=qmugs_csv)
        _, values, _ = molnet.load_qmugs(data_dir=qmugs_csv, task="dipole")
        assert tasks == ["polar"] and tuple(map(len, parts)) == (8, 1, 1)
        assert [list(p.ids) for p in parts] == [list(v.ids) for v in values]
        assert classes.thresholds == (np.median(values[0].y),)
        for part, value in zip(parts, values, strict=True):
            assert part.y.tolist() == (value.y > classes.thresholds[0]).astype(float).tolist()
        assert isinstance(parts[0].X[0], dc.feat.GraphData)

    def test_a_scaffold_is_in_one_part_only(self, qmugs_csv):
        _, parts, _ = molnet.load_qmugs(data_dir=qmugs_csv, conformers="all")
        benzenes = [sum("c1ccccc1" in smiles for smiles in part.ids) for part in parts]
        assert sorted(benzenes) == [0, 0, 4] and sum(map(len, parts)) == 12

    def test_threshold_and_transformers(self, qmugs_csv):
        _, (train, _, _), (classes, _) = molnet.load_qmugs(
            data_dir=qmugs_csv, threshold=2.5, transformers=["balancing"], featurizer="ecfp"
        )
        assert classes.thresholds == (2.5,)
        polar = train.y.ravel() == 1
        assert 0 < polar.sum() < len(train) / 2
        assert train.w[polar].sum() == pytest.approx(train.w[~polar].sum())
        _, (train, _, _), (scale,) = molnet.load_qmugs(
            data_dir=qmugs_csv, task="gap", transformers=["normalization"], featurizer="ecfp"
        )
        assert train.y.mean() == pytest.approx(0, abs=1e-12)
        assert train.y.std() == pytest.approx(1)
        assert scale.untransform(train.y).min() == pytest.approx(0.36 * HARTREE_TO_EV)

    def test_a_model_learns_and_is_scored_with_the_transformers(self, qmugs_csv):
        tasks, (train, _, test), transformers = molnet.load_qmugs("ecfp", data_dir=qmugs_csv)
        model = MultitaskClassifier(len(tasks), 2048, layer_sizes=[16])
        model.fit(train, nb_epoch=100)
        metric = dc.metrics.Metric(dc.metrics.accuracy_score)
        assert model.evaluate(train, [metric], transformers)["accuracy_score"] == 1
        assert model.predict(test).shape == (1, 1, 2)

    def test_the_second_time_nothing_is_read(self, qmugs_csv, monkeypatch, cache):
        first = molnet.load_qmugs(data_dir=qmugs_csv)
        with monkeypatch.context() as patch:
            patch.setattr(property_loader.PropertyLoader, "_fill", None)
            again = molnet.load_qmugs(data_dir=qmugs_csv)
        assert again[2][0].thresholds == first[2][0].thresholds
        assert (again[1][0].y == first[1][0].y).all()
        text = (qmugs_csv / "summary.csv").read_text()
        (qmugs_csv / "summary.csv").write_text(text.replace("1.7,1.7", "9.7,9.7"))
        assert molnet.load_qmugs(data_dir=qmugs_csv, task="dipole")[1][0].y.max() == 9.7
        assert not list(cache.rglob(".draft*"))

    def test_shards_do_not_change_the_data(self, qmugs_csv, monkeypatch):
        whole = molnet.load_qmugs("ecfp", None, data_dir=qmugs_csv, task="gap", reload=False)
        monkeypatch.setattr(property_loader, "SHARD", 3)
        parts = molnet.load_qmugs("ecfp", None, data_dir=qmugs_csv, task="gap", reload=False)
        assert parts[1][0].get_number_shards() == 4
        assert (parts[1][0].X == whole[1][0].X).all() and (parts[1][0].y == whole[1][0].y).all()


class TestQMOF:
    def test_pores_by_their_limiting_diameter(self, qmof):
        tasks, parts, (classes,) = molnet.load_qmof(data_dir=qmof)
        assert tasks == ["pore"] and tuple(map(len, parts)) == (8, 1, 1)
        assert classes.classes == ("narrow", "wide")
        for part in parts:
            diameters = np.array([2.0 + 0.5 * int(name[5:], 16) for name in part.ids])
            assert part.y.ravel().tolist() == (diameters > classes.thresholds[0]).tolist()
            assert part.X[0].node_features.shape == (2, 103)

    def test_numbers(self, qmof):
        _, (everything,), _ = molnet.load_qmof("raw", None, data_dir=qmof, task=["pld", "lcd", "band_gap"])
        assert everything.y[4].tolist() == pytest.approx([4.0, 8.0, 1.2])
        crystal = everything.X[4]
        assert isinstance(crystal, Crystal) and crystal.numbers.tolist() == [30, 8]
        assert crystal.positions[1] == pytest.approx([2.4] * 3)

    def test_cavities_with_a_threshold_in_angstrom(self, qmof):
        _, (everything,), _ = molnet.load_qmof(splitter=None, data_dir=qmof, task="cavity", threshold=6.0)
        assert everything.y.ravel().tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 1, 1]

    def test_compressed_files(self, qmof):
        for name in ("qmof.json", "qmof_structure_data.json"):
            (qmof / f"{name}.gz").write_bytes(gzip.compress((qmof / name).read_bytes()))
            (qmof / name).unlink()
        assert len(molnet.load_qmof(splitter=None, data_dir=qmof)[1][0]) == 10


class TestOQMD:
    def test_metals_semiconductors_insulators(self, oqmd):
        tasks, (everything,), (classes,) = molnet.load_oqmd(splitter=None, data_dir=oqmd)
        assert tasks == ["conduction"]
        assert classes.classes == ("metal", "semiconductor", "insulator")
        # The gaps are 0, 1.1, 5, 0, 2.9, 3.1, 0, 0.4, 8, 0, 3; the overlap of the pages is gone.
        assert everything.y.ravel().tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1]
        assert list(everything.ids) == [str(16000 + n) for n in range(11)]

    def test_other_thresholds(self, oqmd):
        _, (everything,), _ = molnet.load_oqmd(splitter=None, data_dir=oqmd, threshold=[0.5, 4.0])
        assert everything.y.ravel().tolist() == [0, 1, 2, 0, 1, 1, 0, 0, 2, 0, 1]

    def test_formation_energies_from_one_file_or_a_bare_list(self, oqmd, tmp_path):
        entries = json.loads((oqmd / "page_0.json").read_text())["data"]
        (tmp_path / "list.json").write_text(json.dumps(entries))
        for path in (oqmd / "page_0.json", tmp_path / "list.json"):
            _, (everything,), _ = molnet.load_oqmd(
                splitter=None, data_dir=path, task=["formation_energy", "stability"]
            )
            assert everything.y[3] == pytest.approx([-1.7, 0.03])


class TestMisuse:
    @pytest.mark.parametrize(
        "options, message",
        [
            ({"task": "polarity"}, "did you mean 'polar'"),
            ({"task": ["polar", "gap"]}, "do not go together"),
            ({"task": "gap", "threshold": 1.0}, "only classes have a threshold"),
            ({"threshold": [1.0, 2.0]}, "does not separate 2 classes"),
            ({"threshold": float("nan")}, "does not separate 2 classes"),
            ({"threshold": 99.0}, "all training samples are in one class"),
            ({"splitter": "published"}, "use one of scaffold, random"),
            ({"featurizer": "crystal"}, "use one of molgraphconv, dmpnn"),
            ({"transformers": ["squared"]}, "no transformer"),
            ({"level": "HF"}, "use DFT or GFN2"),
            ({"on_bad": "ignore"}, "'raise' or 'skip'"),
        ],
    )
    def test_options(self, qmugs_csv, options, message, cache):
        with pytest.raises(InputError, match=message):
            molnet.load_qmugs(data_dir=qmugs_csv, **options)
        assert not [p for p in cache.rglob("*") if p.is_file()]

    @pytest.mark.parametrize("load", [molnet.load_qmugs, molnet.load_qmof, molnet.load_oqmd])
    def test_without_files(self, load, tmp_path):
        with pytest.raises(InputError, match="does not come with this package.*download it"):
            load()
        with pytest.raises(InputError, match="no such file or folder"):
            load(data_dir=tmp_path / "nowhere")
        (tmp_path / "empty").mkdir()
        with pytest.raises(InputError, match="there is no"):
            load(data_dir=tmp_path / "empty")

    def test_crystals_have_no_scaffold(self, qmof):
        with pytest.raises(InputError, match="use one of random, index"):
            molnet.load_qmof(data_dir=qmof, splitter="scaffold")

    def test_a_cache_that_cannot_be_written_is_no_error(self, oqmd, tmp_path):
        (tmp_path / "file").write_text("")
        loaded = molnet.load_oqmd(splitter=None, data_dir=oqmd, save_dir=tmp_path / "file" / "x")
        assert len(loaded[1][0]) == 11
        shutil.rmtree(loaded[1][0].data_dir)
