"""What settings may be, and warnings that point at the user's own line."""

import difflib
import reprlib
import sys
import warnings
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any

from deepchem_dft.errors import InputError

# Frames of these packages are not where a user looks.
_INNER = ("deepchem_dft", "torch")
_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60
_short.maxlist = _short.maxdict = _short.maxtuple = _short.maxset = 3
_short.maxlevel = 2


def show(value: Any) -> str:
    """Return a bounded ``repr`` (YAML aliases can make a small file print as gigabytes).

    Examples
    --------
    >>> show([1] * 100)
    '[1, 1, 1, ...]'
    """
    return _short.repr(value)


def suggest(word: Any, options: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for a likely misspelling, else an empty text.

    Examples
    --------
    >>> suggest("bassis", ["basis", "spin"])
    "did you mean 'basis'?"
    """
    choices = {option.lower(): option for option in options}
    near = difflib.get_close_matches(str(word)[:80].lower(), choices, n=1, cutoff=0.6)
    return f"did you mean '{choices[near[0]]}'?" if near else ""


def whole(least: int, **settings: Any) -> None:
    """Refuse what is not a whole number of at least so much.

    Raises
    ------
    InputError
        Naming the setting.
    """
    for field, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise InputError(f"{field} is {value!r}", field=field, remedy=f"a whole number, at least {least}")


def positive(**settings: Any) -> None:
    """Refuse what is not a finite number above zero.

    Raises
    ------
    InputError
        Naming the setting.
    """
    for field, value in settings.items():
        if not (_is_real(value) and 0.0 < value < float("inf")):
            raise InputError(f"{field} is {value!r}", field=field, remedy="a finite number above 0")


def tolerance(**settings: Any) -> None:
    """Refuse what is no bound on a relative residual.

    Raises
    ------
    InputError
        Naming the setting.
    """
    for field, value in settings.items():
        if _is_real(value) and 0.0 <= value < 1.0:
            continue
        problem = f"{field} is {value!r}"
        if _is_real(value) and value >= 1.0:
            problem += ", which nearly any state is within"
        elif _is_real(value) and value < 0.0:
            problem += ", and residuals are never negative"
        raise InputError(
            problem,
            field=field,
            remedy="a number between 0 and 1, such as 1e-6; 0 goes on until only rounding is left",
        )


def choice(value: Any, allowed: Iterable[str], field: str, what: str = "", error: type = InputError) -> str:
    """Return a word that is one of those allowed.

    Raises
    ------
    InputError
        For any other; it names the nearest, or all.

    Examples
    --------
    >>> choice("basis", ["basis", "spin"], "field")
    'basis'
    """
    words = list(allowed)
    if isinstance(value, str) and value in words:
        return value
    remedy = suggest(value, words) or f"use one of {', '.join(words)}"
    raise error(f"unknown {what or field} {show(value)}", field=field, remedy=remedy)


def named(given: Any, known: Mapping[str, type], what: str, method: str) -> Any:
    """Return a thing by its name, or as it is.

    Raises
    ------
    InputError
        If there is none of that name, or it lacks the method that makes it one.
    """
    if isinstance(given, str):
        return known[choice(given, known, what)]()
    if isinstance(given, type) or not hasattr(given, method):
        name = next(iter(known))
        remedy = f"a name such as '{name}', or an instance: {known[name].__name__}()"
        raise InputError(f"{given!r} is no {what}", field=what, remedy=remedy)
    return given


def decision(**settings: Any) -> None:
    """Refuse what is neither True, False nor None, which leaves it to us.

    Raises
    ------
    InputError
        Naming the setting.
    """
    for field, value in settings.items():
        if value is not None and not isinstance(value, bool):
            raise InputError(
                f"{field} is {value!r}", field=field, remedy="use True, False or None (decide for me)"
            )


def reachable(tol: float, rounding: float) -> float:
    """Return where to stop: at a tolerance, or where only rounding is left if it is 0.

    Raises
    ------
    InputError
        If rounding is larger than the tolerance.
    """
    if 0.0 < tol < rounding:
        raise InputError(
            f"a relative residual of {tol:g} is below rounding, {rounding:.1g} here",
            field="tol",
            remedy="use a larger tol, or float64; 0 goes on until only rounding is left",
        )
    return tol or rounding


def _is_real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def warn(message: str) -> None:
    """Warn at the line outside of this package and of torch that led here."""
    frame, level = sys._getframe(), 1
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in _INNER:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)
