"""Equilibrium networks on molecules, crystals, fingerprints and pictures."""

from deepchem_dft.needs import check_deepchem
from deepchem_dft.property.cells import Cell, CellProblem, DenseCell, GraphCell, ImageCell
from deepchem_dft.property.graphs import GraphBatch, collate
from deepchem_dft.property.network import EquilibriumNetwork, Prediction, Settings, SolveCount

__all__ = [
    "Cell",
    "DenseCell",
    "EquilibriumNetwork",
    "GraphBatch",
    "GraphCell",
    "ImageCell",
    "Prediction",
    "CellProblem",
    "Settings",
    "SolveCount",
    "collate",
]

check_deepchem()
