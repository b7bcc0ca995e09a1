"""Train zoo:deq-nci, an equilibrium network for dipole moments and gaps of molecules.

Usage: python examples/zoo/deq.py [--to FOLDER] [--epochs 150] [--limit N]

GFN2-xTB dipole moments (Debye) and HOMO-LUMO gaps (eV) of the 2,010 NCI molecules that come with
the package, scaffold split 80 : 10 : 10. The epoch is chosen on the validation part; baselines are
the training mean and random forests. Writes FOLDER/deq-nci.safetensors and its card. Some six
minutes.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import deepchem as dc
import numpy as np
from rdkit import RDLogger
from rdkit.Chem import MolFromSmiles
from rdkit.Chem.Scaffolds.MurckoScaffold import MurckoScaffoldSmiles
from sklearn.ensemble import RandomForestRegressor

from deepchem_dft import DEQModel, zoo
from deepchem_dft.molnet import load_nci

NAME, SEED, PATIENCE = "deq-nci", 0, 25
TASKS, KINDS, UNITS = ["dipole", "gap"], ["dipole moment", "HOMO-LUMO gap"], ["Debye", "eV"]
OPTIONS = {
    "width": 64,
    "pooling": ("mean", "sum", "max", "pairs"),
    "dropout": 0.1,
    "batch_size": 64,
    "learning_rate": 0.002,
}


def errors(model: DEQModel, dataset: dc.data.Dataset) -> np.ndarray:
    """Return absolute errors (molecules, tasks)."""
    return abs(model.predict(dataset).reshape(len(dataset), -1) - dataset.y)


def train(parts: list[dc.data.Dataset], epochs: int, folder: str) -> tuple[DEQModel, dict]:
    """Train until the validation errors no longer fall; return the model of the best epoch."""
    scale = parts[0].y.std(0)  # two units in one number
    model = DEQModel(2, "regression", seed=SEED, model_dir=folder, **OPTIONS)
    best, chosen, began = np.inf, 0, time.perf_counter()
    for epoch in range(1, epochs + 1):
        loss = model.fit(parts[0], 1, checkpoint_interval=0, deterministic=False)
        score = float((errors(model, parts[1]) / scale).mean())
        if score < best:
            best, chosen = score, epoch
            model.save_checkpoint(max_checkpoints_to_keep=1)
        if epoch % 5 == 0:
            print(
                f"epoch {epoch}: loss {loss:.3f}, validation {score:.3f} standard deviations, "
                f"best {best:.3f} (epoch {chosen})",
                flush=True,
            )
        if epoch - chosen >= PATIENCE:
            break
    seconds = time.perf_counter() - began
    unconverged = max(one.unconverged for one in model.history)
    model.restore()
    return model, {
        "epochs": epoch,
        "chosen_epoch": chosen,
        "training_seconds": round(seconds, 1),
        "largest_share_unconverged": unconverged,
        "cpu_count": os.cpu_count(),
    }


def baselines(smiles: list[list[str]], parts: list[dc.data.Dataset]) -> dict[str, np.ndarray]:
    """Return absolute errors of the training mean and of random forests on the test part."""
    train, test = parts[0].y, parts[2].y
    found = {"training mean": abs(train.mean(0) - test)}
    for name, featurizer in (
        ("random forest, ECFP4", dc.feat.CircularFingerprint(2, 2048)),
        ("random forest, descriptors", dc.feat.RDKitDescriptors()),
    ):
        features = [
            np.nan_to_num(featurizer.featurize(smiles[i]).astype(float)).clip(-1e6, 1e6) for i in (0, 2)
        ]
        forest = RandomForestRegressor(500, random_state=SEED).fit(features[0], train)
        found[name] = abs(forest.predict(features[1]) - test)
    return found


def failures(rows: list[dict], own: np.ndarray, smiles: list[str]) -> list[str]:
    """Return where it is no better than others, its worst cases, and what it cannot see."""
    found = []
    for row in rows:
        this, rival = row["mae"]["this"], min(v for k, v in row["mae"].items() if k != "this")
        if this > 0.95 * rival:
            how = "worse than" if this > rival else "hardly better than"
            found.append(
                f"{row['type']}s are {how} those of the best baseline "
                f"({this:.2f} against {rival:.2f} {row['unit']})"
            )
    for task, row in enumerate(rows):
        i = int(own[:, task].argmax())
        found.append(f"{row['type']}: {smiles[i]} by {own[i, task]:.1f} {row['unit']}, the worst of the test")
    return [
        *found,
        "a graph knows no conformer: another one of a flexible molecule has another "
        "dipole moment (0.12 Debye on average) and the same prediction",
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--to", default=".", help="folder of the two files")
    parser.add_argument("--epochs", type=int, default=150, help="at most")
    parser.add_argument("--limit", type=int, help="molecules of each part, for a try-out")
    options = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")  # DeepChem calls what RDKit deprecates, a line per molecule
    _, parts, _ = load_nci(reload=False, task=TASKS)
    if options.limit:
        parts = [part.select(range(min(options.limit, len(part)))) for part in parts]
    smiles = [[str(ident) for ident in part.ids] for part in parts]
    with tempfile.TemporaryDirectory() as folder:
        model, cost = train(parts, options.epochs, folder)
    own, others = errors(model, parts[2]), baselines(smiles, parts)
    rows = [
        {
            "set": "NCI, test",
            "type": kind,
            "entries": len(own),
            "unit": unit,
            "mae": {
                "this": round(float(own[:, task].mean()), 4),
                **{name: round(float(other[:, task].mean()), 4) for name, other in others.items()},
            },
        }
        for task, (kind, unit) in enumerate(zip(KINDS, UNITS))
    ]
    scaffolds = [{MurckoScaffoldSmiles(mol=MolFromSmiles(s)) for s in part} for part in smiles]
    card = zoo.save(
        model,
        Path(options.to) / f"{NAME}.safetensors",
        summary="Dipole moments (Debye) and HOMO-LUMO gaps (eV) of small molecules at the level of "
        "GFN2-xTB, from the molecular graph alone.",
        training={
            "entries": {f"{role}: NCI": len(part) for role, part in zip(("train", "valid", "test"), parts)},
            "data": "datasets/nci-gfn2.csv, scaffold split",
            "labels": dict(zip(KINDS, UNITS)),
            "input": "MolGraphConvFeaturizer(use_edges=True)",
            "loss": "mean square error",
            "selection": "epoch of the smallest validation error",
        },
        overlap=[
            f"train and test share {len(set(smiles[0]) & set(smiles[2]))} of "
            f"{len(smiles[2])} molecules and {len(scaffolds[0] & scaffolds[2])} of "
            f"{len(scaffolds[2])} scaffolds"
        ],
        errors=rows,
        cost=cost,
        seed=SEED,
        known_failures=failures(rows, own, smiles[2]),
        out_of_scope=[
            "ions, radicals, single atoms, mixtures, crystals",
            "elements other than H, C, N, O, F, P, S, Cl, Br; more than 25 heavy atoms",
            "experimental values: GFN2-xTB is off by some tenths of a Debye itself",
        ],
    )
    print(card.text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
