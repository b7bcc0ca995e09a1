"""Stationary, but with an empty orbital below an occupied one: fill from below and converge again.

Where symmetry forbids occupied and empty orbitals to mix, a wrong filling has no gradient: an atom
may end with its whole d shell empty, hundreds of electronvolts too high, and nothing pulls it down.
"""

from deepchem_dft.scf.hamiltonian import KSHamiltonian
from deepchem_dft.scf.ladder import SCFSolution, SCFStatus, descended, diagonalise, orthonormal_basis
from deepchem_dft.scf.rotations import minimise

#: How far below an occupied orbital an empty one of the same spin has to be, Ha. Ground states of
#: some atoms have small holes, and filling those again would only give the same state.
_HOLE = 0.05
_ROUNDS = 3
_WORTHWHILE = 1e-6  # Ha


def has_hole(solution: SCFSolution) -> bool:
    """Tell whether an empty orbital lies clearly below an occupied one of the same spin."""
    occupied = solution.state.occupations > 1e-10
    return any(
        bool(o.any()) and not bool(o.all()) and bool(e[~o].min() < e[o].max() - _HOLE)
        for e, o in zip(solution.energies, occupied, strict=True)
    )


def filled_from_below(
    hamiltonian: KSHamiltonian, solution: SCFSolution, *, tol: float, max_iter: int
) -> SCFSolution:
    """Return a solution without such a hole, if one of lower energy is found.

    Parameters
    ----------
    hamiltonian : KSHamiltonian
    solution : SCFSolution
    tol : float
        Convergence threshold, Ha.
    max_iter : int
        Fock builds, all rounds together.

    Returns
    -------
    SCFSolution
        The same one if there is nothing to fill, or the molecule has occupations of its own. Its
        energy is never higher.
    """
    if hamiltonian.molecule.occupations is not None:
        return solution
    for _ in range(_ROUNDS):
        if solution.status is not SCFStatus.CONVERGED or not has_hole(solution):
            break
        budget = max_iter - solution.iterations
        if budget <= 0:
            break
        # DIIS would fill the wrong orbitals again, as it did the first time: go downhill instead.
        orbitals = diagonalise(solution.evaluation.fock, orthonormal_basis(hamiltonian.overlap))
        lower = minimise(hamiltonian, orbitals, solution.state.occupations, tol=tol, max_evaluations=budget)
        higher = lower.evaluation.energy > solution.evaluation.energy - _WORTHWHILE
        if higher or not lower.converged:
            break
        solution = descended(hamiltonian, solution, lower, lower.evaluations)
    return solution
