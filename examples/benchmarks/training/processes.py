"""Two processes of one thread against one: epochs in the same wall time, and the same losses.

Usage: python examples/benchmarks/training/processes.py [--pairs 3] [--epochs 10] [--basis 6-31g*]
Trains PBE with a network on the atomisation energies of 20 molecules of W4-11, in turn with one
process and with two, each from an empty cache. Ends non-zero if the median ratio is below 1.6, or
the losses differ by more than 1e-10 (first epoch) or 1e-7 (last). Needs two idle cores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MOLECULES = "h2o hf hcl h2s nh3 ph3 ch4 c2h2 c2h4 c2h6 hcn co n2 co2 h2co methanol ch3f ch3nh2 n2h4 hooh"
BOUND = 1.6


def train(out: str, epochs: int, basis: str, level: int) -> None:
    """Train in this process, or with those torchrun started beside it, and write what happened."""
    from deepchem_dft import XCModel, parallel
    from deepchem_dft.models.xc.samples import make_dataset
    from deepchem_dft.runs.xc.entries import select
    from deepchem_dft.runs.xc.schema import DatasetRef

    by_name = {e.name: e for e in select(DatasetRef(dataset="w4-11"), basis)}
    dataset = make_dataset([by_name[f"w4-11:{name}"] for name in MOLECULES.split()])
    network = {"family": "gga", "hidden": [16, 16], "seed": 0}
    model = XCModel(
        "pbe",
        network,
        grid_level=level,
        batch_size=len(dataset),
        seed=0,
        loss_unit="kcal/mol",
        learning_rate=1e-3,
    )
    start = time.perf_counter()
    model.fit(dataset, nb_epoch=epochs, checkpoint_interval=0)
    wall = time.perf_counter() - start
    if parallel.rank() == 0:
        rows = [[r.seconds, r.loss, r.unconverged] for r in model.history]
        Path(out).write_text(json.dumps({"wall": wall, "epochs": rows}))


def measure(processes: int, options: argparse.Namespace) -> dict:
    """Run this file with so many processes and return what it wrote."""
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        command += [
            __file__,
            "--out",
            str(out),
            "--epochs",
            str(options.epochs),
            "--basis",
            options.basis,
            "--grid-level",
            str(options.grid_level),
        ]
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "DEEPCHEM_DFT_CACHE": str(Path(folder) / "cache"),
        }
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        return json.loads(out.read_text())


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=3, help="runs of each kind, in turn")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--basis", default="6-31g*")
    parser.add_argument("--grid-level", type=int, default=1)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.out:
        train(options.out, options.epochs, options.basis, options.grid_level)
        return 0
    ratios, warm, first, last = [], [], 0.0, 0.0
    print(
        f"20 molecules and their atoms, {options.basis}, grid level {options.grid_level}, "
        f"{options.epochs} epochs; seconds"
    )
    print(f"{'pair':>4} {'1 process':>10} {'2 processes':>12} {'ratio':>6} {'warm epochs':>12}")
    for pair in range(options.pairs):
        order = (1, 2) if pair % 2 == 0 else (2, 1)
        runs = {n: measure(n, options) for n in order}
        ratios.append(runs[1]["wall"] / runs[2]["wall"])
        # Later epochs: integrals are there, systems have been spread by the time they take.
        one, two = (sum(e[0] for e in runs[n]["epochs"][2:]) for n in (1, 2))
        warm.append(one / two)
        losses = list(zip(*([e[1] for e in runs[n]["epochs"]] for n in (1, 2)), strict=True))
        first = max(first, abs(losses[0][0] / losses[0][1] - 1))
        last = max(last, abs(losses[-1][0] / losses[-1][1] - 1))
        print(
            f"{pair + 1:4d} {runs[1]['wall']:10.1f} {runs[2]['wall']:12.1f} {ratios[-1]:6.2f} "
            f"{warm[-1]:12.2f}",
            flush=True,
        )
    ratio = statistics.median(ratios)
    good = ratio >= BOUND and first <= 1e-10 and last <= 1e-7
    print(f"  warm epochs alone: {statistics.median(warm):.2f} times as many (median)")
    print(
        f"{'pass' if good else 'FAIL'}: {ratio:.2f} times the epochs in the same time (median, "
        f"wanted {BOUND}); losses differ by {first:.1e} in the first epoch (1e-10) and "
        f"{last:.1e} in the last (1e-7), relative"
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
