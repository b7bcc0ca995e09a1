"""The labels of the NCI molecules: who is in, whether they are right, and how they were made."""

import numpy as np
import pytest
from rdkit import Chem, RDConfig, rdBase

from deepchem_dft.data.properties.label_file import read_labels
from deepchem_dft.molnet import datasets_dir

PATH = datasets_dir() / "nci-gfn2.csv"
#: Gas phase, Debye: CRC Handbook of Chemistry and Physics, "Dipole moments".
EXPERIMENT = {
    "CS(C)=O": 3.96,
    "O=C1CCCC1": 3.30,
    "N#CCC#N": 3.74,
    "CC(C)(C)C#N": 3.95,
    "O=C1CCCO1": 4.27,
    "CC(C)(C)O": 1.66,
}


@pytest.fixture(scope="module")
def rows():
    return {row.smiles: row for _, row in read_labels(PATH)}


def test_size_and_head(rows):
    assert PATH.stat().st_size < 300_000
    lines = PATH.read_text().splitlines()
    head = "\n".join(line for line in lines if line.startswith("#"))
    for word in ("Debye", "eV", "Hartree", "tblite", "RDKit", "ASE", "--relax", "seed 0"):
        assert word in head
    assert len(rows) == 2010 == len(lines) - head.count("\n") - 2


def test_molecules_are_every_second_of_those_that_qualify(rows):
    """With code of its own: counts of elements, charges and electrons by hand."""
    qualified = []
    with open(f"{RDConfig.RDDataDir}/NCI/first_5K.smi") as stream, rdBase.BlockLogs():
        for line in stream:
            molecule = Chem.MolFromSmiles(line.split()[0])
            if molecule is None or "." in line.split()[0]:
                continue
            numbers = [a.GetAtomicNum() for a in Chem.AddHs(molecule).GetAtoms()]
            heavy = [z for z in numbers if z > 1]
            if (
                4 <= len(heavy) <= 25
                and 6 in heavy
                and set(heavy) <= {6, 7, 8, 9, 15, 16, 17, 35}
                and sum(a.GetFormalCharge() for a in molecule.GetAtoms()) == 0
                and not any(a.GetNumRadicalElectrons() for a in molecule.GetAtoms())
            ):
                assert sum(numbers) % 2 == 0
                smiles = Chem.MolToSmiles(molecule)
                if smiles not in qualified:
                    qualified.append(smiles)
    assert len(qualified) == 4020
    assert list(rows) == qualified[::2]


def test_ranges(rows):
    dipoles, gaps, energies = np.array([(r.dipole, r.gap, r.energy) for r in rows.values()]).T
    assert dipoles.min() >= 0 and dipoles.max() < 20 and 2 < np.median(dipoles) < 4
    assert gaps.min() > 0.1 and gaps.max() < 15 and energies.max() < -10


def test_energies_are_sums_of_atoms_and_bonds(rows):
    """What a linear fit to the composition leaves is largest for tetryl, an explosive."""
    symbols = ["H", "C", "N", "O", "F", "P", "S", "Cl", "Br"]
    counts = []
    for smiles in rows:
        atoms = [a.GetSymbol() for a in Chem.AddHs(Chem.MolFromSmiles(smiles)).GetAtoms()]
        counts.append([atoms.count(s) for s in symbols])
    energies = np.array([r.energy for r in rows.values()])
    fit, *_ = np.linalg.lstsq(np.array(counts, float), energies, rcond=None)
    left = energies - np.array(counts) @ fit
    assert left.std() < 0.05 and np.abs(left).max() < 0.35
    worst = list(rows)[int(np.argmax(np.abs(left)))]
    assert worst == Chem.CanonSmiles("CN(N(=O)=O)c1c(N(=O)=O)cc(N(=O)=O)cc1N(=O)=O")


def test_dipole_moments_against_experiment(rows):
    errors = [rows[smiles].dipole - value for smiles, value in EXPERIMENT.items()]
    assert np.abs(errors).max() < 0.8 and np.abs(errors).mean() < 0.35


def test_molecules_with_a_centre_of_symmetry_have_no_dipole(rows):
    for smiles in ("C1CNCCN1", "O=Nc1ccc(N=O)cc1"):
        assert rows[smiles].dipole < 0.05


@pytest.mark.parametrize("smiles", ["CS(C)=O", "N#CCC#N"])
def test_the_command_gives_these_numbers_again(rows, smiles):
    from deepchem_dft.data.properties.labelling import GeometryRecipe, label_one
    from deepchem_dft.data.properties.molecule_files import RawMolecule

    with open(f"{RDConfig.RDDataDir}/NCI/first_5K.smi") as stream, rdBase.BlockLogs():
        written = next(
            w
            for w in (line.split()[0] for line in stream)
            if (m := Chem.MolFromSmiles(w)) and Chem.MolToSmiles(m) == smiles
        )
    row = label_one(RawMolecule(1, "x", written, "smi"), GeometryRecipe(conformers=20, relax=True))
    # Other versions of the libraries may stop a step earlier or later.
    assert row.dipole == pytest.approx(rows[smiles].dipole, abs=0.02)
    assert row.gap == pytest.approx(rows[smiles].gap, abs=0.02)
    assert row.energy == pytest.approx(rows[smiles].energy, abs=2e-5)
