"""YAML files and reference densities in, checked entries and DeepChem data sets out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from deepchem_dft.data.entry import ENERGY_TYPES, ENTRY_TYPES, DFTEntry
from deepchem_dft.data.reader import check, read_yaml
from deepchem_dft.data.system import DFTSystem

if TYPE_CHECKING:
    from deepchem_dft.data.density_files import make_densities
    from deepchem_dft.data.featurizer import DFTFeaturizer
    from deepchem_dft.data.loader import DFTYamlLoader, arrays

__all__ = ["ENERGY_TYPES", "ENTRY_TYPES", "DFTEntry", "DFTFeaturizer", "DFTSystem",
           "DFTYamlLoader", "arrays", "check", "make_densities", "read_yaml"]

# DeepChem takes seconds to import, and checking a file does not need it.
_LATER = {"DFTFeaturizer": "featurizer", "DFTYamlLoader": "loader", "arrays": "loader",
          "make_densities": "density_files"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    globals()[name] = value
    return value
