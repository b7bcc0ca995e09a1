r"""Coupled-perturbed Kohn-Sham: how orbitals answer when the functional changes.

Self-consistency means that every Fock element between orbitals of different occupation vanishes,
``F_ai(theta, kappa) = 0``. The implicit function theorem turns a gradient with respect to the
density matrix into one with respect to ``theta`` at the price of one linear solve with the orbital
Hessian, whatever the number of parameters.
"""

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from deepchem_dft import davidson
from deepchem_dft.errors import ResponseNotConverged
from deepchem_dft.scf.hamiltonian import KSHamiltonian
from deepchem_dft.scf.ladder import SCFSolution
from deepchem_dft.scf.quadrature import XCKernel
from deepchem_dft.scf.rotations import mixing
from deepchem_dft.torchstate import stacklevel

#: Modes softer than this (Ha) do not respond but drift: rotations of an open shell in space.
SOFT_MODE = 1e-4


@dataclass
class SoftModes:
    """Near-zero eigenvectors of the orbital Hessian, orthonormal."""

    vectors: Tensor  # (k, n)
    eigenvalues: Tensor  # (k,), Ha

    def project(self, vector: Tensor) -> Tensor:
        """Remove the soft modes from a vector."""
        return vector - self.vectors.T @ (self.vectors @ vector)


class OrbitalHessian:
    """Second derivatives of the energy with respect to orbital rotations, as products.

    Vectors hold one number ``kappa_ai`` per pair of orbitals with different occupation, scaled so
    that the operator is symmetric.

    Parameters
    ----------
    hamiltonian : KSHamiltonian
    solution : SCFSolution
        Converged, with canonical orbitals.
    """

    def __init__(self, hamiltonian: KSHamiltonian, solution: SCFSolution) -> None:
        self.hamiltonian = hamiltonian
        self.orbitals = solution.state.orbitals
        self.kernel = XCKernel(hamiltonian, solution.evaluation.rho)
        change = mixing(solution.state.occupations)
        # Pairs p, q with f_q > f_p: each rotation once.
        self._pairs = (change > 0).nonzero(as_tuple=True)
        self.change = change[self._pairs]
        s, p, q = self._pairs
        self.gaps = solution.energies[s, p] - solution.energies[s, q]
        self.size = len(s)
        self._shape = change.shape

    @property
    def diagonal(self) -> Tensor:
        """The part of the diagonal that orbital gaps give, Ha."""
        return self.change * self.gaps

    def density_change(self, vector: Tensor) -> Tensor:
        """Change of the density matrices under a rotation, shape (nspin, nao, nao)."""
        inner = torch.zeros(self._shape, dtype=vector.dtype, device=vector.device)
        inner[self._pairs] = vector * self.change
        outer = self.orbitals @ inner @ self.orbitals.mT
        return outer + outer.mT

    def rotation(self, vector: Tensor) -> Tensor:
        """Antisymmetric matrices whose exponential rotates by a vector, (nspin, nmo, nmo)."""
        kappa = torch.zeros(self._shape, dtype=vector.dtype, device=vector.device)
        kappa[self._pairs] = vector
        return kappa - kappa.mT

    def pairs_of(self, matrices: Tensor) -> Tensor:
        """Elements of AO matrices between the orbitals of each pair, shape (n,)."""
        return (self.orbitals.mT @ matrices @ self.orbitals)[self._pairs]

    def __call__(self, vector: Tensor) -> Tensor:
        """Product with a vector, shape (n,), Ha."""
        response = self.hamiltonian.fock_response(self.density_change(vector), self.kernel)
        return self.change * (self.gaps * vector + self.pairs_of(response))


def solve_response(
    hessian: OrbitalHessian, right: Tensor, soft: SoftModes | None, tol: float = 1e-9, max_iter: int = 200
) -> Tensor:
    """Solve ``H x = right`` by preconditioned conjugate gradients, soft modes projected out.

    Parameters
    ----------
    hessian : OrbitalHessian
    right : Tensor, shape (n,)
    soft : SoftModes or None
    tol : float
        On the residual, relative to ``right``.

    Returns
    -------
    Tensor, shape (n,)

    Raises
    ------
    ResponseNotConverged
        The gradient would be wrong.
    """
    project = soft.project if soft is not None and len(soft.vectors) else (lambda v: v)
    metric = hessian.diagonal.clamp_min(0.02)
    x = torch.zeros_like(right)
    residual = project(right)
    scale = float(residual.norm())
    if scale == 0.0:
        return x
    z = project(residual / metric)
    p, rz = z, float(residual @ z)
    for _ in range(max_iter):
        hp = project(hessian(p))
        curvature = float(p @ hp)
        if curvature == 0.0:
            break
        alpha = rz / curvature
        x = x + alpha * p
        residual = residual - alpha * hp
        if float(residual.norm()) < tol * scale:
            return x
        z = project(residual / metric)
        rz, old = float(residual @ z), rz
        p = z + (rz / old) * p
    raise ResponseNotConverged(
        f"the coupled-perturbed equations did not converge (relative residual "
        f"{float(residual.norm()) / scale:.1e}); the solution may be unstable: "
        "run with stability=True"
    )


def lowest_modes(
    hessian: OrbitalHessian, count: int = 4, tol: float = 1e-7, max_products: int = 120
) -> tuple[Tensor, Tensor]:
    """Lowest eigenpairs of the orbital Hessian, as good as so many products make them.

    Returns
    -------
    eigenvalues : Tensor, shape (k,), Ha
    vectors : Tensor, shape (k, n), orthonormal
    """
    size = hessian.size
    if size == 0:
        return torch.zeros(0, dtype=torch.float64), torch.zeros(0, 0, dtype=torch.float64)
    count = min(count, size)
    diagonal = hessian.diagonal
    generator = torch.Generator().manual_seed(0)
    start = torch.zeros(min(2 * count, size), size, dtype=torch.float64)
    start[torch.arange(len(start)), diagonal.argsort()[: len(start)].cpu()] = 1.0
    # Unit vectors can share a symmetry that the softest mode lacks.
    start += 0.01 * torch.randn(size, len(start), generator=generator, dtype=torch.float64).T
    values, vectors, _ = davidson.lowest(
        hessian, diagonal, start.to(diagonal.device), count, tol=tol, max_products=max_products
    )
    return values, vectors


def soft_modes(hessian: OrbitalHessian) -> SoftModes:
    """Find modes below :data:`SOFT_MODE` in absolute value; warn if there are unstable ones."""
    count = 4
    values, vectors = lowest_modes(hessian, count)
    # Several open shells bring several soft modes each: look on until a stiff one appears.
    while len(values) == count and bool((values < SOFT_MODE).all()) and count < 32:
        count *= 2
        values, vectors = lowest_modes(hessian, count, max_products=40 * count)
    if bool((values < -SOFT_MODE).any()):
        warnings.warn(
            f"the solution is a saddle point (lowest orbital-Hessian eigenvalue "
            f"{float(values.min()):.2e} Ha): gradients of its density may be meaningless; "
            "run with stability=True",
            stacklevel=stacklevel(3),
        )
    keep = values.abs() < SOFT_MODE
    return SoftModes(vectors[keep], values[keep])
