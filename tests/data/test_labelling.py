"""Labels by GFN2-xTB: physics, and files that survive."""

import csv
import signal
import subprocess
import sys

import numpy as np
import pytest

from deepchem_dft.data.properties import labelling, xtb
from deepchem_dft.data.properties.conformers import geometry
from deepchem_dft.data.properties.label_file import LabelRow, LabelWriter, read_labels, read_settings
from deepchem_dft.data.properties.labelling import GeometryRecipe, label_file, label_one
from deepchem_dft.data.properties.molecule_files import RawMolecule, read_molecules
from deepchem_dft.errors import InputError
from deepchem_dft.units import HARTREE_TO_EV

QUICK = GeometryRecipe(conformers=1)
SMILES = ["O", "C", "CO", "N#N", "[Na+]", "C=O", "not-a-smiles", "CC", "C#N", "FC", "CCO", "C.C"]


def raw(smiles: str, name: str = "x") -> RawMolecule:
    return RawMolecule(1, name, smiles, "smi")


@pytest.fixture
def molecules(tmp_path):
    path = tmp_path / "molecules.smi"
    path.write_text("".join(f"{s} m{i}\n" for i, s in enumerate(SMILES)))
    return path


class TestXTB:
    def test_numbers_published_with_tblite(self):
        """Water as in the documentation of tblite's calculator for ASE."""
        from ase.build import molecule

        water = molecule("H2O")
        labels = xtb.single_point(water.numbers, water.positions)
        assert labels.energy * HARTREE_TO_EV == pytest.approx(-137.96777594361677, abs=1e-4)
        debye_per_e_angstrom = 4.80320471
        assert labels.dipole == pytest.approx(0.476020974 * debye_per_e_angstrom, abs=1e-5)

    @pytest.mark.parametrize("smiles", ["C", "c1ccccc1", "O=C=O", "N#N", "FC(F)(F)F"])
    def test_symmetry_forbids_a_dipole(self, smiles):
        row = label_one(raw(smiles), GeometryRecipe(conformers=1, relax=True))
        assert row.dipole == pytest.approx(0, abs=0.02), row

    def test_nothing_depends_on_where_the_molecule_is(self):
        found = geometry(raw("CC(=O)N"))
        turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
        here = xtb.single_point(found.numbers, found.positions)
        there = xtb.single_point(found.numbers, found.positions @ turn + [5.0, -7.0, 11.0])
        assert np.allclose(list(vars(here).values()), list(vars(there).values()), atol=1e-6)

    def test_conjugation_closes_the_gap(self):
        gaps = [label_one(raw(s), QUICK).gap for s in ("CC", "C=C", "C=CC=C", "C=CC=CC=C")]
        assert gaps == sorted(gaps, reverse=True)

    def test_relaxing_lowers_the_energy(self):
        fixed, relaxed = (label_one(raw("CCO"), GeometryRecipe(conformers=1, relax=r)) for r in (0, 1))
        assert -0.05 < relaxed.energy - fixed.energy < -1e-4

    def test_more_conformers_find_no_higher_minimum(self):
        """The internal hydrogen bond of glycol is found among twenty."""
        from rdkit import Chem
        from rdkit.Chem import rdForceFieldHelpers

        energies = []
        for count in (1, 20):
            found = geometry(raw("OCCO"), seed=3, conformers=count)
            molecule = Chem.AddHs(Chem.MolFromSmiles("OCCO"))
            conformer = Chem.Conformer(len(found.numbers))
            conformer.SetPositions(found.positions)
            molecule.AddConformer(conformer)
            field = rdForceFieldHelpers.MMFFGetMoleculeForceField(
                molecule, rdForceFieldHelpers.MMFFGetMoleculeProperties(molecule)
            )
            energies.append(field.CalcEnergy())
        assert energies[1] < energies[0] - 0.1

    def test_seeds(self):
        first, again, other = (geometry(raw("CCCCO"), seed, 1).positions for seed in (0, 0, 1))
        assert (first == again).all() and not np.allclose(first, other)


class TestFailures:
    @pytest.mark.parametrize(
        "smiles, problem",
        [
            ("C1CC", "RDKit cannot read"),
            ("[NH4+]", "charge +1"),
            ("[CH3]", "unpaired electrons"),
            ("[Na+].[Cl-]", "2 separate molecules"),
            ("C*", "'*' is no element"),
            ("C[Xe]C[Og]", "parameters"),
        ],
    )
    def test_a_molecule_that_cannot_be_done(self, smiles, problem):
        row = label_one(raw(smiles, "the name"), QUICK)
        assert problem in row.problem and row.name == "the name"
        assert (row.dipole, row.gap, row.energy) == (None, None, None)

    def test_xtb_that_does_not_converge(self, monkeypatch):
        class Diverging:
            def __init__(self, *args):
                pass

            def set(self, *args):
                pass

            def singlepoint(self):
                raise RuntimeError("SCF not converged in 250 cycles\n")

        monkeypatch.setattr("tblite.interface.Calculator", Diverging)
        assert label_one(raw("C"), QUICK).problem == "GFN2-xTB: SCF not converged in 250 cycles"

    def test_a_fault_of_a_library_is_written_down_too(self, monkeypatch):
        def broken(*args):
            raise KeyError("orbital-energies")

        monkeypatch.setattr(xtb, "single_point", broken)
        assert label_one(raw("C"), QUICK).problem == "KeyError: 'orbital-energies'"

    def test_without_tblite_the_remedy_is_named(self, monkeypatch, molecules, tmp_path):
        monkeypatch.setitem(sys.modules, "tblite.interface", None)
        with pytest.raises(InputError, match=r"pip install 'deepchem_dft\[property\]'"):
            label_file(molecules, tmp_path / "out.csv")
        assert not (tmp_path / "out.csv").exists()


class TestInput:
    def test_sdf_and_xyz_keep_their_geometry(self, tmp_path):
        from ase.build import molecule
        from ase.io import write
        from rdkit import Chem

        atoms = molecule("CH3CH2OH")
        write(tmp_path / "two.xyz", [atoms, molecule("H2O")], format="xyz")
        expected = xtb.single_point(atoms.numbers, atoms.positions)
        frames = list(read_molecules(tmp_path / "two.xyz"))
        row = label_one(frames[0])
        assert row.smiles == "CCO" and len(frames) == 2
        assert row.energy == pytest.approx(expected.energy, abs=1e-6)
        bonded = Chem.AddHs(Chem.MolFromSmiles("CCO"))
        conformer = Chem.Conformer(9)
        order = [1, 0, 2, 8, 7, 6, 4, 5, 3]  # of ASE's ethanol, as RDKit has it
        assert [atoms.numbers[i] for i in order] == [a.GetAtomicNum() for a in bonded.GetAtoms()]
        conformer.SetPositions(atoms.positions[order])
        bonded.AddConformer(conformer)
        with Chem.SDWriter(str(tmp_path / "one.sdf")) as writer:
            writer.write(bonded)
        row = label_one(next(read_molecules(tmp_path / "one.sdf")))
        assert row.energy == pytest.approx(expected.energy, abs=1e-4)

    def test_flat_sdf_records_get_a_geometry(self, tmp_path):
        from rdkit import Chem
        from rdkit.Chem import AllChem

        flat = Chem.MolFromSmiles("CCO")
        AllChem.Compute2DCoords(flat)
        with Chem.SDWriter(str(tmp_path / "flat.sdf")) as writer:
            writer.write(flat)
        row = label_one(next(read_molecules(tmp_path / "flat.sdf")))
        assert row.energy == pytest.approx(label_one(raw("CCO")).energy, abs=1e-7)

    @pytest.mark.parametrize(
        "name, text, message",
        [
            ("a.pdb", "", "not read from .pdb"),
            ("a.smi", "\n# none\n", "holds no molecule"),
            (
                "a.xyz",
                "2\n\nH 0 0 0\n",
                "entry 1, field 'atoms': the first line announces 2 atoms, there are 1",
            ),
            ("a.xyz", "H 0 0 0\n", "is not a number of atoms"),
            ("a.sdf", "\n\n\n  1  0  0\n", "entry 1, field 'M  END': the record is cut off"),
        ],
    )
    def test_a_file_that_is_no_list_of_molecules(self, tmp_path, name, text, message):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=message):
            label_file(tmp_path / name, tmp_path / "out.csv")
        assert not (tmp_path / "out.csv").exists()


WATER = ["O 0 0 0.1173", "H 0 0.7572 -0.4692", "H 0 -0.7572 -0.4692"]


class TestElectrons:
    @pytest.mark.parametrize("smiles", ["O=O", "S=S", "S=O"])
    def test_open_shells_that_look_closed_are_refused(self, smiles):
        row = label_one(raw(smiles), QUICK)
        assert "an orbital holds 1.00 of 2 electrons" in row.problem and row.gap is None

    @pytest.mark.parametrize("smiles", ["C=C", "N#N", "C1=CC=C1", "[O-][O+]=O"])
    def test_closed_shells_of_small_gap_are_not(self, smiles):
        row = label_one(raw(smiles), QUICK)
        assert row.problem == "" and row.gap > 0.5

    def test_charges_and_columns_of_frames(self, tmp_path):
        frames = [
            ("charge=1", WATER),
            ("mult=3", WATER),
            ("charge: 0 mult: 1", WATER),
            ("pbc=T", WATER),
            ("b", [f"{row} 0.1" for row in WATER]),
            ("c", [f"{row} 0.2" for row in WATER]),
            (
                "Properties=pos:R:3:species:S:1",
                [" ".join([*row.split()[1:], row.split()[0]]) for row in WATER],
            ),
        ]
        text = "\n\n".join("\n".join(["3", comment, *rows]) for comment, rows in frames)
        (tmp_path / "all.xyz").write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
        with pytest.warns(UserWarning, match=r"entry 5 \(and 1 more\): columns behind x, y, z"):
            label_file(tmp_path / "all.xyz", tmp_path / "out.csv", recipe=QUICK)
        rows = [row for _, row in read_labels(tmp_path / "out.csv")]
        assert [row.problem for row in rows[:2]] == [
            "charge +1: the dipole moment depends on the origin",
            "2 unpaired electrons: only closed shells are labelled",
        ]
        assert "periodic" in rows[3].problem
        expected = xtb.single_point(
            np.array([8, 1, 1]), np.array([[float(x) for x in row.split()[1:]] for row in WATER])
        )
        for row in (*rows[2:3], *rows[4:]):
            assert row.problem == "" and row.energy == pytest.approx(expected.energy, abs=1e-8)


class TestFile:
    def test_rows_are_those_of_the_input_in_its_order(self, molecules, tmp_path):
        calls = []
        tally = label_file(
            molecules,
            tmp_path / "out.csv",
            jobs=2,
            recipe=QUICK,
            progress=lambda t: calls.append((t.done, t.failed)),
        )
        assert (tally.total, tally.done, tally.failed, tally.resumed) == (12, 12, 3, 0)
        assert calls[0] == (0, 0) and [c[0] for c in calls] == list(range(13))
        rows = [row for _, row in read_labels(tmp_path / "out.csv")]
        assert [row.name for row in rows] == [f"m{i}" for i in range(12)]
        assert [i for i, row in enumerate(rows) if row.problem] == [4, 6, 11]
        direct = label_one(raw("CO"), QUICK)
        assert rows[2].dipole == pytest.approx(direct.dipole, abs=1e-6)
        assert rows[2].energy == pytest.approx(direct.energy, abs=1e-8)

    def test_the_head_says_how(self, molecules, tmp_path):
        import hashlib
        from importlib.metadata import version

        label_file(molecules, tmp_path / "out.csv", recipe=GeometryRecipe(seed=5, conformers=1))
        settings = read_settings(tmp_path / "out.csv")
        assert settings["sha256"] == hashlib.sha256(molecules.read_bytes()).hexdigest()
        assert (settings["molecules"], settings["seed"], settings["conformers"]) == (12, 5, 1)
        assert settings["versions"]["tblite"] == version("tblite")

    def test_an_existing_file_is_not_overwritten(self, molecules, tmp_path):
        (tmp_path / "out.csv").write_text("mine")
        with pytest.raises(InputError, match="the file exists.*--resume"):
            label_file(molecules, tmp_path / "out.csv")
        with pytest.raises(InputError, match="says nothing of how the labels were made"):
            label_file(molecules, tmp_path / "out.csv", resume=True)
        assert (tmp_path / "out.csv").read_text() == "mine"

    @pytest.mark.parametrize("share", [1.0, 0.999, 0.9, 0.6])
    def test_a_file_cut_anywhere_is_completed_to_the_byte(self, molecules, tmp_path, share):
        out = tmp_path / "out.csv"
        label_file(molecules, out, recipe=QUICK)
        whole = out.read_bytes()
        body = whole.index(b"name,smiles") + len(b"name,smiles,dipole,gap,energy,problem\n")
        out.write_bytes(whole[: body + int(share * (len(whole) - body))])
        tally = label_file(molecules, out, resume=True, recipe=QUICK)
        assert out.read_bytes() == whole
        assert tally.done == 12 and tally.failed == 3 and (tally.resumed == 12) == (share == 1)

    @pytest.mark.parametrize(
        "recipe, field",
        [
            (GeometryRecipe(seed=1, conformers=1), "seed"),
            (GeometryRecipe(conformers=2), "conformers"),
            (GeometryRecipe(conformers=1, relax=True), "relax"),
        ],
    )
    def test_other_settings_do_not_go_on_with_a_file(self, molecules, tmp_path, recipe, field):
        out = tmp_path / "out.csv"
        with LabelWriter(out, labelling.settings(molecules, 12, QUICK)) as writer:
            writer.append(LabelRow("m0", "O", 1.0, 2.0, 3.0))
        before = out.read_bytes()
        with pytest.raises(InputError, match=f"field '{field}': the file was begun with"):
            label_file(molecules, out, resume=True, recipe=recipe)
        molecules.write_text("C\n")
        with pytest.raises(InputError, match="field 'molecules'|field 'sha256'"):
            label_file(molecules, out, resume=True, recipe=QUICK)
        assert out.read_bytes() == before

    def test_two_at_a_time_are_refused(self, molecules, tmp_path):
        settings = labelling.settings(molecules, 12, QUICK)
        with (
            LabelWriter(tmp_path / "out.csv", settings),
            pytest.raises(InputError, match="another process is writing"),
        ):
            label_file(molecules, tmp_path / "out.csv", resume=True, recipe=QUICK)

    def test_names_with_commas_quotes_and_line_ends(self, tmp_path):
        row = LabelRow('a "b", c\nd', "C", 1.0, 2.0, -3.0)
        with LabelWriter(tmp_path / "out.csv", {}) as writer:
            writer.append(row)
        ((_, read),) = read_labels(tmp_path / "out.csv")
        assert read == LabelRow('a "b", c d', "C", 1.0, 2.0, -3.0)

    @pytest.mark.parametrize(
        "text, message",
        [
            ("smiles,dipole,gap\nC,1,2\n", "there is no column 'energy'"),
            ("smiles,dipole,gap,energy\nC,1,nan,3\n", "line 2, field 'gap': 'nan' is not a finite"),
            ("# x\nsmiles,dipole,gap,energy\nC,1,,3\n", "line 3, field 'gap': '' is not a finite"),
            ("smiles,dipole,gap,energy\nC,1,2,3\nC,1\n", "line 3, field 'dipole': the line has 2"),
        ],
    )
    def test_bad_labels(self, tmp_path, text, message):
        (tmp_path / "x.csv").write_text(text)
        with pytest.raises(InputError, match=message):
            list(read_labels(tmp_path / "x.csv"))


def test_a_killed_run_goes_on_with_nothing_lost_or_doubled(molecules, tmp_path, eventually):
    """SIGKILL after five rows; its processes end, too."""
    out, other = tmp_path / "out.csv", tmp_path / "other.csv"
    code = (
        "import os, signal, sys, multiprocessing as mp\n"
        "from deepchem_dft.data.properties.labelling import GeometryRecipe, label_file\n"
        "def show(tally):\n"
        "    if tally.done == 5:\n"
        "        print(*[p.pid for p in mp.active_children()], flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "if __name__ == '__main__':\n"
        "    label_file(sys.argv[1], sys.argv[2], jobs=2, recipe=GeometryRecipe(conformers=1),\n"
        "               progress=show)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, molecules, out], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    workers = [int(word) for word in done.stdout.split()]
    assert len(workers) == 2
    with open(out, newline="") as stream:
        assert len([r for r in csv.reader(stream) if r and not r[0].startswith("#")]) == 6
    tally = label_file(molecules, out, jobs=2, resume=True, recipe=QUICK)
    assert (tally.resumed, tally.done) == (5, 12)
    label_file(molecules, other, recipe=QUICK)
    assert out.read_bytes() == other.read_bytes()
    assert eventually(lambda: not any(map(_alive, workers)))


def _alive(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
