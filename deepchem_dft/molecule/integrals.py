"""One- and two-electron integrals, quadrature grid and starting density, all made by PySCF."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from pyscf import df, dft, gto, lib, scf
from pyscf.data.elements import CONFIGURATION
from pyscf.data.radii import COVALENT

#: PySCF's: electrons in s, p, d and f shells, by electron number; covalent radii, Bohr, by nuclear
#: charge.
SHELLS, COVALENT_RADII = CONFIGURATION, COVALENT
# Quadrature points below this weight, deep in another atom's part of space, carry nothing.
_NO_WEIGHT = 1e-20
# What PySCF may use for buffers beyond its results, MB.
_SCRATCH_MB = 500
# What is written to disk at a time.
_ROW_BYTES = 32e6

#: Radial shells and angular points of the coarse grid, up to an atomic number. Twice the shells of
#: PySCF's level 0, which does not resolve what a network does near the nuclei.
COARSE = ((2, (20, 50)), (10, (30, 86)), (18, (40, 110)), (200, (50, 110)))


def build_mole(symbols: list[str], positions: np.ndarray, basis: dict, ecp: dict | None) -> gto.Mole:
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
    with _range(mole, omega):
        return mole.intor("int2e", aosym="s8")


def _range(mole: gto.Mole, omega: float | None) -> AbstractContextManager:
    return nullcontext() if omega is None else mole.with_range_coulomb(omega)


def fitting_mole(mole: gto.Mole, basis: dict) -> gto.Mole:
    """Return the auxiliary functions of density fitting as a PySCF molecule.

    Parameters
    ----------
    mole : pyscf.gto.Mole
    basis : dict
        PySCF basis data per element symbol.
    """
    return df.addons.make_auxmol(mole, basis)


def three_index(mole: gto.Mole, basis: dict, omega: float | None) -> np.ndarray:
    """Return B with (ij|kl) ~ sum_P B_Pij B_Pkl, shape (naux, nao (nao + 1) / 2).

    Pairs ij are those of a packed lower triangle. The fit is in the Coulomb metric of the same
    operator (long-range erf(omega r)/r with ``omega``), as in PySCF.
    """
    with _range(mole, omega):
        auxiliary, nao = fitting_mole(mole, basis), mole.nao_nr()
        result = 4e-6 * auxiliary.nao_nr() * nao * (nao + 1)  # MB
        return df.incore.cholesky_eri(mole, auxmol=auxiliary, max_memory=result + _SCRATCH_MB, verbose=0)


def three_index_rows(
    mole: gto.Mole, basis: dict, omega: float | None, scratch: Path
) -> tuple[tuple[int, int], Iterator[np.ndarray]]:
    """Return what :func:`three_index` does without ever holding it in memory.

    Parameters
    ----------
    scratch : path
        A file of the same size is written here, and left to the caller to remove.

    Returns
    -------
    shape : (int, int)
    blocks : iterator of ndarray, shape (n, shape[1])
    """
    with _range(mole, omega):
        df.outcore.cholesky_eri_b(
            mole, str(scratch), auxmol=fitting_mole(mole, basis), max_memory=_SCRATCH_MB, verbose=0
        )
    with h5py.File(scratch, "r") as file:
        pieces = file["j3c"]  # all rows for some of the columns each
        total = pieces["0"].shape[0]
        width = sum(pieces[name].shape[1] for name in pieces)
    rows = max(int(_ROW_BYTES / 8 / width), 1)

    def blocks() -> Iterator[np.ndarray]:
        with h5py.File(scratch, "r") as file:
            columns = [file["j3c"][str(i)] for i in range(len(file["j3c"]))]
            for start in range(0, total, rows):
                yield np.concatenate([c[start : start + rows] for c in columns], axis=1)

    return (total, width), blocks()


def quadrature(mole: gto.Mole, level: int | None) -> dict[str, np.ndarray]:
    """Return PySCF's pruned Becke grid of a level (0-9), or with None that of :data:`COARSE`.

    See :func:`quadrature_of` for what it consists of.
    """
    return quadrature_of(mole, grids_of_level(mole, level))


def grids_of_level(mole: gto.Mole, level: int | None) -> dft.gen_grid.Grids:
    """Return PySCF's grid of a level, or with None that of :data:`COARSE`, before it is built."""
    grids = dft.gen_grid.Grids(mole)
    if level is None:
        charges = {mole.atom_symbol(i): gto.charge(mole.atom_pure_symbol(i)) for i in range(mole.natm)}
        grids.atom_grid = {
            symbol: next(points for last, points in COARSE if charge <= last)
            for symbol, charge in charges.items()
        }
    else:
        grids.level = level
    return grids


def quadrature_of(mole: gto.Mole, grids: dft.gen_grid.Grids) -> dict[str, np.ndarray]:
    """Return the points that PySCF's grids would have, whether they are built or not.

    Returns
    -------
    dict
        ``points`` (G, 3), Bohr; ``weights`` (G,), Bohr^3; ``atoms`` (G,), which atom a point
        belongs to; ``atomic_weights`` (G,), before atoms share space among them. By atoms.
    """
    atomic = grids.gen_atomic_grids(mole, grids.atom_grid, grids.radi_method, grids.level, grids.prune)
    points, weights = grids.get_partition(
        mole, atomic, grids.radii_adjust, grids.atomic_radii, grids.becke_scheme, concat=False
    )
    own = [atomic[mole.atom_symbol(i)][1] for i in range(mole.natm)]
    whole = {
        "points": np.concatenate(points),
        "weights": np.concatenate(weights),
        "atoms": np.repeat(np.arange(mole.natm), [len(w) for w in weights]),
        "atomic_weights": np.concatenate(own),
    }
    keep = np.abs(whole["weights"]) > _NO_WEIGHT
    return {name: np.ascontiguousarray(values[keep]) for name, values in whole.items()}


def starting_density(mole: gto.Mole) -> np.ndarray:
    """Return the spin-summed minimal-basis atomic density matrix, shape (nao, nao)."""
    return np.asarray(scf.hf.init_guess_by_minao(mole))


def atomic_orbitals(
    mole: gto.Mole, points: np.ndarray, deriv: int, cutoff: float | None = None
) -> np.ndarray:
    """Evaluate atomic orbitals and derivatives.

    Parameters
    ----------
    mole : pyscf.gto.Mole
    points : ndarray, shape (G, 3), Bohr
    deriv : {0, 1, 2}
    cutoff : float, optional
        Functions that are smaller than about this on a few dozen successive points are set to
        zero there, which saves time.

    Returns
    -------
    ndarray, shape (ncomp, G, nao)
        ncomp = 1, 4 or 10 for ``deriv`` 0, 1, 2, in PySCF's order
        (value, x, y, z, xx, xy, xz, yy, yz, zz).
    """
    values = dft.numint.eval_ao(mole, points, deriv=deriv, cutoff=cutoff)
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


def coulomb_derivative(mole: gto.Mole, dm: np.ndarray, fitting: dict | None):
    """Return what the derivative of the Coulomb energy needs.

    Parameters
    ----------
    dm : ndarray, shape (nao, nao)
    fitting : dict or None
        PySCF data of the fitting basis, if the density is fitted.

    Returns
    -------
    ndarray, shape (3, nao, nao)
        -(nabla i j|kl) contracted with ``dm`` over kl.
    ndarray, shape (natom, 3)
        Derivative of 1/2 tr(D J) for moving fitting functions; zero without them.
    """
    if fitting is None:
        return _gradients(mole).get_j(mole, dm), np.zeros((mole.natm, 3))
    vj = _fitted_gradients(mole, fitting).get_j(dm=dm)
    return np.asarray(vj), np.asarray(vj.aux).sum((0, 1))


def exchange_derivative(mole: gto.Mole, dms: np.ndarray, omega: float | None, fitting: dict | None):
    """Return what the derivative of the exact-exchange energy needs.

    Parameters
    ----------
    dms : ndarray, shape (n, nao, nao)
    omega : float, optional
        Use the long-range operator erf(omega r)/r.
    fitting : dict or None
        PySCF data of the fitting basis, if the density is fitted.

    Returns
    -------
    ndarray, shape (n, 3, nao, nao)
        -(nabla i k|jl) contracted with each matrix over kl.
    ndarray, shape (natom, 3)
        Derivative of 1/2 sum tr(D K) for moving fitting functions; zero without them.
    """
    if fitting is None:
        with _range(mole, omega):
            return np.asarray(_gradients(mole).get_k(mole, dms)), np.zeros((mole.natm, 3))
    gradients = _fitted_gradients(mole, fitting)
    found = [gradients.get_k(dm=dm, omega=omega) for dm in dms]
    return np.stack(found), sum(np.asarray(vk.aux).sum((0, 1)) for vk in found)


def _gradients(mole: gto.Mole):
    return scf.RHF(_even_electrons(mole)).nuc_grad_method()


def _fitted_gradients(mole: gto.Mole, fitting: dict):
    gradients = scf.RHF(_even_electrons(mole)).density_fit(auxbasis=fitting).nuc_grad_method()
    gradients.max_memory = lib.current_memory()[0] + _SCRATCH_MB
    return gradients


def _even_electrons(mole: gto.Mole) -> gto.Mole:
    # RHF's constructor checks nothing but the spin; the generator only reads integrals.
    copy = mole.copy()
    copy.charge, copy.spin = (0, 0) if mole.tot_electrons() % 2 == 0 else (1, 0)
    return copy
