"""What training a HamiltonianModel knows about itself: epochs, averages, the best so far."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

Parameters = dict[str, Tensor]


@dataclass
class HamiltonianEpoch:
    """What happened in one epoch.

    Attributes
    ----------
    epoch : int
        From 1.
    step : int
        Steps of the optimiser so far, those of earlier trainings included.
    learning_rate : float
        Of the last step.
    loss : float
        Mean over samples, each at the parameters it was evaluated with.
    train_mae : float
        Microhartree; mean absolute error of the elements of H, likewise; nan without labels.
    valid_mae : float or None
        Microhartree; of the averaged parameters on the validation set.
    best : bool
        Whether that is the lowest so far.
    unconverged : float
        Share of samples without a fixed point, or without its gradient; they teach nothing.
    iterations : float
        Evaluations of the feedback per sample; 0 for forms without.
    seconds : float
        CPU time.
    """

    epoch: int
    step: int
    learning_rate: float
    loss: float
    train_mae: float
    valid_mae: float | None = None
    best: bool = False
    unconverged: float = 0.0
    iterations: float = 0.0
    seconds: float = 0.0


@dataclass
class HamiltonianProgress:
    """What a checkpoint must hold for training to go on as if it had never stopped.

    Attributes
    ----------
    epoch : int
        Completed, of this training.
    steps : int
        Taken, of this training.
    warm : int
        Taken by the optimiser since it was new.
    history : list of HamiltonianEpoch
        Of this and earlier trainings.
    best_mae : float
        Microhartree.
    best : dict or None
        Averaged parameters of the best validation.
    average : dict or None
        Averaged parameters; None before the first step.
    trained : dict or None
        Parameters as the optimiser left them, while the model has averaged or best ones.
    """

    epoch: int = 0
    steps: int = 0
    warm: int = 0
    history: list[HamiltonianEpoch] = field(default_factory=list)
    best_mae: float = math.inf
    best: Parameters | None = None
    average: Parameters | None = None
    trained: Parameters | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data and tensors."""
        return {**vars(self), "history": [asdict(report) for report in self.history]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> HamiltonianProgress:
        """Undo :meth:`to_dict`."""
        history = [HamiltonianEpoch(**report) for report in data["history"]]
        return cls(**{**data, "history": history})
