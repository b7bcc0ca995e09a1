"""A crystal as plain arrays, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepchem_dft.errors import InputError
from deepchem_dft.molecule.geometry import NUCLEAR_CHARGE


@dataclass(frozen=True, eq=False)
class Crystal:
    """Atoms that repeat in three directions.

    Attributes
    ----------
    name : str
        For messages.
    numbers : np.ndarray
        (N,) nuclear charges.
    positions : np.ndarray
        (N, 3) Cartesian, Angstrom.
    cell : np.ndarray
        (3, 3) lattice vectors in rows, Angstrom.
    """

    name: str
    numbers: np.ndarray
    positions: np.ndarray
    cell: np.ndarray

    @classmethod
    def create(cls, name: str, symbols: Sequence[str], fractional: Any, cell: Any) -> Crystal:
        """Make a crystal of fractional coordinates.

        Parameters
        ----------
        name : str
        symbols : sequence of str
            Elements.
        fractional : array_like
            (N, 3), in units of the lattice vectors.
        cell : array_like
            (3, 3) lattice vectors in rows, Angstrom.

        Raises
        ------
        InputError
            For unknown elements, numbers that are not finite, a cell without volume.

        Examples
        --------
        >>> salt = Crystal.create("NaCl", ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]],
        ...                       [[0, 2.82, 2.82], [2.82, 0, 2.82], [2.82, 2.82, 0]])
        >>> salt.numbers.tolist(), salt.positions[1].tolist()
        ([11, 17], [2.82, 2.82, 2.82])
        """
        for number, symbol in enumerate(symbols, start=1):
            if symbol not in NUCLEAR_CHARGE:
                raise InputError(
                    f"{symbol!r} (atom {number}) is no element",
                    entry=name,
                    field="sites",
                    remedy="atoms must be whole and of one element",
                )
        if not len(symbols):
            raise InputError("there are no atoms", entry=name, field="sites")
        lattice = _array(cell, (3, 3), name, "cell")
        if abs(np.linalg.det(lattice)) < 1e-3:
            raise InputError(
                "the cell has no volume",
                entry=name,
                field="cell",
                remedy="give three lattice vectors in Angstrom",
            )
        inside = _array(fractional, (len(symbols), 3), name, "sites")
        numbers = np.array([NUCLEAR_CHARGE[symbol] for symbol in symbols])
        return cls(name, numbers, inside @ lattice, lattice)


def _array(values: Any, shape: tuple[int, ...], name: str, field: str) -> np.ndarray:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.shape != shape:
        raise InputError(f"{shape[0]} x {shape[1]} numbers are needed", entry=name, field=field)
    if not np.isfinite(array).all():
        raise InputError("a coordinate is not a finite number", entry=name, field=field)
    return array
