"""``frequencies``: a table of modes and an ideal gas, with units, as the functions give them."""

import re

import pytest

from deepchem_dft import Molecule
from deepchem_dft.interop.relaxation import relax
from deepchem_dft.interop.vibrations import frequencies

HF = "H 0 0 0; F 0 0 1.75"
SMALL = ("--basis", "sto-3g", "--xc", "pbe")


def number(name: str, text: str) -> float:
    return float(re.search(rf"^ *{name} +(-?\d+\.\d+) Ha", text, re.M)[1])


def test_relaxed_first_and_printed_with_units(command):
    outcome = command("frequencies", HF, *SMALL, "--optimize --temperature 400 --pressure 2e5 --grid-level 3")
    assert outcome.status == 0, outcome.err
    found = frequencies(relax(Molecule(HF, "sto-3g"), "pbe", fmax=1e-4).molecule, "pbe")
    gas = found.thermochemistry(400.0, 2e5)
    (row,) = re.findall(r"^ +1 +(\d+\.\d) +(\d+\.\d\d) +(\d\.\d{3})  H1 95%", outcome.out, re.M)
    assert float(row[0]) == pytest.approx(found.wavenumbers[0], abs=0.1)
    assert float(row[1]) == pytest.approx(found.intensities[0], abs=0.02)
    assert number("Gibbs energy", outcome.out) == pytest.approx(gas.gibbs, abs=1e-6)
    assert number("zero-point energy", outcome.out) == pytest.approx(gas.zero_point, abs=1e-6)
    for words in ("wavenumber (cm-1)", "intensity (km/mol)", "400 K and 200000 Pa", "analytic (PySCF)"):
        assert words in outcome.out
    assert "NOTE" not in outcome.out and "relaxed in" in outcome.err


def test_what_is_no_minimum_says_so(command):
    flat = "O 0 0 0; H 0 0 1.9; H 0 0 -1.9"  # linear water
    outcome = command("frequencies", flat, "--basis", "sto-3g", "--xc", "lda", "--grid-level", "1")
    assert outcome.status == 0 and "2 imaginary, left out" in outcome.out and "i  " in outcome.out
    assert "differences of forces" in outcome.out and "displaced geometries: 18/18" in outcome.err
    refused = command("frequencies", HF, *SMALL, "--temperature", "0")
    assert refused.status == 1 and "temperature" in refused.err and refused.out == ""
