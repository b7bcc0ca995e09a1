"""Geometries: text or arrays in, element symbols and positions in Bohr out."""

import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from deepchem_dft.checks import choice
from deepchem_dft.errors import InputError
from deepchem_dft.molecule.elements import EXAMPLE, NUCLEAR_CHARGE, SYMBOLS, element, number
from deepchem_dft.molecule.reading import ENDINGS, is_file_name, read_one, xyz
from deepchem_dft.units import LENGTH_UNITS

__all__ = [
    "MIN_DISTANCE",
    "NUCLEAR_CHARGE",
    "SYMBOLS",
    "as_said",
    "composition",
    "element",
    "format_geometry",
    "formula",
    "names_a_file",
    "nuclear_charge",
    "parse_geometry",
    "read_geometry",
]

#: Two nuclei closer than this are taken for a mistake (Bohr). No bond is shorter than 1.3.
MIN_DISTANCE = 0.1
_FEW = 100
_MAX_COORDINATE = 1e5  # Bohr; beyond this, differences of positions lose digits that matter


def _parse_text(text: str) -> tuple[list[str], list[list[float]]]:
    if names_a_file(text):
        raise InputError(
            f"{text.strip()[:60]!r} is no geometry, but the name of a file",
            field="geometry",
            remedy=f"files are read that end in {', '.join(ENDINGS)}; or " + EXAMPLE,
        )
    symbols: list[str] = []
    rows: list[list[float]] = []
    for line in re.split(r"[;\n]", text):
        tokens = line.split("#")[0].replace(",", " ").split()
        if not tokens:
            continue
        atom = len(symbols) + 1
        if len(tokens) != 4:
            raise InputError(
                f"atom {atom} ('{line.strip()[:60]}') has {len(tokens)} items, expected 4: "
                "an element and x, y, z",
                field="geometry",
                remedy=EXAMPLE,
            )
        symbols.append(element(tokens[0]))
        rows.append([number(token, atom) for token in tokens[1:]])
    if not symbols:
        raise InputError("the geometry is empty", field="geometry", remedy=EXAMPLE)
    return symbols, rows


def names_a_file(text: Any) -> bool:
    """Tell whether what stands for a geometry looks like the name of a file.

    Examples
    --------
    >>> [names_a_file(text) for text in ("../w.xyz", "w.mol", "my file.xyz", "He 0 0 0", "He")]
    [True, True, True, False, False]
    """
    if isinstance(text, Path):
        return True
    return isinstance(text, str) and (
        is_file_name(text) or re.fullmatch(r"[^\s;]*(/[^\s;]*|\.[A-Za-z]\w{0,5})", text.strip()) is not None
    )


def _read_text(text: str) -> xyz.XYZGeometry | None:
    """Return what the text of an xyz file says, None for atoms alone."""
    lines = text.lstrip("\ufeff").strip().splitlines()
    if len(lines) < 2 or not re.fullmatch(r"\s*[-+]?\d+\s*", lines[0]):
        return None
    try:
        return xyz.only(xyz.frames(lines))
    except InputError as error:
        raise InputError(error.problem, field="geometry", remedy=error.remedy) from None


def _is_row(item: Any) -> bool:
    """Tell ``["H", 0, 0, 0]`` or ``("H", (0, 0, 0))`` from a list of symbols or of positions."""
    nested = (
        [isinstance(x, (list, tuple, np.ndarray)) for x in item] if isinstance(item, (list, tuple)) else []
    )
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
            raise InputError(
                f"atom {i} is not an element followed by x, y, z", field="geometry", remedy=EXAMPLE
            )
        symbols.append(element(values[0]))
        rows.append([number(v, i) for v in values[1:]])
    return symbols, rows


def read_geometry(geometry: Any, unit: str | None = None) -> xyz.XYZGeometry:
    """Read a geometry with the charge and spin that come with it, and check that it makes sense.

    Parameters
    ----------
    geometry : str, path, pair or list of rows
        ``"O 0 0 0; H 0 0 1.8"`` (``;`` or line breaks), the name of a file, the text of an xyz file,
        ``(symbols, positions)``, or rows ``["O", 0, 0, 0]``. Elements may be nuclear charges.
    unit : str, optional
        ``bohr`` or ``angstrom``. Default: Angstrom for files and the text of xyz files, Bohr otherwise.

    Returns
    -------
    Geometry
        Positions in Bohr. Charge and spin (2S) are None unless a file or an xyz comment line gives them.

    Warns
    -----
    UserWarning
        For what a file says that is not used.

    Raises
    ------
    InputError
        Unreadable text, unknown or ghost elements, coordinates that are not finite, nuclei
        closer than 0.1 Bohr, unknown unit; for files see :mod:`deepchem_dft.molecule.reading`.

    Examples
    --------
    >>> cation = read_geometry("2\\ncharge=1 mult=2\\nH 0 0 0\\nF 0 0 0.9169")
    >>> cation.symbols, round(float(cation.positions[1, 2]), 4), cation.charge, cation.spin
    (['H', 'F'], 1.7327, 1, 1)
    """
    if unit is not None:
        unit = choice(
            unit.strip().lower() if isinstance(unit, str) else unit, LENGTH_UNITS, "unit", "length unit"
        )
    scale = None if unit is None else LENGTH_UNITS[unit]
    file: str | None = None
    found: xyz.XYZGeometry | None = None
    if isinstance(geometry, Path) or (isinstance(geometry, str) and is_file_name(geometry)):
        file = str(geometry).strip()
        found = read_one(file)
    elif isinstance(geometry, str):
        found = _read_text(geometry)
    if found is not None:
        scale = LENGTH_UNITS["angstrom"] if scale is None else scale
        for remark in found.remarks:
            warnings.warn(f"{file or 'xyz text'}: {remark}", stacklevel=2)
    symbols, rows = _atoms(geometry) if found is None else (found.symbols, found.positions)
    try:
        positions = np.array(rows, dtype=np.float64) * (1.0 if scale is None else scale)
    except (TypeError, ValueError):
        positions = np.empty(0)
    try:
        if positions.shape != (len(symbols), 3):
            raise InputError(
                f"positions are not {len(symbols)} rows of 3 numbers",
                field="geometry",
                remedy="give one x, y, z per element",
            )
        _check_positions(symbols, positions)
    except InputError as error:
        raise error.located(file=file) from None
    return replace(found or xyz.XYZGeometry(symbols, positions), positions=positions)


def _atoms(geometry: Any) -> tuple[list[str], Any]:
    if isinstance(geometry, str):
        return _parse_text(geometry)
    if not isinstance(geometry, (list, tuple)):
        raise InputError(
            f"a geometry must be text or a list, not {type(geometry).__name__}",
            field="geometry",
            remedy=EXAMPLE,
        )
    try:
        symbols, rows = _parse_pair(geometry)
    except TypeError:
        raise InputError(
            f"cannot read a geometry from {str(geometry)[:60]!r}", field="geometry", remedy=EXAMPLE
        ) from None
    if not symbols:
        raise InputError("the geometry has no atoms", field="geometry", remedy=EXAMPLE)
    return symbols, rows


def parse_geometry(
    geometry: str | Path | Sequence[Any], unit: str | None = None
) -> tuple[list[str], np.ndarray]:
    """Return element symbols and positions (n_atoms, 3), Bohr, of a geometry.

    Parameters, warnings and errors are those of :func:`read_geometry`.

    Examples
    --------
    >>> symbols, positions = parse_geometry("H 0 0 0; F 0 0 0.9169", unit="angstrom")
    >>> symbols, round(float(positions[1, 2]), 4)
    (['H', 'F'], 1.7327)
    """
    found = read_geometry(geometry, unit)
    return found.symbols, found.positions


def as_said(field: str, asked: Any, said: int | None, source: str = "the geometry") -> Any:
    """Choose between what the caller asks for and what a geometry says; 0 if neither does.

    Warns
    -----
    UserWarning
        If both do and differ: the caller is right.

    Examples
    --------
    >>> as_said("charge", None, 1), as_said("spin", 2, None), as_said("spin", None, None)
    (1, 2, 0)
    """
    if asked is None:
        return 0 if said is None else said
    if said is not None and asked != said:
        warnings.warn(f"{field} {asked:g} is used, not the {field} {said} that {source} gives", stacklevel=3)
    return asked


def _check_positions(symbols: Sequence[str], positions: np.ndarray) -> None:
    if not np.all(np.abs(positions) < _MAX_COORDINATE):  # also catches nan
        atom = int(np.argmax(~np.all(np.abs(positions) < _MAX_COORDINATE, axis=1))) + 1
        raise InputError(
            f"a coordinate of atom {atom} is not finite, or beyond {_MAX_COORDINATE:.0e} Bohr",
            field="geometry",
            remedy=EXAMPLE,
        )
    n = len(symbols)
    if n <= _FEW:  # all pairs at once, which is what almost every molecule needs
        apart = np.linalg.norm(positions[:, None] - positions, axis=2)
        if apart[np.triu_indices(n, 1)].min(initial=MIN_DISTANCE) >= MIN_DISTANCE:
            return
    for i in range(1, n):
        distances = np.linalg.norm(positions[:i] - positions[i], axis=1)
        j = int(np.argmin(distances))
        if distances[j] < MIN_DISTANCE:
            raise InputError(
                f"atoms {j + 1} ({symbols[j]}) and {i + 1} ({symbols[i]}) coincide "
                f"({distances[j]:.3f} Bohr apart)",
                field="geometry",
                remedy="remove the duplicate atom or correct its coordinates and their unit",
            )


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
        for symbol, row in zip(symbols, values, strict=True)
    )


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
