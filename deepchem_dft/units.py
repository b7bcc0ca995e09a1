"""Unit conversions (CODATA 2018) and parsing of values such as ``232.6 kcal/mol``."""

import re

HARTREE_TO_EV = 27.211386245988
HARTREE_TO_KCAL = 627.5094740631
HARTREE_TO_KJ = 2625.4996394799
BOHR_TO_ANGSTROM = 0.529177210903
ANGSTROM_TO_BOHR = 1.0 / BOHR_TO_ANGSTROM
AU_TO_DEBYE = 2.541746473

#: Size of one energy unit in Hartree, by the spellings accepted in input files.
ENERGY_UNITS = {
    "ha": 1.0,
    "hartree": 1.0,
    "eh": 1.0,
    "mha": 1e-3,
    "ev": 1.0 / HARTREE_TO_EV,
    "kcal/mol": 1.0 / HARTREE_TO_KCAL,
    "kj/mol": 1.0 / HARTREE_TO_KJ,
}

#: Size of one length unit in Bohr.
LENGTH_UNITS = {"bohr": 1.0, "au": 1.0, "angstrom": ANGSTROM_TO_BOHR, "ang": ANGSTROM_TO_BOHR}

_QUANTITY = re.compile(r"^\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([A-Za-z/]*)\s*$")


def parse_energy(value: str | float, default_unit: str = "hartree") -> float:
    """Read an energy with an optional unit.

    Parameters
    ----------
    value : str or float
        A number, or a number followed by one of ``Ha, Hartree, Eh, mHa, eV, kcal/mol, kJ/mol``.
    default_unit : str
        The unit of a bare number.

    Returns
    -------
    float
        The energy in Hartree.

    Raises
    ------
    ValueError
        If the text is not a finite number with a known unit.

    Examples
    --------
    >>> round(parse_energy("232.6 kcal/mol"), 6)
    0.370672
    >>> parse_energy("0.5")
    0.5
    """
    if isinstance(value, bool):
        raise ValueError(f"{value!r} is not a number")
    if isinstance(value, (int, float)):
        number, unit = float(value), ""
    else:
        match = _QUANTITY.match(str(value))
        if match is None:
            raise ValueError(f"{value!r} is not a number with an optional energy unit")
        number, unit = float(match.group(1)), match.group(2)
    scale = ENERGY_UNITS.get((unit or default_unit).lower())
    if scale is None:
        known = ", ".join(ENERGY_UNITS)
        raise ValueError(f"unknown energy unit {unit or default_unit!r} (known: {known})")
    if number != number or number in (float("inf"), float("-inf")):
        raise ValueError(f"{value!r} is not a finite number")
    return number * scale
