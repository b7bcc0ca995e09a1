"""The mean of functionals is a functional; the spread is that of its members."""

import pytest
import torch

from deepchem_dft import KohnSham, Molecule
from deepchem_dft.errors import FunctionalError
from deepchem_dft.scf.solutions import Functional
from deepchem_dft.xc import Libxc
from deepchem_dft.xc.ensemble import EnsembleXC, uncertainty_of
from tests.xc.toy import weighted


@pytest.mark.parametrize("geometry", ["H 0 0 0; H 0 0 1.4", "Li 0 0 0"])
def test_mean_of_conventional_functionals_is_their_sum_in_libxc(geometry):
    """Half PBE and half PBE0 is PBE with an eighth of exact exchange: libxc can say it too."""
    spin = int(geometry.startswith("Li"))
    molecule = Molecule(geometry, "6-31g", spin=spin, grid_level=1)
    mean = KohnSham(molecule, EnsembleXC(["pbe", "pbe0"]), tol=1e-8).run()
    same = KohnSham(molecule, "0.125*hf+0.875*pbe,pbe", tol=1e-8).run()
    assert mean.energy.item() == pytest.approx(same.energy.item(), abs=1e-9)
    assert torch.allclose(mean.forces(), same.forces(), atol=1e-7)


def test_range_separation_of_members():
    terms = {w: c for c, w in EnsembleXC(["camb3lyp", "wb97x", "pbe"]).exchange_terms}
    alone = [{w: c for c, w in Libxc(n).exchange_terms} for n in ("camb3lyp", "wb97x")]
    assert terms[0.33] == pytest.approx(alone[0][0.33] / 3)
    assert terms[None] == pytest.approx((alone[0][None] + alone[1][None]) / 3)


def test_members_energies_are_close_to_their_own_and_never_below():
    """E_i at another density than its own: above, by something of second order."""
    ensemble = EnsembleXC(["pbe", "blyp", "pbe0"])
    water = Molecule("O 0 0 0; H 0 1.43 -0.98; H 0 -1.43 -0.98", "6-31g", grid_level=1)
    result = KohnSham(water, ensemble, tol=1e-8).run()
    own = torch.stack([KohnSham(water, m, tol=1e-8).run().energy for m in ensemble])
    excess = ensemble.energies(result) - own
    assert (excess > -1e-9).all() and (excess < 2e-3).all()
    assert ensemble.spread(result) == pytest.approx(own.std().item(), rel=0.02)
    assert ensemble.energies(result).mean().item() == pytest.approx(result.energy.item(), abs=1e-9)


def test_gradient_of_the_mean_reaches_every_member():
    from torch import nn

    from deepchem_dft.xc import NNLDA

    torch.manual_seed(1)
    nets = [nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).double() for _ in range(2)]
    ensemble = EnsembleXC([NNLDA(net) for net in nets])
    result = KohnSham(Molecule("He 0 0 0", "sto-3g", grid_level=0), ensemble).run()
    result.energy.backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in list(nets[0].parameters())[-2:])
    density = torch.rand(1, 1, 9, dtype=torch.float64)
    weights = torch.rand(9, dtype=torch.float64)
    direct = (ensemble(density) * weights).sum()
    assert torch.allclose(ensemble.at_density(density, weighted(weights))(), direct)


@pytest.mark.parametrize("members", [[], ["pbe"], "pbe", Libxc("pbe")])
def test_one_functional_is_no_ensemble(members):
    with pytest.raises(FunctionalError, match="at least two"):
        EnsembleXC(members)


def test_uncertainty_of_a_difference_is_that_of_the_members_differences():
    ensemble = EnsembleXC(["pbe", "blyp", "pbe0"], calibration=2.0)
    h2, h = (
        KohnSham(Molecule(g, "sto-3g", spin=s, grid_level=1), ensemble).run()
        for g, s in (("H 0 0 0; H 0 0 1.4", 0), ("H 0 0 0", 1))
    )
    assert ensemble.uncertainty(h2) == pytest.approx(2.0 * ensemble.spread(h2))
    members = 2 * ensemble.energies(h) - ensemble.energies(h2)
    expected = 2.0 * (((members - members.mean()) ** 2).sum() / 2).sqrt().item()
    assert uncertainty_of(members, ensemble.calibration) == pytest.approx(expected, rel=1e-9)
    floored = EnsembleXC(list(ensemble), 2.0, floor=0.003)
    assert floored.uncertainty(h2) == pytest.approx(
        (0.003**2 + ensemble.uncertainty(h2) ** 2) ** 0.5, rel=1e-12
    )
    assert uncertainty_of([-1e5, -1e5 + 2e-6], 1.0) == pytest.approx(1.41421e-6, rel=1e-4)


@pytest.mark.parametrize("calibration", [0.0, -1.0, float("nan"), float("inf"), True])
def test_calibration_is_a_positive_number(calibration):
    with pytest.raises(FunctionalError, match="calibration"):
        EnsembleXC(["pbe", "blyp"], calibration)


def test_kinds_of_values_have_intervals_of_their_own():
    ensemble = EnsembleXC(["pbe", "blyp"], 2.0, 0.001, {"BH": [1.5, 0.002]})
    assert ensemble.calibration_of("BH") == (1.5, 0.002)
    assert ensemble.calibration_of("NC") == ensemble.calibration_of() == (2.0, 0.001)
    sent = Functional.trained(ensemble)
    assert [sent.calibration_of(k) for k in ("BH", "NC", None)] == [(1.5, 0.002), (2.0, 0.001), (2.0, 0.001)]
    assert Functional.named("pbe").calibration_of("BH") is None
    assert len({sent, Functional.named("pbe")}) == 2  # can be a key


@pytest.mark.parametrize("pair", [(0.0, 0.0), (1.0, -1.0), (1.0,), "12", 3.0])
def test_calibrations_of_kinds_are_numbers(pair):
    with pytest.raises(FunctionalError, match="BH"):
        EnsembleXC(["pbe", "blyp"], by_kind={"BH": pair})


@pytest.mark.parametrize("floor", [-1e-3, float("nan"), float("inf"), "0"])
def test_floor_is_no_negative_number(floor):
    with pytest.raises(FunctionalError, match="floor"):
        EnsembleXC(["pbe", "blyp"], 1.0, floor)
