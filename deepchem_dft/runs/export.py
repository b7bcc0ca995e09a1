"""From a run directory, or a model of the zoo, to two files that others can use."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .hamiltonian_schema import HamiltonianRunConfig
from .ksr_schema import LatticeRunConfig
from .rundir import RunDirectory

if TYPE_CHECKING:
    from ..zoo import Card
    from .config import AnyConfig
    from .entries import EntrySet
    from .schema import RunConfig

#: Name of the trained functional in a run's tables.
_TRAINED = "trained"


def export(source: str | Path, to: str | Path, summary: str | None = None) -> Card:
    """Write the model of a finished run, or of the zoo, to a file of weights and a card.

    Parameters
    ----------
    source : str or Path
        Run directory, name in the zoo, or file.
    to : path
        NAME.safetensors; the card NAME.json is written beside it.
    summary : str, optional
        One sentence for the card. Default: the run's description, or as on the other card.

    Returns
    -------
    Card

    Raises
    ------
    InputError
        If there is no such run or model, or it cannot be written down as data.
    """
    from .. import zoo

    if Path(source).is_dir():
        return export_run(source, to, summary)
    old = zoo.card(source)
    known = {name: value for name, value in old.to_dict().items()
             if name not in ("format", "name", "kind", "form", "weights")}  # fmt: skip
    return zoo.save(zoo.load(source), to, **{**known, "summary": summary or old.summary})


def export_run(run: str | Path, to: str | Path, summary: str | None = None) -> Card:
    """Write the model of a finished run; its tables go on the card."""
    from .. import zoo
    from .functional import load_model

    directory = RunDirectory(run)
    config = directory.load_config()
    model = load_model(run)
    known: dict[str, Any] = {
        "summary": summary or config.description,
        "training": _training(directory, config),
        "cost": _cost(directory),
        "versions": _json(directory / "versions.json"),
        "seed": config.training.seed,
    }
    if isinstance(config, HamiltonianRunConfig):
        errors = _matrix_errors(directory / "results.csv", config.network.form)
        return zoo.save(model, to, **known, errors=errors)
    errors = _errors(directory / "results.csv")
    known |= {"errors": errors, "known_failures": _unconverged(directory / "results.csv")}
    if isinstance(config, LatticeRunConfig):
        return zoo.save(model, to, **known)
    parent = config.functional.xc
    row = next((label for label, xc in config.baselines.items() if xc.strip().lower() ==
                parent.strip().lower()), parent)  # fmt: skip
    known |= {"parent": parent, "worse_than_parent": worse(errors, row), **_data(config)}
    return zoo.save(model.functional, to, **known)


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
            found.append(f"{row['set']} ({row['type']}): mean absolute error {own:.2f}, "
                         f"{parent} {other:.2f} {row['unit']}")
    return found


def _training(directory: RunDirectory, config: AnyConfig) -> dict[str, Any]:
    content = config.model_dump(mode="json", exclude_defaults=True)
    kept = {key: content[key] for key in ("data", "functional", "trajectory", "network", "training")
            if key in content}  # fmt: skip
    data = _json(directory / "data.json")
    counts: dict[str, int] = {}
    for one in data.get("sets", []):
        if isinstance(one, dict) and isinstance(one.get("entries"), list):
            name = f"{one.get('role')}: {one.get('set')}"
            counts[name] = counts.get(name, 0) + len(one["entries"])
    return {"entries": counts, "data_sha256": data.get("sha256"),
            "config": _without_paths(kept)}  # fmt: skip


def _without_paths(value: Any) -> Any:
    """Keep names of files, not where they lie on somebody's disk."""
    if isinstance(value, dict):
        return {k: Path(v).name if k == "file" and isinstance(v, str) else _without_paths(v)
                for k, v in value.items()}  # fmt: skip
    return [_without_paths(v) for v in value] if isinstance(value, list) else value


def _cost(directory: RunDirectory) -> dict[str, Any]:
    seconds = [row.get("seconds", 0.0) for row in directory.read_history()]
    total = sum(s for s in seconds if math.isfinite(s))
    found: dict[str, Any] = {"epochs": len(seconds), "training_seconds": round(total, 1)}
    cores = _json(directory / "versions.json").get("cpu_count")
    return {**found, "cpu_count": cores} if cores else found


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _errors(path: Path) -> list[dict[str, Any]]:
    """Return the test rows of a run's results as rows of a card."""
    table: dict[tuple[str, str], dict[str, Any]] = {}
    for row in _rows(path):
        if row["role"] != "test":
            continue
        entry = table.setdefault((row["set"], row["type"]), {
            "set": row["set"], "type": row["type"], "entries": int(row["n"]), "unit": row["unit"],
            "mae": {}})  # fmt: skip
        value = float(row["mae"])
        name = "this" if row["functional"] == _TRAINED else row["functional"]
        entry["mae"][name] = value if math.isfinite(value) else None
    return [row for row in table.values() if "this" in row["mae"]]


def _matrix_errors(path: Path, form: str) -> list[dict[str, Any]]:
    """Return the test rows of a run on Hamiltonians: elements of H and orbital energies."""
    table: dict[tuple[str, str], dict[str, Any]] = {}
    for row in _rows(path):
        label, _, method = row["set"].rpartition(", ")
        for column, kind in (("H", "elements of H"), ("orbitals", "occupied orbital energies")):
            if label.startswith("test: "):
                entry = table.setdefault((label, kind), {
                    "set": label.removeprefix("test: "), "type": kind, "entries": int(row["N"]),
                    "unit": "microhartree", "mae": {}})  # fmt: skip
                entry["mae"]["this" if method == form else method] = float(row[column])
    return [row for row in table.values() if "this" in row["mae"]]


def _unconverged(path: Path) -> list[str]:
    return [f"{row['unconverged']} of {row['n']} entries of {row['set']} ({row['role']}) did not "
            "converge" for row in _rows(path)
            if row["functional"] == _TRAINED and int(row["unconverged"])]  # fmt: skip


def _data(config: RunConfig) -> dict[str, Any]:
    """Return what the data say: overlap of the sets, and elements that were not trained on."""
    from .entries import load_sets, overlap_markdown

    try:
        sets = load_sets(config.data)
    except InputError:  # the files are no longer where the run found them
        return {}
    lines = overlap_markdown(sets).splitlines()
    elements = ", ".join(sorted(_elements(sets)))
    return {"overlap": [line.removeprefix("- ") for line in lines],
            "out_of_scope": [f"elements other than those trained on: {elements}"]}  # fmt: skip


def _elements(sets: Sequence[EntrySet]) -> set[str]:
    return {symbol for group in sets if group.role == "train" for entry in group.entries
            for system in entry.get_systems() for symbol in system.symbols}  # fmt: skip


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
