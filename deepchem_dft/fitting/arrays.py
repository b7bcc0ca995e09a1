"""Labels, weights and batches as DeepChem hands them over, checked and in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from deepchem_dft.errors import InputError


def column(values: Any, n: int, what: str) -> np.ndarray:
    """Return labels or weights as an (n, 1) float64 array.

    Raises
    ------
    InputError
        If they are not n finite numbers.
    """
    try:
        array = np.asarray(values, dtype=np.float64).reshape(n, -1)
    except (TypeError, ValueError):
        raise InputError(f"the {what} are not {n} numbers", field=what) from None
    if array.shape[1] != 1 or not np.isfinite(array).all():
        raise InputError(
            f"the {what} have shape {np.shape(values)} or are not all finite",
            field=what,
            remedy=f"give one finite number for each of the {n} entries",
        )
    return array


def unwrap(values: Any) -> Any:
    """Take DeepChem's one-element list off a batch's inputs, labels or weights."""
    if isinstance(values, (list, tuple)) and len(values) == 1:
        inner = values[0]
        return inner if isinstance(inner, (list, tuple, np.ndarray, Tensor)) else values
    return values


def refuse_transformers(transformers: Sequence[Any]) -> None:
    """Raise if a transformer changes labels.

    Raises
    ------
    InputError
        Predictions are energies in Hartree that come out of a self-consistent field; a functional
        cannot be trained on scaled ones.
    """
    for transformer in transformers:
        if getattr(transformer, "transform_y", True):
            raise InputError(
                f"{type(transformer).__name__} transforms labels, which XCModel cannot work with: "
                "its predictions are in Hartree",
                field="transformers",
                remedy="use transformers=[] and the untransformed data set; scale the loss with "
                "loss_unit or type_weights instead",
            )
