"""Derivatives of any functional, up to the third, point by point as other programs want them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from pyscf.dft import numint
from torch import Tensor

from deepchem_dft.errors import FunctionalError
from deepchem_dft.scf.quadrature import device_of
from deepchem_dft.xc.base import NCOMP, XCFunctional
from deepchem_dft.xc.ensemble import EnsembleXC
from deepchem_dft.xc.hybrid import HybridXC
from deepchem_dft.xc.libxc import Libxc

# Grid points per call of the functional: derivatives of order d take up to (2 * 5)^d numbers each.
_ROWS = (16384, 16384, 8192, 2048)


def derivatives(functional: XCFunctional, rho: np.ndarray, order: int) -> list[np.ndarray]:
    """Energy per volume and its derivatives by every component of the density.

    Parameters
    ----------
    functional : XCFunctional
    rho : ndarray, shape (1 or 2, ncomp, G)
        As in :class:`~deepchem_dft.xc.base.XCFunctional`.
    order : int
        Highest order.

    Returns
    -------
    list of order + 1 ndarrays
        Shapes (G,), (n, G), (n, n, G) ... with n = ncomp, or 2 ncomp with all of alpha first.

    Raises
    ------
    FunctionalError
        If a value is not finite.

    Examples
    --------
    >>> from deepchem_dft.xc import SlaterPW92
    >>> energy, potential = derivatives(SlaterPW92(), np.full((1, 1, 1), 0.1), 1)
    >>> energy.shape, potential.shape, round(potential.item(), 4)
    ((1,), (1, 1), -0.5176)
    """
    nspin, ncomp, size = rho.shape
    n = nspin * ncomp
    total = [np.zeros((n,) * k + (size,)) for k in range(order + 1)]
    for weight, part in _merged(functional):
        rows = NCOMP[part.family]
        used = np.arange(n).reshape(nspin, ncomp)[:, :rows].ravel()
        evaluate: Any = _from_libxc if isinstance(part, Libxc) else _by_autograd
        for start in range(0, size, _ROWS[order]):
            block = slice(start, start + _ROWS[order])
            density = np.ascontiguousarray(rho[:, :rows, block])
            for k, values in enumerate(evaluate(part, density, order)):
                place: tuple = (*np.ix_(*[used] * k), block) if k else (block,)
                total[k][place] += weight * values
    if not all(np.isfinite(values).all() for values in total):
        raise FunctionalError(
            f"{type(functional).__name__} returns values or derivatives that are not finite",
            field="functional",
            remedy="train it with a bounded network, or a smaller step",
        )
    return total


def parts(functional: XCFunctional, weight: float = 1.0) -> Iterator[tuple[float, XCFunctional]]:
    """Take a sum apart into weights and functionals, as libxc's bring their own derivatives.

    Examples
    --------
    >>> from deepchem_dft.xc import NNPBE
    >>> both = HybridXC("pbe", NNPBE(torch.nn.Linear(3, 1)), aweight0=0.5)
    >>> [(w, type(part).__name__) for w, part in parts(both)]
    [(0.5, 'NNPBE'), (1.0, 'Libxc')]
    """
    # subclasses may compute something else
    if type(functional) is HybridXC:
        yield from parts(functional.nnxc, weight * functional.aweight.item())
        if functional.xc is not None:
            yield from parts(functional.xc, weight * functional.bweight.item())
    elif type(functional) is EnsembleXC:
        for member in functional:
            yield from parts(member, weight / len(functional))
    elif not functional.needs_quadrature:  # what is nonlocal of the others is added elsewhere
        yield weight, functional


def _merged(functional: XCFunctional) -> list[tuple[float, XCFunctional]]:
    """Parts with every functional of libxc once: members of an ensemble share their parent."""
    found: dict[Any, tuple[float, XCFunctional]] = {}
    for weight, part in parts(functional):
        key = part.code if isinstance(part, Libxc) else id(part)
        found[key] = (weight + found.get(key, (0.0,))[0], part)
    return list(found.values())


def _from_libxc(functional: Libxc, rho: np.ndarray, order: int) -> list[np.ndarray]:
    size, n = rho.shape[2], rho.shape[0] * rho.shape[1]
    own = numint.NumInt()
    kind = own._xc_type(functional.code)
    if kind == "HF":  # exact exchange alone
        return [np.zeros((n,) * k + (size,)) for k in range(order + 1)]
    density = rho if len(rho) == 2 else rho[0]
    if kind == "LDA":
        density = density[..., 0, :]
    found = own.eval_xc_eff(functional.code, density, order, xctype=kind)
    flat = [np.reshape(found[k], (n,) * k + (size,)) for k in range(order + 1)]
    flat[0] = flat[0] * rho[:, 0].sum(0)
    # next to its thresholds libxc may divide zero by zero; there is no density there
    return [np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0) for values in flat]


def _by_autograd(functional: XCFunctional, rho: np.ndarray, order: int) -> list[np.ndarray]:
    n, size = rho.shape[0] * rho.shape[1], rho.shape[2]
    with torch.enable_grad():
        x = torch.from_numpy(rho).reshape(n, size).to(device_of(functional)).requires_grad_()
        energy = functional.energy_density(x.reshape(rho.shape))
        # No point sees another one: the gradient of a sum over points is that of every point.
        # derivatives by sorted variables, (G,) each
        level: dict[tuple[int, ...], Tensor] = {(): energy}
        found = [energy.detach().cpu().numpy()]
        for k in range(1, order + 1):
            level = {
                (*done, i): row
                for done, values in level.items()
                for i, row in enumerate(_slope(values, x, k < order))
                if not done or i >= done[-1]
            }
            full = np.empty((n,) * k + (size,))
            for index in np.ndindex(*(n,) * k):
                full[index] = level[tuple(sorted(index))].detach().cpu().numpy()
            found.append(full)
    return found


def _slope(values: Tensor, x: Tensor, again: bool) -> Tensor:
    """Derivative of every value by its own point's variables, (n, G)."""
    if not values.requires_grad:
        return torch.zeros_like(x)
    (slope,) = torch.autograd.grad(values.sum(), x, create_graph=again, retain_graph=True, allow_unused=True)
    return torch.zeros_like(x) if slope is None else slope
