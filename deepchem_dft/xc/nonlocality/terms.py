"""Nonlocal parts of sums of functionals: each with its coefficient, evaluated on its own grid."""

from collections.abc import Callable

import torch
from torch import Tensor

from deepchem_dft.errors import FunctionalError
from deepchem_dft.xc.base import XCFunctional
from deepchem_dft.xc.quadrature import Quadrature


class ScaledXC(XCFunctional):
    """A coefficient times a functional that sees the whole quadrature.

    Parameters
    ----------
    coefficient : float or Tensor
        A parameter of whoever adds functionals up, which stays its own: it is read at every call.
    functional : XCFunctional
        With ``needs_quadrature``.
    """

    needs_quadrature = True

    def __init__(self, coefficient: float | Tensor, functional: XCFunctional) -> None:
        super().__init__()
        # In a tuple, so that the coefficient of another module is not registered here.
        self._coefficient = (coefficient,)
        self.functional = functional
        self.family, self.grid_level = functional.family, functional.grid_level
        self.spin_symmetric = functional.spin_symmetric
        self.constant = functional.constant and not isinstance(coefficient, Tensor)

    @property
    def coefficient(self) -> float | Tensor:
        """What the energy is multiplied by."""
        return self._coefficient[0]

    def energy(self, rho: Tensor, quadrature: Quadrature) -> Tensor:
        """Return the energy, Ha; see the base class."""
        return self.coefficient * self.functional.energy(rho, quadrature)

    def at_density(self, rho: Tensor, quadrature: Quadrature) -> Callable[[], Tensor]:
        """Return the energy of one density as a function of the parameters; see the base class."""
        energy = self.functional.at_density(rho, quadrature)
        return lambda: self.coefficient * energy()

    def pieces(self, quadrature: Quadrature) -> list[Tensor] | None:
        """Return those of the functional; see the base class."""
        return self.functional.pieces(quadrature)

    def extra_repr(self) -> str:
        return f"{float(torch.as_tensor(self.coefficient).detach()):.6g}"


def nonlocal_parts(coefficient: float | Tensor, part: XCFunctional | None) -> list[XCFunctional]:
    """Return the nonlocal parts that one part of a sum brings: itself, its terms, or none.

    Parameters
    ----------
    coefficient : float or Tensor
        Of the part in the sum.
    part : XCFunctional or None
    """
    if part is None:
        return []
    own = [part] if part.needs_quadrature else []
    return [ScaledXC(coefficient, term) for term in [*own, *part.nonlocal_terms]]


def local_density(part: XCFunctional, rho: Tensor) -> Tensor:
    """Return the local energy per volume of a part of a sum, (G,), Ha/Bohr^3; zero if it has none."""
    return rho.new_zeros(rho.shape[2]) if part.needs_quadrature else part.energy_density(rho)


def local_at_density(part: XCFunctional, rho: Tensor, quadrature: Quadrature) -> Callable[[], Tensor]:
    """Return ``part.at_density(rho, quadrature)`` of its local energy; zero if it has none."""
    if not part.needs_quadrature:
        return part.at_density(rho, quadrature)
    zero = rho.new_zeros(())
    return lambda: zero


def has_nonlocal_part(xc: XCFunctional) -> bool:
    """Return True if anything of a functional sees more than single points.

    Examples
    --------
    >>> from deepchem_dft.xc import get_xc
    >>> has_nonlocal_part(get_xc("pbe"))
    False
    """
    return xc.needs_quadrature or bool(xc.nonlocal_terms)


def names_of_nonlocal_parts(xc: XCFunctional) -> str:
    """Name what sees more than single points, for messages; empty if nothing does."""
    return ", ".join(dict.fromkeys(type(part).__name__ for part in _inner(xc)))


def learned_nonlocal_parts(xc: XCFunctional) -> list[str]:
    """Name what sees more than single points and may be trained, coefficients apart.

    Examples
    --------
    >>> from deepchem_dft.xc import get_xc
    >>> learned_nonlocal_parts(get_xc("wb97m-v"))
    []
    """
    return list(dict.fromkeys(type(part).__name__ for part in _inner(xc) if not part.constant))


def _inner(xc: XCFunctional) -> list[XCFunctional]:
    """Return the nonlocal parts of a functional without their coefficients."""
    parts = [xc] if xc.needs_quadrature else xc.nonlocal_terms
    found = []
    for part in parts:
        while isinstance(part, ScaledXC):
            part = part.functional
        found.append(part)
    return found


def refuse_nonlocal(xc: XCFunctional, where: str, remedy: str, field: str = "functional") -> None:
    """Raise if a functional has nonlocal parts, which would otherwise be dropped.

    Parameters
    ----------
    xc : XCFunctional
    where : str
        Who cannot take them, as the beginning of a sentence.
    remedy, field : str

    Raises
    ------
    FunctionalError
        With the names of the parts.

    Examples
    --------
    >>> from deepchem_dft.xc import get_xc
    >>> refuse_nonlocal(get_xc("pbe"), "a histogram", "keep the density whole")
    """
    if has_nonlocal_part(xc):
        raise FunctionalError(
            f"{where} cannot take {names_of_nonlocal_parts(xc)}, which sees the whole quadrature",
            field=field,
            remedy=remedy,
        )
