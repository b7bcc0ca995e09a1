"""Density fitting: which auxiliary functions, and Coulomb and exchange matrices from them."""

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from pyscf import df, gto, lib
from torch import Tensor

from deepchem_dft.errors import InputError
from deepchem_dft.molecule.basis import BasisSpec, load_functions, per_element, resolve_basis
from deepchem_dft.molecule.cache import content_key
from deepchem_dft.molecule.integrals import fitting_mole
from deepchem_dft.molecule.tensors import MatrixFile

#: Without instructions, molecules with more atomic orbitals than this are fitted. A fixed number:
#: results must not depend on the machine. Exact integrals take 1.1 GB at this size.
FIT_ABOVE = 180
#: What the user may say: None (decide by size), yes or no, or the fitting basis.
FitSpec = bool | BasisSpec | None
# Bytes of the tensor per step: enough rows for BLAS, and little beside the tensor itself.
_BLOCK_BYTES = 32e6
# J-fit sets (JK-fit ones are for exchange as well) and those known by other names.
_COULOMB_ONLY = re.compile("jfit|weigend|ahlrichs|demon")
# Eigenvalues of a density matrix below this, relative to the largest, carry nothing.
_NEGLIGIBLE = 1e-14


@dataclass(frozen=True)
class FittingBasis:
    """Auxiliary functions of a molecule.

    Attributes
    ----------
    name : str
        For messages.
    data : dict
        PySCF basis data per element symbol.
    size : int
        Number of functions in the molecule.
    """

    name: str
    data: dict[str, Any]
    size: int

    @cached_property
    def key(self) -> str:
        """Hash that tells tensors of different fitting bases apart."""
        return content_key({"fitting": self.data})[:16]

    @property
    def coulomb_only(self) -> bool:
        """True for sets made for Coulomb energies, in which exchange can be off by 0.1 Ha."""
        return _COULOMB_ONLY.search(self.name.lower()) is not None


def resolve_fitting(mole: gto.Mole, basis: BasisSpec, density_fit: FitSpec) -> FittingBasis | None:
    """Decide whether and with which functions to fit.

    Parameters
    ----------
    mole : pyscf.gto.Mole
    basis : str or mapping
        Names of the orbital basis, from which PySCF chooses the fitting basis.
    density_fit : None, bool, str or mapping
        None fits molecules with more than :data:`FIT_ABOVE` orbitals. True uses PySCF's choice
        for Hartree-Fock (a JK-fit set, even-tempered functions for elements without one), whatever
        the functional. Or a name, or names per element.

    Returns
    -------
    FittingBasis or None
        None for exact integrals.

    Raises
    ------
    InputError
        For what is no fitting basis, or lacks an element.
    """
    if density_fit is None:
        density_fit = bool(mole.nao_nr() > FIT_ABOVE)
    if isinstance(density_fit, bool):
        return _default(mole, basis) if density_fit else None
    symbols = [mole.atom_pure_symbol(i) for i in range(mole.natm)]
    remedy = "density_fit=True chooses a fitting basis; def2-universal-jkfit is one for all uses"
    try:
        data = resolve_basis(symbols, density_fit)
    except InputError as error:
        raise InputError(f"no fitting basis: {error.problem}", field="density_fit", remedy=remedy) from None
    asked = per_element(symbols, density_fit, "density_fit")
    names = {s: name for s, name in asked.items() if isinstance(name, str)}
    for name in names.values():
        own = df.addons.predefined_auxbasis(mole, name)
        if own is not None:  # what has a fitting basis is none
            raise InputError(
                f"{name!r} is a basis for orbitals, not for fitting densities",
                field="density_fit",
                remedy=f"name its fitting basis, {own}",
            )
    return _made(mole, names, data)


def _default(mole: gto.Mole, basis: BasisSpec) -> FittingBasis:
    symbols = [mole.atom_pure_symbol(i) for i in range(mole.natm)]
    named = mole.copy(deep=False)
    named.basis = per_element(symbols, basis, "basis")  # PySCF looks them up by name
    chosen = df.make_auxbasis(named)
    names = {s: chosen[s] for s in named.basis if isinstance(chosen[s], str)}
    data = {s: copy.deepcopy(load_functions(names[s], s)) if s in names else chosen[s] for s in named.basis}
    return _made(mole, names, data)


def _made(mole: gto.Mole, names: Mapping[str, str], data: dict[str, Any]) -> FittingBasis:
    kinds = dict.fromkeys(names.get(s, "even-tempered functions") for s in data)
    return FittingBasis(", ".join(kinds), data, int(fitting_mole(mole, data).nao_nr()))


def contract(
    tensor: np.ndarray | MatrixFile,
    dms: Tensor,
    coulomb: bool,
    exchange: bool,
    occupied: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """Coulomb and exchange matrices of symmetric density matrices from the 3-index tensor.

    The cost of exchange is proportional to the rank of the matrices, which is the number of
    occupied orbitals for a density and twice that for its first-order change.

    Parameters
    ----------
    tensor : ndarray or MatrixFile, shape (naux, nao (nao + 1) / 2)
        From :func:`~deepchem_dft.molecule.integrals.three_index`; read once, block by block.
    dms : Tensor, shape (n, nao, nao)
    coulomb, exchange : bool
        Which are wanted.
    occupied : sequence of n Tensors, shape (nao, nocc), optional
        ``C`` with ``D = C C^T``. Without them, matrices are factored here.

    Returns
    -------
    list of Tensor, shape (n, nao, nao)
        Those wanted, in this order.
    """
    count, nao = dms.shape[:2]
    row, column = torch.tril_indices(nao, nao)
    pairs = dms[:, row, column] * torch.where(row == column, 1.0, 2.0)
    packed = torch.zeros_like(pairs)
    vk = torch.zeros_like(dms)
    factors: list[list[tuple[float, Tensor]]] = []
    if exchange:
        factors = [_factors(matrix) for matrix in dms] if occupied is None else [[(1.0, c)] for c in occupied]
    for part in _blocks(tensor, max(int(_BLOCK_BYTES / 8 / len(row)), 1)):
        block = torch.from_numpy(part)
        if coulomb:
            packed.addmm_(pairs @ block.mT, block)
        if not exchange:
            continue
        square = torch.from_numpy(lib.unpack_tril(part))
        for s in range(count):
            for sign, c in factors[s]:
                half = (square.view(-1, nao) @ c).view(len(block), nao, -1)
                half = half.transpose(1, 2).reshape(-1, nao)
                vk[s].addmm_(half.mT, half, alpha=sign)
    found = []
    if coulomb:
        vj = torch.empty_like(dms)
        vj[:, row, column] = vj[:, column, row] = packed
        found.append(vj)
    return [*found, vk] if exchange else found


def _factors(matrix: Tensor) -> list[tuple[float, Tensor]]:
    """Write a symmetric matrix as a sum of signed C C^T."""
    values, vectors = torch.linalg.eigh(matrix)
    small = _NEGLIGIBLE * float(values.abs().max())
    parts = [(1.0, values > small), (-1.0, values < -small)]
    return [(sign, vectors[:, keep] * values[keep].abs().sqrt()) for sign, keep in parts if bool(keep.any())]


def _blocks(tensor: np.ndarray | MatrixFile, rows: int) -> Iterator[np.ndarray]:
    if isinstance(tensor, MatrixFile):
        yield from tensor.blocks(rows)
    else:
        for start in range(0, len(tensor), rows):
            yield tensor[start : start + rows]
