"""Fixed points as layers: solvers and adjoints that know every sample by itself."""

from deepchem_dft.equilibrium.adjoints import Adjoint, Implicit, Truncated, Unrolled
from deepchem_dft.equilibrium.layer import DEQLayer
from deepchem_dft.equilibrium.regularisation import jacobian_norm, spectral_norm
from deepchem_dft.equilibrium.result import Equilibrium, Status
from deepchem_dft.equilibrium.solve import fixed_point
from deepchem_dft.equilibrium.solvers import DIIS, Anderson, Broyden, Damped, Pulay, Solver

__all__ = [
    "DIIS",
    "Adjoint",
    "Anderson",
    "Broyden",
    "DEQLayer",
    "Damped",
    "Equilibrium",
    "Implicit",
    "Pulay",
    "Solver",
    "Status",
    "Truncated",
    "Unrolled",
    "fixed_point",
    "jacobian_norm",
    "spectral_norm",
]
