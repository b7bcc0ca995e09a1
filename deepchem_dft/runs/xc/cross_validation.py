"""Cross-validation: members trained with a part of the data held out, judged on it, then averaged.

Every member misses one fold. What it has never seen says how good such functionals are, how well
the members' disagreement foretells an error, and costs no data: the ensemble has seen them all.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from deepchem_dft import parallel
from deepchem_dft.errors import InputError
from deepchem_dft.files import write
from deepchem_dft.fitting.progress import Reporter
from deepchem_dft.models.xc.progress import row_of
from deepchem_dft.runs.base import open_run
from deepchem_dft.runs.card import HELD_OUT
from deepchem_dft.runs.rows import required_json
from deepchem_dft.runs.rundir import RunDirectory
from deepchem_dft.runs.xc.calibration import fitted_calibration
from deepchem_dft.runs.xc.entries import EntrySet
from deepchem_dft.runs.xc.schema import RunConfig
from deepchem_dft.runs.xc.train import Training
from deepchem_dft.scf.many import Solver
from deepchem_dft.scf.solutions import Functional

if TYPE_CHECKING:
    from deepchem_dft.data import DFTEntry
    from deepchem_dft.xc.ensemble import EnsembleXC

#: From how many held-out rows on a kind of a board's rows has an interval of its own.
FEWEST_OF_A_KIND = 20
#: Folder of the members inside a run directory, and the file of what is known about them.
MEMBERS, NOTE = "members", "cross_validation.json"


@dataclass(frozen=True)
class Member:
    """One member of a cross-validation: which entries of the training sets it does not see."""

    number: int
    held_out: frozenset[str]

    def split(self, sets: Sequence[EntrySet]) -> tuple[list[EntrySet], list[EntrySet]]:
        """Return the training sets without and with nothing but what is held out."""
        seen, unseen = [], []
        for group in (s for s in sets if s.role == "train"):
            kept = [e for e in group.entries if unit_of(e) not in self.held_out]
            rest = [e for e in group.entries if unit_of(e) in self.held_out]
            if kept:
                seen.append(EntrySet("train", group.label, kept))
            if rest:
                unseen.append(EntrySet("valid", f"{group.label}{HELD_OUT}", rest))
        return seen, unseen


def unit_of(entry: "DFTEntry") -> str:
    """Name what is held out together: an entry, or all barriers of one transition state.

    Of a reaction, that is what is on the side of positive coefficients. Rows of boards are held out by
    molecule: together if the sum formulas of their largest systems are equal, whatever the charge, so that
    no energy of a molecule tells of another one of it.
    """
    if "board" in entry.tags:
        sizes = [(sum(e != "H" for e in s.symbols), sorted(s.symbols)) for s in entry.get_systems()]
        return "molecule|" + " ".join(max(sizes)[1])
    if entry.entry_type != "reaction":
        return f"{entry.entry_type}|{entry.name}"
    pairs = zip(entry.coefficients, entry.get_systems())
    return "reaction|" + "|".join(sorted(str(s.key) for c, s in pairs if c > 0))


def make_members(entries: "Sequence[DFTEntry]", folds: int, repeats: int, seed: int) -> list[Member]:
    """Split entries into folds, ``repeats`` times; each type of entry is spread over all folds.

    Raises
    ------
    InputError
        For fewer units than folds.
    """
    units: dict[str, list[str]] = {}
    for entry in entries:
        known = units.setdefault(entry.entry_type, [])
        if (unit := unit_of(entry)) not in known:
            known.append(unit)
    if sum(map(len, units.values())) < folds:
        raise InputError(
            f"{folds} folds of fewer training entries",
            field="cross_validation.folds",
            remedy="use fewer folds",
        )
    members = []
    for repeat in range(repeats):
        generator = random.Random(f"{seed}-{repeat}")
        parts: list[list[str]] = [[] for _ in range(folds)]
        place = 0
        for kind in sorted(units):
            names = sorted(units[kind])
            generator.shuffle(names)
            for name in names:
                parts[place % folds].append(name)
                place += 1
        members += [Member(repeat * folds + k, frozenset(p)) for k, p in enumerate(parts)]
    return members


class CrossValidation:
    """Trains the members of a run and fits the calibration of their ensemble.

    Parameters
    ----------
    config : RunConfig
        With a section ``cross_validation``.
    directory : RunDirectory
        Started. Each member has a run directory of its own in ``members/``.
    sets : list of EntrySet
    solver : Solver
        Shared by all members: what starts from the same densities is solved once.
    reporter : Reporter
    """

    def __init__(
        self,
        config: RunConfig,
        directory: RunDirectory,
        sets: Sequence[EntrySet],
        solver: Solver,
        reporter: Reporter,
    ) -> None:
        options = config.cross_validation
        assert options is not None
        if any(s.role == "valid" for s in sets):
            raise InputError(
                "a run with cross_validation holds out training entries itself",
                field="data.valid",
                remedy="move its entries to data.train",
            )
        self.config, self.directory, self.sets = config, directory, sets
        self.solver, self.reporter = solver, reporter
        self.entries = [e for s in sets if s.role == "train" for e in s.entries]
        self.members = make_members(self.entries, options.folds, options.repeats, options.seed)
        self.first = self.members[: options.folds]

    def run(self) -> None:
        """Train the members that are not trained yet, and write what is known of them."""
        functionals, rows = [], []
        for member in self.members:
            training = self._train(member)
            functionals.append(training.functional)
            rows += [{**row, "stage": member.number + 1} for row in training.rows]
        # All members start from the same densities, so any of their trainings can find them.
        predictions = parallel.on_main(lambda: training.frozen_values(self.entries, functionals))
        self.directory.write_history([{**row, "epoch": number} for number, row in enumerate(rows, start=1)])
        parallel.on_main(lambda: self._write_note(predictions))
        self.directory.set_status(state="trained", epochs=len(rows))

    def _train(self, member: Member) -> Training:
        config = self.config.model_copy(
            update={
                "cross_validation": None,
                "training": self.config.training.model_copy(
                    update={"seed": self.config.training.seed + member.number}
                ),
            }
        )
        folder = RunDirectory(self.directory / MEMBERS / f"{member.number + 1}")
        folder.start(config, resume=True)
        seen, _ = member.split(self.sets)
        self.reporter.phase(f"member {member.number + 1} of {len(self.members)}")
        training = Training(config, folder, seen, self.solver, self.reporter)
        done = open_run(folder.path)
        if parallel.on_main(lambda: done.is_trained):
            training.functional.load_state_dict(done.model().functional.state_dict())
            training.rows = folder.read_history()
        else:
            training.run()
            training.rows = [row_of(report) for report in training.history]
        return training

    def held_out_sets(self) -> list[tuple[Functional, list[EntrySet]]]:
        """Return the members of the first repetition, each with the entries it has not seen."""
        from deepchem_dft.runs.base import load_functional

        out = []
        for member in self.first:
            path = self.directory / MEMBERS / f"{member.number + 1}"
            functional = Functional.trained(load_functional(path), "trained")
            out.append((functional, member.split(self.sets)[1]))
        return out

    def _write_note(self, predictions: Sequence[Any]) -> None:
        factor, floor = self._calibration(predictions)
        note = {
            "calibration": factor,
            "floor_hartree": floor,
            **({"by_kind": by_kind} if (by_kind := self._by_kind(predictions)) else {}),
            "members": len(self.members),
            "held_out": {
                m.number + 1: sorted(e.name for e in self.entries if unit_of(e) in m.held_out)
                for m in self.members
            },
        }
        write(self.directory / NOTE, json.dumps(note, indent=1))

    def _calibration(self, predictions: Sequence[Any]) -> tuple[float, float]:
        """Return factor and floor (Ha) of the energies all members know; 1, 0 for too few."""
        values = torch.stack([torch.as_tensor(p, dtype=torch.float64) for p in predictions])
        known = values.isfinite().all(0)
        labels = torch.tensor([e.label if e.is_energy else 0.0 for e in self.entries], dtype=torch.float64)
        try:
            if not known.any():
                raise InputError("no energy is held out")
            return calibration_of(values[:, known], labels[known], self._unseen()[:, known])
        except InputError as error:  # of use all the same, after hours of training
            self.reporter.note(f"the ensemble's uncertainties are not calibrated: {error}")
            return 1.0, 0.0

    def _by_kind(self, predictions: Sequence[Any]) -> dict[str, tuple[float, float]]:
        """Return factor and floor (Ha) of each kind of rows of boards that has enough of them."""
        values = torch.stack([torch.as_tensor(p, dtype=torch.float64) for p in predictions])
        labels = torch.tensor([e.label if e.is_energy else 0.0 for e in self.entries], dtype=torch.float64)
        known, out = values.isfinite().all(0), {}
        for kind in dict.fromkeys(e.tags["kind"] for e in self.entries if "board" in e.tags):
            chosen = torch.tensor([e.tags.get("kind") == kind for e in self.entries]) & known
            if int(chosen.sum()) >= FEWEST_OF_A_KIND:
                try:
                    out[kind] = calibration_of(values[:, chosen], labels[chosen], self._unseen()[:, chosen])
                except InputError as error:
                    self.reporter.note(f"{kind} has no interval of its own: {error}")
        return out

    def _unseen(self) -> torch.Tensor:
        return torch.tensor([[unit_of(e) in m.held_out for e in self.entries] for m in self.members])


def calibration_of(values: torch.Tensor, labels: torch.Tensor, unseen: torch.Tensor) -> tuple[float, float]:
    r"""Fit the members' spread to the errors of entries they have not seen.

    With at least three members that have not seen an entry, mean and spread are those of these
    members; with fewer, the spread is that of all members, most of which have seen it. The noise of
    the spread of so few goes into the floor, and their mean is worse than that of all, so that the
    ensemble's interval is somewhat too wide, the more so the fewer they are.

    Parameters
    ----------
    values : Tensor, shape (M, N)
        Members' values of the entries.
    labels : Tensor, shape (N,)
        In the same unit.
    unseen : bool Tensor, shape (M, N)
        Whether a member was trained without an entry; as often for every entry.

    Returns
    -------
    factor, floor : float
        See :func:`~deepchem_dft.runs.xc.calibration.fitted_calibration`; the floor in the unit of
        the values.

    Examples
    --------
    >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
    <torch...
    >>> values = torch.randn(9, 500, dtype=torch.float64) + torch.randn(500)
    >>> unseen = torch.arange(9)[:, None] % 3 == torch.arange(500) % 3
    >>> factor, floor = calibration_of(values, torch.zeros(500), unseen)
    >>> 0.8 < (factor**2 + floor**2) ** 0.5 < 1.4
    True
    """
    repeats = int(unseen.sum(0).min())
    chosen = unseen.to(values.dtype)
    mean = (values * chosen).sum(0) / chosen.sum(0)
    errors = mean - labels
    if repeats < 3:
        return fitted_calibration(errors.numpy(), values.std(0).numpy())
    spread = (((values - mean) ** 2 * chosen).sum(0) / (chosen.sum(0) - 1)).sqrt()
    return fitted_calibration(errors.numpy(), spread.numpy())


def load_ensemble(directory: RunDirectory) -> "EnsembleXC":
    """Return the ensemble of a cross-validation, with its calibration.

    Raises
    ------
    InputError
        If not all members are trained yet.
    """
    from deepchem_dft.runs.base import load_functional
    from deepchem_dft.xc.ensemble import EnsembleXC

    note = directory / NOTE
    if not note.is_file():
        raise InputError(
            "the training of this run has not finished",
            file=str(directory.path),
            remedy="continue it with 'deepchem-dft train CONFIG.yaml --resume'",
        )
    known = required_json(note, "members", "calibration")
    members = [load_functional(directory / MEMBERS / str(number + 1)) for number in range(known["members"])]
    floor = known.get("floor_hartree", 0.0)
    return EnsembleXC(members, known["calibration"], floor, known.get("by_kind"))
