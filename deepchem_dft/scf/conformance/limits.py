"""What the energy must become where there is nothing, where all is uniform, and along a displacement."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from deepchem_dft.scf.conformance.samples import Sample, energy_of, stretched
from deepchem_dft.xc.base import NCOMP, XCFunctional
from deepchem_dft.xc.features import TAU_FACTOR
from deepchem_dft.xc.native import SlaterPW92, slater
from deepchem_dft.xc.ranges import FERMI, attenuation

# Densities are scaled down to this for the limit of none.
_FAINT = 1e-10
#: Bohr and electrons: displacements and changes of the density without which there is no jump.
PATH, SCALES = (1.6, 14.0), (0.9, 1.1)
_COARSE, _FINE, _ROUNDS, _CANDIDATES = 0.25, 8, 6, 3


def vanishing_density(xc: XCFunctional, sample: Sample) -> float:
    """Energy (Ha) of no density and of one that is next to none; infinite if a potential is not finite."""
    found = []
    for scale in (0.0, _FAINT):
        rho = (scale * sample.rho).requires_grad_()
        with torch.enable_grad():
            energy = energy_of(xc, replace(sample, rho=rho))
            slope = torch.zeros_like(rho)
            if energy.requires_grad:
                slope = torch.autograd.grad(energy, rho, allow_unused=True)[0]
        if slope is not None and not bool(torch.isfinite(slope).all()):
            return float("inf")
        found.append(abs(float(energy.detach())))
    return max(found)


def uniform_gas(xc: XCFunctional, device: torch.device) -> float:
    """Largest relative error of the uniform electron gas's energy, at several densities and spins."""
    radii = torch.tensor([0.3, 1.0, 2.0, 5.0], dtype=torch.float64, device=device)
    n = 3.0 / (4.0 * torch.pi * radii**3)
    worst, exact = 0.0, SlaterPW92()
    for zeta in (0.0, 0.5, 1.0):
        spins = torch.stack([0.5 * (1.0 + zeta) * n, 0.5 * (1.0 - zeta) * n])
        rho = spins.new_zeros(2, 5, len(n))
        rho[:, 0] = spins
        rho[:, 4] = 0.5 * TAU_FACTOR * (2.0 * spins) ** (5.0 / 3.0)
        with torch.no_grad():
            expected = exact.energy_density(rho[:, :1])
            semilocal = xc.energy_density(rho[:, : NCOMP[xc.family]])
            found = semilocal + sum(0.5 * _exact_exchange(xc, 2.0 * spin) for spin in spins)
            worst = max(worst, float(((found - expected) / expected).abs().max()))
    return worst


def _exact_exchange(xc: XCFunctional, n: Tensor) -> Tensor:
    """Return what exact exchange of a functional adds to unpolarised uniform gases, Ha/Bohr^3."""
    total = torch.zeros_like(n)
    for coefficient, omega in xc.exchange_terms:
        far = 1.0 if omega is None else 1.0 - attenuation(FERMI * n ** (1.0 / 3.0) / omega)
        total = total + coefficient * far * slater(n)
    return total


def smoothness(xc: XCFunctional, device: torch.device) -> float:
    """Largest jump of the energy (Ha) as two atoms are drawn apart, and as a density is scaled."""

    def apart(distance: float) -> float:
        with torch.no_grad():
            return float(energy_of(xc, stretched(distance).to(device)))

    still = stretched(3.0).to(device)

    def scaled(factor: float) -> float:
        with torch.no_grad():
            return float(energy_of(xc, replace(still, rho=factor * still.rho)))

    return max(largest_jump(apart, *PATH, _COARSE), largest_jump(scaled, *SCALES, 0.01))


def largest_jump(function: Callable[[float], float], start: float, end: float, step: float) -> float:
    """Return what is left of the second differences of a function where they are looked at closely.

    Of a smooth function nothing is, as steps become small; a jump stays as it is.

    Parameters
    ----------
    function : callable
    start, end, step : float
        Where to look first.

    Examples
    --------
    >>> largest_jump(lambda x: x**2 + 1e-4 * (x > 1.234), 0.0, 2.0, 0.25) > 0.9e-4
    True
    >>> largest_jump(lambda x: x**2, 0.0, 2.0, 0.25) < 1e-8
    True
    """
    count = round((end - start) / step)
    values = torch.tensor([function(start + i * step) for i in range(count + 1)], dtype=torch.float64)
    worst = 0.0
    for middle in _suspects(values):
        left, right = start + (middle - 0.5) * step, start + (middle + 1.5) * step
        for _ in range(_ROUNDS):
            spacing = (right - left) / _FINE
            there = [function(left + i * spacing) for i in range(_FINE + 1)]
            near = torch.tensor(there, dtype=torch.float64)
            middle = 1 + int(near.diff(n=3).abs().argmax())
            left, right = left + (middle - 0.5) * spacing, left + (middle + 1.5) * spacing
        worst = max(worst, float(near.diff(n=2).abs().max()))
    return worst


def _suspects(values: Tensor) -> list[int]:
    """Return the intervals in which a jump is likeliest: high differences of what is smooth are small."""
    fifth = values.diff(n=5).abs()
    found: list[int] = []
    while len(found) < _CANDIDATES and bool((fifth >= 0.0).any()):
        place = int(fifth.argmax())
        found.append(place + 2)
        fifth[max(place - 2, 0) : place + 3] = -1.0  # its neighbours have seen the same
    return found
