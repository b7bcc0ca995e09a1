"""KSR the plain way: dense matrices, PyTorch's eigensolver, convolutions by summing over all pairs.

Nothing but the grid and the parameters is shared with deepchem_dft.lattice: what both agree on is
right, and what one takes longer is what the other saves.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

AMPLITUDE, KAPPA = 1.071295, 1 / 2.385345
OFFSETS = {0: -5 / 2, 1: 4 / 3, 2: -1 / 12}


class DenseKSR:
    """Trajectories of one molecule at a time, symmetric about ``centre`` (in half spacings)."""

    def __init__(self, points: int = 513, spacing: float = 0.08) -> None:
        self.spacing = spacing
        self.x = (torch.arange(points, dtype=torch.float64) - (points - 1) / 2) * spacing
        self.distance = (self.x[:, None] - self.x).abs()
        self.repulsion = AMPLITUDE * torch.exp(-KAPPA * self.distance)
        self.kinetic = torch.zeros(points, points, dtype=torch.float64)
        for offset, value in OFFSETS.items():
            for sign in {offset, -offset}:
                self.kinetic += value * torch.diag(torch.ones(points - offset, dtype=torch.float64), sign)
        self.kinetic /= -2 * spacing**2

    def mirror(self, f: Tensor, centre: int) -> Tensor:
        """Average with the mirror image; where there is none, f stays."""
        index = torch.arange(len(f)).flip(0) + centre
        inside = (index >= 0) & (index < len(f))
        image = torch.where(inside, f[index.clamp(0, len(f) - 1)], f)
        return (f + image) / 2

    def xc_energy(self, n: Tensor, eta: Tensor, layers: list[Tensor], width: Tensor) -> Tensor:
        """Return the energy of the global functional with the self-interaction gate."""
        xi = 0.1 + (1 / KAPPA - 0.1) * torch.sigmoid(eta)
        kernels = torch.exp(-self.distance[..., None] / xi) / (2 * xi)
        channels = torch.tensordot(n, kernels, dims=1) * self.spacing
        h = torch.cat([n[:, None], channels], 1).T[None]
        for layer in layers:
            h = torch.nn.functional.silu(torch.conv1d(h, layer, padding=layer.shape[2] // 2))
        hartree = self.repulsion @ n * self.spacing
        gate = torch.exp(-(((n.sum() * self.spacing - 1) / width) ** 2))
        return ((1 - gate) * -h[0, 0] - gate * hartree / 2) @ n * self.spacing

    def trajectory(
        self,
        positions: list[float],
        charges: list[float],
        electrons: int,
        parameters: tuple[Tensor, list[Tensor], Tensor],
        iterations: int = 15,
        mixing: float = 0.5,
        decay: float = 0.9,
    ) -> tuple[Tensor, Tensor]:
        """Return energies of all iterations, (K,), and the last mixed density, (n,)."""
        external = -sum(
            z * AMPLITUDE * torch.exp(-KAPPA * (self.x - r).abs())
            for r, z in zip(positions, charges, strict=True)
        )
        centre = round(2 * sum(positions) / len(positions) / self.spacing)
        occupations = torch.full((math.ceil(electrons / 2),), 2.0, dtype=torch.float64)
        if electrons % 2:
            occupations[-1] = 1.0

        def fill(potential: Tensor) -> tuple[Tensor, Tensor]:
            values, vectors = torch.linalg.eigh(self.kinetic + torch.diag(potential))
            count = len(occupations)
            density = (vectors[:, :count] ** 2 @ occupations) / self.spacing
            return density, values[:count] @ occupations

        n, energies = self.mirror(fill(external)[0], centre), []
        for k in range(iterations):
            if not n.requires_grad:
                n = n.requires_grad_()
            (slope,) = torch.autograd.grad(self.xc_energy(n, *parameters), n, create_graph=True)
            hartree = self.repulsion @ n * self.spacing
            potential = external + hartree + self.mirror(slope / self.spacing, centre)
            out, total = fill(potential)
            out = self.mirror(out, centre)
            kinetic = total - potential @ out * self.spacing
            classical = (external + self.repulsion @ out * self.spacing / 2) @ out * self.spacing
            energies.append(kinetic + classical + self.xc_energy(out, *parameters))
            n = n + mixing * decay**k * (out - n)
        return torch.stack(energies), n
