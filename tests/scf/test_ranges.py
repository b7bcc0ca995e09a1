"""Learned functionals with two ranges of exact exchange, self-consistently and in other programs."""

import pytest
import torch

from deepchem_dft import zoo
from deepchem_dft.errors import FunctionalError
from deepchem_dft.interop.pyscf import to_pyscf
from deepchem_dft.molecule import Molecule
from deepchem_dft.scf import KohnSham
from deepchem_dft.scf.frozen.binned import BinnedDensities, bin_density
from deepchem_dft.xc import EnhancedXC, HybridXC
from deepchem_dft.xc.ranges import hold_omega


def lih(distance: float = 3.0) -> Molecule:
    return Molecule(f"Li 0 0 0; H 0 0 {distance}", "6-31g", grid_level=1)


def learned(train=(), omega: float = 0.3, **options) -> HybridXC:
    xc = EnhancedXC(
        "pbe",
        hidden=[4],
        exchange=0.2,
        train_exchange=True,
        range_separation={"omega": omega, "train": list(train), **options},
        zero_last=False,
        seed=1,
    )
    return HybridXC(None, xc, aweight0=1.0, train_a=False)


def test_lc_blyp_is_that_of_libxc():
    options = {"bound": 99.0, "range_separation": {"omega": 0.33, "attenuation": "ityh"}}
    ours = KohnSham(lih(), EnhancedXC("blyp", hidden=[4], **options), tol=1e-8).run()
    libxc = KohnSham(lih(), "lc-blyp", tol=1e-8).run()
    assert ours.energy.item() == pytest.approx(libxc.energy.item(), abs=1e-9)
    assert torch.allclose(ours.forces(), libxc.forces(), atol=1e-7)
    assert ours.energy_terms["exact_exchange"] == pytest.approx(
        libxc.energy_terms["exact_exchange"], abs=1e-7
    )


def test_a_trained_omega_gives_the_energy_of_a_fixed_one():
    fixed = KohnSham(lih(), learned(omega=0.31), tol=1e-8).run()
    trained = KohnSham(lih(), learned(["omega"], omega=0.31), tol=1e-8).run()
    assert trained.energy.item() == pytest.approx(fixed.energy.item(), abs=2e-7)
    assert torch.allclose(trained.forces(), fixed.forces(), atol=1e-6)


def test_slopes_of_the_energy_are_those_of_fixed_omegas():
    """Of neighbouring functionals whose integrals are those of their omega."""
    xc, step = learned(["omega", "long_exchange"], long_exchange=0.9), 1e-3
    result = KohnSham(lih(), xc, tol=1e-9).run()
    ranges, share = xc.nnxc.ranges, xc.nnxc.share
    slopes = torch.autograd.grad(result.energy, [ranges.omega, ranges.long_exchange, share])
    frozen = torch.autograd.grad(result.frozen.energy(xc), [ranges.omega, ranges.long_exchange, share])
    assert torch.allclose(torch.stack(slopes), torch.stack(frozen), atol=1e-9)
    for place, slope in enumerate(slopes):
        energies = []
        for change in (step, -step):
            other = learned(long_exchange=0.9)
            own = (other.nnxc.ranges.omega, other.nnxc.ranges.long_exchange, other.nnxc.share)[place]
            with torch.no_grad():
                own += change
            energies.append(KohnSham(lih(), other, tol=1e-9).run().energy.item())
        assert slope.item() == pytest.approx((energies[0] - energies[1]) / (2 * step), abs=2e-6)


@pytest.mark.parametrize("train", [(), ("omega",)])
def test_densities_boiled_down(train):
    xc = learned(train)
    frozen = KohnSham(lih(), xc, tol=1e-8).run().frozen
    few = BinnedDensities([bin_density(frozen, xc)])
    with torch.no_grad():  # other parameters at the same density
        xc.nnxc.share += 0.1
        if train:
            xc.nnxc.ranges.omega += 0.05
    assert few.energies(xc).item() == pytest.approx(frozen.energy(xc).item(), abs=2e-5)
    parameters = [p for p in xc.parameters() if p.requires_grad]
    ours, exact = (torch.autograd.grad(e.sum(), parameters) for e in (few.energies(xc), frozen.energy(xc)))
    for a, b in zip(ours, exact, strict=True):
        assert torch.allclose(a, b, rtol=2e-3, atol=2e-5)


def test_files_and_pyscf(tmp_path):
    xc = learned(["omega", "long_exchange"])
    with torch.no_grad():
        xc.nnxc.ranges.omega += 0.04
    with pytest.raises(FunctionalError, match="one range of exact exchange") as caught:
        to_pyscf(lih(), xc)
    assert "hold_omega" in caught.value.remedy
    expected = KohnSham(lih(), xc, tol=1e-8).run().energy.item()
    hold_omega(xc)
    zoo.save(xc, tmp_path / "far.safetensors", summary="two ranges")
    again = zoo.load(tmp_path / "far.safetensors")
    assert [w for _, w in again.exchange_terms] == [None, pytest.approx(0.34)]
    result = KohnSham(lih(), again, tol=1e-8).run()
    assert result.energy.item() == pytest.approx(expected, abs=2e-7)
    mf = to_pyscf(lih(), again)
    mf.conv_tol = 1e-11
    assert mf.kernel() == pytest.approx(result.energy.item(), abs=1e-8)
    gradient = torch.from_numpy(mf.nuc_grad_method().kernel())
    assert torch.allclose(gradient, -result.forces(), atol=1e-5)
