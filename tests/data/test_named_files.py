"""Data files that name their geometries: files beside them, and SMILES."""

import warnings

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from deepchem_dft.data import DFTSystem, read_yaml
from deepchem_dft.errors import InputError
from deepchem_dft.units import ANGSTROM_TO_BOHR

WATER = "3\n{}\nO 0 0 0.1173\nH 0 0.7572 -0.4692\nH 0 -0.7572 -0.4692\n"
POSITIONS = np.array([[0, 0, 0.1173], [0, 0.7572, -0.4692], [0, -0.7572, -0.4692]]) * ANGSTROM_TO_BOHR
HEAD = "format: deepchem_dft/1\nsource: own\ndefaults: {basis: sto-3g, unit: bohr}\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a data file's geometries, which is not the working folder."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (tmp_path / "xyz").mkdir()
    (tmp_path / "xyz" / "water.xyz").write_text(WATER.format("water"))
    (tmp_path / "cation.xyz").write_text(WATER.format("charge=1 mult=2"))
    return tmp_path


def test_files_lie_beside_the_data_file_and_keep_unit_charge_and_spin(folder):
    (folder / "data.yaml").write_text(
        HEAD + "systems: {w: xyz/water.xyz, c: {geometry: cation.xyz}}\n"
        "entries:\n- {type: ie, value: 12.6 eV, neutral: w, cation: c}\n"
    )
    neutral, cation = read_yaml(str(folder / "data.yaml"))[0].get_systems()
    assert (neutral.charge, neutral.spin, cation.charge, cation.spin) == (0, 0, 1, 1)
    for system in (neutral, cation):  # in Angstrom, whatever the unit of what is written in place
        np.testing.assert_allclose(system.positions, POSITIONS)


@pytest.mark.parametrize("schema", ["deepchem", "xcnn"])
def test_in_the_other_schemas_too(folder, schema):
    lone = {
        "H": "{moldesc: 'H 0 0 0', basis: sto-3g, spin: 1, number: 2}",
        "O": "{moldesc: 'O 0 0 0', basis: sto-3g, spin: 2}",
    }
    water = "{moldesc: xyz/water.xyz, basis: sto-3g}"
    if schema == "deepchem":
        text = "- e_type: ae\n  true_val: 0.37\n  systems:\n"
        text += "".join(f"  - {one}\n" for one in (water, lone["H"], lone["O"]))
    else:
        text = "- name: w\n  type: ae\n  true_val: 0.37\n"
        text += "  cmd: 2*energy(systems[1]) + energy(systems[2]) - energy(systems[0])\n  systems:\n"
        rows = (water, lone["H"].replace(", number: 2", ""), lone["O"])
        text += "".join(f"  - {{type: mol, kwargs: {one}}}\n" for one in rows)
    (folder / "data.yaml").write_text(text)
    molecule = read_yaml(str(folder / "data.yaml"))[0].get_systems()[0]
    np.testing.assert_allclose(molecule.positions, POSITIONS)


def test_an_atom_of_a_file_has_the_spin_of_its_ground_state(folder):
    (folder / "o.xyz").write_text("1\n\nO 0 0 0\n")
    (folder / "data.yaml").write_text(
        HEAD + "entries: [{type: energy, value: -74.8, molecule: {geometry: o.xyz}}]\n"
    )
    assert read_yaml(str(folder / "data.yaml"))[0].get_systems()[0].spin == 2


def test_what_the_data_file_says_goes_first_and_a_difference_is_said(folder):
    with pytest.warns(UserWarning, match="charge 0 is used, not the charge 1"):
        system = DFTSystem({"basis": "sto-3g", "geometry": "cation.xyz", "charge": 0, "spin": 0}, folder)
    assert system.charge == 0
    scaled = DFTSystem({"basis": "sto-3g", "geometry": "cation.xyz", "unit": "bohr"}, folder)
    np.testing.assert_allclose(scaled.positions * ANGSTROM_TO_BOHR, POSITIONS)


@pytest.mark.parametrize(
    ("geometry", "said", "remedy"),
    [
        ("gone.xyz", "gone.xyz: the file does not exist", "check the path"),
        ("data.cif", "data.cif: no geometry is read from files of this kind", ".xyz, .extxyz, .mol"),
        ("two.xyz", "two.xyz: there are several geometries", "its own file"),
        ("bad.xyz", "bad.xyz: coordinate '0,0' of atom 2", "write each atom"),
    ],
)
def test_errors_name_data_file_entry_field_and_geometry_file(folder, geometry, said, remedy):
    (folder / "two.xyz").write_text(2 * WATER.format(""))
    (folder / "bad.xyz").write_text(WATER.format("").replace("H 0 0.7572", "H 0,0 0.7572"))
    (folder / "data.yaml").write_text(
        HEAD
        + f"systems: {{w: {geometry}}}\nentries: [{{name: one, type: energy, value: -76, molecule: w}}]\n"
    )
    with pytest.raises(InputError) as caught:
        read_yaml(str(folder / "data.yaml"))
    error = caught.value
    assert (error.file, error.entry) == (str(folder / "data.yaml"), "1 (one)")
    assert error.field.startswith("systems.w") and said in error.problem and remedy in error.remedy


def test_smiles_get_a_conformer(folder):
    (folder / "data.yaml").write_text(
        HEAD + "systems: {a: {smiles: 'C[NH3+]'}, m: {smiles: '[CH3]'}}\nentries:\n"
        "- {type: energy, value: -95, molecule: a}\n- {type: energy, value: -39, molecule: m}\n"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ion, methyl = (entry.get_systems()[0] for entry in read_yaml(str(folder / "data.yaml")))
    assert (ion.charge, ion.spin, methyl.charge, methyl.spin) == (1, 0, 0, 1)
    mol = Chem.AddHs(Chem.MolFromSmiles("C[NH3+]"))
    rdDistGeom.EmbedMolecule(mol, randomSeed=3)
    expected = np.linalg.norm(np.subtract(*mol.GetConformer().GetPositions()[:2])) * ANGSTROM_TO_BOHR
    assert np.linalg.norm(ion.positions[0] - ion.positions[1]) == pytest.approx(expected, abs=0.15)  # C-N
    for spec, said in (
        ({"smiles": "C(C"}, "RDKit reads no SMILES"),
        ({"smiles": "O", "unit": "bohr"}, "has no unit"),
        ({"smiles": 7}, "is no SMILES"),
        ({"smiles": "O", "geometry": "H 0 0 0"}, "given twice, as geometry and as smiles"),
    ):
        with pytest.raises(InputError, match=said) as caught:
            DFTSystem({"basis": "sto-3g", **spec})
        assert caught.value.field in ("smiles", "unit", "geometry") and caught.value.remedy
