"""HybridXC: weights, exact exchange, families, and models that could not learn."""

import copy
import pickle

import pytest
import torch
from torch import nn

from deepchem_dft.errors import FunctionalError
from deepchem_dft.xc import NNLDA, NNMGGA, NNPBE, HybridXC, Libxc, build_network

WIDTH = {"lda": 2, "gga": 3, "mgga": 4}


def net(family="gga"):
    return nn.Sequential(nn.Linear(WIDTH[family], 4), nn.Tanh(), nn.Linear(4, 1)).double()


@pytest.mark.parametrize(
    "name, family, layer",
    [
        ("lda_x", "lda", NNLDA),
        ("pbe", "gga", NNPBE),
        ("r2scan", "mgga", NNMGGA),
        ("native:pbe", "gga", NNPBE),
    ],
)
def test_the_network_follows_the_conventional_family(name, family, layer, density):
    network, rho = net(family), density(20)
    xc = HybridXC(name, network, aweight0=0.7, bweight0=0.4)
    assert xc.family == family and type(xc.nnxc) is layer and xc.spin_symmetric
    expected = 0.7 * layer(network)(rho) + 0.4 * xc.xc(rho)
    torch.testing.assert_close(xc(rho), expected)


@pytest.mark.parametrize(
    "name, family, result", [("lda_x", "mgga", "mgga"), ("r2scan", "lda", "mgga"), ("pbe", "lda", "gga")]
)
def test_family_is_the_richer_one(name, family, result):
    assert HybridXC(name, net(family), 1.0, family=family).family == result


def test_a_functional_is_used_as_it_is():
    xc = HybridXC("pbe", NNMGGA(net("mgga"), spin_symmetric=False), 1.0)
    assert xc.family == "mgga" and not xc.spin_symmetric
    with pytest.raises(FunctionalError, match="family"):
        HybridXC("pbe", NNMGGA(net("mgga")), 1.0, family="gga")


@pytest.mark.parametrize("nothing", [None, "", "none", "None "])
def test_network_alone(nothing, density):
    network, rho = net("gga"), density(5)
    xc = HybridXC(nothing, network, 1.0, family="gga")
    assert xc.xc is None and xc.exchange_terms == [] and not xc.bweight.requires_grad
    torch.testing.assert_close(xc(rho), NNPBE(network)(rho))
    assert HybridXC(nothing, net("lda"), 1.0).family == "lda"


def test_defaults_are_those_of_deepchem():
    xc = HybridXC("lda_x", net("lda"))
    assert (xc.aweight.item(), xc.bweight.item()) == (0.0, 1.0)
    assert xc.aweight.requires_grad and xc.bweight.requires_grad
    assert xc.aweight.dtype == xc.bweight.dtype == torch.float64


def test_weight_gradients(density):
    rho, network = density(10), net()
    xc = HybridXC("pbe", network, 0.3, 0.9)
    xc(rho).sum().backward()
    assert xc.aweight.grad.item() == pytest.approx(NNPBE(network)(rho).sum().item())
    assert xc.bweight.grad.item() == pytest.approx(Libxc("pbe")(rho).sum().item())


def test_starts_exactly_at_the_conventional_functional(density):
    rho = density(30)
    xc = HybridXC("pbe", build_network(family="gga"), aweight0=1.0)
    assert torch.equal(xc(rho), Libxc("pbe")(rho))


def test_exchange_follows_b():
    xc = HybridXC("camb3lyp", net(), 1.0, 0.5)
    (full, none), (long, omega) = xc.exchange_terms
    assert (none, omega) == (None, 0.33)
    assert full.item() == pytest.approx(0.095) and long.item() == pytest.approx(0.23)
    (gradient,) = torch.autograd.grad(full, xc.bweight)
    assert gradient.item() == pytest.approx(0.19)


def test_exchange_given_does_not_follow_b():
    xc = HybridXC("pbe0", net(), 1.0, 0.5, exchange=0.3)
    ((share, omega),) = xc.exchange_terms
    assert share.item() == pytest.approx(0.3) and omega is None
    assert not share.requires_grad
    assert HybridXC("pbe", net(), 1.0, exchange=0.3).exchange_terms[0][0].item() == 0.3
    kept = HybridXC("camb3lyp", net(), 1.0, 0.5, exchange=0.3).exchange_terms
    assert [w for _, w in kept] == [None, 0.33] and kept[1][0].item() == pytest.approx(0.23)


def test_trainable_exchange_starts_at_the_functionals_own():
    xc = HybridXC("b3lyp", net(), 1.0, train_exchange=True)
    assert xc.exchange.requires_grad and xc.exchange.item() == pytest.approx(0.2)
    assert HybridXC("pbe", net(), 1.0, train_exchange=True).exchange.item() == 0.0


def test_switching_training_off():
    xc = HybridXC("pbe", net(), 1.0, train_a=False, train_b=False)
    assert not xc.aweight.requires_grad and not xc.bweight.requires_grad
    assert {n for n, p in xc.named_parameters() if p.requires_grad} == {
        f"nnxc.nnmodel.{i}.{k}" for i in (0, 2) for k in ("weight", "bias")
    }


def test_models_that_cannot_learn_are_errors():
    with pytest.raises(FunctionalError, match="fixed at 0"):
        HybridXC("pbe", net(), train_a=False)
    with pytest.raises(FunctionalError, match="starts at zero and so does its weight"):
        HybridXC("pbe", build_network(family="gga"))


@pytest.mark.parametrize(
    "options, field",
    [
        ({"aweight0": float("nan")}, "aweight0"),
        ({"bweight0": "much"}, "bweight0"),
        ({"exchange": float("inf")}, "exchange"),
        ({"family": "hgga"}, "family"),
    ],
)
def test_unusable_options(options, field):
    with pytest.raises(FunctionalError) as caught:
        HybridXC("pbe", net(), **{"aweight0": 1.0, **options})
    assert caught.value.field == field


def test_wrong_width_and_unknown_functional():
    with pytest.raises(FunctionalError, match="takes 2 inputs"):
        HybridXC("pbe", net("lda"), 1.0)
    with pytest.raises(FunctionalError, match="unknown functional"):
        HybridXC("pbee", net(), 1.0)
    with pytest.raises(FunctionalError, match="double-hybrid"):
        HybridXC("b2plyp", net("mgga"), 1.0)


def test_spin_symmetry_follows_the_parts(density):
    rho = density(10)
    xc = HybridXC("pbe", net(), 1.0, spin_symmetric=False)
    assert not xc.spin_symmetric and not torch.allclose(xc(rho), xc(rho.flip(0)))


@pytest.mark.parametrize("name", ["lda_x", "pbe", "r2scan"])
def test_corners_are_finite(name, corners, assert_finite):
    family = Libxc(name).family
    assert_finite(HybridXC(name, net(family), 0.5), corners)
    assert_finite(HybridXC(name, net(family), 0.5), corners.sum(0, keepdim=True))


def test_copies_and_state(density):
    rho = density(5)
    xc = HybridXC("pbe0", net(), 0.3, 0.8, exchange=0.1, train_exchange=True)
    for twin in (copy.deepcopy(xc), pickle.loads(pickle.dumps(xc))):
        assert torch.equal(twin(rho), xc(rho))
    other = HybridXC("pbe0", net(), 1.0, exchange=0.5)
    other.load_state_dict(xc.state_dict())
    assert torch.equal(other(rho), xc(rho)) and other.exchange.item() == 0.1


def test_user_network_in_float32(density):
    rho = density(10)
    xc = HybridXC("pbe", net().float(), 0.5)
    xc(rho).sum().backward()
    assert xc(rho).dtype == torch.float64 and xc.nnxc.nnmodel[0].weight.grad is not None
    assert all(torch.isfinite(p.grad).all() for p in xc.parameters())
