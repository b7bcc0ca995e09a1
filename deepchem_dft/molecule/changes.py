"""Arguments of a molecule: checked, and those of another that differs in some of them."""

import numbers
from typing import TYPE_CHECKING, Any

from deepchem_dft.errors import InputError

if TYPE_CHECKING:
    from deepchem_dft.molecule.molecule import Molecule

_ELECTRONS = {"charge", "spin", "nelec", "occupations"}


def changed(molecule: "Molecule", changes: dict[str, Any]) -> dict[str, Any]:
    """Return the constructor's arguments for a molecule that differs in some things.

    Parameters
    ----------
    molecule : Molecule
    changes : dict
        As for :meth:`Molecule.replace`.

    Raises
    ------
    InputError
        For names that the constructor does not know.
    """
    known: dict[str, Any] = {
        "geometry": (molecule.symbols, molecule.positions),
        "basis": molecule.basis,
        "ecp": molecule.ecp,
        "grid_level": molecule.grid_level,
        "density_fit": molecule.density_fit,
        "name": None if molecule.name == molecule.formula else molecule.name,
        "restricted": None if molecule.broken_symmetry else molecule.restricted,
        "broken_symmetry": molecule.broken_symmetry,
        "surroundings": molecule.surroundings,
    }
    allowed = {*known, *_ELECTRONS, "positions", *(["unit"] if "geometry" in changes else [])}
    if unknown := set(changes) - allowed:
        raise InputError(
            f"a molecule has no {min(unknown)!r} to be replaced",
            field=min(unknown),
            remedy="use the constructor's names, or positions",
        )
    if {"charge", "spin", "geometry", "ecp", "basis"} & set(changes):
        known |= {"charge": molecule.charge, "spin": molecule.spin}
    elif not _ELECTRONS & set(changes):  # to the last bit
        known |= {"nelec": molecule.nelec, "occupations": molecule.occupations}
    if "positions" in changes:
        known["geometry"] = (molecule.symbols, changes["positions"])
    return {**known, **{key: value for key, value in changes.items() if key != "positions"}}


def checked_level(value: Any) -> int:
    """Return a quadrature level, 0 to 9.

    Raises
    ------
    InputError
        For anything else.
    """
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        level = int(value)
        if 0 <= level <= 9:
            return level
    raise InputError(
        f"grid level {value!r} does not exist",
        field="grid_level",
        remedy="choose 0 (coarse) to 9 (fine); 3 is the usual choice",
    )


def tidy(value: float) -> int | float:
    """Return a number as an integer if it is one up to rounding.

    Examples
    --------
    >>> tidy(1.0 + 1e-12), tidy(0.5)
    (1, 0.5)
    """
    rounded = round(value)
    return int(rounded) if abs(value - rounded) < 1e-9 else float(value)
