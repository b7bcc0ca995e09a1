"""The self-consistent field: energy and Fock matrix, solver ladder, differentiable layer."""

from deepchem_dft.scf.kohn_sham import KohnSham
from deepchem_dft.scf.ladder import SCFStatus
from deepchem_dft.scf.layer import XCNNSCF, KSCalc, SCFLayer
from deepchem_dft.scf.options import SCFOptions
from deepchem_dft.scf.result import KSResult
from deepchem_dft.scf.state import SCFState

Status = SCFStatus  # an older name

__all__ = ["KSCalc", "KSResult", "KohnSham", "SCFLayer", "SCFOptions", "SCFState", "SCFStatus", "XCNNSCF"]
