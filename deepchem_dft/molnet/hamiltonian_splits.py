"""The published splits of MD17 Hamiltonians and QH9, and splits of one's own data."""

import random
from collections.abc import Sequence

import numpy as np

from deepchem_dft.errors import InputError
from deepchem_dft.molecule.geometry import SYMBOLS, formula

Split = tuple[np.ndarray, np.ndarray, np.ndarray]

#: Training and validation geometries by formula, as SchNOrb, PhiSNet and QHNet take them; the rest
#: is for testing.
MD17_SIZES = {"H2O": (500, 500), "C2H6O": (25000, 500), "C3H4O2": (25000, 500), "C4H4N2O2": (25000, 500)}
_MD17_SEED = 42
_QH9_SEED = 43


def counted(total: int, sizes: Sequence[int], seed: int = _MD17_SEED) -> Split:
    """Split at random: so many for training and validation, the rest for testing.

    Examples
    --------
    >>> [part.tolist() for part in counted(6, (2, 1))]
    [[0, 1], [5], [2, 4, 3]]
    """
    train, valid = sizes
    if min(train, valid) < 0 or train + valid >= total:
        raise InputError(
            f"{train} + {valid} samples cannot be taken from {total} with some left for testing",
            field="sizes",
            remedy="choose smaller numbers",
        )
    order = np.random.RandomState(seed).permutation(total)
    return order[:train], order[train : train + valid], order[train + valid :]


def shares(total: int, seed: int = _QH9_SEED) -> Split:
    """Split at random, 8 : 1 : 1, as QH9-stable-id does."""
    train, valid = int(total * 0.8), int(total * 0.1)
    order = np.random.RandomState(seed).permutation(total)
    return order[:train], order[train : train + valid], order[train + valid :]


def md17_published(numbers: np.ndarray, total: int) -> Split:
    """Return QHNet's split of an MD17 database.

    References
    ----------
    Yu, Xu, Qian, Qian, Ji, ICML 2023 (QHNet), ``split_seed: 42`` of its configuration.
    """
    name = formula([SYMBOLS[int(z)] for z in numbers])
    sizes = MD17_SIZES.get(name)
    if sizes is None or sum(sizes) >= total:
        raise InputError(
            f"there is no published split of {total} geometries of {name}",
            field="splitter",
            remedy="use splitter='random', with sizes if you like",
        )
    return counted(total, sizes)


def by_size(atoms: np.ndarray) -> Split:
    """Return QH9-stable-ood: up to 20 atoms to train on, 21 and 22 to validate, then to test."""
    return np.where(atoms <= 20)[0], np.where((atoms > 20) & (atoms < 23))[0], np.where(atoms >= 23)[0]


def by_geometry(molecules: np.ndarray) -> Split:
    """Return QH9-dynamic-geo: 80, 10 and 10 of the 100 geometries of each molecule.

    Of trajectories of 60, as QH9 had at first, 50, 5 and 5 are taken; of others 8 : 1 : 1. The seed
    of each molecule is the number of its last row.
    """
    parts: list[list[np.ndarray]] = [[], [], []]
    for molecule in np.unique(molecules):
        rows = np.where(molecules == molecule)[0]
        train, valid = (50, 5) if len(rows) == 60 else (int(len(rows) * 0.8), int(len(rows) * 0.1))
        order = rows[np.random.RandomState(int(rows[-1])).permutation(len(rows))]
        for part, chosen in zip(parts, (order[:train], order[train : train + valid], order[train + valid :])):
            part.append(chosen)
    train_rows, valid_rows, test_rows = (np.concatenate(part) for part in parts)
    return train_rows, valid_rows, test_rows


def by_molecule(molecules: np.ndarray) -> Split:
    """Return QH9-dynamic-mol: all geometries of a molecule in one part, 8 : 1 : 1.

    Examples
    --------
    >>> parts = by_molecule(np.repeat(np.arange(10), 3))
    >>> [len(part) for part in parts], len({i // 3 for i in parts[2].tolist()})
    ([24, 3, 3], 1)
    """
    order = list(range(int(molecules.max()) + 1))
    random.Random(_QH9_SEED).shuffle(order)
    train, valid = int(len(order) * 0.8), int(len(order) * 0.1)
    chosen = (order[:train], order[train : train + valid], order[train + valid :])
    train_rows, valid_rows, test_rows = (np.where(np.isin(molecules, part))[0] for part in chosen)
    return train_rows, valid_rows, test_rows
