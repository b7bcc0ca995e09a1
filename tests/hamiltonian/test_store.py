"""This package's own files: HDF5 of mixed molecules, and the journal that grows before it."""

import pickle
from dataclasses import replace

import h5py
import numpy as np
import pytest

from deepchem_dft.errors import InputError
from deepchem_dft.hamiltonian.files.journal import Journal
from deepchem_dft.hamiltonian.files.store import HamiltonianFile, write_samples
from deepchem_dft.hamiltonian.sample import MATRICES

SETTINGS = {"xc": "pbe", "temperatures": (300.0, 500.0)}


@pytest.fixture
def stored(samples, tmp_path):
    path = tmp_path / "mixed.h5"
    write_samples(path, (replace(s, core=s.hamiltonian, guess=2 * s.hamiltonian) for s in samples), SETTINGS)
    return path


def test_round_trip_of_mixed_molecules(stored, samples):
    file = HamiltonianFile(stored)
    assert (file.basis, file.xc, len(file)) == ("def2-svp", "pbe", 5)
    assert file.settings == {"xc": "pbe", "temperatures": [300.0, 500.0]}
    assert file.names.tolist() == [s.name for s in samples]
    for index in (4, 0, 3, 1, 2):
        read, sample = file[index], samples[index]
        for name in ("numbers", "positions", "hamiltonian", "overlap", "forces"):
            np.testing.assert_array_equal(getattr(read, name), getattr(sample, name))
        np.testing.assert_array_equal(read.guess, 2 * sample.hamiltonian)
        assert (read.energy, read.charge, read.name) == (sample.energy, 0, sample.name)


def test_the_file_explains_itself(stored):
    with h5py.File(stored) as file:
        assert file["hamiltonian"].attrs["unit"] == "Hartree"
        assert file["positions"].attrs["unit"] == "Bohr"
        assert len(file["hamiltonian"]) == file["matrix_end"][-1]


def test_files_open_again_in_another_process(stored):
    file = pickle.loads(pickle.dumps(HamiltonianFile(stored)))
    assert file[2].name == "NaAlS"


def test_what_is_not_there_stays_away(samples, tmp_path):
    write_samples(tmp_path / "a.h5", [replace(samples[4], overlap=None, energy=None, forces=None)])
    read = HamiltonianFile(tmp_path / "a.h5")[0]
    assert (read.overlap, read.core, read.guess, read.energy, read.forces) == (None,) * 5


@pytest.mark.parametrize(
    "change, field", [({"xc": "b3lyp"}, "xc"), ({"overlap": None}, "samples"), ({"basis": "sto-3g"}, "basis")]
)
def test_samples_that_do_not_go_together(samples, tmp_path, change, field):
    with pytest.raises(InputError) as caught:
        write_samples(tmp_path / "a.h5", [samples[0], replace(samples[1], **change)])
    assert (caught.value.entry, caught.value.field) == ("1 (LiCNOF)", field)
    assert not list(tmp_path.iterdir())


def test_no_samples_are_no_file(tmp_path):
    with pytest.raises(InputError, match="no sample"):
        write_samples(tmp_path / "a.h5", [])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "damage, problem",
    [
        ("text", "no HDF5 file"),
        ("cut", "no HDF5 file|cut off"),
        ("format", "the format is"),
        ("missing", "missing or damaged"),
        ("short", "different lengths"),
        ("triangle", "no triangle"),
        ("atoms", r"\(0,\)|shape|list of positive"),
    ],
)
def test_a_damaged_file(stored, damage, problem):
    if damage == "text":
        stored.write_text("nothing of the kind")
    elif damage == "cut":
        stored.write_bytes(stored.read_bytes()[:9000])
    else:
        with h5py.File(stored, "r+") as file:
            if damage == "format":
                file.attrs["format"] = "something else"
            elif damage == "missing":
                del file["positions"]
            elif damage == "short":
                file["charge"].resize(3, axis=0)
            elif damage == "triangle":
                file["matrix_end"][0] = 7
            else:
                file["numbers"].resize(3, axis=0)
    with pytest.raises(InputError, match=problem) as caught:
        list(HamiltonianFile(stored))
    assert caught.value.file == str(stored)
    if damage == "format":
        assert caught.value.field == "format"
    if damage == "triangle":
        assert (caught.value.entry, caught.value.field) == ("0 (HHeBeB)", "hamiltonian")


def test_a_basis_that_is_not_the_files(stored):
    with h5py.File(stored, "r+") as file:
        file.attrs["basis"] = "sto-3g"
    with pytest.raises(InputError, match="in sto-3g") as caught:
        HamiltonianFile(stored)[4]
    assert caught.value.field in MATRICES and caught.value.entry == "4 (water)"


class TestJournal:
    def written(self, path, count=3):
        with Journal(path, SETTINGS) as journal:
            for number in range(count):
                journal.append({"number": number, "values": np.arange(number), "name": "x"})
        return path.read_bytes()

    def test_cut_at_any_byte_it_has_the_whole_records(self, tmp_path):
        path = tmp_path / "a.part"
        sizes = []
        for count in range(4):
            path.unlink(missing_ok=True)
            sizes.append(len(self.written(path, count)))
        content = self.written_again(path)
        for cut in [*range(sizes[2] - 3, sizes[2] + 25), sizes[3] - 1, sizes[3]]:
            path.write_bytes(content[:cut])
            with Journal(path, SETTINGS, resume=True) as journal:
                whole = sum(cut >= size for size in sizes[1:])
                assert journal.count == whole
                journal.append({"number": 99})
                found = [int(record["number"]) for record in journal.records()]
                assert found == [*range(whole), 99]

    def written_again(self, path):
        path.unlink()
        return self.written(path)

    def test_a_changed_byte_ends_what_is_believed(self, tmp_path):
        path = tmp_path / "a.part"
        content = bytearray(self.written(path))
        content[-40] ^= 1
        path.write_bytes(content)
        with Journal(path, SETTINGS, resume=True) as journal:
            assert journal.count == 2

    def test_misuse(self, tmp_path):
        path = tmp_path / "a.part"
        self.written(path)
        with pytest.raises(InputError, match="the file exists"):
            Journal(path, SETTINGS)
        with pytest.raises(InputError, match=r"begun with 'pbe' and not 'b3lyp'") as caught:
            Journal(path, {**SETTINGS, "xc": "b3lyp"}, resume=True)
        assert caught.value.field == "xc"
        with Journal(path, SETTINGS, resume=True), pytest.raises(InputError, match="another proc"):
            Journal(path, SETTINGS, resume=True)
        path.write_text("some other file")
        with pytest.raises(InputError, match="no file of an unfinished run"):
            Journal(path, SETTINGS, resume=True)
        assert path.read_text() == "some other file"
