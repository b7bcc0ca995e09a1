"""The table of `make bench` calls nothing a pass that was not compared."""

import dataclasses
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "examples" / "benchmarks"


@pytest.fixture(scope="module")
def run_all():
    spec = importlib.util.spec_from_file_location("run_all", BENCHMARKS / "run_all.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


SKIPPED = """
import pytest
@pytest.mark.parametrize("n", range(36))
def test(n):
    pytest.skip("no DQC")
"""
PASSED = "def test_one():\n    pass\n"
FAILED = "def test_two():\n    assert False\n"


@pytest.mark.parametrize(
    "text, result, figures",
    [
        (SKIPPED, "skip", "36 skipped in"),
        (PASSED + SKIPPED, "part", "1 passed, 36 skipped in"),
        (FAILED + SKIPPED, "FAIL", "1 failed, 36 skipped in"),
        ("", "FAIL", "no tests ran in"),
    ],
    ids=["skipped", "part", "failed", "none"],
)
def test_outcomes_of_tests(run_all, tmp_path, text, result, figures):
    """Of pytest as the rows call it, on files that skip, pass and fail."""
    path = tmp_path / "test_it.py"
    path.write_text(text)
    command = [word for word in run_all.pytest(str(path)) if word not in ("-n", "2")]
    done = subprocess.run(
        [*command, "--strict-markers", "-o", "markers=slow"], cwd=tmp_path, capture_output=True, text=True
    )
    assert run_all.outcome(done.returncode, done.stdout) == result, done.stdout
    assert run_all.tests(done.stdout).startswith(figures)
    assert run_all.skipped(done.stdout) == (["no DQC"] if SKIPPED in text else [])


def test_outcomes_of_scripts(run_all):
    left_out = "not compared: dqc is not installed (run: deepchem-dft install-dqc)\n"
    assert run_all.outcome(0, "all bounds reached\n") == "pass"
    assert run_all.outcome(0, f"{left_out}all bounds reached\n") == "part"
    assert run_all.outcome(1, f"{left_out}missed: memory\n") == "FAIL"


def test_the_table_names_what_was_left_out(run_all, tmp_path, monkeypatch, capsys):
    says = [sys.executable, "-c", "print('not compared: X'); print('all bounds reached')"]
    row = dataclasses.replace(run_all.CHECKS[0], name="row", command=says)
    monkeypatch.setattr(run_all, "CHECKS", [row])
    monkeypatch.setattr(sys, "argv", ["run_all.py", "--logs", str(tmp_path)])
    assert run_all.main() == 0
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("part"))
    assert "all bounds reached; not compared: X" in line


def test_the_row_of_dqc_has_nothing_but_its_tests(run_all):
    command = next(check.command for check in run_all.CHECKS if check.name == "DQC")
    assert command[-2:] == ["-m", "dqc"]
