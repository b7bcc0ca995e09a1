"""The solver ladder: DIIS while it makes progress, then minimisation on orbital rotations."""

from dataclasses import dataclass, replace
from enum import StrEnum

import torch
from torch import Tensor

from deepchem_dft.equilibrium import DIIS
from deepchem_dft.errors import InputError
from deepchem_dft.scf.hamiltonian import FockBuild, KSHamiltonian
from deepchem_dft.scf.rotations import Minimum, canonicalise, minimise, off_block
from deepchem_dft.scf.state import FockHistory, SCFState, occupations_of

# Eigenvalues of the overlap below this are linear dependence, not basis functions.
_LINEAR_DEPENDENCE = 1e-8
# An open-shell atom has a minimum for every orientation its shells may take on the quadrature
# grid. Where DIIS does not even come close (Ha), a few shaken starts tell which one is lowest.
_LOST, _RESTARTS, _SHAKE = 1e-3, 4, 0.05
_ROUGH, _WORTHWHILE, _CLOSE = 1e-4, 1e-6, 1e-3
# Where it stays as far (Ha) as this, in molecules, the start says nothing of where to look.
_FAR = 0.1
# A DIIS step lowers the residual by this factor or more as a rule.
_NEARLY = 10.0


class SCFStatus(StrEnum):
    """How a self-consistent field ended; the value says what to try next."""

    CONVERGED = "converged"
    MAX_ITERATIONS = "stopped at the iteration limit: raise max_iter, or start from a better guess"
    STALLED = (
        "no step lowered the energy any further: the functional may be rough on this grid; "
        "try a finer grid_level, a smoother network, or a looser tol"
    )


class UnfitGuess(ValueError):
    """Stored orbitals that belong to another basis."""


@dataclass
class SCFSolution:
    """Orbitals with the energy and Fock matrices belonging to exactly them."""

    state: SCFState
    energies: Tensor  # (nspin, nmo), Ha
    evaluation: FockBuild
    residual: float  # Ha
    iterations: int
    status: SCFStatus
    history: list[float]
    lost: bool = False  # whether extrapolation did not even come close


def solve(
    hamiltonian: KSHamiltonian,
    *,
    guess: SCFState | None = None,
    tol: float = 1e-6,
    max_iter: int = 500,
    diis_iterations: int = 12,
) -> SCFSolution:
    """Find self-consistent orbitals.

    Parameters
    ----------
    hamiltonian : KSHamiltonian
    guess : SCFState, optional
        Orbitals to start from; atomic densities otherwise.
    tol : float
        On the largest occupied-virtual Fock element in the orthonormal orbital basis, Ha.
    max_iter : int
        Bound on Fock builds, all rungs together.
    diis_iterations : int
        DIIS steps before rotations take over. DIIS may go on beyond while it is about to arrive.

    Returns
    -------
    SCFSolution
        Converged or not: see ``status``.
    """
    problem = prepare(hamiltonian, guess)
    run = extrapolate(hamiltonian, problem, tol=tol, max_iter=max_iter, patience=diis_iterations)
    orbitals, evaluation, residual = run.orbitals, run.evaluation, run.residual
    iterations, history, occupations = run.iterations, run.history, problem.occupations

    status, lost = SCFStatus.CONVERGED, min(history) > _FAR
    if not residual < tol:
        _, orbitals, evaluation = run.best
        minimum = minimise(
            hamiltonian,
            orbitals,
            occupations,
            tol=tol,
            max_evaluations=max(max_iter - iterations, 0),
            start=evaluation,
        )
        orbitals, evaluation, residual = minimum.orbitals, minimum.evaluation, minimum.residual
        iterations += minimum.evaluations
        if guess is None and _deserves_restarts(hamiltonian, min(history)):
            minimum, used = _shaken(hamiltonian, minimum, occupations, tol, max_iter - iterations)
            orbitals, evaluation, residual = minimum.orbitals, minimum.evaluation, minimum.residual
            iterations += used
        history = history + minimum.history[1:]
        if not minimum.converged and residual < _CLOSE and iterations < max_iter:
            # Energies may be too rough to go further down by, where Fock matrices are not.
            close = replace(problem, orbitals=orbitals, iterations=iterations)
            run = extrapolate(hamiltonian, close, tol=tol, max_iter=max_iter, patience=diis_iterations)
            iterations, history = run.iterations, history + run.history
            if run.residual < tol and run.evaluation.energy < evaluation.energy + _WORTHWHILE:
                orbitals, evaluation, residual = run.orbitals, run.evaluation, run.residual
        if not residual < tol:
            status = SCFStatus.MAX_ITERATIONS if iterations >= max_iter else SCFStatus.STALLED

    solution = finish(hamiltonian, orbitals, occupations, evaluation, residual, iterations, status, history)
    solution.state.trend, solution.lost = FockHistory.after(guess, evaluation.fock), lost
    return solution


@dataclass
class InitialGuess:
    """Where a solver starts: orbitals, how they are filled, and an orthonormal basis."""

    basis: Tensor  # (nao, nmo)
    occupations: Tensor  # (nspin, nmo)
    orbitals: Tensor  # (nspin, nao, nmo)
    iterations: int  # Fock builds spent on them


def prepare(hamiltonian: KSHamiltonian, guess: SCFState | None) -> InitialGuess:
    """Fit a guess to a molecule, or make orbitals from its atoms' densities.

    Raises
    ------
    InputError
        If the electrons do not fit into the basis.
    UnfitGuess
        If the guess belongs to another basis.
    """
    molecule = hamiltonian.molecule
    basis = orthonormal_basis(hamiltonian.overlap)
    if max(molecule.nelec) > basis.shape[1]:
        raise InputError(
            f"{max(molecule.nelec):g} electrons of one spin do not fit into the "
            f"{basis.shape[1]} linearly independent orbitals of {molecule.name}",
            field="basis",
            remedy="use a basis with fewer overlapping functions, or a larger one",
        )
    occupations = occupations_of(molecule, basis.shape[1], hamiltonian.restricted).to(basis.device)
    if guess is None:
        start = hamiltonian.evaluate_matrix(starting_density(hamiltonian))
        return InitialGuess(basis, occupations, diagonalise(start.fock, basis), 1)
    # Only orbitals are taken over: how many electrons go where is the molecule's business.
    orbitals = _fit_guess(guess, hamiltonian, basis)
    if guess.trend is not None and guess.trend.foresees:
        fock = guess.trend.foresee()[0].to(hamiltonian.device)
        if fock.shape == (hamiltonian.nspin, *hamiltonian.overlap.shape):
            orbitals = diagonalise(fock, basis)
    return InitialGuess(basis, occupations, orbitals, 0)


@dataclass
class Extrapolation:
    """How far DIIS came."""

    orbitals: Tensor
    evaluation: FockBuild
    residual: float
    iterations: int
    history: list[float]
    best: tuple[float, Tensor, FockBuild]  # lowest energy, Ha, and where it was


def extrapolate(
    hamiltonian: KSHamiltonian, problem: InitialGuess, *, tol: float, max_iter: int, patience: int
) -> Extrapolation:
    """Iterate with DIIS until converged, or while it makes progress.

    Parameters
    ----------
    hamiltonian : KSHamiltonian
    problem : InitialGuess
    tol : float
        On the largest occupied-virtual Fock element, Ha.
    max_iter : int
        Bound on Fock builds, those spent on the start included.
    patience : int
        Steps that are always allowed.
    """
    orbitals, occupations, basis = problem.orbitals, problem.occupations, problem.basis
    iterations, history = problem.iterations + 1, []
    evaluation = hamiltonian.evaluate(orbitals, occupations)
    best = (evaluation.energy, orbitals, evaluation)
    diis = DIIS()
    while True:
        residual = off_block(orbitals.mT @ evaluation.fock @ orbitals, occupations, tol)
        history.append(residual)
        hamiltonian.tell(evaluation.energy, residual)
        if residual < tol or iterations >= max_iter or not diis_goes_on(history, patience):
            return Extrapolation(orbitals, evaluation, residual, iterations, history, best)
        error = _commutator(orbitals, occupations, evaluation.fock, hamiltonian.overlap, basis)
        orbitals = diagonalise(diis.update(evaluation.fock, error), basis)
        # Who comes this close has converged with the next step as a rule.
        near = history[-1] < _NEARLY * tol
        evaluation = hamiltonian.evaluate(orbitals, occupations, slopes=near and hamiltonian.differentiate)
        iterations += 1
        if evaluation.energy < best[0]:
            best = (evaluation.energy, orbitals, evaluation)


def finish(
    hamiltonian: KSHamiltonian,
    orbitals: Tensor,
    occupations: Tensor,
    evaluation: FockBuild,
    residual: float,
    iterations: int,
    status: SCFStatus,
    history: list[float],
) -> SCFSolution:
    """Make orbitals canonical, which changes neither density nor energy."""
    rotation, energies = canonicalise(orbitals.mT @ evaluation.fock @ orbitals, occupations)
    state = SCFState(orbitals @ rotation, occupations)
    return SCFSolution(state, energies, evaluation, residual, iterations, status, history)


def descended(
    hamiltonian: KSHamiltonian, solution: SCFSolution, minimum: Minimum, evaluations: int
) -> SCFSolution:
    """Return the converged solution at a lower minimum, which took so many more Fock builds."""
    lower = finish(
        hamiltonian,
        minimum.orbitals,
        solution.state.occupations,
        minimum.evaluation,
        minimum.residual,
        solution.iterations + evaluations,
        SCFStatus.CONVERGED,
        solution.history + minimum.history,
    )
    return replace(lower, lost=solution.lost)


def _deserves_restarts(hamiltonian: KSHamiltonian, closest: float) -> bool:
    atom = len(hamiltonian.molecule.symbols) == 1
    return atom and not hamiltonian.restricted and closest > _LOST


def _shaken(hamiltonian, minimum: Minimum, occupations, tol, budget) -> tuple[Minimum, int]:
    """Minimise again from randomly rotated orbitals; return the lowest and the builds it took."""
    generator = torch.Generator().manual_seed(0)
    shape, device = minimum.orbitals.mT @ minimum.orbitals, minimum.orbitals.device
    lowest, used = minimum, 0
    for _ in range(_RESTARTS):
        if used >= budget:
            break
        kappa = _SHAKE * torch.randn(shape.shape, generator=generator, dtype=shape.dtype)
        turned = minimum.orbitals @ torch.matrix_exp((kappa - kappa.mT).to(device))
        # A rough answer tells which minimum it is; only a lower one is worth finishing.
        other = minimise(
            hamiltonian, turned, occupations, tol=max(tol, _ROUGH), max_evaluations=budget - used
        )
        used += other.evaluations
        if other.evaluation.energy < lowest.evaluation.energy - _WORTHWHILE:
            other = minimise(
                hamiltonian,
                other.orbitals,
                occupations,
                tol=tol,
                max_evaluations=budget - used,
                start=other.evaluation,
            )
            used += other.evaluations
            lowest = other if other.converged or not lowest.converged else lowest
    return lowest, used


def diis_goes_on(history: list[float], limit: int) -> bool:
    step = len(history) - 1
    if step < limit:
        return True
    # Close and still closing in: two or three more steps are cheaper than a change of method.
    return step < 3 * limit and history[-1] < 1e-3 and history[-1] < 0.3 * min(history[:-3])


def orthonormal_basis(overlap: Tensor) -> Tensor:
    """Return linearly independent orthonormal functions, shape (nao, nmo)."""
    values, vectors = torch.linalg.eigh(overlap)
    keep = values > _LINEAR_DEPENDENCE
    return vectors[:, keep] * values[keep].rsqrt()


def square_root(overlap: Tensor) -> Tensor:
    """Return the matrix between functions and symmetrically orthonormalised ones, shape (nao, nao)."""
    values, vectors = torch.linalg.eigh(overlap)
    return (vectors * values.clamp_min(0.0).sqrt()) @ vectors.mT


def diagonalise(fock: Tensor, basis: Tensor) -> Tensor:
    """Orbitals of Fock matrices, shape (nspin, nao, nmo), lowest first."""
    _, vectors = torch.linalg.eigh(basis.mT @ fock @ basis)
    return basis @ vectors


def _commutator(orbitals, occupations, fock, overlap, basis) -> Tensor:
    density = (orbitals * occupations[:, None, :]) @ orbitals.mT
    product = fock @ density @ overlap
    return basis.mT @ (product - product.mT) @ basis


def starting_density(hamiltonian: KSHamiltonian) -> Tensor:
    molecule = hamiltonian.molecule
    atoms = molecule.starting_density.to(hamiltonian.device)
    electrons = float((atoms * hamiltonian.overlap).sum())
    shares = [sum(molecule.nelec)] if hamiltonian.restricted else list(molecule.nelec)
    return torch.stack([atoms * (n / electrons) for n in shares])


def _fit_guess(guess: SCFState, hamiltonian: KSHamiltonian, basis: Tensor) -> Tensor:
    """Bring stored orbitals to this treatment, and orthonormalise them in this overlap."""
    orbitals = guess.orbitals[:1] if hamiltonian.restricted else guess.unrestricted().orbitals
    orbitals = orbitals.to(hamiltonian.device)
    if orbitals.shape[1:] != basis.shape:
        raise UnfitGuess(
            f"the guess has {orbitals.shape[2]} orbitals of {orbitals.shape[1]} functions, this "
            f"basis {basis.shape[1]} of {basis.shape[0]}"
        )
    metric = orbitals.mT @ hamiltonian.overlap @ orbitals
    identity = torch.eye(metric.shape[-1], dtype=metric.dtype, device=metric.device)
    if float((metric - identity).abs().max()) < 1e-10:
        return orbitals
    # Symmetric orthonormalisation: the closest orthonormal orbitals, also after atoms moved.
    values, vectors = torch.linalg.eigh(metric)
    inverse_root = (vectors * values.clamp_min(1e-12).rsqrt()[:, None, :]) @ vectors.mT
    return orbitals @ inverse_root
