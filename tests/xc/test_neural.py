"""Neural functionals: DeepChem's inputs, spin symmetry, the edges of the domain, bad networks."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn

from deepchem_dft.errors import FunctionalError
from deepchem_dft.xc import NNLDA, NNMGGA, NNPBE, build_network, deepchem_network
from deepchem_dft.xc.features import DENSITY_FLOOR, spin_features

LAYERS = {"lda": NNLDA, "gga": NNPBE, "mgga": NNMGGA}
WIDTH = {"lda": 2, "gga": 3, "mgga": 4}
FAMILIES = list(LAYERS)


def plain(family, dtype=torch.float64):
    return nn.Sequential(nn.Linear(WIDTH[family], 8), nn.Softplus(), nn.Linear(8, 1)).to(dtype)


def bounded(family, **options):
    return build_network(family=family, zero_last=False, seed=0, **options)


class Record(nn.Module):
    """A network that keeps what it is fed and returns the sum over columns, weighted."""

    def forward(self, x):
        self.seen = x.detach().clone()
        return x @ torch.arange(1.0, 1 + x.shape[1], dtype=x.dtype)[:, None]


def test_inputs_are_those_of_deepchem(density):
    rho = density(50)
    net = Record()
    energy = NNPBE(net, spin_symmetric=False)(rho)
    n = rho[:, 0].sum(0)
    xi = (rho[0, 0] - rho[1, 0]) / n
    # DeepChem: s = |grad n| / (2 (3 pi^2)^(1/3)) n^(-4/3)
    s = rho[:, 1:4].sum(0).norm(dim=0) / 6.187335452560271 * n ** (-4 / 3)
    torch.testing.assert_close(net.seen, torch.stack([n, xi, s], -1), rtol=1e-12, atol=1e-9)
    torch.testing.assert_close(energy, (n + 2 * xi + 3 * s) * n, rtol=1e-12, atol=1e-9)


def test_iso_orbital_indicator():
    # uniform gas of any polarisation: alpha = 1; one orbital: alpha = 0
    up, down = torch.tensor([0.2, 0.2, 0.3]), torch.tensor([0.2, 0.1, 0.0])
    n = torch.stack([up, down]).double()
    tau = 0.3 * (6 * math.pi**2) ** (2 / 3) * n ** (5 / 3)
    rho = torch.cat([n[:, None], torch.zeros(2, 3, 3).double(), tau[:, None]], 1)
    torch.testing.assert_close(spin_features(rho).alpha, torch.ones(3).double())
    orbital = torch.tensor([[[0.4]], [[0.1]], [[-0.2]], [[0.3]], [[0.0]]]).double()[:, 0][None]
    orbital[0, 4] = (orbital[0, 1:4] ** 2).sum(0) / (8 * orbital[0, 0])
    assert abs(spin_features(orbital).alpha.item()) < 1e-14


@pytest.mark.parametrize("family", FAMILIES)
def test_spin_symmetry_is_exact(family, density):
    rho = density(100)
    for net in (plain(family), bounded(family), bounded(family, inputs="raw")):
        xc = LAYERS[family](net)
        assert xc.spin_symmetric
        torch.testing.assert_close(xc(rho), xc(rho.flip(0)), rtol=1e-14, atol=0.0)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_average_is_over_xi_and_minus_xi(family, density):
    rho, net = density(30), plain(family)
    raw = LAYERS[family](net, spin_symmetric=False)
    assert not raw.spin_symmetric
    assert not torch.allclose(raw(rho), raw(rho.flip(0)))
    expected = 0.5 * (raw(rho) + raw(rho.flip(0)))
    torch.testing.assert_close(LAYERS[family](net)(rho), expected, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("symmetric", [True, False])
def test_closed_shell_path_is_the_polarised_one(family, symmetric, density):
    half = density(60, low=-9)[:1]
    xc = LAYERS[family](plain(family), spin_symmetric=symmetric)
    torch.testing.assert_close(xc(half.repeat(2, 1, 1)), xc(2 * half), rtol=1e-11, atol=1e-15)


def test_even_networks_are_evaluated_once(density):
    net = bounded("gga")
    calls = []
    net.register_forward_hook(lambda module, args, out: calls.append(len(args[0])))
    NNPBE(net)(density(10))
    assert calls[-1] == 10
    net.even_in_xi = False
    averaged = NNPBE(net)(density(10))
    assert calls[-1] == 20
    net.even_in_xi = True
    torch.testing.assert_close(NNPBE(net)(density(10)), averaged, rtol=1e-14, atol=0.0)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["plain", "bounded", "lda_exchange", "ueg_exact", "raw32", "deepchem"])
def test_corners_are_finite(family, kind, corners, assert_finite):
    nets = {
        "plain": lambda: plain(family),
        "bounded": lambda: bounded(family),
        "lda_exchange": lambda: bounded(family, output="lda_exchange", max_output=0.5),
        "ueg_exact": lambda: bounded(family, ueg_exact=family != "lda", activation="tanh"),
        "raw32": lambda: plain(family, torch.float32),
        "deepchem": lambda: deepchem_network(WIDTH[family], 8, 2, 1),
    }
    xc = LAYERS[family](nets[kind]())
    energy = assert_finite(xc, corners)
    assert energy[corners[:, 0].sum(0) <= DENSITY_FLOOR].abs().max() == 0.0
    if kind != "ueg_exact":
        assert energy[corners[:, 0].sum(0) > DENSITY_FLOOR].abs().min() > 0.0
    assert_finite(xc, corners.sum(0, keepdim=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_two_derivatives(family, density):
    rho = density(2, low=-1.0, high=0.0)[:, : {"lda": 1, "gga": 4, "mgga": 5}[family]]
    rho = rho.clone().requires_grad_()
    for net in (plain(family), bounded(family, output="lda_exchange", hidden=(4,))):
        xc = LAYERS[family](net)
        assert torch.autograd.gradcheck(xc, rho)
        assert torch.autograd.gradgradcheck(xc, rho)


@pytest.mark.parametrize("family", FAMILIES)
def test_parameter_gradients(family, density):
    rho = density(20)
    xc = LAYERS[family](plain(family))
    xc(rho).sum().backward()
    weight = xc.nnmodel[0].weight
    for index in ((0, 0), (3, WIDTH[family] - 1)):
        energies = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                weight[index] += step
                energies.append(xc(rho).sum().item())
                weight[index] -= step
        slope = (energies[0] - energies[1]) / 2e-5
        assert weight.grad[index].item() == pytest.approx(slope, rel=1e-6, abs=1e-9)


def test_zero_gradient_has_no_cusp(density):
    # a network linear in s would give 1/|grad n| curvature; it must stay finite, and the
    # potential must vanish by symmetry
    rho = density(4)
    rho[:, 1:4] = 0.0
    rho.requires_grad_()
    net = nn.Linear(3, 1).double()
    (first,) = torch.autograd.grad(NNPBE(net)(rho).sum(), rho, create_graph=True)
    assert not first[:, 1:4].any()
    (second,) = torch.autograd.grad(first.sum(), rho)
    assert torch.isfinite(second).all()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_float_types_are_cast_in_and_out(family, dtype, density):
    rho = density(40)
    net = plain(family)
    exact = LAYERS[family](net)(rho)
    low = LAYERS[family](copy.deepcopy(net).to(dtype))(rho)
    assert low.dtype == torch.float64
    tolerance = 1e-5 if dtype == torch.float32 else 5e-2
    torch.testing.assert_close(low, exact, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("width", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("first", ["linear", "norm"])
def test_wrong_width(family, width, first):
    layers = [nn.LayerNorm(width)] if first == "norm" else []
    net = nn.Sequential(*layers, nn.Linear(width, 4), nn.SiLU(), nn.Linear(4, 1))
    if width == WIDTH[family]:
        assert LAYERS[family](net).family == family
        return
    expected = f"takes {width} inputs.*gives it {WIDTH[family]}"
    with pytest.raises(FunctionalError, match=expected) as caught:
        LAYERS[family](net)
    assert f"input_size={WIDTH[family]}" in caught.value.remedy


def test_wrong_output_and_wrong_objects():
    with pytest.raises(FunctionalError, match=r"returned \(3, 2\)"):
        NNLDA(nn.Linear(2, 2))
    with pytest.raises(FunctionalError, match="not a torch.nn.Module"):
        NNLDA(lambda x: x)


def test_a_fault_inside_the_network_is_shown_as_it_is():
    class Broken(nn.Module):
        def forward(self, x):
            raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="disk on fire"):
        NNLDA(Broken())


def test_nan_is_passed_on_for_the_scf_to_report(density):
    net = plain("lda")
    with torch.no_grad():
        net[0].weight[0, 0] = math.nan
    assert NNLDA(net)(density(3)).isnan().all()


def test_construction_does_not_touch_the_network():
    net = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
    net[2].eval()
    before = copy.deepcopy(net.state_dict())
    state = torch.random.get_rng_state()
    NNLDA(net)
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert net.training and net[1].training and not net[2].training
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("family", FAMILIES)
def test_copies(family, density):
    rho = density(5)
    for net in (plain(family), bounded(family)):
        xc = LAYERS[family](net)
        for twin in (copy.deepcopy(xc), pickle.loads(pickle.dumps(xc))):
            assert torch.equal(twin(rho), xc(rho))
        other = LAYERS[family](copy.deepcopy(net))
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.zero_()
        other.load_state_dict(xc.state_dict())
        assert torch.equal(other(rho), xc(rho))


def test_tail_vanishes_smoothly():
    # across the floor the energy changes by no more than the floor itself
    n = torch.tensor([0.99, 1.01]).double() * DENSITY_FLOOR
    rho = torch.zeros(1, 5, 2, dtype=torch.float64)
    rho[0, 0], rho[0, 1] = n, 2 * n
    rho[0, 4] = 0.5 * n
    for family in FAMILIES:
        energy = LAYERS[family](bounded(family))(rho)
        assert energy[0] == 0.0 and abs(energy[1]) < 2 * DENSITY_FLOOR
