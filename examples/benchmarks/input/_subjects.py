"""Good files of every kind that people hand over, and the code of the package that reads them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _mutations as mutations
import yaml

ROOT = Path(__file__).resolve().parents[3]
DATA = """
format: deepchem_dft/1
name: tiny
defaults: {basis: sto-3g, unit: bohr}
systems: {h2: "H 0 0 0; H 0 0 1.4", lih: "Li 0 0 0; H 0 0 3"}
entries:
- {name: "tiny:H2", type: ae, value: 0.17, molecule: h2, atoms: auto, split: train}
- {name: "tiny:LiH", type: ae, value: 0.09, molecule: lih, atoms: auto, split: test}
"""
XC = {
    "name": "tiny",
    "description": "two atoms",
    "data": {
        "grid_level": 0,
        "train": [{"file": "data.yaml", "split": "train"}],
        "test": [{"file": "data.yaml", "split": "test"}],
    },
    "functional": {"xc": "pbe", "network": {"family": "gga", "hidden": [4]}},
    "training": {
        "stages": [
            {"mode": "frozen", "epochs": 2, "learning_rate": 0.01},
            {"mode": "scf", "epochs": 1, "learning_rate": 0.001},
        ]
    },
    "baselines": {"lda": "lda,pw"},
    "evaluation": {"processes": 1},
    "output": {"h2_curve": False, "plots": False},
    "card": {"summary": "a sentence", "known_failures": ["a failure"]},
}
HAMILTONIAN = {
    "model": "hamiltonian",
    "name": "tiny",
    "data": {"train": [{"file": "h2.h5", "limit": 2}], "test": [{"file": "h2.h5", "skip": 2}]},
    "network": {"width": 2, "hidden": 4, "layers": 0},
    "training": {"epochs": 1},
    "output": {"plots": False},
}
KSR = {
    "model": "ksr",
    "name": "tiny",
    "data": {
        "grid": {"points": 101, "spacing": 0.2},
        "train": [{"family": "h2", "distances": [1.2]}],
        "test": [{"family": "h2_plus", "distances": [1.6], "label": "ion"}],
    },
    "functional": {"hidden": [4]},
    "trajectory": {"iterations": 3, "test_iterations": 4},
    "training": {"epochs": 1},
    "evaluation": {"baseline": False},
    "output": {"plots": False},
}
GEOMETRIES = {
    "a.xyz": "3\nwater\nO 0 0 0\nH 0 0.76 0.59\nH 0 -0.76 0.59\n",
    "b.xyz": "2\nProperties=species:S:1:pos:R:3:Z:I:1 charge=1 mult=2\nH 0 0 0 1\nF 0 0 0.92 9\n",
    "c.xyz": "2\ncharge=-1\n8 0 0 0\n1 0 0 0.97\n2\nsecond\nO 0 0 0\nH 0 0 0.98\n",
    "d.extxyz": '1\nLattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3 pbc="F F F"\nHe 0 0 0\n',
    "e.smi": "CCO ethanol\n[Na+].[Cl-] salt\nC\n",
    "f.txt": "O 0 0 0; H 0 0 1.8; H 0 1.7 -0.4",
}


class Subject:
    """One kind of file.

    Parameters
    ----------
    mutate : callable
        ``mutate(rng, folder) -> files``: writes one case into an empty folder.
    read : callable
        ``read(folder)``: what the package does with it.
    """

    def __init__(self, mutate: Callable[[random.Random, Path], Any], read: Callable[[Path], Any]) -> None:
        self.mutate, self.read = mutate, read


def subjects(home: Path, runs: bool = True) -> dict[str, Subject]:
    """Return all kinds by name; ``home`` gets the good files they are made from."""
    home.mkdir(parents=True, exist_ok=True)
    marker = home.parent / "executed"
    found = {
        "configuration": _configurations(),
        "override": _overrides(),
        "card": _cards(home, marker),
        "weights": _weights(home, marker),
        "geometry": _geometries(),
    }
    if runs:
        found["run"] = _runs(home, marker)
    return found


# -- configurations -------------------------------------------------------------------------------


def _examples() -> list[bytes]:
    files = sorted(p for p in (ROOT / "examples").rglob("*.yaml") if p.parent.name != "data")
    return [path.read_bytes() for path in files]


def _configurations() -> Subject:
    from deepchem_dft.runs import load_config
    from deepchem_dft.runs.config import config_hash, dump_yaml

    examples = [*_examples(), *(yaml.safe_dump(c).encode() for c in (XC, KSR, HAMILTONIAN))]

    def mutate(rng: random.Random, folder: Path) -> None:
        (folder / "run.yaml").write_bytes(mutations.yaml_mutated(rng, rng.choice(examples)))

    def read(folder: Path) -> None:
        config = load_config(folder / "run.yaml")
        config_hash(config)
        (folder / "again.yaml").write_text(dump_yaml(config), encoding="utf-8")
        if load_config(folder / "again.yaml") != config:
            raise AssertionError("the configuration reads back as another one")
        if hasattr(config.training, "resolved_stages"):
            config.training.resolved_stages()

    return Subject(mutate, read)


def _overrides() -> Subject:
    from deepchem_dft.runs import load_config
    from deepchem_dft.runs.reference import keys

    names = [row[0] for row in keys()]

    def mutate(rng: random.Random, folder: Path) -> None:
        (folder / "run.yaml").write_bytes(yaml.safe_dump(XC).encode())
        given = []
        for _ in range(rng.choice((1, 1, 2))):
            value = rng.choice([*mutations.VALUES, *mutations.WORDS])
            key = rng.choice(names)
            if rng.random() < 0.3:
                key = mutations.words_mutated(rng, key)
            given.append(f"{key}={value if isinstance(value, str) else json.dumps(value)}")
        (folder / "given.json").write_text(json.dumps(given))

    def read(folder: Path) -> None:
        load_config(folder / "run.yaml", json.loads((folder / "given.json").read_text()))

    return Subject(mutate, read)


# -- models of the zoo ----------------------------------------------------------------------------


def _models(home: Path) -> list[Path]:
    """Write small models of every kind that builds fast; return their cards."""
    from deepchem_dft import HybridXC, zoo
    from deepchem_dft.xc import build_network
    from deepchem_dft.xc.enhancement import EnhancedXC
    from deepchem_dft.xc.ensemble import EnsembleXC

    hybrid = HybridXC("pbe", build_network(family="gga", hidden=[4], seed=0), aweight0=1.0)
    enhanced = [EnhancedXC("pbe", hidden=[3], seed=seed) for seed in (0, 1)]
    things = {"hybrid": hybrid, "enhanced": enhanced[0], "ensemble": EnsembleXC(enhanced)}
    known = {
        "summary": "untrained",
        "parent": "pbe",
        "worse_than_parent": ["everywhere"],
        "errors": [
            {"set": "s", "type": "ae", "entries": 2, "unit": "kcal/mol", "mae": {"this": 1.0, "pbe": 2.0}}
        ],
        "training": {"a": [1, {"b": "c"}]},
    }
    for name, thing in things.items():
        zoo.save(thing, home / f"{name}.safetensors", **known)
    cards = [home / f"{name}.json" for name in things]
    for path in (ROOT / "deepchem_dft" / "zoo" / "shipped").glob("*.json"):
        if json.loads(path.read_text())["kind"] == "ksr":
            for end in (".json", ".safetensors"):
                shutil.copy(path.with_suffix(end), home)
            cards.append(home / path.name)
    return cards


def _use_model(folder: Path) -> None:
    from deepchem_dft import zoo
    from deepchem_dft.runs.card import export
    from deepchem_dft.zoo.cards import list_text

    names = zoo.names(folder)
    (card,) = folder.glob("*.json")
    found = zoo.card(card)
    for text in (found.text(), list_text([found])):
        if not all(c.isprintable() or c in "\n\t" for c in text):
            raise AssertionError("a terminal would obey the text of the card")
    zoo.load(card)
    (folder / "to").mkdir()
    export(card, folder / "to")
    assert len(list((folder / "to").iterdir())) == 2 and names


def _cards(home: Path, marker: Path) -> Subject:
    cards = _models(home)

    def mutate(rng: random.Random, folder: Path) -> None:
        from deepchem_dft.zoo.cards import form_digest

        card = rng.choice(cards)
        shutil.copy(card.with_suffix(".safetensors"), folder)
        raw = mutations.json_mutated(rng, card.read_bytes())
        if rng.random() < 0.5:  # a forger corrects the digest
            content = json.loads(card.read_bytes())
            content["form"] = mutations.structure_mutated(rng, content["form"])
            with contextlib.suppress(Exception):
                content["weights"]["form_sha256"] = form_digest(content["kind"], content["form"])
            raw = json.dumps(content).encode("utf-8", "surrogatepass")
        if rng.random() < 0.02:
            raw = mutations.bomb(rng, marker)
        (folder / card.name).write_bytes(raw)

    return Subject(mutate, _use_model)


def _weights(home: Path, marker: Path) -> Subject:
    cards = sorted(p for p in home.glob("*.json"))

    def mutate(rng: random.Random, folder: Path) -> None:
        card = rng.choice(cards)
        raw = card.with_suffix(".safetensors").read_bytes()
        size = struct.unpack("<Q", raw[:8])[0]
        kind = rng.randrange(10)
        if kind == 0:
            raw = mutations.bomb(rng, marker)
        elif kind < 5:
            head = mutations.json_mutated(rng, raw[8 : 8 + size])
            length = rng.choice((len(head), len(head), len(head), rng.randrange(2**64)))
            raw = struct.pack("<Q", length) + head + raw[8 + size :]
        else:
            raw = mutations.bytes_mutated(rng, raw)
        content = json.loads(card.read_bytes())
        if rng.random() < 0.8:
            content["weights"]["sha256"] = hashlib.sha256(raw).hexdigest()
        (folder / card.name).write_text(json.dumps(content))
        (folder / card.name).with_suffix(".safetensors").write_bytes(raw)

    return Subject(mutate, _use_model)


# -- runs -----------------------------------------------------------------------------------------


def _runs(home: Path, marker: Path) -> Subject:
    made = []
    for name, content in (("xc", XC), ("ksr", KSR), ("hamiltonian", HAMILTONIAN)):
        from deepchem_dft.runs import load_config, run

        folder = home / name
        folder.mkdir()
        (folder / "data.yaml").write_text(DATA)
        (folder / "run.yaml").write_text(yaml.safe_dump(content))
        if content is HAMILTONIAN:
            _solve_some(folder / "h2.h5")
        run(load_config(folder / "run.yaml"), folder / "run")
        made.append(folder / "run")

    def mutate(rng: random.Random, folder: Path) -> None:
        shutil.copytree(rng.choice(made), folder / "run")
        files = sorted(p for p in (folder / "run").rglob("*") if p.is_file())
        for file in rng.sample(files, rng.choice((1, 1, 2))):
            raw, kind = file.read_bytes(), rng.random()
            if kind < 0.05:
                file.unlink()
            elif kind < 0.1 or (kind < 0.3 and file.suffix == ".pt"):
                file.write_bytes(mutations.bomb(rng, marker))
            elif kind < 0.13:
                file.write_bytes(b"")
            elif kind < 0.16:  # as an archive can hold it
                file.unlink()
                file.symlink_to(marker.parent / "victim")
            else:
                change = {
                    ".yaml": mutations.yaml_mutated,
                    ".json": mutations.json_mutated,
                    ".pt": mutations.bytes_mutated,
                }.get(file.suffix, mutations.text_mutated)
                file.write_bytes(change(rng, raw))

    return Subject(mutate, _use_run)


def _solve_some(path: Path) -> None:
    """Write three hydrogen molecules with their Kohn-Sham matrices."""
    from dataclasses import replace

    import numpy as np

    from deepchem_dft.hamiltonian.files.store import write_samples
    from deepchem_dft.hamiltonian.reference import Reference
    from deepchem_dft.hamiltonian.sample import HamiltonianSample

    samples = []
    for number, distance in enumerate((1.3, 1.4, 1.5)):
        bare = HamiltonianSample(
            [1, 1], np.array([[0, 0, 0], [0, 0, distance]]), "sto-3g", xc="pbe", name=f"hydrogen/{number}"
        )
        reference = Reference(bare, grid_level=0)
        solution = reference.solve()
        samples.append(
            replace(reference.complete(), hamiltonian=solution.hamiltonian, energy=solution.energy)
        )
    write_samples(path, samples)


def _use_run(folder: Path) -> None:
    """Do with a run directory what the commands do before they compute, each by itself."""
    from deepchem_dft.errors import DeepChemDFTError
    from deepchem_dft.runs import load_model
    from deepchem_dft.runs.card import export
    from deepchem_dft.runs.report.page import page
    from deepchem_dft.runs.report.reading import read_runs
    from deepchem_dft.runs.rundir import RunDirectory
    from deepchem_dft.scf.solutions import EnergyCache

    run = folder / "run"
    (folder / "to").mkdir()

    def solutions() -> None:
        EnergyCache(run / "energies.jsonl").close()

    def resume() -> None:
        directory = RunDirectory(run)
        with directory.opened(directory.load_config(), resume=True):
            directory.read_history()

    refused: DeepChemDFTError | None = None
    for step in (
        lambda: page(read_runs([run]), "report"),
        lambda: load_model(run),
        solutions,
        lambda: export(run, folder / "to"),
        resume,
    ):
        try:
            step()
        except DeepChemDFTError as error:
            refused = refused or error
    if refused is not None:
        raise refused


# -- geometries -----------------------------------------------------------------------------------


def _geometries() -> Subject:
    from deepchem_dft.data.properties.molecule_files import read_molecules
    from deepchem_dft.molecule.geometry import read_geometry

    def mutate(rng: random.Random, folder: Path) -> None:
        name = rng.choice(sorted(GEOMETRIES))
        raw = mutations.text_mutated(rng, GEOMETRIES[name].encode())
        if rng.random() < 0.05:
            encoding = rng.choice(("utf-16", "utf-16-le", "utf-32"))
            raw = raw.decode("utf-8", "replace").encode(encoding)
        (folder / name).write_bytes(raw)

    def read(folder: Path) -> None:
        from deepchem_dft.errors import DeepChemDFTError

        (path,) = folder.iterdir()
        refused: DeepChemDFTError | None = None
        steps: list[Callable[[], Any]] = [lambda: read_geometry(path)]
        if path.suffix == ".txt":
            text = path.read_bytes().decode("utf-8", "replace")
            steps = [lambda: read_geometry(text)]
        elif path.suffix == ".smi":
            steps = [lambda: list(read_molecules(path))]
        else:
            steps.append(lambda: list(read_molecules(path)))
        for step in steps:
            try:
                step()
            except DeepChemDFTError as error:
                refused = refused or error
        if refused is not None:
            raise refused

    return Subject(mutate, read)
