"""What training a KSRModel knows about itself: epochs, seeds, the best so far, L-BFGS's past."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from deepchem_dft.fitting import progress as fitting


@dataclass
class KSREpoch(fitting.Epoch):
    """What happened in one epoch: an iteration of L-BFGS, or a pass through the data with Adam.

    Attributes
    ----------
    seed : int
        Of the initial weights.
    stage : int
        From 1, for each seed.
    epoch : int
        From 1, for each seed and stage.
    loss : float
        Mean over the samples; for Adam each at the parameters it was evaluated with.
    score : float or None
        Of the validation, lower is better; None if this epoch was not validated.
    best : bool
        Whether that is the best score so far, of all seeds.
    evaluations : int
        Evaluations of the loss and its gradient so far, for this seed and stage.
    seconds : float
        CPU time since the epoch before.
    """

    seed: int = 0
    stage: int = 1
    evaluations: int = 0


@dataclass
class Record:
    """Everything L-BFGS was told since its start.

    SciPy's optimiser cannot be stopped and resumed. But it is deterministic: told the same values
    and gradients again, it asks for the same points, until it goes on where it was.
    """

    start: Tensor
    losses: list[float] = field(default_factory=list)
    gradients: list[Tensor] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data and tensors."""
        stacked = torch.stack(self.gradients) if self.gradients else torch.empty(0)
        return {"start": self.start, "losses": list(self.losses), "gradients": stacked}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Record":
        """Undo :meth:`to_dict`."""
        return cls(data["start"].cpu(), list(data["losses"]), list(data["gradients"].cpu()))


@dataclass
class KSRProgress(fitting.Progress):
    """What a checkpoint must hold for training to go on as if it had never stopped.

    Attributes
    ----------
    epoch : int
        Completed, of this seed and stage.
    history : list of KSREpoch
    best : Best or None
        Of all seeds.
    seed : int
        Of the weights being trained.
    seeds_left : list of int
    stage : int
        Index of the stage, from 0.
    evaluations : int
    own_best : float
        Best score of this seed.
    since_best : int
        Validations of this seed without improvement on itself.
    record : Record or None
        Of L-BFGS.
    failures : dict
        Seed to the reason why its training ended early.
    """

    seed: int = 0
    seeds_left: list[int] = field(default_factory=list)
    stage: int = 0
    evaluations: int = 0
    own_best: float = math.inf
    since_best: int = 0
    record: Record | None = None
    failures: dict[str, str] = field(default_factory=dict)

    report = KSREpoch

    @property
    def validations_since_best(self) -> int:
        """Validations of this seed without improvement on itself."""
        return self.since_best

    def consider(self, report: KSREpoch, parameters: Mapping[str, Tensor]) -> None:
        """Keep the best parameters of all seeds; count validations seed by seed."""
        super().consider(report, parameters)
        self.since_best += 1
        if report.score is not None and report.score < self.own_best:
            self.own_best, self.since_best = report.score, 0

    def next_stage(self) -> None:
        """Begin the next stage, with an optimiser that knows nothing."""
        self.stage += 1
        self.epoch, self.evaluations, self.since_best, self.record = 0, 0, 0, None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data and tensors."""
        record = None if self.record is None else self.record.to_dict()
        return {**super().to_dict(), "record": record}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "KSRProgress":
        """Undo :meth:`to_dict`."""
        data = fitting.with_best(data, "best_score")
        record = data["record"]
        return super().from_dict({**data, "record": None if record is None else Record.from_dict(record)})
