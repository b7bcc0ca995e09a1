"""Components of features sorted by |m|, and blocks of atomic orbitals as such components, and back."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from deepchem_dft.hamiltonian.orbitals import PYSCF_M
from deepchem_dft.hamiltonian.rotations import coupling, wigner
from deepchem_dft.torchstate import unaffected


@dataclass(frozen=True)
class Components:
    """The (lmax + 1)^2 components of a feature: m = 0, then m = 1, m = -1, m = 2, ...; l ascending.

    Attributes
    ----------
    lmax : int

    Examples
    --------
    >>> c = Components(2)
    >>> c.l.tolist(), c.m.tolist()
    ([0, 1, 2, 1, 2, 1, 2, 2, 2], [0, 0, 0, 1, 1, -1, -1, 2, -2])
    >>> c.count(1)  # components with |m| up to 1
    7
    """

    lmax: int

    @cached_property
    def pairs(self) -> list[tuple[int, int]]:
        """(l, m) of every component."""
        found = [(l, 0) for l in range(self.lmax + 1)]
        for m in range(1, self.lmax + 1):
            found += [(l, sign * m) for sign in (1, -1) for l in range(m, self.lmax + 1)]
        return found

    @property
    def size(self) -> int:
        """Number of components."""
        return (self.lmax + 1) ** 2

    @cached_property
    @unaffected
    def l(self) -> Tensor:  # noqa: E743
        """Angular momentum of every component."""
        return torch.tensor([l for l, _ in self.pairs])

    @cached_property
    @unaffected
    def m(self) -> Tensor:
        """Magnetic quantum number of every component."""
        return torch.tensor([m for _, m in self.pairs])

    @cached_property
    @unaffected
    def opposite(self) -> Tensor:
        """Where the component of the same l and opposite m is."""
        return torch.tensor([self.pairs.index((l, -m)) for l, m in self.pairs])

    def count(self, mmax: int) -> int:
        """Return how many components, all at the front, have ``|m|`` up to ``mmax``."""
        return sum(1 for _, m in self.pairs if abs(m) <= mmax)

    def rotation(self, rotation: Tensor) -> Tensor:
        """Return matrices (..., size, size) that turn features as (..., 3, 3) turn vectors."""
        # Where each component is among those sorted by l, then m = -l ... l.
        place = torch.tensor([l * l + l + m for l, m in self.pairs])
        blocks = wigner(rotation, self.lmax)
        whole = rotation.new_zeros(*rotation.shape[:-2], self.size, self.size)
        for l, block in enumerate(blocks):
            part = slice(l * l, (l + 1) ** 2)
            whole[..., part, part] = block
        return whole[..., place, :][..., :, place]


@lru_cache(maxsize=16)
def components(lmax: int) -> Components:
    """Return the layout up to ``lmax``, always the same object."""
    return Components(lmax)


#: Angular momenta of an atom's shells, in PySCF's order.
Kind = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class BlockMap:
    r"""The orthogonal map between orbital-pair blocks of two atoms and irreducible components.

    Two shells couple to every l from :math:`|l_a - l_b|` to :math:`l_a + l_b`. Inversion multiplies
    the components by :math:`(-1)^{l_a + l_b}`. Where that is :math:`(-1)^l` they behave like
    spherical harmonics ("true"), elsewhere like harmonics times a pseudoscalar ("pseudo"). The
    pairs of shells that give the same l of the same sort fill the *slots* of that l.

    Attributes
    ----------
    first, second : tuple of int
        Shells of the two atoms.
    matrix : Tensor, shape (na * nb, size, slots), float64
        Zero where an l has fewer slots than another. Components are laid out as `Components` says.
    n_true : int
        True slots; the pseudo ones follow.
    """

    first: Kind
    second: Kind
    matrix: Tensor
    n_true: int

    @property
    def slots(self) -> int:
        """Number of slots, true and pseudo."""
        return self.matrix.shape[2]

    @property
    def shape(self) -> tuple[int, int]:
        """Orbitals of the two atoms."""
        return n_orbitals(self.first), n_orbitals(self.second)


def n_orbitals(kind: Kind) -> int:
    """Return how many orbitals shells have."""
    return sum(2 * l + 1 for l in kind)


@lru_cache(maxsize=256)
@unaffected
def block_map(first: Kind, second: Kind, lmax: int) -> BlockMap:
    """Return the map for the blocks of two atoms with given shells.

    Parameters
    ----------
    first, second : tuple of int
        Angular momenta, in PySCF's order.
    lmax : int
        At least the largest sum of two of them.

    Examples
    --------
    >>> oxygen_hydrogen = block_map((0, 0, 0, 1, 1, 2), (0, 0, 1), 4)
    >>> oxygen_hydrogen.n_true  # most for l = 1: 2 p with 2 s, 3 s with 1 p, 1 d with 1 p
    8
    >>> rows = oxygen_hydrogen.matrix.flatten(1)
    >>> bool((rows @ rows.mT - torch.eye(14 * 5)).abs().max() < 1e-13)
    True
    """
    layout = components(lmax)
    place = {pair: k for k, pair in enumerate(layout.pairs)}
    shape = n_orbitals(first), n_orbitals(second)
    columns: dict[bool, dict[int, list[Tensor]]] = {True: {}, False: {}}  # whether true, then l
    for a, la in _offsets(first):
        for b, lb in _offsets(second):
            for l in range(abs(la - lb), la + lb + 1):
                slot = torch.zeros(*shape, layout.size, dtype=torch.float64)
                rows = [place[l, m] for m in range(-l, l + 1)]
                slot[a : a + 2 * la + 1, b : b + 2 * lb + 1, rows] = coupling(la, lb, l)[_order(la)][
                    :, _order(lb)
                ]
                columns[(la + lb + l) % 2 == 0].setdefault(l, []).append(slot.flatten(0, 1))
    parts = []
    for group in columns.values():
        most = max((len(slots) for slots in group.values()), default=0)
        parts.append(torch.zeros(shape[0] * shape[1], layout.size, most, dtype=torch.float64))
        for slots in group.values():
            for number, slot in enumerate(slots):
                parts[-1][:, :, number] += slot
    return BlockMap(first, second, torch.cat(parts, 2), parts[0].shape[2])


def _offsets(kind: Kind) -> list[tuple[int, int]]:
    found, start = [], 0
    for l in kind:
        found.append((start, l))
        start += 2 * l + 1
    return found


def _order(l: int) -> list[int]:
    """Components m = -l ... l in PySCF's order of a shell's orbitals."""
    return [l + m for m in PYSCF_M[l]]
