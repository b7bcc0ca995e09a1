"""Basis sets and core potentials against PySCF's own reading of them."""

import numpy as np
import pyscf
import pytest
from pyscf import gto

from deepchem_dft.errors import InputError
from deepchem_dft.molecule.basis import has_diffuse, resolve_basis, resolve_ecp, suggest_basis


def overlap(symbols, basis, ecp=None):
    atom = [[symbol, (0, 0, 3.0 * i)] for i, symbol in enumerate(symbols)]
    mole = gto.M(atom=atom, basis=basis, ecp=ecp or {}, unit="bohr", verbose=0, spin=None)
    return mole.intor("int1e_ovlp"), mole.nelectron


@pytest.mark.parametrize(
    "name",
    [
        "sto-3g",
        "6-31G**",
        "6-311++G(3df,3pd)",
        "Def2-TZVP",
        "cc-pVDZ",
        "aug-cc-pvdz",
        "pcseg-1",
        "unc-sto-3g",
    ],
)
def test_names_mean_what_they_mean_to_pyscf(name):
    ours, _ = overlap(["O", "H"], resolve_basis(["O", "H"], name))
    np.testing.assert_allclose(ours, overlap(["O", "H"], name)[0], atol=1e-12)


def test_sets_that_only_the_basis_set_exchange_has():
    data = resolve_basis(["C"], "jorge-dzp")
    assert sum((2 * shell[0] + 1) * (len(shell[1]) - 1) for shell in data["C"]) > 10


def test_per_element():
    data = resolve_basis(["O", "H", "H", "C"], {"default": "sto-3g", "o": "6-31g", "C": "6-31G*"})
    assert list(data) == ["H", "C", "O"]
    assert data["O"] == resolve_basis(["O"], "6-31g")["O"]
    raw = resolve_basis(["H"], {"H": [[0, [1.0, 1.0]]]})
    assert raw == {"H": [[0, [1.0, 1.0]]]}


def test_results_can_be_changed_without_harm():
    first = resolve_basis(["H"], "sto-3g")
    first["H"].clear()
    assert resolve_basis(["H"], "sto-3g")["H"]


@pytest.mark.parametrize(
    ("symbols", "name", "cores"),
    [
        (["I", "H"], "def2-svp", {"I": 28}),
        (["Kr"], "def2-tzvp", {}),
        (["Rb"], "def2-tzvp", {"Rb": 28}),
        (["Au"], "def2-tzvpd", {"Au": 60}),
        (["Fe", "O"], "lanl2dz", {"Fe": 10}),
        (["I"], "cc-pvtz-pp", {"I": 28}),
        (["I"], "aug-cc-pvtz-pp", {"I": 28}),
        (["I"], "sto-3g", {}),
        (["Cs"], "unc-def2-svp", {"Cs": 46}),
    ],
)
def test_core_potentials_come_with_their_basis(symbols, name, cores):
    if name == "aug-cc-pvtz-pp" and pyscf.__version__.startswith("2.10."):
        pytest.skip("PySCF 2.10 has no functions of it for iodine")
    assert {s: data[0] for s, data in resolve_ecp(symbols, name).items()} == cores


def test_core_potential_is_pyscfs():
    data = resolve_ecp(["I"], "def2-svp")
    ours = overlap(["I"], resolve_basis(["I"], "def2-svp"), data)
    assert ours[1] == overlap(["I"], "def2-svp", {"I": "def2-svp"})[1] == 25


def test_core_potentials_by_name():
    assert resolve_ecp(["O"], {"O": "6-31g"}, {"O": "ccecp"})["O"][0] == 2
    assert resolve_ecp(["Fe"], "ccecp-cc-pvdz", "ccecp")["Fe"][0] == 10
    assert resolve_ecp(["H", "O"], "sto-3g", "none") == {}


@pytest.mark.parametrize(
    ("basis", "ecp", "field", "problem", "remedy"),
    [
        ("nonsense", None, "basis", "unknown basis 'nonsense'", ""),
        ("def2-tzvq", None, "basis", "unknown basis", "did you mean def2-tzvp"),
        ("", None, "basis", "not the name", "def2-tzvp"),
        ("H S\n1.0 1.0", None, "basis", "not the name", "name"),
        ("gth-dzvp", None, "basis", "pseudopotentials", "all-electron"),
        ("sto-3g@1@2", None, "basis", "unknown basis", ""),
        ("ccecp-cc-pvdz", None, "basis", "only the valence electrons of Fe", "ecp"),
        ("def2-svp", "nonsense", "ecp", "unknown ecp", "leave ecp out"),
        ("def2-svp", {"Fe": 3}, "ecp", "3", "e.g."),
        ("def2-svp", {"Fe": "def2-svp"}, "ecp", "no potential for Fe", "leave ecp out"),
        ({"O": "sto-3g"}, None, "basis", "no basis for element Fe", "default"),
        ({"Fee": "sto-3g"}, None, "basis", "unknown element", "default"),
        ({"Fe": 3}, None, "basis", "3", "mapping"),
        (3, None, "basis", "3", "def2-tzvp"),
        ("6-311++g(3df,3pd)", None, "basis", "no functions for Fe", "choose another"),
    ],
)
def test_refused(basis, ecp, field, problem, remedy):
    with pytest.raises(InputError) as caught:
        resolve_ecp(["Fe"], basis, ecp)
    assert caught.value.field == field
    assert problem in caught.value.problem and remedy in caught.value.remedy


def test_files_are_not_read_as_basis_sets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mybasis").write_text("H S\n 1.0 1.0\n")
    with pytest.raises(InputError, match="path of a file"):
        resolve_basis(["H"], "mybasis")


@pytest.mark.parametrize(
    ("symbols", "basis", "expected"),
    [
        ("OH", "aug-cc-pvdz", True),
        ("OH", "cc-pv5z", False),
        ("OH", "def2-qzvp", False),
        ("OH", "def2-svpd", True),
        ("OH", "6-31+G*", True),
        ("OH", "6-31G*", False),
        ("OH", "pcseg-2", False),
        ("OH", "aug-pcseg-1", True),
        ("F", "6-311++G(3df,3pd)", True),
        ("H", "6-31+g", False),
        ("H", "6-31++g", True),
        ("S", "def2-tzvpd", True),
        ("S", "sto-3g", False),
        ("CN", "def2-svpd", True),
        ("I", "def2-tzvpd", True),
        ("I", "def2-tzvp", False),
    ],
)
def test_diffuse_functions(symbols, basis, expected):
    assert has_diffuse(list(symbols), basis) is expected


def test_suggestions():
    assert "def2-tzvp" in suggest_basis("def2tzvp")
    assert "PySCF" in suggest_basis("zzzzzzzz")
