"""xyz files as people have them: what is read agrees with ASE and PySCF, the rest is refused."""

import gzip
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from pyscf import dft, gto

from deepchem_dft import KohnSham, Molecule
from deepchem_dft.data import DFTSystem
from deepchem_dft.errors import InputError
from deepchem_dft.molecule.geometry import parse_geometry, read_geometry
from deepchem_dft.molecule.reading.xyz import frames
from deepchem_dft.units import ANGSTROM_TO_BOHR

ROWS = ["O 0 0 0.1173", "H 0 0.7572 -0.4692", "H 0 -0.7572 -0.4692"]
WATER = np.array([[0, 0, 0.1173], [0, 0.7572, -0.4692], [0, -0.7572, -0.4692]])


def text(comment="water", rows=ROWS, count=None):
    return "\n".join([str(len(rows) if count is None else count), comment, *rows]) + "\n"


@pytest.fixture
def file(tmp_path):
    """Return ``f(content) -> path`` of an xyz file; text is written as UTF-8."""

    def make(content, name="w.xyz"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


def said(path):
    """Return what is read and every warning about it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = read_geometry(path)
    return found, " ".join(str(w.message) for w in caught)


EXTENDED = ["O 8 0 0 0.1173", "H 1 0 0.7572 -0.4692", "H 1 0 -0.7572 -0.4692"]


@pytest.mark.parametrize(
    "content",
    [
        text(),
        text("") + "\n\n \n",
        text().replace("\n", "\r\n"),
        text().replace("\n", "\r"),
        b"\xef\xbb\xbf" + text().encode(),
        text().encode("utf-16"),
        b"\xfe\xff" + text().encode("utf-16-be"),
        text("W\xe4rme").encode("latin-1"),
        text(rows=["8 0.0 0 1.173D-01", "1 0 7.572d-1 -.4692", "1 0 -7572E-4 -4.692e-01"]),
        text("Properties=species:S:1:pos:R:3"),
        text("Properties=species:S:1:Z:I:1:pos:R:3", EXTENDED),
        text("properties=Z:I:1:pos:R:3", ["8 0 0 0.1173", "1 0 0.7572 -0.4692", "1 0 -0.7572 -0.4692"]),
        text(
            'Properties=forces:R:3:pos:R:3:tag:L:1:species:S:1 pbc="F F F"',
            ["9 9 9 0 0 0.1173 T O", "9 9 9 0 0.7572 -0.4692 F H", "9 9 9 0 -0.7572 -0.4692 F H"],
        ),
        text('Lattice="9 0 0 0 9 0 0 0 9" pbc="F F F"'),
        text("energy: -76.1 gnorm: 0.003 charge_a=1"),
    ],
)
def test_water_however_it_is_written(file, content):
    found, warned = said(file(content))
    assert found.symbols == ["O", "H", "H"] and not warned
    assert (found.charge, found.spin) == (None, None)
    np.testing.assert_allclose(found.positions, WATER * ANGSTROM_TO_BOHR, rtol=1e-14)


def test_what_ase_writes_is_read_as_it_was(file, tmp_path):
    rng = np.random.default_rng(3)
    for trial in range(6):
        atoms = Atoms(numbers=rng.integers(1, 54, 5), positions=3 * rng.normal(size=(5, 3)))
        atoms.info.update(charge=int(rng.integers(-2, 3)), spin=int(rng.integers(0, 4)), energy=-1)
        atoms.set_tags(rng.integers(0, 9, 5))
        atoms.arrays["some forces"] = rng.normal(size=(5, 3))
        columns = list(rng.permutation(["symbols", "positions", "numbers", "tags"]))
        path = tmp_path / f"{trial}.extxyz"
        write(path, atoms, format="extxyz", columns=columns)
        found, warned = said(path)
        assert found.symbols == atoms.get_chemical_symbols() and not warned
        np.testing.assert_allclose(found.positions, atoms.positions * ANGSTROM_TO_BOHR, atol=2e-8)
        assert (found.charge, found.spin) == (atoms.info["charge"], atoms.info["spin"])


def test_columns_in_any_order_give_the_energy_of_pyscf(file):
    path = file(text("Properties=species:S:1:Z:I:1:pos:R:3", EXTENDED))
    mole = gto.M(atom="; ".join(ROWS), basis="sto-3g", verbose=0)
    reference = dft.RKS(mole, xc="pbe")
    reference.grids.level = 1
    energy = float(KohnSham(Molecule(path, "sto-3g", grid_level=1), "pbe").run().energy)
    assert energy == pytest.approx(reference.kernel(), abs=1e-6)
    assert energy == pytest.approx(-75.22553083, abs=1e-6)


@pytest.mark.parametrize(
    ("comment", "charge", "spin"),
    [
        ("charge=1 charge_a=1 mult=2", 1, 1),
        ("Charge: -1, Multiplicity: 1", -1, 0),
        ("an ion, charge = +2 | spin=2", 2, 2),
        ("charge='1' spin_multiplicity=\"4\"", 1, 3),
        ("charge=1- mult=3 spin=2 unpaired: 2", -1, 2),
        ("net_charge=1.0", 1, None),
        ("uhf=1", None, 1),
        ("spin=-1", None, 1),
        ("charge_a=1 discharge=2 my.charge=3", None, None),
    ],
)
def test_charge_and_multiplicity_of_the_comment(file, comment, charge, spin):
    found, warned = said(file(text(comment)))
    assert (found.charge, found.spin) == (charge, spin)
    assert not warned


def test_of_ase_columns_too(file):
    rows = [f"{row} {q} {m}" for row, q, m in zip(ROWS, (-0.3, 0.65, 0.65), (0.9, 0, 0.1))]
    spec = "Properties=species:S:1:pos:R:3:initial_charges:R:1:initial_magmoms:R:1"
    found, _ = said(file(text(spec, rows)))
    assert (found.charge, found.spin) == (1, 1)
    with pytest.raises(InputError, match="charge=0 of the comment line contradicts the column"):
        read_geometry(file(text(spec + " charge=0", rows)))
    with pytest.raises(InputError, match="no whole charge"):
        read_geometry(file(text(spec.rpartition(":initial_m")[0], [f"{row} 0.2" for row in ROWS])))


@pytest.mark.parametrize(
    ("comment", "message"),
    [
        ("charge 1", "'charge 1' of the comment line is not read"),
        ("S=1", "'S=1'"),
        ("q: -1", "'q: -1'"),
        ("charge: unknown", "charge 'unknown' of the comment line"),
        ("a spin density", "'spin'"),
    ],
)
def test_what_is_not_understood_is_said(file, comment, message):
    path = file(text(comment))
    found, warned = said(path)
    assert (found.charge, found.spin) == (None, None)
    assert message in warned and str(path) in warned and "write charge=1 mult=2" in warned


def test_further_columns_are_said_to_be_left_out(file):
    found, warned = said(file(text(rows=[f"{row} -0.4 1e-3" for row in ROWS])))
    np.testing.assert_allclose(found.positions, WATER * ANGSTROM_TO_BOHR, rtol=1e-14)
    assert "columns behind x, y, z are not read" in warned


def test_isotopes(file):
    found, warned = said(file(text("HD", ["H 0 0 0", "D 0 0 0.74"])))
    assert found.symbols == ["H", "H"] and "isotopes are not told apart" in warned
    with pytest.warns(UserWarning, match="tritium"):
        assert parse_geometry("T 0 0 0; T 0 0 1.4")[0] == ["H", "H"]


@pytest.mark.parametrize(
    ("content", "problem", "field"),
    [
        (
            text('Lattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3 pbc="T T T"'),
            "periodic",
            "Lattice",
        ),
        (text("Lattice='4 0 0 0 4 0 0 0 4'"), "periodic", "Lattice"),
        (text("pbc=T"), "periodic", "pbc"),
        (text('pbc="F F T"'), "periodic", "pbc"),
        (text('pbc="maybe"'), "neither true nor false", "pbc"),
        (text() + "H 0 0 5\n", "announces 3 atoms, but 'H 0 0 5' follows", "atoms"),
        (text(count=2), "announces 2 atoms, but 'H 0 -0.7572 -0.4692' follows", "atoms"),
        (text(count=4), "announces 4 atoms, there are 3", "atoms"),
        (text(count=4) + "\n\n", "announces 4 atoms, there are 3", "atoms"),
        (text(count=10**8), "there are 3", "atoms"),
        (text(count=-3), "'-3' is not a number of atoms", "atoms"),
        (text(count=0), "'0' is not a number of atoms", "atoms"),
        (text(count="3.0"), "'3.0' is not a number of atoms", "atoms"),
        (text(count="9" * 5000), "is not a number of atoms", "atoms"),
        (text() + text(), "several geometries", "geometry"),
        ("", "empty", "geometry"),
        (text().encode("utf-16-le"), "UTF-16 without a byte order mark", "text"),
        (b"\x89P\0\0NG", "binary", "text"),
        (text(rows=["O 0 0"]), "is not an element and x", "atoms"),
        (text(rows=["O 0 0 0 carbonyl"]), "is not an element and x", "atoms"),
        (text(rows=["1 8 0 0 0.1", "2 1 0 0 1"]), "which columns", "atoms"),
        (text(rows=["O 0,0 0,1173 0,5"]), "'0,0' of atom 1 is not a number", "geometry"),
        (text(rows=["O,0,0,0.5"]), "is not an element and x", "atoms"),
        (text(rows=["O 0 0 nan"]), "'nan'", "geometry"),
        (text(rows=["X 0 0 0"]), "ghost", "geometry"),
        (text(rows=["H 0 0 0", "H 0 0 0.01"]), "coincide", "geometry"),
        (text("charge=0.5"), "not a whole number", "charge"),
        (text("mult=0"), "multiplicity", "mult"),
        (text("charge=1 total_charge=2"), "contradict each other", "charge"),
        (text("mult=2 spin=0"), "contradict each other", "multiplicity"),
        (text("Properties=species:S:1:pos:R:3:Z:I:1"), "has 4 columns, but Properties name 5", "Properties"),
        (text("Properties=species:S:1:pos:R:2"), "has 2 columns, not 3", "Properties"),
        (text("Properties=species:S:1:forces:R:3"), "no positions", "Properties"),
        (text("Properties=pos:R:3:id:I:1"), "no elements", "Properties"),
        (text("Properties=species:S:1:pos:R:x"), "cannot be read", "Properties"),
        (text("Properties=pos:R:3:pos:R:3:species:S:1"), "cannot be read", "Properties"),
        (text("Properties=species:S:1:Z:I:1:pos:R:3", ["O 7 0 0 0"]), "said to be N and O", "atoms"),
    ],
)
def test_refusals(file, content, problem, field):
    path = file(content)
    with pytest.raises(InputError) as caught:
        Molecule(path, "sto-3g")
    error = caught.value
    assert problem in error.problem and error.remedy
    assert error.field == field and error.file == str(path)


def test_ways_to_name_a_file(file, tmp_path, monkeypatch):
    path = file(text())
    monkeypatch.chdir(tmp_path)
    zipped = tmp_path / "w.xyz.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    (tmp_path / "V.XYZ").write_text(text())
    for name in (path, str(path), "w.xyz", Path("w.xyz"), zipped, "V.XYZ", "./V.XYZ"):
        assert Molecule(name, "sto-3g").formula == "H2O"
    Path("folder.xyz").mkdir()
    for name, problem in (
        ("gone.xyz", "does not exist"),
        ("w.mol", "does not exist"),
        ("w.cif", "name of a file"),
        (Path("w.cif"), "no geometry is read from files"),
        ("data/w", "name of a file"),
        ("a\0.xyz", "null character"),
        (Path("folder.xyz"), "cannot be read"),
    ):
        with pytest.raises(InputError, match=problem):
            Molecule(name, "sto-3g")


def test_the_unit_is_angstrom_unless_told(file):
    path = file(text())
    np.testing.assert_allclose(parse_geometry(path)[1], WATER * ANGSTROM_TO_BOHR)
    np.testing.assert_allclose(parse_geometry(text())[1], WATER * ANGSTROM_TO_BOHR)
    np.testing.assert_allclose(parse_geometry(path, "bohr")[1], WATER)
    np.testing.assert_allclose(parse_geometry("\n".join(ROWS))[1], WATER)


def test_the_caller_is_right_and_a_difference_is_said(file):
    path = file(text("charge=1 mult=2"))
    cation = Molecule(path, "sto-3g")
    assert (cation.charge, cation.spin) == (1, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Molecule(path, "sto-3g", charge=1).spin == 1
    with pytest.warns(UserWarning, match=r"charge 0 is used, not the charge 1 that .*w\.xyz"):
        neutral = Molecule(path, "sto-3g", charge=0, spin=0)
    assert (neutral.charge, neutral.spin) == (0, 0)
    # A multiplicity taken for 2S is never silent: its parity is wrong.
    with pytest.raises(InputError, match="cannot have spin 2"):
        Molecule(file(text("charge=1 spin=2")), "sto-3g")


def test_yaml_holds_its_geometries(file):
    system = {"basis": "sto-3g", "geometry": text("charge=1 mult=2")}
    cation = DFTSystem(system)
    assert (cation.charge, cation.spin, cation.name) == (1, 1, "OH2+")
    np.testing.assert_allclose(cation.positions, WATER * ANGSTROM_TO_BOHR)
    with pytest.warns(UserWarning, match="charge 0 is used"):
        assert DFTSystem({**system, "charge": "0", "spin": 0}).charge == 0


def test_frames_are_counted_and_named():
    lines = (text("one") + "\n" + text("charge=1 mult=2")).splitlines()
    first, second = frames(lines, "t.xyz")
    assert (first.number, first.comment, second.number) == (1, "one", 2)
    assert second.read().charge == 1
    with pytest.raises(InputError, match=re.escape("t.xyz, entry 2")):
        list(frames([*lines[:5], "2", "", *ROWS], "t.xyz"))
