"""A command, and what it must leave whatever happens to it."""

import contextlib
import csv
import io
import json
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import typer.main
import yaml


@dataclass
class Case:
    """A command, and what it leaves if nothing disturbs it.

    Attributes
    ----------
    words : function of the folder it writes into
        Of the command line.
    again : list of str
        What is added to go on after a fault.
    results : list of str
        Files below the folder that must be those of an undisturbed command.
    """

    words: Callable[[Path], Sequence[object]]
    results: Sequence[str]
    again: Sequence[str] = ()
    expected: dict[str, object] = field(default_factory=dict)

    def perform(self, folder: Path, *more: str) -> tuple[int, str]:
        """Run the command in this process; return exit status and standard error."""
        from deepchem_dft.cli import main

        before, out, err = sys.argv, io.StringIO(), io.StringIO()
        sys.argv = ["deepchem-dft", *map(str, self.words(folder)), *more]
        try:
            with (
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
                warnings.catch_warnings(),
                pytest.MonkeyPatch.context() as patch,
            ):
                for module in ("data.properties.labelling", "runs.hamiltonian.making"):
                    patch.setattr(f"deepchem_dft.{module}.in_order", _here)
                patch.setattr("deepchem_dft.runs.rundir._git_commit", lambda: None)
                patch.setattr("typer.main.get_command", _command)
                main()
            return 0, err.getvalue()
        except SystemExit as end:
            code = end.code
            return code if isinstance(code, int) else int(code is not None), err.getvalue()
        finally:
            sys.argv = before

    def go_on(self, folder: Path) -> None:
        """Perform the command once more, as its own message says, to the undisturbed results."""
        status, err = self.perform(folder)
        if status and "--resume" in err and self.again:
            status, err = self.perform(folder, *self.again)
        assert status == 0, err
        assert self.read(folder) == self.expected

    def read(self, folder: Path) -> dict[str, object]:
        """Return what the results say, wall times left out."""
        return {name: content(folder / name) for name in self.results}

    def known(self, folder: Path) -> "Case":
        """Return the case with the results of an undisturbed command."""
        folder.mkdir()
        status, err = self.perform(folder)
        assert status == 0, err
        return replace(self, expected=self.read(folder))


def _here(work: Callable, items: Iterable, jobs: int, lost: Callable) -> Iterator:
    """Do the work of other processes, whose start takes longest, in this one."""
    yield from map(work, items)


#: Of the command line, which is built once: a third of all time.
_command = cache(typer.main.get_command)


def content(path: Path) -> object:
    """Return what a file says; wall times, versions and paths are nobody's result."""
    if path.suffix == ".csv":
        with open(path, newline="") as stream:
            rows = [row for row in csv.reader(stream) if row and not row[0].startswith("#")]
        kept = [i for i, name in enumerate(rows[0]) if name != "seconds"]
        return [[row[i] for i in kept] for row in rows]
    if path.suffix == ".jsonl":
        return journal(path.read_text())
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as whole:
            members = {name: whole.read(name) for name in whole.namelist()}
        return {n: journal(m.decode()) if n.endswith(".jsonl") else m for n, m in members.items()}
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return {name: arrays[name].tolist() for name in arrays.files}
    if path.suffix == ".h5":
        import h5py

        with h5py.File(path) as file:
            return {name: np.asarray(file[name]).tolist() for name in file}
    if path.suffix == ".json":
        return json.loads(path.read_text()).get("weights")
    if path.suffix == ".html":
        return path.read_text().count("<table")
    return path.read_bytes()


def journal(text: str) -> list[str]:
    """Lines of JSON in no order."""
    rows = [json.loads(line) for line in text.splitlines()]
    return sorted(str({k: v for k, v in row.items() if k != "seconds"}) for row in rows)


def assert_whole(folder: Path, drafts: bool = False) -> None:
    """No half of a file is in a folder, and no draft or empty file but where ``drafts`` may be."""
    for path in (p for p in folder.rglob("*") if p.is_file()):
        if drafts and (path.suffix == ".tmp" or path.name == ".lock" or not path.stat().st_size):
            continue
        assert path.suffix != ".tmp" and path.name != ".lock", path
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".jsonl":
            assert all(map(json.loads, path.read_text().splitlines())), path
        elif path.suffix in (".yaml",):
            assert yaml.safe_load(path.read_text()), path
        elif path.suffix == ".pt":
            torch.load(path, weights_only=True)
        elif path.suffix == ".csv":
            assert path.read_bytes().endswith(b"\n"), path
        elif path.suffix == ".h5":
            content(path)
