"""What the readers of property data hand over: one molecule or crystal with its labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from deepchem_dft.errors import InputError

Item = TypeVar("Item")
#: What to do with a record that cannot be used: raise its error, or write it down and go on.
OnBad = Callable[[InputError], None]


@dataclass(frozen=True)
class PropertyRecord:
    """One sample of a property data set.

    Attributes
    ----------
    ident : str
        What a data set calls it: SMILES of a molecule (splitters look at them), else a name.
    subject : object
        RDKit molecule or `deepchem_dft.data.properties.crystals.Crystal`.
    values : dict of str to float
        Finite labels by the name of the task.
    file, entry : str
        Where it stands, for messages.
    """

    ident: str
    subject: Any
    values: dict[str, float] = field(default_factory=dict)
    file: str = ""
    entry: str = ""


def refuse(error: InputError) -> None:
    """Raise the error: the usual answer to a bad record."""
    raise error


def each(
    items: Iterable[Item], make: Callable[[Item], PropertyRecord], bad: OnBad
) -> Iterator[PropertyRecord]:
    """Yield ``make(item)``; ``bad`` decides what becomes of items it raises `InputError` for."""
    for item in items:
        try:
            record = make(item)
        except InputError as error:
            bad(error)
        else:
            yield record


def finite(value: Any, file: str, entry: str, field: str) -> float:
    """Read a label.

    Parameters
    ----------
    value : float, int or str
    file, entry, field : str
        Where it stands.

    Raises
    ------
    InputError
        If there is none, or no finite number.

    Examples
    --------
    >>> finite("1.5", "a.csv", "line 2", "gap")
    1.5
    >>> finite(None, "a.json", "qmof-1", "info.pld")
    Traceback (most recent call last):
    ...
    deepchem_dft.errors.InputError: a.json, entry qmof-1, field 'info.pld': there is no value...
    """
    remedy = "repair the record, or leave bad ones out by on_bad='skip'"
    if value is None or (isinstance(value, str) and not value.strip()):
        raise InputError("there is no value", file=file, entry=entry, field=field, remedy=remedy)
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(
            f"{str(value)[:40]!r} is not a finite number", file=file, entry=entry, field=field, remedy=remedy
        )
    return number


def nested(record: Any, path: str, file: str, entry: str) -> Any:
    """Return ``record["a"]["b"]`` for ``"a.b"``.

    Raises
    ------
    InputError
        Naming the path if a part of it is missing.

    Examples
    --------
    >>> nested({"info": {"pld": 3.2}}, "info.pld", "a.json", "1")
    3.2
    """
    value = record
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            raise InputError(
                "the field is missing",
                file=file,
                entry=entry,
                field=path,
                remedy="give the file as it was released",
            )
        value = value[key]
    return value
