"""What a training knows about itself, and tells whoever watches: epochs, reports, the best parameters."""

import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from deepchem_dft.scf.solutions import EnergyRecord

Parameters = dict[str, Tensor]


@dataclass
class Epoch:
    """What happened in one epoch; families add what else they know.

    Attributes
    ----------
    epoch : int
        Number of the epoch, from 1.
    loss : float
        Mean over the samples, each at the parameters it was evaluated with.
    score : float or None
        Of the validation, lower is better; None if this epoch was not validated.
    best : bool
        Whether that is the best score so far.
    seconds : float
    """

    epoch: int
    loss: float
    score: float | None = field(default=None, kw_only=True)
    best: bool = field(default=False, kw_only=True)
    seconds: float = field(default=0.0, kw_only=True)


@dataclass
class Best:
    """The best validated parameters so far."""

    epoch: int
    score: float
    unconverged: int
    validations_since: int
    parameters: Parameters

    def beaten_by(self, score: float, unconverged: int) -> bool:
        """Whether a score is better; one with more samples left out never is."""
        return (unconverged, _finite_or_worst(score)) < (self.unconverged, _finite_or_worst(self.score))


@dataclass
class Progress:
    """Counters that a checkpoint must hold for a training to go on as if it had never stopped.

    Attributes
    ----------
    epoch : int
        Epochs completed.
    history : list of Epoch
        One per completed epoch.
    best : Best or None
    last : dict or None
        Parameters that training ended with, while the model has the best ones.
    """

    epoch: int = 0
    history: list[Any] = field(default_factory=list)
    best: Best | None = None
    last: Parameters | None = None

    #: Class of the reports in the history.
    report: ClassVar[type] = Epoch

    def new_run(self) -> None:
        """Begin another run: forget the best parameters."""
        self.best = self.last = None

    @property
    def validations_since_best(self) -> int:
        """Validations without improvement."""
        return 0 if self.best is None else self.best.validations_since

    def consider(self, report: Any, parameters: Mapping[str, Tensor]) -> None:
        """Keep ``parameters`` if the validation of ``report`` is the best so far."""
        if report.score is None:
            return
        lost = getattr(report, "valid_unconverged", 0)
        if self.best is None or self.best.beaten_by(report.score, lost):
            report.best = True
            self.best = Best(report.epoch, report.score, lost, 0, copies(parameters))
        else:
            self.best.validations_since += 1

    def to_dict(self) -> dict[str, Any]:
        """Return plain data and tensors."""
        best = None if self.best is None else {**vars(self.best)}
        return {**vars(self), "history": [asdict(one) for one in self.history], "best": best}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Any:
        """Undo :meth:`to_dict`."""
        best = data["best"]
        if best is not None:
            best = Best(**{**best, "parameters": copies(best["parameters"])})
        history = [cls.report(**report) for report in data["history"]]
        return cls(**{**data, "history": history, "best": best})


def with_best(data: Mapping[str, Any], score: str) -> dict[str, Any]:
    """Return a progress as it is written now, also of files of version 0.1.

    There the best parameters stood alone, and their score under a name of its own.
    """
    data = dict(data)
    if score in data:
        value, parameters = data.pop(score), data["best"]
        data["best"] = (
            None
            if parameters is None
            else {
                "epoch": 0,
                "score": value,
                "unconverged": 0,
                "validations_since": 0,
                "parameters": parameters,
            }
        )
    return data


def copies(parameters: Mapping[str, Tensor]) -> Parameters:
    """Return copies of tensors on the CPU, without gradients."""
    return {name: value.detach().cpu().clone() for name, value in parameters.items()}


def first_not_finite(parameters: Mapping[str, Tensor]) -> str | None:
    """Return the name of the first tensor that holds NaN or infinity, None if there is none.

    Examples
    --------
    >>> first_not_finite({"a": torch.zeros(2), "b": torch.tensor([float("nan")])})
    'b'
    """
    for name, value in parameters.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            return name
    return None


def _finite_or_worst(score: float) -> float:
    return score if math.isfinite(score) else math.inf


LOGGER = logging.getLogger("deepchem_dft.runs")


class Reporter:
    """Receives events of a run. This one only logs; subclasses show them."""

    def phase(self, title: str, total: int | None = None) -> None:
        """A new phase begins: training with ``total`` epochs, or solving systems."""
        LOGGER.info("%s", title)

    def solution(self, solution: EnergyRecord, done: int, total: int) -> None:
        """A self-consistent field was solved, ``done`` of ``total`` in this phase."""

    def epoch(self, row: dict[str, Any]) -> None:
        """An epoch ended; ``row`` is a row of the history."""

    def note(self, text: str) -> None:
        """Something worth a line of its own."""
        LOGGER.info("%s", text)

    def close(self) -> None:
        """The run ended, well or not."""
