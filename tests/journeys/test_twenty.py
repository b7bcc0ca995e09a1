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


def test_10_deepchems_tutorial_notebook_with_the_imports_changed(shell, files):
    """Its cells in order, in a smaller basis; see tests/docs/test_deepchem_tutorial.py."""
    from pyscf import dft, gto

    from ..docs import test_deepchem_tutorial as theirs

    distances = theirs.DISTANCES[::5]
    theirs.write_files(files, "sto-3g", distances)
    code = f"import numpy as np\nBASIS, R = 'sto-3g', np.array({distances.tolist()})\n"
    code += "".join(map(theirs.with_imports_changed, theirs.CELLS.values()))
    code += "print(energy.item(), loss, len(dataset), *np.ravel(predicted))"
    energy, loss, entries, *predicted = map(float, shell.script(code).splitlines()[-1].split())
    mol = gto.M(atom="H 0.86625 0 0; F -0.86625 0 0", unit="Bohr", basis="sto-3g", verbose=0)
    field = dft.RKS(mol, xc="lda,")  # no weight is on the network of that cell
    field.grids.level, field.conv_tol = 5, 1e-10
    assert energy == pytest.approx(field.kernel(), abs=2e-5)
    assert np.isfinite(loss) and entries == 2 and len(predicted) == len(distances)
    assert predicted[1] == max(predicted) and 0.1 < predicted[1] < 0.4  # Ha; H2 is bound at 1.4 Bohr most


def test_11_a_tutorial_of_the_documentation_as_a_notebook(shell, files, monkeypatch):
    """Run from its first cell to the last by a kernel of the Python that is tried."""
    for name in ("jupytext", "nbclient"):
        pytest.importorskip(name, reason="makes and runs notebooks; of the extra docs")
    from pyscf import dft, gto

    from ..docs.test_notebooks import images, nbformat, notebooks

    if shell.script("import importlib.util as i; print(i.find_spec('ipykernel'))").strip() == "None":
        pytest.skip("no Jupyter in the environment that is tried: pip install ipykernel")
    argv = [*shell.python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "tried", "language": "python", "env": shell.environment}
    spec["env"].pop("MPLBACKEND")  # figures belong into the notebook
    monkeypatch.delenv("MPLBACKEND", raising=False)
    (files / "kernels" / "tried").mkdir(parents=True)
    (files / "kernels" / "tried" / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(files))
    made = notebooks.notebook("dissociation-curve")
    show = "import deepchem_dft\nprint(deepchem_dft.__file__, restricted[-1], unrestricted[-1])"
    made.cells.append(nbformat.v4.new_code_cell(show))
    done = notebooks.execute(made, files, kernel="tried")
    where, *energies = done.cells[-1].outputs[0].text.split()
    assert images(done) and Path(where).is_relative_to(Path(CHOSEN).parents[1] if CHOSEN else ROOT)
    mol = gto.M(atom="H 0 0 0; H 0 0 6", unit="Bohr", basis="sto-3g", verbose=0)
    fields = [dft.RKS(mol, xc="pbe"), dft.UKS(mol, xc="pbe")]
    for field, alpha in zip(fields, (None, 1)):
        field.grids.level, field.conv_tol = 1, 1e-11
        first = field.get_init_guess()
        if alpha:  # a spin on each atom
            first = np.array([np.diag([1.0, 0]), np.diag([0, 1.0])])
        assert float(energies.pop(0)) == pytest.approx(field.kernel(first), abs=1e-6)


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
        assert "pip install 'deepchem_dft[geometry]'" in shell(*scan, status=1).stderr
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
