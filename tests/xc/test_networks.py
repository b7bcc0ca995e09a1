"""Networks built from a configuration."""

import json
import math

import pytest
import torch
from torch import nn

from deepchem_dft.errors import FunctionalError
from deepchem_dft.xc import NNMGGA, NNPBE, build_network, deepchem_network
from deepchem_dft.xc.networks import ACTIVATIONS, XCNetwork

WIDTH = {"lda": 2, "gga": 3, "mgga": 4}


def raw_inputs(family, points=50):
    x = torch.rand(points, 4, dtype=torch.float64)
    x[:, 0] = 10 ** (6 * x[:, 0] - 5)
    x[:, 1] = 2 * x[:, 1] - 1
    x[:, 2:] *= 5
    return x[:, : WIDTH[family]]


@pytest.mark.parametrize("family", WIDTH)
@pytest.mark.parametrize("inputs", ["bounded", "raw"])
@pytest.mark.parametrize("output", ["raw", "lda_exchange"])
def test_configuration_rebuilds_the_network(family, inputs, output):
    net = build_network(
        family=family,
        inputs=inputs,
        output=output,
        seed=3,
        zero_last=False,
        hidden=(5, 4),
        activation="gelu",
        max_output=0.3,
    )
    config = json.loads(json.dumps(net.config))
    twin = XCNetwork(**config)
    x = raw_inputs(family)
    assert torch.equal(net(x), twin(x)) and net(x).shape == (len(x), 1)
    assert twin.even_in_xi == (inputs == "bounded")


@pytest.mark.parametrize("family", WIDTH)
def test_size_and_family_imply_each_other(family):
    assert build_network(WIDTH[family]).family == family
    assert build_network(family=family, input_size=WIDTH[family]).family == family
    assert build_network().family == "lda"


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_zero_last_starts_at_zero_but_can_learn(activation):
    net = build_network(family="gga", activation=activation)
    x = raw_inputs("gga")
    assert not net(x).any()
    net(x).sum().backward()
    assert net.layers[-1].weight.grad.abs().max() > 0


@pytest.mark.parametrize("family", WIDTH)
def test_bounded_inputs_are_bounded_and_even(family):
    net = build_network(family=family)
    x = raw_inputs(family)
    extreme = torch.tensor([[1e-12, 1.0, 1e3, 1e6], [1e6, -1.0, 0.0, -0.05]]).double()
    for points in (x, extreme[:, : WIDTH[family]]):
        assert net._features(points).abs().max() <= 1.2
    flipped = x.clone()
    flipped[:, 1] *= -1
    assert torch.equal(net._features(x), net._features(flipped))


def test_maximum_output():
    net = build_network(family="mgga", max_output=0.2, zero_last=False, seed=1)
    with torch.no_grad():
        net.layers[-1].weight *= 1e4
    values = net(raw_inputs("mgga")).abs()
    assert values.max() <= 0.2 and values.max() > 0.19


def test_lda_exchange_output_is_a_factor_on_slater():
    options = {"family": "gga", "zero_last": False, "seed": 1, "inputs": "raw"}
    x = raw_inputs("gga")
    factor = build_network(**options)(x)
    energy = build_network(**options, output="lda_exchange")(x)
    slater = -0.75 * (3 / math.pi) ** (1 / 3) * x[:, :1] ** (1 / 3)
    torch.testing.assert_close(energy, factor * slater)


@pytest.mark.parametrize("family, layer", [("gga", NNPBE), ("mgga", NNMGGA)])
@pytest.mark.parametrize("inputs", ["bounded", "raw"])
def test_uniform_gas_is_left_alone(family, layer, inputs):
    net = build_network(family=family, ueg_exact=True, zero_last=False, seed=2, inputs=inputs, max_output=0.5)
    n = torch.tensor([[1e-3, 0.1, 2.0], [1e-4, 0.1, 0.5]]).double()
    tau = 0.3 * (6 * math.pi**2) ** (2 / 3) * n ** (5 / 3)
    gas = torch.cat([n[:, None], torch.zeros(2, 3, 3).double(), tau[:, None]], 1)
    assert layer(net)(gas).abs().max() < 1e-9
    gas[:, 1] = 0.3
    assert layer(net)(gas).abs().min() > 1e-9


def test_seed_leaves_the_global_state_alone():
    state = torch.random.get_rng_state()
    first, second = build_network(seed=7, zero_last=False), build_network(seed=7, zero_last=False)
    assert torch.equal(first.layers[0].weight, second.layers[0].weight)
    assert torch.equal(state, torch.random.get_rng_state())
    third, fourth = build_network(zero_last=False), build_network(zero_last=False)
    assert not torch.equal(third.layers[0].weight, fourth.layers[0].weight)


def test_float32():
    net = build_network(family="gga", dtype=torch.float32, zero_last=False)
    assert next(net.parameters()).dtype == torch.float32
    assert net.config["dtype"] == "float32"


@pytest.mark.parametrize(
    "options, field",
    [
        ({"family": "hgga"}, "family"),
        ({"input_size": 7}, "input_size"),
        ({"family": "lda", "input_size": 3}, "input_size"),
        ({"activation": "relu6"}, "activation"),
        ({"inputs": "cooked"}, "inputs"),
        ({"output": "density"}, "output"),
        ({"hidden": (16, 0)}, "hidden"),
        ({"hidden": 16}, "hidden"),
        ({"hidden": "16"}, "hidden"),
        ({"max_output": -1.0}, "max_output"),
        ({"ueg_exact": True, "family": "lda"}, "ueg_exact"),
        ({"dtype": "int8"}, "dtype"),
    ],
)
def test_unusable_options_name_the_field(options, field):
    with pytest.raises(FunctionalError) as caught:
        build_network(**options)
    assert caught.value.field == field and caught.value.remedy


@pytest.mark.parametrize("modeltype", [1, 2])
@pytest.mark.parametrize("n_layers", [1, 3])
def test_deepchem_networks(modeltype, n_layers):
    torch.manual_seed(5)
    net = deepchem_network(3, 6, n_layers, modeltype)
    assert [m.out_features for m in net if isinstance(m, nn.Linear)] == [6] * n_layers + [1]
    assert net[-1].bias is None and net[-1].weight.dtype == torch.float64
    x = torch.rand(4, 3, dtype=torch.float64)
    y = x
    for i in range(n_layers):
        y = y @ net[2 * i].weight.T + net[2 * i].bias
        last = modeltype == 2 and i == n_layers - 1
        y = torch.exp(y) - 1 if last else torch.log1p(torch.exp(y))
    torch.testing.assert_close(net(x), y @ net[-1].weight.T)


@pytest.mark.parametrize(
    "options, field",
    [
        ({"modeltype": 3}, "modeltype"),
        ({"hidden_size": 0}, "hidden_size"),
        ({"n_layers": 0}, "n_layers"),
        ({"input_size": 2.5}, "input_size"),
    ],
)
def test_deepchem_network_refuses(options, field):
    with pytest.raises(FunctionalError) as caught:
        deepchem_network(**options)
    assert caught.value.field == field


def test_networks_of_equal_weights_can_be_told_apart():
    """Caches of solved fields take what a module prints for what it is."""
    one, other = (build_network(family="gga", seed=0, max_output=m) for m in (0.5, 1.0))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters()))
    assert repr(one) != repr(other)


def test_penalty_of_a_linear_network():
    """A plane has no second derivatives; the mean of its square is known."""
    net = build_network(family="lda", hidden=[], zero_last=False, seed=0)
    (a, b), c = net.layers[0].weight[0].tolist(), net.layers[0].bias.item()
    mean_square = a * a / 3 + b * b / 3 + c * c + a * b / 2 + a * c + b * c
    assert net.penalty(1.0, 0.0).item() == pytest.approx(mean_square, rel=0.1)
    assert net.penalty(0.0, 1.0).item() == pytest.approx(0.0, abs=1e-18)


def test_penalty_pulls_to_the_conventional_functional():
    net = build_network(family="lda", hidden=[8], zero_last=False, seed=0)
    before = net.penalty(1.0, 1.0)
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        fine = net.penalty(1.0, 1.0)
        fine.backward()
        return fine

    optimizer.step(closure)
    assert net.penalty(1.0, 1.0).item() < 1e-6 * before.item()


@pytest.mark.parametrize(
    "functional, match",
    [(NNPBE(build_network(family="gga")), "bounded"), (NNPBE(nn.Linear(3, 1)), "has no penalty")],
)
def test_penalty_needs_a_square(functional, match):
    with pytest.raises(FunctionalError, match=match):
        functional.penalty(1.0, 1.0)
