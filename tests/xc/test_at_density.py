"""Energies of one density while parameters change: the same numbers, computed from less."""

import copy

import pytest
import torch
from torch import nn

from deepchem_dft.scf.frozen.density import FrozenDensity
from deepchem_dft.scf.parts import Quadratures
from deepchem_dft.xc import HybridXC, Libxc, XCFunctional, build_network, deepchem_network, get_xc
from deepchem_dft.xc.dispersion import Nuclei
from tests.xc.toy import check_at_density, weighted


def hybrid(parent="pbe", family="gga", **options):
    net = build_network(family=family, hidden=(6,), zero_last=False, seed=0)
    return HybridXC(parent, net, 0.3, 0.9, family=family, **options)


def plain():
    torch.manual_seed(0)
    return HybridXC("lda,pw", deepchem_network(2, 6), 0.3)  # not even in xi


FUNCTIONALS = {
    "gga": hybrid,
    "mgga on a hybrid": lambda: hybrid("pbe0", "mgga"),
    "a network alone": lambda: hybrid(None, "lda"),
    "b fixed": lambda: hybrid(train_b=False),
    "not even in xi": plain,
    "libxc": lambda: get_xc("r2scan"),
    "native": lambda: get_xc("native:pbe"),
}


@pytest.mark.parametrize("name", FUNCTIONALS)
@pytest.mark.parametrize("spins", [1, 2])
def test_energy_and_gradient_are_those_of_the_energy_density(name, spins, density):
    check_at_density(FUNCTIONALS[name](), density(40)[:spins], 1e-14, 1e-12)


@pytest.mark.parametrize("parent", ["pbe", Libxc("wb97x-v", train_vv10=True)])
def test_the_conventional_part_is_evaluated_once(parent, density, monkeypatch):
    calls = []
    original = Libxc.energy_density
    monkeypatch.setattr(Libxc, "energy_density", lambda self, rho: calls.append(1) or original(self, rho))
    functional, weights = hybrid(parent), torch.ones(10, dtype=torch.float64)
    energy = functional.at_density(density(10), weighted(weights))
    first, second = energy(), energy()
    assert len(calls) == 1
    slope = torch.autograd.grad(first + second, functional.bweight)[0]
    conventional = (functional.xc.energy_density(density(10)) * weights).sum()
    assert slope.item() == pytest.approx(2 * conventional.item(), rel=1e-14)


def test_a_functional_of_the_user_is_asked_every_time(density):
    class Scaled(XCFunctional):
        factor = 1.0  # no parameter, and yet it changes

        def energy_density(self, rho):
            return self.factor * rho[:, 0].sum(0)

    functional = Scaled()
    energy = functional.at_density(density(5), weighted(torch.ones(5, dtype=torch.float64)))
    before = energy().item()
    functional.factor = 2.0
    assert energy().item() == pytest.approx(2 * before)


def frozen(density):
    quadratures = Quadratures([weighted(torch.ones(20, dtype=torch.float64))], {None: 0})
    return FrozenDensity(density(20), quadratures, 1.0, {None: -0.5}, Nuclei.of([], []))


def test_a_frozen_density_serves_one_functional_after_another(density):
    here, first, second = frozen(density), hybrid(), hybrid("pbe0", "mgga")
    alone = [frozen(density).energy(xc).item() for xc in (first, second)]
    assert [here.energy(xc).item() for xc in (first, second)] == alone
    assert here.energy(first).item() == alone[0]


def test_a_copy_follows_the_copied_functional(density):
    here, functional = frozen(density), hybrid()
    before = here.energy(functional).item()
    other, twin = copy.deepcopy((here, functional))
    with torch.no_grad():
        twin.aweight += 1.0
    assert other.energy(twin).item() != pytest.approx(before)
    gradient = torch.autograd.grad(other.energy(twin), list(twin.parameters()))
    assert all(g.abs().sum() > 0 for g in gradient)
    assert here.energy(functional).item() == before


def test_training_mode_reaches_the_network(density):
    net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 1)).double()
    functional = HybridXC("lda,pw", net, 0.3)
    energy = functional.at_density(density(30), weighted(torch.ones(30, dtype=torch.float64)))
    assert energy().item() != energy().item()
    functional.eval()
    assert energy().item() == energy().item()
