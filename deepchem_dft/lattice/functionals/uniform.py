"""The local density approximation of the exponential interaction, from the uniform gas."""

import math

import torch
from torch import Tensor

from deepchem_dft.errors import InputError
from deepchem_dft.lattice.functionals.base import LatticeFunctional
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.lattice.interaction import AMPLITUDE, KAPPA

#: alpha ... sigma of the fit of the correlation energy, Eq. 24 of the reference; nu is 1.
_FIT = (2.0, -1.00077, 6.26099, -11.9041, 9.62614, -1.48334)


class UniformGasLDA(LatticeFunctional):
    """Exchange and correlation of the uniform gas, applied point by point. It has no parameters.

    Exchange is exact, correlation a fit to density-matrix renormalisation group energies of the
    unpolarised gas.

    Parameters
    ----------
    grid : Grid
    polarised : bool
        Must be False: of the polarised gas no correlation energy has been published.

    Examples
    --------
    >>> xc = UniformGasLDA(Grid(101, 0.1))
    >>> xc.energy(torch.full((1, 1, 101), 0.5, dtype=torch.float64)) / 5.05
    tensor([-0.3450], dtype=torch.float64)

    References
    ----------
    Baker, Stoudenmire, Wagner, Burke, White, Phys. Rev. B 91, 235141 (2015), Eqs. 17 and 24.
    """

    def __init__(self, grid: Grid, polarised: bool = False) -> None:
        if polarised:
            raise InputError(
                "the uniform-gas LDA is for unpolarised densities",
                field="polarised",
                remedy="use polarised=False",
            )
        super().__init__(grid, polarised)

    def energy(self, density: Tensor) -> Tensor:
        """Return the energies, (B,), Hartree."""
        return self.grid.integrate(density * self.per_electron(density)).sum(1)

    @staticmethod
    def per_electron(density: Tensor) -> Tensor:
        """Return the energy per electron, Hartree, of densities of any shape, electrons per Bohr.

        Tends to -A n / kappa for dilute gases, whose electrons avoid each other.
        """
        y = (math.pi / KAPPA) * density.clamp(min=1e-30)
        exchange = torch.log1p(y**2) / y - 2 * torch.atan(y)
        root = y.sqrt()
        series = sum(c * root**k for k, c in enumerate(_FIT))
        correlation = y / (series + (math.pi * KAPPA**2 / AMPLITUDE) * y**3)
        return AMPLITUDE * (exchange / (2 * math.pi) - correlation / math.pi)
