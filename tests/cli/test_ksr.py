"""``deepchem-dft data ksr``: what a user sees."""

import csv

import numpy as np
import pytest

SMALL = ("--points", 151, "--spacing", 0.16)


def test_table_progress_and_csv(command, tmp_path):
    out = tmp_path / "h2.csv"
    outcome = command("data", "ksr", "h2", "--at", 1.6, "--at", 3.2, "--out", out, *SMALL)
    assert outcome.status == 0 and outcome.err == "2/2 H2 R=3.2\n"
    assert "| H2 R=1.6 |" in outcome.out and f"written: {out}" in outcome.out
    with open(out, newline="") as stream:
        rows = list(csv.DictReader(stream))
    from deepchem_dft.lattice.exact import exact
    from deepchem_dft.lattice.grid import Grid
    from deepchem_dft.lattice.systems import h2

    state = exact(h2(3.2), Grid(151, 0.16))
    assert rows[1]["name"] == "H2 R=3.2" and rows[1]["electrons"] == "2"
    assert float(rows[1]["energy"]) == pytest.approx(state.energy, abs=1e-8)
    assert float(rows[1]["total_energy"]) == pytest.approx(state.total_energy, abs=1e-8)


def test_densities_and_silence(command, tmp_path):
    out = tmp_path / "ions.npz"
    outcome = command(
        "data", "ksr", "helium_like", "lithium_like", "--orbitals", 8, "--out", out, "--quiet", *SMALL
    )
    assert outcome.status == 0
    assert all("walls" in line for line in outcome.err.splitlines())  # H- and Li: a small box
    data = np.load(out)
    assert data["names"].tolist() == ["H-", "He", "Li+", "Be++", "Li", "Be+"]
    assert data["spin_densities"].shape == (6, 2, 151)
    electrons = data["spin_densities"].sum((1, 2)) * (data["x"][1] - data["x"][0])
    assert electrons == pytest.approx([2, 2, 2, 2, 3, 3])
    assert np.array_equal(data["energies"], data["total_energies"])


def test_what_is_made_by_default(command, monkeypatch):
    from deepchem_dft.lattice import exact as room

    def solve(system, grid, orbitals):
        return room.ExactState(system, grid, -1.0, np.zeros((2, grid.points)))

    monkeypatch.setattr(room, "exact", solve)
    assert command("data", "ksr").err.splitlines()[-1] == "161/161 H2H2 R=9.76"
    assert command("data", "ksr", "h2", "--all").err.splitlines()[-1] == "72/72 H2 R=6.08"
    assert command("data", "ksr", "lih").err.splitlines()[-1] == "69/69 LiH R=6.08"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["h9"], "unknown family 'h9'"),
        (["h2", "--at", "50"], "outside the grid"),
        (["h2", "--out", "h2.txt"], "use .csv or .npz"),
        (["h2", "--out", "missing/h2.csv"], "the folder does not exist"),
        (["h4", "--at", "2", "--orbitals", "900"], "field 'orbitals'"),
        (["h2", "--spacing", "0"], "field 'spacing'"),
    ],
)
def test_misuse(command, words, message):
    outcome = command("data", "ksr", *words)
    assert outcome.status == 1 and message in outcome.err and "Traceback" not in outcome.err
