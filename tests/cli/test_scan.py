"""``scan`` and what ``optimize`` holds: values kept, energies above the lowest, units said."""

import json

import numpy as np
import pytest

pytest.importorskip("geometric", reason="geomeTRIC is not installed")

SMALL = ("--basis", "sto-3g", "--grid-level", "0", "--xc", "lda")
WATER = "O 0 0 0.2; H 0 1.5 -0.9; H 0 -1.4 -0.95"


def angle(positions: list) -> float:
    oxygen, *others = np.array(positions)
    a, b = (h - oxygen for h in others)
    return float(np.degrees(np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))))


def test_an_angle_is_opened(command, tmp_path):
    out = tmp_path / "bend.xyz"
    asked = ("scan", WATER, "angle 2 1 3", "--start", "100", "--stop", "120", "--points", "2", *SMALL)
    outcome = command(*asked, "--json", "--out", out)
    assert outcome.status == 0, outcome.err
    rows = json.loads(outcome.out)["points"]
    assert [row["value_degrees"] for row in rows] == [100, 120]
    assert [angle(row["positions_bohr"]) for row in rows] == pytest.approx([100, 120], abs=0.1)
    lower, higher = sorted(row["energy_hartree"] for row in rows)
    heights = sorted(row["above_minimum_kcal_per_mol"] for row in rows)
    assert heights == pytest.approx([0.0, (higher - lower) * 627.5094740631], abs=1e-6) and heights[1] > 1
    assert out.read_text().count("mult=1") == 2


def test_optimize_says_what_it_held(command):
    outcome = command("optimize", WATER, "--constrain", "distance 1 2 = 1.1", *SMALL)
    assert outcome.status == 0, outcome.err
    assert "held:       distance 1 2, 1.1000 angstrom" in outcome.out
    refused = command("optimize", WATER, "--constrain", "distance 1 9", *SMALL)
    assert refused.status == 1 and "numbered from 1 to 3" in refused.err
