"""The solver ladder: DIIS while it makes progress, then minimisation on orbital rotations."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from deepchem_dft.errors import InputError
from deepchem_dft.scf.diis import DIIS
from deepchem_dft.scf.hamiltonian import Evaluation, KSHamiltonian
from deepchem_dft.scf.rotations import Minimum, canonicalise, minimise, off_block
from deepchem_dft.scf.state import SCFState, occupations_of

# Eigenvalues of the overlap below this are linear dependence, not basis functions.
_LINEAR_DEPENDENCE = 1e-8
# An open-shell atom has a minimum for every orientation its shells may take on the quadrature
# grid. Where DIIS does not even come close (Ha), a few shaken starts tell which one is lowest.
_LOST, _RESTARTS, _SHAKE = 1e-3, 4, 0.05
_ROUGH, _WORTHWHILE = 1e-4, 1e-6


class Status(str, Enum):
    """How a self-consistent field ended; the value says what to try next."""

    CONVERGED = "converged"
    MAX_ITERATIONS = "stopped at the iteration limit: raise max_iter, or start from a better guess"
    STALLED = (
        "no step lowered the energy any further: the functional may be rough on this grid; "
        "try a finer grid_level, a smoother network, or a looser tol"
    )

    def __str__(self) -> str:
        return self.value


class UnfitGuess(ValueError):
    """Stored orbitals that belong to another basis."""


@dataclass
class Solution:
    """Orbitals with the energy and Fock matrices belonging to exactly them."""

    state: SCFState
    energies: Tensor  # (nspin, nmo), Ha
    evaluation: Evaluation
    residual: float  # Ha
    iterations: int
    status: Status
    history: list[float]


def solve(
    hamiltonian: KSHamiltonian,
    *,
    guess: SCFState | None = None,
    tol: float = 1e-6,
    max_iter: int = 500,
    diis_iterations: int = 12,
) -> Solution:
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
    Solution
        Converged or not: see ``status``.
    """
    molecule = hamiltonian.molecule
    basis = _orthonormal_basis(hamiltonian.overlap)
    if max(molecule.nelec) > basis.shape[1]:
        raise InputError(
            f"{max(molecule.nelec):g} electrons of one spin do not fit into the "
            f"{basis.shape[1]} linearly independent orbitals of {molecule.name}", field="basis",
            remedy="use a basis with fewer overlapping functions, or a larger one")
    occupations = occupations_of(molecule, basis.shape[1], hamiltonian.restricted).to(basis.device)

    iterations, history = 1, []
    if guess is None:
        density = _starting_density(hamiltonian)
        evaluation = hamiltonian.evaluate_matrix(density)
        orbitals = _diagonalise(evaluation.fock, basis)
        evaluation = hamiltonian.evaluate(orbitals, occupations)
        iterations = 2
    else:
        # Only orbitals are taken over: how many electrons go where is the molecule's business.
        orbitals = _fit_guess(guess, hamiltonian, basis)
        evaluation = hamiltonian.evaluate(orbitals, occupations)

    best = (evaluation.energy, orbitals, evaluation)
    diis = DIIS()
    residual = off_block(orbitals.mT @ evaluation.fock @ orbitals, occupations)
    history.append(residual)
    step = 0
    while not residual < tol and iterations < max_iter and _diis_goes_on(step, history,
                                                                       diis_iterations):
        step += 1
        error = _commutator(orbitals, occupations, evaluation.fock, hamiltonian.overlap, basis)
        orbitals = _diagonalise(diis.update(evaluation.fock, error), basis)
        evaluation = hamiltonian.evaluate(orbitals, occupations)
        iterations += 1
        residual = off_block(orbitals.mT @ evaluation.fock @ orbitals, occupations)
        history.append(residual)
        if evaluation.energy < best[0]:
            best = (evaluation.energy, orbitals, evaluation)

    status = Status.CONVERGED
    if not residual < tol:
        _, orbitals, evaluation = best
        minimum = minimise(hamiltonian, orbitals, occupations, tol=tol,
                           max_evaluations=max(max_iter - iterations, 0), start=evaluation)
        orbitals, evaluation, residual = minimum.orbitals, minimum.evaluation, minimum.residual
        iterations += minimum.evaluations
        history += minimum.history[1:]
        if guess is None and _deserves_restarts(hamiltonian, min(history[: step + 1])):
            minimum, used = _shaken(hamiltonian, minimum, occupations, tol, max_iter - iterations)
            orbitals, evaluation, residual = minimum.orbitals, minimum.evaluation, minimum.residual
            iterations += used
        if not minimum.converged:
            status = Status.MAX_ITERATIONS if iterations >= max_iter else Status.STALLED

    return finish(hamiltonian, orbitals, occupations, evaluation, residual, iterations, status,
                  history)


def finish(
    hamiltonian: KSHamiltonian, orbitals: Tensor, occupations: Tensor, evaluation: Evaluation,
    residual: float, iterations: int, status: Status, history: list[float],
) -> Solution:
    """Make orbitals canonical, which changes neither density nor energy."""
    rotation, energies = canonicalise(orbitals.mT @ evaluation.fock @ orbitals, occupations)
    state = SCFState(orbitals @ rotation, occupations)
    return Solution(state, energies, evaluation, residual, iterations, status, history)


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
        other = minimise(hamiltonian, turned, occupations, tol=max(tol, _ROUGH),
                         max_evaluations=budget - used)
        used += other.evaluations
        if other.evaluation.energy < lowest.evaluation.energy - _WORTHWHILE:
            other = minimise(hamiltonian, other.orbitals, occupations, tol=tol,
                             max_evaluations=budget - used, start=other.evaluation)
            used += other.evaluations
            lowest = other if other.converged or not lowest.converged else lowest
    return lowest, used


def _diis_goes_on(step: int, history: list[float], limit: int) -> bool:
    if step < limit:
        return True
    # Close and still closing in: two or three more steps are cheaper than a change of method.
    return step < 3 * limit and history[-1] < 1e-3 and history[-1] < 0.3 * min(history[:-3])


def _orthonormal_basis(overlap: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(overlap)
    keep = values > _LINEAR_DEPENDENCE
    return vectors[:, keep] * values[keep].rsqrt()


def _diagonalise(fock: Tensor, basis: Tensor) -> Tensor:
    _, vectors = torch.linalg.eigh(basis.mT @ fock @ basis)
    return basis @ vectors


def _commutator(orbitals, occupations, fock, overlap, basis) -> Tensor:
    density = (orbitals * occupations[:, None, :]) @ orbitals.mT
    product = fock @ density @ overlap
    return basis.mT @ (product - product.mT) @ basis


def _starting_density(hamiltonian: KSHamiltonian) -> Tensor:
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
            f"basis {basis.shape[1]} of {basis.shape[0]}")
    metric = orbitals.mT @ hamiltonian.overlap @ orbitals
    # Symmetric orthonormalisation: the closest orthonormal orbitals, also after atoms moved.
    values, vectors = torch.linalg.eigh(metric)
    inverse_root = (vectors * values.clamp_min(1e-12).rsqrt()[:, None, :]) @ vectors.mT
    return orbitals @ inverse_root
