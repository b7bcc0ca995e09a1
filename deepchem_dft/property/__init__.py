"""Equilibrium networks on molecules, crystals, fingerprints and pictures."""

from __future__ import annotations

from deepchem_dft.needs import check_deepchem

from .cells import Cell, DenseCell, GraphCell, Problem
from .graphs import GraphBatch, collate
from .image_cell import ImageCell
from .network import EquilibriumNetwork, Prediction, Settings, SolveCount

__all__ = [
    "Cell",
    "DenseCell",
    "EquilibriumNetwork",
    "GraphBatch",
    "GraphCell",
    "ImageCell",
    "Prediction",
    "Problem",
    "Settings",
    "SolveCount",
    "collate",
]

check_deepchem()
