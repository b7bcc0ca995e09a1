"""The tasks, featurizers and splitters of each kind of property data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import deepchem as dc

from deepchem_dft.checks import choice
from deepchem_dft.data.properties.crystal_graph import CrystalGraphFeaturizer
from deepchem_dft.errors import InputError
from deepchem_dft.molnet.classes import ClassTask


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
