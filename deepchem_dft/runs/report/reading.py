"""What a run directory holds, read leniently: a report on an old or unfinished run is welcome."""

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from deepchem_dft.errors import InputError
from deepchem_dft.runs.config import read_yaml_mapping, validate
from deepchem_dft.runs.rows import read_data, read_json, read_rows
from deepchem_dft.runs.section import without_places
from deepchem_dft.runs.tables import TYPE_TITLES
from deepchem_dft.scf.solutions import solution_of

#: Name of the trained functional in a run's tables.
TRAINED = "trained"
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class _Shape:
    """Columns that a table must have, and those that hold numbers if they are there."""

    texts: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    more: tuple[str, ...] = ()


_HISTORY = _Shape(numbers=("epoch", "loss"))
_ENTRIES = _Shape(
    ("functional", "role", "set", "entry", "type"),
    ("reference", "value"),
    ("error_kcal_per_mol", "uncertainty_kcal_per_mol"),
)
_RESULTS = _Shape(("functional", "role", "set", "type"), ("n", "mae"))
_MATRICES = _Shape(("set",), ("N", "H"))
_PROPERTIES = _Shape(
    ("role", "set", "task", "method"), ("N",), ("MAE", "RMSE", "accuracy", "ROC-AUC", "unconverged")
)
_ANY = _Shape()


@dataclass
class RunData:
    """A run directory's content.

    Attributes
    ----------
    path : Path
    label : str
        Name in the report, unlike those of the other runs.
    kind : str
        ``xc``, ``ksr``, ``hamiltonian`` or ``deq``.
    config, chosen : dict
        All of the configuration, and what was set to another value than the default.
    status, versions, data : dict
        As in the files of these names; empty without them.
    history : list of dict
        Rows of ``history.csv``, numbers as numbers, NaN where blank.
    entries, results, molecules, curve : list of dict
        Rows of the CSV files.
    solutions : list of dict
        Solved systems, in the order in which they were solved.
    overlap : list of str
        What ``results.md`` says on the overlap of the sets.
    images : list of (str, bytes)
        Titles and content of the figures.
    problems : list of str
        What is damaged, and so left out.
    """

    path: Path
    label: str
    kind: str
    config: dict[str, Any]
    chosen: dict[str, Any]
    status: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    entries: list[dict[str, str]] = field(default_factory=list)
    results: list[dict[str, str]] = field(default_factory=list)
    molecules: list[dict[str, str]] = field(default_factory=list)
    curve: list[dict[str, str]] = field(default_factory=list)
    solutions: list[dict[str, Any]] = field(default_factory=list)
    overlap: list[str] = field(default_factory=list)
    images: list[tuple[str, bytes]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def get(self, dotted: str, default: Any = None) -> Any:
        """Return a value of the configuration, such as ``training.seed``."""
        node: Any = self.config
        for key in dotted.split("."):
            if not isinstance(node, dict) or key not in node:
                return default
            node = node[key]
        return node

    @property
    def seconds(self) -> float:
        """Training time; NaN if unknown."""
        known = [row.get("seconds", math.nan) for row in self.history]
        known = [s for s in known if math.isfinite(s)]
        return sum(known) if known else math.nan


def read_runs(paths: Sequence[str | Path]) -> list[RunData]:
    """Read run directories, and give them labels that differ.

    Raises
    ------
    InputError
        If a folder is not a run directory, or none or the same is given twice.
    """
    if not paths:
        raise InputError("there is no run to report on", remedy="give a run directory")
    runs = [read_run(path) for path in paths]
    places = [run.path.resolve() for run in runs]
    for place in places:
        if places.count(place) > 1:
            raise InputError("the same run is given twice", file=str(place))
    for choose in (lambda run: run.label, lambda run: run.path.resolve().name):
        labels = [choose(run) for run in runs]
        if len(set(labels)) == len(labels):
            return [replace(run, label=label) for run, label in zip(runs, labels)]
    return [replace(run, label=f"{run.label} {number}") for number, run in enumerate(runs, 1)]


def read_run(path: str | Path) -> RunData:
    """Read one run directory; only ``config.yaml`` has to be there.

    Raises
    ------
    InputError
        If it is not a run directory.
    """
    path = Path(path)
    file = path / "config.yaml"
    if not os.path.isfile(file):
        inside = sorted(p.parent.name for p in path.glob("*/config.yaml"))
        raise InputError(
            "not a run directory: there is no config.yaml in it",
            file=str(path),
            remedy=f"give the runs in it, such as {path / inside[0]}"
            if inside
            else "give the folder that 'deepchem-dft train' wrote",
        )
    content = read_yaml_mapping(file)
    try:
        chosen = validate(content, file=str(file)).model_dump(mode="json", exclude_defaults=True)
    except InputError:  # of another version of this package
        chosen = content
    problems: list[str] = []
    kind = str(content.get("model") or "xc")
    shape = {"hamiltonian": _MATRICES, "deq": _PROPERTIES}.get(kind, _RESULTS)
    return RunData(
        path,
        str(content.get("name") or path.resolve().name),
        kind,
        without_places(content),
        without_places(chosen),
        status=_facts(path / "status.json", problems),
        versions=_facts(path / "versions.json", problems),
        data=_data(path / "data.json", problems),
        history=[
            {k: _float(v) for k, v in row.items()} for row in _table(path / "history.csv", _HISTORY, problems)
        ],
        entries=_table(path / "entries.csv", _ENTRIES, problems),
        results=_table(path / "results.csv", shape, problems),
        molecules=_table(path / "molecules.csv", _ANY, problems),
        curve=_table(path / "h2_curve.csv", _ANY, problems),
        solutions=_solutions(path / "energies.jsonl", problems),
        overlap=_overlap(path / "results.md"),
        images=_images(path / "plots"),
        problems=problems,
    )


def _float(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _facts(path: Path, problems: list[str]) -> dict[str, Any]:
    found = read_json(path)
    if not found and path.exists():
        problems.append(f"{path.name} is damaged")
    return found


def _data(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        return read_data(path)
    except InputError as error:
        problems.append(str(error))
        return {}


def _table(path: Path, shape: _Shape, problems: list[str]) -> list[dict[str, str]]:
    """Return the rows of a table, or none and a problem if it is damaged."""
    try:
        rows = read_rows(path, [*shape.texts, *shape.numbers])
        for row in rows:
            for column in row:
                if column in (*shape.numbers, *shape.more):
                    row.number(column)
            if "type" in shape.texts and row["type"] not in TYPE_TITLES:
                raise InputError(
                    f"there is no type {row['type'][:60]!r}",
                    file=str(path),
                    entry=f"line {row.line}",
                    field="type",
                )
    except InputError as error:
        problems.append(str(error))
        return []
    return list(rows)


def _solutions(path: Path, problems: list[str]) -> list[dict[str, Any]]:
    """Return the solved systems, the last word on each; a line cut short by a kill is none."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    lines = path.read_bytes().split(b"\n") if path.is_file() else []
    bad = 0
    for line in lines:
        one = solution_of(line)
        if one is not None:
            found[one.molecule, one.functional] = asdict(one)
        elif line.strip() and line is not lines[-1]:
            bad += 1
    if bad:
        problems.append(f"{path.name}: {bad} damaged lines are left out")
    return list(found.values())


def _overlap(path: Path) -> list[str]:
    """Return the list under the heading on overlap: it needs the data files to be made again."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8", errors="replace")
    _, _, rest = text.partition("## Overlap of the data")
    lines = rest.partition("\n## ")[0].splitlines()
    return [line.removeprefix("- ") for line in lines if line.startswith("- ")]


def _images(folder: Path) -> list[tuple[str, bytes]]:
    found = []
    for path in sorted(folder.glob("*.png")):
        content = path.read_bytes()
        if content.startswith(_PNG):
            found.append((path.stem, content))
    return found
