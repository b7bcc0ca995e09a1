"""Constants of a geometry and basis, or of a grid, shared by the molecules that have them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepchem_dft.molecule import cache
from deepchem_dft.molecule.memory import BUDGET, check_room

Arrays = dict[str, np.ndarray]


class Constants:
    """Tensors that do not depend on the electrons: a cation has those of the neutral molecule.

    Get one with :meth:`of`. It lives as long as a molecule refers to it.

    Parameters
    ----------
    key : str
        Hash of what they depend on.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        self._large: dict[str, Any] = {}
        self._small: dict[str, Tensor] | None = None

    @staticmethod
    def of(key: str) -> Constants:
        """Return the constants with this key: those of another molecule if it has them."""
        return _SHARED.setdefault(key, Constants(key))

    def small(self, name: str, make: Callable[[], Arrays]) -> Tensor:
        """Return one of the arrays that ``make`` computes, from memory or disk if they are there.

        Parameters
        ----------
        name : str
            Key of the mapping that ``make`` returns.
        make : callable
            Computes all small constants at once.
        """
        if self._small is None:
            stored = cache.load(self.key, "small")
            if stored is None:
                stored = make()
                cache.store(self.key, "small", stored)
            self._small = {k: torch.from_numpy(np.ascontiguousarray(v))
                           for k, v in stored.items()}
        return self._small[name]

    def large(self, part: str, make: Callable[[], Any]) -> Any:
        """Return an array or tensor that counts towards the memory budget, made if need be."""
        value = self._large.get(part)
        if value is None:
            value = self._large[part] = make()
        BUDGET.use(self, part, _bytes(value))
        return value

    def integrals(self, part: str, size: int, name: str, make: Callable[[], np.ndarray]) -> Any:
        """Return packed integrals from memory or disk, or compute them if they fit into memory.

        Parameters
        ----------
        part : str
            Tells full and long-range integrals apart.
        size : int
            Bytes they take.
        name : str
            What the molecule is called in messages.
        make : callable
            Computes them.

        Raises
        ------
        InputError
            If they do not fit into the memory that is available.
        """
        def load_or_make() -> np.ndarray:
            check_room(size, name)
            stored = cache.load(self.key, part)
            if stored is None:
                stored = {"eri": make()}
                cache.store(self.key, part, stored)
            return stored["eri"]

        return self.large(part, load_or_make)

    def held(self, part: str) -> Any:
        """Return a large constant if it is in memory, else None."""
        return self._large.get(part)

    def release(self, part: str | None = None) -> None:
        """Drop large constants from memory (one part or all); they are made again on demand."""
        if part is None:
            self._large.clear()
        else:
            self._large.pop(part, None)


def _bytes(value: Any) -> int:
    """Size of an array, or of a list of blocks with values."""
    if isinstance(value, list):
        return sum(block.values.nbytes for block in value)
    return int(value.nbytes)


_SHARED: weakref.WeakValueDictionary[str, Constants] = weakref.WeakValueDictionary()
