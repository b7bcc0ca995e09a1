"""Taking starts downhill, as far as they may become the lowest solution."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from deepchem_dft.scf.hamiltonian import FockBuild, KSHamiltonian
from deepchem_dft.scf.ladder import (
    InitialGuess,
    SCFSolution,
    SCFStatus,
    extrapolate,
    finish,
    orthonormal_basis,
)
from deepchem_dft.scf.rotations import FAIR_TRIAL, Minimum, minimise
from deepchem_dft.scf.search.signs import Findings

#: What a lower state has to be lower by, Ha.
WORTHWHILE = 3e-6
#: Fock builds that one start may take without getting below what is known.
_TRIAL = 60
#: Those that finishing a lower one may take, and those after which no more starts are made.
_FINISH, _BUDGET = 200, 600
#: How many lower places may turn out not to converge: rough functionals have no end of them.
_FAILURES = 2
#: Lower ones are finished by extrapolation from this residual (Ha) on: it is quicker, and goes on
#: where energies of spin-polarised tails are too rough to descend by.
_ROUGH, _PATIENCE, _TRIES = 2e-3, 15, 2


@dataclass
class Start:
    """Orbitals to go downhill from, unless they lie too far above the best solution.

    Attributes
    ----------
    kind : str
    orbitals : Tensor, shape (nspin, nao, nmo)
    reach : float
        How far above is too far, Ha.
    again : bool
        Whether it has to begin close to the best solution, and may go back there.
    patient : bool
        Whether to go on where little is to be expected: close to a saddle slopes say nothing.
    point : FockBuild or None
        At ``orbitals``, if known.
    fair : int
        Steps before it may be given up.
    """

    kind: str
    orbitals: Tensor
    reach: float = math.inf
    again: bool = False
    patient: bool = False
    point: FockBuild | None = None
    fair: int = FAIR_TRIAL


class Explorer:
    """Takes starts downhill and keeps the lowest solution."""

    def __init__(
        self, hamiltonian: KSHamiltonian, solution: SCFSolution, tol: float, max_iter: int, findings: Findings
    ) -> None:
        self.hamiltonian, self.best, self.tol = hamiltonian, solution, tol
        self.max_iter, self.findings, self.builds = max_iter, findings, 0
        self.unfinished: float | None = None
        self.failures = 0
        self.basis = orthonormal_basis(hamiltonian.overlap)

    def visit(self, starts: Iterator[Start], budget: float = _BUDGET) -> bool:
        """Try starts, unless too much has been spent; tell whether any led to a lower state."""
        before, counted = self.best, self.builds
        for start in starts:
            lower = self.descend(start)
            self.findings.note(start.kind, self.builds - counted, lower)
            counted = self.builds
            if self.failures >= _FAILURES or self.builds > budget:
                break
        self.findings.builds += self.builds - counted  # spent on starts that were not made
        return self.best is not before

    def evaluate(self, orbitals: Tensor) -> FockBuild:
        """Evaluate orbitals filled as the best solution's are (one Fock build)."""
        self.builds += 1
        return self.hamiltonian.evaluate(orbitals, self.best.state.occupations)

    def descend(self, start: Start) -> bool:
        """Go downhill from somewhere; tell whether it led to a lower state."""
        energy, occupations = self.best.evaluation.energy, self.best.state.occupations
        goal = energy - WORTHWHILE
        point = start.point or self.evaluate(start.orbitals)
        above = point.energy - energy
        if above > start.reach:
            return False
        found = minimise(
            self.hamiltonian,
            start.orbitals,
            occupations,
            tol=self.tol,
            start=point,
            max_evaluations=min(_TRIAL, self.max_iter),
            below=None if start.patient else goal,
            fair=start.fair,
            rough=_ROUGH,
            known=None if start.again else self.best.state.density_matrix(),
        )
        self.builds += found.evaluations
        if found.evaluation.energy > goal:
            return False
        solution = self._finished(found)
        if solution is None:
            self.failures += 1
            self.unfinished = min(found.evaluation.energy, self.unfinished or math.inf)
            return False
        if solution.evaluation.energy > goal:
            return False
        self.best = solution
        if self.unfinished is not None and solution.evaluation.energy < self.unfinished:
            self.unfinished = None
        return True

    def finish_best(self) -> None:
        """Converge the best solution, which is only close to it, if that can be done."""
        before, best = self.builds, self.best
        finished = self._finished(Minimum(best.state.orbitals, best.evaluation, best.residual, 0, False, []))
        self.best = finished or best
        self.findings.note("finished", self.builds - before, finished is not None)

    def _finished(self, found: Minimum) -> SCFSolution | None:
        """Converge from what is close: by extrapolation, or downhill where that leads away."""
        occupations, limit = self.best.state.occupations, found.evaluation.energy + WORTHWHILE
        before, history = self.best.iterations, [*self.best.history, *found.history]
        problem = InitialGuess(self.basis, occupations, found.orbitals, 0)
        run = extrapolate(
            self.hamiltonian, problem, tol=self.tol, patience=_PATIENCE, max_iter=min(_FINISH, self.max_iter)
        )
        self.builds += run.iterations
        if run.residual < self.tol and run.evaluation.energy < limit:
            return finish(
                self.hamiltonian,
                run.orbitals,
                occupations,
                run.evaluation,
                run.residual,
                before,
                SCFStatus.CONVERGED,
                history + run.history,
            )
        last = found
        for _ in range(_TRIES):  # what it has learnt of the curvature goes stale on rough energies
            last = minimise(
                self.hamiltonian,
                last.orbitals,
                occupations,
                tol=self.tol,
                max_evaluations=min(_FINISH, self.max_iter),
                start=last.evaluation,
            )
            self.builds += last.evaluations
            if last.converged:
                break
        if not last.converged:
            return None
        return finish(
            self.hamiltonian,
            last.orbitals,
            occupations,
            last.evaluation,
            last.residual,
            before,
            SCFStatus.CONVERGED,
            history + last.history,
        )

    def result(self) -> SCFSolution:
        """The lowest solution, with every Fock build counted."""
        self.best.iterations += self.builds
        return self.best
