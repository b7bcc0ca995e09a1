"""YAML files and reference densities in, checked entries and DeepChem data sets out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from deepchem_dft.needs import check_deepchem

if TYPE_CHECKING:
    from deepchem_dft.data.density_files import make_densities
    from deepchem_dft.data.entry import ENERGY_TYPES, ENTRY_TYPES, DFTEntry
    from deepchem_dft.data.featurizer import DFTFeaturizer
    from deepchem_dft.data.loader import DFTYamlLoader, arrays
    from deepchem_dft.data.reader import check, read_yaml
    from deepchem_dft.data.system import DFTSystem

__all__ = ["ENERGY_TYPES", "ENTRY_TYPES", "DFTEntry", "DFTFeaturizer", "DFTSystem",
           "DFTYamlLoader", "arrays", "check", "make_densities", "read_yaml"]

# DeepChem and torch take seconds to import; checking a file does without the one, the processes
# that label molecules without both.
_LATER = {"ENERGY_TYPES": "entry", "ENTRY_TYPES": "entry", "DFTEntry": "entry",
          "DFTFeaturizer": "featurizer", "DFTSystem": "system", "DFTYamlLoader": "loader",
          "arrays": "loader", "check": "reader", "make_densities": "density_files",
          "read_yaml": "reader"}

check_deepchem()


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    globals()[name] = value
    return value
