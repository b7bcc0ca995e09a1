"""Basis sets and effective core potentials by name, for every element of a system."""

import contextlib
import copy
import difflib
import os
import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from deepchem_dft.errors import InputError
from deepchem_dft.molecule.elements import NUCLEAR_CHARGE, element

BasisSpec = str | Mapping[str, Any]

# p-block elements: where a missing diffuse function spoils an anion (Z ranges B-Ne, Al-Ar, ...)
_P_BLOCK = frozenset(
    z for low, high in ((5, 10), (13, 18), (31, 36), (49, 54), (81, 86)) for z in range(low, high + 1)
)


@lru_cache(maxsize=1)
def _known_names() -> tuple[str, ...]:
    names = {
        "def2-svp",
        "def2-tzvp",
        "def2-qzvp",
        "cc-pvdz",
        "cc-pvtz",
        "aug-cc-pvtz",
        "sto-3g",
        "6-31g(d,p)",
        "6-311++g(3df,3pd)",
        "pcseg-2",
    }
    with contextlib.suppress(ImportError):
        import basis_set_exchange

        names.update(basis_set_exchange.get_all_basis_names())
    return tuple(sorted({name.lower() for name in names}))


def suggest_basis(name: str) -> str:
    """Return a remedy for an unknown basis name.

    Examples
    --------
    >>> suggest_basis("def2-tzvq")
    'did you mean def2-tzvp, def2-tzvpp or def2-tzvpd?'
    """
    near = difflib.get_close_matches(str(name).strip().lower(), _known_names(), n=3, cutoff=0.6)
    if not near:
        return "use a name known to PySCF or the Basis Set Exchange, such as def2-tzvp"
    head, last = near[:-1], near[-1]
    return f"did you mean {' or '.join([', '.join(head), last]) if head else last}?"


def _clean(name: str) -> str:
    """Check what could make PySCF read a file, or evaluate text, in place of a name."""
    text = name.strip()
    if not text or len(text) > 80 or "\n" in text or "\r" in text:
        raise InputError(
            f"{text[:40]!r} is not the name of a basis set",
            field="basis",
            remedy="give a name such as def2-tzvp",
        )
    if os.path.isfile(text):
        raise InputError(
            f"basis {text!r} is the path of a file",
            field="basis",
            remedy="give the name of a basis set (basis files are not read; move "
            "the file if it only happens to have that name)",
        )
    if "gth" in text.lower():
        raise InputError(
            f"basis {text!r} needs pseudopotentials, which are not supported",
            field="basis",
            remedy="use an all-electron or ECP basis such as def2-tzvp",
        )
    return text


@lru_cache(maxsize=4096)
def load_functions(name: str, symbol: str) -> Any:
    """Return PySCF basis data for one element, or None. It is shared: copy it to change it."""
    from pyscf import gto

    bare = name[4:] if name.lower().startswith("unc-") else name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            data = gto.basis.load(bare, symbol)
        except Exception:  # many types, for names and for elements it lacks
            data = None
    if not data:
        return None
    return gto.uncontract(data) if bare is not name else data


@lru_cache(maxsize=4096)
def _load_ecp(name: str, symbol: str) -> Any:
    """Return PySCF ECP data that belongs to a basis or ECP name, or an empty list."""
    from pyscf import gto

    bare = name[4:] if name.lower().startswith("unc-") else name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            data = gto.basis.load_ecp(bare, symbol)
        except Exception:  # as above
            data = None
        if not data:  # sets made of several files (aug-cc-pvtz-pp) are found by their parent
            data = _exchange_ecps(bare).get(symbol)
    return data or []


@lru_cache(maxsize=64)
def _exchange_ecps(name: str) -> dict[str, Any]:
    """Return the ECPs of a set of the Basis Set Exchange; all elements at once cost no more than two."""
    from pyscf.gto.basis import bse

    try:
        return dict(bse._ecp_basis(bse.basis_set_exchange.api.get_basis(name)))
    except Exception:  # as above
        return {}


def per_element(symbols: Sequence[str], spec: Any, field: str) -> dict[str, Any]:
    """Spread a name or a per-element mapping over the elements of a system.

    Examples
    --------
    >>> per_element(["O", "H", "H"], {"default": "sto-3g", "O": "6-31g"}, "basis")
    {'H': 'sto-3g', 'O': '6-31g'}
    """
    wanted = sorted(set(symbols), key=NUCLEAR_CHARGE.__getitem__)
    if isinstance(spec, str):
        return dict.fromkeys(wanted, spec)
    if not isinstance(spec, Mapping):
        raise InputError(
            f"{field} must be a name or a mapping of elements to names, not {spec!r}",
            field=field,
            remedy="write def2-tzvp, or {default: def2-tzvp, H: def2-svp}",
        )
    named: dict[str, Any] = {}
    default = None
    for key, value in spec.items():
        if str(key).strip().lower() == "default":
            default = value
            continue
        try:
            named[element(key)] = value
        except InputError as error:
            raise InputError(
                error.problem, field=field, remedy="keys are element symbols or 'default'"
            ) from None
    return {symbol: named.get(symbol, default) for symbol in wanted}


def resolve_basis(symbols: Sequence[str], basis: BasisSpec) -> dict[str, Any]:
    """Look up the basis functions of every element.

    Parameters
    ----------
    symbols : sequence of str
        Element symbols of the system (repeats are fine).
    basis : str or mapping
        A name in any case, known to PySCF or the Basis Set Exchange; ``unc-NAME`` uncontracts.
        Or a mapping from element (or ``default``) to a name or to PySCF basis data.

    Returns
    -------
    dict
        Element symbol to PySCF basis data, in order of nuclear charge.

    Raises
    ------
    InputError
        Unknown name, element missing from the set, a set for pseudopotentials.

    Examples
    --------
    >>> sorted(resolve_basis(["O", "H", "H"], {"default": "STO-3G", "O": "6-31G*"}))
    ['H', 'O']
    >>> resolve_basis(["H"], "def2-tzvpx")
    Traceback (most recent call last):
    ...
    deepchem_dft.errors.InputError: field 'basis': unknown basis 'def2-tzvpx'. Remedy: ...
    """
    out: dict[str, Any] = {}
    for symbol, spec in per_element(symbols, basis, "basis").items():
        if isinstance(spec, (list, tuple)) and spec and not isinstance(spec[0], str):
            out[symbol] = copy.deepcopy(list(spec))
            continue
        if not isinstance(spec, str):
            raise InputError(
                f"no basis for element {symbol}"
                if spec is None
                else f"the basis of {symbol} must be a name, not {spec!r}",
                field="basis",
                remedy="add the element or 'default' to the mapping",
            )
        name = _clean(spec)
        data = load_functions(name, symbol)
        if data is None:
            if _is_known(name):
                raise InputError(
                    f"basis {name!r} has no functions for {symbol}",
                    field="basis",
                    remedy=f"choose another basis, or another one for {symbol} alone: "
                    f"{{default: {name}, {symbol}: def2-tzvp}}",
                )
            raise InputError(f"unknown basis {name!r}", field="basis", remedy=suggest_basis(name))
        out[symbol] = copy.deepcopy(data)  # the cached data must not be changed by a caller
    return out


def _is_known(name: str) -> bool:
    from pyscf import gto

    key = gto.basis._format_basis_name(name)
    return (
        key in gto.basis.ALIAS
        or name.lower() in _known_names()
        or any(load_functions(name, symbol) is not None for symbol in ("H", "C", "O", "Fe"))
    )


def resolve_ecp(symbols: Sequence[str], basis: BasisSpec, ecp: BasisSpec | None = None) -> dict[str, Any]:
    """Look up the effective core potential of every element that has one.

    A basis that was made for an ECP (def2 beyond Kr, LANL2DZ, cc-pVnZ-PP, ...) gets it without
    being asked: such a basis without its potential gives meaningless energies.

    Parameters
    ----------
    symbols : sequence of str
    basis : str or mapping
        As in `resolve_basis`.
    ecp : str or mapping, optional
        A name, or element to name; ``none`` switches the automatic choice off.

    Returns
    -------
    dict
        Element symbol to PySCF ECP data ``[n_core, ...]``; empty when all electrons are treated.

    Raises
    ------
    InputError
        Unknown ECP, or a valence-only basis without one.

    Examples
    --------
    >>> {symbol: data[0] for symbol, data in resolve_ecp(["I", "H"], "def2-SVP").items()}
    {'I': 28}
    """
    functions = resolve_basis(symbols, basis)
    names = per_element(symbols, basis, "basis")
    asked = per_element(symbols, ecp, "ecp") if ecp is not None else {}
    names_asked = {want for want in asked.values() if isinstance(want, str)}
    unknown = sorted(want for want in names_asked if not _ecp_exists(_clean(want)))
    if unknown:
        raise InputError(
            f"unknown ecp {unknown[0]!r}",
            field="ecp",
            remedy="leave ecp out to use the one that belongs to the basis",
        )
    out: dict[str, Any] = {}
    for symbol, data in functions.items():
        want = asked.get(symbol)
        if isinstance(want, (list, tuple)) and want:
            found = copy.deepcopy(list(want))
        elif isinstance(want, str) and want.strip().lower() == "none":
            found = []
        elif want is not None:
            if not isinstance(want, str):
                raise InputError(
                    f"the ecp of {symbol} must be a name, not {want!r}",
                    field="ecp",
                    remedy="write e.g. def2-tzvp, or leave it out",
                )
            found = copy.deepcopy(_load_ecp(_clean(want), symbol))
            if not found and isinstance(ecp, Mapping) and "default" not in ecp:
                raise InputError(
                    f"ecp {want!r} has no potential for {symbol}",
                    field="ecp",
                    remedy="leave ecp out to use the one that belongs to the basis",
                )
        else:
            name = names[symbol]
            heavy = NUCLEAR_CHARGE[symbol] > 2 and isinstance(name, str)
            found = copy.deepcopy(_load_ecp(_clean(name), symbol)) if heavy else []
        if found:
            out[symbol] = found
        else:
            _check_core(symbol, names[symbol], data)
    return out


def _ecp_exists(name: str) -> bool:
    return name.lower() == "none" or any(_load_ecp(name, symbol) for symbol in ("I", "Au", "Fe", "O", "Xe"))


def _check_core(symbol: str, name: Any, data: Any) -> None:
    """Refuse all-electron use of a set that has no functions for the core electrons."""
    z = NUCLEAR_CHARGE[symbol]
    if z < 3:
        return
    steepest = max(
        (row[0] for shell in data if shell[0] == 0 for row in shell[1:] if isinstance(row, (list, tuple))),
        default=0.0,
    )
    # A 1s function needs exponents of at least several Z; STO-3G, the smallest set, has 5 Z.
    if steepest < (10.0 if z > 10 else 2.0) * z:
        raise InputError(
            f"basis {str(name)!r} describes only the valence electrons of {symbol}",
            field="basis",
            remedy="name the matching ecp, or use an all-electron basis",
        )


def has_diffuse(symbols: Sequence[str], basis: BasisSpec) -> bool:
    """Check whether a basis can hold the extra electron of an anion.

    The smallest s or p exponent of each p-block element (of every element, if there is none) is
    compared with that of def2-TZVP. Sets without diffuse functions up to quintuple zeta
    stay above 0.72 of it; sets with them lie at 0.2 to 0.7.

    Examples
    --------
    >>> has_diffuse(["O", "H"], "aug-cc-pvdz"), has_diffuse(["O", "H"], "def2-qzvp")
    (True, False)
    """
    data = resolve_basis(symbols, basis)
    chosen = [s for s in data if NUCLEAR_CHARGE[s] in _P_BLOCK] or list(data)
    for symbol in chosen:
        reference = load_functions("def2-tzvp", symbol)
        if reference is None:
            continue
        limit = 0.6 if symbol == "H" else 0.72
        if _smallest_exponent(data[symbol]) > limit * _smallest_exponent(reference):
            return False
    return True


def _smallest_exponent(data: Any) -> float:
    return min(
        (row[0] for shell in data if shell[0] <= 1 for row in shell[1:] if isinstance(row, (list, tuple))),
        default=float("inf"),
    )
