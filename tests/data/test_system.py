"""Systems: electron numbers, identity, and the molecules made of them."""

import pickle

import numpy as np
import pytest
from pyscf import gto

from deepchem_dft.data import DFTSystem
from deepchem_dft.data.stoichiometry import (
    GROUND_STATE_SPIN,
    check_balance,
    coefficients_by_role,
    ground_state_atoms,
)
from deepchem_dft.errors import InputError
from deepchem_dft.molecule.geometry import NUCLEAR_CHARGE


def system(moldesc, basis="sto-3g", **more):
    return DFTSystem({"moldesc": moldesc, "basis": basis, **more})


@pytest.mark.parametrize(
    ("arguments", "electrons"),
    [
        ({"moldesc": "O 0 0 0", "spin": "2"}, (5, 3)),
        ({"moldesc": "O 0 0 0", "charge": -1, "spin": 1, "basis": "6-31+g"}, (5, 4)),
        ({"moldesc": "H 0 0 0; H 0 0 90"}, (1, 1)),
        ({"moldesc": "I 0 0 0", "basis": "def2-svp", "spin": 1}, (13, 12)),  # 28 in the core
        ({"moldesc": "C 0 0 0", "charge": 0.5, "spin": 0.5}, (3.0, 2.5)),
        ({"moldesc": "C 0 0 0", "n_alpha": 3.25, "n_beta": "2.5"}, (3.25, 2.5)),
        ({"moldesc": "H 0 0 0", "n_alpha": 0.5, "n_beta": 0.5}, (0.5, 0.5)),
        ({"moldesc": "8 0 0 0", "spin": 2.0}, (5, 3)),
    ],
)
def test_electron_numbers_reach_the_molecule(arguments, electrons):
    item = DFTSystem({"basis": "sto-3g", **arguments})
    assert item.electrons == electrons
    molecule = item.to_molecule(grid_level=0)
    assert molecule.nelec == electrons and molecule.grid_level == 0
    assert molecule.charge == pytest.approx(item.charge)
    assert molecule.spin == pytest.approx(item.spin)
    whole = isinstance(item.charge, int) and isinstance(item.spin, int)
    assert (item.nelec is None) == (whole and "n_alpha" not in arguments)


def test_parity_matters_only_for_whole_numbers():
    with pytest.raises(InputError, match="cannot have spin"):
        system("O 0 0 0", spin=1)
    assert system("O 0 0 0", charge=0.1, spin=1).electrons == pytest.approx((4.45, 3.45))


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"n_alpha": 1}, "n_beta"),
        ({"n_beta": 1}, "n_alpha"),
        ({"n_alpha": -1, "n_beta": 1}, "n_alpha"),
        ({"n_alpha": 0, "n_beta": 0}, "n_alpha"),
        ({"n_alpha": 1, "n_beta": 0, "charge": 1}, "charge"),
        ({"n_alpha": 1, "n_beta": 0, "spin": 0}, "spin"),
        ({"n_alpha": 2, "n_beta": 0}, "basis"),
        ({"n_alpha": "x", "n_beta": 0}, "n_alpha"),
        ({"geometry": "H 0 0 0"}, "geometry"),
        ({"unit": "pm"}, "unit"),
        ({"unit": 3}, "unit"),
        ({"ecp": "no-such"}, "ecp"),
        ({"ecp": 3}, "ecp"),
        ({"basis": {"O": "sto-3g"}}, "basis"),
        ({"basis": {"H": 3}}, "basis.'H'"),
        ({"basis": {}}, "basis"),
        ({"basis": "gth-dzvp"}, "basis"),
        ({"name": ["a"], "spin": 1}, "name"),
    ],
)
def test_refused(more, field):
    with pytest.raises(InputError) as caught:
        DFTSystem({"moldesc": "H 0 0 0", "basis": "sto-3g"} | more)
    assert caught.value.field == field and caught.value.remedy


def test_identity():
    one = system("H 0 0 0; H 0 0 1.4", basis="STO-3G", number=2, name="a")
    two = system("h 0.0 0 0.00\nh 0 0 1.40")
    assert one.key == two.key and hash(one.key) == hash(two.key)
    assert one != two  # number and name differ
    for other in (
        system("H 0 0 0; H 0 0 1.41"),
        system("H 0 0 0; H 0 0 1.4", "6-31g"),
        system("H 0 0 0; H 0 0 1.4", spin=2),
        system("H 0 0 0; H 0 0 1.4", charge=1, spin=1),
    ):
        assert other.key != two.key
    assert pickle.loads(pickle.dumps(one)) == one
    assert DFTSystem(one.system) == one
    half = system("H 0 0 0", n_alpha=0.5, n_beta=0.25, ecp=None)
    assert DFTSystem(half.system) == half
    assert one.with_number(3).no == 3 and one.no == 2


def test_units():
    angstrom = system("H 0 0 0; F 0 0 0.9169", unit="Angstrom")
    mole = gto.M(atom="H 0 0 0; F 0 0 0.9169", basis="sto-3g", verbose=0)
    np.testing.assert_allclose(angstrom.positions, mole.atom_coords(), atol=1e-8)


def test_names():
    assert system("Li 0 0 0; H 0 0 3").name == "LiH"
    assert system("Be 0 0 0", charge=2).name == "Be2+"
    assert system("O 0 0 0; H 0 0 1.8", "6-31+g", charge=-1).name == "OH-"


def test_ground_states_agree_with_hunds_rule_and_the_aufbau_anomalies():
    capacity = {"1s": 2, "2s": 2, "2p": 6, "3s": 2, "3p": 6, "4s": 2, "3d": 10, "4p": 6}
    for symbol, spin in GROUND_STATE_SPIN.items():
        left, unpaired = NUCLEAR_CHARGE[symbol], 0
        for size in capacity.values():
            filled = min(left, size)
            left -= filled
            unpaired += min(filled, size - filled)
        if symbol == "Cr":  # 3d5 4s1
            unpaired = 6
        assert spin == unpaired, symbol  # Cu is 3d10 4s1: one unpaired electron either way
    assert len(GROUND_STATE_SPIN) == 36


def test_atoms_of_a_molecule():
    atoms = ground_state_atoms(system("C 0 0 0; O 0 0 2.2; O 0 0 -2.2", number=2))
    assert [(a.symbols, a.spin, a.no, a.basis) for a in atoms] == [
        (("C",), 2, 2, "sto-3g"),
        (("O",), 2, 4, "sto-3g"),
    ]
    for bad in (system("I 0 0 0; I 0 0 5", "def2-svp"), system("O 0 0 0; H 0 0 1.8", "6-31+g", charge=-1)):
        with pytest.raises(InputError) as caught:
            ground_state_atoms(bad)
        assert caught.value.field == "atoms"


def test_balance():
    water, hydrogen, oxygen = (
        system("O 0 0 0; H 0 1.4 1; H 0 -1.4 1"),
        system("H 0 0 0", spin=1),
        system("O 0 0 0", spin=2),
    )
    check_balance([water, hydrogen, oxygen], [-1, 2, 1])
    check_balance([water, hydrogen, oxygen], [1 / 3, -2 / 3, -1 / 3])
    with pytest.raises(InputError, match="1 H missing"):
        check_balance([water, hydrogen, oxygen], [-1, 1, 1])
    assert coefficients_by_role("ae", [hydrogen.with_number(2), oxygen, water]) == [2, 1, -1]


def test_explicit_occupations_are_kept_and_imply_the_electrons():
    item = DFTSystem(
        {"moldesc": "B 0 0 0", "basis": "6-31g", "occupations": {"alpha": [1, 1, 0.5, 0.5], "beta": [1, 1]}}
    )
    assert item.electrons == (3.0, 2.0)
    assert (item.charge, item.spin) == (0, 1)
    assert DFTSystem(item.system) == item
    assert item.to_molecule(grid_level=0).occupations == ((1.0, 1.0, 0.5, 0.5), (1.0, 1.0))
    plain = DFTSystem({"moldesc": "B 0 0 0", "basis": "6-31g", "spin": 1})
    assert item.key != plain.key


@pytest.mark.parametrize(
    "occupations",
    [
        [1, 1],
        {"alpha": [1]},
        {"alpha": [2], "beta": [1]},
        {"alpha": 1, "beta": [1]},
        {"alpha": ["x"], "beta": []},
        {"alpha": [], "beta": []},
        {"alpha": [True], "beta": [1]},
    ],
)
def test_impossible_occupations_are_refused(occupations):
    with pytest.raises(InputError, match=r"occupation|electrons"):
        DFTSystem({"moldesc": "B 0 0 0", "basis": "6-31g", "occupations": occupations})


def test_molecule_is_fitted_if_asked():
    item = DFTSystem({"moldesc": "H 0 0 0; H 0 0 1.4", "basis": "6-31g"})
    assert item.to_molecule().fitting is None
    assert item.to_molecule(density_fit="weigend").fitting.name == "weigend"


def test_how_spins_are_treated():
    plain = {"moldesc": "H 0 0 0; H 0 0 6", "basis": "sto-3g"}
    same, free, broken = (
        DFTSystem({**plain, **more})
        for more in ({"restricted": None}, {"restricted": False}, {"broken_symmetry": ["1", -1]})
    )
    assert same.key == DFTSystem(plain).key and len({same.key, free.key, broken.key}) == 3
    assert broken.broken_symmetry == (1.0, -1.0) and broken.restricted is False
    for system in (free, broken):
        again = DFTSystem(system.system)
        assert again.key == system.key
        molecule = again.to_molecule(grid_level=0)
        assert molecule.restricted is False
        assert molecule.broken_symmetry == system.broken_symmetry


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"restricted": "no"}, "restricted"),
        ({"restricted": 0}, "restricted"),
        ({"restricted": True, "charge": 1, "spin": 1}, "restricted"),
        ({"restricted": True, "broken_symmetry": True}, "broken_symmetry"),
        ({"broken_symmetry": [1]}, "broken_symmetry"),
        ({"broken_symmetry": [1, "x"]}, "broken_symmetry"),
        ({"broken_symmetry": [1, 1]}, "broken_symmetry"),
        ({"broken_symmetry": "yes"}, "broken_symmetry"),
    ],
)
def test_treatments_that_cannot_be(more, field):
    with pytest.raises(InputError) as caught:
        DFTSystem({"moldesc": "H 0 0 0; H 0 0 6", "basis": "sto-3g", **more})
    assert caught.value.field == field
