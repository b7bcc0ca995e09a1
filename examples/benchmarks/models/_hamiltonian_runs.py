"""Trainings on water that the Hamiltonian benchmarks share; each is done once and kept as JSON."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deepchem_dft import HamiltonianModel
from deepchem_dft.runs.hamiltonian.schema import HamiltonianSetRef
from deepchem_dft.runs.hamiltonian.sets import load_set

FORMS = ("direct", "delta", "equilibrium", "equilibrium-delta")
SEEDS = (0, 1, 2)
EPOCHS = 32  # of 32 steps each


@lru_cache(maxsize=32)
def part(file: Path, match: str, start: int = 0, stop: int | None = None):
    """Return the molecules of a file whose names match, from the start-th on."""
    if not file.is_file():
        raise SystemExit(
            f"{file} is missing; the first lines of the files in examples/hamiltonian say how it is made"
        )
    limit = None if stop is None else stop - start
    ref = HamiltonianSetRef(file=str(file), match=match, skip=start, limit=limit)
    return load_set(ref, "test").dataset


def water(folder: Path) -> tuple[Any, dict[str, Any]]:
    """Return 500 geometries at 300 K to train on, and 260 others at 300 K and at 500 K."""
    file = folder / "water.h5"
    return part(file, "*/300K/*", 0, 500), {
        "300 K": part(file, "*/300K/*", 500),
        "500 K": part(file, "*/500K/*", 0, 260),
    }


def train(
    folder: Path, runs: Path, *, epochs: int = EPOCHS, count: int | None = None, **options: Any
) -> dict[str, Any]:
    """Train on (the first ``count`` of) water, test; return errors (microhartree), CPU seconds, history."""
    said = {} if count is None else {"count": count}
    words = json.dumps({"epochs": epochs, **said, **options}, sort_keys=True)
    file = runs / f"water-{hashlib.sha256(words.encode()).hexdigest()[:12]}.json"
    if file.is_file():
        return json.loads(file.read_text())
    torch.set_num_threads(1)
    data, tests = water(folder)
    data = data if count is None else data.select(range(count))
    model = HamiltonianModel.for_data(data, **options)
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # unconverged ones are counted
        model.fit(data, epochs, checkpoint_every=0)
        seconds = time.process_time() - start
        found: dict[str, Any] = {"options": json.loads(words), "seconds": seconds}
        for label, test in tests.items():
            scores = model.scores(test)
            found[label] = {
                "hamiltonian": float(np.mean([s.hamiltonian_mae for s in scores])),
                "orbitals": float(np.mean([s.orbital_mae for s in scores])),
                "unconverged": float(np.mean([not s.converged for s in scores])),
                "iterations": float(np.mean([s.iterations for s in scores])),
            }
    found["parameters"] = sum(p.numel() for p in model.model.parameters())
    found["history"] = [
        {"step": r.step, "iterations": r.iterations, "train": r.train_mae, "unconverged": r.unconverged}
        for r in model.history
    ]
    runs.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found, indent=1))
    return found


def spread(found: list[dict[str, Any]], label: str, key: str) -> str:
    """Return mean and standard deviation over seeds."""
    values = [one[label][key] for one in found]
    return f"{np.mean(values):.1f} +- {np.std(values, ddof=1):.1f}"
