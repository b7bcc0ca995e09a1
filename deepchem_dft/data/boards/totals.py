"""Weighted totals of a board: WTMAD-2 of GMTKN55, and its 'diet' choices of reactions."""

import csv
import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from deepchem_dft.data.boards.board import Board
from deepchem_dft.errors import InputError
from deepchem_dft.files import open_text
from deepchem_dft.units import HARTREE_TO_KCAL

#: Mean over the 55 subsets of GMTKN55 of their mean absolute reference energies, kcal/mol.
WTMAD_SCALE = 56.84
#: No mean reference energy is taken to be smaller than the smallest of GMTKN55 (RG18), kcal/mol.
SMALLEST = 0.58
#: Kinds that no total counts: total energies of atoms, and displacements along vibrations.
UNCOUNTED = ("AE", "F")
CHOICES = (30, 100, 150)


def _table(path: Path) -> list[dict[str, str]]:
    with open_text(path) as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


@lru_cache(maxsize=8)
def gmtkn55_means(folder: Path) -> dict[str, float]:
    """Return the mean absolute reference energies of the subsets of GMTKN55, kcal/mol."""
    return {row["subset"]: float(row["mean"]) for row in _table(folder / "gmtkn55.csv")}


@lru_cache(maxsize=8)
def _diet(folder: Path) -> dict[int, dict[str, str]]:
    found: dict[int, dict[str, str]] = {}
    for row in _table(folder / "diet.csv"):
        if row["row"]:
            found.setdefault(int(row["choice"]), {}).setdefault(row["row"], row["subset"])
    return found


def diet(board: Board, choice: int) -> dict[str, str]:
    """Return the rows of the board that are in a 'diet' choice of GMTKN55, with their subsets there.

    Parameters
    ----------
    board : Board
    choice : {30, 100, 150}

    Raises
    ------
    InputError
        For another number.

    References
    ----------
    T. Gould, Phys. Chem. Chem. Phys. 20, 27735 (2018).
    """
    if choice not in CHOICES:
        raise InputError(
            f"there is no choice of {choice} reactions", field="diet", remedy="use 30, 100 or 150"
        )
    return dict(_diet(board.folder)[choice])


def weights(board: Board, diet_of: int | None = None) -> dict[str, float]:
    """Return the weight of an absolute error by row, for `weighted_total`.

    A row of a set with mean absolute reference energy m weighs 56.84 kcal/mol / m, as in WTMAD-2 of
    GMTKN55. For rows of subsets of GMTKN55, recognised by their names (``BH76_3``), and in a 'diet'
    choice, m is the published mean of the subset; for others it is that of the set's rows in the board,
    but at least 0.58 kcal/mol, the smallest in GMTKN55. Total energies of atoms and rows of type F weigh
    nothing.

    Parameters
    ----------
    board : Board
    diet_of : {30, 100, 150}, optional
        Only the rows of this 'diet' choice, with their weights in GMTKN55.

    References
    ----------
    L. Goerigk et al., Phys. Chem. Chem. Phys. 19, 32184 (2017), equation of WTMAD-2.
    """
    means = gmtkn55_means(board.folder)
    if diet_of is not None:
        return {name: WTMAD_SCALE / means[subset] for name, subset in diet(board, diet_of).items()}
    sizes: dict[str, list[float]] = {}
    for row in board.rows:
        sizes.setdefault(row.set, []).append(abs(row.reference) * HARTREE_TO_KCAL)
    own = {name: max(SMALLEST, float(np.mean(values))) for name, values in sizes.items()}
    return {
        row.name: WTMAD_SCALE / means.get(row.name.rpartition("_")[0], own[row.set])
        for row in board.rows
        if row.kind not in UNCOUNTED
    }


def weighted_total(errors: Mapping[str, float], by_row: Mapping[str, float]) -> float:
    """Return the mean of weight times absolute error over the rows that have both, kcal/mol.

    Over all rows of all subsets this is WTMAD-2 = sum_i N_i (56.84 / m_i) MAD_i / sum_i N_i. NaN if
    no row has both, or one has no error that is a number.

    Examples
    --------
    >>> weighted_total({"a": 1.0, "b": -2.0, "c": 9.0}, {"a": 2.0, "b": 1.0})
    2.0
    """
    return _mean(by_row[name] * abs(error) for name, error in errors.items() if name in by_row)


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return sum(known) / len(known) if known else math.nan
