"""Conventional functionals from libxc (through PySCF) as torch modules with three derivatives."""

from __future__ import annotations

import contextlib
import ctypes
import io
import math
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement, permutations
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from deepchem_dft.errors import FunctionalError
from deepchem_dft.xc import libxc_names
from deepchem_dft.xc.base import NCOMP, XCFunctional
from deepchem_dft.xc.features import check_rho
from deepchem_dft.xc.libxc_names import VV10_FLAG, Component
from deepchem_dft.xc.nonlocality.vv10 import GRID_LEVEL, VV10

if TYPE_CHECKING:
    from deepchem_dft.xc.quadrature import Quadrature

_warned_device = False


@dataclass(frozen=True)
class _Spec:
    """A checked functional: PySCF's spelling, its family, its exact exchange and its VV10."""

    code: str
    family: str
    has_density: bool
    exchange: tuple[tuple[float, float | None], ...]
    nonlocal_correlation: tuple[libxc_names.NonlocalTerm, ...]


def _pyscf_libxc():
    from pyscf.dft import libxc  # takes a second to import, so only when needed

    return libxc


@lru_cache(maxsize=1)
def _known_names() -> frozenset[str]:
    libxc = _pyscf_libxc()
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
def _resolve(name: str) -> _Spec:
    """Parse and check a functional name; raise ``FunctionalError`` if it cannot be run whole."""
    libxc = _pyscf_libxc()
    semilocal, added = libxc_names.split_nonlocal(name)
    code = libxc_names.normalise(semilocal, _rank)
    if "-D3" in code or "-D4" in code:  # PySCF would strip it and run the rest
        raise libxc_names.dispersion(name)
    chatter = io.StringIO()  # the parser writes to stderr when a name is ambiguous
    try:
        with contextlib.redirect_stderr(chatter):
            _, parts = libxc.parse_xc(code)
            kind, found = libxc.xc_type(code), _components(libxc, parts)
    except Exception as error:  # the parser raises whatever its string operations raise
        missing = re.search(r"name '(.*)' not found", str(error))
        raise libxc_names.unknown(name, missing.group(1) if missing else name, _known_names()) from None
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
        libxc_names.check_component(name, part)
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
        libxc_names.NonlocalTerm("rvv10" if "rvv10" in part.name else "vv10", part.b, part.c, part.factor)
        for part in found
        if part.flags & VV10_FLAG
    ]
    return _Spec(code, family, bool(parts), exchange, (*own, *added))


def _evaluate(code: str, rho: Tensor, deriv: int) -> np.ndarray:
    """Energy per volume, then its derivatives in the packed variables of ``_variables``."""
    global _warned_device
    if rho.device.type != "cpu" and not _warned_device:
        _warned_device = True
        warnings.warn(
            "libxc runs on the CPU: densities are copied from the device at every call. "
            "'native:lda' and 'native:pbe' stay on the device.",
            stacklevel=3,
        )
    array = np.ascontiguousarray(rho.detach().to("cpu", torch.float64).numpy())
    polarised = array.shape[0] == 2
    out = _pyscf_libxc().eval_xc1(code, array if polarised else array[0], int(polarised), deriv)
    out[0] *= array[:, 0].sum(0)
    # next to its thresholds libxc may divide zero by zero; there is no density there
    return np.nan_to_num(out, copy=False, nan=0.0, posinf=0.0, neginf=0.0)


class _Energy(torch.autograd.Function):
    """Energy per volume as a function of densities, contracted gradients and tau."""

    @staticmethod
    def forward(ctx, variables: Tensor, rho: Tensor, code: str) -> Tensor:
        wanted = ctx.needs_input_grad[0]
        out = torch.from_numpy(_evaluate(code, rho, int(wanted))).to(variables)
        if wanted:
            ctx.save_for_backward(variables, rho, out[1 : 1 + len(variables)])
            ctx.code, ctx.memo = code, {}
        return out[0].clone()

    @staticmethod
    def backward(ctx, weight: Tensor):
        variables, rho, first = ctx.saved_tensors
        return _Gradient.apply(weight, variables, first, rho, ctx.code, ctx.memo), None, None


class _Gradient(torch.autograd.Function):
    """``weight * dE/dvariables``; libxc's higher derivatives are computed only if asked for."""

    @staticmethod
    def forward(ctx, weight, variables, first, rho, code, memo):
        ctx.save_for_backward(weight, variables, first, rho)
        ctx.code, ctx.memo = code, memo
        return weight * first

    @staticmethod
    def backward(ctx, direction: Tensor):
        weight, variables, first, rho = ctx.saved_tensors
        known = rho, ctx.code, ctx.memo
        d_weight = d_variables = None
        if ctx.needs_input_grad[0]:  # through a function again: it depends on the variables, too
            slope = _Gradient.apply(torch.ones_like(weight), variables, first, *known)
            d_weight = (direction * slope).sum(0)
        if ctx.needs_input_grad[1]:
            d_variables = _Curvature.apply(weight, direction, variables, *known)
        return d_weight, d_variables, None, None, None, None


class _Curvature(torch.autograd.Function):
    """``weight * d2E/dvariables2 @ direction``, and its derivatives, the last there are."""

    @staticmethod
    def forward(ctx, weight, direction, variables, rho, code, memo):
        ctx.save_for_backward(weight, direction, rho)
        ctx.code, ctx.memo = code, memo
        return weight * _contract(_packed(direction, rho, code, memo, 2), direction)

    @staticmethod
    def backward(ctx, onto: Tensor):
        if torch.is_grad_enabled():  # as for a further derivative, which would be wrong in silence
            raise FunctionalError(
                "libxc gives no derivatives beyond the third",
                field="xc",
                remedy="use a functional in torch, e.g. 'native:pbe'",
            )
        weight, direction, rho = ctx.saved_tensors
        bent = _contract(_packed(onto, rho, ctx.code, ctx.memo, 2), onto)
        d_variables = None
        if ctx.needs_input_grad[2]:
            third = _packed(onto, rho, ctx.code, ctx.memo, 3)
            d_variables = weight * _contract(third, direction, onto)
        return (bent * direction).sum(0), weight * bent, d_variables, None, None, None


def _packed(like: Tensor, rho: Tensor, code: str, memo: dict, order: int) -> Tensor:
    """Return the derivatives of one order, each once; shared by all products with a density."""
    if order not in memo:
        if order > _pyscf_libxc().max_deriv_order(code):
            raise FunctionalError(
                f"libxc has no derivatives of '{code}' of order {order}",
                field="xc",
                remedy="choose another, e.g. 'pbe' or 'r2scan'",
            )
        count = len(like)
        before = sum(math.comb(count + k - 1, k) for k in range(order))
        memo[order] = torch.from_numpy(_evaluate(code, rho, order)[before:]).to(like)
    return memo[order]


def _contract(packed: Tensor, *directions: Tensor) -> Tensor:
    """Sum symmetric derivatives over all indices but one with a direction each, (n, G)."""
    found = torch.zeros_like(directions[0])
    multisets = combinations_with_replacement(range(len(found)), 1 + len(directions))
    for multiset, values in zip(multisets, packed, strict=True):
        for free, *others in sorted(set(permutations(multiset))):
            term = values
            for index, direction in zip(others, directions, strict=True):
                term = term * direction[index]
            found[free] += term
    return found


def _variables(rho: Tensor, family: str) -> Tensor:
    """Stack the variables libxc differentiates by: densities, sigma (aa, ab, bb) and tau."""
    rows = [rho[:, 0]]
    if family != "lda":
        gradient = rho[:, 1:4]
        first = (gradient[0] * gradient).sum(1)  # aa, ab
        rows.append(first)
        if rho.shape[0] == 2:
            rows.append((gradient[1:] * gradient[1:]).sum(1))
    if family == "mgga":
        rows.append(rho[:, 4])
    return torch.cat(rows)


class Libxc(XCFunctional):
    """A functional of libxc, whole: semilocal part, exact exchange, nonlocal correlation.

    Parameters
    ----------
    name : str
        Any spelling PySCF accepts: ``"pbe"``, ``"lda,pw"``, ``"b3lyp"``, ``"0.5*hf+0.5*b88,lyp"``,
        libxc's own names joined by ``+`` as in DeepChem (``"gga_x_pbe+gga_c_pbe"``), and names with
        a dash (``"lc-wpbe"``). As in PySCF ``"lda"`` is Slater exchange alone and ``"pbe"`` is
        exchange and correlation. VV10 is part of functionals such as ``"wb97m-v"``, and comes to
        others with its b and C: ``"pbe+vv10(6.2,0.0093)"``, ``"scan+rvv10(15.7,0.0093)"``.
    vv10_level : int, "coarse" or None
        Quadrature of VV10: a level (0 to 9); one of few points, which are enough for it; None for
        the molecule's own. See :class:`~deepchem_dft.xc.VV10`.
    train_vv10 : bool
        Whether b and C of VV10 are optimised.

    Attributes
    ----------
    name, code : str
        The name as given, and its semilocal and exact-exchange part as PySCF reads it.

    Raises
    ------
    FunctionalError
        If the name is unknown, or if a part of the functional could not be run: perturbative or
        dispersion parts, Laplacians, Yukawa screening, potentials without an energy.

    Notes
    -----
    Functionals with rVV10 have its formula; PySCF has VV10's, with the parameters of rVV10, for
    ``"scan_rvv10"``. Derivatives up to the third come from libxc; a fourth is an error. Evaluation is
    on the CPU and in float64 whatever the device of ``rho``.

    References
    ----------
    Lehtola et al., SoftwareX 7, 1 (2018).

    Examples
    --------
    >>> Libxc("camb3lyp").family
    'gga'
    >>> [(round(c, 2), w) for c, w in Libxc("camb3lyp").exchange_terms]
    [(0.19, None), (0.46, 0.33)]
    >>> rho = torch.full((1, 1, 1), 0.1, dtype=torch.float64)
    >>> round(Libxc("lda,pw")(rho).item(), 6)
    -0.039606
    >>> Libxc("wb97m-v").nonlocal_terms
    [VV10(b=6, c=0.01, form='vv10', grid_level='coarse')]
    """

    def __init__(
        self, name: str, *, vv10_level: int | str | None = GRID_LEVEL, train_vv10: bool = False
    ) -> None:
        super().__init__()
        if not isinstance(name, str) or not name.strip():
            raise FunctionalError(
                f"{name!r} is not the name of a functional",
                field="xc",
                remedy="name one of libxc's, e.g. 'pbe'",
            )
        self.name = name
        self._spec = _resolve(name.strip())
        self.code, self.family = self._spec.code, self._spec.family
        self.vv10 = nn.ModuleList(
            VV10(t.b, t.c, form=t.form, coefficient=t.factor, trainable=train_vv10, grid_level=vv10_level)
            for t in self._spec.nonlocal_correlation
        )
        self.constant = all(term.constant for term in self.nonlocal_terms)

    @property
    def exchange_terms(self) -> list[tuple[float | Tensor, float | None]]:
        """Exact exchange of the functional as ``(coefficient, omega)``; see the base class."""
        return list(self._spec.exchange)

    @property
    def nonlocal_terms(self) -> list[XCFunctional]:
        """VV10, if the functional has it; see the base class."""
        return list(self.vv10)  # type: ignore[arg-type]

    def energy_density(self, rho: Tensor) -> Tensor:
        """Return the energy per volume (G,) in Ha/Bohr^3; see the base class for ``rho``."""
        check_rho(rho, self.family)
        rho = rho[:, : NCOMP[self.family]]
        if not self._spec.has_density:
            return 0.0 * rho[:, 0].sum(0)
        return _Energy.apply(_variables(rho, self.family), rho.detach(), self.code)

    def at_density(self, rho: Tensor, quadrature: Quadrature) -> Callable[[], Tensor]:
        """Return the energy of one density; it has no parameters, whatever VV10 has."""
        with torch.no_grad():
            energy = self.energy(rho.detach(), quadrature)
        return lambda: energy

    def __repr__(self) -> str:
        # In one line where nothing is inside: checkpoints tell functionals without parameters by it.
        return super().__repr__() if len(self.vv10) else f"{type(self).__name__}({self.extra_repr()})"

    def extra_repr(self) -> str:
        return f"{self.name!r}, family={self.family}"
