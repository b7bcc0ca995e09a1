"""Stretches of training: at fixed densities, or through self-consistent fields."""

import math
from dataclasses import dataclass

from deepchem_dft.checks import choice
from deepchem_dft.errors import InputError

MODES = ("scf", "frozen")
SCHEDULES = ("constant", "cosine", "exponential")


@dataclass(frozen=True)
class Stage:
    """One stretch of training; see ``XCModel.fit(stages=...)``.

    Attributes
    ----------
    epochs : int
    mode : {"scf", "frozen"}
        Train through self-consistent fields, or solve every system once with the functional as it
        is (at the very start with the conventional one) and train at those densities, which costs
        milliseconds per epoch: energies are stationary, so that their gradients are right to first
        order.
    learning_rate : float
        At the start.
    schedule : {"constant", "cosine", "exponential"}
        Of the learning rate within the stage.
    final_learning_rate : float
        End / start of the schedule.
    batch_size : int, optional
        Entries per step; default: all at once in frozen stages, 1 in others.
    scf_every : int
        Steps between self-consistent solutions of a system, in ``scf`` stages.
    validate_every : int
        Epochs between validations, in ``frozen`` stages.
    optimizer : {"adam", "lbfgs"}
        ``"adam"`` stands for the model's optimiser. ``"lbfgs"`` is for frozen stages: all entries
        at once, ten iterations an epoch.
    size_penalty, roughness_penalty : float
        Fines on learned factors in frozen stages, in the unit of the loss; see
        ``EnhancedXC.penalty``.

    Raises
    ------
    InputError
        For values that make no sense.
    """

    epochs: int
    mode: str = "scf"
    learning_rate: float = 1e-3
    schedule: str = "constant"
    final_learning_rate: float = 0.01
    batch_size: int | None = None
    scf_every: int = 1
    validate_every: int = 1
    optimizer: str = "adam"
    size_penalty: float = 0.0
    roughness_penalty: float = 0.0

    def __post_init__(self) -> None:
        words = (("mode", MODES), ("schedule", SCHEDULES), ("optimizer", ("adam", "lbfgs")))
        for field, allowed in words:
            choice(getattr(self, field), allowed, field)
        for field in ("epochs", "scf_every", "validate_every"):
            if getattr(self, field) < 1:
                raise InputError(f"{field} is {getattr(self, field)}", field=field, remedy="use 1 or more")
        if self.optimizer == "lbfgs" and (self.mode == "scf" or self.batch_size is not None):
            raise InputError("'lbfgs' is for stages of mode 'frozen' without batches", field="optimizer")

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch (from 1).

        Examples
        --------
        >>> stage = Stage(3, learning_rate=0.1, schedule="exponential")
        >>> [round(stage.rate(epoch), 6) for epoch in (1, 2, 3)]
        [0.1, 0.01, 0.001]
        """
        start, end = self.learning_rate, self.final_learning_rate
        progress = (epoch - 1) / max(1, self.epochs - 1)
        if self.schedule == "cosine":
            return start * (end + (1 - end) * 0.5 * (1 + math.cos(math.pi * progress)))
        return start * end**progress if self.schedule == "exponential" else start
