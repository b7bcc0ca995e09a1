"""Files of a run that a disk, a copy or an editor has damaged: named, recovered or left out."""

import shutil
from dataclasses import replace

import pytest

from .case import Case
from .inputs import CONFIGS

COMMANDS = {
    "report": lambda folder: ["report", folder / "run", "--out", folder / "r.html"],
    "export": lambda folder: ["export", folder / "run", "--to", folder / "m.safetensors"],
    "evaluate": lambda folder: ["evaluate", folder / "run"],
}
DAMAGES = {
    "empty": lambda raw: b"",
    "binary": lambda raw: bytes(range(256)) * 4,
    "zeros": lambda raw: bytes(len(raw)),
    "half": lambda raw: raw[: len(raw) // 2],
    "half a line": lambda raw: raw[:-7],
    "long line": lambda raw: raw + b'"' + b"x" * 3_000_000,
    "no column": lambda raw: raw.replace(b"role", b"rule").replace(b"loss", b"lost"),
    "no numbers": lambda raw: raw.replace(b"0.", b"zero"),
    "nan": lambda raw: raw.replace(b"0.", b"NaN"),
    "list": lambda raw: b"[1, 2]\n",
    "nested": lambda raw: b"[" * 100_000,
    "null": lambda raw: b"null",
    "no name": lambda raw: raw.replace(b'"name": "', b'"name": {"a": 1}, "b": "'),
}
FILES = [
    "config.yaml",
    "status.json",
    "data.json",
    "versions.json",
    "history.csv",
    "results.csv",
    "entries.csv",
    "energies.jsonl",
    "checkpoints/run.pt",
    "model/checkpoint1.pt",
]


def damaged(finished, kind: str, file: str, damage: str, folder):
    """Copy a run, and damage a file of it; return whether there was one."""
    shutil.copytree(finished(kind), folder / "run")
    path = folder / "run" / file
    if not path.is_file():
        return False
    raw = path.read_bytes()
    path.write_bytes(DAMAGES[damage](raw))
    return path.read_bytes() != raw


def check(cases, kind: str, command: str, file: str, folder) -> None:
    """All is well, or one line names the file."""
    if command == "resume":
        status, err = cases(kind).perform(folder, "--resume")
    else:
        status, err = Case(COMMANDS[command], []).perform(folder)
    where = f"{command} of {kind} with {file}: {err[:2000]}"
    assert "Traceback" not in err and "error: unexpected" not in err, where
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == status <= 1, where
    if status:
        assert file.rpartition("/")[2] in errors[0] and len(errors[0]) < 2000, where


SOME = [
    ("xc", "resume", "config.yaml", "empty", 0),
    ("xc", "evaluate", "config.yaml", "empty", 1),
    ("ksr", "resume", "status.json", "half", 0),
    ("xc", "resume", "data.json", "half", 1),
    ("xc", "export", "data.json", "no name", 1),
    ("xc", "export", "history.csv", "binary", 1),
    ("xc", "report", "history.csv", "binary", 0),
    ("xc", "export", "results.csv", "no column", 1),
    ("xc", "report", "entries.csv", "half", 0),
    ("ksr", "export", "results.csv", "long line", 1),
    ("xc", "report", "energies.jsonl", "half", 0),
    ("xc", "resume", "energies.jsonl", "nan", 0),
    ("xc", "resume", "energies.jsonl", "half a line", 0),
    ("hamiltonian", "export", "results.csv", "no numbers", 1),
    ("deq", "resume", "history.csv", "half", 0),
    ("deq", "export", "results.csv", "no column", 1),
    ("deq", "evaluate", "model/checkpoint1.pt", "half", 1),
    ("xc", "evaluate", "model/checkpoint1.pt", "half", 1),
    ("xc", "export", "model/checkpoint1.pt", "no column", 1),  # torch looks at no checksums
]


@pytest.mark.parametrize("kind, command, file, damage, status", SOME)
def test_damage(cases, finished, kind, command, file, damage, status, tmp_path):
    folder = tmp_path / "copy"
    assert damaged(finished, kind, file, damage, folder)
    check(cases, kind, command, file, folder)
    outcome = (
        cases(kind).perform(folder, "--resume")
        if command == "resume"
        else Case(COMMANDS[command], []).perform(folder)
    )
    assert outcome[0] == status, outcome


def test_lines_of_solutions_that_are_damaged_are_computed_again(cases, finished, tmp_path):
    case, folder = cases("xc"), tmp_path / "copy"
    shutil.copytree(finished("xc"), folder / "run")
    path = folder / "run" / "energies.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[1][:30] + b"\n", *lines[2:-1], lines[-1][:-9]]))
    status, err = case.perform(folder, "--resume")
    assert status == 0 and "damaged and left out: line 2" in err, err
    assert "energies.jsonl: the last line was cut short, and is dropped" in err
    tables = [name for name in case.results if not name.endswith("jsonl")]
    assert replace(case, results=tables).read(folder) == {k: case.expected[k] for k in tables}
    assert case.perform(folder, "--resume")[1].count("cut short") == 0  # said once


@pytest.mark.slow
@pytest.mark.parametrize("command", [*COMMANDS, "resume"])
@pytest.mark.parametrize("kind", CONFIGS)
def test_every_damage(cases, finished, kind, command, tmp_path):
    for file in FILES:
        for damage in DAMAGES:
            folder = tmp_path / f"{file.replace('/', '-')}-{damage}"
            if damaged(finished, kind, file, damage, folder):
                check(cases, kind, command, file, folder)
            shutil.rmtree(folder)
