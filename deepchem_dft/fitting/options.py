"""What ``fit`` can be asked for, the same for every family of models."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from deepchem_dft.errors import InputError, SCFNotConverged
from deepchem_dft.torchstate import stacklevel


@dataclass(frozen=True)
class FitDefaults:
    """What a family of models does where ``fit`` is not told.

    Attributes
    ----------
    nb_epoch : int
    validate_every, checkpoint_every : int
        Epochs.
    """

    nb_epoch: int = 10
    validate_every: int = 1
    checkpoint_every: int = 1


@dataclass
class FitOptions:
    """What ``fit`` was asked for, beyond the data (:meth:`deepchem_dft.fitting.model.Fitting.fit`).

    Raises
    ------
    InputError
        For numbers that make no sense.
    """

    nb_epoch: int = 1
    max_checkpoints_to_keep: int = 5
    checkpoint_interval: int | None = 0
    checkpoint_every: int = 1
    deterministic: bool = False
    variables: Sequence[Tensor] | None = None
    loss: Callable | None = None
    callbacks: Callable | Sequence[Callable] = ()
    all_losses: list[float] | None = None
    metric: Any = None
    metric_greater_is_better: bool = False
    validate_every: int = 1
    early_stopping: int | None = None
    restore_best: bool = True
    before_epoch: Callable[[Any, int], None] | None = None
    epoch_callback: Callable[[Any], None] | None = None

    def __post_init__(self) -> None:
        if callable(self.callbacks):
            self.callbacks = [self.callbacks]
        least = {
            "nb_epoch": 0,
            "validate_every": 1,
            "early_stopping": 1,
            "checkpoint_every": 0,
            "checkpoint_interval": 0,
        }
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise InputError(f"{name} is {value}", field=name, remedy=f"use {bound} or more")

    @property
    def saves(self) -> bool:
        """Whether any checkpoint is wanted."""
        if self.max_checkpoints_to_keep == 0:
            return False
        by_step = self.checkpoint_interval
        return self.checkpoint_every > 0 if by_step is None else by_step > 0

    def save_after_step(self, step: int) -> bool:
        """Tell whether a checkpoint is due after a step of the optimiser."""
        interval = self.checkpoint_interval
        return bool(self.saves and interval and step % interval == 0)

    def save_after_epoch(self, epoch: int) -> bool:
        """Tell whether a checkpoint is due after an epoch."""
        by_epoch = self.saves and self.checkpoint_interval is None
        return bool(by_epoch and epoch % self.checkpoint_every == 0)

    def score(self, y_true: Any, y_pred: Any, weights: Any) -> float:
        """Return the value of ``metric``, turned so that lower is better."""
        compute = getattr(self.metric, "compute_metric", None)
        value = self.metric(y_true, y_pred) if compute is None else compute(y_true, y_pred, weights)
        return -float(value) if self.metric_greater_is_better else float(value)


#: What prediction may do about samples that did not converge, the same words everywhere.
UNCONVERGED = ("raise", "warn", "nan")


def tell_unconverged(chosen: str, message: str, depth: int) -> bool:
    """Raise or warn as was chosen; return True if the values are to become NaN.

    Raises
    ------
    SCFNotConverged
        If ``chosen`` is "raise".
    """
    if chosen == "raise":
        raise SCFNotConverged(message)
    if chosen == "warn":
        warnings.warn(message, stacklevel=stacklevel(depth + 1))
    return chosen == "nan"


#: What DeepChem's base class takes, whatever the family.
_DEEPCHEM = {"batch_size", "model_dir", "learning_rate", "optimizer", "log_frequency", "device"} | {
    "regularization_loss",
    "tensorboard",
    "wandb",
    "wandb_logger",
}


def only_deepchems(model: object, kwargs: Mapping[str, Any]) -> None:
    """Raise TypeError for arguments that nobody takes: DeepChem's base class would swallow them."""
    for name in kwargs:
        if name not in _DEEPCHEM:
            raise TypeError(f"{type(model).__name__} got an unexpected keyword argument {name!r}")


def arguments_of(scope: Mapping[str, Any]) -> dict[str, Any]:
    """Return a constructor's arguments: what it finds in its ``locals()`` before it does anything else."""
    return {k: v for k, v in scope.items() if k not in ("self", "kwargs", "__class__")}


@contextmanager
def training_only(module: nn.Module, variables: Sequence[Tensor] | None) -> Iterator[None]:
    """Switch off the gradients of all parameters but ``variables`` for a while; None: of none."""
    wanted = None if variables is None else {id(v) for v in variables}
    others = [
        p for p in module.parameters() if wanted is not None and p.requires_grad and id(p) not in wanted
    ]
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)
