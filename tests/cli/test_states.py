"""A doubtful state is named wherever its energy is printed, and can be asked for or against."""

import csv
import re

import pytest

from deepchem_dft import KohnSham, Molecule

FAR = "H 0 0 0; H 0 0 9"
SMALL = ("--basis", "sto-3g", "--grid-level", "0", "--xc", "pbe")


@pytest.fixture(scope="module")
def atoms() -> float:
    """Two hydrogen atoms, Ha."""
    atom = Molecule("H 0 0 0", "sto-3g", spin=1, grid_level=0)
    return 2 * float(KohnSham(atom, "pbe").run().energy)


def energy(text: str) -> float:
    return float(re.search(r"energy: +(\S+) Ha", text).group(1))


def test_scf_tells_of_the_lower_solution_and_finds_it(command, atoms):
    closed = command("scf", FAR, *SMALL)
    assert closed.status == 0 and "restricted, closed shell" in closed.out
    assert "NOTE:" in closed.out and "an unrestricted solution lies" in closed.out
    for option in ("--unrestricted", "--broken-symmetry"):
        free = command("scf", FAR, *SMALL, option)
        assert energy(free.out) == pytest.approx(atoms, abs=1e-3) and "NOTE:" not in free.out
        assert float(re.search(r"unrestricted, <S.2> = (\S+) ", free.out).group(1)) > 0.99
    stable = command("scf", FAR, *SMALL, "--restricted", "--stability")
    assert energy(stable.out) == pytest.approx(energy(closed.out), abs=1e-6)
    assert "minimum (lowest eigenvalue" in stable.out


def test_what_excludes_itself(command):
    outcome = command("scf", FAR, *SMALL, "--restricted", "--broken-symmetry")
    assert outcome.status == 1 and "cannot be antiparallel" in outcome.err


def test_a_negative_gap_has_a_word(command):
    outcome = command("scf", "N 0 0 0; N 0 0 2.1", "--spin", "6", *SMALL)
    assert re.search(r"gap: +-\d", outcome.out)
    assert "of the other spin: another spin than 2S = 6 may be lower" in outcome.out


def test_a_curve_is_smooth_and_says_so(command, tmp_path, atoms):
    table = tmp_path / "far.csv"
    outcome = command(
        "curve", "H 0 0 0; H 0 0 {R}", *SMALL, "--start 10 --stop 40 --points 3 --jobs 1", "--out", table
    )
    assert outcome.out.count("an unrestricted solution lies") == 1 and "(3 points;" in outcome.out
    rows = list(csv.reader(table.open()))
    assert rows[0][-1] == "pbe_notes" and all("unrestricted" in row[-1] for row in rows[1:])
    values = [float(row[1]) for row in rows[1:]]
    assert max(values) - min(values) < 2e-3
    free = command(
        "curve", "H 0 0 0; H 0 0 {R}", *SMALL, "--start 10 --stop 40 --points 2 --jobs 1 --unrestricted"
    )
    assert "NOTE" not in free.out
    for line in free.out.splitlines()[1:3]:
        assert float(line.split()[1]) == pytest.approx(atoms, abs=2e-4)


def test_entries_with_such_a_system(command, tmp_path):
    file = tmp_path / "far.yaml"
    file.write_text(
        "format: deepchem_dft/1\nsource: invented\ndefaults: {basis: sto-3g, energy_unit: Ha}\n"
        "systems:\n  closed: {geometry: 'H 0 0 0; H 0 0 9'}\n"
        "  free: {geometry: 'H 0 0 0; H 0 0 9', broken_symmetry: [1, -1]}\n"
        "entries:\n- {name: a, type: energy, value: -0.93, molecule: closed}\n"
        "- {name: b, type: energy, value: -0.93, molecule: free}\n"
    )
    outcome = command(
        "evaluate", "--dataset", file, *SMALL[2:], "--jobs", "1", "--entries", "--out", tmp_path / "out.csv"
    )
    assert outcome.status == 0, outcome.err
    notes = [line for line in outcome.out.splitlines() if "unrestricted solution" in line]
    assert len(notes) == 1 and notes[0].startswith("- pbe, a: closed")
    assert "an unrestricted solution lies" in (tmp_path / "out.csv").read_text()


def test_optimize_takes_the_options(command):
    geometry = "H 0 0 0; H 0 0 1.5"
    outcome = command("optimize", geometry, *SMALL, "--unrestricted", "--fmax", "0.01")
    assert outcome.status == 0, outcome.err
    assert "unrestricted, <S^2> = 0.0000 (pure: 0.0000)" in outcome.out
