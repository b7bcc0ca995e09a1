"""How atoms share space: Becke's weights as a differentiable function of where points and nuclei are."""

import torch
from pyscf.data.radii import BRAGG
from torch import Tensor

from deepchem_dft.molecule.grid import row_blocks
from deepchem_dft.xc.quadrature import Quadrature

# Numbers per buffer: some dozen of them, a row of pairs of atoms for every point, live at a time.
_ELEMENTS = 2_000_000
# Bohr^2: keeps the slope of a distance finite where a point lies on a nucleus.
_TINY = 1e-30


def shares(points: Tensor, atoms: Tensor, positions: Tensor, numbers: Tensor) -> Tensor:
    """Return the share of its own atom in every point, differentiable in points and nuclei.

    Parameters
    ----------
    points : Tensor, shape (g, 3), Bohr
    atoms : Tensor of int64, shape (g,)
        Whose points they are.
    positions : Tensor, shape (A, 3), Bohr
    numbers : Tensor of int64, shape (A,)
        Atomic numbers.

    Returns
    -------
    Tensor, shape (g,)
        Quadrature weights are these times the weights of an atom's own quadrature. Boundaries
        between unlike atoms are moved by the square roots of Bragg's radii, as in PySCF's grids.

    References
    ----------
    Becke, J. Chem. Phys. 88, 2547 (1988); Treutler and Ahlrichs, J. Chem. Phys. 102, 346 (1995),
    for the boundaries.

    Examples
    --------
    >>> middle, nuclei = torch.zeros(1, 3).double(), torch.tensor([[0.0, 0, -1], [0, 0, 1]]).double()
    >>> shares(middle, torch.tensor([0]), nuclei, torch.tensor([1, 1])).item()
    0.5
    """
    if len(positions) == 1:
        return torch.ones_like(points[:, 0])
    size = torch.from_numpy(BRAGG).to(positions)[numbers].sqrt()
    ratio = size[:, None] / size
    shift = (0.25 * (ratio.mT - ratio)).clamp(-0.5, 0.5)
    same = torch.eye(len(positions), dtype=torch.bool, device=positions.device)
    away = (points[:, None] - positions).square().sum(-1).clamp_min(_TINY).sqrt()
    apart = (positions[:, None] - positions).square().sum(-1).masked_fill(same, 1.0).sqrt()
    edge = (away[:, :, None] - away[:, None]) / apart  # from -1 to 1: nearer to the one or the other
    edge = edge + shift * (1.0 - edge.square())
    for _ in range(3):
        edge = 0.5 * edge * (3.0 - edge.square())
    cells = (0.5 * (1.0 - edge)).masked_fill(same, 1.0).prod(-1)
    return cells.gather(1, atoms[:, None])[:, 0] / cells.sum(1)


def weight_gradient(quadrature: Quadrature, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Return what a change of the weights does when points and nuclei move.

    Parameters
    ----------
    quadrature : Quadrature
    slopes : Tensor, shape (G,)
        Derivative of something with respect to the weights.

    Returns
    -------
    Tensor, shape (G, 3)
        Its derivative with respect to the points, through the weights.
    Tensor, shape (A, 3)
        With respect to the nuclei, points at rest.
    """
    by_point = torch.zeros_like(quadrature.points)
    by_nucleus = torch.zeros_like(quadrature.positions)
    if len(by_nucleus) == 1:
        return by_point, by_nucleus
    factors = slopes.detach() * quadrature.atomic_weights
    for rows in row_blocks(quadrature.size, max(_ELEMENTS // len(by_nucleus) ** 2, 1)):
        with torch.enable_grad():
            points = quadrature.points[rows].detach().requires_grad_()
            nuclei = quadrature.positions.detach().requires_grad_()
            found = shares(points, quadrature.atoms[rows], nuclei, quadrature.numbers)
            by_point[rows], part = torch.autograd.grad(found @ factors[rows], [points, nuclei])
        by_nucleus += part
    return by_point, by_nucleus
