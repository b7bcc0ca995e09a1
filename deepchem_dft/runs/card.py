"""What tables of a run say for the card of its model, and the export with it."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepchem_dft.molecule.elements import NUCLEAR_CHARGE
from deepchem_dft.runs.base import open_run
from deepchem_dft.runs.rows import read_data, read_json, read_rows
from deepchem_dft.runs.rundir import RunDirectory
from deepchem_dft.runs.section import without_places
from deepchem_dft.xc.ranges import hold_omega

if TYPE_CHECKING:
    from deepchem_dft.runs.section import BaseRunConfig
    from deepchem_dft.zoo import Card


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


def training_of(directory: RunDirectory, config: "BaseRunConfig") -> dict[str, Any]:
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


def export(source: str | Path, to: str | Path, summary: str | None = None) -> "Card":
    """Write the model of a finished run, or of the zoo, to a file of weights and a card.

    Parameters
    ----------
    source : str or Path
        Run directory, name in the zoo, or file.
    to : path
        NAME.safetensors, or a folder; the card NAME.json is written beside it. In a folder the
        name is that of the section ``card`` of the run, else of the run.
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
    from deepchem_dft import zoo

    if os.path.isdir(source):
        return export_run(source, to, summary)
    old = zoo.card(source)
    known = {
        name: value
        for name, value in old.to_dict().items()
        if name not in ("format", "name", "kind", "form", "weights")
    }
    return zoo.save(zoo.load(source), _file(to, old.name), **{**known, "summary": summary or old.summary})


def export_run(run: str | Path, to: str | Path, summary: str | None = None) -> "Card":
    """Write the model of a finished run; its tables, and its section ``card``, go on the card."""
    from deepchem_dft import zoo

    done = open_run(run)
    config, model, directory = done.config, done.model(), done.directory
    said, found = config.card, done.card()
    known: dict[str, Any] = {
        **found,
        "summary": summary or said.summary or config.description,
        "training": training_of(directory, config),
        "cost": cost_of(directory),
        "versions": read_json(directory / "versions.json"),
        "seed": config.training.seed,
    }
    for name in ("worse_than_parent", "known_failures", "out_of_scope"):
        known[name] = [*getattr(said, name), *found.get(name, [])]
    if done.is_functional:
        hold_omega(model.functional)  # whoever gets the file wants one range, not those of training
    return zoo.save(
        model.functional if done.is_functional else model, _file(to, said.name or config.name), **known
    )


def _file(to: str | Path, name: str) -> Path:
    """Return where a model goes: a file, or a file of its name in a folder."""
    return Path(to) / f"{name}.safetensors" if os.path.isdir(to) else Path(to)
