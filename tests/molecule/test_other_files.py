"""MOL, SDF, PDB, Gaussian's, DFTB+'s and ASE's files: read as their programs write them, or refused."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from rdkit import Chem
from rdkit.Chem import rdDepictor, rdDistGeom

from deepchem_dft import Molecule
from deepchem_dft.errors import InputError
from deepchem_dft.molecule.geometry import read_geometry
from deepchem_dft.units import ANGSTROM_TO_BOHR


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def made(smiles):
    found = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMolecule(found, randomSeed=1)
    return found


def written(name, content):
    Path(name).write_text(content)
    return name


@pytest.mark.parametrize("ending", ["mol", "sdf", "pdb", "mol.gz"])
def test_what_rdkit_writes_keeps_nuclei_and_charge(ending):
    ion = made("C[NH3+]")
    content = Chem.MolToPDBBlock(ion) if ending == "pdb" else Chem.MolToMolBlock(ion)
    content += "$$$$\n" * (ending == "sdf")
    name = f"ion.{ending}"
    Path(name).write_bytes(gzip.compress(content.encode()) if ending.endswith("gz") else content.encode())
    found = Molecule(name, "sto-3g")
    assert (found.formula, found.charge, found.spin) == ("CH6N", 1, 0)
    digits = 6e-4 if ending == "pdb" else 6e-5  # of what is written
    expected = ion.GetConformer().GetPositions() * ANGSTROM_TO_BOHR
    np.testing.assert_allclose(found.positions, expected, atol=2 * digits)


def test_radicals_of_a_mol_file_have_a_spin():
    found = read_geometry(written("oh.mol", Chem.MolToMolBlock(made("[OH]"))))
    assert (found.charge, found.spin) == (0, 1)


def test_tags_count_and_may_not_contradict_the_bonds():
    block = Chem.MolToMolBlock(made("[O][O]"))
    triplet = f"{block}>  <mult>\n3\n\n$$$$\n"
    assert read_geometry(written("o2.sdf", triplet)).spin == 2
    with pytest.raises(
        InputError, match="charge=1 of the tags contradicts the sum of formal charges"
    ) as caught:
        read_geometry(written("o2.sdf", triplet.replace("mult", "charge").replace("\n3\n", "\n1\n")))
    assert caught.value.file == "o2.sdf"


GAUSSIAN = """%chk=a.chk
# pbe/6-31G

a cation

1 2
O  0.0  0.0     0.1173
H  0.0  0.7572 -0.4692
H  0.0 -0.7572 -0.4692

"""


def test_what_ase_reads_keeps_charge_and_spin():
    for name in ("w.gjf", "w.com"):
        found = read_geometry(written(name, GAUSSIAN))
        assert (found.symbols, found.charge, found.spin) == (["O", "H", "H"], 1, 1)
    np.testing.assert_allclose(found.positions[1], np.array([0, 0.7572, -0.4692]) * ANGSTROM_TO_BOHR)
    radical = molecule("CH3")  # with a magnetic moment of one electron on carbon
    radical.write("methyl.traj")
    found = read_geometry("methyl.traj")
    assert (found.charge, found.spin) == (None, 1)
    np.testing.assert_allclose(found.positions, radical.positions * ANGSTROM_TO_BOHR)
    molecule("H2O").write("w.gen")
    np.testing.assert_allclose(
        read_geometry("w.gen").positions, molecule("H2O").positions * ANGSTROM_TO_BOHR, atol=1e-9
    )


def drawing():
    flat = Chem.MolFromSmiles("CCO")
    rdDepictor.Compute2DCoords(flat)
    return Chem.MolToMolBlock(flat)


def without_hydrogens():
    return Chem.MolToMolBlock(Chem.RemoveHs(made("CO")))


def pdb(*rows):
    return "\n".join([*rows, "END", ""])


ATOM = "HETATM    1  H1  UNL     1       0.000   0.000   0.000  1.00  0.00           H  "
OTHER = ATOM.replace("0.000   0.000 ", "0.000   0.740 ", 1)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("w.mol", drawing(), "those of a drawing"),
        ("w.mol", without_hydrogens(), r"atom 1 \(C\) has 3 hydrogens that the file does not hold"),
        ("w.sdf", 2 * (Chem.MolToMolBlock(made("O")) + "$$$$\n"), "several geometries"),
        ("w.sdf", "", "the file is empty"),
        ("w.mol", Chem.MolToMolBlock(made("O"))[:120], "cut off"),
        ("w.pdb", pdb(ATOM[:76]), "atom 1 has no element in columns 77 and 78"),
        ("w.pdb", pdb(ATOM[:16] + "A" + ATOM[17:]), "alternative place"),
        (
            "w.pdb",
            pdb("MODEL        1", ATOM, "ENDMDL", "MODEL        2", OTHER, "ENDMDL"),
            "several geometries",
        ),
        ("w.pdb", "nothing\n", "there are no atoms"),
        ("w.gjf", "nothing", "ASE cannot read it as gaussian-in"),
        ("w.gen", "1 S\nH\n1 1 0 0 0\n0 0 0\n9 0 0\n0 9 0\n0 0 9\n", "periodic systems"),
        ("w.traj", "nothing", "ASE cannot read it as traj"),
        ("w.cml", "<cml/>", "name of a file"),
    ],
)
def test_refusals_name_the_file_and_the_remedy(name, content, said):
    with pytest.raises(InputError, match=said) as caught:
        Molecule(written(name, content), "sto-3g")
    assert name in str(caught.value) and caught.value.remedy


def test_several_images_of_ase_are_refused():
    from ase.io import write

    write("two.traj", [Atoms("H"), Atoms("He")])
    with pytest.raises(InputError, match="several geometries"):
        read_geometry("two.traj")


def test_what_is_not_used_is_said():
    flat = Chem.MolToMolBlock(made("O")).replace("3D", "  ")
    rows = flat.splitlines()
    rows[4:7] = [row[:20] + "    0.0000" + row[30:] for row in rows[4:7]]
    with pytest.warns(UserWarning, match="does not say 3D"):
        read_geometry(written("w.mol", "\n".join(rows) + "\n"))
    cell = "CRYST1   20.000   20.000   20.000  90.00  90.00  90.00 P 1           1"
    with pytest.warns(UserWarning, match="CRYST1"):
        read_geometry(written("w.pdb", pdb(cell, ATOM)))
