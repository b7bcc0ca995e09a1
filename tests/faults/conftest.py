"""Commands small enough to be performed hundreds of times, and what they must leave."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

HE = """
format: deepchem_dft/1
defaults: {basis: sto-3g, unit: bohr}
entries:
- name: "He"
  type: ie
  value: 24.59 eV
  neutral: {geometry: He 0 0 0}
  cation: {geometry: He 0 0 0, charge: 1, spin: 1}
"""
XC = {
    "name": "tiny",
    "data": {"grid_level": 0, "train": [{"file": "he.yaml"}], "test": [{"file": "he.yaml"}]},
    "functional": {"xc": "lda", "network": {"family": "lda", "hidden": [3]}},
    "training": {
        "stages": [
            {"mode": "frozen", "epochs": 2, "learning_rate": 0.01},
            {"mode": "scf", "epochs": 2, "learning_rate": 0.001},
        ]
    },
    "baselines": {"lda": "lda,pw"},
    "evaluation": {"processes": 1},
    "output": {"plots": False, "h2_curve": False},
}
KSR = {
    "model": "ksr",
    "name": "tiny",
    "data": {
        "grid": {"points": 61, "spacing": 0.3},
        "train": [{"family": "h2", "distances": [1.2, 3.6]}],
        "valid": [{"family": "h2", "distances": [2.4]}],
        "test": [{"family": "h2_plus", "distances": [1.2]}],
    },
    "functional": {"hidden": [3]},
    "trajectory": {"iterations": 6, "test_iterations": 8},
    "training": {"epochs": 3, "seeds": 2, "validate_every": 1},
    "evaluation": {"baseline": False},
    "output": {"checkpoint_every": 1, "plots": False},
}
MATRICES = {
    "model": "hamiltonian",
    "name": "tiny",
    "data": {
        role: [{"file": "h2.h5", "skip": skip, "limit": 2}]
        for role, skip in (("train", 0), ("valid", 2), ("test", 4))
    },
    "network": {"form": "delta", "width": 4, "hidden": 4, "layers": 1},
    "training": {"epochs": 3, "batch_size": 2, "validate_every": 1},
    "evaluation": {"energies": 0, "cycles": 0},
    "output": {"checkpoint_every": 1, "plots": False},
}


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

    def known(self, folder: Path) -> Case:
        """Return the case with the results of an undisturbed command."""
        folder.mkdir()
        status, err = self.perform(folder)
        assert status == 0, err
        return replace(self, expected=self.read(folder))


def _here(work: Callable, items: Iterable, jobs: int, lost: Callable) -> Iterator:
    """Do the work of other processes, whose start takes longest, in this one."""
    yield from map(work, items)


def content(path: Path) -> object:
    """Return what a file says; wall times, versions and paths are nobody's result."""
    if path.suffix == ".csv":
        with open(path, newline="") as stream:
            rows = [row for row in csv.reader(stream) if row and not row[0].startswith("#")]
        kept = [i for i, name in enumerate(rows[0]) if name != "seconds"]
        return [[row[i] for i in kept] for row in rows]
    if path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        return sorted(str({k: v for k, v in row.items() if k != "seconds"}) for row in rows)
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


def assert_whole(folder: Path) -> None:
    """No draft, and no half of a file, is in a folder."""
    for path in (p for p in folder.rglob("*") if p.is_file()):
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


@pytest.fixture(scope="session")
def inputs(tmp_path_factory) -> Path:
    """A folder with what the commands read: data, configurations, finished runs."""
    from deepchem_dft.hamiltonian.files.store import write_samples
    from deepchem_dft.hamiltonian.reference import Reference
    from deepchem_dft.hamiltonian.sample import HamiltonianSample

    folder, samples = tmp_path_factory.mktemp("inputs"), []
    for number in range(6):
        bare = HamiltonianSample(
            [1, 1], [[0, 0, 0], [0, 0, 1.2 + 0.1 * number]], "sto-3g", xc="lda", name=f"h2/{number}"
        )
        reference = Reference(bare, grid_level=0)
        solution = reference.solve()
        samples.append(
            replace(reference.complete(), hamiltonian=solution.hamiltonian, energy=solution.energy)
        )
    write_samples(folder / "h2.h5", samples)
    (folder / "he.yaml").write_text(HE)
    ccsd = HE.replace("type: ie", "type: dm").replace("value: 24.59 eV", "value: ccsd")
    (folder / "ccsd.yaml").write_text(ccsd.partition("  neutral")[0] + "  systems: [{geometry: He 0 0 0}]\n")
    (folder / "two.yaml").write_text(HE + HE.split("entries:\n")[1].replace("He", "Be"))
    (folder / "h2.smi").write_text("[H][H] hydrogen\nO water\n")
    (folder / "h2.xyz").write_text("".join(f"2\n\nH 0 0 0\nH 0 0 {r}\n" for r in (0.7, 0.8)))
    for name, config in (("xc", XC), ("ksr", KSR), ("hamiltonian", MATRICES)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(config))
    return folder


def train(inputs: Path, kind: str, results: Sequence[str], *more: str) -> Case:
    """Return the training of a kind of run."""
    return Case(
        lambda folder: ["train", inputs / f"{kind}.yaml", *more, "--run-dir", folder / "run", "-q"],
        [f"run/{name}" for name in results],
        ["--resume"],
    )


@pytest.fixture(scope="session")
def cases(inputs, tmp_path_factory) -> Callable[[str], Case]:
    """Return ``f(name) -> Case`` with known results."""
    run = tmp_path_factory.mktemp("finished")
    trained = train(inputs, "xc", ["results.md"])

    def finished() -> Path:
        if not (run / "run").exists():
            status, err = trained.perform(run)
            assert status == 0, err
        return run / "run"

    tables = ["history.csv", "results.csv", "results.md"]
    made = {
        "xc": train(inputs, "xc", [*tables, "entries.csv", "energies.jsonl"]),
        "plots": train(
            inputs,
            "xc",
            [*tables, "entries.csv"],
            "output.plots=true",
            "training.stages=[{mode: frozen, epochs: 2}]",
        ),
        "folds": train(
            inputs,
            "xc",
            [*tables, "entries.csv", "cross_validation.json"],
            "cross_validation.folds=2",
            "training.stages=[{mode: frozen, epochs: 1}]",
            "data.train=[{file: two.yaml}]",
        ),
        "ksr": train(inputs, "ksr", [*tables, "entries.csv"]),
        "hamiltonian": train(inputs, "hamiltonian", [*tables, "molecules.csv"]),
        "label": Case(
            lambda folder: ["data", "label", inputs / "h2.smi", "--out", folder / "labels.csv", "-q"],
            ["labels.csv"],
            ["--resume"],
        ),
        "data hamiltonian": Case(
            lambda folder: [
                "data",
                "hamiltonian",
                inputs / "h2.xyz",
                "--basis",
                "sto-3g",
                "--grid-level",
                "0",
                "--out",
                folder / "h2.h5",
                "-q",
            ],
            ["h2.h5"],
            ["--resume"],
        ),
        "data ksr": Case(
            lambda folder: [
                "data",
                "ksr",
                "h2",
                "--at",
                "1.2",
                "--points",
                "61",
                "--spacing",
                "0.3",
                "--out",
                folder / "h2.npz",
                "-q",
            ],
            ["h2.npz"],
        ),
        "densities": Case(
            lambda folder: ["data", "densities", inputs / "ccsd.yaml", "--out", folder / "made"],
            ["made/He.npy"],
        ),
        "evaluate": Case(
            lambda folder: [
                "evaluate",
                "--xc",
                "lda,pw",
                "--xc",
                "pbe",
                "--dataset",
                inputs / "he.yaml",
                "--grid-level",
                "0",
                "--jobs",
                "1",
                "--keep",
                folder / "kept.jsonl",
                "--out",
                folder / "errors.csv",
            ],
            ["kept.jsonl", "errors.csv"],
        ),
        "predict": Case(
            lambda folder: [
                "predict",
                finished(),
                inputs / "he.yaml",
                "--jobs",
                "1",
                "--out",
                folder / "p.csv",
            ],
            ["p.csv"],
        ),
        "report": Case(lambda folder: ["report", finished(), "--out", folder / "r.html"], ["r.html"]),
        "export": Case(
            lambda folder: ["export", finished(), "--to", folder / "m.safetensors"],
            ["m.safetensors", "m.json"],
        ),
        "curve": Case(
            lambda folder: [
                "curve",
                "H 0 0 0; H 0 0 {R}",
                "--xc",
                "lda,pw",
                "--basis",
                "sto-3g",
                "--grid-level",
                "0",
                "--points",
                "2",
                "--start",
                "1",
                "--stop",
                "2",
                "--jobs",
                "1",
                "--out",
                folder / "c.csv",
                "--out",
                folder / "c.png",
            ],
            ["c.csv"],
        ),
        "optimize": Case(
            lambda folder: [
                "optimize",
                "H 0 0 0; H 0 0 1.4",
                "--xc",
                "lda,pw",
                "--basis",
                "sto-3g",
                "--grid-level",
                "0",
                "--out",
                folder / "o.xyz",
            ],
            ["o.xyz"],
        ),
    }
    done: dict[str, Case] = {}

    def get(name: str) -> Case:
        if name not in done:
            done[name] = made[name].known(tmp_path_factory.mktemp("known") / "out")
        return done[name]

    return get
