"""Is the solution a minimum? If not, walk down the unstable direction and converge again."""

import math

import torch

from deepchem_dft.scf.hamiltonian import KSHamiltonian
from deepchem_dft.scf.ladder import SCFSolution, descended
from deepchem_dft.scf.response import SOFT_MODE, OrbitalHessian, lowest_modes
from deepchem_dft.scf.rotations import minimise


def follow_instabilities(
    hamiltonian: KSHamiltonian, solution: SCFSolution, *, tol: float, max_iter: int, rounds: int = 4
) -> tuple[SCFSolution, float]:
    """Return a solution whose orbital Hessian has no negative eigenvalue, if one is found.

    Parameters
    ----------
    hamiltonian : KSHamiltonian
    solution : SCFSolution
        Converged.
    tol : float
        Convergence threshold, Ha.
    max_iter : int
        Fock builds per round.
    rounds : int
        How many saddle points may be left behind.

    Returns
    -------
    solution : SCFSolution
        The same one if it is stable. Its energy is never higher.
    lowest : float
        Lowest eigenvalue of its orbital Hessian, Ha; infinite if there is none.
    """
    lowest = math.inf
    for _ in range(rounds):
        hessian = OrbitalHessian(hamiltonian, solution)
        values, vectors = lowest_modes(hessian, count=2, tol=1e-4, max_products=40)
        lowest = float(values[0]) if len(values) else math.inf
        if lowest > -SOFT_MODE:
            break
        state = solution.state
        kappa = hessian.rotation(vectors[0])
        trials = [
            minimise(
                hamiltonian,
                state.orbitals @ torch.matrix_exp(sign * 0.3 * kappa),
                state.occupations,
                tol=tol,
                max_evaluations=max_iter,
            )
            for sign in (1.0, -1.0)
        ]
        lower = min((t for t in trials if t.converged), default=None, key=lambda t: t.evaluation.energy)
        if lower is None or lower.evaluation.energy > solution.evaluation.energy - 1e-9:
            break
        solution = descended(hamiltonian, solution, lower, sum(t.evaluations for t in trials))
    return solution, lowest
