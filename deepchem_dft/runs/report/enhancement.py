"""Enhancement factors of a run's functional and of its parent, on densities made for it."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deepchem_dft.errors import DeepChemDFTError, FunctionalError
from deepchem_dft.runs.report.reading import RunData

if TYPE_CHECKING:
    from torch import Tensor

#: Seitz radii (Bohr) of the charts. At the first, exchange is all but all there is.
RADII = (1e-4, 0.5, 2.0, 10.0)
#: Iso-orbital indicators of the curves: one orbital, the uniform gas, overlap of closed shells.
INDICATORS = (0.0, 1.0, 10.0)
#: Points of a curve, and where it ends.
_POINTS, _S_END = 81, 4.0


@dataclass
class Factors:
    """Enhancement factors :math:`F_{xc} = e_{xc} / e_x^{UEG}` of a closed shell.

    Attributes
    ----------
    family : str
        lda, gga or mgga: what the functional or its parent depends on.
    parent : str
        Name; empty if there is none.
    x : list of float
        Reduced gradients, or Seitz radii (Bohr) of a local functional.
    curves : dict of (float, float) to (list of float, list of float)
        By Seitz radius and iso-orbital indicator (zeros where they do not matter): of the
        functional, and of the parent (empty without).
    exchange : float
        Share of exact exchange, which is not in the curves.
    whole : bool
        True if exact exchange replaces that much of the exchange in the curves, False if it is
        added to what the curves show.
    """

    family: str
    parent: str
    x: list[float]
    curves: dict[tuple[float, float], tuple[list[float], list[float]]]
    exchange: float = 0.0
    whole: bool = False


def factors_of(run: RunData) -> Factors | str:
    """Return the enhancement factors of a run's functional, or why there are none."""
    from deepchem_dft.runs.base import load_functional

    try:
        return factors(load_functional(run.path), str(run.get("functional.xc", "") or ""))
    except DeepChemDFTError as error:
        return str(error)
    except Exception as error:  # a checkpoint of another version: the rest of the report stands
        return f"the functional cannot be evaluated ({type(error).__name__}: {error})"


def factors(functional: Any, parent: str = "") -> Factors:
    """Return enhancement factors of a functional.

    Parameters
    ----------
    functional : XCFunctional
        Its semilocal part is taken.
    parent : str
        Name of what it started from.

    Raises
    ------
    FunctionalError
        If more than the density at a point is learned from.

    Examples
    --------
    >>> from deepchem_dft.xc.names import get_xc
    >>> found = factors(get_xc("pbe"))
    >>> found.family, round(found.curves[1e-4, 0.0][0][-1], 2)          # F_x of PBE at s = 4
    ('gga', 1.65)
    """
    import torch

    from deepchem_dft.xc.base import highest_family
    from deepchem_dft.xc.nonlocality.terms import learned_nonlocal_parts

    unknown = learned_nonlocal_parts(functional)
    if unknown:  # whose factors depend on what is around
        raise FunctionalError(f"{', '.join(unknown)} has no enhancement at a point: it sees all of them")
    share = sum(float(c) for c, omega in functional.exchange_terms if omega is None)
    functional, whole = _whole(functional)
    family, energy = functional.family, functional.energy_density
    before, its_family = _parent(functional, parent)
    if before is not None:
        family = highest_family(family, its_family)
    symmetric = functional.spin_symmetric
    curves = {}
    if family == "lda":
        x = [float(r) for r in torch.logspace(-2, 2, _POINTS)]
        grid = [(0.0, 0.0, (x, [0.0] * _POINTS, 0.0))]
    else:
        x = [float(s) for s in torch.linspace(0.0, _S_END, _POINTS)]
        grid = [
            (r, a, ([r] * _POINTS, x, a)) for r in RADII for a in (INDICATORS if family == "mgga" else (0.0,))
        ]
    for radius, alpha, (radii, gradients, indicator) in grid:
        shown = indicator if family == "mgga" else 1.0
        rho = closed_shell(radii, gradients, shown)
        own = _factor(energy, rho, symmetric)
        curves[radius, alpha] = (own, _factor(before, rho, True) if before else [])
    return Factors(family, parent if before else "", x, curves, share, whole)


def closed_shell(radii: Sequence[float], gradients: Sequence[float], alpha: float) -> "Tensor":
    """Return the density tensor of points of a closed shell.

    Parameters
    ----------
    radii : list of float
        Seitz radii, Bohr.
    gradients : list of float
        Reduced gradients s.
    alpha : float
        Iso-orbital indicator (tau - tau_W) / tau_UEG.

    Returns
    -------
    Tensor, shape (1, 5, G)
        As :meth:`~deepchem_dft.xc.base.XCFunctional.energy_density` takes it.

    Examples
    --------
    >>> round(float(closed_shell([1.0], [0.0], 1.0)[0, 0]), 6)                  # 3 / (4 pi)
    0.238732
    """
    import torch

    from deepchem_dft.xc.features import S_FACTOR, TAU_FACTOR

    n = 3.0 / (4.0 * math.pi * torch.tensor(radii, dtype=torch.float64) ** 3)
    # Where one orbital meets a gradient of zero, tau is zero, too: a limit, not a density.
    s = torch.tensor(gradients, dtype=torch.float64).clamp(min=1e-3)
    rho = torch.zeros(1, 5, len(n), dtype=torch.float64)
    rho[0, 0] = n
    rho[0, 1] = s * S_FACTOR * n ** (4.0 / 3.0)
    rho[0, 4] = rho[0, 1] ** 2 / (8.0 * n) + alpha * TAU_FACTOR * n ** (5.0 / 3.0)
    return rho


def _factor(energy: "Callable[[Tensor], Tensor]", rho: "Tensor", symmetric: bool) -> list[float]:
    import torch

    from deepchem_dft.xc.features import LDA_X

    shown = rho if symmetric else (0.5 * rho).expand(2, -1, -1)
    with torch.no_grad():
        found = energy(shown) / (LDA_X * rho[0, 0] ** (4.0 / 3.0))
    return [float(value) for value in found]


def _whole(functional: Any) -> tuple[Any, bool]:
    """Return a copy with all of its semilocal exchange, and whether any was replaced."""
    import torch

    from deepchem_dft.xc.enhancement import EnhancedXC

    functional, found = copy.deepcopy(functional), False
    with torch.no_grad():
        for part in functional.modules():
            if isinstance(part, EnhancedXC) and part.hybrid:
                part.share.zero_()
                found = True
    return functional, found


def _parent(functional: Any, name: str) -> "tuple[Callable[[Tensor], Tensor] | None, str]":
    """Return the parent's energy density and family; None without a parent."""
    from deepchem_dft.xc.names import get_xc
    from deepchem_dft.xc.parents import PARTS, Parent

    if not name or name.strip().lower() == "none":
        return None, "lda"
    # Functionals corrected part by part are named by their rung, which libxc understands otherwise.
    split = any(isinstance(getattr(part, "parent", None), Parent) for part in functional.modules())
    if split and name.strip().lower() in PARTS:
        parent = Parent.named(name)
        return (
            lambda rho: parent.exchange.energy_density(rho) + parent.correlation.energy_density(rho)
        ), parent.family
    whole = get_xc(name)
    return whole.energy_density, whole.family
