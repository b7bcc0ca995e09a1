"""Elements and numbers as people write them."""

import difflib
import re
import warnings
from typing import Any

from deepchem_dft.errors import InputError

_ELEMENTS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se "
    "Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb "
    "Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm "
    "Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og"
)

#: Element symbols by nuclear charge; index 0 is unused.
SYMBOLS: tuple[str, ...] = ("", *_ELEMENTS.split())

#: Nuclear charge by element symbol.
NUCLEAR_CHARGE: dict[str, int] = {symbol: z for z, symbol in enumerate(SYMBOLS) if z}

_HEAVY_HYDROGEN = {"D": "deuterium", "T": "tritium"}
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+)?")
#: How atoms are written, for messages.
EXAMPLE = "write each atom as 'O 0.0 0.0 0.22', atoms separated by ';' or line breaks"


def element(symbol: Any) -> str:
    """Read one element symbol or nuclear charge.

    Parameters
    ----------
    symbol : str or int
        ``"He"``, ``"he"``, ``"2"`` or ``2``.

    Returns
    -------
    str
        The symbol in its usual spelling. Deuterium and tritium are hydrogen, with a warning.

    Raises
    ------
    InputError
        For ghost atoms, labelled atoms (``H1``) and anything that is no element.

    Examples
    --------
    >>> element("cl"), element("26")
    ('Cl', 'Fe')
    """
    text = str(symbol).strip()
    if isinstance(symbol, (bool, float)) or not text:
        raise InputError(f"{symbol!r} is not an element", field="geometry", remedy=EXAMPLE)
    if text.isascii() and text.isdigit():
        z = int(text) if len(text) < 4 else 0
        if 0 < z < len(SYMBOLS):
            return SYMBOLS[z]
        raise InputError(
            f"there is no element with nuclear charge {text}",
            field="geometry",
            remedy="ghost atoms are not supported; use 1 to 118 or a symbol",
        )
    found = text.capitalize()
    if found in NUCLEAR_CHARGE:
        return found
    if found in _HEAVY_HYDROGEN:
        warnings.warn(
            f"isotopes are not told apart: {found} ({_HEAVY_HYDROGEN[found]}) is read as H", stacklevel=2
        )
        return "H"
    lowered = text.lower()
    if lowered.startswith(("ghost", "@", "x-", "gh-", "gh(", "bq")) or lowered == "x":
        raise InputError(
            f"{text!r} is a ghost atom, which is not supported", field="geometry", remedy="remove it"
        )
    letters = re.match(r"[A-Za-z]+", text)
    if letters and letters.group().capitalize() in NUCLEAR_CHARGE:
        remedy = f"write {letters.group().capitalize()!r} without a label"
    else:
        near = difflib.get_close_matches(found, NUCLEAR_CHARGE, n=2, cutoff=0.6)
        remedy = f"did you mean {' or '.join(near)}?" if near else "use symbols such as H, C or Cl"
    raise InputError(f"unknown element {text!r}", field="geometry", remedy=remedy)


def number(token: Any, atom: int) -> float:
    """Read one coordinate; Fortran's exponents (``1.0D-3``) are fine.

    Raises
    ------
    InputError
        Naming the number of the atom, counted from 1.
    """
    text = str(token)
    if isinstance(token, bool) or _NUMBER.fullmatch(text) is None:
        raise InputError(
            f"coordinate {text!r} of atom {atom} is not a number", field="geometry", remedy=EXAMPLE
        )
    return float(text.replace("d", "e").replace("D", "e"))
