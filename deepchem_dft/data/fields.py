"""Reading fields of user-written mappings: types, finite numbers, misspelt keys."""

import math
import numbers
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from deepchem_dft.checks import choice, show, suggest
from deepchem_dft.errors import InputError
from deepchem_dft.units import parse_energy

#: Names of the same thing in the three schemas, for users who mix them up.
_SYNONYMS = {
    "true_val": "value",
    "value": "true_val",
    "e_type": "type",
    "type": "e_type",
    "moldesc": "geometry",
    "geometry": "moldesc",
    "ref": "source",
    "source": "ref",
}
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")

_ENERGY_REMEDY = "write a number in Hartree, or a number with a unit such as 232.6 kcal/mol"

#: Roles an entry may have in training.
SPLITS = ("train", "valid", "test")


def number(value: Any, field: str, *, remedy: str = "write a finite number") -> float:
    """Read a finite number, quoted or not; booleans, lists and texts are refused.

    Examples
    --------
    >>> number("3", "spin"), number(1e-3, "weight")
    (3.0, 0.001)
    """
    result = math.nan
    if isinstance(value, str):
        if _NUMBER.fullmatch(value.strip()):
            result = float(value)
    elif isinstance(value, numbers.Real) and not isinstance(value, bool):
        try:
            result = float(value)
        except OverflowError:
            result = math.inf
    if not math.isfinite(result):
        kind = "not a finite number" if isinstance(value, float) else "not a number"
        raise InputError(f"{show(value)} is {kind}", field=field, remedy=remedy)
    return result


def energy(value: Any, unit: str) -> float:
    """Read an energy with or without a unit, Hartree; a bare number has the unit given."""
    if value is None:
        raise InputError("true_val is missing", field="true_val", remedy=_ENERGY_REMEDY)
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise InputError(f"{show(value)} is not an energy", field="true_val", remedy=_ENERGY_REMEDY)
    try:
        return parse_energy(value, unit)
    except (ValueError, OverflowError) as error:
        problem = str(error) if len(str(error)) < 200 else f"{show(value)} is not an energy"
        raise InputError(problem, field="true_val", remedy=_ENERGY_REMEDY) from None


def tidy(value: float) -> int | float:
    """Return whole numbers as ``int``.

    Examples
    --------
    >>> tidy(2.0), tidy(0.5)
    (2, 0.5)
    """
    return int(value) if float(value).is_integer() else float(value)


class Fields:
    """A mapping whose keys have been checked, read field by field.

    Parameters
    ----------
    mapping : Any
        What the user wrote; anything but a mapping is refused.
    allowed : iterable of str
        Known keys. Others are refused, with the nearest known key as the remedy.
    what : str
        What the mapping describes, for messages, e.g. ``"a system"``.
    """

    def __init__(self, mapping: Any, allowed: Iterable[str], what: str) -> None:
        known = list(allowed)
        if not isinstance(mapping, Mapping):
            raise InputError(
                f"{what} must be a mapping of fields, not {show(mapping)}",
                remedy=f"write 'key: value' lines; keys are {', '.join(known)}",
            )
        for key in mapping:
            if key not in known:
                near = suggest(key, known)
                if isinstance(key, str) and _SYNONYMS.get(key) in known:
                    near = f"did you mean '{_SYNONYMS[key]}'?"
                text = str(key)[:60] if isinstance(key, str) else show(key)
                raise InputError(
                    f"unknown key {text!r} in {what}",
                    field=text,
                    remedy=near or f"known keys are {', '.join(known)}",
                )
        self._values = {key: value for key, value in mapping.items() if value is not None}

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def get(self, key: str, default: Any = None) -> Any:
        """Return a field as it stands; a null counts as absent."""
        return self._values.get(key, default)

    def require(self, key: str, remedy: str) -> Any:
        """Return a field, or raise `InputError` if it is absent."""
        if key not in self._values:
            raise InputError(f"{key} is missing", field=key, remedy=remedy)
        return self._values[key]

    def number(self, key: str, default: float) -> float:
        """Return a field that must be a finite number."""
        return number(self._values[key], key) if key in self._values else default

    def text(self, key: str, default: str = "") -> str:
        """Return a field that must be text (a plain number is taken as its text)."""
        value = self._values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise InputError(f"{show(value)} is not text", field=key, remedy=f"write {key} as text")
        return str(value).strip()

    def choice(self, key: str, options: Iterable[str], default: str) -> str:
        """Return a field that must be one of a few words."""
        return choice(self.text(key, default).lower(), options, key)


def inside(error: InputError, prefix: str) -> InputError:
    """Return the same error with its field placed inside a larger one (``systems[1].spin``)."""
    field = f"{prefix}.{error.field}" if error.field else prefix
    return InputError(error.problem, file=error.file, entry=error.entry, field=field, remedy=error.remedy)


def same(a: Any, b: Any) -> bool:
    """Tell whether two values are equal, arrays and mappings of them included."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.array_equal(a, b)
    return bool(a == b)
