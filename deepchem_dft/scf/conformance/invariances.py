"""What must not change the energy: where a molecule is, how it is turned, how things are numbered."""

import torch
from torch import Tensor

from deepchem_dft.scf.conformance.samples import Sample, energy_of
from deepchem_dft.xc.base import XCFunctional

#: Bohr: too far for dispersion (R^-6) to be felt, near enough for squares of coordinates to be exact.
FAR = 100.0


def change(xc: XCFunctional, sample: Sample, *others: Sample) -> float:
    """Return by how much other samples' energies differ at most from one's, Ha."""
    with torch.no_grad():
        energy = float(energy_of(xc, sample))
        return max(abs(float(energy_of(xc, other)) - energy) for other in others)


def rotation(xc: XCFunctional, sample: Sample) -> float:
    """Change of the energy, Ha, when molecule and grid are turned together."""
    return change(xc, sample, *(sample.turned(_rotation(seed).to(sample.rho)) for seed in range(2)))


def translation(xc: XCFunctional, sample: Sample) -> float:
    """Change of the energy, Ha, when molecule and grid are moved together."""
    return change(xc, sample, sample.moved(torch.tensor([3.0, -5.0, 2.0]).to(sample.rho)))


def order_of_points(xc: XCFunctional, sample: Sample) -> float:
    """Change of the energy, Ha, with points in another order."""
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(sample.quadrature.size, generator=generator)
    return change(xc, sample, sample.reordered(order.to(sample.rho.device)))


def order_of_atoms(xc: XCFunctional, sample: Sample) -> float:
    """Change of the energy, Ha, with atoms numbered otherwise."""
    orders = torch.tensor([[2, 0, 1], [0, 2, 1]], device=sample.rho.device)
    return change(xc, sample, *(sample.renumbered(order) for order in orders))


def size_consistency(xc: XCFunctional, sample: Sample) -> float:
    """Energy of two molecules far apart less the energies of both, Ha."""
    other = sample.turned(_rotation(0).to(sample.rho)).moved(torch.tensor([0.0, 0.0, FAR]).to(sample.rho))
    with torch.no_grad():
        apart = energy_of(xc, sample) + energy_of(xc, other)
        return abs(float(energy_of(xc, sample.beside(other)) - apart))


def spin_symmetry(xc: XCFunctional, closed: Sample, opened: Sample) -> float:
    """Change of the energy, Ha, when spins are exchanged, or given one by one for a closed shell."""
    swapped = Sample(opened.rho.flip(0), opened.quadrature, opened.direction.flip(0))
    halves = Sample(0.5 * closed.rho.expand(2, -1, -1), closed.quadrature, closed.direction)
    return max(change(xc, opened, swapped), change(xc, closed, halves))


def pieces(xc: XCFunctional, sample: Sample) -> float | None:
    """Energy less that of the groups of points it is said to be the sum of, Ha; None without such."""
    q, worst = sample.quadrature, None
    for part in (xc, *xc.nonlocal_terms):
        groups = part.pieces(q) if part.needs_quadrature else None
        if groups is None:
            continue
        with torch.no_grad():
            whole = float(part.energy(sample.rho, q))
            total = sum(float(part.energy(sample.rho[:, :, rows], q.at(rows))) for rows in groups)
        if not torch.equal(torch.cat(groups).sort().values, torch.arange(q.size, device=q.weights.device)):
            return float("inf")
        worst = max(worst or 0.0, abs(whole - total))
    return worst


def repetition(xc: XCFunctional, sample: Sample) -> float:
    """Change of the energy, Ha, when it is asked for again."""
    return change(xc, sample, sample, sample)


def _rotation(seed: int) -> Tensor:
    draw = torch.randn(3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    q = torch.linalg.qr(draw)[0]
    return q * torch.linalg.det(q)
