"""Enhanced parents in self-consistent fields: parents' energies, forces, gradients, few points."""

import pytest
import torch

from deepchem_dft.scf import KohnSham, SCFLayer
from deepchem_dft.scf.frozen.binned import BinnedDensities, BinnedDensity, bin_density
from deepchem_dft.xc import EnhancedXC, HybridXC
from deepchem_dft.xc.parents import hybrid_name

BASIS = {"basis": "sto-3g", "grid_level": 0}


def trained(parent: str, seed: int = 1, size: float = 0.3, **options) -> EnhancedXC:
    """Return a functional with factors of the size that training gives."""
    xc = EnhancedXC(parent, hidden=[8, 8], zero_last=False, seed=seed, **options)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in xc.named_parameters():
            if name != "share":
                p += size * torch.randn(p.shape, generator=draw, dtype=torch.float64)
    return xc


def whole(xc: EnhancedXC) -> HybridXC:
    """Return what configurations make of it."""
    return HybridXC(None, xc, aweight0=1.0, train_a=False)


@pytest.mark.parametrize("parent", ["lda", "pbe", "r2scan"])
@pytest.mark.parametrize("system, exchange", [("H2O", 0.0), ("H2O", 0.25), ("N", 0.0), ("N", 0.25)])
def test_without_factors_the_energy_is_that_of_libxc(make, parent, system, exchange):
    molecule = make(system, **BASIS)
    ours = KohnSham(molecule, whole(EnhancedXC(parent, exchange=exchange)), tol=1e-7).run()
    theirs = KohnSham(molecule, hybrid_name(parent, exchange), tol=1e-7).run()
    assert float(ours.energy.detach()) == pytest.approx(float(theirs.energy.detach()), abs=1e-9)


@pytest.mark.parametrize("parent", ["lda", "pbe", "r2scan"])
def test_restricted_and_unrestricted_are_one(make, parent):
    molecule, xc = make("H2O", **BASIS), trained(parent, exchange=0.2)
    energies = [
        float(KohnSham(molecule, xc, tol=1e-7, restricted=r).run().energy.detach()) for r in (True, False)
    ]
    assert energies[0] == pytest.approx(energies[1], abs=1e-9)
    parent_energy = KohnSham(molecule, hybrid_name(parent, 0.2)).run().energy
    assert abs(energies[0] - float(parent_energy)) > 1e-3


@pytest.mark.parametrize("parent, system", [("pbe", "H2O"), ("r2scan", "H2O+"), ("lda", "H2O")])
def test_forces_are_minus_the_energy_derivative(make, check_forces, parent, system):
    check_forces(make(system, **BASIS), trained(parent, exchange=0.2), places=[(1, 2)], at_rest=1e-9)


def test_gradient_of_the_energy_reaches_every_parameter(make, directional):
    """Through the self-consistent field, against finite differences."""
    molecule = make("N", **BASIS)
    xc = whole(trained("r2scan", exchange=0.2, train_exchange=True))

    def solve():
        return KohnSham(molecule, xc, tol=1e-8).run()

    parameters = [p for p in xc.parameters() if p.requires_grad]
    slopes = torch.autograd.grad(solve().energy, parameters)
    assert all(s.abs().max() > 0 for s in slopes)
    direction = [torch.randn_like(p) if p.requires_grad else torch.zeros_like(p) for p in xc.parameters()]
    expected = sum(
        float((s * d).sum())
        for s, d in zip(slopes, [d for d, p in zip(direction, xc.parameters()) if p.requires_grad])
    )
    found = directional(xc, solve, [lambda result: result.energy], direction, 1e-3)
    assert expected == pytest.approx(found.item(), rel=1e-6)


@pytest.mark.parametrize("parent", ["lda", "pbe", "r2scan", "blyp"])
@pytest.mark.parametrize("system", ["H2O", "O"])
def test_few_points_give_the_energy_and_its_gradient(make, parent, system, tmp_path):
    """At densities of the parent, next to the full grid; also through a file."""
    molecule = make(system, **BASIS)
    xc = whole(trained(parent, exchange=0.2, train_exchange=True))
    state = KohnSham(molecule, hybrid_name(parent, 0.2)).run().state
    frozen = SCFLayer(xc).frozen_density(molecule, state)
    bin_density(frozen, xc).save(tmp_path / "density.pt")
    batch = BinnedDensities([BinnedDensity.load(tmp_path / "density.pt")])
    parameters = [p for p in xc.parameters() if p.requires_grad]
    full, few = frozen.energy(xc), batch.energies(xc)[0]
    parent_energy = KohnSham(molecule, hybrid_name(parent, 0.2)).run().energy
    learned = abs(float(full.detach()) - float(parent_energy))
    assert learned > 1e-3
    assert abs(float((few - full).detach())) < 1e-4 * learned
    for a, b in zip(torch.autograd.grad(full, parameters), torch.autograd.grad(few, parameters)):
        assert float((a - b).abs().max()) < 1e-3 * max(float(a.abs().max()), 1e-2)


@pytest.mark.parametrize("parent", ["lda", "r2scan"])
def test_few_points_without_factors_are_exact(make, parent):
    molecule = make("N", **BASIS)
    xc = whole(EnhancedXC(parent, exchange=0.25))
    result = KohnSham(molecule, xc, tol=1e-7).run()
    energy = BinnedDensities([bin_density(result.frozen, xc)]).energies(xc)[0]
    assert energy.item() == pytest.approx(result.energy.item(), abs=1e-10)


def test_systems_side_by_side(make):
    """All systems have the same nodes; each its own weights."""
    xc = whole(trained("r2scan"))
    densities = [
        bin_density(KohnSham(make(name, **BASIS), "r2scan").run().frozen, xc) for name in ("H", "He", "O")
    ]
    batch = BinnedDensities([*densities, densities[0]])
    alone = torch.stack([BinnedDensities([d]).energies(xc)[0] for d in batch.densities])
    torch.testing.assert_close(batch.energies(xc), alone, rtol=0, atol=1e-11)


def test_single_precision_of_the_networks(make):
    """The field is solved in double precision all the same."""
    molecule, high = make("H2O", **BASIS), trained("r2scan", size=0.1)
    low = EnhancedXC(**{**high.config, "dtype": "float32"})
    low.load_state_dict(high.state_dict())
    results = [KohnSham(molecule, xc, tol=1e-7).run() for xc in (high, low)]
    assert [r.converged for r in results] == [True, True]
    energies = [float(r.energy.detach()) for r in results]
    assert energies[0] == pytest.approx(energies[1], abs=1e-6) and energies[0] != energies[1]
