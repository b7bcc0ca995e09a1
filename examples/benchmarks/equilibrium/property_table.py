"""Polar or not: an equilibrium network beside trees, options chosen where no test looks.

Usage: python examples/benchmarks/equilibrium/property_table.py [--seeds 5] [--keep FILE] [--quick]
The molecules of deq_property.py. Each seed has a scaffold split of its own; on it every method chooses
its options (and the network its epoch) by the ROC-AUC on the validation part, and is then judged
once on the test part. Random forests and gradient-boosted trees (scikit-learn's histogram-based ones) see
ECFP4 or RDKit descriptors, the network the molecular graph. --keep: a file of results, one a line, that a
second call goes on from. Ends non-zero if the network is below the best trees by more than the
standard error of the difference over the splits, or 1 % of samples do not converge.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from deq_property import DEQ, Data, best_epoch, read, scaffold_split, standardized
from rdkit import RDLogger
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.metrics import roc_auc_score

from deepchem_dft import DEQModel

FORESTS = [{"min_samples_leaf": 1}, {"min_samples_leaf": 1, "max_features": 0.1}, {"min_samples_leaf": 3}]
BOOSTED = [{"learning_rate": 0.05, "max_leaf_nodes": 7}, {"learning_rate": 0.05, "max_leaf_nodes": 31}]
NETWORKS = [{}, {"dropout": 0.1, "pooling": ("mean", "sum", "max")}]
OWN = "DEQModel, graphs"


def trees(kind: str, features: np.ndarray, y: np.ndarray, seed: int, parts, quick: bool) -> tuple:
    """Return validation and test score, unconverged share, and what was chosen."""
    train, valid, test = parts
    found = []
    for options in FORESTS if kind == "random forest" else BOOSTED:
        if kind == "random forest":
            model = RandomForestClassifier(20 if quick else 500, random_state=seed, **options)
        else:
            rounds = 10 if quick else 200
            model = HistGradientBoostingClassifier(
                max_iter=rounds, random_state=seed, early_stopping=False, **options
            )
        model.fit(features[train], y[train])
        scores = [
            float(roc_auc_score(y[rows], model.predict_proba(features[rows])[:, 1])) for rows in (valid, test)
        ]
        found.append((*scores, 0.0, options))
    return max(found, key=lambda one: one[0])


def network(data: Data, y: np.ndarray, seed: int, parts, quick: bool) -> tuple:
    """Return the same of the network."""
    import deepchem as dc

    train, valid, test = parts
    found = []
    for options in NETWORKS:
        model = DEQModel(1, "classification", n_features=31, seed=seed, reuse=True, **{**DEQ, **options})
        names = [data.smiles[i] for i in train]
        known = dc.data.NumpyDataset(data.graphs[train], y[train, None], ids=names)
        lost = []

        def predict(rows: np.ndarray, model=model, lost=lost) -> np.ndarray:
            names = [data.smiles[i] for i in rows]
            result = model.predict(dc.data.NumpyDataset(data.graphs[rows], ids=names))[:, 0, 1]
            lost.append(model.last_solve.unconverged / model.last_solve.samples)
            return result

        def step(model=model, known=known) -> None:
            model.fit(known, 1, checkpoint_interval=0)

        scores = best_epoch(step, predict, y, valid, test, 2 if quick else 40)
        unconverged = max([*lost, *(report.unconverged for report in model.history)])
        found.append((*map(float, scores), float(unconverged), options))
    return max(found, key=lambda one: one[0])


def judge(tests: dict[str, np.ndarray], unconverged: float) -> bool:
    """Check the network's test scores, split by split, against those of the best trees."""
    rival = max((name for name in tests if name != OWN), key=lambda name: tests[name].mean())
    behind = tests[rival] - tests[OWN]
    error = behind.std(ddof=1) / len(behind) ** 0.5 if len(behind) > 1 else 0.0
    print(
        f"property table: the network is {-behind.mean():+.3f} +- {error:.3f} from the best trees ({rival}), "
        f"split by split; at most {100 * unconverged:.2f} % unconverged"
    )
    return bool(behind.mean() <= error and unconverged < 0.01)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--quick", action="store_true", help="300 molecules, few trees and epochs")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    RDLogger.DisableLog("rdApp.*")
    torch.set_num_threads(1)
    keep, rows = arguments.keep, []
    if keep is not None and keep.is_file():
        rows = [json.loads(line) for line in keep.read_text().splitlines()]
    data = read(None, 300 if arguments.quick else None)
    for seed in range(arguments.seeds):
        parts = scaffold_split(data.smiles, seed)
        y = data.labels(parts[0])
        inputs = {"ECFP4": data.fingerprints, "RDKit descriptors": standardized(data.descriptors, parts[0])}
        jobs = {
            f"{kind}, {what}": (trees, kind, features)
            for kind in ("random forest", "boosted trees")
            for what, features in inputs.items()
        }
        for name, (method, *first) in {**jobs, OWN: (network, data)}.items():
            if any(row["seed"] == seed and row["method"] == name for row in rows):
                continue
            start = time.process_time()
            valid, test, unconverged, options = method(*first, y, seed, parts, arguments.quick)
            row = {"seed": seed, "method": name, "valid": valid, "test": test, "unconverged": unconverged}
            rows.append({**row, "options": options, "seconds": time.process_time() - start})
            print(f"  seed {seed}, {name}: {valid:.3f} {test:.3f} {options}", flush=True)
            if keep is not None:
                with keep.open("a") as stream:
                    stream.write(json.dumps(rows[-1]) + "\n")
    print("| | validation | test | s.e. | CPU s |\n|:--|--:|--:|--:|--:|")
    tests = {}
    for name in dict.fromkeys(row["method"] for row in rows):
        v, t, s = np.array([[r["valid"], r["test"], r["seconds"]] for r in rows if r["method"] == name]).T
        error = t.std(ddof=1) / len(t) ** 0.5 if len(t) > 1 else 0.0
        print(f"| {name} | {v.mean():.3f} | {t.mean():.3f} | {error:.3f} | {s.mean():.0f} |")
        tests[name] = t
    return 0 if judge(tests, max(row["unconverged"] for row in rows)) else 1


if __name__ == "__main__":
    sys.exit(main())
