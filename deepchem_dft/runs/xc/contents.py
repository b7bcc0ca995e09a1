"""What the package's data sets hold: read from a table beside them, which a test compares with the files."""

import warnings
from dataclasses import dataclass
from pathlib import Path

from deepchem_dft.json_text import parse_json
from deepchem_dft.runs.xc.selection import board_names, dataset_names, dataset_path

#: The table, in the folder of the data sets.
TABLE = "contents.json"
_SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Contents:
    """What one data set holds.

    Attributes
    ----------
    name : str
    entries : int
    types : tuple of str
        Types of its entries, those of its rows for a board; in the order of the file.
    splits : tuple of int
        How many train, validate and test; empty if it is not divided.
    """

    name: str
    entries: int
    types: tuple[str, ...]
    splits: tuple[int, ...]


def contents(folder: Path | None = None) -> list[Contents]:
    """Return what all data sets of the package hold, without reading them.

    Parameters
    ----------
    folder : Path, optional
        Where the table is. Default: beside the data sets. What is not in it is counted.

    Examples
    --------
    >>> next(one for one in contents() if one.name == "w4-11").entries
    114
    """
    from deepchem_dft.molnet.location import datasets_dir

    path = (folder or datasets_dir()) / TABLE
    known = parse_json(path.read_text("utf-8")) if path.is_file() else {}
    out = []
    for name in dataset_names():
        if name not in known:
            out.append(counted(name))
            continue
        row = known[name]
        out.append(Contents(name, row["entries"], tuple(row["types"]), tuple(row["splits"])))
    return out


def counted(name: str) -> Contents:
    """Count what a data set holds, by reading it."""
    if name in board_names():
        from deepchem_dft.molnet import board

        rows = board(name).rows
        parts = tuple(sum(row.split == split for row in rows) for split in _SPLITS)
        return Contents(name, len(rows), tuple(dict.fromkeys(row.type for row in rows)), parts)
    from deepchem_dft.data import read_yaml

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        entries = read_yaml(str(dataset_path(name)))
    parts = tuple(sum(e.split == split for e in entries) for split in _SPLITS)
    types = tuple(dict.fromkeys(e.entry_type for e in entries))
    return Contents(name, len(entries), types, parts if any(parts) else ())
