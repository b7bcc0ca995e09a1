"""One training step (forward, backward) of ours, of DQC, and PySCF's single point, in CPU seconds.

Usage: python examples/benchmarks/training/training_step.py [--molecules LiH H2O ...] [--families lda gga]
       [--basis "6-311++g(3df,3pd)"] [--steps N] [--ways cold warm ...]

Every way runs in a process of its own with one thread, all ways of a molecule in turn; the median
of several steps counts, and parameters move between steps as Adam moves them in training. All
ways use the same molecule, basis, grid points, functional and convergence threshold.
Ways: ``cold`` makes all integrals anew, ``cached`` keeps them, ``warm`` starts from the last
orbitals as well, ``two-grid`` is what training does by default. Ends non-zero if a ratio
to DQC or PySCF misses its bound (BOUNDS), or a quarter of DQC's memory is passed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path
from statistics import median

GEOMETRIES = {  # Bohr
    "LiH": "Li 0 0 0; H 0 0 3.0141",
    "H2O": "O 0 0 0; H 0 1.4304 1.1073; H 0 -1.4304 1.1073",
    "N2": "N 0 0 0; N 0 0 2.0743",
    "CO2": "C 0 0 0; O 0 0 2.1921; O 0 0 -2.1921",
    "C2H4": "C 0 0 1.2577; C 0 0 -1.2577; H 0 1.7438 2.3287; H 0 -1.7438 2.3287; "
    "H 0 1.7438 -2.3287; H 0 -1.7438 -2.3287",
    "benzene": "; ".join(
        f"{symbol} {radius * math.cos(k * math.pi / 3):.6f} {radius * math.sin(k * math.pi / 3):.6f} 0"
        for symbol, radius in (("C", 2.6310), ("H", 4.6798))
        for k in range(6)
    ),
}
CORE = ["LiH", "H2O", "N2", "CO2"]
CONVENTIONAL = {"lda": "lda,pw", "gga": "pbe", "mgga": "r2scan"}
WAYS = ["pyscf", "cold", "cached", "warm", "two-grid", "dqc"]
LEVEL, TOL, RATE = 3, 1e-6, 1e-3
#: What must hold: at least so many times faster than DQC, at most this share of PySCF's time.
BOUNDS = {
    "dqc": {"cold": 6.0, "warm": 18.0, "two-grid": 45.0},
    "pyscf": {"cold": 1.0, "warm": 0.3, "two-grid": 0.2},
}
#: Optimiser steps between two visits of a molecule: an epoch of four molecules, one a batch.
UPDATES = 4


def functional(family: str):
    """Return a conventional functional with a small random network on top."""
    from deepchem_dft.xc import HybridXC, build_network

    network = build_network(family=family, hidden=(16, 16), output="lda_exchange", zero_last=False, seed=0)
    return HybridXC(CONVENTIONAL[family], network, aweight0=0.1, train_b=False)


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def steps_of(step, parameters, count: int, target: float) -> tuple[list[float], list[float]]:
    """Take optimiser steps on (energy - target)^2; return CPU seconds and energies (Ha)."""
    import torch

    optimizer = torch.optim.Adam(parameters, lr=RATE)
    seconds, energies = [], []
    for _ in range(count):
        optimizer.zero_grad()
        start = time.process_time()
        energy = step()
        ((energy - target) ** 2).backward()
        seconds.append(time.process_time() - start)
        energies.append(float(energy.detach()))
        for _ in range(UPDATES):
            optimizer.step()
    return seconds, energies


def run_ours(name: str, family: str, basis: str, way: str, count: int) -> dict:
    """Measure one of our ways."""
    from deepchem_dft.molecule import Molecule
    from deepchem_dft.scf import SCFLayer

    xc = functional(family)
    layer = SCFLayer(xc, tol=TOL, two_grid=way == "two-grid")
    kept: dict = {"molecule": None, "state": None, "builds": []}

    def step():
        if way == "cold":
            kept["molecule"] = None  # and with it its integrals
        if kept["molecule"] is None:
            kept["molecule"] = Molecule(GEOMETRIES[name], basis, grid_level=LEVEL)
        guess = kept["state"] if way in ("warm", "two-grid") else None
        result = layer(kept["molecule"], guess)
        kept["state"] = result.state
        kept["builds"].append(result.iterations)
        return result.energy

    first = 0 if way == "cold" else 4  # the first steps fill caches and show the trend
    seconds, energies = steps_of(step, xc.parameters(), count + first, energies_target(name))
    return {
        "seconds": seconds[first:],
        "energies": energies,
        "builds": kept["builds"][first:],
        "nao": kept["molecule"].nao,
        "points": kept["molecule"].grid.size,
    }


def run_dqc(name: str, family: str, basis: str, count: int) -> dict:
    """Measure DQC: integrals every time, as DeepChem's XCModel has it."""
    import torch

    from deepchem_dft.interop.dqc.bridge import BridgedEngine, BridgedMol, WrappedXC, solve
    from deepchem_dft.molecule import Molecule

    xc = functional(family)
    kept: dict = {}

    def step():
        molecule = kept["molecule"] = Molecule(GEOMETRIES[name], basis, grid_level=LEVEL)
        engine = BridgedEngine(BridgedMol(molecule), WrappedXC(xc), restricted=True)
        start = engine.unstack(molecule.starting_density.expand(2, -1, -1) / 2, molecule.overlap)
        dm, energy = solve(engine, start, method="broyden1", tol=TOL, max_iter=100)
        kept["residual"] = dm
        kept["engine"] = engine
        return energy

    torch.set_num_threads(1)
    seconds, energies = steps_of(step, xc.parameters(), count, energies_target(name))
    step()  # once more, with the parameters that are then in place when it is examined
    return {
        "seconds": seconds,
        "energies": energies,
        "builds": [kept["engine"].steps],
        "residual": kept["engine"].examine(kept["residual"])[2],
        "nao": kept["molecule"].nao,
        "points": kept["molecule"].grid.size,
    }


def run_pyscf(name: str, family: str, basis: str, count: int) -> dict:
    """Measure PySCF's single point with the conventional functional of the same family."""
    from pyscf import dft, gto, lib

    lib.num_threads(1)
    seconds = []
    for _ in range(count):
        start = time.process_time()
        mole = gto.M(atom=GEOMETRIES[name], basis=basis, unit="Bohr", verbose=0)
        field = dft.RKS(mole, xc=CONVENTIONAL[family])
        field.grids.level = LEVEL
        # PySCF measures the norm of the orbital gradient; ours is its largest element.
        field.conv_tol, field.conv_tol_grad = 1e-9, 3 * TOL
        field.kernel()
        seconds.append(time.process_time() - start)
        assert field.converged
    return {
        "seconds": seconds,
        "energies": [field.e_tot],
        "builds": [field.cycles + 1],
        "nao": mole.nao,
        "points": len(field.grids.weights),
    }


def energies_target(name: str) -> float:
    """Return what training pulls the energy towards, Ha (roughly the exact energies)."""
    return {
        "LiH": -8.070,
        "H2O": -76.438,
        "N2": -109.542,
        "CO2": -188.590,
        "C2H4": -78.588,
        "benzene": -232.25,
    }[name]


def measure(name: str, family: str, basis: str, way: str, count: int) -> dict:
    """Run one way in a process of its own; its last words as ``error`` if that fails."""
    command = [sys.executable, __file__, "--worker", name, family, basis, way, str(count)]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "DEEPCHEM_DFT_CACHE": "off",
        "PYTHONWARNINGS": "ignore",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["?"])[-1]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def worker(name: str, family: str, basis: str, way: str, count: str) -> None:
    warnings.simplefilter("ignore")
    import torch

    torch.set_num_threads(1)
    before = peak_gb()
    if way == "pyscf":
        result = run_pyscf(name, family, basis, int(count))
    elif way == "dqc":
        result = run_dqc(name, family, basis, int(count))
    else:
        result = run_ours(name, family, basis, way, int(count))
    print(json.dumps({**result, "peak_gb": peak_gb(), "program_gb": before}))


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--molecules", nargs="+", default=CORE, choices=GEOMETRIES)
    parser.add_argument("--families", nargs="+", default=["lda", "gga"], choices=CONVENTIONAL)
    parser.add_argument("--basis", default="6-311++g(3df,3pd)")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--ways", nargs="+", default=WAYS, choices=WAYS)
    parser.add_argument("--json", type=Path, help="also write all figures here")
    options = parser.parse_args()
    results: dict = {}
    missed: list[str] = []
    if "dqc" in options.ways:
        from deepchem_dft.interop.dqc.engine import dqc_available

        available, why = dqc_available()
        if not available:
            options.ways = [way for way in options.ways if way != "dqc"]
            print(f"not compared: {why}")
    for family in options.families:
        print(f"\n{family} network on {CONVENTIONAL[family]}, {options.basis}, grid level {LEVEL}")
        print(
            f"{'molecule':9s} {'AOs':>4s} {'points':>7s}  " + "  ".join(f"{way:>17s}" for way in options.ways)
        )
        for name in options.molecules:
            row = {
                way: measure(name, family, options.basis, way, options.steps)
                for way in options.ways
                if way != "dqc" or name in CORE
            }
            results[f"{family} {name}"] = row
            missed += [
                f"{family} {name} {way}: {found['error']}" for way, found in row.items() if "error" in found
            ]
            known = next(r for r in row.values() if "nao" in r)
            print(
                f"{name:9s} {known['nao']:4d} {known['points']:7d}  "
                + "  ".join(cell(row.get(way)) for way in options.ways),
                flush=True,
            )
        missed += summary(results, family, options.molecules)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    print("all bounds reached" if not missed else "missed: " + "; ".join(missed))
    sys.exit(bool(missed))


def cell(result: dict | None) -> str:
    if result is None:
        return f"{'-':>17s}"  # DQC holds all nao^4 integrals, several times over
    if "error" in result:
        return f"{result['error'][:17]:>17s}"
    return f"{median(result['seconds']):8.3f}s {result['peak_gb']:5.2f}GB"


def summary(results: dict, family: str, names: list[str]) -> list[str]:
    """Print geometric means of ratios; return those that miss their bounds."""
    missed = []
    for other in ("dqc", "pyscf"):
        for way in ("cold", "cached", "warm", "two-grid"):
            rows = [results[f"{family} {n}"] for n in names]
            pairs = [(row.get(other, {}), row.get(way, {})) for row in rows]
            pairs = [(a, b) for a, b in pairs if "seconds" in a and "seconds" in b]
            if not pairs:
                continue
            logs = [math.log(median(a["seconds"]) / median(b["seconds"])) for a, b in pairs]
            ratio = math.exp(sum(logs) / len(logs))
            text = (
                f"{ratio:.1f} x faster than DQC"
                if other == "dqc"
                else f"{1 / ratio:.2f} x the time of PySCF's single point"
            )
            print(f"  {way}: {text} (geometric mean of {len(pairs)})")
            bound = BOUNDS[other].get(way)
            if bound and set(names) == set(CORE):
                fails = ratio < bound if other == "dqc" else 1 / ratio > bound
                missed += [f"{family} {way} against {other}"] if fails else []
    row = results.get(f"{family} CO2", {})
    if "seconds" in row.get("dqc", {}) and "seconds" in row.get("cold", {}):
        share = row["cold"]["peak_gb"] / row["dqc"]["peak_gb"]
        print(f"  peak memory for CO2: {share:.2f} of DQC's")
        missed += ["memory"] if share > 0.25 else []
    return missed


if __name__ == "__main__":
    if "--worker" in sys.argv:
        worker(*sys.argv[2:])
    else:
        main()
