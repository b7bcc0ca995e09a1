"""Two grids: iterate on a coarse one plus what it lacks, confirm on the fine one.

The Fock matrix of a coarse grid differs from that of the fine one by a matrix that hardly changes
from one training step to the next. With that difference added, the coarse problem has the
solution of the fine one; each evaluation on the fine grid says how good the difference still is,
and renews it. A result is accepted on the fine grid's residual alone.
"""

from dataclasses import replace

import torch
from torch import Tensor

from deepchem_dft.scf.hamiltonian import FockBuild, KSHamiltonian
from deepchem_dft.scf.ladder import SCFSolution, SCFStatus, extrapolate, finish, prepare, solve
from deepchem_dft.scf.rotations import off_block
from deepchem_dft.scf.state import FockHistory, SCFState

# Beyond this many orbitals the coarse problem has its density fitted, which is much cheaper; the
# difference makes up for the fitting error as well.
_FIT_ABOVE = 60
# The fine grid must have this many times the points of the coarse one to be worth the detour.
_WORTHWHILE = 3.0
# Coarse iterations stop at this share of the tolerance, or of the last fine residual.
_MARGIN, _SHARE = 0.3, 0.03
# Without a difference to add, the coarse problem is solved to this only (Ha).
_FIRST = 3e-3
_PATIENCE, _ROUNDS = 10, 6
# A round that does not lower the fine residual by this factor is the last.
_PROGRESS = 0.5


class CorrectedHamiltonian(KSHamiltonian):
    """A Kohn-Sham problem on a coarse grid with a constant added to its Fock matrices."""

    def __init__(self, fine: KSHamiltonian) -> None:
        molecule = fine.molecule
        super().__init__(
            molecule.fitted() if molecule.nao > _FIT_ABOVE else molecule,
            fine.xc,
            fine.restricted,
            fine.device,
            grid=molecule.coarse_grid,
        )
        self.differentiate = False
        self.correction = torch.zeros_like(self.core).expand(self.nspin, -1, -1).clone()

    def _assemble(
        self, density: Tensor, rho: Tensor, slopes: bool = False, occupied: list[Tensor] | None = None
    ) -> FockBuild:
        evaluation = super()._assemble(density, rho, slopes, occupied)
        evaluation.fock += self.correction
        # So that energies and Fock matrices belong together; the constant is of no consequence.
        evaluation.energy += float((density * self.correction).sum())
        return evaluation


def suits(hamiltonian: KSHamiltonian, guess: SCFState | None) -> bool:
    """True if a solve is better done on two grids: a warm start of a molecule on a fine grid.

    Atoms are left alone: they are cheap, and the coarse grid would turn their open shells.
    """
    molecule = hamiltonian.molecule
    return (
        guess is not None
        and len(molecule.symbols) > 1
        and hamiltonian.grid.size > _WORTHWHILE * molecule.coarse_grid.size
    )


def solve_on_two_grids(
    fine: KSHamiltonian, *, guess: SCFState | None = None, tol: float = 1e-6, max_iter: int = 500
) -> SCFSolution:
    """Find self-consistent orbitals with few evaluations on the fine grid.

    Parameters
    ----------
    fine : KSHamiltonian
    guess : SCFState, optional
        Orbitals to start from; with its ``trend``, one fine evaluation is enough as a rule.
    tol : float
        On the largest occupied-virtual Fock element on the fine grid, Ha.
    max_iter : int
        Bound on Fock builds, on either grid.

    Returns
    -------
    SCFSolution
        As from :func:`~deepchem_dft.scf.ladder.solve`, which takes over where rounds do not help.
        Its state carries the trend for the next solve.
    """
    trend = None if guess is None else guess.trend
    if trend is not None and trend.matrices.shape != (2, fine.nspin, *fine.core.shape):
        trend = None
    coarse = CorrectedHamiltonian(fine)
    problem = prepare(coarse, guess)
    if trend is not None:
        coarse.correction = trend.foresee()[1].to(fine.device)
    iterations, history, last = problem.iterations, [], float("inf")
    matrix: Tensor | None  # the coarse problem's Fock matrices at the orbitals in hand
    for number in range(_ROUNDS):
        if number == 0 and guess is not None and trend is None:
            orbitals, matrix = problem.orbitals, None  # the guess shows what is missing
        else:
            wanted = max(_MARGIN * tol, _SHARE * last if last < 1.0 else 0.0)
            if number == 0 and guess is None:
                wanted = _FIRST
            run = extrapolate(coarse, problem, tol=wanted, max_iter=max_iter - iterations, patience=_PATIENCE)
            iterations += run.iterations
            if not run.residual < wanted:
                break
            orbitals, matrix = run.orbitals, run.evaluation.fock
        evaluation = fine.evaluate(orbitals, problem.occupations, slopes=fine.differentiate)
        iterations += 1
        residual = off_block(orbitals.mT @ evaluation.fock @ orbitals, problem.occupations, tol)
        history.append(residual)
        fine.tell(evaluation.energy, residual)
        if matrix is None and not residual < tol:
            matrix = coarse.evaluate(orbitals, problem.occupations).fock
            iterations += 1
        if matrix is not None:
            coarse.correction = coarse.correction + evaluation.fock - matrix
        if residual < tol:
            solution = finish(
                fine,
                orbitals,
                problem.occupations,
                evaluation,
                residual,
                iterations,
                SCFStatus.CONVERGED,
                history,
            )
            known = [evaluation.fock] if matrix is None else [evaluation.fock, coarse.correction]
            solution.state.trend = FockHistory.after(guess, *known)
            return solution
        if residual > _PROGRESS * last or iterations >= max_iter:
            break
        problem, last = replace(problem, orbitals=orbitals, iterations=0), residual

    solution = solve(fine, guess=guess, tol=tol, max_iter=max(max_iter - iterations, 1))
    solution.iterations += iterations
    solution.history = history + solution.history
    return solution
