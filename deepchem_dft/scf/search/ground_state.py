"""Is a converged field the ground state? Look for signs of trouble, and for lower states if any.

A vanishing commutator does not say which state was found. After a start from atomic densities the
solution is looked at: an empty orbital below an occupied one, a tiny gap, fragments apart from each
other. Most molecules show none of these, and cost nothing more. For the others, starts of other
kinds (:mod:`deepchem_dft.scf.search.starts`) are taken downhill; one that cannot become lowest is given up
after a few steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from deepchem_dft.errors import InputError
from deepchem_dft.scf.hamiltonian import KSHamiltonian
from deepchem_dft.scf.ladder import (
    InitialGuess,
    SCFSolution,
    SCFStatus,
    extrapolate,
    finish,
    orthonormal_basis,
    starting_density,
)
from deepchem_dft.scf.rotations import Minimum, minimise
from deepchem_dft.scf.search.filling import filled_from_below
from deepchem_dft.scf.search.signs import HOLE, Findings, fragments, signs_of, spin_gaps, suspect, turns
from deepchem_dft.scf.search.starts import AtomicStart, Shares, frontier, kicked, mixed, turned
from deepchem_dft.scf.state import occupations_of

#: How far above a solution (Ha) a turned orbital may put the energy and still lead below it.
_REACH, _PAIRS = 0.03, 2
#: Kicks (radians) that tell a saddle from a minimum.
_HARD = 0.2
#: The same for atoms that have been given their electrons, which have yet to relax.
_SHARES_REACH = 0.3
#: Orbitals this close to the gap (Ha) take part in mixtures.
_WINDOW = 0.15
#: What a lower state has to be lower by, Ha; an unrestricted one to be worth a word; and what is
#: more than an open shell that has turned, so that everything is asked anew.
_WORTHWHILE, _WORTH_SAYING, _ANOTHER = 3e-6, 1e-5, 1e-4
#: Fock builds that one start may take without getting below what is known.
_TRIAL = 60
#: Those that finishing a lower one may take, and those after which no more starts are made.
_FINISH, _BUDGET = 200, 600
#: How many lower places may turn out not to converge: rough functionals have no end of them.
_FAILURES = 2
#: Lower ones are finished by extrapolation from this residual (Ha) on: it is quicker, and goes on
#: where energies of spin-polarised tails are too rough to descend by.
_ROUGH, _PATIENCE, _TRIES = 2e-3, 15, 2
_ROUNDS = 3
#: Gaps (Ha) of restricted solutions whose bonds are broken.
_BROKEN = 0.05


def search(
    hamiltonian: KSHamiltonian,
    solution: SCFSolution,
    *,
    tol: float,
    max_iter: int,
    thorough: bool = False,
    unrestricted: bool = True,
) -> tuple[SCFSolution, Findings]:
    """Look for a state below a converged one, where there are signs of trouble.

    Parameters
    ----------
    hamiltonian : KSHamiltonian
    solution : SCFSolution
        Converged; others are returned as they are.
    tol : float
        Convergence threshold, Ha.
    max_iter : int
        Bound on Fock builds of one descent.
    thorough : bool
        Search without a sign, too.
    unrestricted : bool
        Whether to look for unrestricted solutions below a restricted one.

    Returns
    -------
    solution : SCFSolution
        The lowest one; its ``iterations`` count every Fock build of the search.
    findings : Findings
    """
    molecule, findings = hamiltonian.molecule, Findings()
    whole = all(float(n).is_integer() for n in molecule.nelec)
    if solution.status is not SCFStatus.CONVERGED or molecule.occupations is not None or not whole:
        return solution, findings
    signs = signs_of(hamiltonian, solution)
    if thorough:
        signs.setdefault("apart", "asked for")
    findings.signs = list(signs.values())
    start = solution.evaluation.energy
    if signs:
        explorer = _Explorer(hamiltonian, solution, tol, max_iter, findings)
        for number in range(_ROUNDS):
            kinds = signs if not number else signs_of(hamiltonian, explorer.best)
            if number:  # from a new solution, what starts from its orbitals is new
                kinds.pop("apart", None)
            before = explorer.best.evaluation.energy
            explorer.visit(_starts(explorer, kinds))
            if explorer.best.evaluation.energy > before - _ANOTHER:
                break
        findings.unfinished = explorer.unfinished
        solution = explorer.result()
        findings.lowered = start - solution.evaluation.energy
    if unrestricted and hamiltonian.restricted and (thorough or signs):
        lower = _unrestricted_below(hamiltonian, solution, tol, max_iter, findings)
        if lower < solution.evaluation.energy - _WORTH_SAYING:
            findings.unrestricted = lower
    return solution, findings


def ground_state(
    hamiltonian: KSHamiltonian,
    solution: SCFSolution,
    *,
    cold: bool,
    tol: float,
    max_iter: int,
    thorough: bool = False,
    unrestricted: bool = True,
) -> tuple[SCFSolution, Findings]:
    """Do what a solution calls for: all of it after a cold start, holes only after a warm one.

    Returns
    -------
    solution : SCFSolution
    findings : Findings
    """
    if cold:
        solution = filled_from_below(hamiltonian, solution, tol=tol, max_iter=max_iter)
    elif not thorough and (solution.status is not SCFStatus.CONVERGED or min(spin_gaps(solution)) >= -HOLE):
        return solution, Findings()
    return search(
        hamiltonian, solution, tol=tol, max_iter=max_iter, thorough=thorough, unrestricted=unrestricted
    )


def with_local_spins(
    hamiltonian: KSHamiltonian, spins: Sequence[float], *, tol: float, max_iter: int
) -> SCFSolution:
    """Go downhill from atoms with given local spins (2S_z), up or down.

    Raises
    ------
    InputError
        If the atoms cannot have such spins.
    """
    molecule = hamiltonian.molecule
    found = None
    if molecule.occupations is None and all(float(n).is_integer() for n in molecule.nelec):
        found = Shares(molecule).closest(spins)
    if found is None:
        raise InputError(
            f"the atoms of {molecule.name} cannot have local spins of {', '.join(f'{m:g}' for m in spins)}",
            field="broken_symmetry",
            remedy="use broken_symmetry=True, or other spins",
        )
    basis = orthonormal_basis(hamiltonian.overlap)
    fock = hamiltonian.evaluate_matrix(starting_density(hamiltonian)).fock.mean(0)
    orbitals = kicked(AtomicStart(hamiltonian, fock, basis)(*found), fock, 0)
    occupations = occupations_of(molecule, basis.shape[1], False).to(basis.device)
    lowest = minimise(hamiltonian, orbitals, occupations, tol=tol, max_evaluations=max_iter - 1)
    builds = lowest.evaluations + 1
    status = (
        SCFStatus.CONVERGED
        if lowest.converged
        else SCFStatus.MAX_ITERATIONS
        if builds >= max_iter
        else SCFStatus.STALLED
    )
    return finish(
        hamiltonian,
        lowest.orbitals,
        occupations,
        lowest.evaluation,
        lowest.residual,
        builds,
        status,
        lowest.history,
    )


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
    """

    kind: str
    orbitals: Tensor
    reach: float = math.inf
    again: bool = False


class _Explorer:
    """Takes starts downhill and keeps the lowest solution."""

    def __init__(
        self, hamiltonian: KSHamiltonian, solution: SCFSolution, tol: float, max_iter: int, findings: Findings
    ) -> None:
        self.hamiltonian, self.best, self.tol = hamiltonian, solution, tol
        self.max_iter, self.findings, self.builds = max_iter, findings, 0
        self.unfinished: float | None = None
        self.failures = 0
        self.basis = orthonormal_basis(hamiltonian.overlap)

    def visit(self, starts: Iterator[Start]) -> bool:
        """Try starts; tell whether any led to a lower state."""
        before = self.best
        for start in starts:
            builds = self.builds
            lower = self.descend(start)
            self.findings.note(start.kind, self.builds - builds, lower)
            if self.failures >= _FAILURES or self.builds > _BUDGET:
                break
        return self.best is not before

    def descend(self, start: Start) -> bool:
        """Go downhill from somewhere; tell whether it led to a lower state."""
        energy, occupations = self.best.evaluation.energy, self.best.state.occupations
        goal, self.builds = energy - _WORTHWHILE, self.builds + 1
        point = self.hamiltonian.evaluate(start.orbitals, occupations)
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
            below=goal,
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

    def _finished(self, found: Minimum) -> SCFSolution | None:
        """Converge from what is close: by extrapolation, or downhill where that leads away."""
        occupations, limit = self.best.state.occupations, found.evaluation.energy + _WORTHWHILE
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


def _starts(explorer: _Explorer, signs: dict[str, str]) -> Iterator[Start]:
    """Yield where to start from, for certain signs of trouble."""
    hamiltonian, solution = explorer.hamiltonian, explorer.best
    state, apart, hole, lost = solution.state, *(k in signs for k in ("apart", "hole", "lost"))
    near = frontier(solution.energies, state.occupations, _WINDOW)
    fock, turning = solution.evaluation.fock, turns(hamiltonian)
    for spin, (occupied, empty) in enumerate(near):
        pairs = [
            (i, a)
            for i in occupied[:2].tolist()
            for a in empty[:2].tolist()
            if solution.energies[spin, a] - solution.energies[spin, i] < suspect(hamiltonian)
        ]
        for i, a in pairs[:_PAIRS]:
            # Half way, from where either filling can be reached; all the way where one is wrong.
            for angle in (math.pi / 4, math.pi / 2)[: 1 + hole]:
                orbitals = turned(state.orbitals, [(spin, i, a, angle)])
                yield Start("turned", kicked(orbitals, fock, 0), math.inf if hole else (1 + turning) * _REACH)
    if not hamiltonian.restricted and (
        apart or hole or "free" in signs or max(spin_gaps(solution)) < 2 * suspect(hamiltonian)
    ):
        yield from _spins_mixed(state.orbitals, fock, near, apart or hole)
    if "free" in signs or hamiltonian.molecule.grid_level == 0:
        for seed in range(2):
            yield Start("kicked", kicked(state.orbitals, fock, seed, _HARD), again=True)
            yield Start("mixed", mixed(state.orbitals, near, seed + 1))
    if lost:  # there is no telling how far the shares of the atoms are from where it would lead
        yield from _shared_out(explorer, 8)
    if not (apart or hole):
        return
    eager = hole or not hamiltonian.restricted
    reach = _SHARES_REACH * (2.0 if hole else 1.0 if eager else 0.5)
    if not lost:
        yield from _shared_out(explorer, 8 if apart else 3, reach)
    for seed in range(3 if hole else int(eager)):
        yield Start("mixed", mixed(state.orbitals, near, seed))


def _spins_mixed(
    orbitals: Tensor, fock: Tensor, near: Sequence[tuple[Tensor, Tensor]], strong: bool
) -> Iterator[Start]:
    """Yield frontier orbitals turned one way for alpha, the other for beta; many pairs first."""
    most = min(min(len(o), len(e)) for o, e in near)
    for count in range(min(most, 3) if strong else min(most, 1), 0, -1):
        for angle, reach in ((math.pi / 8, -_WORTHWHILE), (math.pi / 4, 0.1 * _REACH)):
            if strong and angle < math.pi / 4:
                continue
            pairs = [
                (s, int(near[s][0][k]), int(near[s][1][k]), (1 - 2 * s) * angle)
                for s in (0, 1)
                for k in range(count)
            ]
            yield Start(
                "spins mixed", kicked(turned(orbitals, pairs), fock, 0), math.inf if strong else reach
            )


def _shared_out(explorer: _Explorer, limit: int, reach: float = math.inf) -> Iterator[Start]:
    """Yield determinants with electrons and spins shared out among the atoms."""
    hamiltonian = explorer.hamiltonian
    shares = Shares(hamiltonian.molecule, hamiltonian.restricted).best(limit)
    if not shares:
        return
    explorer.builds += 1
    fock = hamiltonian.evaluate_matrix(starting_density(hamiltonian)).fock.mean(0)
    make = AtomicStart(hamiltonian, fock, explorer.basis)
    for rank, (charges, spins) in enumerate(shares):
        try:
            yield Start("shared out", kicked(make(charges, spins), fock, rank), reach)
        except ValueError:
            continue


def _unrestricted_below(
    hamiltonian: KSHamiltonian, solution: SCFSolution, tol: float, max_iter: int, findings: Findings
) -> float:
    """Energy (Ha) of an unrestricted solution below a restricted one, or of the latter itself."""
    free = KSHamiltonian(
        hamiltonian.molecule, hamiltonian.xc, False, hamiltonian.device, hamiltonian.chosen_grid
    )
    free.differentiate = False
    state = solution.state.unrestricted()
    twice = SCFSolution(
        state,
        solution.energies.repeat(2, 1),
        solution.evaluation,
        solution.residual,
        0,
        SCFStatus.CONVERGED,
        [],
    )
    explorer = _Explorer(free, twice, max(tol, 1e-5), max_iter, findings)
    near = frontier(twice.energies, state.occupations, _WINDOW)
    apart = fragments(hamiltonian.molecule) > 1
    # Where bonds are only half broken, the spins of whole atoms are not what to start from.
    broken = apart and min(spin_gaps(solution)) < _BROKEN
    if not (broken and explorer.visit(_shared_out(explorer, 1))):
        explorer.visit(_spins_mixed(state.orbitals, solution.evaluation.fock, near, apart))
    solution.iterations += explorer.builds
    return explorer.best.evaluation.energy
