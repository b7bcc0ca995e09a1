"""DeepChem models that wire the rooms below to fit, predict and evaluate."""

from __future__ import annotations

from .dftxc import DFTXC
from .losses import EntryLoss
from .progress import EpochReport
from .xcmodel import XCModel

__all__ = ["DFTXC", "EntryLoss", "EpochReport", "XCModel"]
