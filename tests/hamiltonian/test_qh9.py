"""QH9's SQLite files: round trips, the layout itself, and files that are damaged."""

import sqlite3

import numpy as np
import pytest

from deepchem_dft.errors import InputError
from deepchem_dft.hamiltonian.files.qh9 import QH9File, write_qh9, write_qh9_dynamic
from deepchem_dft.hamiltonian.reference import Reference
from deepchem_dft.units import ANGSTROM_TO_BOHR

from .conftest import GEOMETRIES, made


@pytest.fixture
def stable(samples, tmp_path):
    path = tmp_path / "QH9Stable.db"
    write_qh9(path, samples)
    return path


@pytest.fixture
def dynamic(tmp_path):
    path = tmp_path / "QH9Dynamic_300k.db"
    write_qh9_dynamic(path, [[made(name, shift=0.1 * i) for i in range(3)] for name in ("water", "HHeBeB")])
    return path


def test_round_trip_of_all_elements(stable, samples):
    file = QH9File(stable)
    assert not file.dynamic and file.atoms.tolist() == [4, 6, 3, 5, 3]
    for index, (read, sample) in enumerate(zip(file, samples)):
        assert read.numbers.tolist() == sample.numbers.tolist()
        assert (read.xc, read.energy, read.overlap, read.name) == ("b3lyp5", None, None, str(index))
        np.testing.assert_allclose(read.positions, sample.positions, atol=1e-12)
        np.testing.assert_array_equal(read.hamiltonian, sample.hamiltonian)


def test_round_trip_of_trajectories(dynamic):
    file = QH9File(dynamic)
    assert file.dynamic and file.molecules.tolist() == [0, 0, 0, 1, 1, 1]
    assert [sample.name for sample in file] == ["0-0", "0-1", "0-2", "1-0", "1-1", "1-2"]
    expected = made("HHeBeB", shift=0.1)
    np.testing.assert_array_equal(file[4].positions, expected.positions)  # Bohr in the file, too
    np.testing.assert_array_equal(file[4].hamiltonian, expected.hamiltonian)
    assert file[4].energy == expected.energy


def test_the_layout_is_what_the_published_reader_takes(stable):
    """int32, float64 and float64 out of rows by their place, with 5 and 14 orbitals per atom."""
    with sqlite3.connect(stable) as connection:
        rows = connection.execute("select * from data").fetchall()
    ident, count, atoms, positions, matrix = rows[4]
    numbers = np.frombuffer(atoms, np.int32)
    assert (ident, count, numbers.tolist()) == (4, 3, [8, 1, 1])
    positions = np.frombuffer(positions, np.float64).reshape(count, 3)
    np.testing.assert_allclose(positions * ANGSTROM_TO_BOHR, GEOMETRIES["water"][1], atol=1e-12)
    nao = sum(5 if z <= 2 else 14 for z in numbers)
    np.testing.assert_array_equal(
        np.frombuffer(matrix, np.float64).reshape(nao, nao), Reference(made("water")).core
    )


def test_the_dynamic_layout_is_what_the_published_reader_takes(dynamic):
    with sqlite3.connect(dynamic) as connection:
        rows = connection.execute("select * from data").fetchall()
    row = rows[4]
    assert int(np.frombuffer(row[0], dtype=np.int64)[0]) == 1
    assert (row[1], row[2], row[8], row[10]) == (1, 4, 50.0, 1)
    assert np.frombuffer(row[3], np.int32).tolist() == [1, 2, 4, 5]
    assert len(np.frombuffer(row[9], np.float64)) == made("HHeBeB").nao ** 2


@pytest.mark.parametrize(
    "change, field, problem",
    [
        ("Ham = x'0000'", "Ham", "2 bytes, not 4608 for 24 orbitals in def2-svp"),
        ("Ham = NULL", "Ham", "no array"),
        ("pos = 'text'", "pos", "no array"),
        ("pos = zeroblob(64)", "pos", "64 bytes, not 72"),
        ("Z = zeroblob(12)", "numbers", "no element"),
        ("Z = x'080000000100000001'", "Z", "9 bytes, not 12"),
        ("Z = x'c80000000100000001000000'", "numbers", "no element"),
        ("N = 4", "Z", "12 bytes, not 16"),
        ("N = NULL", "N", "None is not a number of atoms"),
    ],
)
def test_a_bad_row_is_named(stable, change, field, problem):
    with sqlite3.connect(stable) as connection:
        connection.execute(f"UPDATE data SET {change} WHERE id = 4")
    with pytest.raises(InputError, match=problem) as caught:
        QH9File(stable)[4]
    assert caught.value.file == str(stable) and caught.value.entry.startswith("row 4")
    assert caught.value.field == field


def test_numbers_that_are_not_finite_or_symmetric(stable):
    for value, problem in ((np.nan, "not finite"), (1.0, "not symmetric")):
        matrix = np.eye(24)
        matrix[3, 7] = value
        with sqlite3.connect(stable) as connection:
            connection.execute("UPDATE data SET Ham = ? WHERE id = 4", (matrix.tobytes(),))
        with pytest.raises(InputError, match=problem):
            QH9File(stable)[4]


@pytest.mark.parametrize("column", ["N", "Z", "pos", "Ham"])
def test_a_missing_column(stable, column):
    with sqlite3.connect(stable) as connection:
        connection.execute(f"ALTER TABLE data DROP COLUMN {column}")
    with pytest.raises(InputError, match=f"no column '{column}'") as caught:
        QH9File(stable)
    assert (caught.value.file, caught.value.field) == (str(stable), column)


def test_what_did_not_converge_is_no_sample(dynamic):
    with sqlite3.connect(dynamic) as connection:
        connection.execute("UPDATE data SET converged = 0 WHERE geo_id = 2")
    with pytest.raises(InputError, match="did not converge") as caught:
        QH9File(dynamic)[2]
    assert caught.value.entry == "row 3 (id 0)"


def test_another_basis_than_the_files(stable):
    with pytest.raises(InputError, match="4608 bytes, not 392 for 7 orbitals in sto-3g") as caught:
        QH9File(stable, basis="sto-3g")[4]
    assert "basis" in caught.value.remedy


@pytest.mark.parametrize("damage", ["text", "cut", "table", "rows"])
def test_a_file_that_is_no_database(stable, damage):
    if damage == "text":
        stable.write_text("no database at all, but text that is long enough " * 10)
    elif damage == "cut":
        stable.write_bytes(stable.read_bytes()[:5000])
    else:
        with sqlite3.connect(stable) as connection:
            connection.execute("DROP TABLE data" if damage == "table" else "DELETE FROM data")
    with pytest.raises(InputError) as caught:
        list(QH9File(stable))
    assert caught.value.file == str(stable)
