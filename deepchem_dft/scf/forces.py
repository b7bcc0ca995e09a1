"""Nuclear forces: Hellmann-Feynman, Pulay, and the response and motion of the quadrature grid."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepchem_dft.molecule import integrals
from deepchem_dft.molecule.becke import weight_gradient
from deepchem_dft.molecule.grid import row_blocks
from deepchem_dft.scf.hamiltonian import KSHamiltonian
from deepchem_dft.scf.ladder import SCFSolution
from deepchem_dft.scf.quadrature import XCQuadrature

# Second derivatives xx, xy, xz, yy, yz, zz of PySCF's eval_ao, as a symmetric 3 x 3 table.
_SECOND = ((4, 5, 6), (5, 7, 8), (6, 8, 9))
_ROWS = 2048


def nuclear_forces(hamiltonian: KSHamiltonian, solution: SCFSolution) -> Tensor:
    """Forces on the nuclei at self-consistency.

    Parameters
    ----------
    hamiltonian : KSHamiltonian
    solution : SCFSolution
        Converged; the error of a force is first order in what is left of the residual.

    Returns
    -------
    Tensor, shape (natom, 3), Ha/Bohr
        Minus the exact derivative of the computed energy: basis functions, quadrature weights and
        quadrature points all move with the nuclei.
    """
    mole, fitting = hamiltonian.molecule.pyscf_mol, hamiltonian.molecule.fitting
    basis = None if fitting is None else fitting.data
    state = solution.state
    spin_densities = state.density_matrix().cpu().numpy()
    total = spin_densities.sum(0)
    weighted = state.orbitals * (state.occupations * solution.energies)[:, None, :]
    energy_weighted = (weighted @ state.orbitals.mT).sum(0).cpu().numpy()

    made = integrals.derivative_integrals(mole)
    vj, moved = integrals.coulomb_derivative(mole, total, basis)
    gradient = made["nuclear"] + moved
    exchange = np.zeros_like(spin_densities[:, None].repeat(3, axis=1))
    for coefficient, omega in hamiltonian.exchange_terms():
        if coefficient != 0.0:
            share = 2.0 * hamiltonian.exchange_share
            vk, moved = integrals.exchange_derivative(mole, spin_densities, omega, basis)
            exchange += coefficient * share * vk
            gradient -= coefficient * share * moved

    for atom, (_, _, start, stop) in enumerate(made["aoslices"]):
        rows = slice(start, stop)
        gradient[atom] += np.einsum("xij,ij->x", made["core_hamiltonian"](atom), total)
        gradient[atom] += 2 * np.einsum("xij,ij->x", vj[:, rows], total[rows])
        gradient[atom] -= 2 * np.einsum("sxij,sij->x", exchange[:, :, rows], spin_densities[:, rows])
        gradient[atom] -= 2 * np.einsum("xij,ij->x", made["overlap"][:, rows], energy_weighted[rows])
    gradient += hamiltonian.xc.dispersion_gradient(hamiltonian.nuclei).numpy()
    rho = solution.evaluation.rho
    return -torch.from_numpy(gradient) - xc_gradient(hamiltonian, mole, rho, state.density_matrix().cpu())


def xc_gradient(field: XCQuadrature, mole: Any, rho: Tensor, density: Tensor) -> Tensor:
    """Derivative of all but exact exchange at a fixed density matrix, with basis and grid in motion.

    Parameters
    ----------
    field : XCQuadrature
    mole : pyscf.gto.Mole
    rho : Tensor, shape (nspin, ncomp, G)
        The density on the quadratures of ``field``.
    density : Tensor, shape (nspin, nao, nao), on the CPU
        Its matrices.

    Returns
    -------
    Tensor, shape (natom, 3), Ha/Bohr
    """
    aoslices = mole.aoslice_by_atom()
    gradient = torch.zeros(len(aoslices), 3, dtype=torch.float64)
    potential, by_weight, by_point, by_nucleus = _slopes(field, rho.detach())
    for place, quadrature in enumerate(field.quadratures.parts):
        span = field.quadratures.span(place)
        moved_points, moved_nuclei = weight_gradient(quadrature, by_weight[span])
        here = by_point[span].add_(moved_points).cpu()
        by_nucleus += moved_nuclei
        v, points = potential[:, :, span].cpu(), quadrature.points.cpu().numpy()
        gradient += _orbital_gradient(mole, points, density, v, here, aoslices)
        # The points ride on their atoms.
        gradient.index_add_(0, quadrature.atoms.cpu(), here)
    return gradient + by_nucleus.cpu()


def _slopes(field: XCQuadrature, rho: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Derivatives of the energy by density (weighted), weights, points and nuclei, each held alone."""
    quadratures = field.quadratures
    potential, by_weight = torch.zeros_like(rho), torch.zeros_like(field.weights)
    by_point = by_weight.new_zeros(len(by_weight), 3)
    by_nucleus = torch.zeros_like(quadratures.parts[0].positions)
    with torch.enable_grad():
        for part, rows, quadrature in quadratures.blocks(field.xc):
            seen = quadrature.detached(requires_grad=True)
            leaf = rho[:, :, rows].detach().requires_grad_()
            energy = part.energy(leaf, seen)
            if energy.requires_grad:
                leaves = (leaf, seen.weights, seen.points, seen.positions)
                found = torch.autograd.grad(energy, leaves, allow_unused=True)
                places: list[tuple[Tensor, Any]] = [
                    (potential, (..., rows)),
                    (by_weight, rows),
                    (by_point, rows),
                    (by_nucleus, ...),
                ]
                for (target, place), slope in zip(places, found, strict=True):
                    if slope is not None:
                        target[place] += slope
    return potential, by_weight, by_point, by_nucleus


def _orbital_gradient(
    mole: Any, points: np.ndarray, density: Tensor, potential: Tensor, by_point: Tensor, aoslices
) -> Tensor:
    """Derivative through the density at the points as nuclei carry their orbitals along, (natom, 3).

    What moving a point among orbitals at rest does is added to ``by_point``.
    """
    gradient = torch.zeros(len(aoslices), 3, dtype=torch.float64)
    for rows in row_blocks(len(points), _ROWS):
        values = integrals.atomic_orbitals(mole, points[rows], 1 if potential.shape[1] == 1 else 2)
        ao = torch.from_numpy(np.ascontiguousarray(values))
        motion = _motion(ao, density, potential[:, :, rows])
        gradient -= torch.stack([motion[:, :, a:b].sum((1, 2)) for _, _, a, b in aoslices])
        by_point[rows] += motion.sum(2).mT
    return gradient


def _motion(ao: Tensor, density: Tensor, potential: Tensor) -> Tensor:
    """Change of the energy when a point moves, as far as one orbital of each pair changes, (3, g, nao)."""
    ncomp = potential.shape[1]
    out = torch.zeros(3, *ao.shape[1:], dtype=torch.float64)
    for matrix, v in zip(density, potential, strict=True):
        x, w = ao[: 4 if ncomp > 1 else 1] @ matrix, 2.0 * v[:, :, None]
        for axis, moved in enumerate(out):
            first = ao[1 + axis]
            moved += w[0] * first * x[0]
            for k in range(3 if ncomp > 1 else 0):
                second = ao[_SECOND[axis][k]]
                moved += w[1 + k] * (second * x[0] + first * x[1 + k])
                if ncomp > 4:
                    moved += 0.5 * w[4] * second * x[1 + k]
    return out
