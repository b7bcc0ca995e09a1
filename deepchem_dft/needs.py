"""DeepChem must be there and new enough: refused in one line where a room first needs it."""

from __future__ import annotations

import importlib.util
import logging
from functools import cache
from importlib import metadata

from deepchem_dft.errors import DeepChemDFTError

__all__ = ["DeepChemNeeded", "check_deepchem", "hush_deepchem"]

#: The oldest DeepChem whose models and data sets this package builds on.
OLDEST = (2, 8)
#: DeepChem 2.8 runs on every Python supported here, though its metadata says below 3.12; its own
#: requirements are among those of this package.
REMEDY = "pip install --no-deps --ignore-requires-python 'deepchem>=2.8'"


#: What DeepChem says while it is imported, by logger: which packages it does not find, and which
#: descriptors it has no scale for.
_GREETINGS = {
    "deepchem.models": ("Skipped loading", "cannot import name"),
    "deepchem.models.torch_models": ("Skipped loading", "cannot import name"),
    "deepchem.metalearning": ("Skipped loading",),
    "deepchem.feat.molecule_featurizers.rdkit_descriptors": ("No normalization for",),
}


class _Greeting(logging.Filter):
    """Drops messages that begin so."""

    def __init__(self, *beginnings: str) -> None:
        super().__init__()
        self.beginnings = beginnings

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(self.beginnings)


@cache
def hush_deepchem() -> None:
    """Keep DeepChem's import from greeting every notebook; whatever else it says is heard.

    Examples
    --------
    >>> hush_deepchem()
    >>> logger = logging.getLogger("deepchem.models")
    >>> said = [logging.LogRecord("", 30, "", 0, text, (), None) for text in ("Skipped loading x", "No")]
    >>> [bool(logger.filter(record)) for record in said]
    [False, True]
    """
    for name, beginnings in _GREETINGS.items():
        logging.getLogger(name).addFilter(_Greeting(*beginnings))


class DeepChemNeeded(DeepChemDFTError, ImportError):
    """DeepChem is missing, or too old."""


@cache
def check_deepchem() -> None:
    """Raise DeepChemNeeded unless DeepChem 2.8 or newer is installed.

    Where no newer DeepChem names the running Python, ``pip install deepchem`` takes 2.5 in silence.

    Raises
    ------
    DeepChemNeeded
        An ImportError whose text has the command that helps.
    """
    try:
        found = metadata.version("deepchem")
    except metadata.PackageNotFoundError:
        if importlib.util.find_spec("deepchem"):
            return  # somebody's source tree, whose version nobody can tell
        found = "none"
    release = tuple(int(part) for part in found.split(".")[:2] if part.isdigit())
    if release < OLDEST:
        raise DeepChemNeeded(f"DeepChem 2.8 or newer is needed, and {found} is installed. Remedy: {REMEDY}")
