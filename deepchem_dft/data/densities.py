"""Reference densities at CCSD level, made by PySCF on request and cached."""

import contextlib
import io
from typing import Any

import numpy as np

from deepchem_dft.data.system import DFTSystem
from deepchem_dft.errors import InputError, SCFNotConverged
from deepchem_dft.molecule import cache


def ccsd_density_matrix(system: DFTSystem) -> np.ndarray:
    """Return the spin-summed unrelaxed CCSD density matrix of a system.

    Restricted Hartree-Fock and CCSD for singlets, unrestricted for the rest, all electrons
    correlated, internal stability of the Hartree-Fock solution checked. One-electron systems are
    exact at Hartree-Fock level. The result is kept in the cache of constants.

    Parameters
    ----------
    system : DFTSystem
        With whole electron numbers.

    Returns
    -------
    np.ndarray
        Shape ``(nao, nao)``, over PySCF's spherical orbitals.

    Raises
    ------
    InputError
        For fractional electron numbers.
    SCFNotConverged
        If Hartree-Fock, CCSD or its lambda equations do not converge.
    """
    key = cache.content_key({"what": "ccsd density matrix", "version": 1, "system": system.key})
    stored = cache.load(key, "ccsd")
    if stored is None:
        stored = {"density_matrix": _compute(system)}
        cache.store(key, "ccsd", stored)
    return stored["density_matrix"]


def _compute(system: DFTSystem) -> np.ndarray:
    if any(n % 1 for n in system.electrons):
        raise InputError(
            "CCSD needs whole electron numbers", field="true_val", remedy="use integer charge and spin"
        )
    from pyscf import cc

    mean_field = _hartree_fock(system)
    orbitals = mean_field.mo_coeff
    hartree_fock = np.asarray(mean_field.make_rdm1())
    if sum(system.electrons) == 1 or _is_full(system, mean_field.mol):
        # One electron, or no empty orbital: nothing to correlate.
        matrix = hartree_fock.sum(axis=0) if hartree_fock.ndim == 3 else hartree_fock
    else:
        coupled = cc.CCSD(mean_field)
        coupled.verbose, coupled.max_cycle = 0, 200
        coupled.conv_tol, coupled.conv_tol_normt = 1e-9, 1e-7
        coupled.kernel()
        if not coupled.converged:
            raise SCFNotConverged(f"CCSD of {system.name} did not converge in 200 iterations")
        coupled.solve_lambda()
        if not coupled.converged_lambda:
            raise SCFNotConverged(f"the CCSD density of {system.name} did not converge")
        density = coupled.make_rdm1()
        if isinstance(density, tuple):
            matrix = sum(c @ d @ c.T for c, d in zip(orbitals, density, strict=True))
        else:
            matrix = orbitals @ density @ orbitals.T
    electrons = float(np.sum(matrix * mean_field.get_ovlp()))
    if abs(electrons - sum(system.electrons)) > 1e-6:
        raise SCFNotConverged(f"the CCSD density of {system.name} holds {electrons:.6f} electrons")
    return (matrix + matrix.T) / 2


def _hartree_fock(system: DFTSystem) -> Any:
    from pyscf import scf

    mole = system.to_molecule().pyscf_mol.copy()
    mole.verbose = 0
    mole.charge, mole.spin = int(system.charge), round(system.electrons[0] - system.electrons[1])
    mean_field = scf.RHF(mole) if mole.spin == 0 else scf.UHF(mole)
    mean_field.conv_tol, mean_field.max_cycle = 1e-11, 100
    guess = None
    for _ in range(4):
        mean_field.kernel(guess)
        if not mean_field.converged:
            mean_field = mean_field.newton()
            mean_field.kernel(mean_field.mo_coeff, mean_field.mo_occ)
            mean_field = mean_field.undo_newton()
        if not mean_field.converged:
            break
        if _is_full(system, mole):
            return mean_field
        with contextlib.redirect_stdout(io.StringIO()):
            orbitals, _, stable, _ = mean_field.stability(return_status=True)
        if stable:
            return mean_field
        guess = mean_field.make_rdm1(orbitals, mean_field.mo_occ)
    if not mean_field.converged:
        raise SCFNotConverged(f"Hartree-Fock of {system.name} did not converge")
    return mean_field


def _is_full(system: DFTSystem, mole: Any) -> bool:
    """Whether no orbital of either spin is empty (PySCF divides by their number)."""
    return min(system.electrons) == mole.nao_nr()


def reference(system: DFTSystem, kind: str, grid_level: int = 3) -> dict[str, np.ndarray]:
    """Return the arrays of a CCSD target.

    Parameters
    ----------
    system : DFTSystem
    kind : {"dm", "dens"}
    grid_level : int
        Level of the PySCF grid of a dens target.

    Returns
    -------
    dict
        ``density_matrix`` (nao, nao), or ``points`` (G, 3), ``weights`` (G,), ``density`` (G,).
    """
    matrix = ccsd_density_matrix(system)
    if kind == "dm":
        return {"density_matrix": matrix}
    molecule = system.to_molecule(grid_level)
    points, weights = molecule.points.numpy(), molecule.weights.numpy()
    density = np.empty(len(points))
    for start in range(0, len(points), 4096):  # in blocks: orbitals on all points may not fit
        rows = slice(start, start + 4096)
        orbitals = molecule.eval_ao(points[rows])[0].numpy()
        density[rows] = np.einsum("gi,gi->g", orbitals @ matrix, orbitals)
    return {"points": points.copy(), "weights": weights.copy(), "density": density}
