"""Twenty tasks of a working day, one test each, as commands and scripts in processes of their own.

``DEEPCHEM_DFT_PYTHON`` names the Python whose package is tried: that of an environment with the installed
wheel and nothing of the checkout, as ``make dist`` has one. Without it, it is this checkout. What is right,
PySCF and ASE say in this process.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from .test_reactions import HARTREE_TO_KCAL, pyscf_field

ROOT = Path(__file__).resolve().parents[2]
#: The Python that is tried.
CHOSEN = os.environ.get("DEEPCHEM_DFT_PYTHON") and os.path.abspath(os.environ["DEEPCHEM_DFT_PYTHON"])
HARTREE_TO_EV, BOHR = 27.211386245988, 0.529177210903
SMALL = ("--basis", "sto-3g", "--grid-level", "1", "--xc", "pbe")
pytestmark = pytest.mark.slow


class Shell:
    """Commands and scripts of the package that is tried."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = [CHOSEN, "-I"] if CHOSEN else [sys.executable]
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "DEEPCHEM_DFT"))}
        self.environment = kept | {"MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        if not CHOSEN:
            self.environment["PYTHONPATH"] = str(ROOT)

    def start(self, *words: object, **options) -> subprocess.Popen:
        call = [*self.python, *map(str, words)]
        pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(call, cwd=self.folder, env=self.environment, **pipe, **options)

    def __call__(self, *words: object, status: int = 0) -> subprocess.CompletedProcess:
        """Run a command; return what it said."""
        return self._ended(self.start("-m", "deepchem_dft", *words), status)

    def script(self, code: str, *arguments: object) -> str:
        """Run Python; return what it prints."""
        return self._ended(self.start("-c", code, *arguments), 0).stdout

    def json(self, *words: object):
        return json.loads(self(*words, "--json").stdout)

    @staticmethod
    def _ended(process: subprocess.Popen, status: int) -> subprocess.CompletedProcess:
        out, err = process.communicate()
        assert process.returncode == status, f"{out[-1000:]}\n{err[-2000:]}"
        return subprocess.CompletedProcess(process.args, status, out, err)


@pytest.fixture
def shell(files) -> Shell:
    return Shell(files)


def test_00_the_package_is_the_one_that_is_tried(shell):
    where = Path(shell.script("import deepchem_dft; print(deepchem_dft.__file__)").strip())
    assert where.is_relative_to(Path(CHOSEN).parents[1] if CHOSEN else ROOT)


def test_01_reaction_of_xyz_files_with_uncertainty(shell):
    how = ("--xc", "zoo:nn-hybrid-ensemble", "--xc", "pbe", "--basis", "sto-3g", "--grid-level", "1")
    found = shell.json("reaction", "water.xyz -> oh.xyz + h.xyz", *how, "--jobs", "1", "-q")
    rows = {row["functional"]: row for row in found["reactions"][0]["energies"]}
    fields = [
        pyscf_field(name, spin, "pbe").e_tot for name, spin in (("water.xyz", 0), ("oh.xyz", 1), ("h.xyz", 1))
    ]
    expected = (fields[1] + fields[2] - fields[0]) * HARTREE_TO_KCAL
    assert rows["pbe"]["energy_kcal_mol"] == pytest.approx(expected, abs=0.02)
    assert rows["pbe"]["uncertainty_kcal_mol"] is None
    assert 0.1 < rows["zoo:nn-hybrid-ensemble"]["uncertainty_kcal_mol"] < 10


def test_02_radical_cation_by_multiplicity(shell):
    found = shell.json("scf", "h2_cation.xyz", *SMALL, "-q")
    said = shell.json("scf", "h2.xyz", *SMALL, "--charge", "1", "--multiplicity", "2", "-q")
    expected = pyscf_field("h2_cation.xyz", 1, "pbe").e_tot
    assert found["return_result"] == pytest.approx(expected, abs=1e-7)
    assert said["molecule"]["molecular_multiplicity"] == 2 and said["return_result"] > expected


@pytest.mark.parametrize("name", ["03_water", "04_formaldehyde"])
def test_optimised_frequencies_and_gibbs_energy(shell, name):
    """Both optimised and differentiated by each program's own route."""
    from pyscf import dft, gto
    from pyscf.geomopt import geometric_solver
    from pyscf.hessian import thermo

    start = {
        "03_water": "O 0 0 0.12; H 0 0.78 -0.47; H 0 -0.78 -0.47",
        "04_formaldehyde": "C 0 0 -0.53; O 0 0 0.68; H 0 0.94 -1.12; H 0 -0.94 -1.12",
    }[name]
    how = ("--xc", "pbe", "--basis", "6-31g")
    shell("optimize", start, "--unit", "angstrom", *how, "--fmax", "1e-5", "--out", "best.xyz")
    found = shell.json("frequencies", "best.xyz", *how)
    field = dft.RKS(gto.M(atom=start, basis="6-31g", verbose=0), xc="pbe")
    field.conv_tol = 1e-11
    best = geometric_solver.optimize(
        field, convergence_gmax=3e-5, convergence_grms=1e-5, assert_convergence=True
    )
    field = dft.RKS(best, xc="pbe")
    field.conv_tol = 1e-11
    field.run(verbose=0)
    own = thermo.harmonic_analysis(best, field.Hessian().kernel())
    gas = thermo.thermo(field, own["freq_au"], 298.15)
    np.testing.assert_allclose(found["wavenumbers_per_cm"], own["freq_wavenumber"], atol=5)
    # PySCF loses the twofold axis of a geometry that it has optimised, and with it k T ln 2
    turns = found["ideal_gas"]["symmetry_number"]
    lost = 298.15 * 3.1668115634556e-6 * np.log(turns / gas["sym_number"][0])
    apart = found["ideal_gas"]["gibbs_energy_hartree"] - (gas["G_tot"][0] + lost)
    assert turns == 2
    assert apart * HARTREE_TO_KCAL == pytest.approx(0, abs=0.1)


def test_05_solvent_shift(shell):
    asked = ("scf", "water.xyz", *SMALL, "-q")
    energies = [shell.json(*asked, *more)["return_result"] for more in (("--solvent", "water"), ())]
    wet = pyscf_field("water.xyz", 0, "pbe").SMD()
    wet.with_solvent.solvent = "water"
    expected = wet.run().e_tot - pyscf_field("water.xyz", 0, "pbe").e_tot
    assert energies[0] - energies[1] == pytest.approx(expected, abs=1e-7) and expected < -0.005


def test_06_json_read_back(shell):
    """By a program that knows QCSchema only: the molecule of the answer gives its energy and dipole."""
    from pyscf import dft, gto

    answer = shell.json("scf", "water.xyz", *SMALL, "--charge", "1", "--multiplicity", "2", "-q")
    molecule, parts = answer["molecule"], answer["properties"]
    mol = gto.M(
        atom=list(zip(molecule["symbols"], np.reshape(molecule["geometry"], (-1, 3)))),
        unit="Bohr",
        charge=int(molecule["molecular_charge"]),
        spin=molecule["molecular_multiplicity"] - 1,
        basis=answer["model"]["basis"],
        verbose=0,
    )
    field = dft.UKS(mol, xc=answer["model"]["method"])
    field.grids.level, field.conv_tol = 1, 1e-11
    assert parts["return_energy"] == pytest.approx(field.kernel(), abs=1e-7)
    size = np.linalg.norm(field.dip_moment(unit="AU", verbose=0))
    assert np.linalg.norm(parts["scf_dipole_moment"]) == pytest.approx(size, abs=1e-4)


def test_07_cube_opened_by_ase(shell, files):
    from ase.io.cube import read_cube

    shell("scf", "oh.xyz", *SMALL, "-q", "--cube", "spin-density=s.cube", "--cube", "homo=h.cube")
    for name, power in (("s", 1), ("h", 2)):
        with open(files / f"{name}.cube") as stream:
            cube = read_cube(stream)
        step = abs(np.linalg.det(cube["spacing"])) / BOHR**3
        assert float((cube["data"] ** power).sum() * step) == pytest.approx(1, abs=0.03)
    assert cube["atoms"].get_chemical_formula() == "HO"


def test_08_molden_opened_by_pyscf(shell, files):
    from pyscf import dft
    from pyscf.tools import molden

    energy = float(
        re.search(
            r"energy: +(\S+) Ha", shell("scf", "water.xyz", *SMALL, "-q", "--molden", "w.molden").stdout
        )[1]
    )
    mol, _, orbitals, occupations, *_ = molden.load(str(files / "w.molden"))
    mol.build(verbose=0)
    field = dft.RKS(mol, xc="pbe")
    field.grids.level = 1
    assert field.energy_tot((orbitals * occupations) @ orbitals.T) == pytest.approx(energy, abs=1e-5)


def test_09_ten_files_killed_and_resumed(shell, files):
    names = []
    for number, length in enumerate(np.linspace(0.9, 1.1, 10)):
        names.append(f"m{number}.xyz")
        (files / names[-1]).write_text(f"3\n\nO 0 0 0\nH 0 0 {length:.4f}\nH 0 {length:.4f} 0\n")
    run = ("scf", *names, *SMALL, "--jobs", "1", "-q", "--keep", "kept.jsonl")
    kept = files / "kept.jsonl"
    process = shell.start("-m", "deepchem_dft", *run, start_new_session=True)
    while process.poll() is None and (not kept.exists() or kept.read_bytes().count(b"\n") < 3):
        time.sleep(0.02)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before = kept.read_bytes().rpartition(b"\n")[0]
    assert before.count(b"\n") >= 2
    rows = shell.json(*run)["rows"]
    assert kept.read_bytes().startswith(before)  # none of them was solved again
    assert kept.read_bytes().count(b"\n") == 10 == len({row["energy_hartree"] for row in rows})
    (files / "again.xyz").write_text((files / "m7.xyz").read_text())
    alone = shell.json("scf", "again.xyz", *SMALL, "-q")["return_result"]
    assert rows[7]["energy_hartree"] == pytest.approx(alone, abs=1e-7)


def test_10_deepchem_workflow_with_the_imports_changed(shell, files):
    """Loader, splitter, model, fit, metric, as DeepChem has them."""
    lines = ["format: deepchem_dft/1", "source: own", "defaults: {basis: sto-3g}", "entries:"]
    for number, length in enumerate((1.3, 1.4, 1.5, 1.6)):
        where = f"{{geometry: H 0 0 0; H 0 0 {length}}}"
        lines.append(
            f"- {{name: h{number}, type: ae, value: 109.5 kcal/mol, molecule: {where}, atoms: auto}}"
        )
    (files / "h2.yaml").write_text("\n".join(lines) + "\n")
    code = """
import deepchem as dc
from deepchem_dft import DFTYamlLoader, NNLDA, XCModel
from torch import nn
data = DFTYamlLoader().create_dataset("h2.yaml")
train, test = dc.splits.RandomSplitter().train_test_split(data, frac_train=0.5, seed=1)
model = XCModel("lda_x", batch_size=1, learning_rate=1e-3, grid_level=0)
before = model.evaluate(train, [dc.metrics.Metric(dc.metrics.mean_absolute_error)])
model.fit(train, nb_epoch=3)
after = model.evaluate(train, [dc.metrics.Metric(dc.metrics.mean_absolute_error)])
errors = [found["mean_absolute_error"] for found in (before, after)]
print(len(train), len(test), errors[1] < errors[0], model.predict(test).shape)
"""
    assert shell.script(code).splitlines()[-1] == "2 2 True (2, 1)"


def test_11_a_page_of_the_documentation_pasted(shell):
    from ..docs.test_code_samples import blocks, write_files

    page = ROOT / "docs" / "getting-started.md"
    write_files(page, shell.folder)
    code = "\n".join(blocks(page, "python"))
    assert code and shell.script(code) is not None


_TIMED = """
import sys, time
sys.argv = ["deepchem-dft", "scf", "h2.xyz", "--xc", "zoo:nn-hybird"]
from deepchem_dft.cli import main
try:
    main()
except SystemExit as end:
    print(end.code, "torch" in sys.modules, time.process_time())
"""


def test_12_a_wrong_name_is_answered_at_once(shell):
    """Processor time, the least of a few: what else the machine does cannot add to that."""
    said = [shell.script(_TIMED).split() for _ in range(4)]
    assert {tuple(one[:2]) for one in said} == {("1", "False")}
    assert min(float(one[2]) for one in said) < 1.0
    outcome = shell("scf", "h2.xyz", "--xc", "zoo:nn-hybird", status=1)
    assert "did you mean 'nn-hybrid'" in outcome.stderr


def test_13_a_calculator_pickled(shell):
    first = """
import pickle
from ase.build import molecule
from deepchem_dft.interop.ase import KohnShamCalculator
atoms = molecule("H2O", calculator=KohnShamCalculator("zoo:nn-mgga", basis="sto-3g", grid_level=1))
print(atoms.get_potential_energy())
pickle.dump(atoms, open("atoms.pickle", "wb"))
"""
    second = """
import pickle
atoms = pickle.load(open("atoms.pickle", "rb"))
iterations = atoms.calc.result.iterations
print(atoms.get_potential_energy())
atoms.positions[0, 2] += 0.01
atoms.get_forces()
print(iterations, atoms.calc.result.iterations)
"""
    energy = shell.script(first).split()[-1]
    again, before, after = shell.script(second).split()
    assert again == energy and int(after) < int(before)  # it goes on from the orbitals that it had


def test_14_a_trajectory_with_energies_and_forces(shell, files):
    import ase.io

    data = shell.json("optimize", "h2.xyz", *SMALL, "--trajectory", "way.xyz")
    frames = ase.io.read(files / "way.xyz", index=":")
    assert len(frames) == len(data["steps"]) > 1
    for frame, step in zip(frames, data["steps"], strict=True):
        energy = step["energy_hartree"] * HARTREE_TO_EV
        assert frame.get_potential_energy() == pytest.approx(energy, abs=1e-6)
    assert abs(frames[0].get_forces()).max() > abs(frames[-1].get_forces()).max()


def test_15_a_relaxed_scan(shell):
    from pyscf import dft, gto

    steps = ("--start", "0.9", "--stop", "1.1", "--points", "3")
    scan = ("scan", "water.xyz", "distance 1 2", *SMALL, *steps)
    if shell.script("import importlib.util as i; print(i.find_spec('geometric'))").strip() == "None":
        assert "pip install geometric" in shell(*scan, status=1).stderr
        return
    found = shell.json(*scan)
    energies = [point["energy_hartree"] for point in found["points"]]
    for point in found["points"]:
        where = np.array(point["positions_bohr"])
        assert np.linalg.norm(where[0] - where[1]) * BOHR == pytest.approx(point["value_angstrom"], abs=1e-4)
    mol = gto.M(atom=list(zip(found["symbols"], where)), unit="Bohr", basis="sto-3g", verbose=0)
    field = dft.RKS(mol, xc="pbe")
    field.grids.level, field.conv_tol = 1, 1e-11
    assert energies[-1] == pytest.approx(field.kernel(), abs=1e-6) and energies[1] == min(energies)


def test_16_an_anion_is_warned_of_and_with_diffuse_functions_not(shell):
    anion = ("scf", "O 0 0 0; H 0 0 1.8", "--charge", "-1", "--grid-level", "0", "-q", "--basis")
    assert "no diffuse functions" in shell(*anion, "6-31g").stderr
    assert shell(*anion, "6-31+g").stderr == ""


def test_17_orbitals_written_and_read(shell):
    runs = [
        shell.json("scf", "water.xyz", *SMALL, "-q", *more)
        for more in (("--write", "w.npz"), ("--read", "w.npz"))
    ]
    counts = [run["properties"]["scf_iterations"] for run in runs]
    assert counts[1] <= 2 < counts[0]


def test_18_a_functional_trained_exported_and_used(shell):
    short = (
        "data.basis=sto-3g data.grid_level=0 data.train.0.max_heavy=1 data.train.1.names=[H] "
        "data.valid.0.max_heavy=1 data.valid.1.names=[He] data.test.0.min_heavy=1 data.test.0.max_heavy=1 "
        "data.test.1.names=[Li] training.stages.0.epochs=2 training.stages.1.epochs=1 training.threads=1 "
        "training.stages.0.validate_every=1 training.stages.1.validate_every=1 evaluation.processes=1"
    )
    trained = shell("train", "--example", "train_pbe_mgga", *short.split(), "--run-dir", "runs/mine")
    assert "trains on " in trained.stdout + trained.stderr
    shell("export", "runs/mine", "--to", "mine.safetensors")
    asked = ("scf", "water.xyz", "--basis", "sto-3g", "--grid-level", "1", "-q")
    used = [
        shell.json(*asked, *which)["return_result"]
        for which in (("--xc", "mine.safetensors"), ("--run", "runs/mine"))
    ]
    assert used[0] == pytest.approx(used[1], abs=1e-8)


def test_19_a_data_file_names_geometries_and_is_predicted(shell, files):
    (files / "data").mkdir()
    (files / "data" / "w.xyz").write_text((files / "water.xyz").read_text())
    (files / "data" / "mine.yaml").write_text(
        "format: deepchem_dft/1\nsource: mine\ndefaults: {basis: sto-3g}\n"
        "systems: {w: w.xyz, n: {smiles: N}}\n"
        "entries:\n- {name: w, type: energy, molecule: w}\n- {name: n, type: ae, molecule: n, atoms: auto}\n"
    )
    asked = ("pbe", "data/mine.yaml", "--grid-level", "1", "--jobs", "1", "--out", "p.csv")
    rows = shell.json("predict", *asked)["entries"]
    expected = pyscf_field("water.xyz", 0, "pbe").e_tot * HARTREE_TO_KCAL
    assert rows[0]["calculated"] == pytest.approx(expected, abs=1e-3)
    assert {row["unit"] for row in rows} == {"kcal/mol"} and 200 < rows[1]["calculated"] < 400


def test_20_ase_finds_and_uses_the_calculator(shell):
    code = """
from ase.build import molecule
from ase.optimize import BFGS
import deepchem_dft.interop.ase
from ase.calculators.calculator import get_calculator_class
atoms = molecule("H2O", calculator=get_calculator_class("deepchem_dft")(basis="sto-3g", grid_level=1))
BFGS(atoms, logfile=None).run(fmax=0.02)
print(atoms.get_potential_energy(), *atoms.get_charges(), *atoms.calc.get_homo_lumo())
print(abs(atoms.get_forces()).max())
"""
    energy, *charges, homo, lumo, largest = map(float, shell.script(code).split())
    water = pyscf_field("water.xyz", 0, "pbe")
    assert energy < water.e_tot * HARTREE_TO_EV and largest < 0.02
    assert charges[0] < 0 < charges[1] and sum(charges) == pytest.approx(0, abs=1e-6)
    assert homo == pytest.approx(water.mo_energy[4] * HARTREE_TO_EV, abs=1) and lumo > homo
