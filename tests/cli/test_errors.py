"""Bad input: one clear line on stderr, exit status 1, never a traceback."""

import os
import subprocess
import sys

import pytest

H2 = "H 0 0 0; H 0 0 1.4"

BAD_DATA = {
    "empty.yaml": ("", "empty"),
    "malformed.yaml": ("a: [1\n", "YAML"),
    "type.yaml": (
        "- {e_type: aee, true_val: 1.0, systems: [{moldesc: H 0 0 0, basis: sto-3g, spin: 1}]}\n",
        "aee",
    ),
    "parity.yaml": ("- {e_type: ie, true_val: 1.0, systems: [{moldesc: H 0 0 0, basis: sto-3g}]}\n", "spin"),
    "element.yaml": ("- {e_type: ie, true_val: 1.0, systems: [{moldesc: Xx 0 0 0, basis: sto-3g}]}\n", "Xx"),
    "value.yaml": ("- {e_type: ie, true_val: two, systems: [{moldesc: He 0 0 0, basis: sto-3g}]}\n", "two"),
}

CASES = [
    (("scf", H2, "--xc", "nonsense"), "nonsense"),
    (("scf", H2, "--basis", "sto-99g"), "sto-99g"),
    (("scf", "Qq 0 0 0"), "Qq"),
    (("scf", "H 0 0 zero"), "zero"),
    (("scf", "H 0 0 0"), "spin"),
    (("scf", H2, "--unit", "parsec"), "parsec"),
    (("scf", H2, "--engine", "abacus"), "abacus"),
    (("scf", "missing.xyz"), "missing.xyz"),
    (("scf", H2, "--run", "no/such/run"), "no/such/run"),
    (("curve", H2), "{R}"),
    (("curve", "H 0 0 0; H 0 0 {R}", "--start", "3", "--stop", "1"), "start"),
    (("curve", "H 0 0 0; H 0 0 {R}", "--exact", "n2"), "h2"),
    (("curve", "H 0 0 0; H 0 0 {R}", "--out", "curve.xls"), ".png"),
    (("curve", "H 0 0 0; H 0 0 {R}", "--out", "no/folder/curve.png"), "folder"),
    (("curve", "Li 0 0 0; H 0 0 {R}", "--exact", "h2"), "not of HLi"),
    (("curve", "H 0 0 0; H 0 0 {R}", "--exact", "h2", "--spin", "2"), "spin 2"),
    (("curve", "H 0 0 -{R}; H 0 0 {R}", "--exact", "h2"), "bond length"),
    (("train", "missing.yaml"), "missing.yaml"),
    (("evaluate",), "--xc"),
    (("evaluate", "--xc", "pbe"), "--dataset"),
    (("evaluate", "--xc", "pbe", "--dataset", "w411"), "w4-11"),
    (("evaluate", "--xc", "pbe", "--dataset", "missing.yaml"), "missing.yaml"),
    (("evaluate", "no/such/run"), "no/such/run"),
    (("evaluate", "--xc", "pbe", "--dataset", "w4-11", "--out", "no/folder/e.csv"), "no/folder"),
    (("evaluate", "--xc", "pbe", "--dataset", "w4-11", "--out", "."), "folder"),
    (("predict", "no/such/run", "x.yaml", "--out", "o.csv"), "no/such/run"),
    (("predict", "no/such/run", "x.yaml", "--out", "no/folder/p.csv"), "no/folder"),
    (("data", "check", "missing.yaml"), "missing.yaml"),
    (("data", "densities", "missing.yaml"), "missing.yaml"),
]


@pytest.mark.parametrize("arguments, words", CASES, ids=[" ".join(c[0])[:40] for c in CASES])
def test_one_line_and_status_1(command, arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = command(*arguments)
    assert outcome.status == 1
    lines = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and words in lines[0]
    assert "Traceback" not in outcome.out + outcome.err


@pytest.mark.parametrize("name", BAD_DATA)
def test_data_check_names_file_and_problem(command, name, tmp_path):
    text, words = BAD_DATA[name]
    path = tmp_path / name
    path.write_text(text)
    outcome = command("data", "check", path)
    assert outcome.status == 1
    assert name in outcome.err and words in outcome.err
    assert "Traceback" not in outcome.err


def test_data_check_names_every_problem(command, tmp_path):
    path = tmp_path / "two.yaml"
    path.write_text(BAD_DATA["type.yaml"][0] + BAD_DATA["value.yaml"][0])
    outcome = command("data", "check", path)
    assert outcome.status == 1 and "aee" in outcome.err and "two" in outcome.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("scf",),
        ("trian", "x"),
        ("scf", H2, "--spinn", "1"),
        ("curve", H2, "--points", "1"),
        ("evaluate", "--xc", "pbe", "--dataset", "w4-11", "--max-heavy", "-1"),
    ],
)
def test_misuse_of_the_command_itself(command, arguments):
    outcome = command(*arguments)
    assert outcome.status == 2 and "Traceback" not in outcome.err


def test_unexpected_errors_are_short_unless_debugging(command, monkeypatch):
    from deepchem_dft import scf

    def broken(*args, **kwargs):
        raise ZeroDivisionError("in the middle")

    monkeypatch.setattr(scf, "KohnSham", broken)
    outcome = command("scf", H2)
    assert outcome.status == 1
    assert "unexpected ZeroDivisionError: in the middle" in outcome.err
    assert "DEEPCHEM_DFT_DEBUG" in outcome.err and "Traceback" not in outcome.err


def test_debug_shows_the_traceback():
    done = subprocess.run(
        [sys.executable, "-m", "deepchem_dft", "train", "missing.yaml"],
        capture_output=True,
        text=True,
        env={**os.environ, "DEEPCHEM_DFT_DEBUG": "1"},
    )
    assert done.returncode == 1 and "Traceback" in done.stderr


def test_import_noise_is_silenced():
    """DeepChem logs a dozen lines about packages it does not find; none may reach the user."""
    code = "from deepchem_dft.cli.common import load_deepchem; load_deepchem()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_notebook_is_not_greeted_by_others():
    """Imported before DeepChem, this package keeps it from listing what it does not find."""
    code = (
        "import deepchem_dft, deepchem; from deepchem_dft import XCModel; XCModel('pbe', {'family': 'gga'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
