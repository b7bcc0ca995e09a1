"""Nuclear forces: Hellmann-Feynman, Pulay, and the response and motion of the quadrature grid."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from deepchem_dft.molecule import integrals
from deepchem_dft.scf.hamiltonian import KSHamiltonian
from deepchem_dft.scf.ladder import SCFSolution

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
    return -torch.from_numpy(gradient) - _xc_gradient(hamiltonian, solution, made["aoslices"])


def _xc_gradient(hamiltonian: KSHamiltonian, solution: SCFSolution, aoslices) -> Tensor:
    molecule = hamiltonian.molecule
    density = solution.state.density_matrix().cpu()
    gradient = torch.zeros(len(molecule.symbols), 3, dtype=torch.float64)
    per_atom = integrals.quadrature_response(molecule.pyscf_mol, molecule.grid_level)
    for owner, (points, weights, slopes) in enumerate(per_atom):
        for start in range(0, len(weights), _ROWS):
            rows = slice(start, start + _ROWS)
            ao = molecule.eval_ao(points[rows], deriv=1 if hamiltonian.ncomp == 1 else 2)
            rho, moved = _density_and_motion(ao, density, hamiltonian.ncomp)
            with torch.enable_grad():
                rho = rho.requires_grad_()
                energy = hamiltonian.xc.energy_density(rho.to(hamiltonian.device)).cpu()
                potential = torch.autograd.grad(energy.sum(), rho)[0]
            energy = energy.detach()
            gradient += torch.einsum("axg,g->ax", torch.from_numpy(slopes[:, :, rows]), energy)
            w = torch.from_numpy(weights[rows])
            # Per orbital: the energy change when that orbital's centre moves.
            per_orbital = moved(potential * w)
            by_atom = torch.stack([per_orbital[:, a:b].sum(1) for _, _, a, b in aoslices])  # (natom, 3)
            gradient += by_atom
            # The points ride on their atom, so only relative motion counts.
            gradient[owner] -= by_atom.sum(0)
    return gradient


def _density_and_motion(ao: Tensor, density: Tensor, ncomp: int):
    nspin, grid, nao = density.shape[0], ao.shape[1], ao.shape[2]
    rho = torch.zeros(nspin, ncomp, grid, dtype=torch.float64)
    mixed = []
    for s in range(nspin):
        x = ao[: 4 if ncomp > 1 else 1] @ density[s]
        mixed.append(x)
        rho[s, 0] = (x[0] * ao[0]).sum(1)
        if ncomp > 1:
            rho[s, 1:4] = 2 * torch.einsum("gi,xgi->xg", x[0], ao[1:4])
        if ncomp > 4:
            rho[s, 4] = 0.5 * (x[1:4] * ao[1:4]).sum((0, 2))

    def moved(potential: Tensor) -> Tensor:
        out = torch.zeros(3, nao, dtype=torch.float64)
        for s in range(nspin):
            x, w = mixed[s], potential[s, :, :, None]
            for axis in range(3):
                first = ao[1 + axis]
                total = w[0] * first * x[0]
                for k in range(3 if ncomp > 1 else 0):
                    second = ao[_SECOND[axis][k]]
                    total = total + w[1 + k] * (second * x[0] + first * x[1 + k])
                    if ncomp > 4:
                        total = total + 0.5 * w[4] * second * x[1 + k]
                out[axis] -= 2 * total.sum(0)
        return out

    return rho, moved
