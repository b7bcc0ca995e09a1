"""What tables of a run say for the card of its model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepchem_dft.molecule.elements import NUCLEAR_CHARGE
from deepchem_dft.runs.rows import read_data, read_json, read_rows
from deepchem_dft.runs.rundir import RunDirectory, without_places

if TYPE_CHECKING:
    from deepchem_dft.runs.section import BaseRunConfig

#: What the label of a set ends with, of which each member gives what it has not seen.
HELD_OUT = ", held out"
#: Name of what was trained in a run's tables.
TRAINED = "trained"
RESULTS = ("functional", "role", "set", "type", "n", "unconverged", "mae", "unit")
#: What is said of the sets of a role; what cross-validation holds out is called so already.
TESTS = {"test": ""}
ALL_ROLES = {"test": "", "valid": " (selected on)", "train": " (trained on)"}


def worse(errors: Sequence[dict[str, Any]], parent: str) -> list[str]:
    """Say on which sets a functional is worse than its parent.

    Examples
    --------
    >>> worse([{"set": "w4-11", "type": "ae", "unit": "kcal/mol", "mae": {"this": 3.0, "pbe": 2.0}},
    ...        {"set": "ip", "type": "ie", "unit": "kcal/mol", "mae": {"this": 1.0, "pbe": 2.0}}],
    ...       "pbe")
    ['w4-11 (ae): mean absolute error 3.00, pbe 2.00 kcal/mol']
    """
    found = []
    for row in errors:
        own, other = row["mae"].get("this"), row["mae"].get(parent)
        if own is not None and other is not None and own > other:
            found.append(
                f"{row['set']} ({row['type']}): mean absolute error {own:.2f}, "
                f"{parent} {other:.2f} {row['unit']}"
            )
    return found


def training_of(directory: RunDirectory, config: BaseRunConfig) -> dict[str, Any]:
    content = config.model_dump(mode="json", exclude_defaults=True)
    kept: dict[str, Any] = {
        key: content[key]
        for key in ("data", "functional", "trajectory", "network", "training")
        if key in content
    }
    folds = getattr(config, "cross_validation", None)
    if folds is not None:
        kept["cross_validation"] = folds.model_dump()
    data = read_data(directory / "data.json")
    counts: dict[str, int] = {}
    for one in data.get("sets", []):
        keys = ("entries", "distances", "molecules")
        many: Any = next((one[key] for key in keys if key in one), [])
        name = f"{one.get('role')}: {one.get('set')}"
        counts[name] = counts.get(name, 0) + (many if isinstance(many, int) else len(many))
    found: dict[str, Any] = {"entries": counts}
    seen = [one for one in data.get("sets", []) if one.get("role") in ("train", "valid")]
    if elements := {symbol for one in seen for symbol in one.get("elements", [])}:
        found["elements"] = sorted(elements, key=lambda symbol: NUCLEAR_CHARGE.get(symbol, 0))
    if basis := content.get("data", {}).get("basis"):
        found["basis"] = basis
    return {**found, "data_sha256": data.get("sha256"), "config": without_places(kept)}


def cost_of(directory: RunDirectory) -> dict[str, Any]:
    seconds = [row.get("seconds", 0.0) for row in directory.read_history()]
    total = sum(s for s in seconds if math.isfinite(s))
    found: dict[str, Any] = {"epochs": len(seconds), "training_seconds": round(total, 1)}
    cores = read_json(directory / "versions.json").get("cpu_count")
    return {**found, "cpu_count": cores} if cores else found


def errors_of(path: Path, notes: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the rows of a run's results as rows of a card; ``notes``: which roles, in order."""
    table: dict[tuple[str, str], dict[str, Any]] = {}
    order = list(notes)
    rows = [row for row in read_rows(path, RESULTS) if row["role"] in notes]
    for row in sorted(rows, key=lambda row: order.index(row["role"])):
        name = row["set"] + ("" if row["set"].endswith(HELD_OUT) else notes[row["role"]])
        entry = table.setdefault(
            (name, row["type"]),
            {"set": name, "type": row["type"], "entries": row.count("n"), "unit": row["unit"], "mae": {}},
        )
        value = row.number("mae")
        name = "this" if row["functional"] == TRAINED else row["functional"]
        entry["mae"][name] = value if math.isfinite(value) else None
    return [row for row in table.values() if "this" in row["mae"]]


def unconverged_of(path: Path) -> list[str]:
    return [
        f"{row['unconverged']} of {row['n']} entries of {row['set']} ({row['role']}) did not converge"
        for row in read_rows(path, RESULTS)
        if row["functional"] == TRAINED and row.count("unconverged")
    ]
