"""Geometry files on the command line: every command reads them the same way."""

import re

import pytest

SMALL = ("--xc", "pbe", "--basis", "sto-3g", "--grid-level", "1")
ROWS = "O 0 0 0.1173\nH 0 0.7572 -0.4692\nH 0 -0.7572 -0.4692\n"


def energy(text):
    return float(re.search(r"energy: +(\S+) Ha", text).group(1))


def test_charge_of_the_file_or_of_the_option(command, tmp_path):
    path = tmp_path / "cation.xyz"
    path.write_text("3\ncharge=1 charge_a=1 mult=2\n" + ROWS)
    found = command("scf", path, *SMALL, "-q")
    assert found.status == 0 and "charge +1, 2S = 1" in found.out and found.err == ""
    asked = command("scf", path, *SMALL, "--charge", "0", "--spin", "0")
    assert asked.status == 0 and "charge +0, 2S = 0" in asked.out
    assert f"warning: charge 0 is used, not the charge 1 that {path} gives" in asked.err
    assert energy(asked.out) == pytest.approx(-75.22553083, abs=1e-6)  # PySCF
    assert energy(found.out) - energy(asked.out) > 0.2


@pytest.mark.parametrize("name", ["scf", "optimize"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("3\nw\n" + ROWS + "H 0 0 5\n", "announces 3 atoms, but 'H 0 0 5' follows"),
        ("3\na\n" + ROWS + "3\nb\n" + ROWS, "several geometries"),
        ('3\nLattice="4 0 0 0 4 0 0 0 4" pbc="T T T"\n' + ROWS, "periodic systems are not supported"),
        ("-3\nw\n" + ROWS, "'-3' is not a number of atoms"),
    ],
)
def test_refusals_name_the_file(command, tmp_path, name, content, message):
    path = tmp_path / "w.xyz"
    path.write_text(content)
    outcome = command(name, path, *SMALL)
    assert outcome.status == 1 and outcome.out == ""
    assert outcome.err.startswith(f"error: {path}") and message in outcome.err


def test_what_optimize_writes_is_read_with_its_charge(command, tmp_path):
    path = tmp_path / "ion.xyz"
    small = ("--xc", "lda,vwn", "--basis", "sto-3g", "--grid-level", "0")
    first = command(
        "optimize", "H 0 0 0; H 0 0 2.1", *small, "--charge 1 --spin 1 --fmax 0.01", "--out", path
    )
    assert first.status == 0, first.err
    again = command("scf", path, *small)
    assert "charge +1, 2S = 1" in again.out
    assert energy(again.out) == pytest.approx(energy(first.out), abs=1e-6)


def test_a_file_that_a_data_file_names_is_missing(command, tmp_path):
    (tmp_path / "data.yaml").write_text(
        "format: deepchem_dft/1\nsource: own\ndefaults: {basis: sto-3g, unit: angstrom}\n"
        "entries:\n  - {name: w, type: energy, value: -1, molecule: {geometry: ../w.xyz}}\n"
    )
    outcome = command("data", "check", tmp_path / "data.yaml")
    assert outcome.status == 1
    text = "".join((outcome.out + outcome.err).split())
    assert f"{tmp_path}/data.yaml,entry1(w),field'molecule.geometry'" in text
    assert f"{tmp_path}/../w.xyz:thefiledoesnotexist" in text and "Remedy:checkthepath" in text
