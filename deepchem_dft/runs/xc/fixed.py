"""Functionals judged at the densities that training began with: no field of theirs is solved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deepchem_dft.runs.card import TRAINED
from deepchem_dft.runs.tables import EntryRecord
from deepchem_dft.runs.xc.entries import EntrySet
from deepchem_dft.runs.xc.residual import published_value
from deepchem_dft.units import HARTREE_TO_KCAL
from deepchem_dft.xc.ensemble import EnsembleXC, uncertainty_of

if TYPE_CHECKING:
    from deepchem_dft.data import DFTEntry
    from deepchem_dft.runs.xc.train import Training
    from deepchem_dft.xc import HybridXC


@dataclass(frozen=True)
class Judged:
    """A functional and the sets it is judged on; an ensemble is its members, whose mean is meant.

    Attributes
    ----------
    members : tuple of HybridXC
    sets : tuple of EntrySet
    ensemble : EnsembleXC or None
        What knows how uncertain the mean is.
    """

    members: tuple[HybridXC, ...]
    sets: tuple[EntrySet, ...]
    ensemble: EnsembleXC | None = None

    @classmethod
    def of(cls, functional: Any, sets: Sequence[EntrySet]) -> Judged:
        """Return a functional, or an ensemble with its calibration, and sets."""
        if isinstance(functional, EnsembleXC):
            return cls(tuple(functional), tuple(sets), functional)  # type: ignore[arg-type]
        return cls((functional,), tuple(sets))


def records_at_fixed_densities(
    training: Training, judged: Sequence[Judged], published: Sequence[str]
) -> list[EntryRecord]:
    """Return a record for each entry of the sets, of every functional and of published ones.

    What a field would change is of second order in the difference of the densities. Published values
    are moved by the basis error of the parent, as references are.

    Parameters
    ----------
    training : Training
        Whose first densities are taken.
    judged : sequence of Judged
    published : sequence of str
        Functionals with values in the board; for entries that have a shifted reference.
    """
    out = []
    for one in judged:
        entries = [e for group in one.sets for e in group.entries]
        values = training.frozen_values(entries, one.members)
        place = {id(e): n for n, e in enumerate(entries)}
        for group in one.sets:
            for entry in group.entries:
                found = [member[place[id(entry)]] for member in values]
                out.append(_record(TRAINED, group, entry, sum(found) / len(found)))
                if one.ensemble is not None and math.isfinite(out[-1].value):
                    calibration = one.ensemble.calibration_of(entry.tags.get("kind"))
                    out[-1].uncertainty = uncertainty_of(found, *calibration)
            for name in published:
                out += [_record(name, group, e, _moved(e, name)) for e in group.entries]
    return out


def _record(functional: str, group: EntrySet, entry: DFTEntry, value: float) -> EntryRecord:
    unknown = [] if math.isfinite(value) else ["no density, or no published value"]
    return EntryRecord(
        functional, group.role, group.label, entry.name, entry.entry_type, entry.label, value, unknown
    )


def _moved(entry: DFTEntry, name: str) -> float:
    """Return a published value (Ha) with the basis error that the reference has; NaN if there is none."""
    value, shift = published_value(entry, name), entry.tags.get("basis_shift_kcal")
    return math.nan if value is None or shift is None else value + float(shift) / HARTREE_TO_KCAL
