"""Conventional functionals from libxc (through PySCF) as torch modules with three derivatives."""

import math
import warnings
from collections.abc import Callable
from itertools import combinations_with_replacement, permutations
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from deepchem_dft.errors import FunctionalError
from deepchem_dft.xc import libxc_names
from deepchem_dft.xc.base import NCOMP, XCFunctional
from deepchem_dft.xc.features import check_rho
from deepchem_dft.xc.nonlocality.vv10 import GRID_LEVEL, VV10

if TYPE_CHECKING:
    from deepchem_dft.xc.quadrature import Quadrature

_warned_device = False


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
    out = libxc_names.pyscf_libxc().eval_xc1(code, array if polarised else array[0], int(polarised), deriv)
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
        if order > libxc_names.pyscf_libxc().max_deriv_order(code):
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
        self._spec = libxc_names.resolve(name.strip())
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

    def at_density(self, rho: Tensor, quadrature: "Quadrature") -> Callable[[], Tensor]:
        """Return the energy of one density; it has no parameters, whatever VV10 has."""
        with torch.no_grad():
            energy = self.energy(rho.detach(), quadrature)
        return lambda: energy

    def __repr__(self) -> str:
        # In one line where nothing is inside: checkpoints tell functionals without parameters by it.
        return super().__repr__() if len(self.vv10) else f"{type(self).__name__}({self.extra_repr()})"

    def extra_repr(self) -> str:
        return f"{self.name!r}, family={self.family}"
