"""Runs any functional of this package inside PySCF's own SCF, as an independent second opinion."""

from __future__ import annotations

import numpy as np
import torch
from pyscf import dft

from deepchem_dft.molecule import Molecule
from deepchem_dft.xc.base import XCFunctional

_PYSCF_FAMILY = {"lda": "LDA", "gga": "GGA", "mgga": "MGGA"}


def pyscf_solver(molecule: Molecule, xc: XCFunctional | str, restricted: bool, **options):
    """Return an unrun PySCF RKS/UKS object with the same basis, grid and functional."""
    mole = molecule.pyscf_mol.copy()
    mole.charge, mole.spin = int(molecule.charge), int(molecule.spin)
    mole.verbose = 0
    mole.build()
    solver = dft.RKS(mole) if restricted else dft.UKS(mole)
    solver.grids.level = molecule.grid_level
    for name, value in options.items():
        setattr(solver, name, value)
    if isinstance(xc, str):
        solver.xc = xc
        return solver

    def eval_xc(xc_code, rho, spin=0, relativity=0, deriv=1, omega=None, verbose=None):
        rho = np.asarray(rho)
        if spin == 0:
            components = rho.reshape(1, -1, rho.shape[-1])
        else:
            components = np.stack([np.asarray(r).reshape(-1, rho.shape[-1]) for r in rho])
        if components.shape[1] == 6:  # PySCF may pass a Laplacian row before tau
            components = components[:, [0, 1, 2, 3, 5]]
        leaf = torch.tensor(components, dtype=torch.float64, requires_grad=True)
        energy = xc.energy_density(leaf)
        slope = torch.autograd.grad(energy.sum(), leaf)[0].numpy()
        total = components[:, 0].sum(0)
        exc = np.divide(energy.detach().numpy(), total, out=np.zeros_like(total), where=total > 1e-30)
        return exc, (slope[0] if spin == 0 else slope), None, None

    exchange = [(float(c), w) for c, w in xc.exchange_terms]
    if any(w is not None for _, w in exchange):
        raise NotImplementedError("range separation is compared by name, not through this bridge")
    hybrid = sum(c for c, _ in exchange)
    solver._numint.eval_xc_eff = _effective(eval_xc)
    solver._numint._xc_type = lambda code: _PYSCF_FAMILY[xc.family]
    solver._numint.libxc = _Libxc(solver._numint.libxc)
    solver._numint.rsh_and_hybrid_coeff = lambda code, spin=0: (0.0, hybrid, hybrid)
    solver._numint.hybrid_coeff = lambda code, spin=0: hybrid
    solver.xc = "pbe"
    return solver


class _Libxc:
    def __init__(self, original):
        self._original = original

    def __getattr__(self, name):
        return getattr(self._original, name)

    def is_hybrid_xc(self, code):
        return True  # the coefficient decides; zero costs only time

    def is_nlc(self, code):
        return False


def _effective(function):
    def eval_xc_eff(xc_code, rho, deriv=1, omega=None, xctype=None, verbose=None, spin=None):
        rho = np.asarray(rho)
        polarised = rho.ndim == 3 or (xctype == "LDA" and rho.ndim == 2 and rho.shape[0] == 2)
        if xctype == "LDA" and rho.ndim == 3:
            polarised = rho.shape[0] == 2
        return function(xc_code, rho, spin=1 if polarised else 0, deriv=deriv)

    return eval_xc_eff


def four_starts(solver) -> dict[str, np.ndarray]:
    """Return density matrices: minao, atom, hcore, and minao with HOMO and LUMO mixed in alpha."""
    starts = {}
    for name in ("minao", "atom", "hcore"):
        starts[name] = solver.get_init_guess(key=name)
    density = starts["minao"]
    if np.ndim(density) == 3:
        fock = solver.get_fock(dm=density)
        energies, orbitals = solver.eig(fock, solver.get_ovlp())
        occupations = solver.get_occ(energies, orbitals)
        homo = int(occupations[0].sum()) - 1
        if homo + 1 < orbitals.shape[-1] and homo >= 0:
            alpha = orbitals[0].copy()
            h, lumo = alpha[:, homo].copy(), alpha[:, homo + 1].copy()
            alpha[:, homo] = (h + lumo) / np.sqrt(2)
            alpha[:, homo + 1] = (h - lumo) / np.sqrt(2)
            starts["mixed"] = solver.make_rdm1(np.stack([alpha, orbitals[1]]), occupations)
    return starts
