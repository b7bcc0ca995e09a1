"""Geometries: every accepted spelling gives PySCF's coordinates; mistakes are explained."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyscf import gto

from deepchem_dft.errors import InputError
from deepchem_dft.molecule.geometry import (
    NUCLEAR_CHARGE,
    composition,
    element,
    format_geometry,
    formula,
    nuclear_charge,
    parse_geometry,
)


@pytest.mark.parametrize(
    "text",
    [
        "O 0 0 0.2; H 0 1.4 -0.9; H 0 -1.4 -0.9",
        "O 0 0 0.2\nH 0 1.4 -0.9\nH 0 -1.4 -0.9\n",
        "  o 0,0,0.2 ;\n h 0 1.4 -9d-1; 1 0 -1.4 -9E-1;",
        "3\nwater, from somewhere\nO 0 0 .2\nH 0 1.4 -.9\nH 0 -1.4 -.9\n",
        "3\n\nO 0 0 .2\r\nH 0 1.4 -.9\r\nH 0 -1.4 -.9\n",
        "O 0 0 0.2 # comment\nH 0 1.4 -0.9\n# more\nH 0 -1.4 -0.9",
        (["O", "H", "H"], [[0, 0, 0.2], [0, 1.4, -0.9], [0, -1.4, -0.9]]),
        ((8, 1, 1), np.array([[0, 0, 0.2], [0, 1.4, -0.9], [0, -1.4, -0.9]])),
        [["O", 0, 0, 0.2], ["H", 0, 1.4, "-0.9"], ["H", 0, -1.4, -0.9]],
        [("O", (0, 0, 0.2)), ("H", (0, 1.4, -0.9)), ("H", (0, -1.4, -0.9))],
    ],
)
def test_spellings(text):
    symbols, positions = parse_geometry(text, "bohr")
    assert symbols == ["O", "H", "H"]
    np.testing.assert_array_equal(positions, [[0, 0, 0.2], [0, 1.4, -0.9], [0, -1.4, -0.9]])
    assert positions.dtype == np.float64


def test_pairs_of_rows_and_pairs_of_arrays():
    for pair in (
        [["H", 0, 0, 0], ["F", 0, 0, 1.7]],
        (["H", "F"], [[0, 0, 0], [0, 0, 1.7]]),
        [("H", (0, 0, 0)), ("F", [0, 0, 1.7])],
        [[1, 0, 0, 0], [9, 0, 0, 1.7]],
        [["1", "0", "0", "0"], ["9", "0", "0", "1.7"]],
        (np.array([1, 9]), np.array([[0, 0, 0], [0, 0, 1.7]])),
    ):
        symbols, positions = parse_geometry(pair)
        assert symbols == ["H", "F"] and positions[1, 2] == 1.7
    square = [[x, y, 0.0] for x in (0, 2) for y in (0, 2)]
    assert parse_geometry((["H"] * 4, square))[1].tolist() == square


def test_units_agree_with_pyscf():
    text = "N 0 0 0; N 0 0 1.0977"
    mole = gto.M(atom=text, basis="sto-3g", verbose=0)
    np.testing.assert_allclose(parse_geometry(text, "angstrom")[1], mole.atom_coords(), atol=1e-8)


@pytest.mark.parametrize(
    ("geometry", "problem"),
    [
        ("", "empty"),
        (" ;\n; ", "empty"),
        ("H 0 0", "3 items"),
        ("H 0 0 0 0", "5 items"),
        ("H 0 0 x", "'x'"),
        ("H 0 0 1_0", "'1_0'"),
        ("H 0 0 nan", "'nan'"),
        ("H 0 0 inf", "'inf'"),
        ("H 0 0 1*2", "'1*2'"),
        ("H 0 0 1e300", "not finite"),
        ("H 0 0 9e9", "not finite"),
        ("Qq 0 0 0", "'Qq'"),
        ("H1 0 0 0", "'H1'"),
        ("H@2 0 0 0", "'H@2'"),
        ("ghost-H 0 0 0", "ghost"),
        ("X 0 0 0", "ghost"),
        ("X-H 0 0 0", "ghost"),
        ("0 0 0 0", "nuclear charge 0"),
        ("119 0 0 0", "119"),
        ("H 0 0 0; H 0 0 0.01", "coincide"),
        ("H 0 0 0; He 0 0 0", "coincide"),
        ("3\nx\nH 0 0 0\n", "announces 3"),
        ([], "no atoms"),
        (7, "text or a list"),
        (None, "text or a list"),
        ([["H", 0, 0]], "not an element"),
        ([7], "not an element"),
        ((["H"], [[0, 0]]), "not 1 rows"),
        ((["H", True], 3), "True"),
        ([3, 4], "cannot read"),
        (("HF", [[0, 0, 0], [0, 0, 2]]), "not an element"),
        ([["H", 0, 0, True]], "'True'"),
        ({"H": 1}, "text or a list"),
        ((["H"], None), "not 1 rows"),
        ((["H"], [[0, 0, float("nan")]]), "not finite"),
        ([[1.5, 0, 0, 0]], "not an element"),
    ],
)
def test_mistakes(geometry, problem):
    with pytest.raises(InputError) as caught:
        parse_geometry(geometry)
    assert problem in caught.value.problem and caught.value.remedy
    assert caught.value.field == "geometry"


def test_unknown_unit():
    for unit in ("pm", "", 1.0):
        with pytest.raises(InputError) as caught:
            parse_geometry("H 0 0 0", unit)
        assert caught.value.field == "unit" and "bohr" in caught.value.remedy


def test_suggestions():
    with pytest.raises(InputError, match="without a label"):
        element("C12")
    with pytest.raises(InputError, match="did you mean"):
        element("Clo")


def test_all_elements():
    for symbol, z in NUCLEAR_CHARGE.items():
        assert element(symbol.upper()) == element(z) == element(str(z)) == symbol
        assert gto.charge(symbol) == z


numbers = st.floats(-50, 50, allow_nan=False)


@given(
    st.lists(
        st.tuples(st.sampled_from(list(NUCLEAR_CHARGE)), numbers, numbers, numbers), min_size=1, max_size=4
    )
)
def test_text_round_trip_is_exact(rows):
    try:
        symbols, positions = parse_geometry([list(row) for row in rows])
    except InputError as error:
        assert "coincide" in error.problem
        return
    again, same = parse_geometry(format_geometry(symbols, positions))
    assert again == symbols
    np.testing.assert_array_equal(same, positions)


@given(st.text(max_size=40))
def test_any_text_is_a_geometry_or_an_error(text):
    try:
        symbols, positions = parse_geometry(text)
    except InputError as error:
        assert error.remedy
    else:
        assert positions.shape == (len(symbols), 3) and np.isfinite(positions).all()


def test_formulae():
    assert formula(["H", "C", "H", "H", "O", "H"]) == "CH4O"
    assert formula(["Na", "Cl"]) == "ClNa" and formula({"H": 2, "O": 1}) == "H2O"
    assert formula(["N", "H", "H", "H", "H"], charge=1) == "H4N+"
    assert composition(["H", "O", "H"]) == {"H": 2, "O": 1}
    assert nuclear_charge(["Fe", "C"]) == 32
