"""Functionals of exchange and correlation on the grid: networks, the uniform gas, a user's own."""

from deepchem_dft.lattice.functionals.base import GatedXC, LatticeFunctional
from deepchem_dft.lattice.functionals.named import KINDS, make_functional
from deepchem_dft.lattice.functionals.neural import NetworkXC, NeuralXC
from deepchem_dft.lattice.functionals.uniform import UniformGasLDA

__all__ = [
    "KINDS",
    "GatedXC",
    "LatticeFunctional",
    "NetworkXC",
    "NeuralXC",
    "UniformGasLDA",
    "make_functional",
]
