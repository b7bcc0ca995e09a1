"""What commands print and write: right numbers, each with its unit."""

import csv
import re
from pathlib import Path

import pytest

from deepchem_dft.units import HARTREE_TO_KCAL

from ..runs.conftest import DATA, write_run

WATER = "O 0 0 0; H 0 1.43 -0.98; H 0 -1.43 -0.98"
SMALL = ("--basis", "sto-3g", "--grid-level", "1")


def read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A run directory, made from Python."""
    from deepchem_dft.runs import load_config, run

    folder = tmp_path_factory.mktemp("trained")
    overrides = ["training.epochs=3", "output.plots=false", "baselines=[pbe]"]
    run(load_config(write_run(folder), overrides), folder / "run")
    return folder / "run"


def pyscf_water(spin: int = 0, charge: int = 0):
    from pyscf import dft, gto

    mol = gto.M(atom=WATER, basis="sto-3g", unit="Bohr", spin=spin, charge=charge, verbose=0)
    mf = dft.UKS(mol, xc="pbe") if spin else dft.RKS(mol, xc="pbe")
    mf.grids.level, mf.conv_tol = 1, 1e-11
    mf.kernel()
    return mf


def test_scf_prints_what_pyscf_computes(command):
    outcome = command("scf", WATER, *SMALL, "--forces")
    assert outcome.status == 0
    mf = pyscf_water()
    energy = float(re.search(r"energy: +(\S+) Ha\n", outcome.out).group(1))
    assert energy == pytest.approx(mf.e_tot, abs=1e-7)
    gap = float(re.search(r"gap: +(\S+) eV", outcome.out).group(1))
    assert gap == pytest.approx((mf.mo_energy[5] - mf.mo_energy[4]) * 27.211386, abs=2e-3)
    dipole = float(re.search(r"dipole: +(\S+) Debye", outcome.out).group(1))
    assert dipole == pytest.approx((mf.dip_moment(verbose=0) ** 2).sum() ** 0.5, abs=2e-3)
    assert "status:     converged" in outcome.out and "forces (Ha/Bohr)" in outcome.out
    rows = [line.split() for line in outcome.out.split("forces (Ha/Bohr):")[1].splitlines()[1:4]]
    assert [row[0] for row in rows] == ["O", "H", "H"]
    total = [sum(float(row[i]) for row in rows) for i in (1, 2, 3)]
    assert total == pytest.approx([0.0, 0.0, 0.0], abs=1e-5)


def test_scf_of_a_charged_open_shell(command):
    outcome = command("scf", WATER, *SMALL, "--charge", "1", "--spin", "1")
    energy = float(re.search(r"energy: +(\S+) Ha\n", outcome.out).group(1))
    assert energy == pytest.approx(pyscf_water(spin=1, charge=1).e_tot, abs=1e-6)
    assert "charge +1, 2S = 1" in outcome.out and "about the origin" in outcome.out


def test_scf_reads_xyz_in_angstrom(command, tmp_path):
    atoms = [line.split() for line in WATER.split(";")]
    lines = [f"{a[0]} " + " ".join(str(float(x) * 0.529177210903) for x in a[1:]) for a in atoms]
    (tmp_path / "water.xyz").write_text("3\nwater\n" + "\n".join(lines) + "\n")
    a = command("scf", tmp_path / "water.xyz", *SMALL).out
    b = command("scf", WATER, *SMALL).out
    energies = [float(re.search(r"energy: +(\S+) Ha", text).group(1)) for text in (a, b)]
    assert energies[0] == pytest.approx(energies[1], abs=1e-7)
    (tmp_path / "bad.xyz").write_text("4\nwater\n" + "\n".join(lines) + "\n")
    outcome = command("scf", tmp_path / "bad.xyz")
    assert outcome.status == 1 and "announces 4 atoms, there are 3" in outcome.err


def test_scf_that_does_not_converge_fails(command, monkeypatch):
    from deepchem_dft.scf import kohn_sham, ladder

    usual = ladder.solve
    monkeypatch.setattr(kohn_sham, "solve", lambda *a, **o: usual(*a, **{**o, "max_iter": 1, "tol": 1e-14}))
    outcome = command("scf", WATER, *SMALL)
    assert outcome.status == 1 and "did not converge" in outcome.err
    assert "not a prediction" in outcome.err


def test_scf_with_a_trained_functional(command, trained):
    outcome = command("scf", "Li 0 0 0", "--spin", "1", *SMALL, "--run", trained)
    assert outcome.status == 0 and "trained in" in outcome.out
    from deepchem_dft.molecule import Molecule
    from deepchem_dft.runs import load_functional
    from deepchem_dft.scf import KohnSham

    molecule = Molecule("Li 0 0 0", "sto-3g", spin=1, grid_level=1)
    expected = float(KohnSham(molecule, load_functional(trained)).run().energy.detach())
    energy = float(re.search(r"energy: +(\S+) Ha", outcome.out).group(1))
    assert energy == pytest.approx(expected, abs=1e-7)


def test_a_curve_without_a_range_shows_the_well(command, tmp_path):
    """From radii: the bond length lies inside, and both ends are well above."""
    table = tmp_path / "lih.csv"
    start = ("curve", "Li 0 0 0; H 0 0 {R}", "--xc", "lda", "--unit", "angstrom")
    outcome = command(*start, "--points", "5", "--jobs", "1", *SMALL, "--out", table)
    assert outcome.status == 0, outcome.err
    distances = [float(row["R_angstrom"]) for row in read(table)]
    assert distances[0] == pytest.approx(0.7 * (1.28 + 0.31)) and distances[-1] == pytest.approx(4 * 1.59)
    above = [float(row["lda_above_lowest_kcal_per_mol"]) for row in read(table)]
    assert min(above) == 0.0 < min(above[0], above[-1]) and above.index(0.0) in (1, 2)
    refused = command("curve", "H 0 {R} 0; F 0 1 1.7", "--jobs", "1", *SMALL)
    assert refused.status == 1 and "--start and --stop" in refused.err


def test_curve(command, tmp_path, trained):
    table, figure = tmp_path / "h2.csv", tmp_path / "h2.png"
    given = f"--xc lda --run {trained} --exact h2 --start 1.4 --stop 4 --points 2 --jobs 1"
    outcome = command("curve", "H 0 0 0; H 0 0 {R}", given, *SMALL, "--out", table, "--out", figure)
    assert outcome.status == 0, outcome.err
    assert "R (bohr)" in outcome.out and "error (kcal/mol)" in outcome.out
    rows = read(table)
    assert float(rows[0]["exact_hartree"]) == pytest.approx(-1.174475714, abs=1e-6)
    assert {"lda_hartree", "trained_hartree"} <= rows[0].keys()
    lda = [float(row["lda_hartree"]) for row in rows]
    for row, energy in zip(rows, lda):
        above = float(row["lda_above_lowest_kcal_per_mol"])
        assert above == pytest.approx((energy - min(lda)) * 627.5094740631, abs=1e-4)
    assert "lda above lowest (kcal/mol)" in outcome.out
    from pyscf import dft, gto

    mf = dft.RKS(gto.M(atom="H 0 0 0; H 0 0 1.4", basis="sto-3g", unit="Bohr", verbose=0), xc="lda")
    mf.grids.level = 1
    assert float(rows[0]["lda_hartree"]) == pytest.approx(mf.kernel(), abs=1e-7)
    assert figure.stat().st_size > 5000


def test_evaluate_names(command, tmp_path):
    (tmp_path / "data.yaml").write_text(DATA)
    out = tmp_path / "errors.csv"
    given = f"--xc lda --xc pbe --dataset {tmp_path}/data.yaml --grid-level 1 --jobs 1 --entries"
    outcome = command("evaluate", given, "--out", out)
    assert outcome.status == 0, outcome.err
    assert "kcal/mol" in outcome.out and "| pbe" in outcome.out
    assert "uncertain" not in outcome.out and "68 %" not in outcome.out  # no ensemble
    rows = [r for r in read(out) if r["entry"] == "tiny:He"]
    from pyscf import dft, gto

    energies = []
    for charge in (1, 0):
        mol = gto.M(atom="He", basis="sto-3g", charge=charge, spin=charge, verbose=0)
        mf = dft.UKS(mol, xc="lda")
        mf.grids.level = 1
        energies.append(mf.kernel())
    expected = (energies[0] - energies[1]) * HARTREE_TO_KCAL - 24.59 / 27.211386 * HARTREE_TO_KCAL
    lda = next(r for r in rows if r["functional"] == "lda")
    assert float(lda["error_kcal_per_mol"]) == pytest.approx(expected, abs=1e-3)


def test_evaluate_a_run_on_its_own_test_set(command, trained):
    outcome = command("evaluate", trained, "--jobs", "1")
    assert outcome.status == 0, outcome.err
    row = next(
        r for r in read(trained / "results.csv") if (r["functional"], r["role"]) == ("trained", "test")
    )
    assert f"{float(row['mae']):.2f}" in outcome.out


def test_predict(command, trained, tmp_path):
    (tmp_path / "data.yaml").write_text(DATA)
    out = tmp_path / "predictions.csv"
    outcome = command("predict", trained, tmp_path / "data.yaml", "--out", out, "--jobs", "1")
    assert outcome.status == 0, outcome.err
    rows = read(out)
    known = {r["entry"]: r["value"] for r in read(trained / "entries.csv") if r["functional"] == "trained"}
    assert [r["entry"] for r in rows] == ["tiny:H2", "tiny:LiH", "tiny:He", "tiny:Li"]
    for row in rows:
        assert float(row["value"]) == pytest.approx(float(known[row["entry"]]), abs=1e-6)
        assert row["unit"] == "hartree"


def test_train_from_the_command_line(command, tiny_run):
    config, folder = tiny_run
    arguments = ("train", config, "training.epochs=2", "output.plots=false", "--run-dir", folder)
    outcome = command(*arguments)
    assert outcome.status == 0, outcome.err
    assert "epoch 2/2: loss" in outcome.err and "kcal/mol, unconverged 0" in outcome.err
    assert "| trained" in outcome.out and str(folder) in outcome.out
    refused = command(*arguments)
    assert refused.status == 1 and "--resume" in refused.err
    assert command(*arguments, "--resume", "--quiet").status == 0
    other = command("train", config, "training.seed=4", "--run-dir", folder, "--resume")
    assert other.status == 1 and "training" in other.err


def test_interrupted_training_says_how_to_go_on(command, tiny_run, monkeypatch):
    from deepchem_dft.runs.xc.run import FunctionalRun

    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(FunctionalRun, "train", interrupted)
    config, folder = tiny_run
    outcome = command("train", config, "training.epochs=2", "--run-dir", folder)
    assert outcome.status == 130
    assert f"training.epochs=2 --run-dir {folder} --resume" in outcome.err


@pytest.fixture
def tiny_run(tmp_path) -> tuple[Path, Path]:
    return write_run(tmp_path), tmp_path / "run"


def test_data_check_of_good_files(command, tmp_path):
    (tmp_path / "data.yaml").write_text(DATA)
    outcome = command("data", "check", tmp_path / "data.yaml")
    assert outcome.status == 0
    assert "2 ae, 2 ie; 7 different systems; no problems" in outcome.out


def test_data_check_takes_names_of_the_package(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = command("data", "check", "w4-11")
    assert outcome.status == 0 and outcome.out.startswith("w4-11: 114 ae; ")
    (tmp_path / "w4-11").write_text("{}")  # a file of this name comes first
    assert command("data", "check", "w4-11").status == 1


def test_data_list(command):
    outcome = command("data", "list")
    assert outcome.status == 0
    assert re.search(r"w4-11 +\| +\d+ \| +ae", outcome.out)


def test_data_densities(command, tmp_path):
    (tmp_path / "data.yaml").write_text(
        "format: deepchem_dft/1\ndefaults: {basis: sto-3g}\n"
        "entries:\n- {name: he, type: dm, value: ccsd, systems: [{geometry: He 0 0 0}]}\n"
    )
    outcome = command("data", "densities", tmp_path / "data.yaml", "--out", tmp_path / "out")
    assert outcome.status == 0, outcome.err
    assert command("data", "check", tmp_path / "out" / "densities.yaml").status == 0


def test_install_dqc_dry_run_changes_nothing(command):
    outcome = command("install-dqc", "--dry-run")
    if outcome.status:  # not the platform of its wheels
        assert "Linux" in outcome.err or "glibc" in outcome.err or "virtual" in outcome.err
    else:
        assert "would" in outcome.out or "nothing to do" in outcome.out
    assert command("install-dqc", "--status").status == 0
