"""Bonds, angles and torsions as people write them, held while a geometry is relaxed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepchem_dft.errors import InputError
from deepchem_dft.units import BOHR_TO_ANGSTROM

__all__ = ["Coordinate"]

#: Atoms that each kind takes, and its unit.
KINDS = {"distance": (2, "angstrom"), "angle": (3, "degrees"), "dihedral": (4, "degrees"), "atom": (1, "")}
_REMEDY = (
    "write 'distance 1 2 = 1.5' (angstrom), 'angle 1 2 3 = 104' (degrees), 'dihedral 1 2 3 4' or 'atom 1'"
)


@dataclass(frozen=True)
class Coordinate:
    """An internal coordinate, perhaps with the value it is to have.

    Attributes
    ----------
    kind : {"distance", "angle", "dihedral", "atom"}
        ``atom`` is the place of one.
    atoms : tuple of int
        Numbered from 1.
    target : float or None
        Angstrom or degrees; None: the value it has.
    """

    kind: str
    atoms: tuple[int, ...]
    target: float | None = None

    @classmethod
    def read(cls, text: str, natom: int) -> "Coordinate":
        """Read one for a molecule of so many atoms.

        Raises
        ------
        InputError
            If it is none.

        Examples
        --------
        >>> Coordinate.read("distance 1 2 = 1.5", 3)
        Coordinate(kind='distance', atoms=(1, 2), target=1.5)
        >>> Coordinate.read("Angle 2 1 3", 3).target is None
        True
        """
        left, equals, right = text.partition("=")
        kind, *numbers = left.lower().split() or [""]
        try:
            atoms = tuple(int(n) for n in numbers)
            target = float(right) if equals else None
        except ValueError:
            kind, atoms, target = "", (), None
        wrong = kind not in KINDS or len(atoms) != KINDS[kind][0] or (kind == "atom" and target is not None)
        if wrong or (target is not None and not np.isfinite(target)):
            raise InputError(f"{text[:60]!r} is no coordinate", field="constraint", remedy=_REMEDY)
        if len(set(atoms)) < len(atoms) or not all(0 < a <= natom for a in atoms):
            raise InputError(
                f"{text[:60]!r} needs different atoms, numbered from 1 to {natom}",
                field="constraint",
                remedy="count them as in the file",
            )
        if kind == "distance" and target is not None and target <= 0:
            raise InputError(
                f"{text[:60]!r} is no distance", field="constraint", remedy="give a positive one"
            )
        return cls(kind, atoms, target)

    @property
    def unit(self) -> str:
        """Of its value: ``angstrom`` or ``degrees``."""
        return KINDS[self.kind][1]

    def __str__(self) -> str:
        return " ".join([self.kind, *map(str, self.atoms)])

    def value(self, positions: np.ndarray) -> float:
        """Return its value at positions (natom, 3) in Bohr: Angstrom or degrees.

        Examples
        --------
        >>> right = np.array([[1.0, 0, 0], [0, 0, 0], [0, 1, 0]])
        >>> float(Coordinate("angle", (1, 2, 3)).value(right))
        90.0
        """
        at = [positions[a - 1] for a in self.atoms]
        if self.kind == "distance":
            return float(np.linalg.norm(at[0] - at[1]) * BOHR_TO_ANGSTROM)
        if self.kind == "angle":
            return _angle(at[0] - at[1], at[2] - at[1])
        if self.kind != "dihedral":
            raise InputError("a place has no value", field="constraint", remedy=_REMEDY)
        axis = at[2] - at[1]
        first, second = np.cross(at[1] - at[0], axis), np.cross(axis, at[3] - at[2])
        turned = np.dot(np.cross(first, second), axis) / np.linalg.norm(axis)
        return float(np.degrees(np.arctan2(turned, np.dot(first, second))))


def _angle(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b)), np.dot(a, b))))


def as_geometric(constraints: Sequence[Coordinate]) -> str:
    """Return constraints in the format of geomeTRIC's files.

    Examples
    --------
    >>> print(as_geometric([Coordinate("distance", (1, 2), 1.5), Coordinate("atom", (3,))]))
    $set
    distance 1 2 1.5
    $freeze
    xyz 3
    """
    lines = []
    for one in constraints:
        if one.target is None:
            lines += ["$freeze", str(one).replace("atom", "xyz")]
        else:
            lines += ["$set", f"{one} {one.target:g}" if one.target else f"{one} 0.0"]
    return "\n".join(lines)
