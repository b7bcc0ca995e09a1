"""Runs the command in this process and returns what a shell would see."""

import sys
from dataclasses import dataclass

import pytest


@dataclass
class Outcome:
    """Exit status and output of a command."""

    status: int
    out: str
    err: str


@pytest.fixture
def command(capsys, monkeypatch):
    """Return ``f(*arguments) -> Outcome``; an argument that begins with ``--`` is split at its blanks."""

    def call(*arguments: object) -> Outcome:
        from deepchem_dft.cli import main

        words = [w for a in map(str, arguments) for w in (a.split() if a.startswith("--") else [a])]
        monkeypatch.delenv("DEEPCHEM_DFT_DEBUG", raising=False)
        monkeypatch.setenv("COLUMNS", "100")
        monkeypatch.setattr(sys, "argv", ["deepchem-dft", *words])
        capsys.readouterr()
        try:
            main()
            status = 0
        except SystemExit as exit_:
            code = exit_.code
            status = code if isinstance(code, int) else int(code is not None)
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return call
