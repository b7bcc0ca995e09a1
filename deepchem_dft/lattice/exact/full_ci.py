"""Full CI of any few electrons by PySCF."""

from __future__ import annotations

import numpy as np
from pyscf import fci

from deepchem_dft.errors import ExactNotConverged

_TOL = 1e-10
_MAX_ITER = 300


def full_ci(
    core: np.ndarray, repulsion: np.ndarray, electrons: tuple[int, int], name: str = ""
) -> tuple[float, np.ndarray]:
    """Return the ground state of electrons in K orbitals; see `pair_ci` for the arguments.

    Raises
    ------
    ExactNotConverged
    """
    even = electrons[0] == electrons[1]
    solver = fci.direct_spin0.FCI() if even else fci.direct_spin1.FCI()
    solver.conv_tol, solver.max_cycle, solver.verbose = _TOL, _MAX_ITER, 0
    energy, vector = solver.kernel(core, repulsion, len(core), electrons)
    if not solver.converged:
        raise ExactNotConverged(
            f"{name + ': ' if name else ''}PySCF's full CI did not converge in {_MAX_ITER} iterations"
        )
    return float(energy), np.stack(solver.make_rdm1s(vector, len(core), electrons))
