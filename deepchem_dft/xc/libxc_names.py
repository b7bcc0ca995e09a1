"""Spellings of functional names: dashes, parts that cannot be run, and nearest known names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable

from deepchem_dft.errors import FunctionalError

# Doubly hybrid names; none of them is in libxc, and some would parse as a subtraction.
_DOUBLE_HYBRID = re.compile(
    r"^(W?B2.*PLYP.*|MPW2.*PLYP.*|XYG.*|XDH.*|(REV)?(DSD|DOD|SOS|SCS)[-_0-9].*|PWPB95|PTPSS|"
    r"PBE0[-_](2|DH)|.*[-_]?QIDH|.*[-_]0DH|.*[-_]DH\d*|W(B97M\(2\)|B97X[-_]2)|LS1.*|.*MP2.*|.*PT2.*)$"
)
_DISPERSION = re.compile(r"[-_]?(D[234]\w*(\(\w*\))?|3C|GCP|XDM|MBD|TS|NL|R?VV10)$|[-_]D$")
_FACTOR = re.compile(r"^(-?[0-9.]+(?:E[-+]?[0-9]+)?\*)(.*)$")
_NO_TERM = "the exact parts alone would be a different functional"


def _refuse(name: str, kind: str, remedy: str) -> FunctionalError:
    return FunctionalError(f"functional '{name}' {kind}; {_NO_TERM}", field="xc", remedy=remedy)


def double_hybrid(name: str) -> FunctionalError:
    """Return the error for a functional with a perturbative part."""
    return _refuse(
        name,
        "has a perturbative (double-hybrid) correlation part, which is not implemented",
        "choose a hybrid such as 'pbe0' or 'camb3lyp'",
    )


def dispersion(name: str) -> FunctionalError:
    """Return the error for a functional with a dispersion correction in its name."""
    return _refuse(
        name,
        "includes a dispersion correction, which this spelling does not run",
        "add D3(BJ) or D4 with a plus sign, as in 'b3lyp+d3bj' or 'r2scan+d4', or leave it out",
    )


def nonlocal_correlation(name: str) -> FunctionalError:
    """Return the error for a functional with a nonlocal correlation part."""
    return _refuse(
        name,
        "has a nonlocal (VV10) correlation part, which is not implemented",
        "choose one without it, e.g. 'r2scan', 'wb97x' or 'camb3lyp'",
    )


def normalise(name: str, rank: Callable[[str], int]) -> str:
    """Bring a functional description into the spelling PySCF's parser understands.

    PySCF reads a dash as a minus sign except in a fixed list of names, so that ``scan-vv10`` would
    be SCAN minus VV10 and ``pbe0-2`` PBE0 minus functional number 2. Here a dash is part of a name
    if the name is known with an underscore or without a separator, and a name that only *looks*
    like a difference is refused.

    Parameters
    ----------
    name : str
        The description as the user wrote it.
    rank : callable
        2 for the upper-case name of a whole functional, 1 for that of an exchange or correlation
        part, 0 if unknown.

    Returns
    -------
    str
        The description in upper case, without blanks.

    Raises
    ------
    FunctionalError
        For double hybrids and dispersion-corrected names.

    Examples
    --------
    >>> normalise("lc-wpbe", lambda key: 2 * (key == "LC_WPBE"))
    'LC_WPBE'
    >>> normalise("0.5*b88 - 0.2*slater, lyp", lambda key: 0)
    '0.5*B88+-0.2*SLATER,LYP'
    """
    text = re.sub(r"\s+", "", name).upper()
    text = re.sub(r"(?<=[0-9.]E)\+(?=[0-9])", "", text)  # 1E+3: not an operator
    parts = text.split(",") if "(" not in text else [text]
    return ",".join("+".join(_token(name, t, rank) for t in p.split("+")) for p in parts)


def _token(name: str, token: str, rank: Callable[[str], int]) -> str:
    match = _FACTOR.match(token)
    factor, body = match.groups() if match else ("", token)
    if body in ("VV10", "RVV10"):
        raise nonlocal_correlation(name)
    if not body or rank(body):
        return token
    spellings = (body.replace("-", "_"), body.replace("-", ""), body.replace("_", ""))
    best = max(spellings, key=rank)
    if rank(best):
        return factor + best
    if _DOUBLE_HYBRID.match(body):
        raise double_hybrid(name)
    if _DISPERSION.search(body) and not body.startswith(("SR_", "LR_", "RSH")):
        raise dispersion(name)
    if re.search(r"[A-Z]\w*-\d+$", body):
        raise FunctionalError(
            f"'{name}' would subtract the libxc functional of that number",
            field="xc",
            remedy="check the name, or write the subtraction with a factor, e.g. 'b3lyp-1*8'",
        )
    # '+-' is a minus sign to PySCF even after an E, where '-' alone would be an exponent's
    return factor + re.sub(r"(?<![0-9.]E)-(?![^(]*\))", "+-", body)


def unknown(name: str, key: str, known: Iterable[str]) -> FunctionalError:
    """Return the error for an unknown name, with the nearest known ones in its remedy.

    Parameters
    ----------
    name : str
        The whole description.
    key : str
        The part of it that is not known.
    known : iterable of str
        Everything that would be.

    Examples
    --------
    >>> unknown("r2scam", "r2scam", ["pbe", "r2scan"]).remedy
    "did you mean 'r2scan'? Names are those of libxc, e.g. 'pbe', 'r2scan', 'b3lyp', 'lda,pw'"
    """
    pool = {k.lower() for k in known}
    lowered = key.lower()
    # parts of this name: 'vwn' is a correlation, 'm11' an exchange and a correlation
    correlation = [p + lowered for p in ("lda_c_", "gga_c_", "mgga_c_") if p + lowered in pool]
    exchange = [
        p + lowered
        for p in ("lda_x_", "gga_x_", "mgga_x_", "hyb_gga_x_", "hyb_mgga_x_")
        if p + lowered in pool
    ]
    close = (exchange + correlation)[:3]
    if len(exchange) == len(correlation) == 1:
        close = [f"{lowered},{lowered}"]
    if not close:
        close = difflib.get_close_matches(lowered, sorted(pool), n=3, cutoff=0.65)
    hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
    problem = f"unknown functional '{name}'"
    if lowered and lowered != name.lower():
        problem += f" (no '{lowered}' in libxc)"
    return FunctionalError(
        problem, field="xc", remedy=hint + "Names are those of libxc, e.g. 'pbe', 'r2scan', 'b3lyp', 'lda,pw'"
    )
