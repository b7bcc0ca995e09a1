"""YAML files and reference densities in, checked entries and DeepChem data sets out."""

import lazy_loader

from deepchem_dft.needs import check_deepchem

check_deepchem()

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
