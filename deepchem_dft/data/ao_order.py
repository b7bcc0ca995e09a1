"""Atomic orbitals of DQC in terms of PySCF's, so that density matrices of DQC can be read."""

from itertools import accumulate, product
from typing import TYPE_CHECKING

import numpy as np

from deepchem_dft.errors import InputError
from deepchem_dft.molecule.geometry import NUCLEAR_CHARGE

if TYPE_CHECKING:
    from deepchem_dft.data.system import DFTSystem

_LETTERS = "spdfghi"
#: A contracted function: angular momentum, exponents, coefficients of normalised primitives.
Shell = tuple[int, np.ndarray, np.ndarray]


def dqc_transform(system: "DFTSystem") -> np.ndarray:
    """Express DQC's atomic orbitals in those of PySCF.

    Both programs use libcint's real spherical functions, normalised, atoms in input order, and
    the same order within a shell (p: x, y, z; d and up: m = -l ... l). They differ in the order of
    the shells of an atom: DQC keeps that of the basis file, which is the Basis Set Exchange's
    gaussian94 format with an SP block giving S, then P, whereas PySCF sorts by angular momentum.
    In generally contracted sets (cc-pVnZ) PySCF also drops from a contraction the primitives that
    occur alone, which spans the same space with other functions; then the matrix is not a mere
    permutation.

    Parameters
    ----------
    system : DFTSystem

    Returns
    -------
    np.ndarray
        ``M`` of shape ``(nao, nao)`` with ``phi_dqc = phi_pyscf @ M``, hence
        ``D_pyscf = M @ D_dqc @ M.T``. A permutation matrix for segmented basis sets.

    Raises
    ------
    InputError
        If the basis is not in the Basis Set Exchange, or differs there from PySCF's.

    Examples
    --------
    >>> from deepchem_dft.data.system import DFTSystem
    >>> lithium = DFTSystem({"moldesc": "Li 0 0 0", "basis": "6-31G", "spin": 1})
    >>> dqc_transform(lithium).argmax(axis=1)  # file: S, SP, SP; PySCF: S, S, S, P, P
    array([0, 1, 5, 2, 3, 4, 6, 7, 8])
    """
    mole = system.to_molecule().pyscf_mol
    if mole.has_ecp():
        raise InputError(
            "DQC has no effective core potentials",
            field="ao_order",
            remedy="give the matrix in PySCF's order, with ao_order: pyscf",
        )
    pyscf: list[list[Shell]] = [[] for _ in range(mole.natm)]
    for i in range(mole.nbas):
        for column in mole.bas_ctr_coeff(i).T:
            pyscf[mole.bas_atom(i)].append((mole.bas_angular(i), mole.bas_exp(i), np.asarray(column)))
    matrix = np.zeros((mole.nao_nr(), mole.nao_nr()))
    start = 0
    for atom, symbol in enumerate(system.symbols):
        dqc = _basis_file_shells(symbol, _basis_name(system, symbol))
        block = _atom_block(pyscf[atom], dqc, symbol)
        stop = start + len(block)
        matrix[start:stop, start:stop] = block
        start = stop
    return matrix


def _atom_block(pyscf: list[Shell], dqc: list[Shell], symbol: str) -> np.ndarray:
    rows, columns = _offsets(pyscf), _offsets(dqc)
    momenta = {shell[0] for shell in pyscf}
    same = rows[-1] == columns[-1] and momenta == {shell[0] for shell in dqc}
    block = np.zeros((rows[-1], rows[-1]))
    for momentum in momenta if same else ():
        ours = [i for i, shell in enumerate(pyscf) if shell[0] == momentum]
        theirs = [i for i, shell in enumerate(dqc) if shell[0] == momentum]
        metric = np.array([[_overlap(pyscf[i], pyscf[j]) for j in ours] for i in ours])
        cross = np.array([[_overlap(pyscf[i], dqc[j]) for j in theirs] for i in ours])
        radial = np.linalg.solve(metric, cross)
        # What of DQC's functions lies outside PySCF's: nothing but rounded digits of the tables.
        outside = 1.0 - np.einsum("ij,ij->j", cross, radial)
        if len(ours) != len(theirs) or outside.max() > 1e-5:
            same = False
            break
        if np.abs(radial - radial.round()).max() < 1e-4:
            radial = radial.round()
        for (a, i), (b, j) in product(enumerate(ours), enumerate(theirs)):
            for m in range(2 * momentum + 1):
                block[rows[i] + m, columns[j] + m] = radial[a, b]
    if not same:
        raise InputError(
            f"the functions of {symbol} in DQC's basis file differ from PySCF's",
            field="ao_order",
            remedy="give the matrix in PySCF's order, with ao_order: pyscf",
        )
    return block


def _offsets(shells: list[Shell]) -> list[int]:
    return [0, *accumulate(2 * shell[0] + 1 for shell in shells)]


def _basis_name(system: "DFTSystem", symbol: str) -> str:
    if isinstance(system.basis, str):
        return system.basis
    named = {key.capitalize(): value for key, value in system.basis.items()}
    return named.get(symbol) or named["Default"]


def _basis_file_shells(symbol: str, name: str) -> list[Shell]:
    """Return the shells of one element as they follow each other in DQC's basis file."""
    try:
        import basis_set_exchange

        text = basis_set_exchange.get_basis(
            name, elements=[NUCLEAR_CHARGE[symbol]], fmt="gaussian94", header=False
        )
    except (ImportError, KeyError, RuntimeError):
        raise InputError(
            f"the order of basis {name!r} in DQC is not known (not in the Basis Set Exchange)",
            field="ao_order",
            remedy="give the matrix in PySCF's order, with ao_order: pyscf",
        ) from None
    lines = [line.split() for line in text.splitlines() if line.strip() and line[0] != "!"]
    shells: list[Shell] = []
    at = 1  # the first line names the element
    while at < len(lines) and not lines[at][0].startswith("*"):
        letters, count = lines[at][0].lower(), int(lines[at][1])
        block = np.array(
            [[float(x.replace("D", "E")) for x in row] for row in lines[at + 1 : at + 1 + count]]
        )
        columns = block.shape[1] - 1
        for k in range(columns):
            momentum = _LETTERS.index(letters[k % len(letters)])
            shells.append((momentum, block[:, 0], block[:, 1 + k]))
        at += 1 + count
    return shells


def _overlap(a: Shell, b: Shell) -> float:
    """Overlap of two normalised radial functions of equal angular momentum."""

    def inner(x: Shell, y: Shell) -> float:
        ratio = np.sqrt(np.outer(x[1], y[1])) * 2 / np.add.outer(x[1], y[1])
        return float(x[2] @ ratio ** (x[0] + 1.5) @ y[2])

    return inner(a, b) / np.sqrt(inner(a, a) * inner(b, b))
