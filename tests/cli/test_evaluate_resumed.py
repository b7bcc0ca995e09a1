"""``evaluate --keep``: killed in the middle, it goes on, does less, and prints the same table."""

import contextlib
import json
import multiprocessing
import os
import signal
import sys

import pytest

from deepchem_dft import zoo
from deepchem_dft.scf import KohnSham
from deepchem_dft.xc.ensemble import EnsembleXC

from ..runs.conftest import DATA

SYSTEMS = 7  # H2, H, LiH, Li, He, He+, Li+


@pytest.fixture
def arguments(tmp_path, monkeypatch) -> list[str]:
    """An evaluation of an ensemble and of a functional by name."""
    zoo.save(EnsembleXC(["lda", "pbe"]), tmp_path / "both.safetensors")
    monkeypatch.setenv("DEEPCHEM_DFT_ZOO", str(tmp_path))
    (tmp_path / "data.yaml").write_text(DATA)
    return [
        "evaluate",
        "--xc",
        "zoo:both",
        "--xc",
        "lda",
        "--dataset",
        str(tmp_path / "data.yaml"),
        "--grid-level",
        "0",
        "--entries",
    ]


def die_after(count: int, arguments: list[str]) -> None:
    from deepchem_dft import cli

    @contextlib.contextmanager
    def deadly(*_, **__):
        def show(solution, done, total):
            if done == count:
                os.kill(os.getpid(), signal.SIGKILL)

        yield show

    cli.evaluate.solution_progress = deadly
    sys.argv = ["deepchem-dft", *arguments]
    cli.main()


def kill_after(count: int, arguments: list[str]) -> None:
    # fork: no second import of everything, and the child shares nothing that it could harm
    child = multiprocessing.get_context("fork").Process(target=die_after, args=(count, arguments))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL


def test_a_killed_evaluation_goes_on(command, arguments, tmp_path, monkeypatch):
    keep, out = tmp_path / "solved.jsonl", tmp_path / "entries.csv"
    whole = command(*arguments, "--jobs", "1", "--out", out)
    assert whole.status == 0, whole.err
    expected = out.read_text()
    out.unlink()

    arguments += ["--jobs", "1", "--keep", str(keep), "--out", str(out)]
    kill_after(5, arguments)
    assert not out.exists()
    kept = keep.read_text().splitlines()
    assert 4 <= len(kept) < 2 * SYSTEMS  # a molecule's two functionals come together
    keep.write_text("\n".join([*kept[:-1], kept[-1][:40]]))  # killed while it wrote, even

    solved: list[str] = []
    usual = KohnSham.run
    monkeypatch.setattr(
        KohnSham, "run", lambda self, *a, **k: solved.append(self.molecule.name) or usual(self, *a, **k)
    )
    again = command(*arguments)
    assert again.status == 0, again.err
    assert len(solved) == 2 * SYSTEMS - (len(kept) - 1)
    assert again.out.replace(f"written: {out}", "") == whole.out.replace(f"written: {out}", "")
    assert out.read_text() == expected
    assert f"{keep}: {len(kept) - 1} solutions are known" in again.err

    solved.clear()
    assert command(*arguments).out == again.out and solved == []


@pytest.mark.slow
def test_a_killed_evaluation_with_workers_goes_on(command, arguments, tmp_path):
    keep = tmp_path / "solved.jsonl"
    whole = command(*arguments, "--jobs", "1")
    arguments += ["--jobs", "2", "--keep", str(keep)]
    kill_after(3, arguments)
    assert 2 <= keep.read_text().count("\n") < 2 * SYSTEMS
    again = command(*arguments)
    assert again.status == 0 and again.out == whole.out
    keys = [(r["molecule"], r["functional"]) for r in map(json.loads, keep.open())]
    assert len(keys) == len(set(keys)) == 2 * SYSTEMS


@pytest.mark.parametrize("content", ["format: deepchem_dft/1\n", '{"name": "H2"}\n', "\x00\xff"])
def test_another_file_is_not_written_to(command, arguments, tmp_path, content):
    other = tmp_path / "other.yaml"
    other.write_text(content)
    outcome = command(*arguments, "--jobs", "1", "--keep", other)
    assert outcome.status == 1 and "no file of solutions" in outcome.err
    assert other.read_text() == content
    missing = command(*arguments, "--jobs", "1", "--keep", tmp_path / "no" / "solved.jsonl")
    assert missing.status == 1 and "the folder does not exist" in missing.err
