"""DeepChem models that wire the rooms below to fit, predict and evaluate."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from deepchem_dft.needs import check_deepchem

if TYPE_CHECKING:
    from .deq import DEQModel
    from .deq_training import DEQEpoch
    from .dftxc import DFTXC
    from .hamiltonian import HamiltonianModel
    from .hamiltonian_loss import HamiltonianLoss
    from .hamiltonian_prediction import HamiltonianPrediction, HamiltonianScore
    from .hamiltonian_progress import HamiltonianEpoch
    from .ksr import KSRModel
    from .ksr_loss import KSRLoss, KSRStage
    from .ksr_progress import KSREpoch
    from .losses import EntryLoss
    from .progress import EpochReport
    from .xcmodel import XCModel

#: File of every name: who trains a property model need not load integrals, nor the other way.
_FILES = {
    "DEQEpoch": "deq_training",
    "DEQModel": "deq",
    "DFTXC": "dftxc",
    "EntryLoss": "losses",
    "EpochReport": "progress",
    "HamiltonianEpoch": "hamiltonian_progress",
    "HamiltonianLoss": "hamiltonian_loss",
    "HamiltonianModel": "hamiltonian",
    "HamiltonianPrediction": "hamiltonian_prediction",
    "HamiltonianScore": "hamiltonian_prediction",
    "KSREpoch": "ksr_progress",
    "KSRLoss": "ksr_loss",
    "KSRModel": "ksr",
    "KSRStage": "ksr_loss",
    "XCModel": "xcmodel",
}

__all__ = ["DFTXC", "DEQEpoch", "DEQModel", "EntryLoss", "EpochReport", "HamiltonianEpoch",
           "HamiltonianLoss", "HamiltonianModel", "HamiltonianPrediction", "HamiltonianScore",
           "KSREpoch", "KSRLoss", "KSRModel", "KSRStage", "XCModel"]  # fmt: skip

check_deepchem()


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_FILES[name]}"), name)
    globals()[name] = value
    return value
