r"""Direct minimisation of the energy by L-BFGS on orbital rotations.

Orbitals are rotated by the exponential of an antisymmetric matrix, so they stay orthonormal and
the energy goes down at every step; it converges where extrapolation oscillates. Orbitals are made
canonical within each block of equal occupation, where the gaps precondition the problem
(geometric direct minimisation: Van Voorhis and Head-Gordon, Mol. Phys. 100, 1713 (2002)).
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from deepchem_dft.scf.hamiltonian import FockBuild, KSHamiltonian

# Steps that are remembered: where many rotations cost next to nothing, fewer do not span them.
_MEMORY = 30
# Smallest gap (Ha) the preconditioner believes in: near-degenerate orbitals couple through the
# density response, which the gap does not see.
_GAP_FLOOR = 0.05
_LARGEST_ROTATION = 0.6
#: Steps before a descent may be given up; and how far down it may lead, in terms of its slope.
FAIR_TRIAL = 3
_OUTLOOK = 5.0
#: Squared electrons by which densities may differ that will become the same.
_SAME = 0.01
# Rounding noise of an energy (Ha), relative to its size; and where a network is not in float64.
_NOISE, _NOISE_SINGLE = 4e-15, 1e-11


def mixing(occupations: Tensor) -> Tensor:
    """Differences ``f_q - f_p``, zero where a rotation changes nothing; (nspin, nmo, nmo)."""
    difference = occupations[:, None, :] - occupations[:, :, None]
    return torch.where(difference.abs() > 1e-10, difference, torch.zeros_like(difference))


def off_block(fock_mo: Tensor, occupations: Tensor, tol: float = 0.0) -> float:
    """Largest Fock element between orbitals of different occupation (Ha): the convergence test.

    It depends on the orbitals chosen within a block: below ``tol``, where it decides, it is that between the
    canonical ones, which solutions are made of.
    """
    mixed = mixing(occupations) != 0
    largest = float((fock_mo.abs() * mixed).max())
    if largest < tol:
        rotation, _ = canonicalise(fock_mo, occupations)
        largest = float(((rotation.mT @ fock_mo @ rotation).abs() * mixed).max())
    return largest


def canonicalise(fock_mo: Tensor, occupations: Tensor) -> tuple[Tensor, Tensor]:
    """Diagonalise the Fock matrix within each block of equal occupation.

    Returns
    -------
    rotation : Tensor, shape (nspin, nmo, nmo)
        Block-diagonal orthogonal matrices.
    energies : Tensor, shape (nspin, nmo)
    """
    rotation = torch.zeros_like(fock_mo)
    energies = torch.zeros_like(occupations)
    for s in range(fock_mo.shape[0]):
        for value in occupations[s].unique():
            index = (occupations[s] - value).abs().le(1e-10).nonzero()[:, 0]
            block = fock_mo[s][index][:, index]
            eps, vectors = torch.linalg.eigh(0.5 * (block + block.mT))
            rotation[s, index[:, None], index[None, :]] = vectors
            energies[s, index] = eps
    return rotation, energies


@dataclass
class Minimum:
    """Where a minimisation ended."""

    orbitals: Tensor
    evaluation: FockBuild
    residual: float
    evaluations: int
    converged: bool
    history: list[float] = field(default_factory=list)


def minimise(
    hamiltonian: KSHamiltonian,
    orbitals: Tensor,
    occupations: Tensor,
    *,
    tol: float,
    max_evaluations: int,
    start: FockBuild | None = None,
    below: float | None = None,
    fair: int = FAIR_TRIAL,
    rough: float = 0.0,
    known: Tensor | None = None,
) -> Minimum:
    """Minimise the energy over rotations between blocks of different occupation.

    Parameters
    ----------
    hamiltonian : KSHamiltonian
    orbitals : Tensor, shape (nspin, nao, nmo)
    occupations : Tensor, shape (nspin, nmo)
        Kept as they are.
    tol : float
        On the largest Fock element between blocks, Ha.
    max_evaluations : int
        Bound on Fock builds.
    start : FockBuild, optional
        At ``orbitals``, if known.
    below : float, optional
        Give up where an energy below this, Ha, is out of reach.
    fair : int
        Steps before that.
    rough : float
        Once it is reached, a residual (Ha) to be content with.
    known : Tensor, shape (nspin, nao, nao), optional
        Density matrices of a solution that need not be found again: give up close to it.

    Returns
    -------
    Minimum
    """
    change = mixing(occupations)
    point = start or hamiltonian.evaluate(orbitals, occupations)
    evaluations = 0 if start else 1
    steps: list[Tensor] = []
    slopes: list[Tensor] = []
    history, failures = [], 0
    previous: tuple[Tensor, Tensor] | None = None

    while True:
        fock_mo = orbitals.mT @ point.fock @ orbitals
        residual = off_block(fock_mo, occupations, tol)
        history.append(residual)
        if start is None or len(history) > 1:  # who gave the start has told of it
            hamiltonian.tell(point.energy, residual)
        done = below is not None and point.energy < below and residual < rough
        done |= known is not None and _close(orbitals, occupations, known, hamiltonian.overlap)
        if residual < tol or done or evaluations >= max_evaluations or failures > 2:
            break
        rotation, energies = canonicalise(fock_mo, occupations)
        orbitals = orbitals @ rotation
        fock_mo = rotation.mT @ fock_mo @ rotation
        steps, slopes = ([rotation.mT @ v @ rotation for v in vs] for vs in (steps, slopes))
        gradient = 2.0 * change * fock_mo
        if previous is not None:
            step, old = (rotation.mT @ v @ rotation for v in previous)
            difference = gradient - old
            curvature = _dot(step, difference)
            if curvature > 1e-10 * (_dot(step, step) * _dot(difference, difference)) ** 0.5:
                steps, slopes = [*steps, step][-_MEMORY:], [*slopes, difference][-_MEMORY:]
        gaps = energies[:, :, None] - energies[:, None, :]
        metric = 2.0 * change.abs() * (gaps.square() + _GAP_FLOOR**2).sqrt()
        direction = -_two_loop(gradient, steps, slopes, metric)
        slope = _dot(gradient, direction)
        if slope >= 0:
            steps, slopes = [], []
            direction = -_precondition(gradient, metric)
            slope = _dot(gradient, direction)
        # The quadratic model expects to gain half the slope; it may be wrong, but not that wrong.
        if below is not None and len(history) > fair and point.energy + _OUTLOOK * slope > below:
            break
        largest = float(direction.abs().max())
        length = min(1.0, _LARGEST_ROTATION / largest) if largest > 0 else 1.0

        found, used = _line_search(
            hamiltonian, orbitals, occupations, point, direction, slope, length, max_evaluations - evaluations
        )
        evaluations += used
        if found is None:
            failures += 1
            steps, slopes, previous = [], [], None
            continue
        failures = 0
        length, trial, point = found
        previous = (length * direction, gradient)
        orbitals = _orthonormal(trial, hamiltonian.overlap)

    return Minimum(orbitals, point, residual, evaluations, residual < tol, history)


def _line_search(hamiltonian, orbitals, occupations, point, direction, slope, length, budget):
    """Weak Wolfe search: back off while the energy rises, reach out while it still falls.

    Reaching out matters where the curvature is tiny or negative (an open shell turning in space):
    the preconditioner's step is far too short there and gives L-BFGS nothing to learn from.

    Returns
    -------
    (length, orbitals, FockBuild) or None, and the number of evaluations
    """
    change = mixing(occupations)
    double = all(p.dtype == torch.float64 for p in hamiltonian.xc.parameters())
    noise = 10 * ((_NOISE if double else _NOISE_SINGLE) * abs(point.energy) + 1e-13)
    furthest = _LARGEST_ROTATION / float(direction.abs().max())
    best, used, ceiling = None, 0, float("inf")
    while used < min(12, budget):
        trial = orbitals @ torch.matrix_exp(length * direction)
        new = hamiltonian.evaluate(trial, occupations)
        used += 1
        if new.energy > point.energy + 1e-4 * length * slope + noise:
            if best is not None:
                break  # one step too far: the last good one stands
            ceiling = length
            # Minimum of the parabola through both energies and the slope.
            rise = new.energy - point.energy - length * slope
            length *= min(0.5, max(0.1, -0.5 * length * slope / rise)) if rise > 0 else 0.5
            continue
        if best is not None and new.energy > best[2].energy:
            break
        best = (length, trial, new)
        end_slope = _dot(2.0 * change * (trial.mT @ new.fock @ trial), direction)
        longer = min(4.0 * length, furthest)
        if end_slope > 0.9 * slope or longer >= ceiling or longer <= 1.01 * length:
            break
        length = longer
    return best, used


def _dot(a: Tensor, b: Tensor) -> float:
    # Antisymmetric matrices hold every rotation twice.
    return 0.5 * float((a * b).sum())


def _close(orbitals: Tensor, occupations: Tensor, known: Tensor, overlap: Tensor) -> bool:
    """Whether a density is nearly a known one, which has a lower energy."""
    change = ((orbitals * occupations[:, None, :]) @ orbitals.mT - known) @ overlap
    return float((change * change.mT).sum()) < _SAME


def _precondition(vector: Tensor, metric: Tensor) -> Tensor:
    return torch.where(metric > 0, vector / metric.clamp_min(1e-12), torch.zeros_like(vector))


def _two_loop(gradient: Tensor, steps: list[Tensor], slopes: list[Tensor], metric: Tensor):
    """Inverse Hessian times gradient (Nocedal, Math. Comp. 35, 773 (1980))."""
    q, alphas = gradient.clone(), []
    for s, y in zip(reversed(steps), reversed(slopes), strict=True):
        rho = 1.0 / _dot(s, y)
        alpha = rho * _dot(s, q)
        alphas.append((alpha, rho))
        q -= alpha * y
    r = _precondition(q, metric)
    for (s, y), (alpha, rho) in zip(zip(steps, slopes, strict=True), reversed(alphas), strict=True):
        r += s * (alpha - rho * _dot(y, r))
    return r


def _orthonormal(orbitals: Tensor, overlap: Tensor) -> Tensor:
    """Remove rounding errors that products of rotations collect (one Newton-Schulz step)."""
    identity = torch.eye(orbitals.shape[2], dtype=orbitals.dtype, device=orbitals.device)
    return orbitals @ (1.5 * identity - 0.5 * (orbitals.mT @ overlap @ orbitals))
