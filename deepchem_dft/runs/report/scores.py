"""Errors of all runs' functionals, entry by entry, under names that say whose they are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from deepchem_dft.runs.report.reading import TRAINED, RunData
from deepchem_dft.runs.tables import DEVIATION_UNITS, EntryRecord, Summary, summarise

#: Energies (Ha) of one functional that differ by more were not calculated in the same way.
_SAME = 1e-6


@dataclass(frozen=True)
class Key:
    """What is compared: an entry of a set, with its reference value."""

    role: str
    set: str
    type: str
    entry: str
    reference: str


@dataclass
class Scores:
    """Records of several functionals.

    Attributes
    ----------
    names : list of str
        Functionals, the trained ones first.
    trained : set of str
        Those that were trained.
    records : dict of Key to dict of str to EntryRecord
        By functional.
    exact : dict of (Key, str) to str
        The error as it stands in the run's own table.
    uncertainty : dict of (Key, str) to float
        Of the value, in Ha, where the table says one.
    """

    names: list[str] = field(default_factory=list)
    trained: set[str] = field(default_factory=set)
    records: dict[Key, dict[str, EntryRecord]] = field(default_factory=dict)
    exact: dict[tuple[Key, str], str] = field(default_factory=dict)
    uncertainty: dict[tuple[Key, str], str] = field(default_factory=dict)

    def groups(self) -> dict[tuple[str, str, str], list[Key]]:
        """Return the keys by (role, set, type), tests first."""
        order = ("test", "valid", "train")
        found: dict[tuple[str, str, str], list[Key]] = {}
        for key in self.records:
            found.setdefault((key.role, key.set, key.type), []).append(key)
        return dict(
            sorted(
                found.items(), key=lambda item: order.index(item[0][0]) if item[0][0] in order else len(order)
            )
        )

    def summaries(self, keys: Sequence[Key]) -> list[Summary]:
        """Return the statistics of each functional that has one of these entries."""
        return summarise(
            self.records[key][name] for name in self.names for key in keys if name in self.records[key]
        )

    def common(self, keys: Sequence[Key]) -> list[Key]:
        """Return the entries that every functional of a group was asked for."""
        present = {name for key in keys for name in self.records[key]}
        return [key for key in keys if set(self.records[key]) == present]

    def shown_roles(self) -> tuple[str, ...]:
        """Return the roles a figure shows: tests, or whatever there is."""
        roles = {key.role for key in self.records}
        return ("test",) if "test" in roles else tuple(roles)


def names_of(runs: Sequence[RunData]) -> dict[tuple[str, str], str]:
    """Return the name in the report of each (run, functional).

    A trained functional is called by its run's name where there are several. A baseline keeps its
    name, unless two runs calculated it differently (another basis, say).
    """
    values: dict[str, dict[str, dict[object, float]]] = {}
    for run in runs:
        for row in run.entries:
            key = (row["set"], row["type"], row["entry"])
            _number(values, row["functional"], run.label, key, row["value"])
        for row in run.curve:
            for column, value in row.items():
                if column.endswith("_hartree") and column != "exact_hartree":
                    name = column.removesuffix("_hartree")
                    _number(values, name, run.label, ("curve", next(iter(row.values()))), value)
    found = {}
    for functional, by_run in values.items():
        if functional == TRAINED:
            found.update({(label, TRAINED): label if len(runs) > 1 else TRAINED for label in by_run})
            continue
        alike = _alike(by_run)
        for labels in alike:
            name = functional if len(alike) == 1 else f"{functional} ({', '.join(labels)})"
            found.update({(label, functional): name for label in labels})
    return found


def _number(
    values: dict[str, dict[str, dict[object, float]]], functional: str, run: str, key: object, text: str
) -> None:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    values.setdefault(functional, {}).setdefault(run, {})[key] = value


def _alike(by_run: dict[str, dict[object, float]]) -> list[list[str]]:
    """Group runs whose values do not contradict each other."""
    groups: list[tuple[list[str], dict[object, float]]] = []
    for label, values in by_run.items():
        for labels, known in groups:
            if not any(_differ(known[key], values[key]) for key in known.keys() & values.keys()):
                labels.append(label)
                known.update(values)
                break
        else:
            groups.append(([label], dict(values)))
    return [labels for labels, _ in groups]


def _differ(a: float, b: float) -> bool:
    return math.isnan(a) != math.isnan(b) or abs(a - b) > _SAME


def colours_of(runs: Sequence[RunData]) -> dict[str, int]:
    """Return the colour of each name, the same in all charts: those of the runs come first."""
    names = names_of(runs)
    trained = [names[run.label, TRAINED] for run in runs if (run.label, TRAINED) in names]
    return {name: i for i, name in enumerate(dict.fromkeys([*trained, *names.values()]))}


def collect(runs: Sequence[RunData]) -> Scores:
    """Return the records of all runs, baselines that agree once."""
    names, scores = names_of(runs), Scores()
    for run in runs:
        for row in run.entries:
            record = _record(row)
            name = names[run.label, record.functional]
            if record.functional == TRAINED:
                scores.trained.add(name)
            key = Key(record.role, record.set, record.type, record.entry, row["reference"])
            scores.records.setdefault(key, {})[name] = replace(record, functional=name)
            # A deviation of a density is its own error.
            scores.exact[key, name] = row.get("error_kcal_per_mol") or row["value"]
            spread = next((row[c] for c in row if c.startswith("uncertainty") and row[c]), "")
            if spread:
                scores.uncertainty[key, name] = spread
    known = {name for found in scores.records.values() for name in found}
    scores.names = [name for name in colours_of(runs) if name in known]
    return scores


def _record(row: dict[str, str]) -> EntryRecord:
    kind = row["type"]
    bad = [part for part in row.get("unconverged", "").split("; ") if part]
    reference = float(row["reference"] or "nan") if kind not in DEVIATION_UNITS else 0.0
    return EntryRecord(
        row["functional"],
        row["role"],
        row["set"],
        row["entry"],
        kind,
        reference,
        float(row["value"] or "nan"),
        bad,
    )
