"""A small functional that sees the whole quadrature, with every derivative it should have."""

import torch
from torch import nn

from deepchem_dft.xc import Quadrature, XCFunctional


class GatherXC(XCFunctional):
    """Charges gathered around every atom, and what they are to each other.

    With the integrand m = n + 0.05 |grad n|^2 / (1 + |grad n|^2): c_A is its integral with a Gaussian
    of width a^(-1/2) about nucleus A, q_A that over A's own points. The energy is
    ``s (sum_AB c_A c_B exp(-R_AB^2 / 10) + sum_A q_A^2 / Z_A)``.
    """

    needs_quadrature = True
    family = "gga"

    def __init__(self, strength: float = -0.02, width: float = 0.7, level: int | None = None) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.tensor(strength, dtype=torch.float64))
        self.width = nn.Parameter(torch.tensor(width, dtype=torch.float64))
        self.grid_level = level

    def energy(self, rho, quadrature):
        total = rho.sum(0)
        slope = total[1:4].square().sum(0)
        charge = (total[0] + 0.05 * slope / (1.0 + slope)) * quadrature.weights
        nuclei = quadrature.positions
        distance = (quadrature.points[:, None] - nuclei).square().sum(-1)
        gathered = (charge[:, None] * torch.exp(-self.width * distance)).sum(0)
        apart = (nuclei[:, None] - nuclei).square().sum(-1)
        own = charge.new_zeros(len(nuclei)).index_add(0, quadrature.atoms, charge)
        pairs = (gathered[:, None] * torch.exp(-0.1 * apart) * gathered).sum()
        return self.strength * (pairs + (own.square() / quadrature.numbers).sum())


def weighted(weights: torch.Tensor) -> Quadrature:
    """Return a quadrature of which a local functional sees the weights alone."""
    nowhere = torch.full((len(weights), 3), torch.nan, dtype=torch.float64)
    one = torch.ones(1, dtype=torch.int64)
    return Quadrature(nowhere, weights, torch.zeros_like(weights).long(), nowhere[:1], one, weights)


def check_at_density(functional, rho, rtol: float, slopes: float) -> None:
    """Energies of one density and their slopes are those of the energy density, also when parameters move."""
    rho = torch.cat([rho, torch.zeros(len(rho), 5, 3, dtype=torch.float64)], -1)
    weights = torch.linspace(-0.1, 1.0, rho.shape[-1], dtype=torch.float64)
    energy = functional.at_density(rho, weighted(weights))
    parameters = [p for p in functional.parameters() if p.requires_grad]
    for _ in range(2):
        expected = (functional.energy_density(rho) * weights).sum()
        assert abs(energy().item() - expected.item()) <= rtol * abs(expected.item())
        if parameters:
            pairs = zip(*(torch.autograd.grad(e, parameters) for e in (energy(), expected)), strict=True)
            for mine, its in pairs:
                torch.testing.assert_close(mine, its, rtol=slopes, atol=slopes / 1000)
        with torch.no_grad():
            for p in parameters:
                p += 0.1
