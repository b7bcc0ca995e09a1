"""Electrons of each spin from charge and spin, from counts or from occupations, checked."""

import math
import numbers
from collections.abc import Mapping, Set
from typing import Any

from deepchem_dft.checks import decision
from deepchem_dft.errors import InputError

Occupations = tuple[tuple[float, ...], tuple[float, ...]]


def from_charge_and_spin(charge: Any, spin: Any, protons: int, formula: str) -> tuple[float, float]:
    """Return the electrons of each spin, which are fractional where charge or spin is.

    Parameters
    ----------
    charge, spin : float
        Total charge and 2S.
    protons : int
        Nuclear charges outside effective cores.
    formula : str
        For messages.

    Raises
    ------
    InputError
        Not a finite number, no electrons left, too many unpaired electrons, wrong parity.

    Examples
    --------
    >>> from_charge_and_spin(0.5, 0.5, 2, "He")
    (1.0, 0.5)
    """
    charge = _finite(charge, "charge", "give a number such as 0, 1 or -1, without quotes")
    spin = _finite(spin, "spin", "give 2S = n_alpha - n_beta as a number, without quotes")
    total = protons - charge
    if total <= 0:
        problem = (
            f"charge {charge:+g} leaves {formula} without electrons"
            if total == 0
            else f"charge {charge:+g} removes more electrons than {formula} has "
            f"({protons} outside effective cores)"
        )
        raise InputError(
            problem,
            field="charge",
            remedy=f"use a charge of at most {protons - 1:+d}"
            if protons > 1
            else "use a charge below +1; a bare nucleus has energy zero",
        )
    if abs(spin) > total:
        raise InputError(
            f"spin {spin:g} needs more unpaired electrons than the {total:g} present",
            field="spin",
            remedy="spin is 2S = n_alpha - n_beta",
        )
    # Between whole numbers of electrons parity means nothing.
    if charge.is_integer() and spin.is_integer() and (total + spin) % 2:
        raise InputError(
            f"{total:g} electrons cannot have spin {spin:g} (2S = n_alpha - n_beta)",
            field="spin",
            remedy=f"use an {'even' if total % 2 == 0 else 'odd'} spin",
        )
    return (total + spin) / 2, (total - spin) / 2


def from_counts(nelec: Any) -> tuple[float, float]:
    """Check the electrons of each spin.

    Raises
    ------
    InputError
        Not two finite numbers that are not negative and not both zero.

    Examples
    --------
    >>> from_counts([1, 0.25])
    (1.0, 0.25)
    """
    remedy = "give two finite numbers, not negative and not both zero: (n_alpha, n_beta)"
    counts = _numbers(nelec)
    if counts is None or len(counts) != 2:
        raise InputError(f"{_show(nelec)} is not a pair of electron numbers", field="nelec", remedy=remedy)
    alpha, beta = counts
    if not (math.isfinite(alpha + beta) and min(alpha, beta) >= 0 and alpha + beta > 0):
        raise InputError(f"electron numbers {(alpha, beta)} are not possible", field="nelec", remedy=remedy)
    return alpha, beta


def from_occupations(occupations: Any) -> Occupations:
    """Check the occupations of the lowest alpha and beta orbitals.

    Raises
    ------
    InputError
        Not two lists of numbers from 0 to 1, or no electrons at all.

    Examples
    --------
    >>> from_occupations(([1, 0.5], []))
    ((1.0, 0.5), ())
    """
    remedy = "list the electrons, 0 to 1, in each alpha and in each beta orbital: ([1, 0.5], [1])"
    pair = _items(occupations)
    rows = [] if pair is None else [_numbers(row) for row in pair]
    if len(rows) != 2 or rows[0] is None or rows[1] is None:
        raise InputError(
            f"{_show(occupations)} is not a pair of lists of numbers", field="occupations", remedy=remedy
        )
    alpha, beta = tuple(rows[0]), tuple(rows[1])
    if not all(0.0 <= n <= 1.0 for n in (*alpha, *beta)):
        raise InputError("an occupation is not between 0 and 1", field="occupations", remedy=remedy)
    if sum(alpha) + sum(beta) == 0:
        raise InputError("the occupations hold no electrons", field="occupations", remedy=remedy)
    return alpha, beta


def treatment(
    restricted: Any, broken_symmetry: Any, atoms: int | None, spin: float
) -> tuple[bool | None, bool | tuple[float, ...]]:
    """Check how both spins are to be treated.

    Parameters
    ----------
    restricted : bool or None
    broken_symmetry : bool or sequence of float
        Local spins (2S_z), one for each atom.
    atoms : int
    spin : float
        2S of the molecule.

    Returns
    -------
    restricted : bool or None
        False for a broken symmetry.
    broken_symmetry : bool or tuple of float

    Raises
    ------
    InputError

    Examples
    --------
    >>> treatment(None, [1, -1], 2, 0)
    (False, (1.0, -1.0))
    """
    decision(restricted=restricted)
    if broken_symmetry is None or broken_symmetry is False:
        return restricted, False
    if restricted:
        raise InputError(
            "spins that share their orbitals cannot be antiparallel",
            field="broken_symmetry",
            remedy="leave restricted out",
        )
    if broken_symmetry is True:
        return False, True
    spins = _numbers(broken_symmetry)
    if spins is None or len(spins) != atoms:
        raise InputError(
            f"{_show(broken_symmetry)} is not True, nor a local spin for each of {atoms} atoms",
            field="broken_symmetry",
            remedy="write True, or 2S_z of each atom, such as [1, -1]",
        )
    if abs(sum(spins) - spin) > 0.05:
        raise InputError(
            f"local spins that add up to {sum(spins):g} contradict a spin of {spin:g}",
            field="broken_symmetry",
            remedy="correct one of them",
        )
    return False, tuple(spins)


def _finite(value: Any, field: str, remedy: str) -> float:
    number = _real(value)
    if number is None or not math.isfinite(number):
        kind = "a number" if number is None else "finite"
        raise InputError(f"{field} {_show(value)} is not {kind}", field=field, remedy=remedy)
    return number


def _real(value: Any) -> float | None:
    """Return a number as a float; None for everything else, booleans and texts included."""
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()  # scalars of NumPy and torch
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _items(values: Any) -> list | None:
    """Return the items of something ordered; None for everything else."""
    if isinstance(values, (str, bytes, Mapping, Set)):
        return None
    try:
        return list(values)
    except TypeError:
        return None


def _numbers(values: Any) -> list[float] | None:
    items = _items(values)
    found = [_real(item) for item in items or []]
    return None if items is None or None in found else [n for n in found if n is not None]


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
