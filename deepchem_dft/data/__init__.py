"""YAML files and reference densities in, checked entries and DeepChem data sets out."""

from deepchem_dft.data.entry import ENERGY_TYPES, ENTRY_TYPES, DFTEntry
from deepchem_dft.data.featurizer import DFTFeaturizer
from deepchem_dft.data.loader import DFTYamlLoader, arrays
from deepchem_dft.data.reader import check, read_yaml
from deepchem_dft.data.system import DFTSystem

__all__ = ["ENERGY_TYPES", "ENTRY_TYPES", "DFTEntry", "DFTFeaturizer", "DFTSystem",
           "DFTYamlLoader", "arrays", "check", "read_yaml"]
