"""Names of functionals, without torch: spellings, parts that cannot be run, nearest known names."""

import contextlib
import ctypes
import difflib
import io
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from deepchem_dft.errors import FunctionalError

# Doubly hybrid names; none of them is in libxc, and some would parse as a subtraction.
_DOUBLE_HYBRID = re.compile(
    r"^(W?B2.*PLYP.*|MPW2.*PLYP.*|XYG.*|XDH.*|(REV)?(DSD|DOD|SOS|SCS)[-_0-9].*|PWPB95|PTPSS|"
    r"PBE0[-_](2|DH)|.*[-_]?QIDH|.*[-_]0DH|.*[-_]DH\d*|W(B97M\(2\)|B97X[-_]2)|LS1.*|.*MP2.*|.*PT2.*)$"
)
_DISPERSION = re.compile(r"[-_]?(D[234]\w*(\(\w*\))?|3C|GCP|XDM|MBD|TS|NL|R?VV10)$|[-_]D$")
_FACTOR = re.compile(r"^(-?[0-9.]+(?:E[-+]?[0-9]+)?\*)(.*)$")
# '+vv10(b,C)' or '+rvv10(b,C)'.
_ADDED = re.compile(r"\+(R?VV10)\(([^(),]*),([^(),]*)\)")
# Bits of libxc's xc_func_info_type.flags, see xc.h
_HAVE_EXC, _HAVE_FXC, _3D, _YUKAWA, VV10_FLAG = 1 << 0, 1 << 2, 1 << 7, (1 << 9) | (1 << 12), 1 << 10
_LAPLACIAN = 1 << 15
_KINETIC = 3  # xc_func_info_type.kind
# Parametrised together with a dispersion term that libxc leaves to the caller.
_WITH_DISPERSION = re.compile(r"_xc?_.*_(d|d2|d3|3c)$|_x_(rev)?ssb_d$|_xc_beefvdw$|_[xc]_cf22d$")
_NO_TERM = "the exact parts alone would be a different functional"


class NonlocalTerm(NamedTuple):
    """VV10 as part of a functional: its form, b, C, and the factor before it."""

    form: str
    b: float
    c: float
    factor: float = 1.0


class Component(NamedTuple):
    """One functional of libxc and its factor; b and C of its nonlocal correlation, if any."""

    name: str
    factor: float
    kind: int
    flags: int
    b: float
    c: float


#: Functionals that libxc does not have as such: their semilocal part and rVV10.
#: r2SCAN+rVV10: Ning et al., Phys. Rev. B 106, 075422 (2022).
_WITH_RVV10 = {"R2SCAN": ("R2SCAN", (NonlocalTerm("rvv10", 11.95, 0.0093),)), "SCAN": ("SCAN_RVV10", ())}


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
    if re.search(r"\+\s*d[34]", name, re.IGNORECASE):
        return FunctionalError(
            f"the dispersion of '{name}' is not added here",
            field="xc",
            remedy="leave it out: it changes no density, no orbital and no Kohn-Sham matrix",
        )
    return _refuse(
        name,
        "includes a dispersion correction, which this spelling does not run",
        "add D3(BJ) or D4 with a plus sign, as in 'b3lyp+d3bj' or 'r2scan+d4', or leave it out",
    )


def nonlocal_correlation(name: str) -> FunctionalError:
    """Return the error for VV10 without its parameters."""
    return _refuse(
        name,
        "names VV10 without its parameters",
        "give b and C, as in 'pbe+vv10(6.2,0.0093)', or name a functional with VV10, e.g. 'wb97m-v'",
    )


def split_nonlocal(name: str) -> tuple[str, tuple[NonlocalTerm, ...]]:
    """Take what is added of VV10 and rVV10 off a functional's name.

    Raises
    ------
    FunctionalError
        For parameters that are no positive numbers.

    Examples
    --------
    >>> split_nonlocal("r2SCAN-rVV10")
    ('R2SCAN', (NonlocalTerm(form='rvv10', b=11.95, c=0.0093, factor=1.0),))
    >>> split_nonlocal("pbe + vv10(6.2, 0.0093)")
    ('PBE', (NonlocalTerm(form='vv10', b=6.2, c=0.0093, factor=1.0),))
    >>> split_nonlocal("wb97m-v")                                # VV10 is libxc's matter here
    ('wb97m-v', ())
    """
    text = re.sub(r"\s+", "", name).upper()
    known = re.fullmatch(r"(R2SCAN|SCAN)[-_+]RVV10", text)
    if known:
        return _WITH_RVV10[known.group(1)]
    terms = []
    for form, *values in _ADDED.findall(text):
        try:
            b, c = map(float, values)
        except ValueError:
            b = c = math.nan
        if not all(math.isfinite(x) and x > 0.0 for x in (b, c)):
            raise FunctionalError(
                f"'{name}' gives VV10 parameters that are no positive numbers",
                field="xc",
                remedy="give b and C, as in 'pbe+vv10(6.2,0.0093)'",
            )
        terms.append(NonlocalTerm(form.lower(), b, c))
    return (_ADDED.sub("", text), tuple(terms)) if terms else (name, ())


def check_component(name: str, part: Component) -> None:
    """Raise ``FunctionalError`` if a part of the functional ``name`` cannot be run whole."""
    if _WITH_DISPERSION.search(part.name):
        raise dispersion(name)
    kind, flags = part.kind, part.flags
    reasons = {
        "is a kinetic-energy functional": kind == _KINETIC,
        "needs the Laplacian of the density, which is not provided": flags & _LAPLACIAN,
        "defines a potential but no energy": not flags & _HAVE_EXC,
        "has no second derivatives in libxc": not flags & _HAVE_FXC,
        "is not for three dimensions": not flags & _3D,
        "uses Yukawa-screened exact exchange, for which there are no integrals": flags & _YUKAWA,
    }
    for reason, applies in reasons.items():
        if applies:
            raise FunctionalError(
                f"functional '{name}' cannot be run: '{part.name}' {reason}",
                field="xc",
                remedy="choose another, e.g. 'pbe' or 'r2scan'",
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
    if body in ("VV10", "RVV10"):  # in a sum libxc's whole functional VV10 cannot be meant
        if body == re.sub(r"\s+", "", name).upper() == "VV10":
            return "GGA_XC_VV10"
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


@dataclass(frozen=True)
class Spec:
    """A checked functional: PySCF's spelling, its family, its exact exchange and its VV10."""

    code: str
    family: str
    has_density: bool
    exchange: tuple[tuple[float, float | None], ...]
    nonlocal_correlation: tuple[NonlocalTerm, ...]


def pyscf_libxc():
    """Return PySCF's interface to libxc."""
    from pyscf.dft import libxc  # takes a second to import, so only when needed

    return libxc


@lru_cache(maxsize=1)
def _known_names() -> frozenset[str]:
    libxc = pyscf_libxc()
    names = set(libxc.XC_CODES) | set(libxc.XC_ALIAS) | {"HF"}
    for key in libxc.XC_CODES:  # PySCF completes the prefix of a full functional
        _, full, short = key.partition("_XC_")
        names.update([short] if full else [])
    return frozenset(names)


def _rank(key: str) -> int:
    """Return 2 for the name of a whole functional, 1 for that of a part, 0 if unknown."""
    if key in _known_names():
        return 2
    prefixes = ("LDA_X_", "GGA_X_", "MGGA_X_", "HYB_GGA_X_", "HYB_MGGA_X_", "LDA_C_", "GGA_C_", "MGGA_C_")
    return int(any(prefix + key in _known_names() for prefix in prefixes))


def _components(libxc, parts) -> list[Component]:
    """Return what every libxc functional among PySCF's ``(number, factor)`` is.

    Through libxc's C interface, since PySCF's own access to it differs between versions.
    """
    # Fresh prototypes: setting argtypes on the shared handle would change PySCF's own calls.
    handle, pointer, integer = libxc._itrf, ctypes.c_void_p, ctypes.c_int
    allocate = ctypes.CFUNCTYPE(pointer)(("xc_func_alloc", handle))
    start = ctypes.CFUNCTYPE(integer, pointer, integer, integer)(("xc_func_init", handle))
    end = ctypes.CFUNCTYPE(None, pointer)(("xc_func_end", handle))
    free = ctypes.CFUNCTYPE(None, pointer)(("xc_func_free", handle))
    info_of = ctypes.CFUNCTYPE(pointer, pointer)(("xc_func_get_info", handle))
    kind_of = ctypes.CFUNCTYPE(integer, pointer)(("xc_func_info_get_kind", handle))
    flags_of = ctypes.CFUNCTYPE(integer, pointer)(("xc_func_info_get_flags", handle))
    name_of = ctypes.CFUNCTYPE(ctypes.c_char_p, integer)(("xc_functional_get_name", handle))
    nonlocal_of = ctypes.CFUNCTYPE(None, pointer, pointer, pointer)(("xc_nlc_coef", handle))
    found = []
    for number, factor in parts:
        functional = allocate()
        try:
            if start(functional, int(number), 1) != 0:  # of unpolarised densities: any will do
                raise ValueError(f"libxc has no functional {number}")
            info = info_of(functional)
            flags, b, c = flags_of(info), ctypes.c_double(), ctypes.c_double()
            if flags & VV10_FLAG:
                nonlocal_of(functional, ctypes.addressof(b), ctypes.addressof(c))
            name = (name_of(int(number)) or b"").decode()
            found.append(Component(name, float(factor), kind_of(info), flags, b.value, c.value))
            end(functional)
        finally:
            free(functional)
    return found


@lru_cache(maxsize=256)
def resolve(name: str) -> Spec:
    """Parse and check a functional name; raise ``FunctionalError`` if it cannot be run whole."""
    libxc = pyscf_libxc()
    semilocal, added = split_nonlocal(name)
    code = normalise(semilocal, _rank)
    if "-D3" in code or "-D4" in code:  # PySCF would strip it and run the rest
        raise dispersion(name)
    chatter = io.StringIO()  # the parser writes to stderr when a name is ambiguous
    try:
        with contextlib.redirect_stderr(chatter):
            _, parts = libxc.parse_xc(code)
            kind, found = libxc.xc_type(code), _components(libxc, parts)
    except Exception as error:  # the parser raises whatever its string operations raise
        missing = re.search(r"name '(.*)' not found", str(error))
        raise unknown(name, missing.group(1) if missing else name, _known_names()) from None
    if "Possible xc_code" in chatter.getvalue():
        options = re.search(r"\[(.*?)\]", chatter.getvalue())
        raise FunctionalError(
            f"functional '{name}' is ambiguous",
            field="xc",
            remedy=f"write one of {options.group(1).lower() if options else ''}",
        )
    if not all(math.isfinite(factor) for _, factor in parts):
        raise FunctionalError(
            f"functional '{name}' has a factor that is not a finite number",
            field="xc",
            remedy="write factors as in '0.25*hf+0.75*pbe,pbe'",
        )
    for part in found:
        check_component(name, part)
    if kind not in ("HF", "LDA", "GGA", "MGGA"):
        raise FunctionalError(
            f"functional '{name}' is neither LDA, GGA nor meta-GGA",
            field="xc",
            remedy="choose one of these families",
        )
    try:
        omega, alpha, beta = libxc.rsh_coeff(code)
        short = alpha + beta if omega else libxc.hybrid_coeff(code)
        if omega < 0 or not all(map(math.isfinite, (omega, alpha, short))):
            raise ValueError("omega must be positive")
    except Exception as error:
        reason = str(error) or "its shares contradict each other"
        raise FunctionalError(
            f"the exact exchange of '{name}' cannot be run: {reason}",
            field="xc",
            remedy="use one range-separation parameter, and write ranges as in "
            "'0.2*SR_HF(0.3)+0.8*LR_HF(0.3)'",
        ) from None
    # PySCF: K = short * K_full + (alpha - short) * K_long(omega)
    terms = [(float(short), None), (float(alpha - short) if omega else 0.0, float(omega))]
    exchange = tuple((c, w) for c, w in terms if abs(c) > 1e-12)
    if not parts and not exchange:
        raise FunctionalError(
            f"functional '{name}' is empty", field="xc", remedy="name a functional, e.g. 'pbe'"
        )
    family = "lda" if kind == "HF" else kind.lower()
    own = [
        NonlocalTerm("rvv10" if "rvv10" in part.name else "vv10", part.b, part.c, part.factor)
        for part in found
        if part.flags & VV10_FLAG
    ]
    return Spec(code, family, bool(parts), exchange, (*own, *added))
