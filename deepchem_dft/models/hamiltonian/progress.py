"""What training a HamiltonianModel knows about itself: epochs, averages, the best so far."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deepchem_dft.fitting import progress as fitting


@dataclass
class HamiltonianEpoch(fitting.Epoch):
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
    score : float or None
        What selects the best parameters: ``valid_mae``, or the metric asked for.
    best : bool
        Whether that is the lowest so far.
    unconverged : float
        Share of samples without a fixed point, or without its gradient; they teach nothing.
    iterations : float
        Evaluations of the feedback per sample; 0 for forms without.
    seconds : float
        CPU time.
    """

    step: int = 0
    learning_rate: float = 0.0
    train_mae: float = math.nan
    valid_mae: float | None = None
    unconverged: float = 0.0
    iterations: float = 0.0


@dataclass
class HamiltonianProgress(fitting.Progress):
    """What a checkpoint must hold for training to go on as if it had never stopped.

    Attributes
    ----------
    epoch : int
        Completed, of this training.
    history : list of HamiltonianEpoch
        Of this and earlier trainings.
    best : Best or None
        Averaged parameters of the best validation.
    last : dict or None
        Parameters as the optimiser left them, while the model has averaged or best ones.
    steps : int
        Taken, of this training.
    warm : int
        Taken by the optimiser since it was new.
    average : dict or None
        Averaged parameters; None before the first step.
    """

    steps: int = 0
    warm: int = 0
    average: fitting.Parameters | None = None

    report = HamiltonianEpoch

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> HamiltonianProgress:
        """Undo :meth:`to_dict`."""
        data = fitting.with_best(data, "best_mae")
        if "trained" in data:  # as written by version 0.1
            data["last"] = data.pop("trained")
        return super().from_dict(data)
