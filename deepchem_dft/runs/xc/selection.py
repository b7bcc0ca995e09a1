"""Selections of entries as one word: ``w4-11:test``, ``gscdb138:BH46``, ``gscdb138:type=NC,max_heavy=4``."""

import difflib
from pathlib import Path
from typing import Any

from deepchem_dft.data.fields import SPLITS
from deepchem_dft.errors import InputError

#: Words before ``=``, and the fields of a selection that they fill. Several values are joined by ``+``.
_KEYS = {
    "set": "sets",
    "type": "types",
    "split": "split",
    "elements": "elements",
    "without": "without_tags",
    "min_heavy": "min_heavy",
    "max_heavy": "max_heavy",
    "diet": "diet",
}
_NUMBERS = ("min_heavy", "max_heavy", "diet")


def board_names() -> tuple[str, ...]:
    """Return the names of the package's boards."""
    from deepchem_dft.molnet.location import BOARDS

    return BOARDS


def dataset_names() -> list[str]:
    """Return the names of the package's data sets, boards included.

    Examples
    --------
    >>> {"w4-11", "gscdb138"} <= set(dataset_names())
    True
    """
    from deepchem_dft.molnet.location import datasets_dir

    return sorted([*(path.stem for path in datasets_dir().glob("*.yaml")), *board_names()])


def dataset_path(name: str) -> Path:
    """Return the file of a data set of the package, or the folder of a board.

    Raises
    ------
    InputError
        For an unknown name, with the closest known one.
    """
    from deepchem_dft.molnet.location import datasets_dir

    names = dataset_names()
    if name.lower() in names:
        return datasets_dir() / (name.lower() + ("" if name.lower() in board_names() else ".yaml"))
    close = difflib.get_close_matches(name.lower(), names, n=1)
    raise InputError(
        f"there is no data set {name!r}",
        field="dataset",
        remedy=f"use '{close[0]}'" if close else f"use one of {', '.join(names)}",
    )


def selection(text: str) -> dict[str, Any]:
    """Return the fields of a `DatasetRef` that a text stands for.

    Parameters
    ----------
    text : str
        A YAML file; a name; or a name, a colon, and conditions with commas between them: the name of a
        split; of boards, the name of a set; or ``KEY=VALUE``, several values joined by ``+``.

    Raises
    ------
    InputError
        For a condition that is none of these.

    Examples
    --------
    >>> selection("w4-11:test")
    {'dataset': 'w4-11', 'split': 'test'}
    >>> selection("gscdb138:type=TAE+BDE,test,max_heavy=3")["types"]
    ['TAE', 'BDE']
    """
    if text.endswith((".yaml", ".yml")):
        return {"file": text}
    name, _, rest = text.partition(":")
    fields: dict[str, Any] = {"dataset": name}
    is_board = name.lower() in board_names()
    for word in filter(None, rest.split(",")):
        key, given, value = word.partition("=")
        if not given and (word in SPLITS or not is_board):
            fields["split"] = word
        elif not given:
            fields.setdefault("sets", []).append(word)
        elif key not in _KEYS or not value:
            close = difflib.get_close_matches(key, _KEYS, n=1)
            raise InputError(
                f"{word[:60]!r} is no condition on entries",
                field="dataset",
                remedy=f"did you mean {close[0]}=?" if close else f"use one of {', '.join(_KEYS)}",
            )
        elif key in _NUMBERS:
            if not value.isdigit():
                raise InputError(
                    f"{value[:60]!r} is not a whole number", field="dataset", remedy=f"write {key}=4"
                )
            fields[_KEYS[key]] = int(value)
        else:
            fields[_KEYS[key]] = value.split("+")
    if is_board:
        fields["label"] = text
    return fields
