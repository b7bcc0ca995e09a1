"""Frozen solutions: energies, gradients, and the estimate of what relaxing would bring."""

import copy

import pytest
import torch

from deepchem_dft.molecule import Molecule
from deepchem_dft.scf import KohnSham
from deepchem_dft.scf.frozen.solution import FrozenSolution, ReferencePotential
from deepchem_dft.xc import HybridXC, build_network

GEOMETRIES = {"H2O": ("O 0 0 0; H 0 1.43 1.1; H 0 -1.43 1.1", 0), "NO": ("N 0 0 0; O 0 0 2.18", 1)}


def functional(base="pbe", **options) -> HybridXC:
    network = build_network(family="gga", hidden=(8, 8), output="lda_exchange", zero_last=False, seed=3)
    return HybridXC(base, network, aweight0=0.2, **options)


@pytest.fixture(scope="module", params=GEOMETRIES)
def molecule(request):
    geometry, spin = GEOMETRIES[request.param]
    return Molecule(geometry, "6-31g", spin=spin, grid_level=1)


def moved(xc: HybridXC, size: float) -> HybridXC:
    other = copy.deepcopy(xc)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for p in other.parameters():
            p += size * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    return other


@pytest.mark.parametrize("options", [{}, {"base": "pbe0", "train_exchange": True}, {"spin_symmetric": False}])
def test_energy_and_gradient_are_those_at_fixed_orbitals(molecule, options):
    xc = functional(**options)
    result = KohnSham(molecule, xc).run()
    held, other = FrozenSolution.of(result, xc), moved(xc, 0.02)
    parameters = [p for p in other.parameters() if p.requires_grad]
    energies = [held.energy(other), result.frozen.energy(other)]
    assert energies[0].item() == pytest.approx(energies[1].item(), abs=2e-6)
    a, b = (torch.cat([g.flatten() for g in torch.autograd.grad(e, parameters)]) for e in energies)
    assert float((a - b).norm() / b.norm()) < 1e-4


@pytest.mark.parametrize("options", [{}, {"base": "pbe0", "train_exchange": True}])
def test_drift_estimates_the_relaxation_energy(molecule, options):
    xc = functional(**options)
    result = KohnSham(molecule, xc, tol=1e-8).run()
    held = FrozenSolution.of(result, xc)
    assert held.drift(xc) == 0.0
    for size in (0.01, 0.04):
        other = moved(xc, size)
        relaxed = KohnSham(molecule, other, tol=1e-8).run(guess=result)
        truth = float((result.frozen.energy(other) - relaxed.energy).detach())
        assert truth > 0
        assert 0.3 < held.drift(other) / truth < 3.0


def test_a_rough_network_keeps_all_points(molecule):
    torch.manual_seed(0)
    rough = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    with torch.no_grad():
        rough[0].weight.mul_(3000.0)
    xc = HybridXC("pbe", rough.double(), aweight0=0.05)
    result = KohnSham(molecule, xc, max_iter=4).run(on_unconverged="continue")
    held = FrozenSolution.of(result, xc)
    assert held.reference.offset is None
    assert held.energy(xc).item() == pytest.approx(result.frozen.energy(xc).item(), abs=1e-12)


def test_restored_is_the_same_to_the_last_bit(molecule):
    xc = functional()
    result = KohnSham(molecule, xc).run()
    held, other = FrozenSolution.of(result, xc), moved(xc, 0.02)
    reference = ReferencePotential(**held.reference.to_dict())
    again = FrozenSolution.restored(molecule, other, result.state, reference)
    assert again.energy(other).item() == pytest.approx(held.energy(other).item(), abs=1e-11)
    assert again.drift(other) == pytest.approx(held.drift(other), rel=1e-9)
