"""What the commands read, and the commands: data, configurations, runs of a second or two."""

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import yaml

from .case import Case

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
SMILES = ["CO", "CC", "CN", "C=C", "C#C", "C=O", "C#N", "NN", "OO", "CF", "CCO", "CCC"]
#: A configuration for each kind of run.
CONFIGS = {
    "xc": {
        "name": "tiny",
        "data": {"grid_level": 0, "train": [{"file": "he.yaml"}], "test": [{"file": "he.yaml"}]},
        "functional": {"xc": "lda", "network": {"family": "lda", "hidden": [3]}},
        "training": {
            "stages": [
                {"mode": "frozen", "epochs": 1, "learning_rate": 0.01},
                {"mode": "scf", "epochs": 2, "learning_rate": 0.001},
            ]
        },
        "baselines": {"lda": "lda,pw"},
        "evaluation": {"processes": 1},
        "output": {"plots": False, "h2_curve": False},
    },
    "ksr": {
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
        "training": {"epochs": 2, "seeds": 2, "validate_every": 1},
        "evaluation": {"baseline": False},
        "output": {"checkpoint_every": 1, "plots": False},
    },
    "hamiltonian": {
        "model": "hamiltonian",
        "name": "tiny",
        "data": {
            role: [{"file": "h2.h5", "skip": skip, "limit": 2}]
            for role, skip in (("train", 0), ("valid", 2), ("test", 4))
        },
        "network": {"form": "delta", "width": 4, "hidden": 4, "layers": 1},
        "training": {"epochs": 2, "batch_size": 2, "validate_every": 1},
        "evaluation": {"energies": 0, "cycles": 0},
        "output": {"checkpoint_every": 1, "plots": False},
    },
    "deq": {
        "model": "deq",
        "name": "tiny",
        "data": {"source": "labelled", "path": "labels.csv", "tasks": ["dipole"], "splitter": "index"},
        "network": {"width": 3, "hidden": 3},
        "training": {"epochs": 2, "batch_size": 4},
        "evaluation": {"baselines": ["mean"]},
        "output": {"plots": False},
    },
}
_TABLES = ("history.csv", "results.csv", "results.md")
_STAGE = '"training.stages=[{{mode: frozen, epochs: 1}}]"'
#: Of each training: what is said besides, and files of the run that must be those of an undisturbed one.
TRAININGS = {
    "xc": ("xc", "", "entries.csv", "energies.jsonl"),
    "ksr": ("ksr", "", "entries.csv"),
    "hamiltonian": ("hamiltonian", "", "molecules.csv"),
    "deq": ("deq", "", "molecules.csv"),
    "plots": ("xc", f"output.plots=true {_STAGE}", "entries.csv"),
    "folds": (
        "xc",
        f'cross_validation.folds=2 "data.train=[{{{{file: two.yaml}}}}]" {_STAGE}',
        "entries.csv",
        "cross_validation.json",
    ),
    "ksr plots": ("ksr", "output.plots=true training.seeds=1", "entries.csv"),
    "deq plots": ("deq", "output.plots=true", "molecules.csv"),
}
_SMALL = "--basis sto-3g --grid-level 0"
_PREDICTING = "predict {xc} {inputs}/he.yaml --jobs 1"
_CURVE = f'curve "H 0 0 0; H 0 0 {{{{R}}}}" --xc lda,pw {_SMALL} --points 2 --start 1 --stop 2 --jobs 1'
#: Of each other command: the line (of "{xc}" and the like, a finished run), and what it leaves.
#: Those that end with "-q" go on with ``--resume``.
COMMANDS = {
    "label": ("data label {inputs}/h2.smi --out {out}/labels.csv -q", "labels.csv"),
    "data hamiltonian": (f"data hamiltonian {{inputs}}/h2.xyz {_SMALL} --out {{out}}/h2.h5 -q", "h2.h5"),
    "data ksr": ("data ksr h2 --at 1.2 --points 61 --spacing 0.3 --out {out}/h2.npz", "h2.npz"),
    "data ksr csv": ("data ksr h2 --at 1.2 --points 61 --spacing 0.3 --out {out}/h2.csv", "h2.csv"),
    "densities": ("data densities {inputs}/ccsd.yaml --out {out}/made", "made/He.npy", "made/densities.yaml"),
    "densities dens": (
        "data densities {inputs}/ccsd.yaml --kind dens --grid-level 0 --out {out}/made",
        "made/He.npz",
        "made/densities.yaml",
    ),
    "evaluate": (
        "evaluate --xc lda,pw --xc pbe --dataset {inputs}/he.yaml --grid-level 0 --jobs 1 "
        "--keep {out}/kept.jsonl --out {out}/errors.csv",
        "kept.jsonl",
        "errors.csv",
    ),
    "evaluate ksr": ("evaluate {ksr} --dataset h2_plus:test --out {out}/e.csv", "e.csv"),
    "evaluate hamiltonian": ("evaluate {hamiltonian} --out {out}/e.csv", "e.csv"),
    "evaluate deq": ("evaluate {deq} --out {out}/e.csv", "e.csv"),
    "predict": (f"{_PREDICTING} --out {{out}}/p.csv", "p.csv"),
    "predict keep": (f"{_PREDICTING} --out {{out}}/p.csv --keep {{out}}/k.jsonl", "p.csv", "k.jsonl"),
    "atomisation": (f"atomisation [H][H] --xc lda,pw {_SMALL} --jobs 1 -q --keep {{out}}/k.jsonl", "k.jsonl"),
    "scf": (
        f'scf "H 0 0 0; H 0 0 1.4" -q --xc lda,pw {_SMALL} --write {{out}}/o.npz --xyz {{out}}/f.xyz '
        "--molden {out}/m.molden --cube homo={out}/c.cube",
        "o.npz",
        "f.xyz",
    ),
    "reaction": (
        f'reaction "[H][H] -> 2 [H]" --xc lda,pw {_SMALL} --jobs 1 -q --keep {{out}}/k.jsonl --json',
        "k.jsonl",
    ),
    "board": (
        f"board --xc lda,pw --dataset gscdb138:max_heavy=0 {_SMALL} --jobs 1 --keep {{out}}/k.jsonl "
        "--out {out}/b.csv --html {out}/b.html",
        "k.jsonl",
        "b.csv",
    ),
    "prepare": ("prepare {inputs}/xc.yaml --out {out}/p.zip --jobs 1", "p.zip"),
    "report": ("report {xc} --out {out}/r.html", "r.html"),
    "report all": ("report {ksr} {hamiltonian} {deq} --out {out}/r.html", "r.html"),
    "export": ("export {xc} --to {out}/m.safetensors", "m.safetensors", "m.json"),
    "export ksr": ("export {ksr} --to {out}/m.safetensors", "m.safetensors", "m.json"),
    "export hamiltonian": ("export {hamiltonian} --to {out}/m.safetensors", "m.safetensors", "m.json"),
    "export deq": ("export {deq} --to {out}/m.safetensors", "m.safetensors", "m.json"),
    "curve": (f"{_CURVE} --out {{out}}/c.csv --out {{out}}/c.png", "c.csv"),
    "scan": (
        f'scan "H 0 0 0; H 0 0 1.4" "distance 1 2" --start 0.7 --stop 0.8 --points 2 --xc lda,pw {_SMALL} '
        "--out {out}/s.xyz",
        "s.xyz",
    ),
    "optimize": (f'optimize "H 0 0 0; H 0 0 1.4" --xc lda,pw {_SMALL} --out {{out}}/o.xyz', "o.xyz"),
}


def write_inputs(folder: Path) -> Path:
    """Write what all commands read; return the folder."""
    from deepchem_dft.hamiltonian.files.store import write_samples
    from deepchem_dft.hamiltonian.reference import Reference
    from deepchem_dft.hamiltonian.sample import HamiltonianSample

    samples = []
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
    rows = [f"{smiles},{0.1 * number:.1f},5,-9" for number, smiles in enumerate(SMILES)]
    (folder / "labels.csv").write_text("\n".join(["smiles,dipole,gap,energy", *rows]) + "\n")
    for name, config in CONFIGS.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(config))
    return folder


def training(inputs: Path, name: str) -> Case:
    """Return a training."""
    kind, more, *results = TRAININGS[name]
    line = f"train {{inputs}}/{kind}.yaml {more} --run-dir {{out}}/run -q"
    return Case(_words(line, inputs), [f"run/{name}" for name in (*_TABLES, *results)], ["--resume"])


def command(inputs: Path, name: str, finished: Callable[[str], Path]) -> Case:
    """Return another command; ``finished`` gives the run of a kind."""
    line, *results = COMMANDS[name]
    runs = {kind: finished(kind) for kind in CONFIGS if f"{{{kind}}}" in line}
    return Case(_words(line, inputs, **runs), results, ["--resume"] * line.endswith("-q"))


def _words(line: str, inputs: Path, **runs: Path) -> Callable[[Path], list[str]]:
    return lambda out: [word.format(inputs=inputs, out=out, **runs) for word in shlex.split(line)]
