"""MD17's ASE databases: round trips, what ASE itself sees, and files that are damaged."""

import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import block_diag
from scipy.spatial.transform import Rotation

from deepchem_dft.errors import InputError
from deepchem_dft.hamiltonian.files.md17 import MD17File, write_md17
from deepchem_dft.hamiltonian.reference import Reference
from deepchem_dft.hamiltonian.sample import HamiltonianSample
from deepchem_dft.units import ANGSTROM_TO_BOHR

from .conftest import GEOMETRIES, made
from .harmonics import rotation

#: ORCA's order by PySCF's labels.
NAMES = {"s": [""], "p": ["z", "x", "y"], "d": ["z^2", "xz", "yz", "x2-y2", "xy"]}


@pytest.fixture
def database(samples, tmp_path):
    path = tmp_path / "schnorb_hamiltonian_water.db"
    write_md17(path, samples)
    return path


def test_round_trip_of_all_elements(database, samples):
    file = MD17File(database)
    assert len(file) == len(samples)
    assert {int(z) for sample in file for z in sample.numbers} == {*range(1, 10), *range(11, 19)}
    for read, sample in zip(file, samples):
        assert read.numbers.tolist() == sample.numbers.tolist()
        assert (read.basis, read.xc, read.energy) == ("def2-svp", "pbe", sample.energy)
        np.testing.assert_allclose(read.positions, sample.positions, atol=1e-12)
        np.testing.assert_allclose(read.forces, sample.forces, rtol=1e-6)
        for name in ("hamiltonian", "overlap"):  # single precision, as the release has it
            np.testing.assert_allclose(getattr(read, name), getattr(sample, name), rtol=1e-6, atol=1e-7)


def test_what_ase_sees_is_the_order_of_the_release(database):
    """The matrix in the file, element by element, by the names PySCF gives its orbitals."""
    from ase.db import connect

    row = connect(database).get(id=5)
    assert row.numbers.tolist() == GEOMETRIES["water"][0]
    np.testing.assert_allclose(row.positions * ANGSTROM_TO_BOHR, GEOMETRIES["water"][1])
    assert set(row.data) == {"energy", "forces", "hamiltonian", "overlap"}
    assert row.data["energy"].shape == (1,)
    assert row.data["hamiltonian"].dtype == np.float32
    reference = Reference(made("water"))
    labels = [tuple(label[:3]) + (label[3],) for label in reference.mole.ao_labels(fmt=None)]
    order = []
    for atom, symbol, shell in dict.fromkeys(label[:3] for label in labels):
        order += [labels.index((atom, symbol, shell, name)) for name in NAMES[shell[-1]]]
    assert sorted(order) == list(range(24)) and order != sorted(order)
    np.testing.assert_allclose(
        row.data["hamiltonian"], reference.core[np.ix_(order, order)], rtol=1e-6, atol=1e-6
    )


def test_units_are_those_of_orca(database):
    """Hartree and Hartree/Angstrom in the file, Hartree/Bohr here."""
    from ase.db import connect

    row, read = connect(database).get(id=5), MD17File(database)[4]
    assert row.data["energy"][0] == read.energy == -10.25
    np.testing.assert_allclose(read.forces, row.data["forces"] / ANGSTROM_TO_BOHR)


def test_an_energy_offset_is_added_again(database):
    from ase.db import connect

    connect(database).metadata = {"energy_offset": -76.0}
    assert MD17File(database)[4].energy == -86.25


def test_a_converged_fock_matrix_comes_back_and_turns(tmp_path):
    """Hydrogen fluoride in two orientations: the matrices in the file, as ASE reads them, turn by
    textbook harmonics; what is read of them is PySCF's again."""
    from ase.db import connect

    turn = Rotation.random(random_state=1).as_matrix()
    along = np.array([[0, 0, 0], [0.3, 0.5, 1.7]])
    found = []
    for positions in (along, along @ turn.T):
        bare = HamiltonianSample([9, 1], positions, "def2-svp", xc="pbe")
        reference = Reference(bare)
        solution = reference.solve()
        found.append(
            replace(
                bare,
                hamiltonian=solution.hamiltonian,
                overlap=reference.overlap,
                energy=solution.energy,
                forces=np.zeros((2, 3)),
            )
        )
    write_md17(tmp_path / "hf.db", found)
    for read, sample in zip(MD17File(tmp_path / "hf.db"), found):
        np.testing.assert_allclose(read.hamiltonian, sample.hamiltonian, rtol=1e-6, atol=1e-7)
    here, there = (connect(tmp_path / "hf.db").get(id=i).data["hamiltonian"] for i in (1, 2))
    whole = block_diag(*(rotation(l, turn) for l in (0, 0, 0, 1, 1, 2, 0, 0, 1)))
    # The quadrature is not the same after a rotation: some 1e-5 Hartree.
    np.testing.assert_allclose(whole @ here @ whole.T, there, atol=1e-4)
    assert np.abs(here - there).max() > 0.1


def change(database, **data):
    """Replace the data of row 2 as ASE writes it; None removes a key."""
    from ase.db import connect

    db = connect(database)
    kept = {**db.get(id=2).data, **data}
    atoms = db.get_atoms(id=2)
    db.write(atoms, id=2, data={k: v for k, v in kept.items() if v is not None})


@pytest.mark.parametrize(
    "data, field, problem",
    [
        ({"overlap": None}, "overlap", "no 'overlap'"),
        ({"energy": None}, "energy", "no 'energy'"),
        ({"forces": np.zeros((2, 3))}, "forces", r"\(2, 3\), not \(6, 3\)"),
        ({"energy": np.zeros(2)}, "energy", "2 numbers"),
        ({"hamiltonian": np.full((75, 75), np.nan)}, "hamiltonian", "not finite"),
        ({"hamiltonian": np.zeros((75, 74))}, "hamiltonian", r"\(75, 74\)"),
        ({"hamiltonian": np.zeros((74, 74)), "overlap": np.eye(74)}, "hamiltonian", "74 orbitals"),
        ({"overlap": np.triu(np.ones((75, 75)))}, "overlap", "not symmetric"),
        ({"hamiltonian": "text"}, "hamiltonian", "not an array"),
    ],
)
def test_a_bad_row_is_named(database, data, field, problem):
    nao = MD17File(database)[1].nao
    data = {
        k: v[: nao + v.shape[0] - 75, : nao + v.shape[1] - 75]
        if isinstance(v, np.ndarray) and v.ndim == 2 and v.shape[0] > 70
        else v
        for k, v in data.items()
    }
    change(database, **data)
    file = MD17File(database)
    assert file[0].nao and file[2].nao
    with pytest.raises(
        InputError, match=problem.replace("75", str(nao)).replace("74", str(nao - 1))
    ) as caught:
        file[1]
    error = caught.value
    assert (error.file, error.entry, error.field) == (str(database), "row 2", field)


def test_a_row_that_is_no_encoding_of_ase(database):
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE systems SET data = ? WHERE id = 2", (b"\x00\x01rubbish",))
    with pytest.raises(InputError, match="cannot be decoded") as caught:
        MD17File(database)[1]
    assert (caught.value.entry, caught.value.field) == ("row 2", "data")


def test_another_basis_than_the_files(database):
    with pytest.raises(InputError, match="24 orbitals, and the molecule 7 in sto-3g") as caught:
        MD17File(database, basis="sto-3g")[4]
    assert (caught.value.file, caught.value.entry) == (str(database), "row 5")


@pytest.mark.parametrize("damage", ["text", "empty", "cut", "middle", "table"])
def test_a_file_that_is_no_database(database, damage):
    content = bytearray(database.read_bytes())
    if damage == "text":
        database.write_text("no database at all, but text that is long enough " * 10)
    elif damage == "empty":
        database.write_bytes(b"")
    elif damage == "cut":
        database.write_bytes(content[: len(content) // 3])
    elif damage == "middle":
        content[4096:] = b"\xff" * (len(content) - 4096)
        database.write_bytes(content)
    else:
        with sqlite3.connect(database) as connection:
            connection.execute("DROP TABLE systems")
    with pytest.raises(InputError) as caught:
        list(MD17File(database))
    assert caught.value.file == str(database)


def test_a_missing_file_is_not_created(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        MD17File(tmp_path / "absent.db")
    assert not list(tmp_path.iterdir())


def test_reading_leaves_the_file_alone(database):
    before = database.read_bytes()
    list(MD17File(database))
    assert database.read_bytes() == before
    assert [p.name for p in database.parent.iterdir()] == [database.name]


def test_what_is_no_row_of_such_a_file_is_not_written(samples, tmp_path):
    for change, field in (({"energy": None}, "energy"), ({"basis": "sto-3g"}, "basis")):
        with pytest.raises(InputError) as caught:
            write_md17(tmp_path / "a.db", [samples[0], replace(samples[1], **change)])
        assert (caught.value.entry, caught.value.field) == ("row 2", field)
        assert not list(tmp_path.iterdir())
