"""Electrons of a system: from charge and spin, from numbers of each spin, or from occupations."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from deepchem_dft.data.fields import Fields, show, tidy
from deepchem_dft.errors import InputError
from deepchem_dft.molecule.basis import resolve_basis, resolve_ecp
from deepchem_dft.molecule.geometry import NUCLEAR_CHARGE, as_said

Pair = tuple[float, float]
Occupations = tuple[tuple[float, ...], tuple[float, ...]]

#: Electrons of one spin that fill shells of an atom completely: a round density.
_ROUND = frozenset((0, 1, 2, 5, 6, 9, 10, 14, 15, 18, 19, 23, 24, 27, 28, 34, 35, 39, 40, 43, 44))
#: Those of them that are (n-1)d5 or 4f7 without ns, as in Mn2+. As the majority spin of a neutral
#: atom they are (n-1)d4 ns1 or 4f6 6s1 instead (Nb, Sm, W).
_WITHOUT_S = frozenset((14, 23, 34, 39))


@dataclass(frozen=True)
class ElectronNumbers:
    """What a system says of its electrons; the attributes of `DFTSystem` of these names."""

    charge: int | float
    spin: int | float
    electrons: Pair
    nelec: Pair | None
    occupations: Occupations | None = None


@lru_cache(maxsize=4096)
def _atom_size(symbol: str, basis: str, ecp: str) -> tuple[int, int]:
    """Return core electrons and orbitals of an element; raises `InputError` for a bad basis."""
    spec, core = json.loads(basis), json.loads(ecp)
    orbitals = 0
    for shell in resolve_basis([symbol], spec)[symbol]:
        rows = [row for row in shell[1:] if isinstance(row, (list, tuple))]
        orbitals += (2 * shell[0] + 1) * (len(rows[0]) - 1 if rows else 0)
    cores = resolve_ecp([symbol], spec, core)
    return (int(cores[symbol][0]) if symbol in cores else 0), orbitals


def read_electrons(
    fields: Fields, symbols: Sequence[str], basis: str, ecp: str, said: tuple[int | None, int | None]
) -> ElectronNumbers:
    """Read charge and spin, or what implies them, and check that there can be such a system.

    Parameters
    ----------
    fields : Fields
    symbols : sequence of str
    basis, ecp : str
        As JSON.
    said : (int or None, int or None)
        Charge and spin that stand beside the geometry.

    Raises
    ------
    InputError
        Naming the field.
    """
    lightest_first = sorted(set(symbols), key=NUCLEAR_CHARGE.__getitem__)
    sizes = {symbol: _atom_size(symbol, basis, ecp) for symbol in lightest_first}
    protons = sum(NUCLEAR_CHARGE[s] - sizes[s][0] for s in symbols)
    orbitals = sum(sizes[s][1] for s in symbols)
    occupations = _occupations(fields)
    if occupations is not None or "n_alpha" in fields or "n_beta" in fields:
        if occupations is not None:
            source, electrons = "occupations", (sum(occupations[0]), sum(occupations[1]))
        else:
            source, electrons = "n_alpha and n_beta", _counted(fields)
        charge, spin = protons - sum(electrons), electrons[0] - electrons[1]
        # They may be repeated beside what implies them, not contradicted.
        for key, value in (("charge", charge), ("spin", spin)):
            if key in fields and abs(fields.number(key, 0) - value) > 1e-9:
                raise InputError(
                    f"{key} {fields.get(key)} contradicts {source}, which give {value:g}",
                    field=key,
                    remedy=f"remove {key}, or {source}",
                )
        charge, spin = tidy(round(charge, 12)), tidy(round(spin, 12))
        as_said("charge", charge, said[0])
        found = ElectronNumbers(charge, spin, electrons, electrons, occupations)
    else:
        asked = ((fields.number(key, 0) if key in fields else None) for key in ("charge", "spin"))
        charge, spin = (tidy(as_said(n, a, s)) for n, a, s in zip(("charge", "spin"), asked, said))
        electrons = _from_charge_and_spin(symbols, protons, charge, spin)
        whole = isinstance(charge, int) and isinstance(spin, int)
        found = ElectronNumbers(charge, spin, electrons, None if whole else electrons)
    if max(electrons) > orbitals or max(map(len, occupations or ((),))) > orbitals:
        raise InputError(
            f"{max(electrons):g} electrons of one spin do not fit into {orbitals} orbitals",
            field="basis",
            remedy="use a larger basis, or correct the charge",
        )
    return found


def _counted(fields: Fields) -> Pair:
    for key in ("n_alpha", "n_beta"):
        if key not in fields:
            raise InputError(
                f"{key} is missing", field=key, remedy="give both n_alpha and n_beta, or charge and spin"
            )
        if (value := fields.number(key, 0)) < 0:
            raise InputError(
                f"{value:g} electrons are not possible",
                field=key,
                remedy="give a number that is not negative",
            )
    alpha, beta = fields.number("n_alpha", 0), fields.number("n_beta", 0)
    if alpha + beta == 0:
        raise InputError(
            "the system has no electrons",
            field="n_alpha",
            remedy="leave bare nuclei out; their energy is zero (a reaction may name them: H+)",
        )
    return alpha, beta


def _occupations(fields: Fields) -> Occupations | None:
    if "occupations" not in fields:
        return None
    remedy = "write occupations: {alpha: [1, 1, 0.5], beta: [1]}, each from 0 to 1"
    for key in ("n_alpha", "n_beta"):
        if key in fields:
            raise InputError(
                f"{key} and occupations are both given",
                field=key,
                remedy=f"remove {key}: the occupations imply it",
            )
    given = fields.get("occupations")
    if not isinstance(given, Mapping) or set(given) != {"alpha", "beta"}:
        raise InputError(
            f"{show(given)} is not a pair of occupation lists", field="occupations", remedy=remedy
        )
    rows = []
    for spin in ("alpha", "beta"):
        row = given[spin]
        if not isinstance(row, (list, tuple)) or not all(
            isinstance(n, (int, float)) and not isinstance(n, bool) and 0 <= n <= 1 for n in row
        ):
            raise InputError(
                f"{show(row)} is not a list of occupations", field=f"occupations.{spin}", remedy=remedy
            )
        rows.append(tuple(float(n) for n in row))
    if sum(map(sum, rows)) == 0:
        raise InputError("the system has no electrons", field="occupations", remedy=remedy)
    return rows[0], rows[1]


def _from_charge_and_spin(
    symbols: Sequence[str], protons: int, charge: int | float, spin: int | float
) -> Pair:
    label, total = formula_as_written(symbols), protons - charge
    unpaired = "spin is 2S = n_alpha - n_beta, the number of unpaired electrons"
    if charge > protons:
        problem = f"charge {charge:+g} is larger than the nuclear charge {protons} of {label}"
        field, remedy = "charge", f"use a charge below {protons:+d}"
    elif total == 0:
        problem = f"{label} with charge {charge:+g} has no electrons"
        field, remedy = "charge", "leave bare nuclei out; their energy is zero (a reaction may name them: H+)"
    elif spin < 0:
        problem, field, remedy = f"spin {spin:g} is negative", "spin", unpaired
    elif spin > total:
        problem = (
            f"spin {spin:g} needs more unpaired electrons than the {total:g} that {label} "
            f"with charge {charge:+g} has"
        )
        field, remedy = "spin", unpaired
    elif isinstance(charge, int) and isinstance(spin, int) and (total + spin) % 2:
        problem = f"{total} electrons ({label}, charge {charge:+d}) cannot have spin {spin}"
        kind = "odd here (1, 3, ...)" if total % 2 else "even here (0, 2, ...)"
        field, remedy = "spin", f"spin is 2S, the number of unpaired electrons: {kind}"
    else:
        return ((total + spin) / 2, (total - spin) / 2)
    raise InputError(problem, field=field, remedy=remedy)


def has_direction(symbol: str, charge: float, electrons: Pair) -> bool:
    """Tell whether an atom has a partly filled p, d or f shell."""
    core = NUCLEAR_CHARGE[symbol] - charge - sum(electrons)
    counts = [n + core / 2 for n in electrons]
    if charge <= 0 and counts[0] != counts[1] and max(counts) in _WITHOUT_S:
        return True
    # Between two closed shells that differ by one electron, an s shell is being filled.
    return not all({math.floor(n + 1e-9), math.ceil(n - 1e-9)} <= _ROUND for n in counts)


def formula_as_written(symbols: Sequence[str], charge: float = 0) -> str:
    """Write a formula with the elements in the order they first appear.

    Examples
    --------
    >>> formula_as_written(["Li", "H"]), formula_as_written(("O", "H"), -1)
    ('LiH', 'OH-')
    """
    text = "".join(s + (str(n) if n > 1 else "") for s, n in Counter(symbols).items())
    if charge:
        size = "" if abs(charge) == 1 else f"{abs(charge):g}"
        text += f"{size}{'+' if charge > 0 else '-'}"
    return text
