"""The elements that a network knows, and the shapes of their blocks."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from deepchem_dft.errors import InputError
from deepchem_dft.hamiltonian.blocks import BlockMap, Components, Kind, block_map, components
from deepchem_dft.hamiltonian.orbitals import orbital_layout
from deepchem_dft.torchstate import unaffected


@dataclass(frozen=True)
class Elements:
    """The elements a network knows, in one basis.

    Elements with the same shells are of one *kind*. Atoms of one kind, and pairs of atoms of two
    kinds, have blocks of one shape: they are a *group*, known by its number. Atoms come first.

    Attributes
    ----------
    numbers : tuple of int
        Nuclear charges, ascending.
    basis : str

    Raises
    ------
    InputError
        If there are none, or the basis lacks one.

    Examples
    --------
    >>> known = Elements((1, 6, 8), "def2-svp")
    >>> known.kinds, known.lmax
    (((0, 0, 1), (0, 0, 0, 1, 1, 2)), 4)
    >>> known.groups
    ((0, None), (1, None), (0, 0), (0, 1), (1, 0), (1, 1))
    """

    numbers: tuple[int, ...]
    basis: str

    def __post_init__(self) -> None:
        if not self.numbers or list(self.numbers) != sorted(set(self.numbers)):
            raise InputError("elements are nuclear charges, ascending, each once", field="elements")
        object.__setattr__(self, "numbers", tuple(int(z) for z in self.numbers))
        _ = self.kinds

    @staticmethod
    def of(numbers: Iterable[int], basis: str) -> "Elements":
        """Return the elements among nuclear charges in any order."""
        return Elements(tuple(sorted({int(z) for z in numbers})), basis)

    @cached_property
    def _momenta(self) -> list[Kind]:
        return [orbital_layout([z], self.basis).momenta[0] for z in self.numbers]

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        """The different sets of shells."""
        return tuple(dict.fromkeys(self._momenta))

    @cached_property
    @unaffected
    def kind(self) -> Tensor:
        """Kind of each element."""
        return torch.tensor([self.kinds.index(momenta) for momenta in self._momenta])

    @cached_property
    def groups(self) -> tuple[tuple[int, int | None], ...]:
        """Kinds of the groups' atoms: (kind, None), then (kind of the first, of the second)."""
        all_kinds = range(len(self.kinds))
        return (*((a, None) for a in all_kinds), *((a, b) for a in all_kinds for b in all_kinds))

    def is_pair(self, group: int) -> bool:
        """Return whether a group is of pairs."""
        return group >= len(self.kinds)

    def n_types(self, group: int) -> int:
        """Return how many elements, or ordered pairs of elements, there are in all."""
        return len(self.numbers) ** (2 if self.is_pair(group) else 1)

    @property
    def lmax(self) -> int:
        """Largest angular momentum in a block."""
        return 2 * max(max(kind) for kind in self.kinds)

    @property
    def layout(self) -> Components:
        """Layout of components."""
        return components(self.lmax)

    def block_map(self, group: int) -> BlockMap:
        """Return the map of a group's blocks."""
        first, second = self.groups[group]
        second = first if second is None else second
        return block_map(self.kinds[first], self.kinds[second], self.lmax)

    def species(self, numbers: np.ndarray) -> Tensor:
        """Return the place of each atom's element.

        Raises
        ------
        InputError
            If an element is not among them.
        """
        unknown = sorted(set(numbers.tolist()) - set(self.numbers))
        if unknown:
            raise InputError(
                f"nuclear charge {unknown[0]} is not among the elements of the model "
                f"({', '.join(map(str, self.numbers))})",
                field="numbers",
                remedy="make the model with all elements of the data",
            )
        return torch.from_numpy(np.searchsorted(self.numbers, numbers))
