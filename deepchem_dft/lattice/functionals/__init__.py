"""Functionals of exchange and correlation on the grid: networks, the uniform gas, a user's own."""

from __future__ import annotations

from .base import GatedXC, LatticeFunctional
from .named import KINDS, make_functional
from .neural import NetworkXC, NeuralXC
from .uniform import UniformGasLDA

__all__ = ["KINDS", "GatedXC", "LatticeFunctional", "NetworkXC", "NeuralXC", "UniformGasLDA",
           "make_functional"]  # fmt: skip
