"""Charge and multiplicity as the comments of files give them."""

import re
from collections.abc import Iterable

from deepchem_dft.errors import InputError
from deepchem_dft.molecule.elements import number

_KEYWORDS = "write charge=1 mult=2 (mult = 2S+1; spin= is 2S)"
# A pair of a comment line: key=value or key: value, the value perhaps in quotes or brackets.
_PAIR = re.compile(
    r"""(?<![\w.-])([A-Za-z]\w*)\s*[=:]\s*("[^"]*"|'[^']*'|\{[^}]*\}|\[[^\]]*\]"""
    r"""|[^\s,;|"']+)"""
)
_CHARGE = ("charge", "total_charge", "net_charge")
_MULTIPLICITY = ("mult", "multiplicity", "spin_multiplicity")
_SPIN = ("spin", "unpaired", "unpaired_electrons", "uhf")
#: Words that speak of electrons; where they stand unread, it is said.
_ELECTRONS = re.compile(
    r"(?<![\w.-])(charge|mult|multiplicity|spin|unpaired|q|S)(?![\w.-])\s*[=:]?"
    r"\s*[-+]?(?P<value>[\d.]*)"
)
_WHOLE = re.compile(r"([-+]?)(\d{1,4})(?:\.0*)?([-+]?)")
#: A number, with Fortran's exponents, or NaN.
NUMERIC = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+)?|[-+]?nan", re.I)


def pairs_of(comment: str) -> list[tuple[str, str]]:
    """Return the pairs of a comment line, keys in lower case.

    Examples
    --------
    >>> pairs_of("Charge=1 energy: -76.4")
    [('charge', '1'), ('energy', '-76.4')]
    """
    return [(key.lower(), value.strip("\"'{}[]").strip()) for key, value in _PAIR.findall(comment)]


def electrons(
    pairs: Iterable[tuple[str, str]], remarks: list[str], where: str = "the comment line"
) -> tuple[int | None, int | None]:
    """Return charge and 2S that pairs of a key and a value give, None where they do not.

    Parameters
    ----------
    pairs : iterable of (str, str)
        ``charge``, ``total_charge``, ``net_charge``; ``mult``, ``multiplicity``,
        ``spin_multiplicity`` (2S+1); ``spin``, ``unpaired``, ``unpaired_electrons``, ``uhf`` (2S).
        Others are passed over. A multiplicity taken for a spin never goes unnoticed: 2S and the
        number of electrons are both even or both odd.
    remarks : list of str
        Grows by what cannot be read.
    where : str
        For messages.

    Raises
    ------
    InputError
        For numbers that are not whole, and for what contradicts itself.

    Examples
    --------
    >>> electrons([("charge", "-1"), ("mult", "3")], [])
    (-1, 2)
    """
    charges: dict[int, str] = {}
    spins: dict[int, str] = {}
    for key, value in pairs:
        if key not in (*_CHARGE, *_MULTIPLICITY, *_SPIN):
            continue
        found = _WHOLE.fullmatch(value)
        if found is None or (found[1] and found[3]):
            if NUMERIC.fullmatch(value):
                raise InputError(
                    f"{key} {value} of {where} is not a whole number", field=key, remedy=_KEYWORDS
                )
            remarks.append(f"{key} {value[:20]!r} of {where} is not read: {_KEYWORDS}")
            continue
        whole = int(f"{found[1] or found[3]}{found[2]}")
        if key in _CHARGE:
            charges[whole] = f"{key}={value}"
        elif key in _SPIN:
            spins[abs(whole)] = f"{key}={value}"
        elif whole < 1:
            raise InputError(
                f"a multiplicity of {whole} is not possible",
                field=key,
                remedy="mult is 2S+1: 1 for closed shells, 2 for a radical",
            )
        else:
            spins[whole - 1] = f"{key}={value}"
    for field_, said in (("charge", charges), ("multiplicity", spins)):
        if len(said) > 1:
            raise InputError(
                f"{' and '.join(said.values())} of {where} contradict each other",
                field=field_,
                remedy=_KEYWORDS,
            )
    return next(iter(charges), None), next(iter(spins), None)


def with_column(
    said: int | None, what: str, name: str, rows: list[list[str]], columns: dict[str, slice]
) -> int | None:
    """Return the sum of a column of ASE's, compared with what the comment line says."""
    part = columns.get(name)
    if part is None or part.stop - part.start != 1:
        return said
    total = sum(number(row[part][0], i) for i, row in enumerate(rows, start=1))
    return with_sum(said, what, f"the column {name}", total)


def with_sum(
    said: int | None, what: str, parts: str, total: float, where: str = "the comment line"
) -> int | None:
    """Return the sum of what atoms have, compared with what else is said.

    Raises
    ------
    InputError
        If it is no whole number, or contradicts that.

    Examples
    --------
    >>> with_sum(None, "charge", "the column q", 0.98), with_sum(1, "charge", "the column q", 0.98)
    (1, 1)
    """
    field = parts.split()[-1]
    if said is None and abs(total - round(total)) > 0.05:
        raise InputError(
            f"{parts} adds up to {total:g}, which is no whole {what}", field=field, remedy=_KEYWORDS
        )
    if said is not None and abs(total - said) > 0.05:
        raise InputError(
            f"{what}={said} of {where} contradicts {parts}, which adds up to {total:g}",
            field=field,
            remedy="remove one of them",
        )
    return round(total) if said is None else said


def look_for_unread(comment: str, remarks: list[str]) -> None:
    """Add a remark where a comment speaks of electrons in a way that is not understood."""
    known = (*_CHARGE, *_MULTIPLICITY, *_SPIN)
    rest = _PAIR.sub(lambda m: " " if m[1].lower() in known or len(m[1]) > 1 else m[0], comment)
    for found in _ELECTRONS.finditer(rest):
        if found["value"].strip("0.") or found[1] not in ("q", "S"):
            remarks.append(
                f"{found[0].strip()!r} of the comment line is not read as charge or multiplicity: {_KEYWORDS}"
            )
            return
