"""Is it worth it to start a fixed point from the last one of the same molecule?

Usage: python examples/benchmarks/equilibrium/deq_reuse.py [--quick]
The training of deq_property.py on 512 molecules, with fixed points reused from epoch to epoch and
without; then predictions of molecules whose bonds swing by a hundredth, as in a step of dynamics.
Ends non-zero if that saves no evaluations, or moves a probability by more than 0.02 after training.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
import warnings

import deepchem as dc
import numpy as np
from deq_property import DEQ, Data, read, scaffold_split
from rdkit import RDLogger

from deepchem_dft import DEQModel


def reuse(data: Data, epochs: int, molecules: int) -> bool:
    """Train with and without reuse; then predict molecules whose bonds swing by a hundredth."""
    train, valid, _ = scaffold_split(data.smiles, 0)
    train, y, good = train[:molecules], data.labels(train), True
    known = dc.data.NumpyDataset(data.graphs[train], y[train, None], ids=[data.smiles[i] for i in train])

    def swung(step: int) -> dc.data.Dataset:
        graphs = [copy.deepcopy(graph) for graph in data.graphs[valid[:64]]]
        for graph in graphs:
            graph.edge_features = graph.edge_features * (1 + 0.01 * np.sin(step))
        return dc.data.NumpyDataset(np.array(graphs, dtype=object), ids=[data.smiles[i] for i in valid[:64]])

    print(
        f"{'slope':>6s}{'reuse':>7s}{'training, per sample':>22s}{'CPU s':>7s}{'in motion, per sample':>23s}"
    )
    for bound in (0.9, 0.99):
        found, needed = [], []
        for again in (False, True):
            model = DEQModel(1, "classification", n_features=31, bound=bound, reuse=again, **DEQ)
            start = time.process_time()
            model.fit(known, epochs, checkpoint_interval=0)
            seconds = time.process_time() - start
            steps = []
            for step in range(6):
                found.append(model.predict(swung(step)))
                steps.append(model.last_solve.iterations / model.last_solve.samples)
            needed.append((model.history[-1].iterations, float(np.mean(steps[1:]))))
            print(
                f"{bound:6g}{again!s:>7s}{needed[-1][0]:22.1f}{seconds:7.1f}{needed[-1][1]:23.1f}", flush=True
            )
        apart = float(np.abs(np.array(found[:6]) - np.array(found[6:])).max())
        print(f"  predictions at most {apart:.1e} apart after training each for itself", flush=True)
        good &= apart < 0.02 and all(after < before for before, after in zip(*needed))
    print(f"reuse: {'pass' if good else 'FAIL'}")
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few molecules and epochs")
    quick = parser.parse_args().quick
    warnings.filterwarnings("ignore")
    RDLogger.DisableLog("rdApp.*")
    return 0 if reuse(read(None, 300 if quick else None), 2 if quick else 8, 128 if quick else 512) else 1


if __name__ == "__main__":
    sys.exit(main())
