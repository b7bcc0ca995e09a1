"""Boards: thousands of reactions of shared systems in a few tables, with published values beside."""

from deepchem_dft.data.boards.board import Board, Row
from deepchem_dft.data.boards.totals import weighted_total, weights

__all__ = ["Board", "Row", "weighted_total", "weights"]
