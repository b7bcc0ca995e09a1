"""Packages that must be there: refused in one line, with the remedy, where a room first needs them."""

import importlib.util
import logging
from functools import cache
from importlib import metadata
from types import ModuleType

from deepchem_dft.errors import DeepChemDFTError, InputError

#: The oldest DeepChem whose models and data sets this package builds on.
OLDEST = (2, 8)
#: DeepChem 2.8 runs on every Python supported here, though its metadata says below 3.12; its own
#: requirements are among those of this package.
REMEDY = "pip install --no-deps --ignore-requires-python 'deepchem>=2.8'"
#: What DeepChem says while it is imported, by logger: which packages it does not find, and which
#: descriptors it has no scale for.
_GREETINGS = {
    "deepchem.models": ("Skipped loading", "cannot import name", "No module named"),
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


#: Extras of this package that bring a module; the others are installed by their own name.
EXTRAS = {
    "e3nn": "hamiltonian",
    "h5py": "hamiltonian",
    "ase": "hamiltonian",
    "tblite": "property",
    "dftd3": "dispersion",
    "dftd4": "dispersion",
    "geometric": "geometry",
    "skala": "skala",
    "xitorch": "dqc",
}


def how_to_get(error: ModuleNotFoundError) -> str | None:
    """Return what to say where a package of somebody else's is missing; None if the fault is our own.

    Examples
    --------
    >>> how_to_get(ModuleNotFoundError(name="e3nn.o3"))
    "the package 'e3nn' is missing. Remedy: pip install 'deepchem_dft[hamiltonian]'"
    """
    name = (error.name or "").partition(".")[0]
    if not name or name == "deepchem_dft":
        return None
    extra = f"'deepchem_dft[{EXTRAS[name]}]'" if name in EXTRAS else name
    return f"the package '{name}' is missing. Remedy: pip install {extra}"


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


def optional(name: str, what: str, extra: str, field: str, error: type = InputError) -> ModuleType:
    """Import a module of a package that not everybody has.

    Parameters
    ----------
    name : str
        As ``importlib.import_module`` takes it.
    what : str
        Who needs it, for the message.
    extra : str
        Of this package, which brings it.
    field : str
        The setting that asks for it.

    Raises
    ------
    InputError
        Naming the package and the command that installs it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as missing:
        remedy = f"pip install 'deepchem_dft[{extra}]'"
        package = name.partition(".")[0]
        raise error(f"{what} needs the package {package} ({missing})", field=field, remedy=remedy) from None
