"""What a training of an XCModel knows about itself: sums of the epoch, and its report."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from deepchem_dft.fitting import progress as fitting
from deepchem_dft.units import HARTREE_TO_KCAL


@dataclass
class EpochReport(fitting.Epoch):
    """What happened in one epoch.

    Attributes
    ----------
    epoch : int
        Number of the epoch, from 1.
    loss : float
        Mean of the weighted losses of the entries, each at the parameters it was evaluated with.
        NaN if no entry converged.
    mae_kcal : float or None
        Mean absolute error of the energy entries trained on, kcal/mol.
    valid_mae_kcal : float or None
        The same over the validation set, with the parameters of the end of the epoch.
    unconverged : int
        Entries left out because a system of theirs did not converge.
    seconds : float
        Wall time.
    scf_solutions : int
        Self-consistent fields solved for training.
    by_type : dict
        Per entry type: mean absolute error in kcal/mol for energies, mean deviation for ``dm`` and
        ``dens``.
    score : float or None
        The validation score that selects the best parameters (lower is better).
    valid_unconverged : int
        Entries of the validation set that did not converge.
    best : bool
        Whether this epoch has the best score so far.
    stage : int
        From 1; see ``XCModel.fit(stages=...)``.
    learning_rate : float or None
        Of the stage at this epoch.
    """

    mae_kcal: float | None = None
    valid_mae_kcal: float | None = None
    unconverged: int = 0
    scf_solutions: int = 0
    by_type: dict[str, float] = field(default_factory=dict)
    valid_unconverged: int = 0
    stage: int = 1
    learning_rate: float | None = None


@dataclass
class Totals:
    """Sums over the entries seen so far in an epoch."""

    loss: float = 0.0
    entries: int = 0
    unconverged: int = 0
    seconds: float = 0.0
    scf_solutions: int = 0
    errors: dict[str, list[float]] = field(default_factory=dict)
    energies: list[float] = field(default_factory=lambda: [0.0, 0.0])

    def add(self, entries: Sequence[Any], prediction: Tensor, target: Tensor) -> None:
        """Add the errors of entries; a NaN prediction counts as unconverged.

        Parameters
        ----------
        entries : sequence of DFTEntry
        prediction, target : Tensor, shape (N, 1)
        """
        errors = (prediction.detach() - target).abs().flatten().tolist()
        for entry, error in zip(entries, errors, strict=True):
            if math.isnan(error):
                self.unconverged += 1
                continue
            if entry.is_energy:
                error *= HARTREE_TO_KCAL
                self.energies[0] += error
                self.energies[1] += 1
            pair = self.errors.setdefault(entry.entry_type, [0.0, 0.0])
            pair[0] += error
            pair[1] += 1

    def add_loss(self, loss: float, entries: int) -> None:
        """Add the mean loss of a number of converged entries."""
        self.loss += loss * entries
        self.entries += entries

    @property
    def mean_loss(self) -> float:
        """Mean over the converged entries; NaN if there were none."""
        return self.loss / self.entries if self.entries else math.nan

    @property
    def mae_kcal(self) -> float | None:
        """Mean absolute error of all energies, kcal/mol; None if there were none."""
        return self.energies[0] / self.energies[1] if self.energies[1] else None

    @property
    def by_type(self) -> dict[str, float]:
        """Mean absolute error (kcal/mol) or deviation per entry type."""
        return {kind: total / count for kind, (total, count) in self.errors.items()}

    def report(self, epoch: int) -> EpochReport:
        """Return the epoch's report, without validation."""
        return EpochReport(
            epoch=epoch,
            loss=self.mean_loss,
            mae_kcal=self.mae_kcal,
            unconverged=self.unconverged,
            seconds=self.seconds,
            scf_solutions=self.scf_solutions,
            by_type=self.by_type,
        )


@dataclass
class Progress(fitting.Progress):
    """Counters of a run that a checkpoint must hold for the run to go on as if never stopped.

    Attributes
    ----------
    done : int
        Entries of the current epoch that were trained on already.
    totals : Totals
        Sums of the current epoch.
    """

    done: int = 0
    totals: Totals = field(default_factory=Totals)

    report = EpochReport

    def new_run(self) -> None:
        """Begin another run: forget a half-done epoch and the best parameters."""
        super().new_run()
        self.done, self.totals = 0, Totals()

    def to_dict(self) -> dict[str, Any]:
        """Return plain data and tensors."""
        return {**super().to_dict(), "totals": asdict(self.totals)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Progress":
        """Undo :meth:`to_dict`."""
        return super().from_dict({**data, "totals": Totals(**data["totals"])})


#: Columns of a history, beside the attributes that they show.
_COLUMNS = {
    "epoch": "epoch",
    "learning_rate": "learning_rate",
    "loss": "loss",
    "train_mae_kcal": "mae_kcal",
    "valid_mae_kcal": "valid_mae_kcal",
    "valid_score": "score",
    "scf_solutions": "scf_solutions",
    "seconds": "seconds",
    "stage": "stage",
}


def row_of(report: EpochReport) -> dict[str, Any]:
    """Return a row of the history of a run: what an epoch was, in plain numbers."""
    row = {column: getattr(report, name) for column, name in _COLUMNS.items()}
    return {**row, "unconverged": report.unconverged + report.valid_unconverged}


def report_of(row: dict[str, Any]) -> EpochReport:
    """Return a report that was stored, also as a row (as written by version 0.1)."""
    if "by_type" in row:
        return EpochReport(**row)
    known = {name: row[column] for column, name in _COLUMNS.items() if column in row}
    return EpochReport(**known, unconverged=row.get("unconverged", 0))
