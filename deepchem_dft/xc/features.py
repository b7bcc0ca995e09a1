"""Dimensionless density features that stay finite, with derivatives, as the density vanishes."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from deepchem_dft.errors import FunctionalError
from deepchem_dft.xc.base import NCOMP

#: Density (1/Bohr^3) below which a learned functional contributes exactly nothing.
DENSITY_FLOOR = 1e-12
#: The reduced gradient is cut here; it is passed only where the density is about to vanish.
S_MAX = 1e3
#: Bounds of the iso-orbital indicator. Slightly below zero, because rounding makes it so wherever
#: one orbital dominates, and a cut at zero would lose half of those derivatives.
ALPHA_MIN, ALPHA_MAX = -0.05, 1e6
#: sqrt(s^2 + S_SMOOTH^2) stands for s, so that the second derivative exists at zero gradient.
S_SMOOTH = 1e-10

#: s = |grad n| / (S_FACTOR n^(4/3))
S_FACTOR = 2.0 * (3.0 * math.pi**2) ** (1.0 / 3.0)
#: Kinetic energy density of the uniform gas: TAU_FACTOR n^(5/3), for tau = 1/2 sum |grad phi|^2.
TAU_FACTOR = 0.3 * (3.0 * math.pi**2) ** (2.0 / 3.0)
#: Exchange energy of the uniform gas: LDA_X n^(4/3).
LDA_X = -0.75 * (3.0 / math.pi) ** (1.0 / 3.0)

_COMPONENTS = {1: "density", 4: "density and gradient", 5: "density, gradient and tau"}


class Features(NamedTuple):
    """Features of a density, each of shape (G,), safe to use in a network.

    Attributes
    ----------
    n : Tensor
        Total density in 1/Bohr^3, no less than :data:`DENSITY_FLOOR`.
    xi : Tensor
        Spin polarisation (n_alpha - n_beta) / n, in [-1, 1].
    s : Tensor or None
        Reduced gradient of the total density (dimensionless).
    alpha : Tensor or None
        Iso-orbital indicator (tau - tau_W) / tau_UEG (dimensionless).
    density : Tensor
        Total density; exactly zero where it does not exceed :data:`DENSITY_FLOOR`, so that an
        energy per electron times this is zero there, with all its derivatives.
    """

    n: Tensor
    xi: Tensor
    s: Tensor | None
    alpha: Tensor | None
    density: Tensor


def check_rho(rho: Tensor, family: str) -> None:
    """Raise ``FunctionalError`` unless ``rho`` has the rows that ``family`` reads.

    Examples
    --------
    >>> check_rho(torch.zeros(2, 4, 10), "gga")
    >>> check_rho(torch.zeros(2, 1, 10), "gga")
    Traceback (most recent call last):
    ...
    deepchem_dft.errors.FunctionalError: a density of shape (2, 1, 10) cannot feed a gga \
functional. Remedy: pass (2, 4, G) or (1, 4, G): density and gradient.
    """
    rows = NCOMP[family]
    if rho.dim() != 3 or rho.shape[0] not in (1, 2) or rho.shape[1] < rows:
        raise FunctionalError(
            f"a density of shape {tuple(rho.shape)} cannot feed a {family} functional",
            remedy=f"pass (2, {rows}, G) or (1, {rows}, G): {_COMPONENTS[rows]}",
        )


def floored(x: Tensor, floor: float) -> Tensor:
    """Return ``max(x, floor)`` with unit derivative everywhere.

    Below the floor the derivative is the one-sided limit at the floor (what libxc does) instead of
    zero, so that the potential of an empty spin channel is that of a nearly empty one.

    Examples
    --------
    >>> floored(torch.tensor([0.0, 2.0]), 0.5)
    tensor([0.5000, 2.0000])
    """
    return x + (floor - x.detach()).clamp(min=0.0)


def spin_features(rho: Tensor, family: str = "mgga") -> Features:
    r"""Compute the features that a ``family`` functional reads.

    .. math:: s = \frac{|\nabla n|}{2(3\pi^2)^{1/3} n^{4/3}}, \qquad
              \alpha = \frac{\tau - |\nabla n|^2 / 8n}{\frac{3}{10}(3\pi^2)^{2/3} n^{5/3} d_s(\xi)},
              \quad d_s = \tfrac12[(1+\xi)^{5/3} + (1-\xi)^{5/3}]

    Parameters
    ----------
    rho : Tensor, shape (2, ncomp, G) or (1, ncomp, G)
        Density rows as in :class:`~deepchem_dft.xc.base.XCFunctional`. A leading 1 is a closed
        shell: ``xi`` is zero and the spin factors are left out.
    family : {"lda", "gga", "mgga"}

    Returns
    -------
    Features

    Raises
    ------
    FunctionalError
        If ``rho`` has too few rows.

    Examples
    --------
    >>> rho = torch.tensor([[[0.3]], [[0.1]]], dtype=torch.float64)
    >>> f = spin_features(rho, "lda")
    >>> round(f.n.item(), 3), round(f.xi.item(), 3)
    (0.4, 0.5)
    """
    inputs, density = network_inputs(rho, family)
    n, xi, *others = inputs
    s, alpha = (*others, None, None)[:2]
    return Features(n, xi, s, alpha, density)


def network_inputs(rho: Tensor, family: str) -> tuple[Tensor, Tensor]:
    """Return the features of :func:`spin_features` as rows (2 to 4, G), and ``density`` (G,)."""
    check_rho(rho, family)
    return _Inputs.apply(rho[:, : NCOMP[family]])


class _Gradient(NamedTuple):
    """What s is made of, each (G,) but the first."""

    vector: Tensor  # (3, G), of the total density
    sigma: Tensor
    scale: Tensor  # s^2 = scale sigma
    s: Tensor


class _Kinetic(NamedTuple):
    """What alpha is made of, each (G,)."""

    scale: Tensor  # alpha = scale (tau - tau_W)
    alpha: Tensor
    spin_slope: Tensor | None  # d log d_s / d xi


class _Parts(NamedTuple):
    """Intermediate values that both the features and their derivatives need, each (G,)."""

    n: Tensor
    xi: Tensor
    occupied: Tensor
    gradient: _Gradient | None = None
    kinetic: _Kinetic | None = None


def _parts(rho: Tensor) -> _Parts:
    polarised, rows = rho.shape[0] == 2, rho.shape[1]
    total = rho[0] + rho[1] if polarised else rho[0]
    n = total[0].clamp(min=DENSITY_FLOOR)
    occupied = total[0] > DENSITY_FLOOR
    if polarised:
        xi = ((rho[0, 0] - rho[1, 0]) / n).clamp(-1.0, 1.0)
    else:
        xi = torch.zeros_like(n)
    if rows == 1:
        return _Parts(n, xi, occupied)

    x, y, z = vector = total[1:4]
    sigma = torch.addcmul(torch.addcmul(x * x, y, y), z, z)
    third = power(n, 1.0 / 3.0)
    scale = (S_FACTOR * n * third) ** -2
    gradient = _Gradient(vector, sigma, scale, (sigma * scale + S_SMOOTH**2).sqrt())
    if rows == 4:
        return _Parts(n, xi, occupied, gradient)

    scale, spin_slope = 1.0 / (TAU_FACTOR * n * third * third), None
    if polarised:
        up, down = floored(1.0 + xi, 1e-12), floored(1.0 - xi, 1e-12)
        up23, down23 = power(up, 2.0 / 3.0), power(down, 2.0 / 3.0)
        spin = 0.5 * (up * up23 + down * down23)
        scale, spin_slope = scale / spin, (5.0 / 6.0) * (up23 - down23) / spin
    alpha = (total[4] - sigma / (8.0 * n)) * scale
    return _Parts(n, xi, occupied, gradient, _Kinetic(scale, alpha, spin_slope))


class _Inputs(torch.autograd.Function):
    """Features and density, with a derivative by hand: autograd's own takes up to twice as long."""

    @staticmethod
    def forward(ctx, rho: Tensor):
        parts = _parts(rho)
        ctx.save_for_backward(rho)
        ctx.parts = parts if ctx.needs_input_grad[0] else None
        rows = [parts.n, parts.xi]
        if parts.gradient is not None:
            rows.append(parts.gradient.s.clamp(max=S_MAX))
        if parts.kinetic is not None:
            rows.append(parts.kinetic.alpha.clamp(ALPHA_MIN, ALPHA_MAX))
        total = rho[:, 0].sum(0) if rho.shape[0] == 2 else rho[0, 0]
        return torch.stack(rows), total * parts.occupied

    @staticmethod
    def backward(ctx, slopes: Tensor, density_slope: Tensor):
        (rho,) = ctx.saved_tensors
        # A second derivative has to see how the intermediate values depend on the density.
        n, xi, occupied, gradient, kinetic = _parts(rho) if torch.is_grad_enabled() else ctx.parts
        by_n, by_xi = slopes[0] + density_slope * occupied, slopes[1]
        rows = []  # derivatives that are the same for both spins
        if gradient is not None:
            inside = gradient.s < S_MAX
            by_sigma = slopes[2] * inside * gradient.scale / (2.0 * gradient.s)
            by_n = by_n - (8.0 / 3.0) * by_sigma * gradient.sigma / n
            if kinetic is not None:
                inside = (kinetic.alpha > ALPHA_MIN) & (kinetic.alpha < ALPHA_MAX)
                by_alpha = slopes[3] * inside
                by_tau = by_alpha * kinetic.scale
                by_sigma = by_sigma - by_tau / (8.0 * n)
                by_n = (
                    by_n + (by_tau * gradient.sigma / (8.0 * n) - (5.0 / 3.0) * by_alpha * kinetic.alpha) / n
                )
                if kinetic.spin_slope is not None:
                    by_xi = by_xi - by_alpha * kinetic.alpha * kinetic.spin_slope
                rows.append(by_tau[None])
            rows.insert(0, 2.0 * by_sigma * gradient.vector)
        if rho.shape[0] == 1:
            return torch.cat([by_n[None], *rows])[None]
        by_difference = by_xi / n
        up, down = by_n + by_difference * (1.0 - xi), by_n - by_difference * (1.0 + xi)
        return torch.stack([torch.cat([up[None], *rows]), torch.cat([down[None], *rows])])


def power(x: Tensor, exponent: float) -> Tensor:
    """Return ``x ** exponent`` for positive ``x``, three times as fast on a CPU.

    Examples
    --------
    >>> power(torch.tensor([8.0], dtype=torch.float64), 1.0 / 3.0)
    tensor([2.0000], dtype=torch.float64)
    """
    return torch.exp(exponent * torch.log(x))
