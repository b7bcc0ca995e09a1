"""Which shells the atoms of a molecule have, and the orders in which programs write them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TypeVar

import numpy as np

from deepchem_dft.errors import InputError
from deepchem_dft.hamiltonian.reference import element_momenta

Matrix = TypeVar("Matrix")

#: Shells beyond f are refused: no data has them, and the network has no such irreps.
MAX_MOMENTUM = 3

#: m of the orbitals of one shell, by l. PySCF writes p as x, y, z, which is m = 1, -1, 0.
PYSCF_M: tuple[tuple[int, ...], ...] = ((0,), (1, -1, 0), (-2, -1, 0, 1, 2), (-3, -2, -1, 0, 1, 2, 3))
#: m = -l ... l throughout. This is e3nn's order if e3nn is given vectors as (y, z, x): its
#: polar axis is its second one.
E3NN_M: tuple[tuple[int, ...], ...] = tuple(tuple(range(-l, l + 1)) for l in range(MAX_MOMENTUM + 1))
#: Take these components of a vector, in this order, before e3nn sees it.
E3NN_AXES = (1, 2, 0)
#: ORCA's order, which the MD17 databases have: m = 0, 1, -1, 2, -2, ...
MD17_M: tuple[tuple[int, ...], ...] = ((0,), (0, 1, -1), (0, 1, -1, 2, -2), (0, 1, -1, 2, -2, 3, -3))
#: ORCA gives f functions of m = 3 and -3 the opposite sign. (No MD17 database has f functions.)
_MD17_NEGATIVE = {(3, 3), (3, -3)}


@dataclass(frozen=True)
class Shell:
    """The 2l + 1 orbitals of one contracted function.

    Attributes
    ----------
    atom : int
        Counted from 0.
    momentum : int
        l.
    start : int
        Its first orbital in PySCF's order (and in any other: orders differ within shells only).
    """

    atom: int
    momentum: int
    start: int

    @property
    def count(self) -> int:
        """Number of orbitals."""
        return 2 * self.momentum + 1

    @property
    def slice(self) -> slice:
        """Where its orbitals are."""
        return slice(self.start, self.start + self.count)


@dataclass(frozen=True, eq=False)
class Order:
    """Another order of the orbitals, and their signs in it.

    Attributes
    ----------
    indices : np.ndarray
        (nao,) orbital i there is orbital ``indices[i]`` of PySCF ...
    signs : np.ndarray
        (nao,) ... times ``signs[i]``.
    """

    indices: np.ndarray
    signs: np.ndarray

    def from_pyscf(self, matrix: np.ndarray) -> np.ndarray:
        """Take matrices (..., nao, nao) from PySCF's order to this one."""
        moved = matrix[..., self.indices[:, None], self.indices]
        return moved * (self.signs[:, None] * self.signs)

    def to_pyscf(self, matrix: np.ndarray) -> np.ndarray:
        """Take matrices (..., nao, nao) from this order to PySCF's."""
        back = np.argsort(self.indices)
        signed = matrix * (self.signs[:, None] * self.signs)
        return signed[..., back[:, None], back]


@dataclass(frozen=True, eq=False)
class OrbitalLayout:
    """The atomic orbitals of a molecule; made by `orbital_layout`.

    Attributes
    ----------
    numbers : tuple of int
        Nuclear charges.
    basis : str
    momenta : tuple of tuple of int
        l of the shells of each atom, in order.
    """

    numbers: tuple[int, ...]
    basis: str
    momenta: tuple[tuple[int, ...], ...]

    @cached_property
    def shells(self) -> tuple[Shell, ...]:
        """All shells, in order."""
        found, start = [], 0
        for atom, momenta in enumerate(self.momenta):
            for momentum in momenta:
                found.append(Shell(atom, momentum, start))
                start += 2 * momentum + 1
        return tuple(found)

    @cached_property
    def nao(self) -> int:
        """Number of atomic orbitals."""
        return sum(shell.count for shell in self.shells)

    @cached_property
    def starts(self) -> np.ndarray:
        """(N + 1,) first orbital of each atom, and the end."""
        sizes = [sum(2 * momentum + 1 for momentum in momenta) for momenta in self.momenta]
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    @cached_property
    def atom(self) -> np.ndarray:
        """(nao,) the atom of each orbital."""
        return np.repeat(np.arange(len(self.momenta)), np.diff(self.starts))

    @cached_property
    def momentum(self) -> np.ndarray:
        """(nao,) l of each orbital."""
        return np.repeat([s.momentum for s in self.shells], [s.count for s in self.shells])

    @cached_property
    def e3nn(self) -> Order:
        """Order m = -l ... l within each shell; vectors must be given as `E3NN_AXES` says."""
        return self._order(E3NN_M)

    @cached_property
    def md17(self) -> Order:
        """Order of the MD17 databases: m = 0, 1, -1, 2, -2 within each shell."""
        return self._order(MD17_M, _MD17_NEGATIVE)

    def _order(self, order: Sequence[Sequence[int]], negative: frozenset | set = frozenset()) -> Order:
        indices, signs = [], []
        for shell in self.shells:
            for m in order[shell.momentum]:
                indices.append(shell.start + PYSCF_M[shell.momentum].index(m))
                signs.append(-1.0 if (shell.momentum, m) in negative else 1.0)
        return Order(np.array(indices), np.array(signs))


def orbital_layout(numbers: Sequence[int] | np.ndarray, basis: str) -> OrbitalLayout:
    """Return the atomic orbitals of a molecule.

    Parameters
    ----------
    numbers : sequence of int
        Nuclear charges.
    basis : str
        A name known to PySCF or the Basis Set Exchange.

    Returns
    -------
    OrbitalLayout

    Raises
    ------
    InputError
        For an unknown basis, an element it lacks, or shells beyond f.

    References
    ----------
    The order of the MD17 databases: Schuett et al., Nat. Commun. 10, 5024 (2019), whose reader
    numbers the functions of a shell 0, 1, -1, 2, -2; PhiSNet and QHNet take p as (2, 0, 1) and d as
    (4, 2, 0, 1, 3) of them to get m = -l ... l, all signs positive.

    Examples
    --------
    >>> water = orbital_layout([8, 1, 1], "def2-svp")
    >>> water.nao, water.momenta[0], water.momenta[1], water.starts.tolist()
    (24, (0, 0, 0, 1, 1, 2), (0, 0, 1), [0, 14, 19, 24])
    >>> water.md17.indices[3:6].tolist()  # z, x, y
    [5, 3, 4]
    """
    return _layout(tuple(int(z) for z in numbers), basis)


@lru_cache(maxsize=4096)
def _layout(numbers: tuple[int, ...], basis: str) -> OrbitalLayout:
    momenta = tuple(element_momenta(z, basis) for z in numbers)
    if max(map(max, momenta)) > MAX_MOMENTUM:
        raise InputError(
            f"basis {basis!r} has functions beyond f",
            field="basis",
            remedy="use a smaller basis, such as def2-svp or def2-tzvp",
        )
    return OrbitalLayout(numbers, basis, momenta)
