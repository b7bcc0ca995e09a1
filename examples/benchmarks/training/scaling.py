"""Cost of a warm training step against the number of orbitals, for the alkanes C2H6 to C8H18.

Usage: python examples/benchmarks/training/scaling.py [--basis def2-svp] [--family gga] [--plot FILE.png]

Density fitted, one thread, CPU seconds, each molecule in a process of its own; parameters move
between steps as in training. Ends with the exponent of a power law fitted to each way's times,
non-zero if one is above 2.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

from training_step import TOL, functional, peak_gb, steps_of

LEVEL = 3
BOUND = 2.0  # largest exponent
WAYS = ["warm", "two-grid"]


def alkane(carbons: int) -> str:
    """Return a straight chain C(n)H(2n+2): bonds of 1.53 and 1.09 Angstrom, ideal angles; Bohr."""
    bond, hydrogen, half = 1.53, 1.09, math.acos(-1 / 3) / 2
    rise, run = bond * math.cos(half), bond * math.sin(half)
    up, out = hydrogen * math.cos(half), hydrogen * math.sin(half)
    atoms = []
    for k in range(carbons):
        side = 1 if k % 2 else -1
        x, z = k * run, side * rise / 2
        atoms.append(("C", x, 0.0, z))
        atoms += [("H", x, sign * out, z + side * up) for sign in (1, -1)]
    first, last = atoms[0], atoms[-3]
    for (_, x, _, z), way in ((first, -1), (last, 1)):
        side = 1 if z > 0 else -1
        atoms.append(("H", x + way * out, 0.0, z - side * up))
    return "; ".join(f"{s} {x / 0.529177:.8f} {y / 0.529177:.8f} {z / 0.529177:.8f}" for s, x, y, z in atoms)


def measure(carbons: int, basis: str, family: str, way: str, count: int) -> dict:
    """Time warm steps of one alkane, in this process."""
    import torch

    from deepchem_dft.molecule import Molecule
    from deepchem_dft.scf import SCFLayer

    torch.set_num_threads(1)
    molecule = Molecule(alkane(carbons), basis, grid_level=LEVEL, density_fit=True)
    xc = functional(family)
    layer = SCFLayer(xc, tol=TOL, two_grid=way == "two-grid")
    kept: dict = {"state": None, "builds": 0}

    def step():
        result = layer(molecule, kept["state"])
        kept["state"], kept["builds"] = result.state, result.iterations
        return result.energy

    seconds, _ = steps_of(step, xc.parameters(), count + 3, -40.0 * carbons)
    return {
        "seconds": median(seconds[3:]),
        "nao": molecule.nao,
        "points": molecule.grid.size,
        "builds": kept["builds"],
        "peak_gb": peak_gb(),
    }


def exponent(sizes: list[int], seconds: list[float]) -> float:
    """Fit seconds = c * size**k by least squares of logarithms; return k."""
    x, y = [math.log(n) for n in sizes], [math.log(t) for t in seconds]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    top = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return top / sum((a - mean_x) ** 2 for a in x)


def draw(rows: dict, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    plt.style.use("deepchem_dft.figures")
    figure, axes = plt.subplots(figsize=(5.2, 3.8), constrained_layout=True)
    for way, points in rows.items():
        sizes, seconds = [p["nao"] for p in points], [p["seconds"] for p in points]
        axes.loglog(sizes, seconds, "o-", label=f"{way}: exponent {exponent(sizes, seconds):.2f}")
    axes.set_xlabel("atomic orbitals")
    axes.set_ylabel("CPU seconds per training step")
    axes.set_title("Warm training step, alkanes, density fitted")
    axes.legend()
    figure.savefig(path)


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--basis", default="def2-svp")
    parser.add_argument("--family", default="gga")
    parser.add_argument("--carbons", nargs="+", type=int, default=[2, 3, 4, 5, 6, 7, 8])
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        carbons, way = options.worker
        print(json.dumps(measure(int(carbons), options.basis, options.family, way, options.steps)))
        return
    print(f"{options.family} network, {options.basis}, density fitted, grid level {LEVEL}")
    rows: dict = {way: [] for way in WAYS}
    for carbons in options.carbons:
        for way in WAYS:
            command = [
                sys.executable,
                __file__,
                "--basis",
                options.basis,
                "--family",
                options.family,
                "--steps",
                str(options.steps),
                "--worker",
                str(carbons),
                way,
            ]
            environment = {
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "PYTHONWARNINGS": "ignore",
                "DEEPCHEM_DFT_CACHE": "off",
                "DEEPCHEM_DFT_MEMORY_GB": "6",
            }
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            rows[way].append(json.loads(done.stdout.strip().splitlines()[-1]))
        known = rows["warm"][-1]
        figures = [
            f"{way} {rows[way][-1]['seconds']:7.2f} s ({rows[way][-1]['builds']} builds, "
            f"{rows[way][-1]['peak_gb']:.1f} GB)"
            for way in WAYS
        ]
        formula = f"C{carbons}H{2 * carbons + 2}"
        print(
            f"{formula:7s} {known['nao']:4d} AOs {known['points']:7d} points  " + "  ".join(figures),
            flush=True,
        )
    worst = 0.0
    for way in WAYS:
        k = exponent([r["nao"] for r in rows[way]], [r["seconds"] for r in rows[way]])
        worst = max(worst, k)
        print(f"{way}: exponent {k:.2f} in the number of orbitals")
    if options.plot:
        draw(rows, options.plot)
    sys.exit(worst > BOUND)


if __name__ == "__main__":
    main()
