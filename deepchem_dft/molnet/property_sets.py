"""The sets of property data: their tasks, quantities and classes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import deepchem as dc
import numpy as np
from deepchem.trans import Transformer

from deepchem_dft.checks import choice
from deepchem_dft.data.properties.crystal_graph import CrystalGraphFeaturizer
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


@dataclass(frozen=True)
class PropertySet:
    """A kind of data set.

    Attributes
    ----------
    name : str
    quantities : tuple of str
        Regression tasks.
    classes : dict of str to ClassTask
        Classification tasks.
    featurizers, splitters : dict of str to callable
        What the names of featurizers and splitters stand for.
    """

    name: str
    quantities: tuple[str, ...]
    classes: Mapping[str, ClassTask]
    featurizers: Mapping[str, Callable[[], dc.feat.Featurizer]]
    splitters: Mapping[str, Callable[[], dc.splits.Splitter]]

    def choose(self, tasks: list[str]) -> tuple[ClassTask | None, list[str]]:
        """Return the classification that is asked for, if any, and the quantities it takes.

        Raises
        ------
        InputError
            For unknown tasks, and for those that do not go together.
        """
        known = [*self.classes, *self.quantities]
        for task in tasks:
            choice(task, known, "task")
        if len(tasks) == 1 and tasks[0] in self.classes:
            return self.classes[tasks[0]], [self.classes[tasks[0]].quantity]
        if not tasks or set(tasks) & set(self.classes) or len(set(tasks)) < len(tasks):
            raise InputError(
                f"the tasks {tasks} do not go together",
                field="task",
                remedy=f"use {names(self.classes)}, or any of {', '.join(self.quantities)}",
            )
        return None, tasks


def names(options: Iterable[str]) -> str:
    """Return ``'a' or 'b'``."""
    return " or ".join(map(repr, options))


_MOLECULE_FEATURIZERS = {
    "molgraphconv": lambda: dc.feat.MolGraphConvFeaturizer(use_edges=True),
    "dmpnn": dc.feat.DMPNNFeaturizer,
    "ecfp": lambda: dc.feat.CircularFingerprint(size=2048, radius=2),
    "rdkit": dc.feat.RDKitDescriptors,
    "raw": dc.feat.RawFeaturizer,
}
_MOLECULE_SPLITTERS = {
    "scaffold": dc.splits.ScaffoldSplitter,
    "random": dc.splits.RandomSplitter,
    "index": dc.splits.IndexSplitter,
    "fingerprint": dc.splits.FingerprintSplitter,
}
_CRYSTAL_FEATURIZERS = {"crystal": CrystalGraphFeaturizer, "raw": dc.feat.RawFeaturizer}
_CRYSTAL_SPLITTERS = {"random": dc.splits.RandomSplitter, "index": dc.splits.IndexSplitter}
_POLAR = ClassTask("dipole", ("non-polar", "polar"))


def _molecules(name: str) -> PropertySet:
    return PropertySet(
        name, ("dipole", "gap", "energy"), {"polar": _POLAR}, _MOLECULE_FEATURIZERS, _MOLECULE_SPLITTERS
    )


QMUGS, LABELLED = _molecules("qmugs"), _molecules("labelled")
QMOF = PropertySet(
    "qmof",
    ("pld", "lcd", "band_gap"),
    {"pore": ClassTask("pld", ("narrow", "wide")), "cavity": ClassTask("lcd", ("small", "large"))},
    _CRYSTAL_FEATURIZERS,
    _CRYSTAL_SPLITTERS,
)
OQMD = PropertySet(
    "oqmd",
    ("formation_energy", "band_gap", "stability"),
    {"conduction": ClassTask("band_gap", ("metal", "semiconductor", "insulator"), (0.0, 3.0))},
    _CRYSTAL_FEATURIZERS,
    _CRYSTAL_SPLITTERS,
)
