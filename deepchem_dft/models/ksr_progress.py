"""What training a KSRModel knows about itself: epochs, seeds, the best so far, L-BFGS's past."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class KSREpoch:
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

    seed: int
    stage: int
    epoch: int
    loss: float
    score: float | None = None
    best: bool = False
    evaluations: int = 0
    seconds: float = 0.0


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
    def from_dict(cls, data: dict[str, Any]) -> Record:
        """Undo :meth:`to_dict`."""
        return cls(data["start"].cpu(), list(data["losses"]), list(data["gradients"].cpu()))


@dataclass
class KSRProgress:
    """What a checkpoint must hold for training to go on as if it had never stopped.

    Attributes
    ----------
    seed : int
        Of the weights being trained.
    seeds_left : list of int
    stage : int
        Index of the stage, from 0.
    epoch : int
        Completed, of this seed and stage.
    evaluations : int
    history : list of KSREpoch
    best_score : float
    best : dict or None
        Parameters of the best validation.
    since_best : int
        Validations of this seed without improvement on itself.
    own_best : float
        Best score of this seed.
    record : Record or None
        Of L-BFGS.
    last : dict or None
        Parameters that training ended with, if the model then took the best ones.
    failures : dict
        Seed to the reason why its training ended early.
    """

    seed: int
    seeds_left: list[int] = field(default_factory=list)
    stage: int = 0
    epoch: int = 0
    evaluations: int = 0
    history: list[KSREpoch] = field(default_factory=list)
    best_score: float = math.inf
    best: dict[str, Tensor] | None = None
    since_best: int = 0
    own_best: float = math.inf
    record: Record | None = None
    last: dict[str, Tensor] | None = None
    failures: dict[str, str] = field(default_factory=dict)

    def next_stage(self) -> None:
        """Begin the next stage, with an optimiser that knows nothing."""
        self.stage += 1
        self.epoch, self.evaluations, self.since_best, self.record = 0, 0, 0, None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data and tensors."""
        content = {**self.__dict__, "history": [vars(report) for report in self.history]}
        content["record"] = None if self.record is None else self.record.to_dict()
        return content

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> KSRProgress:
        """Undo :meth:`to_dict`."""
        record = data["record"]
        return cls(**{
            **data, "history": [KSREpoch(**report) for report in data["history"]],
            "record": None if record is None else Record.from_dict(record),
        })  # fmt: skip
