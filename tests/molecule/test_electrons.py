"""Electrons of each spin: charge, spin, counts and occupations, and what is wrong with them."""

import re

import numpy as np
import pytest

from deepchem_dft.errors import InputError
from deepchem_dft.molecule import Molecule

WATER = "O 0 0 0.2217; H 0 1.4309 -0.8867; H 0 -1.4309 -0.8867"


@pytest.mark.parametrize(
    ("charge", "spin", "nelec"),
    [(0, 0, (5, 5)), (1, 1, (5, 4)), (-1, 1, (6, 5)), (0, 2, (6, 4)), (0, -2, (4, 6))],
)
def test_electron_numbers(charge, spin, nelec):
    molecule = Molecule(WATER, basis="6-31g", charge=charge, spin=spin)
    assert molecule.nelec == nelec


def test_fractional_electrons_set_charge_and_spin():
    molecule = Molecule("He 0 0 0", basis="6-31g", nelec=(1.0, 0.25))
    assert molecule.charge == pytest.approx(0.75)
    assert molecule.spin == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("geometry", "options", "nelec"),
    [
        ("He 0 0 0", {"charge": 0.5, "spin": 0.5}, (1.0, 0.5)),
        ("H 0 0 0", {"charge": 0.5, "spin": -0.5}, (0.0, 0.5)),
        ("He 0 0 0", {"charge": 0.5}, (0.75, 0.75)),  # parity means nothing here
        ("He 0 0 0", {"spin": 0.5}, (1.25, 0.75)),
        ("He 0 0 0", {"charge": np.float64(1), "spin": np.int64(1)}, (1.0, 0.0)),
        ("He 0 0 0", {"nelec": np.array([1, 0.5])}, (1.0, 0.5)),
        ("He 0 0 0", {"occupations": (np.array([0.5, 0.5]), [])}, (1.0, 0.0)),
    ],
)
def test_fractional_charge_and_spin(geometry, options, nelec):
    molecule = Molecule(geometry, basis="6-31g", **options)
    assert molecule.nelec == nelec
    protons = 1 if geometry.startswith("H ") else 2
    assert molecule.charge == protons - sum(nelec) and molecule.spin == nelec[0] - nelec[1]


def test_whole_numbers_of_electrons_keep_their_parity():
    for options in ({"charge": 1.0}, {"spin": 1.0}, {"charge": -1.0, "spin": 2}):
        with pytest.raises(InputError, match="cannot have spin") as caught:
            Molecule("He 0 0 0", basis="6-31g", **options)
        assert caught.value.field == "spin" and caught.value.remedy


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("charge", "1"),
        ("charge", float("nan")),
        ("charge", float("-inf")),
        ("charge", True),
        ("charge", [1]),
        ("charge", 10**400),
        ("spin", "1"),
        ("spin", float("inf")),
        ("spin", 1j),
        ("spin", np.array([1])),
        ("nelec", ("a", 1)),
        ("nelec", (1, 0, 0)),
        ("nelec", 5),
        ("nelec", "55"),
        ("nelec", (5,)),
        ("nelec", (True, 1)),
        ("nelec", (None, 1)),
        ("nelec", {5: 1, 4: 1}),
        ("nelec", {5, 4}),
        ("nelec", (0, 0)),
        ("nelec", (float("inf"), 1)),
        ("occupations", ([1],)),
        ("occupations", ([1], ["x"])),
        ("occupations", (1, 1)),
        ("occupations", ("11", "1")),
        ("occupations", 3),
        ("occupations", ([1], None)),
        ("occupations", ([1], [2])),
        ("occupations", ([1], [float("nan")])),
        ("occupations", ([], [])),
        ("occupations", ([1], [1], [1])),
        ("occupations", {"alpha": [1], "beta": [1]}),
        ("grid_level", True),
        ("grid_level", np.bool_(True)),
        ("grid_level", 3.0),
        ("grid_level", "3"),
        ("grid_level", None),
        ("grid_level", -1),
        ("grid_level", np.int64(10)),
    ],
)
def test_values_of_the_wrong_kind_are_explained(field, value):
    with pytest.raises(InputError) as caught:
        Molecule(WATER, basis="sto-3g", **{field: value})
    assert caught.value.field == field and caught.value.remedy


@pytest.mark.parametrize(("geometry", "protons"), [("I 0 0 0", 25), ("H 0 0 0", 1), (WATER, 10)])
def test_the_charge_advised_is_possible(geometry, protons):
    for charge in (protons, protons + 1, 53.5):
        with pytest.raises(InputError) as caught:
            Molecule(geometry, basis="def2-svp", charge=charge)
        assert caught.value.field == "charge"
        below = re.search(r"at most ([+]\d+)$|below ([+]\d+);", caught.value.remedy)
        advised = int(below[1]) if below[1] else int(below[2]) - 1
        assert 0 <= advised < protons
        assert (
            sum(Molecule(geometry, basis="def2-svp", charge=advised, spin=(protons - advised) % 2).nelec)
            == protons - advised
        )
