"""``optimize``: a minimum, a table of how it was reached, and no file without it."""

import builtins
import importlib.util
import re

import numpy as np
import pytest

pytest.importorskip("ase", reason="ASE is not installed")

H2 = "H 0 0 0; H 0 0 1.2"
SMALL = ("--basis", "sto-3g", "--grid-level", "0")
TABLE = re.compile(r"^ *(\d+) +(-\d+\.\d{8}) +(\d\.\d\de[+-]\d\d)(?: +(\d+\.\d{3}))?$", re.M)


def rows(text: str) -> list[tuple[str, ...]]:
    return TABLE.findall(text)


def test_h2_reaches_the_bottom_of_its_curve(command, tmp_path):
    out = tmp_path / "h2.xyz"
    outcome = command("optimize", H2, *SMALL, "--xc", "lda", "--fmax", "1e-4", "--out", out)
    assert outcome.status == 0, outcome.err
    found = rows(outcome.out)
    energies, forces = [float(r[1]) for r in found], [float(r[2]) for r in found]
    assert [int(r[0]) for r in found] == list(range(len(found))) and len(found) > 2
    assert energies[-1] == min(energies) and forces[-1] < 1e-4 < forces[-2]
    lines = out.read_text().splitlines()
    assert lines[0] == "2" and "lda/sto-3g" in lines[1] and f"{energies[-1]:.6f}" in lines[1]
    atoms = np.array([[float(x) for x in line.split()[1:]] for line in lines[2:]])
    bond = np.linalg.norm(atoms[0] - atoms[1]) / 0.529177210903

    from scipy.optimize import minimize_scalar

    from deepchem_dft import KohnSham, Molecule

    def energy(r: float) -> float:
        molecule = Molecule(f"H 0 0 0; H 0 0 {r}", "sto-3g", grid_level=0)
        return KohnSham(molecule, "lda").run().energy.item()

    best = minimize_scalar(energy, bounds=(1.2, 1.6), method="bounded", options={"xatol": 1e-4})
    assert bond == pytest.approx(best.x, abs=2e-3)
    assert energies[-1] == pytest.approx(best.fun, abs=1e-6)
    again = command("optimize", out, *SMALL, "--xc", "lda", "--fmax", "1e-4")
    assert again.status == 0 and len(rows(again.out)) == 1


def test_what_is_no_minimum_is_not_written(command, tmp_path):
    out = tmp_path / "h2.xyz"
    outcome = command("optimize", H2, *SMALL, "--max-steps", "1", "--fmax", "1e-6", "--out", out)
    assert outcome.status == 1 and list(tmp_path.iterdir()) == []
    assert len(rows(outcome.out)) == 2 and "NOT converged after 1 step " in outcome.out
    assert "did not converge in 1 step:" in outcome.err and "nothing was written" in outcome.err


def test_a_field_that_does_not_converge(command, tmp_path, monkeypatch):
    from deepchem_dft.scf import kohn_sham, ladder

    usual, calls = ladder.solve, []

    def tired(*args, **options):
        calls.append(1)
        return usual(*args, **({**options, "max_iter": 1, "tol": 1e-14} if calls[2:] else options))

    monkeypatch.setattr(kohn_sham, "solve", tired)
    out = tmp_path / "lih.xyz"
    outcome = command("optimize", "Li 0 0 0; H 0 0 2.7", *SMALL, "--out", out)
    assert outcome.status == 1 and not out.exists() and len(rows(outcome.out)) == 2
    assert "did not converge" in outcome.err and "at geometry 2" in outcome.err


def test_of_a_radical_and_of_an_ensemble(command, tmp_path, monkeypatch):
    from deepchem_dft import zoo
    from deepchem_dft.xc.ensemble import EnsembleXC

    zoo.save(EnsembleXC(["lda", "pbe", "blyp"], 1.5), tmp_path / "mean.safetensors")
    monkeypatch.setenv("DEEPCHEM_DFT_ZOO", str(tmp_path))
    plain = command(
        "optimize", "Li 0 0 0; H 0 0 3.2", *SMALL, "--charge", "1", "--spin", "1", "--fmax", "0.02"
    )
    assert plain.status == 0 and "charge +1, 2S = 1" in plain.out
    assert "uncertainty" not in plain.out
    mean = command("optimize", H2, *SMALL, "--xc", "zoo:mean", "--fmax", "0.01")
    assert mean.status == 0, mean.err
    table = rows(mean.out)
    assert all(float(row[3]) > 1.0 for row in table)
    last = float(re.search(r"uncertainty: +(\S+) kcal/mol", mean.out).group(1))
    assert last == pytest.approx(float(table[-1][3]), abs=2e-3)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["O 0 0 0; H 0 0 1.8"], "use an odd spin"),
        (["He 0 0 0"], "an atom has no geometry"),
        ([H2, "--out", "h2.mol"], "end the name with .xyz"),
        ([H2, "--out", "no/h2.xyz"], "the folder does not exist"),
        ([H2, "--optimizer", "newton"], "use one of bfgs, geometric"),
        ([H2, "--xc", "pbee"], "pbee"),
        ([H2, "--fmax", "0"], "must be positive"),
        (["no.xyz"], "the file does not exist"),
    ],
)
def test_mistakes(command, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = command("optimize", *arguments, "--basis", "sto-3g")
    assert outcome.status == 1 and outcome.out == "" and list(tmp_path.iterdir()) == []
    assert outcome.err.startswith("error: ") and message in outcome.err


@pytest.mark.parametrize("optimizer, package", [("bfgs", "ase"), ("geometric", "geometric")])
def test_without_the_optimiser(command, monkeypatch, optimizer, package):
    find, imported = importlib.util.find_spec, builtins.__import__

    def importing(name, *args, **kwargs):
        assert name.split(".")[0] != package
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == package else find(name, *a)
    )
    monkeypatch.setattr(builtins, "__import__", importing)
    outcome = command("optimize", H2, *SMALL, "--optimizer", optimizer)
    assert outcome.status == 1 and "is not installed" in outcome.err
    asked = {"ase": "pip install 'ase>=3.22.1'", "geometric": "pip install 'deepchem_dft[geometry]'"}[package]
    other = {"ase": "geometric", "geometric": "bfgs"}[package]
    assert f"{asked} or --optimizer {other}" in outcome.err and outcome.err.count("\n") == 1
    if package == "geometric":  # what it does alone, the other cannot be asked for
        scan = ("scan", H2, "distance 1 2", "--start", "0.7", "--stop", "0.8", *SMALL)
        for alone in (scan, ("optimize", H2, "--constrain", "distance 1 2", *SMALL)):
            outcome = command(*alone)
            assert (
                outcome.status == 1 and outcome.err.endswith(f"{asked}.\n") and outcome.err.count("\n") == 1
            )
