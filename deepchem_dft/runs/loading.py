"""From a run directory back to what it trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepchem_dft.runs.base import open_run

if TYPE_CHECKING:
    from deepchem_dft.xc.base import XCFunctional


def load_model(run: str | Path) -> Any:
    """Return the trained model of a finished run: XCModel, KSRModel, HamiltonianModel, DEQModel.

    Raises
    ------
    InputError
        If the folder is no run directory, or nothing was trained in it yet.
    """
    return open_run(run).model()


def load_functional(run: str | Path) -> XCFunctional:
    """Return the trained functional of a finished run, in evaluation mode.

    Raises
    ------
    InputError
        Also for a run that trained something else, such as a functional of one-dimensional
        molecules.
    """
    found = open_run(run)
    if not found.is_functional:
        raise found.no_functional()
    return found.model().functional.eval()
