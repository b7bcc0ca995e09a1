"""Dispersion in names and options: ``pbe+d3bj``, ``r2scan+d4``, ``mine+d3bj(s8=0.8,a1=0.4,a2=4.5)``."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deepchem_dft.errors import FunctionalError, InputError
from deepchem_dft.xc.dispersion.library import PARAMETERS
from deepchem_dft.xc.dispersion.spelling import TERM
from deepchem_dft.xc.dispersion.term import Dispersion

if TYPE_CHECKING:
    from deepchem_dft.xc.base import XCFunctional

#: Functionals whose parameters the tables have under another name than libxc.
_TABLE_NAMES = {
    "bp86": "bp",
    "b3p86": "b3p",
    "bhandhlyp": "bhlyp",
    "d4:bpw91": "bpw",
    "d4:b3pw91": "b3pw",
    "d4:wb97x": "wb97x-2008",
}
#: Names that the tables have for another functional: wB97X-V, wB97M-V, B97M-V without their VV10.
_OTHERS = {"d3bj:wb97x", "d3bj:wb97m", "d3bj:b97m", "d4:wb97m", "d4:b97m"}


def parse(term: str | Mapping[str, Any], functional: str | None = None) -> Dispersion:
    """Return the dispersion that a text or a mapping describes.

    Parameters
    ----------
    term : str or mapping
        ``"d3bj"``, ``"d3bjatm"`` (with triples) or ``"d4"``, in brackets whose parameters to take, or
        their values: ``"d4(r2scan)"``, ``"d3bj(pbe, s8=0.8)"``. Or a mapping with keywords of
        :class:`Dispersion`.
    functional : str, optional
        Name of the functional it is for, whose parameters are taken unless others are named.

    Raises
    ------
    InputError
        If it describes none, or there are no parameters for the functional.

    Examples
    --------
    >>> parse("d3bj", "pbe0")
    Dispersion(d3bj, s6=1, s8=1.2177, s9=0, a1=0.4145, a2=4.8593)
    >>> parse({"model": "d3bj", "method": "pbe", "train": ["s8"]}).trained
    ['s8']
    """
    options = _of_text(term) if isinstance(term, str) else dict(term)
    unknown = [key for key in options if key not in ("model", "method", "train", *PARAMETERS)]
    if unknown:
        raise InputError(
            f"a dispersion has no '{str(unknown[0])[:40]}'",
            field="dispersion",
            remedy=f"it has model, method, train, {', '.join(PARAMETERS)}",
        )
    model = str(options.pop("model", "")).strip().lower()
    match = TERM.fullmatch(model)
    if match and not match["inside"]:
        model, triples = _kind(match["kind"])
        if triples is not None and options.get("s9") is None:
            options["s9"] = triples
    own = all(options.get(name) is not None for name in ("s8", "a1", "a2"))
    if options.get("method") is None and not own and functional is not None:
        options["method"] = _method_of(functional, model)
    return Dispersion(model, **options)


def _kind(kind: str) -> tuple[str, float | None]:
    """Return the model and the scale of triples (None: the model's own)."""
    kind = kind.lower()
    if kind == "d4":
        return "d4", None
    return "d3bj", 1.0 if kind.endswith("atm") else None


def _of_text(text: str) -> dict[str, Any]:
    match = TERM.fullmatch(text)
    if not match:
        raise InputError(
            f"{text[:60]!r} is no dispersion",
            field="dispersion",
            remedy="write d3bj, d3bjatm or d4; in brackets whose parameters to use, or their values",
        )
    options: dict[str, Any] = {"model": match["kind"]}
    for part in filter(None, (p.strip() for p in (match["inside"] or "").split(","))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        key = name.lower() if equals else "method"
        if key in options or (equals and key not in PARAMETERS):
            raise InputError(
                f"'{part[:40]}' means nothing in dispersion '{text[:60]}'",
                field="dispersion",
                remedy=f"name one functional, or give each of {', '.join(PARAMETERS)} once at most",
            )
        options[key] = value if equals else name
    return options


def _method_of(functional: str, model: str) -> str:
    bare = re.sub(r"[-_\s]", "", functional.lower().removeprefix("native:"))
    if f"{model}:{bare}" in _OTHERS:
        raise InputError(
            f"the published {model} parameters of '{bare}' are those of a functional with VV10, for its "
            f"use without, and not of libxc's '{functional}'",
            field="dispersion",
            remedy=f"say so if you mean them, as in '+{model}({bare})'",
        )
    return _TABLE_NAMES.get(f"{model}:{bare}", _TABLE_NAMES.get(bare, functional.removeprefix("native:")))


def attached(functional: "XCFunctional", term: Dispersion) -> "XCFunctional":
    """Give a functional that has none a dispersion, and return it.

    Raises
    ------
    FunctionalError
        If it has one.
    """
    if functional.dispersion_terms:
        raise FunctionalError(
            "the functional has a dispersion already", field="dispersion", remedy="name it once"
        )
    functional.dispersion = term
    return functional
