"""Classes of a measured quantity: polar or not, small or large pores, metal or insulator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from deepchem.trans import Transformer

from deepchem_dft.errors import InputError


@dataclass(frozen=True)
class ClassTask:
    """A classification by the size of a quantity.

    Attributes
    ----------
    quantity : str
        Name of the regression task it is made of.
    classes : tuple of str
        From small values to large ones.
    thresholds : tuple of float or None
        The largest value of each class but the last; None for the median of the training set.
    """

    quantity: str
    classes: tuple[str, ...]
    thresholds: tuple[float, ...] | None = None

    def bounds(self, thresholds: Any) -> tuple[float, ...] | None:
        """Return the thresholds to use: those of the user if there are any.

        Raises
        ------
        InputError
            If they are not finite, do not increase, or are not one fewer than the classes.

        Examples
        --------
        >>> ClassTask("dipole", ("non-polar", "polar")).bounds(2.5)
        (2.5,)
        """
        if thresholds is None:
            return self.thresholds
        values = np.atleast_1d(np.asarray(thresholds, dtype=float))
        wanted = len(self.classes) - 1
        increasing = np.isfinite(values).all() and (np.diff(values) > 0).all()
        if values.shape != (wanted,) or not increasing:
            raise InputError(
                f"{thresholds!r} does not separate {len(self.classes)} classes",
                field="threshold",
                remedy=f"give {wanted} increasing number"
                f"{'s' if wanted > 1 else ''} between {', '.join(self.classes)}",
            )
        return tuple(values.tolist())


class ClassTransformer(Transformer):
    """Turn values into the numbers of their classes.

    It is among the transformers a loader returns, and tells which thresholds were used. Predicted
    classes have no values to go back to, so `untransform` leaves them alone.

    Parameters
    ----------
    thresholds : sequence of float
        The largest value of each class but the last.
    classes : sequence of str
        Their names.

    Examples
    --------
    >>> kinds = ClassTransformer([0.0, 3.0], ["metal", "semiconductor", "insulator"])
    >>> kinds.numbers(np.array([[0.0], [1.1], [3.0], [8.5]])).ravel().tolist()
    [0.0, 1.0, 1.0, 2.0]
    """

    def __init__(self, thresholds: Sequence[float], classes: Sequence[str]) -> None:
        super().__init__(transform_y=True)
        self.thresholds, self.classes = tuple(thresholds), tuple(classes)

    def numbers(self, values: np.ndarray) -> np.ndarray:
        """Return class numbers as floats, in the shape of ``values``."""
        return np.searchsorted(self.thresholds, values, side="left").astype(np.float64)

    def transform_array(
        self, X: np.ndarray, y: np.ndarray, w: np.ndarray, ids: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Replace the labels by class numbers."""
        return X, self.numbers(y), w, ids

    def untransform(self, transformed: np.ndarray) -> np.ndarray:
        """Return the argument."""
        return transformed
