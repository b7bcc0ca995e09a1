"""A molecule as tensors: integrals, quadrature grid and starting density, cached."""

from deepchem_dft.molecule.geometry import parse_geometry
from deepchem_dft.molecule.molecule import Molecule

__all__ = ["Molecule", "parse_geometry"]
