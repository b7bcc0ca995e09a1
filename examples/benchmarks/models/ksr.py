"""KSR: speed against dense matrices, the H2 curve from two points, other molecules.

Usage: python examples/benchmarks/models/ksr.py [speed] [h2] [transfer] [--runs DIR]

speed: loss and gradient of two H2 through 15 iterations, in one process with one thread, against
the plain way with dense matrices; both must agree to 1e-9, and ours
take at most a fortieth of the CPU time.
h2: the configurations examples/ksr/h2_*.yaml. KSR-global must be within chemical accuracy at 31 of
32 test separations with a mean absolute error of at most 0.8 mHa, in under 10 CPU minutes.
transfer: examples/ksr/h2_h4.yaml, trained on eight separations each of H2 and H4: H2+ within
0.1 mHa everywhere; mean absolute errors of H4 and H2H2 within chemical accuracy.
Ends non-zero if a bound is not kept.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import torch
from _dense_ksr import DenseKSR

from deepchem_dft.lattice.exact import exact
from deepchem_dft.lattice.functionals import make_functional
from deepchem_dft.lattice.step import Molecules
from deepchem_dft.lattice.systems import h2
from deepchem_dft.lattice.trajectory import run_trajectory
from deepchem_dft.models import KSRLoss
from deepchem_dft.units import HARTREE_TO_KCAL

CONFIGS = Path(__file__).resolve().parents[2] / "ksr"
DISTANCES, ITERATIONS = (1.28, 3.84), 15
ACCURATE = 1000 / HARTREE_TO_KCAL  # mHa
LIMIT = {"ratio": 40.0, "agree": 1e-9, "within": 31, "mae": 0.8, "minutes": 10.0, "h2_plus": 0.1}


def timed(work, repeats: int) -> tuple[float, object]:
    """Return the median CPU seconds of a piece of work, and its last result."""
    work()  # caches, lazy imports
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        result = work()
        seconds.append(time.process_time() - start)
    return median(seconds), result


def speed() -> bool:
    """Compare both ways on the same weights."""
    torch.set_num_threads(1)
    states = [exact(h2(r)) for r in DISTANCES]
    energy = torch.tensor([s.energy for s in states], dtype=torch.float64)
    density = torch.tensor(np.array([s.density for s in states]))
    xc, loss = make_functional("global", seed=4), KSRLoss()
    parameters = list(xc.parameters())
    grid, dense = xc.grid, DenseKSR()
    molecules = Molecules.of([s.system for s in states], grid)

    def ours() -> tuple[float, torch.Tensor]:
        found = run_trajectory(molecules, xc, ITERATIONS, last=ITERATIONS - loss.skip)
        value = loss(found, energy, density[:, None]).mean()
        return value.item(), torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters)])

    def plain() -> tuple[float, torch.Tensor]:
        value = torch.zeros((), dtype=torch.float64)
        discounts = loss.discounts(ITERATIONS)
        for row, state in enumerate(states):
            energies, final = dense.trajectory(
                list(state.system.positions),
                list(state.system.charges),
                2,
                (xc.eta, list(xc.layers), xc.gate_width),
                ITERATIONS,
            )
            errors = energies[loss.skip :] - energy[row]
            deviation = ((final - density[row]) ** 2).sum() * grid.spacing
            value = value + (errors**2 @ discounts + deviation) / 2 / len(states)
        return value.item(), torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters)])

    fast, (value, gradient) = timed(ours, 9)
    slow, (expected, reference) = timed(plain, 2)
    ratio = slow / fast
    off = ((gradient - reference).norm() / reference.norm()).item()
    print(f"loss {value:.12f}, dense {expected:.12f}; gradients differ by {off:.1e}")
    print(f"  ours {fast:.3f} CPU s, dense {slow:.2f} CPU s")
    good = ratio >= LIMIT["ratio"] and abs(value - expected) < LIMIT["agree"] and off < 1e-6
    print(f"speed: {ratio:.0f} x less CPU time than dense matrices ({fast:.3f} s)")
    return good


def train(name: str, runs: Path):
    """Run a configuration, or take it from an earlier run; return result and CPU minutes."""
    from deepchem_dft.runs import load_config, run

    config = load_config(CONFIGS / f"{name}.yaml")
    result = run(config, runs / name, resume=True)
    rows = result.directory.read_history()
    return result, sum(row["seconds"] for row in rows) / 60


def errors(result, label: str, functional: str = "trained") -> np.ndarray:
    """Return errors of a test set, mHa."""
    return np.array(
        [
            1000 * (r.value - r.reference)
            for r in result.records
            if (r.role, r.set, r.functional) == ("test", label, functional)
        ]
    )


def describe(name: str, e: np.ndarray) -> str:
    within = int((np.abs(e) <= ACCURATE).sum())
    return (
        f"{name:<26} MAE {np.nanmean(np.abs(e)):8.2f} mHa, max {np.nanmax(np.abs(e)):8.2f}, "
        f"within chemical accuracy {within} of {len(e)}"
    )


def h2_curve(runs: Path) -> bool:
    """Train on two separations with every kind of functional."""
    found, minutes = {}, {}
    for kind in ("global", "gradient", "local", "direct"):
        result, minutes[kind] = train(f"h2_{kind}", runs)
        found[kind] = errors(result, "h2")
        print(f"  {describe(kind, found[kind])}, {minutes[kind]:.1f} CPU min")
    e = found["global"]
    within = int((np.abs(e) <= ACCURATE).sum())
    print(
        f"h2: {within} of {len(e)} within chemical accuracy, MAE {np.abs(e).mean():.2f} mHa, "
        f"{minutes['global']:.1f} CPU min"
    )
    return (
        within >= LIMIT["within"]
        and np.abs(e).mean() <= LIMIT["mae"]
        and minutes["global"] < LIMIT["minutes"]
    )


def transfer(runs: Path) -> bool:
    """Train on H2 and H4, test on those, H2+ and H2H2."""
    result, minutes = train("h2_h4", runs)
    found = {label: errors(result, label) for label in ("h2_plus", "h2", "h4", "h2h2")}
    for label, e in found.items():
        print(f"  {describe(label, e)}")
    mean = {label: np.abs(e).mean() for label, e in found.items()}
    print(
        "transfer: MAE " + ", ".join(f"{k} {v:.2f}" for k, v in mean.items()) + f" mHa, {minutes:.0f} CPU min"
    )
    return np.abs(found["h2_plus"]).max() <= LIMIT["h2_plus"] and max(mean["h4"], mean["h2h2"]) <= ACCURATE


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=["speed", "h2", "transfer", []], help="default: all")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs")
    options = parser.parse_args()
    parts = options.parts or ["speed", "h2", "transfer"]
    checks = {
        "speed": speed,
        "h2": lambda: h2_curve(options.runs),
        "transfer": lambda: transfer(options.runs),
    }
    kept = [checks[part]() for part in parts]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
