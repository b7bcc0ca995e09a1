"""What settings may be, and warnings that point at the user's own line."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

from deepchem_dft.errors import InputError

# Frames of these packages are not where a user looks.
_INNER = ("deepchem_dft", "torch")


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


def choice(value: Any, allowed: Sequence[str], field: str) -> None:
    """Refuse what is none of the words allowed.

    Raises
    ------
    InputError
        Naming the setting.
    """
    if value not in tuple(allowed):
        raise InputError(
            f"unknown {field} {value!r}", field=field, remedy=f"choose from {', '.join(allowed)}"
        )


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
