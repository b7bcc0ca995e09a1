"""Losses: how the errors of a batch of entries become the one number that is minimised."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from deepchem.models.losses import Loss
from torch import Tensor

from deepchem_dft.checks import choice
from deepchem_dft.errors import InputError
from deepchem_dft.units import ENERGY_UNITS, HARTREE_TO_KCAL

#: A user's loss: ``f(prediction, target, weight)``, each of shape (N, 1), to a scalar or (N, 1).
LossCallable = Callable[[Tensor, Tensor, Tensor], Tensor]


class EntryLoss:
    r"""Weighted mean loss over the entries of a batch.

    .. math:: L = \frac1N \sum_i w_i\, t_i\, \ell(p_i - y_i)

    with the data set's weight :math:`w_i`, the weight :math:`t_i` of the entry's type, and N the
    number of entries (DeepChem's normalisation). Being a mean over entries, the value reported for
    an epoch does not depend on how the entries were put into batches.

    Parameters
    ----------
    loss : {"l2", "l1", "huber"}, deepchem.models.losses.Loss or callable
        Square, absolute value, or square below ``huber_delta`` and linear above (half the square
        and ``delta * (|x| - delta / 2)``). A DeepChem loss is applied per entry. A callable gets
        ``(prediction, target, weight)`` of shape (N, 1) and returns a scalar, or one value per
        entry that is then averaged; the weights are his to use.
    unit : str
        Energy unit in which errors of energies enter the loss: ``hartree``, ``kcal/mol``, ``ev``,
        ``kj/mol``, ... Deviations of densities (electrons) are not scaled.
    type_weights : mapping, optional
        Weight per entry type, such as ``{"ae": 1340.0, "dens": 170.0}``; 1 where not given.
    huber_delta : float
        Where Huber's loss turns linear, in ``unit``.

    Raises
    ------
    InputError
        For an unknown loss, unit or a weight that is not a number >= 0.

    Examples
    --------
    >>> import torch
    >>> class Entry:
    ...     entry_type, is_energy = "ae", True
    >>> one, zero = torch.ones(1, 1), torch.zeros(1, 1)
    >>> round(EntryLoss("l1", unit="kcal/mol")([Entry()], one, zero, one).item(), 3)
    627.509
    """

    def __init__(
        self,
        loss: str | Loss | LossCallable = "l2",
        unit: str = "hartree",
        type_weights: Mapping[str, float] | None = None,
        huber_delta: float = 1.0,
    ) -> None:
        self.name = loss if isinstance(loss, str) else type(loss).__name__
        self._user: LossCallable | None = None
        if isinstance(loss, str):
            self._elementwise = _named(loss, huber_delta)
        elif isinstance(loss, Loss):
            self._elementwise = loss._create_pytorch_loss()
        elif callable(loss):
            self._user = loss
        else:
            raise InputError(
                f"{loss!r} is not a loss",
                field="loss",
                remedy="use 'l2', 'l1', 'huber' or a function of (prediction, target, weight)",
            )
        self.energy_scale = 1.0 / ENERGY_UNITS[choice(unit.lower(), ENERGY_UNITS, "loss_unit", "energy unit")]
        self.type_weights = dict(type_weights or {})
        for kind, value in self.type_weights.items():
            if not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
                raise InputError(
                    f"the weight of type {kind!r} is {value!r}",
                    field="type_weights",
                    remedy="use a number that is not negative",
                )

    def weights(self, entries: Sequence[Any], weight: Tensor) -> Tensor:
        """Return ``weight`` times the weight of each entry's type, shape (N, 1)."""
        factors = [[float(self.type_weights.get(e.entry_type, 1.0))] for e in entries]
        return weight * weight.new_tensor(factors)

    def __call__(self, entries: Sequence[Any], prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Return the loss of a batch, a 0-dimensional tensor.

        Parameters
        ----------
        entries : sequence of DFTEntry
            For their types.
        prediction, target, weight : Tensor, shape (N, 1), float64
            In Hartree for energies; the weights of the data set.
        """
        scale = [[self.energy_scale if e.is_energy else 1.0] for e in entries]
        factor = prediction.new_tensor(scale)
        prediction, target = prediction * factor, target * factor
        weight = self.weights(entries, weight)
        if self._user is not None:
            value = self._user(prediction, target, weight)
            if not isinstance(value, Tensor):
                raise InputError(
                    f"the loss function returned a {type(value).__name__}, not a tensor", field="loss"
                )
            return value.mean()
        return (self._elementwise(prediction, target) * weight).mean()


def _squared(prediction: Tensor, target: Tensor) -> Tensor:
    return (prediction - target) ** 2


def _absolute(prediction: Tensor, target: Tensor) -> Tensor:
    return (prediction - target).abs()


def _named(name: str, delta: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a loss that can be pickled."""
    if name in ("l2", "l1"):
        return _squared if name == "l2" else _absolute
    if name == "huber":
        if not delta > 0:
            raise InputError(
                f"huber_delta is {delta!r}", field="huber_delta", remedy="use a positive number, in loss_unit"
            )
        return partial(torch.nn.functional.huber_loss, reduction="none", delta=delta)
    raise InputError(f"unknown loss {name!r}", field="loss", remedy="use 'l2', 'l1' or 'huber'")


class WeightedMAE:
    """Validation score: mean absolute error in kcal/mol, entries weighted as in the data.

    Examples
    --------
    >>> import numpy as np
    >>> y, w = np.zeros((2, 1)), np.array([[1.0], [3.0]])
    >>> round(WeightedMAE().compute_metric(y, np.array([[0.0], [0.001]]), w), 4)
    0.4706
    """

    def compute_metric(self, y_true: Any, y_pred: Any, w: Any) -> float:
        """Return the score of arrays of shape (N, 1), Hartree."""
        return float((abs(y_pred - y_true) * w).sum() / w.sum()) * HARTREE_TO_KCAL
