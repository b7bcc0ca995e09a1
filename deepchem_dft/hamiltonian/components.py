"""How the components of features are laid out: sorted by |m|, so that mixing them takes slices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from deepchem_dft.hamiltonian.rotations import wigner
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
