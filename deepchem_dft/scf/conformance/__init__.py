"""Does a functional keep what the contract of all functionals says? Asked of small densities."""

from deepchem_dft.scf.conformance.checker import check_functional
from deepchem_dft.scf.conformance.report import Check, Report

__all__ = ["Check", "Report", "check_functional"]
