"""Errors of functionals on rows of a board, side by side with published ones and a trivial guess."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import mean

from deepchem_dft.data.boards import Board, Row, weighted_total, weights
from deepchem_dft.errors import InputError
from deepchem_dft.runs.board.seen import Training
from deepchem_dft.runs.tables import EntryRecord
from deepchem_dft.scf.solutions import EnergyRecord
from deepchem_dft.units import HARTREE_TO_KCAL

#: Published functionals that are shown unless others are asked for.
PEERS = ("B3LYP", "PBE0", "PW6B95", "M06-2X", "MN15", "r2SCAN0", "wB97X-V", "wB97M-V", "DSD-PBEPBE")
#: Kinds of rows in the order of tables, and what they are.
KINDS = {
    "TAE": "atomisation energies",
    "BDE": "bond energies",
    "HAT": "transfers of atoms",
    "IP": "ionisation energies",
    "EA": "electron affinities",
    "PA": "proton affinities",
    "RE": "other reaction energies",
    "BH": "barriers",
    "I": "isomers and conformers",
    "NC": "non-covalent",
    "TM": "transition metals",
    "SIE": "self-interaction",
    "SC": "set SC74",
    "AE": "total energies of atoms",
    "F": "frequencies as energies",
}
TRIVIAL = "mean of the set"


@dataclass
class Cost:
    """What the self-consistent fields took: ``systems``, Fock builds and seconds in all."""

    systems: int = 0
    iterations: int = 0
    seconds: float = 0.0


@dataclass
class Column:
    """One functional, published or computed here, or the trivial guess.

    Attributes
    ----------
    label : str
    source : {"computed", "published", "trivial"}
    errors : dict of str to float
        Value minus reference by row, kcal/mol; NaN where a field did not converge.
    uncertainties : dict of str to float
        Half of the 68 % interval, kcal/mol, where the functional tells one.
    seen : set of str
        Rows that it has learned from.
    unconverged : dict of str to list of str
        The systems to blame, by row.
    notes : dict of str to list of str
        What has to be said of the states that were found, by row.
    cost : Cost
    """

    label: str
    source: str
    errors: dict[str, float]
    uncertainties: dict[str, float] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    unconverged: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    cost: Cost = field(default_factory=Cost)

    def mae(self, names: Iterable[str]) -> float:
        """Return the mean absolute error of some rows, kcal/mol; NaN without any."""
        known = [abs(self.errors[name]) for name in names]
        return mean(known) if known else math.nan


@dataclass
class Judgement:
    """All columns on the same rows.

    Attributes
    ----------
    board : Board
    rows : list of Row
    columns : list of Column
        Computed ones first, then the trivial guess, then published ones.
    weights : dict of str to float
        Of `weighted_total`.
    total : str
        What the weighted total is, for headings.
    """

    board: Board
    rows: list[Row]
    columns: list[Column]
    weights: dict[str, float]
    total: str

    @property
    def computed(self) -> list[Column]:
        """The functionals that were evaluated here."""
        return [c for c in self.columns if c.source == "computed"]

    @property
    def published(self) -> list[Column]:
        """The published ones."""
        return [c for c in self.columns if c.source == "published"]

    @cached_property
    def shared(self) -> list[Row]:
        """Rows for which every column has a value: what is compared."""
        return [r for r in self.rows if all(math.isfinite(c.errors[r.name]) for c in self.columns)]

    def groups(self, key: Callable[[Row], str]) -> dict[str, list[str]]:
        """Return the names of the shared rows by kind, or by whatever ``key`` gives."""
        found: dict[str, list[str]] = {}
        for row in self.shared:
            found.setdefault(key(row), []).append(row.name)
        return found

    def by_kind(self) -> dict[str, list[str]]:
        """Return the names of the shared rows by kind, in the order of tables."""
        found = self.groups(lambda row: row.kind)
        return {kind: found[kind] for kind in KINDS if kind in found}

    def weighted(self, column: Column, names: Sequence[str] | None = None) -> float:
        """Return the weighted total of a column over some rows (all shared ones), kcal/mol."""
        chosen = [r.name for r in self.shared] if names is None else names
        return weighted_total({name: column.errors[name] for name in chosen}, self.weights)

    def strongest(self, names: Sequence[str]) -> Column | None:
        """Return the published functional with the smallest mean absolute error on some rows."""
        return min(self.published, key=lambda c: c.mae(names), default=None) if names else None


def judge(
    board: Board,
    rows: Sequence[int],
    records: Sequence[EntryRecord],
    solved: Mapping[tuple[str, str], EnergyRecord],
    keys: Mapping[str, str],
    training: Mapping[str, Training],
    peers: Sequence[str] = PEERS,
    diet_of: int | None = None,
) -> Judgement:
    """Put evaluated, published and trivial values of rows side by side.

    Parameters
    ----------
    board : Board
    rows : sequence of int
        Numbers of rows.
    records : sequence of EntryRecord
        Of all functionals on these rows, under the entries' names.
    solved : mapping
        Solutions by (molecule, functional key), for the cost.
    keys : mapping of str to str
        Identity of each functional by label.
    training : mapping of str to Training
        By label.
    peers : sequence of str
        Published functionals to show.
    diet_of : {30, 100, 150}, optional
        Weigh with the subsets of GMTKN55, as this 'diet' choice does.

    Raises
    ------
    InputError
        For a functional that the board has no values of.
    """
    check_peers(board, peers)
    chosen = [board.rows[i] for i in rows]
    columns = []
    for label, key in keys.items():
        learned = training.get(label, Training())
        column = _computed(label, board.name, [r for r in records if r.functional == label])
        column.seen = {board.rows[i].name for i in rows if learned.has(board, i)}
        own = [s for (_, functional), s in solved.items() if functional == key]
        column.cost = Cost(len(own), sum(s.iterations for s in own), sum(s.seconds for s in own))
        columns.append(column)
    columns.append(Column(TRIVIAL, "trivial", _trivial(board, chosen)))
    errors = {board.rows[i].name: board.published_errors(i) for i in rows}
    columns += [Column(p, "published", {name: e[p] for name, e in errors.items()}) for p in peers]
    total = "weighted total" if diet_of is None else f"WTMAD-2, diet of {diet_of}"
    return Judgement(board, chosen, columns, weights(board, diet_of), total)


def check_peers(board: Board, peers: Sequence[str]) -> None:
    """Raise `InputError` unless the board has values of all these functionals."""
    unknown = [name for name in peers if name not in board.functionals]
    if unknown:
        raise InputError(
            f"{board.name} has no values of {unknown[0]!r}",
            field="beside",
            remedy=f"use {', '.join(board.functionals)}, or all",
        )


def _computed(label: str, board: str, records: Sequence[EntryRecord]) -> Column:
    column = Column(label, "computed", {})
    for record in records:
        name = record.entry.removeprefix(f"{board}:")
        column.errors[name] = record.error
        if record.uncertainty is not None:
            column.uncertainties[name] = record.uncertainty * HARTREE_TO_KCAL
        if record.unconverged:
            column.unconverged[name] = record.unconverged
        if record.notes:
            column.notes[name] = record.notes
    return column


def _trivial(board: Board, rows: Sequence[Row]) -> dict[str, float]:
    """Return the errors of guessing the mean reference of the training rows of a row's set, else kind."""
    by_set: dict[str, list[float]] = {}
    by_kind: dict[str, list[float]] = {}
    for row in board.rows:
        if row.split == "train":
            by_set.setdefault(row.set, []).append(row.reference)
            by_kind.setdefault(row.kind, []).append(row.reference)
    guesses = {row.name: mean(by_set.get(row.set) or by_kind.get(row.kind) or [0.0]) for row in rows}
    return {row.name: (guesses[row.name] - row.reference) * HARTREE_TO_KCAL for row in rows}


def board_rows(entries: Iterable[object]) -> tuple[Board, list[int]]:
    """Return the board that entries come from, and the numbers of their rows.

    Raises
    ------
    InputError
        If one comes from elsewhere, or they are of two boards.
    """
    from deepchem_dft.molnet import board

    names = [str(getattr(entry, "name", "")) for entry in entries]
    boards = {str(getattr(entry, "tags", {}).get("board", "")) for entry in entries}
    if len(boards) != 1 or "" in boards:
        raise InputError(
            "the rows are not those of one board",
            field="dataset",
            remedy="give one board, as --dataset gscdb138:BH46; use 'evaluate' for other data sets",
        )
    source = board(boards.pop())
    return source, [source.by_name[name.partition(":")[2]] for name in dict.fromkeys(names)]
