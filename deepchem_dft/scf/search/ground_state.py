"""Is a converged field the ground state? Look for signs of trouble, and for lower states if any.

A vanishing commutator does not say which state was found. After a start from atomic densities the
solution is looked at: an empty orbital below an occupied one, a tiny gap, fragments apart from each
other. Most molecules show none of these, and cost nothing more. For the others, starts of other
kinds (:mod:`deepchem_dft.scf.search.starts`) are taken downhill; one that cannot become lowest is given up
after a few steps.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch import Tensor

from deepchem_dft.scf.hamiltonian import KSHamiltonian
from deepchem_dft.scf.ladder import SCFSolution, SCFStatus, starting_density
from deepchem_dft.scf.search.explorer import WORTHWHILE, Explorer, Start
from deepchem_dft.scf.search.filling import filled_from_below
from deepchem_dft.scf.search.orientation import Part, Turning, turning_parts
from deepchem_dft.scf.search.phases import antibonding
from deepchem_dft.scf.search.regrouped import regrouped
from deepchem_dft.scf.search.signs import (
    HOLE,
    Findings,
    closest,
    fragments,
    parts,
    signs_of,
    spin_gaps,
    stretched,
    suspect,
    turns,
)
from deepchem_dft.scf.search.starts import AtomicStart, Shares, frontier, kicked, mixed, turned

#: How far above a solution (Ha) a turned orbital may put the energy and still lead below it.
_REACH, _PAIRS = 0.03, 2
#: Kicks (radians) that tell a saddle from a minimum.
_HARD = 0.2
#: The same for atoms that have been given their electrons, which have yet to relax; and in how many ways
#: they are where bonds are loose, but bonds, and after how many steps that may be given up.
_SHARES_REACH, _LOOSELY, _PATIENTLY = 0.3, 2, 18
#: How many ways to share out are looked through for atoms whose spins need not fill the same orbitals.
_CROSSED = 8
#: A turn (radians) from which the shallowest of broken symmetries is found, and what it may cost (Ha).
_SLIGHTLY, _LITTLE = 0.1, 1e-4
#: Orbitals this close to the gap (Ha) take part in mixtures.
_WINDOW = 0.15
#: What an unrestricted solution has to be lower by to be worth a word, Ha; and what is more than an
#: open shell that has turned, so that everything is asked anew.
_WORTH_SAYING, _ANOTHER = 1e-5, 1e-4
_ROUNDS = 3
#: Ways that open shells of atoms point at first, where they feel each other (Bohr).
_POINTING, _FELT = 3, 12.0
#: How many directions of an open shell are followed, and how often, since relaxing changes it.
_POINTED, _TURNS = 2, 2
#: Residuals (Ha) that may still be brought to convergence.
_NEARLY = 1e-3
#: Gaps (Ha) of restricted solutions whose bonds are broken; and of others whose bonds may be.
_BROKEN, _BREAKING = 0.05, 0.03


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
        Converged, or close to it; others are returned as they are.
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
    if not _close(solution) or molecule.occupations is not None or not whole:
        return solution, findings
    signs = signs_of(hamiltonian, solution)
    if thorough:
        signs.setdefault("apart", "asked for")
    findings.signs = list(signs.values())
    start = solution.evaluation.energy
    if signs:
        explorer = Explorer(hamiltonian, solution, tol, max_iter, findings)
        if solution.status is not SCFStatus.CONVERGED:
            explorer.finish_best()
        for number in range(_ROUNDS):
            kinds = signs if not number else signs_of(hamiltonian, explorer.best)
            if number:  # from a new solution, what starts from its orbitals is new
                kinds.pop("apart", None)
            before = explorer.best.evaluation.energy
            explorer.visit(_starts(explorer, kinds))
            if explorer.best.evaluation.energy > before - _ANOTHER:
                break
        for ways in (_in_phase, _pointed):
            explorer.visit(ways(explorer), math.inf)
        if "apart" in signs and not hamiltonian.restricted and explorer.visit(_crossed(explorer), math.inf):
            for ways in (_in_phase, _pointed):
                explorer.visit(ways(explorer), math.inf)
        findings.unfinished = explorer.unfinished
        solution = explorer.result()
        findings.lowered = start - solution.evaluation.energy
    converged = solution.status is SCFStatus.CONVERGED
    if converged and unrestricted and hamiltonian.restricted and (thorough or signs):
        lower = _unrestricted_below(hamiltonian, solution, tol, max_iter, findings)
        if lower < solution.evaluation.energy - _WORTH_SAYING:
            findings.unrestricted = lower
    return solution, findings


def _close(solution: SCFSolution) -> bool:
    """Whether a solution is converged, or so close that another minimum is not what it lacks."""
    return solution.status is SCFStatus.CONVERGED or solution.residual < _NEARLY


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


def _starts(explorer: Explorer, signs: dict[str, str]) -> Iterator[Start]:
    """Yield where to start from, for certain signs of trouble."""
    hamiltonian, solution = explorer.hamiltonian, explorer.best
    state, apart, hole, lost = solution.state, *(k in signs for k in ("apart", "hole", "lost"))
    near = frontier(solution.energies, state.occupations, _WINDOW)
    fock = solution.evaluation.fock
    # Which way a part points is asked last and costs less there; on the coarsest grid this says more.
    wholes = [Turning(hamiltonian, state, part) for part in _turning(hamiltonian, finer=True)]
    yield from _one_turned(explorer, near, wholes, hole)
    if not hamiltonian.restricted and (
        apart or hole or "free" in signs or max(spin_gaps(solution)) < 2 * suspect(hamiltonian)
    ):
        inner = _without_turns(near, wholes)
        if inner is not None and not (apart or hole):
            for sign in (1.0, -1.0):  # no kick, which costs more than a shallow minimum may gain
                pairs = [
                    (s, int(o[0]), int(e[0]), (sign, 1.0)[s] * _SLIGHTLY) for s, (o, e) in enumerate(inner)
                ]
                yield Start("spins mixed", turned(state.orbitals, pairs), _LITTLE)
        else:
            yield from _spins_mixed(state.orbitals, fock, near, apart or hole)
    coarse = hamiltonian.molecule.grid_level == 0
    if "free" in signs or coarse:
        for seed in range(2):
            yield Start(
                "kicked", kicked(state.orbitals, fock, seed, _HARD), again=True, patient=coarse and not seed
            )
            yield Start("mixed", mixed(state.orbitals, near, seed + 1))
    if lost:  # there is no telling how far the shares of the atoms are from where it would lead
        yield from _shared_out(explorer, 8)
    if not (apart or hole):
        tiny = "tiny" in signs and min(spin_gaps(solution)) < _BREAKING
        if tiny and not lost and not hamiltonian.restricted and stretched(hamiltonian.molecule):
            for start in _shared_out(explorer, _LOOSELY, neutral=True):
                yield replace(start, fair=_PATIENTLY)
        return
    eager = hole or not hamiltonian.restricted
    reach = _SHARES_REACH * (2.0 if hole else 1.0 if eager else 0.5)
    # What atoms may hold says little of molecules, which have orbitals of their own.
    free = hamiltonian.restricted or all(len(part) == 1 for part in parts(hamiltonian.molecule))
    atoms = apart and free
    pointing = _POINTING if atoms and closest(hamiltonian.molecule) < _FELT else 1
    if not lost:
        yield from _shared_out(explorer, 8 if atoms else 3, reach, pointing)
    for rank, orbitals in enumerate(regrouped(hamiltonian, solution)):
        yield Start("regrouped", kicked(orbitals, fock, rank), reach)
    for seed in range(3 if hole else int(eager)):
        yield Start("mixed", mixed(state.orbitals, near, seed))


def _without_turns(
    near: Sequence[tuple[Tensor, Tensor]], wholes: Sequence[Turning]
) -> list[tuple[Tensor, Tensor]] | None:
    """Frontier orbitals without a highest one that would only turn, if there is one."""
    found, turning = [], False
    for spin, (occupied, empty) in enumerate(near):
        if len(occupied) and len(empty):
            first = int(occupied[0]), int(empty[0])
            if any(whole.amounts_to(spin, *first, math.pi / 4) for whole in wholes):
                occupied, turning = occupied[1:], True
        found.append((occupied, empty))
    return found if turning and all(len(o) and len(e) for o, e in found) else None


def _one_turned(
    explorer: Explorer, near: Sequence[tuple[Tensor, Tensor]], wholes: Sequence[Turning], hole: bool
) -> Iterator[Start]:
    """Yield one frontier orbital turned toward an empty one, unless a part that turns does the same."""
    hamiltonian, solution = explorer.hamiltonian, explorer.best
    state, turning, limit = solution.state, turns(hamiltonian), suspect(hamiltonian)
    for spin, (occupied, empty) in enumerate(near):
        pairs = [
            (i, a)
            for i in occupied[:2].tolist()
            for a in empty[:2].tolist()
            if solution.energies[spin, a] - solution.energies[spin, i] < limit
        ]
        for i, a in pairs[:_PAIRS]:
            # Half way, from where either filling can be reached; all the way where one is wrong.
            for angle in (math.pi / 4, math.pi / 2)[: 1 + hole]:
                if any(whole.amounts_to(spin, i, a, angle) for whole in wholes):
                    continue
                orbitals = kicked(turned(state.orbitals, [(spin, i, a, angle)]), solution.evaluation.fock, 0)
                yield Start("turned", orbitals, math.inf if hole else (1 + turning) * _REACH)


def _in_phase(explorer: Explorer) -> Iterator[Start]:
    """Yield the best solution with shared orbitals bonding that are antibonding."""
    tried: set[tuple[int, int]] = set()
    while True:
        ways = [w for w in antibonding(explorer.hamiltonian, explorer.best) if w[1:3] not in tried]
        if not ways:
            return
        _, spin, part, orbitals = ways[0]
        tried.add((spin, part))
        yield Start("in phase", orbitals, _REACH)


def _turning(hamiltonian: KSHamiltonian, finer: bool = False) -> list[Part]:
    """Parts whose turning is looked at as a whole; with ``finer``, none on the coarsest grid."""
    # Where energies of points depend on each other, there is nothing to be had for less than a build.
    if hamiltonian.xc.needs_quadrature or (finer and hamiltonian.molecule.grid_level == 0):
        return []
    return turning_parts(hamiltonian.molecule)


def _pointed(explorer: Explorer) -> Iterator[Start]:
    """Yield the best solution with its open shells pointing elsewhere, where the grid favours that."""
    hamiltonian = explorer.hamiltonian
    for part in _turning(hamiltonian):
        for _ in range(_TURNS):
            before = explorer.best
            turning = Turning(hamiltonian, before.state, part)
            if turning.is_round():
                break
            turning.prepare()
            ways = turning.best(part.vectors().to(hamiltonian.device))
            explorer.builds += math.ceil(turning.builds)
            for way in ways[:_POINTED]:
                try:
                    yield Start("pointed", turning.orbitals(way), _REACH)
                except ValueError:
                    continue
            if explorer.best is before:
                break


def _spins_mixed(
    orbitals: Tensor, fock: Tensor, near: Sequence[tuple[Tensor, Tensor]], strong: bool
) -> Iterator[Start]:
    """Yield frontier orbitals turned one way for alpha, the other for beta; many pairs first."""
    most = min(min(len(o), len(e)) for o, e in near)
    for count in range(min(most, 3) if strong else min(most, 1), 0, -1):
        for angle, reach in ((math.pi / 8, -WORTHWHILE), (math.pi / 4, 0.1 * _REACH)):
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


def _shared_out(
    explorer: Explorer, limit: int, reach: float = math.inf, turns: int = 1, neutral: bool = False
) -> Iterator[Start]:
    """Yield determinants with electrons and spins shared out among the atoms."""
    shares = Shares(explorer.hamiltonian.molecule, explorer.hamiltonian.restricted).best(limit, neutral)
    yield from _shared(explorer, shares, reach, turns)


def _shared(
    explorer: Explorer,
    shares: Sequence[tuple[tuple[int, ...], tuple[int, ...]]],
    reach: float,
    turns: int = 1,
    kind: str = "shared out",
) -> Iterator[Start]:
    """Yield determinants with certain charges and spins of the atoms."""
    if not shares:
        return
    hamiltonian = explorer.hamiltonian
    explorer.builds += 1
    fock = hamiltonian.evaluate_matrix(starting_density(hamiltonian)).fock.mean(0)
    make = AtomicStart(hamiltonian, fock, explorer.basis)
    for turn in range(turns):
        for rank, (charges, spins) in enumerate(shares):
            if turn and not make.points(charges, spins):
                continue
            with contextlib.suppress(ValueError):
                orbitals = make(charges, spins, turn, crossed=kind == "crossed")
                yield Start(kind, kicked(orbitals, fock, rank), reach)


def _crossed(explorer: Explorer) -> Iterator[Start]:
    """Yield atoms with less spin than Hund's rule gives them, the two spins in other orbitals of a shell."""
    shares = Shares(explorer.hamiltonian.molecule)
    chosen = [share for share in shares.best(_CROSSED) if shares.pairs(*share)]
    yield from _shared(explorer, chosen, _SHARES_REACH, kind="crossed")


def _unrestricted_below(
    hamiltonian: KSHamiltonian, solution: SCFSolution, tol: float, max_iter: int, findings: Findings
) -> float:
    """Energy (Ha) of an unrestricted solution below a restricted one, or of the latter itself."""
    free = KSHamiltonian(hamiltonian.molecule, hamiltonian.xc, False, hamiltonian.device, hamiltonian.grid)
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
    explorer = Explorer(free, twice, max(tol, 1e-5), max_iter, findings)
    near = frontier(twice.energies, state.occupations, _WINDOW)
    apart = fragments(hamiltonian.molecule) > 1
    # Where bonds are only half broken, the spins of whole atoms are not what to start from.
    broken = apart and min(spin_gaps(solution)) < _BROKEN
    if not (broken and explorer.visit(_shared_out(explorer, 1))):
        explorer.visit(_spins_mixed(state.orbitals, solution.evaluation.fock, near, apart))
    solution.iterations += explorer.builds
    return explorer.best.evaluation.energy
