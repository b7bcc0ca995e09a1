"""Small files in the exact layouts of the releases of QMugs, QMOF and OQMD."""

import csv
import json

import pytest

#: Name, SMILES, and of each conformer: energy (Hartree), gap (Hartree), dipole (Debye).
MOLECULES = [
    ("CHEMBL1", "[H]c1c([H])c([H])c([H])c([H])c1[H]", [(-232.0, 0.41, 0.1), (-232.01, 0.4, 0.0)]),
    ("CHEMBL2", "[H]OC([H])([H])c1c([H])c([H])c([H])c([H])c1[H]", [(-346.5, 0.38, 1.7)]),
    ("CHEMBL3", "[H]N([H])c1c([H])c([H])c([H])c([H])c1[H]", [(-287.3, 0.36, 1.5)]),
    ("CHEMBL4", "[H]c1nc([H])c([H])c([H])c1[H]", [(-248.1, 0.37, 2.2)]),
    ("CHEMBL5", "[H]OC([H])([H])C([H])([H])[H]", [(-154.9, 0.42, 1.6), (-154.8, 0.41, 1.9)]),
    ("CHEMBL6", "[H]C([H])([H])C([H])=O", [(-153.7, 0.39, 2.9)]),
    ("CHEMBL7", "[H]C([H])([H])C#N", [(-132.6, 0.45, 4.1)]),
    ("CHEMBL8", "[H]C([H])([H])C([H])([H])C([H])([H])[H]", [(-119.0, 0.48, 0.1)]),
    ("CHEMBL9", "[H]C1([H])OC([H])([H])C1([H])[H]", [(-193.0, 0.41, 2.0)]),
    ("CHEMBL10", "[H]C([H])([H])N([H])C([H])([H])[H]", [(-135.1, 0.4, 1.1)]),
]
# The order in which the release has them does not matter; strangers are between those needed.
COLUMNS = [
    "chembl_id",
    "conf_id",
    "nonunique_smiles",
    "smiles",
    "atoms",
    "heavy_atoms",
    "GFN2_TOTAL_ENERGY",
    "GFN2_DIPOLE_X",
    "GFN2_DIPOLE_TOT",
    "GFN2_HOMO_LUMO_GAP",
    "DFT_TOTAL_ENERGY",
    "DFT_DIPOLE_X",
    "DFT_DIPOLE_TOT",
    "DFT_HOMO_LUMO_GAP",
    "significant_negative_wavenumbers",
]


def _conformers():
    for name, smiles, conformers in MOLECULES:
        for number, values in enumerate(conformers):
            yield name, f"conf_{number:02}", smiles, values


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of its own for every test."""
    monkeypatch.setenv("DEEPCHEM_DFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DEEPCHEM_DATA_DIR", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def qmugs_csv(tmp_path):
    """Folder with ``summary.csv``."""
    folder = tmp_path / "qmugs"
    folder.mkdir()
    with open(folder / "summary.csv", "w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, COLUMNS)
        table.writeheader()
        for name, conformer, smiles, (energy, gap, dipole) in _conformers():
            table.writerow(
                {
                    "chembl_id": name,
                    "conf_id": conformer,
                    "nonunique_smiles": False,
                    "smiles": smiles,
                    "atoms": smiles.count("H"),
                    "heavy_atoms": 6,
                    "GFN2_TOTAL_ENERGY": energy / 10,
                    "GFN2_DIPOLE_X": 0.0,
                    "GFN2_DIPOLE_TOT": dipole + 0.5,
                    "GFN2_HOMO_LUMO_GAP": gap / 2,
                    "DFT_TOTAL_ENERGY": energy,
                    "DFT_DIPOLE_X": dipole,
                    "DFT_DIPOLE_TOT": dipole,
                    "DFT_HOMO_LUMO_GAP": gap,
                    "significant_negative_wavenumbers": False,
                }
            )
    return folder


def sdf_text(name: str, conformer: str, smiles: str, values) -> str:
    """Return a record as RDKit's writer leaves it, with the tags of QMugs."""
    from rdkit import Chem
    from rdkit.Chem import rdDistGeom

    energy, gap, dipole = values
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMolecule(molecule, randomSeed=1)
    tags = {
        "CHEMBL_ID": name,
        "CONF_ID": conformer,
        "GFN2:TOTAL_ENERGY": energy / 10,
        "GFN2:DIPOLE": f"0.0|0.0|{dipole + 0.5}|{dipole + 0.5}",
        "GFN2:HOMO_LUMO_GAP": gap / 2,
        "GFN2:MULLIKEN_CHARGES": "|".join(["0.0"] * molecule.GetNumAtoms()),
        "DFT:TOTAL_ENERGY": energy,
        "DFT:DIPOLE": f"{dipole}|0.0|0.0|{dipole}",
        "DFT:HOMO_LUMO_GAP": gap,
    }
    body = "".join(f">  <{tag}>  (1) \n{value}\n\n" for tag, value in tags.items())
    return f"{Chem.MolToMolBlock(molecule)}{body}$$$$\n"


@pytest.fixture
def qmugs_sdf(tmp_path):
    """Folder with ``structures/CHEMBL.../conf_00.sdf``."""
    folder = tmp_path / "qmugs-sdf"
    for name, conformer, smiles, values in _conformers():
        path = folder / "structures" / name / f"{conformer}.sdf"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(sdf_text(name, conformer, smiles, values), encoding="utf-8")
    return folder


@pytest.fixture
def qmof(tmp_path):
    """Folder with both files, ten primitive cubic \"frameworks\" whose pores grow."""
    folder = tmp_path / "qmof_database"
    folder.mkdir()
    labels, structures = [], []
    for number in range(10):
        edge = 4.0 + 0.2 * number
        name = f"qmof-{number:07x}"
        labels.append(
            {
                "qmof_id": name,
                "name": f"ABCDEF{number:02}_FSR",
                "info": {
                    "formula": "ZnO",
                    "natoms": 2,
                    "pld": 2.0 + 0.5 * number,
                    "lcd": 4.0 + number,
                    "density": 1.2,
                    "volume": edge**3,
                    "mofid": {"mofid": None, "smiles_linkers": []},
                    "synthesized": True,
                    "symmetry": {"spacegroup": "P1", "spacegroup_number": 1},
                    "source": "CSD",
                },
                "inputs": {"pbe": {"theory": "pbe"}},
                "outputs": {"pbe": {"energy_total": -9.9, "bandgap": 0.3 * number, "cbm": 1.0}},
            }
        )
        structures.append(
            {
                "qmof_id": name,
                "name": f"ABCDEF{number:02}_FSR",
                "structure": {
                    "@module": "pymatgen.core.structure",
                    "@class": "Structure",
                    "charge": 0,
                    "lattice": {
                        "matrix": [[edge, 0, 0], [0, edge, 0], [0, 0, edge]],
                        "a": edge,
                        "b": edge,
                        "c": edge,
                        "alpha": 90.0,
                        "beta": 90.0,
                        "gamma": 90.0,
                        "volume": edge**3,
                    },
                    "sites": [
                        {
                            "species": [{"element": symbol, "occu": 1}],
                            "abc": [at, at, at],
                            "xyz": [at * edge] * 3,
                            "label": symbol,
                            "properties": {"pbe_magmom": 0.0},
                        }
                        for symbol, at in (("Zn", 0.0), ("O", 0.5))
                    ],
                },
            }
        )
    (folder / "qmof.json").write_text(json.dumps(labels), encoding="utf-8")
    (folder / "qmof_structure_data.json").write_text(json.dumps(structures), encoding="utf-8")
    return folder


def oqmd_page(entries: list[dict], offset: int = 0) -> dict:
    """Return an answer of the REST interface."""
    return {
        "links": {
            "next": "http://oqmd.org/oqmdapi/formationenergy?limit=6&offset=6",
            "previous": None,
            "base_url": {"href": "http://oqmd.org/oqmdapi", "meta": {"_oqmd_version": "1.0"}},
        },
        "resource": {},
        "data": entries,
        "meta": {
            "query": {"representation": "/formationenergy?limit=6"},
            "api_version": "1.0",
            "time_stamp": "2026-11-20 10:00:00",
            "data_returned": len(entries),
            "data_available": 12,
            "more_data_available": True,
        },
        "response_message": "OK",
    }


def oqmd_entry(number: int, gap: float) -> dict:
    return {
        "name": "NaCl",
        "entry_id": 16000 + number,
        "composition": "Cl1 Na1",
        "spacegroup": "Fm-3m",
        "natoms": 2,
        "band_gap": gap,
        "delta_e": -2.0 + 0.1 * number,
        "stability": 0.01 * number,
        "unit_cell": [[0, 2.82, 2.82], [2.82, 0, 2.82], [2.82, 2.82, 0]],
        "sites": ["Na @ 0 0 0", f"Cl @ {0.5 + 0.001 * number} 0.5 0.5"],
    }


@pytest.fixture
def oqmd(tmp_path):
    """Folder with two pages of six entries, the last of one also the first of the other."""
    folder = tmp_path / "oqmd"
    folder.mkdir()
    gaps = [0.0, 1.1, 5.0, 0.0, 2.9, 3.1, 0.0, 0.4, 8.0, 0.0, 3.0]
    entries = [oqmd_entry(number, gap) for number, gap in enumerate(gaps)]
    (folder / "page_0.json").write_text(json.dumps(oqmd_page(entries[:6]), indent=1))
    (folder / "page_1.json").write_text(json.dumps(oqmd_page(entries[5:])))
    return folder
