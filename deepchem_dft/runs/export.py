"""From a run directory, or a model of the zoo, to two files that others can use."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .cross_validation import HELD_OUT
from .hamiltonian_schema import HamiltonianRunConfig
from .ksr_schema import LatticeRunConfig
from .rows import read_data, read_json, read_rows
from .rundir import RunDirectory, without_places

if TYPE_CHECKING:
    from ..zoo import Card
    from .config import AnyConfig
    from .entries import EntrySet
    from .schema import RunConfig

#: Name of the trained functional in a run's tables.
_TRAINED = "trained"
_RESULTS = ("functional", "role", "set", "type", "n", "unconverged", "mae", "unit")
#: What is said of the sets of a role; what cross-validation holds out is called so already.
_TESTS = {"test": ""}
_ALL = {"test": "", "valid": " (selected on)", "train": " (trained on)"}


def export(source: str | Path, to: str | Path, summary: str | None = None) -> Card:
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
    from .. import zoo

    if Path(source).is_dir():
        return export_run(source, to, summary)
    old = zoo.card(source)
    known = {name: value for name, value in old.to_dict().items()
             if name not in ("format", "name", "kind", "form", "weights")}  # fmt: skip
    return zoo.save(zoo.load(source), _file(to, old.name),
                    **{**known, "summary": summary or old.summary})


def export_run(run: str | Path, to: str | Path, summary: str | None = None) -> Card:
    """Write the model of a finished run; its tables, and its section ``card``, go on the card."""
    from .. import zoo
    from .functional import load_model

    directory = RunDirectory(run)
    config = directory.load_config()
    model, said = load_model(run), config.card
    if isinstance(config, HamiltonianRunConfig):
        found = _of_hamiltonians(directory, config)
    elif isinstance(config, LatticeRunConfig):
        found = _of_lattice(directory)
    else:
        found, model = _of_functional(directory, config), model.functional
    known: dict[str, Any] = {
        **found,
        "summary": summary or said.summary or config.description,
        "training": _training(directory, config),
        "cost": _cost(directory),
        "versions": read_json(directory / "versions.json"),
        "seed": config.training.seed,
    }
    for name in ("worse_than_parent", "known_failures", "out_of_scope"):
        known[name] = [*getattr(said, name), *found.get(name, [])]
    return zoo.save(model, _file(to, said.name or config.name), **known)


def _file(to: str | Path, name: str) -> Path:
    """Return where a model goes: a file, or a file of its name in a folder."""
    return Path(to) / f"{name}.safetensors" if Path(to).is_dir() else Path(to)


# -- what each kind of run has found --------------------------------------------------------------


def _of_functional(directory: RunDirectory, config: RunConfig) -> dict[str, Any]:
    errors, parent = _errors(directory / "results.csv", _ALL), config.functional.xc
    errors += _curve_errors(directory / "h2_curve.csv")
    row = next((label for label, xc in config.baselines.items() if xc.strip().lower() ==
                parent.strip().lower()), parent)  # fmt: skip
    return {"errors": errors, "known_failures": _unconverged(directory / "results.csv"),
            "parent": parent, "worse_than_parent": worse(errors, row), **_data(config)}


def _of_lattice(directory: RunDirectory) -> dict[str, Any]:
    sets = [one for one in read_data(directory / "data.json").get("sets", []) if "family" in one]
    trained: dict[str, set[float]] = {}
    for one in (s for s in sets if s["role"] == "train"):
        trained.setdefault(one["family"], set()).update(one["distances"])
    overlap = []
    for one in (s for s in sets if s["role"] == "test"):
        shared = len(set(one["distances"]) & trained.get(one["family"], set()))
        many = len(one["distances"])
        what = (f"share {shared} of {many} molecules; the family is trained on at other distances"
                if one["family"] in trained else "share none; the family is not trained on")
        overlap.append(f"train and test {one['set']} {what}")
    families = ", ".join(sorted(trained))
    return {"errors": _errors(directory / "results.csv", _TESTS), "overlap": overlap,
            "known_failures": _unconverged(directory / "results.csv"),
            "out_of_scope": ["molecules in three dimensions",
                             f"molecules unlike those trained on ({families}), unless tested"]}


def _of_hamiltonians(directory: RunDirectory, config: HamiltonianRunConfig) -> dict[str, Any]:
    form, guess = config.network.form, f"{config.network.guess} guess"
    errors = _matrix_errors(directory / "results.csv", form)
    parent = guess if form.endswith("delta") else None
    return {"errors": errors, "parent": parent, "worse_than_parent": worse(errors, guess),
            **_matrix_data(config)}


def _matrix_data(config: HamiltonianRunConfig) -> dict[str, Any]:
    """Return what the geometries say: which molecules are tested on, what a model is made for."""
    from ..molecule.geometry import SYMBOLS
    from .hamiltonian_sets import load_hamiltonian_sets

    try:
        sets = load_hamiltonian_sets(config)  # refuses a geometry that is in two roles
    except InputError:  # the files are no longer where the run found them
        return {}
    names = [{str(name).rsplit("/", 2)[0] for name in one.dataset.ids} for one in sets]
    trained = set().union(*(found for one, found in zip(sets, names) if one.role == "train"))
    overlap = [f"train and test {one.label} share no geometry; {len(found & trained)} of "
               f"{len(found)} tested molecules were trained on in other geometries"
               for one, found in zip(sets, names) if one.role == "test"]
    sample = sets[0].dataset.X[0]
    numbers = {int(z) for one in sets for x, *_ in one.dataset.itersamples() for z in x.numbers}
    elements = ", ".join(SYMBOLS[z] for z in sorted(numbers))
    return {"overlap": overlap, "out_of_scope": [
        f"elements other than {elements}",
        f"other functionals than {sample.xc}, other basis sets than {sample.basis}",
        "other charges than those of the training data, open shells"]}


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
    kept: dict[str, Any] = {
        key: content[key] for key in ("data", "functional", "trajectory", "network", "training")
        if key in content}  # fmt: skip
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
    return {"entries": counts, "data_sha256": data.get("sha256"),
            "config": without_places(kept)}  # fmt: skip


def _cost(directory: RunDirectory) -> dict[str, Any]:
    seconds = [row.get("seconds", 0.0) for row in directory.read_history()]
    total = sum(s for s in seconds if math.isfinite(s))
    found: dict[str, Any] = {"epochs": len(seconds), "training_seconds": round(total, 1)}
    cores = read_json(directory / "versions.json").get("cpu_count")
    return {**found, "cpu_count": cores} if cores else found


def _errors(path: Path, notes: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the rows of a run's results as rows of a card; ``notes``: which roles, in order."""
    table: dict[tuple[str, str], dict[str, Any]] = {}
    order = list(notes)
    rows = [row for row in read_rows(path, _RESULTS) if row["role"] in notes]
    for row in sorted(rows, key=lambda row: order.index(row["role"])):
        name = row["set"] + ("" if row["set"].endswith(HELD_OUT) else notes[row["role"]])
        entry = table.setdefault((name, row["type"]), {
            "set": name, "type": row["type"], "entries": row.count("n"), "unit": row["unit"],
            "mae": {}})  # fmt: skip
        value = row.number("mae")
        name = "this" if row["functional"] == _TRAINED else row["functional"]
        entry["mae"][name] = value if math.isfinite(value) else None
    return [row for row in table.values() if "this" in row["mae"]]


def _curve_errors(path: Path) -> list[dict[str, Any]]:
    """Return the mean absolute errors of the H2 curve as a row of a card, if there is a curve."""
    rows = read_rows(path)
    ending, values = "_error_kcal_per_mol", {}
    for column in rows[0] if rows else []:
        if column.endswith(ending):
            errors = [abs(row.number(column)) for row in rows if row[column]]
            name = column.removesuffix(ending)
            values["this" if name == _TRAINED else name] = sum(errors) / max(1, len(errors))
    return [{"set": "H2 curve", "type": "energy", "entries": len(rows), "unit": "kcal/mol",
             "mae": values}] if "this" in values else []  # fmt: skip


def _matrix_errors(path: Path, form: str) -> list[dict[str, Any]]:
    """Return the test rows of a run on Hamiltonians: elements of H and orbital energies."""
    table: dict[tuple[str, str], dict[str, Any]] = {}
    for row in read_rows(path, ("set", "N", "H", "orbitals")):
        label, _, method = row["set"].rpartition(", ")
        for column, kind in (("H", "elements of H"), ("orbitals", "occupied orbital energies")):
            if label.startswith("test: "):
                entry = table.setdefault((label, kind), {
                    "set": label.removeprefix("test: "), "type": kind, "entries": row.count("N"),
                    "unit": "microhartree", "mae": {}})  # fmt: skip
                entry["mae"]["this" if method == form else method] = row.number(column)
    return [row for row in table.values() if "this" in row["mae"]]


def _unconverged(path: Path) -> list[str]:
    return [f"{row['unconverged']} of {row['n']} entries of {row['set']} ({row['role']}) did not "
            "converge" for row in read_rows(path, _RESULTS)
            if row["functional"] == _TRAINED and row.count("unconverged")]  # fmt: skip


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
