"""What a wheel is worth in an environment that has nothing else: run by ``make dist``, in its Python.

    python tests/journeys/installed.py README.md

Outside of the checkout, with the package as it is installed: the data, the zoo and the examples are
there, every command of the README works or names the extra it needs in one line, and so does the
README's Python. Commands are made short by options that are put behind them.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

#: What shortens a command that begins so; the first that fits.
SHORT = [
    (
        "train ",
        "data.basis=sto-3g data.grid_level=0 data.train.0.max_heavy=1 data.train.1.names=[H] "
        "data.valid.0.max_heavy=1 data.valid.1.names=[He] data.test.0.min_heavy=1 data.test.0.max_heavy=1 "
        "data.test.1.names=[Li] training.stages.0.epochs=2 training.stages.1.epochs=2 training.threads=1 "
        "training.stages.0.validate_every=1 training.stages.1.validate_every=1 baselines.B3LYP=pbe "
        "--run-dir runs/NAME",
    ),
    ("evaluate runs/", "--jobs 1"),
    ("evaluate ", "--max-heavy 0 --basis sto-3g --grid-level 0 --jobs 1"),
    ("board ", "--max-heavy 1 --basis sto-3g --grid-level 0 --jobs 1"),
    ("predict ", "--grid-level 0 --jobs 1"),
    ("curve ", "--points 2 --basis sto-3g --grid-level 0 --jobs 1"),
    ("reaction ", "--basis sto-3g --grid-level 0 --jobs 1"),
    ("atomisation ", "--basis sto-3g --grid-level 0 --jobs 1"),
    ("scf water.xyz --guess", ""),
    ("scf *", "--basis sto-3g --grid-level 0 --jobs 1"),
    ("scf ", "--basis sto-3g --grid-level 0"),
    ("optimize ", "--basis sto-3g --grid-level 0"),
    ("frequencies ", "--basis sto-3g --grid-level 3"),
    ("scan ", "--basis sto-3g --grid-level 0 --points 2"),
]
FILES = {
    "water.xyz": "3\nwater\nO 0 0 0.1173\nH 0 0.7572 -0.4692\nH 0 -0.7572 -0.4692\n",
    "oh.xyz": "2\nmult=2\nO 0 0 0\nH 0 0 0.9697\n",
    "h.xyz": "1\nmult=2\nH 0 0 0\n",
    "h2.xyz": "2\n\nH 0 0 0\nH 0 0 0.7414\n",
    "o2.xyz": "2\nmult=3\nO 0 0 0\nO 0 0 1.2075\n",
    "my-data.yaml": "format: deepchem_dft/1\ndefaults: {basis: sto-3g, unit: bohr}\n"
    'systems:\n  h2: {geometry: "H 0 0 0; H 0 0 1.4"}\n'
    "  w: water.xyz\n  n: {smiles: N}\n"
    "entries:\n- {name: H2, type: ae, value: 109.5 kcal/mol, molecule: h2, atoms: auto, split: train}\n"
    "- {name: w, type: energy, value: -75 Ha, molecule: w}\n"
    "- {name: n, type: energy, value: -55 Ha, molecule: n}\n",
}
#: What people do every day, beside what the README shows.
EVERYDAY = """\
deepchem-dft train --example train_pbe_mgga
deepchem-dft evaluate runs/NAME
deepchem-dft report runs/NAME --out report.html
deepchem-dft export runs/NAME --to mine.safetensors
deepchem-dft zoo list
deepchem-dft scf water.xyz --xc zoo:nn-hybrid-ensemble
deepchem-dft scf water.xyz --guess zoo:hamiltonian-water
deepchem-dft scf water.xyz --xc pbe+d3bj
deepchem-dft scf water.xyz --solvent water
deepchem-dft reaction "water.xyz -> oh.xyz + h.xyz"
deepchem-dft atomisation water.xyz
deepchem-dft optimize water.xyz --xc zoo:nn-mgga --out relaxed.xyz
deepchem-dft frequencies relaxed.xyz --xc zoo:nn-mgga
deepchem-dft scan water.xyz "distance 1 2" --start 0.9 --stop 1.2
deepchem-dft curve "H 0 0 0; H 0 0 {R}" --xc pbe --exact h2 --out h2.png
deepchem-dft evaluate --xc zoo:nn-hybrid --dataset w4-11 --keep w4-11.jsonl
deepchem-dft board --xc zoo:nn-hybrid --dataset gscdb138:BH46 --html board.html
deepchem-dft data check my-data.yaml
deepchem-dft predict pbe my-data.yaml --out p.csv
"""
#: What is in a package that works; imported by its Python.
INSIDE = """
import sys
from pathlib import Path
import deepchem_dft
from deepchem_dft import KohnSham, Molecule, molnet, zoo
from deepchem_dft.molnet.location import datasets_dir
from deepchem_dft.runs import examples
from deepchem_dft.runs.config import load_config
home = Path(deepchem_dft.__file__).parent
assert sys.prefix in str(home), home
assert datasets_dir().parent == home and len(list(datasets_dir().rglob("*.yaml"))) > 5
assert examples.examples_dir().parent == home and len(examples.names()) > 10
for name in examples.names():
    load_config(examples.find(name))
assert len(zoo.names()) > 5
for name in zoo.names():
    zoo.load(name)
tasks, sets, _ = molnet.load_w411(basis="sto-3g")
assert sum(len(s) for s in sets) > 50
assert KohnSham(Molecule("H 0 0 0; H 0 0 1.4", "sto-3g", grid_level=0), "zoo:nn-mgga").run().converged
print("data, zoo and", len(examples.names()), "examples are inside", home)
"""


def commands(page: Path) -> list[str]:
    """Return the commands of a page, as it has them."""
    found = re.findall(r"^```console\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
    lines = [line[2:] for block in found for line in block.splitlines() if line.startswith("$ ")]
    lines = [line.removeprefix(".venv/bin/") for line in lines]
    return [line for line in lines if line.startswith("deepchem-dft ")]


def shortened(command: str) -> list[str]:
    """Return the words of a command and what makes it short."""
    words = shlex.split(command, comments=True)
    rest = " ".join(words[1:])
    more = next((extra for start, extra in SHORT if rest.startswith(start)), "")
    return [*words[1:], *shlex.split(more)]


def judged(done: subprocess.CompletedProcess[str]) -> str:
    """Return ``works``, ``names its extra``, or nothing if it does neither."""
    if done.returncode == 0:
        return "works"
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    one = done.returncode == 1 and len(lines) == 1 and "Traceback" not in done.stderr
    return "names its extra" if one and re.search(r"pip install|install-dqc", lines[0]) else ""


def main(page: Path) -> int:
    """Try everything; return how much does not work."""
    python = [sys.executable, "-I"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "DEEPCHEM_DFT"))}
    environment |= {"MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    failed = 0
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
    with tempfile.TemporaryDirectory() as folder:
        environment["DEEPCHEM_DFT_CACHE"] = f"{folder}/cache"
        for name, text in FILES.items():
            Path(folder, name).write_text(text)
        tasks = [("the inside", [*python, "-c", INSIDE])]
        if blocks:
            tasks.append((f"the Python of {page.name}", [*python, "-c", "\n".join(blocks)]))
        for command in [*commands(page), *EVERYDAY.splitlines()]:
            words = shortened(command)
            files = sorted(Path(folder).glob("*.xyz"))
            words = [w for word in words for w in ([p.name for p in files] if word == "*.xyz" else [word])]
            tasks.append((command, [*python, "-m", "deepchem_dft", *words]))
        for name, call in tasks:
            done = subprocess.run(call, cwd=folder, env=environment, capture_output=True, text=True)
            verdict = judged(done)
            print(f"{verdict or 'FAILS':<16} {name}", flush=True)
            if not verdict:
                failed += 1
                print(
                    f"--- {' '.join(call[2:])[:300]}\n{done.stdout[-500:]}\n{done.stderr[-1500:]}\n---",
                    flush=True,
                )
    return failed


if __name__ == "__main__":
    sys.exit(min(main(Path(sys.argv[1]).resolve()), 1))
