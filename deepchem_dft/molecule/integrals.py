"""One- and two-electron integrals, quadrature grid and starting density, all made by PySCF."""

from __future__ import annotations

from typing import Any

import numpy as np
from pyscf import dft, gto, scf

# Quadrature points below this weight come from PySCF's padding and carry nothing.
_PADDING_WEIGHT = 1e-20


def build_mole(
    symbols: list[str], positions: np.ndarray, basis: dict, ecp: dict | None
) -> gto.Mole:
    """Make a PySCF molecule without asking it about electrons.

    The electron count lives in :class:`~deepchem_dft.molecule.Molecule` (it may be fractional),
    so PySCF is told to accept whatever parity the neutral molecule has.

    Parameters
    ----------
    symbols : list of str
    positions : ndarray, shape (natom, 3), Bohr
    basis : dict
        PySCF basis data per element symbol.
    ecp : dict or None
        PySCF effective-core-potential data per element symbol.

    Returns
    -------
    pyscf.gto.Mole
    """
    mole = gto.Mole()
    mole.atom = [(s, tuple(float(c) for c in r)) for s, r in zip(symbols, positions, strict=True)]
    mole.unit = "Bohr"
    mole.basis = basis
    mole.ecp = ecp or {}
    mole.spin = None
    mole.verbose = 0
    mole.build(dump_input=False, parse_arg=False)
    return mole


def one_electron(mole: gto.Mole) -> dict[str, np.ndarray]:
    """Return overlap, core Hamiltonian (Ha) and electronic dipole integrals (e Bohr)."""
    with mole.with_common_orig((0.0, 0.0, 0.0)):
        dipole = mole.intor_symmetric("int1e_r", comp=3)
    return {
        "overlap": mole.intor_symmetric("int1e_ovlp"),
        "core_hamiltonian": scf.hf.get_hcore(mole),
        "dipole": dipole,
    }


def electron_repulsion(mole: gto.Mole, omega: float | None) -> np.ndarray:
    """Return (ij|kl) with eightfold symmetry, packed to one dimension.

    ``omega`` selects the long-range operator erf(omega r)/r.
    """
    if omega is None:
        return mole.intor("int2e", aosym="s8")
    with mole.with_range_coulomb(omega):
        return mole.intor("int2e", aosym="s8")


def quadrature(mole: gto.Mole, level: int) -> tuple[np.ndarray, np.ndarray]:
    """Return PySCF's pruned Becke grid of a level (0-9): points (G, 3) Bohr and weights (G,)."""
    grids = dft.gen_grid.Grids(mole)
    grids.level = level
    grids.build(with_non0tab=False)
    keep = np.abs(grids.weights) > _PADDING_WEIGHT
    return np.ascontiguousarray(grids.coords[keep]), np.ascontiguousarray(grids.weights[keep])


def quadrature_response(mole: gto.Mole, level: int):
    """Yield, atom by atom, points, weights and the derivative of the weights.

    Yields
    ------
    points : ndarray, shape (g, 3)
    weights : ndarray, shape (g,)
    derivative : ndarray, shape (natom, 3, g)
        d weight / d nuclear position, with the points moving along with their atom.
    """
    from pyscf.grad import rks as rks_grad

    grids = dft.gen_grid.Grids(mole)
    grids.level = level
    yield from rks_grad.grids_response_cc(grids)


def starting_density(mole: gto.Mole) -> np.ndarray:
    """Return the spin-summed minimal-basis atomic density matrix, shape (nao, nao)."""
    return np.asarray(scf.hf.init_guess_by_minao(mole))


def atomic_orbitals(mole: gto.Mole, points: np.ndarray, deriv: int) -> np.ndarray:
    """Evaluate atomic orbitals and derivatives.

    Returns
    -------
    ndarray, shape (ncomp, G, nao)
        ncomp = 1, 4 or 10 for ``deriv`` 0, 1, 2, in PySCF's order
        (value, x, y, z, xx, xy, xz, yy, yz, zz).
    """
    values = dft.numint.eval_ao(mole, points, deriv=deriv)
    return values[None] if deriv == 0 else values


def coulomb_exchange(eri: np.ndarray, dms: np.ndarray, coulomb: bool, exchange: bool):
    """Contract packed integrals with symmetric density matrices in PySCF's C code.

    Parameters
    ----------
    eri : ndarray
        From :func:`electron_repulsion`.
    dms : ndarray, shape (n, nao, nao)

    Returns
    -------
    J, K : ndarray, shape (n, nao, nao), or None where not asked for
    """
    return scf._vhf.incore(eri, dms, hermi=1, with_j=coulomb, with_k=exchange)


def derivative_integrals(mole: gto.Mole) -> dict[str, Any]:
    """Return what nuclear gradients need beyond the integrals of the energy.

    Returns
    -------
    dict
        ``overlap`` (3, nao, nao): -<nabla i|j>; ``core_hamiltonian``: function of an atom giving
        (3, nao, nao); ``nuclear`` (natom, 3); ``aoslices`` (natom, 4).
    """
    from pyscf.grad import rhf as rhf_grad

    generator = rhf_grad.hcore_generator(scf.RHF(_even_electrons(mole)).nuc_grad_method(), mole)
    return {
        "overlap": rhf_grad.get_ovlp(mole),
        "core_hamiltonian": generator,
        "nuclear": rhf_grad.grad_nuc(mole),
        "aoslices": mole.aoslice_by_atom(),
    }


def coulomb_exchange_derivative(mole: gto.Mole, dms: np.ndarray, omega: float | None = None):
    """Return -(nabla i j|kl) contracted to J and K, each (n, 3, nao, nao).

    Parameters
    ----------
    dms : ndarray, shape (n, nao, nao)
    omega : float, optional
        Use the long-range operator erf(omega r)/r.
    """
    from pyscf.grad import rhf as rhf_grad

    def contract():
        vj, vk = rhf_grad.get_jk(mole, np.asarray(dms))
        return np.asarray(vj), np.asarray(vk)

    if omega is None:
        return contract()
    with mole.with_range_coulomb(omega):
        return contract()


def _even_electrons(mole: gto.Mole) -> gto.Mole:
    # RHF's constructor checks nothing but the spin; the generator only reads integrals.
    copy = mole.copy()
    copy.charge, copy.spin = (0, 0) if mole.tot_electrons() % 2 == 0 else (1, 0)
    return copy
