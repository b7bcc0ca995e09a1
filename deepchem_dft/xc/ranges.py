"""Range separation: exchange between near electrons of a functional, between far ones exact."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from deepchem_dft.errors import FunctionalError
from deepchem_dft.xc import chebyshev

#: Where a trained omega stays, 1/Bohr, and how many values of it exact exchange is computed at. With
#: these the interpolated energy is right to 1e-7 Ha (water and LiH in aug-cc-pVDZ, F in def2-TZVP).
REACH, NODES = (0.15, 0.5), 8
ATTENUATIONS = ("uniform", "ityh")
TRAINABLE = ("omega", "long_exchange")
#: Fermi wave vector of an unpolarised density: FERMI n^(1/3), 1/Bohr.
FERMI = (3.0 * math.pi**2) ** (1.0 / 3.0)
# Below this k_F / omega the closed form loses digits, and the series has not begun to.
_SWITCH = 1.5
_TERMS = 26


def _coefficient(m: int) -> float:
    """Return that of x^(2m) in the series of the attenuation."""
    parts = 2.0 / (math.factorial(m) * (2 * m + 1)) - 1.0 / math.factorial(m + 1)
    return -4.0 / 3.0 * (-1) ** m * (parts - 0.5 / math.factorial(m + 2))


_SERIES = [_coefficient(m) for m in range(1, _TERMS)]


def attenuation(x: Tensor) -> Tensor:
    r"""Return what erfc(omega r)/r leaves of the uniform gas's exchange energy.

    .. math::

        1 - \frac{4}{3x} \left[ \sqrt\pi\, \mathrm{erf}(x)
        + \left(\frac1x - \frac{1}{2x^3}\right) e^{-x^2} - \frac{3}{2x} + \frac{1}{2x^3} \right],
        \qquad x = k_F / \omega

    Parameters
    ----------
    x : Tensor, not negative
        Fermi wave vector over omega.

    Returns
    -------
    Tensor
        Of the same shape: 0 for small x (as x^2/9), 1 for large (as 1 - 4 sqrt(pi)/(3x)).

    References
    ----------
    Gill, Adamson and Pople, Mol. Phys. 88, 1005 (1996); Savin, in Recent Developments and
    Applications of Modern Density Functional Theory, Elsevier (1996).

    Examples
    --------
    >>> attenuation(torch.tensor([0.03, 1.0, 1e6], dtype=torch.float64))
    tensor([9.9987e-05, 9.6549e-02, 1.0000e+00], dtype=torch.float64)
    """
    small = x < _SWITCH
    near = torch.where(small, x, torch.ones_like(x))
    square = near * near
    series = torch.zeros_like(x)
    for coefficient in reversed(_SERIES):
        series = (series + coefficient) * square
    far = torch.where(small, torch.full_like(x, _SWITCH), x)
    inverse = 1.0 / far
    cube = 0.5 * inverse * inverse * inverse
    bracket = (
        math.sqrt(math.pi) * torch.erf(far) + (inverse - cube) * torch.exp(-far * far) - 1.5 * inverse + cube
    )
    return torch.where(small, series, 1.0 - (4.0 / 3.0) * inverse * bracket)


class RangeSeparation(nn.Module):
    r"""Shares of exact exchange at short and at long range, and where one ends.

    .. math::

        E_x = (1-a) E^\mathrm{SR}_x + (1-b) E^\mathrm{LR}_x
        + a E^\mathrm{SR,HF}_x + b E^\mathrm{LR,HF}_x

    with the Coulomb operator split into erfc(omega r)/r and erf(omega r)/r, and b the share
    ``long_exchange``. The parent's short-range exchange is its own times :func:`attenuation`, with x =
    k_F/omega (``"uniform"``, as in the wB97 functionals), or with x = k_F/(omega sqrt(F)) where F is the
    parent's enhancement (``"ityh"``, as in LC-BLYP and CAM-B3LYP).

    Parameters
    ----------
    omega : float
        1/Bohr.
    long_exchange : float
    attenuation : {"uniform", "ityh"}
    train : sequence of str
        Some of ``"omega"``, ``"long_exchange"``.
    reach : (float, float)
        Where a trained omega stays, 1/Bohr.
    nodes : int
        Of the interpolation in a trained omega.

    Raises
    ------
    FunctionalError
        For values that mean nothing.

    Notes
    -----
    Integrals belong to one omega. While omega is trained, exact exchange is interpolated between those
    of ``nodes`` fixed values, by the polynomial through Chebyshev points. Training at fixed densities
    then costs no more than without; a Fock matrix costs ``nodes`` exchange matrices, and their
    integrals have to be kept.

    References
    ----------
    Iikura, Tsuneda, Yanai and Hirao, J. Chem. Phys. 115, 3540 (2001); Chai and Head-Gordon, J. Chem.
    Phys. 128, 084106 (2008).

    Examples
    --------
    >>> RangeSeparation(0.3).terms(0.2)
    [(0.2, None), (tensor(0.8000, dtype=torch.float64), 0.3)]
    """

    def __init__(
        self,
        omega: float = 0.3,
        long_exchange: float = 1.0,
        *,
        attenuation: str = "uniform",
        train: Sequence[str] = (),
        reach: Sequence[float] = REACH,
        nodes: int = NODES,
    ) -> None:
        super().__init__()
        low, high = (_number("reach", r) for r in reach) if len(reach) == 2 else (0.0, 0.0)
        train = [train] if isinstance(train, str) else list(train)
        checks = {
            "omega": (0.0 < _number("omega", omega) <= 100.0, "a positive number, in 1/Bohr, such as 0.3"),
            "long_exchange": (0.0 <= _number("long_exchange", long_exchange) <= 1.0, "a number from 0 to 1"),
            "attenuation": (attenuation in ATTENUATIONS, f"one of {', '.join(ATTENUATIONS)}"),
            "train": (set(train) <= set(TRAINABLE), f"some of {', '.join(TRAINABLE)}"),
            "reach": (0.0 < low < high <= 100.0, "two increasing numbers, in 1/Bohr"),
            "nodes": (isinstance(nodes, int) and 2 <= nodes <= 32, "a whole number from 2 to 32"),
        }
        for name, (possible, remedy) in checks.items():
            if not possible:
                raise FunctionalError(
                    "that is no separation of ranges",
                    field=f"range_separation.{name}",
                    remedy=f"use {remedy}",
                )
        if "omega" in train and not low <= omega <= high:
            raise FunctionalError(
                f"omega starts at {omega}, outside of {low} to {high} 1/Bohr",
                field="range_separation.omega",
                remedy="start inside of reach, or widen it",
            )
        self.attenuation, self.reach, self.nodes = attenuation, (low, high), nodes
        values = {"omega": omega, "long_exchange": long_exchange}
        for name, value in values.items():
            number = torch.tensor(float(value), dtype=torch.float64)
            self.register_parameter(name, nn.Parameter(number, requires_grad=name in train))

    omega: nn.Parameter
    long_exchange: nn.Parameter

    @property
    def trained(self) -> list[str]:
        """Names of what is trained."""
        return [name for name in TRAINABLE if getattr(self, name).requires_grad]

    @property
    def config(self) -> dict[str, Any]:
        """Arguments that make one of this kind again: plain data."""
        return {
            "omega": self._value,
            "long_exchange": float(self.long_exchange.detach()),
            "attenuation": self.attenuation,
            "train": self.trained,
            "reach": list(self.reach),
            "nodes": self.nodes,
        }

    @property
    def interpolates(self) -> bool:
        """True while omega is trained."""
        return self.omega.requires_grad

    @property
    def present(self) -> Tensor:
        """Omega, 1/Bohr; while it is trained never outside of its reach."""
        if not self.interpolates:
            return self.omega
        # beyond an end the slope is that of the end, which may lead back
        return self.omega + (self.omega.clamp(*self.reach) - self.omega).detach()

    @property
    def _value(self) -> float:
        omega = float(self.omega.detach())
        return min(max(omega, self.reach[0]), self.reach[1]) if self.interpolates else omega

    @property
    def points(self) -> list[float]:
        """Values of omega that exact exchange is wanted at, 1/Bohr."""
        if not self.interpolates:
            return [self._value]
        return chebyshev.points(*self.reach, self.nodes)

    def shares(self) -> list[Tensor]:
        """Return the weights of the points (summing to 1), differentiable in omega."""
        if not self.interpolates:
            return [torch.ones_like(self.omega)]
        return list(chebyshev.weights(self.present, self.points))

    def terms(self, short: float | Tensor) -> list[tuple[float | Tensor, float | None]]:
        """Return exact exchange as ``(coefficient, omega)``, of a share at short range."""
        more = self.long_exchange - short
        return [(short, None), *((more * s, w) for s, w in zip(self.shares(), self.points, strict=True))]

    def reduced(self, density: Tensor, enhancement: Tensor) -> Tensor:
        """Return x omega, 1/Bohr: what the attenuation needs of unpolarised densities (1/Bohr^3)."""
        wave = FERMI * density ** (1.0 / 3.0)
        if self.attenuation == "uniform":
            return wave
        return wave / enhancement.clamp(min=1e-3).sqrt()

    def semilocal(self, short: float | Tensor, near: Tensor) -> Tensor:
        """Return what is left of a parent's exchange, of which a share ``near`` is at short range."""
        return (1.0 - self.long_exchange) + (self.long_exchange - short) * near

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.config.items())


def hold_omega(functional: nn.Module) -> None:
    """Train no omega of a functional any more: its exact exchange then is that of omega alone.

    Examples
    --------
    >>> from deepchem_dft.xc import EnhancedXC
    >>> xc = EnhancedXC("pbe", hidden=[4], range_separation={"omega": 0.3, "train": ["omega"]})
    >>> len(xc.exchange_terms)
    8
    >>> hold_omega(xc)
    >>> [omega for _, omega in xc.exchange_terms]
    [0.3]
    """
    for part in functional.modules():
        if isinstance(part, RangeSeparation):
            with torch.no_grad():
                part.omega.fill_(part._value)
            part.omega.requires_grad_(False)


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise FunctionalError(
            f"{str(value)[:40]!r} is no finite number", field=f"range_separation.{name}", remedy="write one"
        )
    return number
