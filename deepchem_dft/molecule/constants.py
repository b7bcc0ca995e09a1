"""Constants of a geometry and basis, or of a grid, shared by the molecules that have them."""

import warnings
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepchem_dft.molecule import cache
from deepchem_dft.molecule.memory import BUDGET, check_room, fits_available
from deepchem_dft.molecule.tensors import MatrixFile
from deepchem_dft.torchstate import unaffected

Arrays = dict[str, np.ndarray]

#: Share of the memory budget for what is streamed from disk if it is larger: 3-index integrals.
MATRIX_SHARE = 0.5


class Constants:
    """Tensors that do not depend on the electrons: a cation has those of the neutral molecule.

    Get one with :meth:`of`. It lives as long as a molecule refers to it.

    Parameters
    ----------
    key : str
        Hash of what they depend on.
    group : str, optional
        Constants of one group (integrals and grids of one geometry) are used together: none of
        them is dropped from memory to make room for another.
    """

    def __init__(self, key: str, group: str | None = None) -> None:
        self.key, self.group = key, group or key
        self._large: dict[str, Any] = {}
        self._small: dict[str, Tensor] | None = None

    @staticmethod
    def of(key: str, group: str | None = None) -> "Constants":
        """Return the constants with this key: those of another molecule if it has them."""
        return _SHARED.setdefault(key, Constants(key, group))

    @unaffected
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
            self._small = {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in stored.items()}
        return self._small[name]

    @unaffected
    def large(self, part: str, make: Callable[[], Any], size: int = 0) -> Any:
        """Return what counts towards the memory budget, made if need be.

        Parameters
        ----------
        part : str
            Its name.
        make : callable
            Returns an array or tensor, a list of blocks, anything with ``nbytes``, or None if it
            is not to be kept after all.
        size : int
            Bytes to make room for beforehand, as far as they are known.
        """
        if self._large.get(part) is None:
            BUDGET.use(self, part, size, self.group)
            try:
                self._large[part] = make()
            finally:
                if self._large.get(part) is None:
                    self.release(part)
        return self.held(part)

    def room(self, share: float) -> int:
        """Return how much of a share of the memory budget is not taken by these constants.

        The grids of one geometry have their share together.
        """
        kin = [self]
        if self.key != self.group:
            kin = [c for c in list(_SHARED.values()) if c.group == self.group and c.key != c.group]
        return max(int(share * BUDGET.limit) - sum(BUDGET.held(c) for c in kin), 0)

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

        return self.large(part, load_or_make, size)

    def matrix(
        self, part: str, size: int, name: str, make: Callable[[], np.ndarray], write: cache.Maker
    ) -> np.ndarray | MatrixFile:
        """Return a large matrix from memory or disk, in memory only if it fits into the budget.

        Parameters
        ----------
        part : str
            Its name.
        size : int
            Bytes it takes.
        name : str
            What the molecule is called in messages.
        make : callable
            Computes it in memory.
        write : callable
            Computes it some rows at a time.
        """
        if (found := self.held(part)) is not None:
            return found
        whole = size <= self.room(MATRIX_SHARE) and fits_available(size)

        def load_or_make() -> np.ndarray | MatrixFile:
            stored = cache.load_matrix(self.key, part, whole)
            if stored is not None:
                return stored
            if whole:
                matrix = make()
                cache.store_matrix(self.key, part, size, lambda _: (matrix.shape, [matrix]))
                return matrix
            stored = cache.store_matrix(self.key, part, size, write)
            if stored is not None:
                return stored
            try:
                return cache.temporary_matrix(write)
            except OSError as error:
                warnings.warn(
                    f"the fitted integrals of {name} ({size / 1e9:.3g} GB) fit neither into "
                    f"DEEPCHEM_DFT_MEMORY_GB nor on disk ({cache.reason(error)}); "
                    "they are kept in memory",
                    stacklevel=2,
                )
                check_room(size, name)
                return make()

        return self.large(part, load_or_make, size if whole else 0)

    def held(self, part: str) -> Any:
        """Return a large constant if it is in memory, and note that it is used; else None."""
        value = self._large.get(part)
        if value is not None:
            BUDGET.use(self, part, _bytes(value), self.group)
        return value

    def release(self, part: str | None = None) -> None:
        """Drop large constants from memory (one part or all); they are made again on demand."""
        for name in list(self._large) if part is None else [part]:
            self._large.pop(name, None)
            BUDGET.forget(self, name)

    def release_group(self) -> None:
        """Drop the large constants of the whole group from memory."""
        for constants in list(_SHARED.values()):
            if constants.group == self.group:
                constants.release()


def _bytes(value: Any) -> int:
    """Size of an array, or of a list of blocks with values."""
    if isinstance(value, list):
        return sum(block.values.nbytes for block in value)
    return int(value.nbytes)


_SHARED: weakref.WeakValueDictionary[str, Constants] = weakref.WeakValueDictionary()
