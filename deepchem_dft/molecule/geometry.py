"""Geometries: text or arrays in, element symbols and positions in Bohr out."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deepchem_dft.errors import InputError
from deepchem_dft.units import LENGTH_UNITS

_ELEMENTS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se "
    "Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb "
    "Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm "
    "Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og"
)

#: Element symbols by nuclear charge; index 0 is unused.
SYMBOLS: tuple[str, ...] = ("", *_ELEMENTS.split())

#: Nuclear charge by element symbol.
NUCLEAR_CHARGE: dict[str, int] = {symbol: z for z, symbol in enumerate(SYMBOLS) if z}

#: Two nuclei closer than this are taken for a mistake (Bohr). No bond is shorter than 1.3.
MIN_DISTANCE = 0.1
_MAX_COORDINATE = 1e5  # Bohr; beyond this, differences of positions lose digits that matter
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+)?")
_EXAMPLE = "write each atom as 'O 0.0 0.0 0.22', atoms separated by ';' or line breaks"


def element(symbol: Any) -> str:
    """Read one element symbol or nuclear charge.

    Parameters
    ----------
    symbol : str or int
        ``"He"``, ``"he"``, ``"2"`` or ``2``.

    Returns
    -------
    str
        The symbol in its usual spelling.

    Raises
    ------
    InputError
        For ghost atoms, labelled atoms (``H1``) and anything that is no element.

    Examples
    --------
    >>> element("cl"), element("26")
    ('Cl', 'Fe')
    """
    text = str(symbol).strip()
    if isinstance(symbol, (bool, float)) or not text:
        raise InputError(f"{symbol!r} is not an element", field="geometry", remedy=_EXAMPLE)
    if text.isascii() and text.isdigit():
        z = int(text) if len(text) < 4 else 0
        if 0 < z < len(SYMBOLS):
            return SYMBOLS[z]
        raise InputError(f"there is no element with nuclear charge {text}", field="geometry",
                         remedy="ghost atoms are not supported; use 1 to 118 or a symbol")
    found = text.capitalize()
    if found in NUCLEAR_CHARGE:
        return found
    lowered = text.lower()
    if lowered.startswith(("ghost", "@", "x-", "gh-", "gh(", "bq")) or lowered == "x":
        raise InputError(f"{text!r} is a ghost atom, which is not supported", field="geometry",
                         remedy="remove it")
    letters = re.match(r"[A-Za-z]+", text)
    if letters and letters.group().capitalize() in NUCLEAR_CHARGE:
        remedy = f"write {letters.group().capitalize()!r} without a label"
    else:
        near = difflib.get_close_matches(found, NUCLEAR_CHARGE, n=2, cutoff=0.6)
        remedy = f"did you mean {' or '.join(near)}?" if near else "use symbols such as H, C or Cl"
    raise InputError(f"unknown element {text!r}", field="geometry", remedy=remedy)


def _number(token: Any, atom: int) -> float:
    text = str(token)
    if isinstance(token, bool) or _NUMBER.fullmatch(text) is None:
        raise InputError(f"coordinate {text!r} of atom {atom} is not a number",
                         field="geometry", remedy=_EXAMPLE)
    return float(text.replace("d", "e").replace("D", "e"))


def _parse_text(text: str) -> tuple[list[str], list[list[float]]]:
    lines = [part.strip() for part in re.split(r"[;\n]", text.replace("\r", "\n"))]
    first = next((i for i, line in enumerate(lines) if line), None)
    if first is None:
        raise InputError("the geometry is empty", field="geometry", remedy=_EXAMPLE)
    announced = None
    if "\n" in text and lines[first].isascii() and lines[first].isdigit():
        # An xyz file: the number of atoms, one comment line (perhaps empty), the atoms.
        announced, lines = lines[first], lines[first + 2:]
    symbols: list[str] = []
    rows: list[list[float]] = []
    for line in lines:
        tokens = line.split("#")[0].replace(",", " ").split()
        if not tokens:
            continue
        number = len(symbols) + 1
        if len(tokens) != 4:
            raise InputError(
                f"atom {number} ('{line[:60]}') has {len(tokens)} items, expected 4: "
                "an element and x, y, z", field="geometry", remedy=_EXAMPLE)
        symbols.append(element(tokens[0]))
        rows.append([_number(token, number) for token in tokens[1:]])
    if announced is not None and announced != str(len(symbols)):
        raise InputError(f"the first line announces {announced[:20]} atoms but {len(symbols)} "
                         "follow", field="geometry", remedy="correct the count, or remove the two "
                         "header lines")
    return symbols, rows


def _is_row(item: Any) -> bool:
    """Tell ``["H", 0, 0, 0]`` or ``("H", (0, 0, 0))`` from a list of symbols or of positions."""
    nested = [isinstance(x, (list, tuple, np.ndarray)) for x in item] if isinstance(
        item, (list, tuple)) else []
    return nested in ([False] * 4, [False, True])


def _parse_pair(pair: Any) -> tuple[list[str], Any]:
    """Read ``(symbols, positions)`` or rows such as ``["H", 0, 0, 0]``."""
    items = list(pair)
    rows_only = any(isinstance(x, str) for x in items) or all(map(_is_row, items))
    if len(items) == 2 and not rows_only:
        names = list(items[0])
        return [element(int(s) if isinstance(s, np.integer) else s) for s in names], items[1]
    rows = []
    symbols: list[str] = []
    for i, row in enumerate(items, start=1):
        values = list(row) if isinstance(row, (list, tuple)) else []
        if len(values) == 2 and isinstance(values[1], (list, tuple, np.ndarray)):
            values = [values[0], *values[1]]
        if len(values) != 4:
            raise InputError(f"atom {i} is not an element followed by x, y, z",
                             field="geometry", remedy=_EXAMPLE)
        symbols.append(element(values[0]))
        rows.append([_number(v, i) for v in values[1:]])
    return symbols, rows


def parse_geometry(
    geometry: str | Sequence[Any], unit: str = "bohr"
) -> tuple[list[str], np.ndarray]:
    """Read a geometry and check that it makes sense.

    Parameters
    ----------
    geometry : str or pair or list of rows
        ``"O 0 0 0; H 0 0 1.8"`` (``;`` or line breaks; the text of an xyz file is fine too),
        ``(symbols, positions)``, or rows ``["O", 0, 0, 0]``. Elements may be nuclear charges.
    unit : str
        ``bohr`` or ``angstrom``. It also holds for xyz text, whose header carries no unit.

    Returns
    -------
    symbols : list of str
    positions : np.ndarray
        Shape ``(n_atoms, 3)``, float64, Bohr.

    Raises
    ------
    InputError
        Unreadable text, unknown or ghost elements, coordinates that are not finite, nuclei
        closer than 0.1 Bohr, unknown unit.

    Examples
    --------
    >>> symbols, positions = parse_geometry("H 0 0 0; F 0 0 0.9169", unit="angstrom")
    >>> symbols, round(float(positions[1, 2]), 4)
    (['H', 'F'], 1.7327)
    """
    scale = LENGTH_UNITS.get(unit.strip().lower()) if isinstance(unit, str) else None
    if scale is None:
        raise InputError(f"unknown length unit {unit!r}", field="unit",
                         remedy=f"use one of {', '.join(LENGTH_UNITS)}")
    if isinstance(geometry, str):
        symbols, rows = _parse_text(geometry)
    elif isinstance(geometry, (list, tuple)):
        try:
            symbols, rows = _parse_pair(geometry)
        except TypeError:
            raise InputError(f"cannot read a geometry from {str(geometry)[:60]!r}",
                             field="geometry", remedy=_EXAMPLE) from None
    else:
        raise InputError(f"a geometry must be text or a list, not {type(geometry).__name__}",
                         field="geometry", remedy=_EXAMPLE)
    if not symbols:
        raise InputError("the geometry has no atoms", field="geometry", remedy=_EXAMPLE)
    try:
        positions = np.array(rows, dtype=np.float64) * scale
    except (TypeError, ValueError):
        positions = np.empty(0)
    if positions.shape != (len(symbols), 3):
        raise InputError(f"positions are not {len(symbols)} rows of 3 numbers", field="geometry",
                         remedy="give one x, y, z per element")
    _check_positions(symbols, positions)
    return symbols, positions


def _check_positions(symbols: Sequence[str], positions: np.ndarray) -> None:
    if not np.all(np.abs(positions) < _MAX_COORDINATE):  # also catches nan
        atom = int(np.argmax(~np.all(np.abs(positions) < _MAX_COORDINATE, axis=1))) + 1
        raise InputError(f"a coordinate of atom {atom} is not finite, or beyond "
                         f"{_MAX_COORDINATE:.0e} Bohr", field="geometry", remedy=_EXAMPLE)
    for i in range(1, len(symbols)):
        distances = np.linalg.norm(positions[:i] - positions[i], axis=1)
        j = int(np.argmin(distances))
        if distances[j] < MIN_DISTANCE:
            raise InputError(
                f"atoms {j + 1} ({symbols[j]}) and {i + 1} ({symbols[i]}) coincide "
                f"({distances[j]:.3f} Bohr apart)", field="geometry",
                remedy="remove the duplicate atom or correct its coordinates and their unit")


def format_geometry(symbols: Sequence[str], positions: np.ndarray, unit: str = "bohr") -> str:
    """Write a geometry as one line of text that `parse_geometry` reads back exactly.

    Parameters
    ----------
    symbols : sequence of str
    positions : np.ndarray
        Shape ``(n_atoms, 3)``, Bohr.
    unit : str
        Unit of the text. The round trip is exact to the last bit in Bohr only.

    Returns
    -------
    str

    Examples
    --------
    >>> format_geometry(["H", "H"], np.array([[0, 0, 0], [0, 0, 1.4]]))
    'H 0.0 0.0 0.0; H 0.0 0.0 1.4'
    """
    values = np.asarray(positions, dtype=np.float64) / LENGTH_UNITS[unit.lower()]
    return "; ".join(
        " ".join([symbol, *(repr(float(x) + 0.0) for x in row)])  # + 0.0 turns -0.0 into 0.0
        for symbol, row in zip(symbols, values, strict=True))


def composition(symbols: Sequence[str]) -> Counter[str]:
    """Count the atoms of each element.

    Examples
    --------
    >>> composition(["O", "H", "H"]) == {"H": 2, "O": 1}
    True
    """
    return Counter(symbols)


def formula(symbols: Sequence[str] | Mapping[str, float], charge: float = 0) -> str:
    """Write a sum formula in Hill order (C, H, then alphabetical) with the charge.

    Examples
    --------
    >>> formula(["O", "H", "C", "H"]), formula(["Li"], charge=1), formula(["O", "O"], -2)
    ('CH2O', 'Li+', 'O2 2-')
    """
    counts = dict(symbols) if isinstance(symbols, Mapping) else Counter(symbols)
    first = [s for s in ("C", "H") if s in counts] if "C" in counts else []
    order = first + sorted(s for s in counts if s not in first)
    text = "".join(f"{s}{counts[s]:g}" if counts[s] != 1 else s for s in order)
    if charge:
        size = "" if abs(charge) == 1 else f" {abs(charge):g}"
        text += f"{size}{'+' if charge > 0 else '-'}"
    return text


def nuclear_charge(symbols: Sequence[str]) -> int:
    """Return the sum of the nuclear charges.

    Examples
    --------
    >>> nuclear_charge(["O", "H", "H"])
    10
    """
    return sum(NUCLEAR_CHARGE[s] for s in symbols)
