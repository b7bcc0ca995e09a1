"""Bad files of property data: the error names file, record and field, and nothing is kept."""

import json

import pytest

from deepchem_dft import molnet
from deepchem_dft.errors import InputError

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def fails(cache):
    """Return ``f(load, path, file, entry, field, problem, ...)``, which checks all of these."""

    def check(load, path, file, entry, field, problem, **options):
        with pytest.raises(InputError) as caught:
            load(data_dir=path, **options)
        error = caught.value
        assert file in (error.file or "") and entry in (error.entry or ""), str(error)
        assert (error.field, problem in error.problem) == (field, True), str(error)
        assert not [p for p in cache.rglob("*") if p.is_file()]

    return check


def edit(path, old: str, new: str, count: int = 1) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, count), encoding="utf-8")


def cut(path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


class TestSummary:
    load = staticmethod(molnet.load_qmugs)

    @pytest.mark.parametrize(
        "old, new, entry, field, problem",
        [
            ("DFT_DIPOLE_TOT", "DIPOLE", "line 1", "DFT_DIPOLE_TOT", "there is no column"),
            ("1.7,1.7", "1.7,nan", "line 4 (CHEMBL2, conf_00)", "DFT_DIPOLE_TOT", "'nan' is not"),
            ("1.7,1.7", "1.7,", "line 4 (CHEMBL2, conf_00)", "DFT_DIPOLE_TOT", "there is no value"),
            ("-346.5,", "much,", "line 4", "DFT_TOTAL_ENERGY", "'much' is not a finite number"),
            ("[H]C([H])([H])C#N", "[Xx]C#N", "line 10 (CHEMBL7, conf_00)", "smiles", "[Xx]C#N"),
            ("[H]C([H])([H])C#N", "", "line 10 (CHEMBL7, conf_00)", "smiles", "RDKit cannot read ''"),
        ],
    )
    def test_a_bad_value(self, qmugs_csv, fails, old, new, entry, field, problem):
        edit(qmugs_csv / "summary.csv", old, new)
        fails(self.load, qmugs_csv, "summary.csv", entry, field, problem)

    def test_a_file_that_is_cut_off(self, qmugs_csv, fails):
        cut(qmugs_csv / "summary.csv", 0.95)
        fails(self.load, qmugs_csv, "summary.csv", "line 13", "smiles", "the line has 4 fields")

    def test_a_file_that_is_no_text(self, qmugs_csv, fails):
        (qmugs_csv / "summary.csv").write_bytes(bytes(range(256)))
        fails(self.load, qmugs_csv, "summary.csv", "", "text", "binary")

    def test_a_compressed_file_that_is_cut_off(self, qmugs_csv, fails):
        import gzip

        packed = gzip.compress((qmugs_csv / "summary.csv").read_bytes())
        (qmugs_csv / "summary.csv.gz").write_bytes(packed[:-20])
        fails(self.load, qmugs_csv / "summary.csv.gz", "summary.csv.gz", "", "text", "cut off")


class TestSDF:
    load = staticmethod(molnet.load_qmugs)

    @pytest.fixture
    def one(self, qmugs_sdf):
        return qmugs_sdf / "structures" / "CHEMBL4" / "conf_00.sdf"

    @pytest.mark.parametrize(
        "old, new, field, problem",
        [
            ("<DFT:DIPOLE>", "<DFT:DIPOL>", "DFT:DIPOLE", "the tag is missing"),
            ("2.2|0.0|0.0|2.2", "2.2|0.0|0.0|nan", "DFT:DIPOLE", "'nan' is not a finite number"),
            ("2.2|0.0|0.0|2.2", "2.2", "DFT:DIPOLE", "'2.2' is not x|y|z|total"),
            ("-248.1", "", "DFT:TOTAL_ENERGY", "there is no value"),
            (" N   0", " Xx  0", "atoms", "'Xx' (atom 2) is no element"),
            (" N   0", " F   0", "bonds", "no valid molecule"),
            (" 11 11", " 15 11", "atoms", "the MOL block cannot be read"),
        ],
    )
    def test_a_bad_record(self, qmugs_sdf, one, fails, old, new, field, problem):
        edit(one, old, new)
        fails(self.load, qmugs_sdf, "CHEMBL4/conf_00.sdf", "1", field, problem)

    @pytest.mark.parametrize("share, mark", [(0.3, "M  END"), (0.8, "$$$$"), (0.97, "$$$$")])
    def test_a_record_that_is_cut_off(self, qmugs_sdf, one, fails, share, mark):
        cut(one, share)
        fails(self.load, qmugs_sdf, "CHEMBL4/conf_00.sdf", "1", mark, "the record is cut off")

    @pytest.mark.parametrize("share", [0.3, 0.7, 0.9, 0.99, "at a member"])
    @pytest.mark.parametrize("suffix", ["tar.gz", "tar"])
    def test_an_archive_that_is_cut_off(self, qmugs_sdf, tmp_path, fails, suffix, share):
        import gzip
        import tarfile

        path, opened = tmp_path / f"structures.{suffix}", gzip.open if suffix == "tar.gz" else open
        with tarfile.open(path, "w:gz" if suffix == "tar.gz" else "w") as archive:
            archive.add(qmugs_sdf / "structures", "structures")
        if share == "at a member":  # whole members, and whole compression, but no end
            with tarfile.open(path) as archive:
                end = archive.getmembers()[-1].offset
            with opened(path, "rb") as stream:
                content = stream.read()[:end]
            with opened(path, "wb") as stream:
                stream.write(content)
        else:
            cut(path, share if suffix == "tar.gz" else 0.5 * share)  # half of so small a one is padding
        fails(self.load, path, f"structures.{suffix}", "", "data_dir", "cut off or damaged")


class TestQMOF:
    load = staticmethod(molnet.load_qmof)

    @pytest.mark.parametrize(
        "old, new, entry, field, problem",
        [
            ('"pld": 3.5', '"pld": NaN', "qmof-0000003", "info.pld", "'nan' is not"),
            ('"pld": 3.5', '"pld": null', "qmof-0000003", "info.pld", "there is no value"),
            ('"pld": 3.5', '"PLD": 3.5', "qmof-0000003", "info.pld", "the field is missing"),
            ('"qmof-0000003"', '"qmof-0000004"', "5", "qmof_id", "qmof-0000004 is there twice"),
            ('"qmof-0000003"', '"qmof-x"', "qmof-0000003", "qmof_id", "has no labels"),
            ('"qmof_id": "qmof-0000003"', '"id": 3', "4", "qmof_id", "there is no name"),
            (
                '}, {"qmof_id": "qmof-0000003"',
                '} {"qmof_id": "qmof-0000003"',
                "4",
                "items",
                "',' or ']' should stand where",
            ),
            ("[{", "{", "1", "items", "the file holds no list, but begins with '{'"),
        ],
    )
    def test_bad_labels(self, qmof, fails, old, new, entry, field, problem):
        edit(qmof / "qmof.json", old, new)
        fails(self.load, qmof, "qmof.json", entry, field, problem)

    @pytest.mark.parametrize(
        "old, new, entry, field, problem",
        [
            ('"element": "O"', '"element": "Ox"', "qmof-0000000", "sites", "'Ox' (atom 2)"),
            ('"occu": 1', '"occu": 0.5', "qmof-0000000", "structure.sites", "site 1 is not one whole"),
            ('"abc"', '"frac"', "qmof-0000000", "structure.sites", "site 1 is not one whole"),
            ('"abc": [0.5', '"abc": [NaN', "qmof-0000000", "sites", "not a finite number"),
            ("[4.0, 0, 0]", "[4.0, 0]", "qmof-0000000", "cell", "3 x 3 numbers"),
            ("[4.0, 0, 0]", "[0, 4.0, 0]", "qmof-0000000", "cell", "no volume"),
            ('"lattice"', '"box"', "qmof-0000000", "structure.lattice.matrix", "missing"),
            ('"qmof-0000009"', '"qmof-0000008"', "10", "qmof_id", "is there twice"),
        ],
    )
    def test_bad_structures(self, qmof, fails, old, new, entry, field, problem):
        edit(qmof / "qmof_structure_data.json", old, new)
        fails(self.load, qmof, "qmof_structure_data.json", entry, field, problem)

    @pytest.mark.parametrize("name", ["qmof.json", "qmof_structure_data.json"])
    @pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
    def test_a_file_that_is_cut_off(self, qmof, fails, name, share):
        items = json.loads((qmof / name).read_text())
        cut(qmof / name, share)
        size = (qmof / name).stat().st_size
        entry = str(1 + sum(len(json.dumps(items[:n])) <= size for n in range(1, 11)))
        problem = "the file holds no list" if share == 0 else "the file ends in the middle"
        fails(self.load, qmof, name, entry, "items", problem)

    def test_a_framework_without_structure(self, qmof, fails):
        path = qmof / "qmof_structure_data.json"
        path.write_text(json.dumps(json.loads(path.read_text())[:-1]))
        fails(self.load, qmof, path.name, "qmof-0000009", "qmof_id", "has no structure")

    def test_coincident_atoms(self, qmof, fails):
        edit(qmof / "qmof_structure_data.json", '"abc": [0.5, 0.5, 0.5]', '"abc": [0.01, 0, 0]')
        fails(self.load, qmof, "qmof_structure", "qmof-0000000", "sites", "atoms 1 and 2 coincide")


class TestOQMD:
    load = staticmethod(molnet.load_oqmd)

    @pytest.mark.parametrize(
        "old, new, field, problem",
        [
            ('"band_gap": 8.0', '"band_gap": null', "band_gap", "there is no value"),
            ('"band_gap": 8.0', '"band_gap": NaN', "band_gap", "'nan' is not a finite number"),
            ('"band_gap": 8.0', '"gap": 8.0', "band_gap", "the field is missing"),
            ('"Cl @ 0.508 0.5 0.5"', '"Cl @ 0.5 0.5"', "sites", "is not 'Si @ 0 0 0'"),
            ('"Cl @ 0.508 0.5 0.5"', '"(Cl0.5Br0.5) @ 0.5 0.5 0.5"', "sites", "is no element"),
            ('"Cl @ 0.508 0.5 0.5"', '"Cl @ 0.5 0.5 x"', "sites", "'x' is not a finite number"),
        ],
    )
    def test_a_bad_entry(self, oqmd, fails, old, new, field, problem):
        edit(oqmd / "page_1.json", old, new)
        fails(self.load, oqmd, "page_1.json", "4 (entry_id 16008, NaCl)", field, problem)

    def test_a_page_of_something_else(self, oqmd, fails):
        (oqmd / "page_1.json").write_text('{"detail": "Not found.", "status": [404]}')
        fails(self.load, oqmd, "page_1.json", "1", "data", "the file has no 'data'")

    @pytest.mark.parametrize("share, entry", [(0.15, "1"), (0.5, "4"), (0.995, "7")])
    def test_a_page_that_is_cut_off(self, oqmd, fails, share, entry):
        cut(oqmd / "page_1.json", share)
        fails(self.load, oqmd, "page_1.json", entry, "data", "ends in the middle")

    def test_isolated_atoms(self, oqmd, fails):
        cell = '"unit_cell": [[0, 20, 20], [20, 0, 20], [20, 20, 0]]'
        edit(
            oqmd / "page_1.json", '"unit_cell": [[0, 2.82, 2.82], [2.82, 0, 2.82], [2.82, 2.82, 0]]', cell, 4
        )
        fails(
            self.load,
            oqmd,
            "page_1.json",
            "(entry_id 16006, NaCl)",
            "sites",
            "no neighbour within 8 Angstrom",
        )


class TestSkipping:
    def test_bad_records_are_left_out_with_a_warning(self, oqmd):
        edit(oqmd / "page_1.json", '"band_gap": 8.0', '"band_gap": null')
        edit(oqmd / "page_1.json", '"Cl @ 0.509 0.5 0.5"', '"Cl"')
        edit(oqmd / "page_0.json", '"Cl @ 0.503 0.5 0.5"', '"Cl @ 0.01 0 0"')
        with pytest.warns(UserWarning, match="3 records left out; the first: .*page_0.json.*4"):
            _, (everything,), _ = molnet.load_oqmd(splitter=None, data_dir=oqmd, on_bad="skip")
        kept = [n for n in range(11) if n not in (3, 8, 9)]
        assert list(everything.ids) == [str(16000 + n) for n in kept]
        assert everything.y.ravel().tolist() == [0, 1, 2, 1, 2, 0, 1, 1]

    def test_frameworks_without_labels_or_structure(self, qmof):
        edit(qmof / "qmof.json", '"pld": 3.5', '"pld": null')
        path = qmof / "qmof_structure_data.json"
        path.write_text(json.dumps(json.loads(path.read_text())[:-1]))
        with pytest.warns(UserWarning, match="2 records left out; the first: .*qmof-0000003"):
            _, (everything,), _ = molnet.load_qmof(splitter=None, data_dir=qmof, on_bad="skip")
        assert len(everything) == 8

    def test_molecules(self, qmugs_csv):
        edit(qmugs_csv / "summary.csv", "1.7,1.7", "1.7,nan")
        edit(qmugs_csv / "summary.csv", "[H]C([H])([H])C#N", "[He]")
        with pytest.warns(UserWarning, match="2 records left out"):
            _, (everything,), _ = molnet.load_qmugs(splitter=None, data_dir=qmugs_csv, on_bad="skip")
        assert len(everything) == 8

    def test_a_file_that_is_cut_off_is_still_an_error(self, oqmd):
        cut(oqmd / "page_1.json", 0.5)
        with pytest.raises(InputError, match="ends in the middle"):
            molnet.load_oqmd(data_dir=oqmd, on_bad="skip")

    def test_nothing_left(self, oqmd):
        edit(oqmd / "page_0.json", '"Na @', '"Na', 99)
        with pytest.raises(InputError, match="no record that could be used"):
            molnet.load_oqmd(data_dir=oqmd / "page_0.json", on_bad="skip")
