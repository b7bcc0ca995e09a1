"""What a dispersion energy depends on: the nuclei of a molecule, and its charge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class Nuclei(NamedTuple):
    """Nuclei at rest; two of the same numbers are equal, so that results can be kept by them.

    Attributes
    ----------
    numbers : tuple of int
        Atomic numbers.
    positions : tuple of (float, float, float)
        Bohr.
    charge : float
        Of the whole molecule, in elementary charges.
    """

    numbers: tuple[int, ...]
    positions: tuple[tuple[float, ...], ...]
    charge: float

    @classmethod
    def of(cls, numbers: Sequence[int], positions: Any, charge: float = 0.0) -> Nuclei:
        """Return nuclei from sequences or arrays; positions of shape (natom, 3) in Bohr.

        Examples
        --------
        >>> Nuclei.of([1, 1], [[0, 0, 0], [0, 0, 1.4]]).positions[1]
        (0.0, 0.0, 1.4)
        """
        rows = np.asarray(positions, dtype=float).reshape(-1, 3)
        return cls(tuple(int(z) for z in numbers), tuple(map(tuple, rows.tolist())), float(charge))

    def moved(self, positions: Any) -> Nuclei:
        """Return the same nuclei at other positions, shape (natom, 3), Bohr."""
        return Nuclei.of(self.numbers, positions, self.charge)
