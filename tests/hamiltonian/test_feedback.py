"""The equilibrium form: one fixed point whatever the weights, exact gradients, zero at first."""

import numpy as np
import pytest
import torch

from deepchem_dft.equilibrium import spectral_norm
from deepchem_dft.errors import InputError
from deepchem_dft.hamiltonian.feedback import norm_bound
from deepchem_dft.hamiltonian.forms import EquilibriumHead, Form, Search
from deepchem_dft.hamiltonian.graph import join

from .networks import Model, sample

WATER, AMMONIA = sample("water"), sample("ammonia")


@pytest.fixture
def model():
    return Model([WATER, AMMONIA], equilibrium=True)


def features(model, *samples):
    graph = join([model.graph(one) for one in samples])
    found = model.network.features(graph)
    return graph, found, model.network.read(found, graph)


@pytest.mark.parametrize("size", [0.1, 3.0, 100.0])
@pytest.mark.parametrize("bound", [0.5, 0.95])
def test_feedback_contracts_whatever_the_weights(size, bound):
    model = Model([WATER, AMMONIA], equilibrium=True, bound=bound)
    with torch.no_grad():
        for weight in model.head.feedback.parameters():
            weight.mul_(size)
        graph, found, parts = features(model, WATER, AMMONIA)
        context = model.head.feedback.context(found, graph)
    groups = list(parts)

    def step(state):
        change = model.head.feedback(dict(zip(groups, state)), context, graph)
        return [change[group] for group in groups]

    segments = [graph.samples(group) for group in groups]
    generator = torch.Generator().manual_seed(0)
    for spread in (0.01, 1.0):
        state = [
            spread * torch.randn(part.shape, generator=generator, dtype=part.dtype) for part in parts.values()
        ]
        slope = spectral_norm(step, state, segments=segments, steps=6)
        assert slope.max().item() < bound
    # Without the bound the same weights do not.
    if size == 3.0:
        model.head.feedback._bound = None
        context = model.head.feedback.context(found, graph)
        assert spectral_norm(step, state, segments=segments, steps=6).max().item() > 1.0


@pytest.mark.parametrize("gain", [0.5, 3.0])
def test_the_slope_reaches_the_bound_and_is_the_weights_own_below_it(model, gain):
    """One channel that goes straight through: all estimates are exact, nothing saturates at 0."""
    feedback = model.head.feedback
    with torch.no_grad():
        for weight in feedback.parameters():
            weight.zero_()
        for mix in (*feedback.into, *feedback.out, feedback.of_pairs[0]):
            mix.weight[:, 0, 0] = gain
        feedback.pair_gates[-1].bias.fill_(40.0)
    graph, found, parts = features(model, WATER)
    context = feedback.context(found, graph)
    groups = list(parts)

    def step(state):
        change = feedback(dict(zip(groups, state)), context, graph)
        return [change[group] for group in groups]

    slope = spectral_norm(
        step,
        [torch.zeros_like(part) for part in parts.values()],
        segments=[graph.samples(group) for group in groups],
        steps=4,
    )
    assert slope.item() == pytest.approx(0.9 * min(gain**3, 1.0), rel=1e-9)


def test_bounds_on_norms_are_nearly_tight():
    norms = torch.randn(20, 10, 10, dtype=torch.float64)
    exact = torch.linalg.matrix_norm(norms, 2)
    assert bool((norm_bound(norms) > exact).all())
    assert bool((norm_bound(norms) < 1.16 * exact).all())
    assert not norm_bound(torch.zeros(2, 3, 3)).max() > 1e-6


def test_every_start_leads_to_the_same_fixed_point(model):
    graph, found, parts = features(model, WATER, AMMONIA)
    context = model.head.feedback.context(found, graph)
    with torch.no_grad():
        expected, equilibrium = model.head(parts, found, graph)
        assert bool(equilibrium.converged.all())
        state = {group: 5 * torch.randn_like(part) for group, part in parts.items()}
        for _ in range(400):
            change = model.head.feedback(state, context, graph)
            state = {group: part + change[group] for group, part in parts.items()}
    for group, part in expected.items():
        torch.testing.assert_close(state[group], part, rtol=0, atol=1e-10)


def test_feedback_starts_as_nothing(model):
    head = EquilibriumHead(model.network, 8, 0.9, Search()).double()
    graph, found, parts = features(model, WATER)
    after, equilibrium = head(parts, found, graph)
    assert equilibrium.evaluations == 1
    for group, part in parts.items():
        torch.testing.assert_close(after[group], part, rtol=0, atol=0)


def test_the_matrix_itself_is_fed_back(model):
    """What comes back differs from one pass: the feedback sees its own result."""
    graph, found, parts = features(model, WATER)
    context = model.head.feedback.context(found, graph)
    with torch.no_grad():
        end, _ = model.head(parts, found, graph)
        once = model.head.feedback(parts, context, graph)
    assert max((parts[g] + once[g] - end[g]).abs().max().item() for g in parts) > 1e-3


@pytest.mark.parametrize("samples", [(WATER,), (WATER, AMMONIA)], ids=len)
def test_gradients_agree_with_finite_differences(model, samples):
    graph = join([model.graph(one) for one in samples])
    weights = torch.randn(len(graph.place), dtype=torch.float64)

    def value():
        return (model(graph) * weights).sum()

    value().backward()
    rng = np.random.default_rng(0)
    names = [
        "head.feedback.into.1.weight",
        "head.feedback.out.4.weight",
        "head.feedback.of_pairs.1.weight",
        "head.feedback.of_atoms.2.weight",
        "head.feedback.drive_pairs.weights.1",
        "head.feedback.atom_gates.0.weight",
        "network.readouts.4.weight",
        "network.last.gates.weight",
    ]
    parameters = dict(model.named_parameters())
    for name in names:
        weight = parameters[name]
        direction = torch.from_numpy(rng.standard_normal(weight.shape))
        with torch.no_grad():
            values = []
            for step in (1e-5, -2e-5):
                weight += step * direction
                values.append(float(value()))
            weight += 1e-5 * direction
        slope = (values[0] - values[1]) / 2e-5
        assert float((weight.grad * direction).sum()) == pytest.approx(slope, rel=1e-6, abs=1e-7)


def test_truncated_gradient_is_close_and_not_exact(model):
    graph = model.graph(WATER)
    found = []
    for adjoint in ("implicit", "truncated"):
        model.zero_grad()
        model.head.search.adjoint = adjoint
        model(graph).sum().backward()
        found.append(model.network.readouts[4].weight.grad.flatten())
    angle = torch.cosine_similarity(found[0], found[1], dim=0)
    assert 0.8 < float(angle) < 1 - 1e-9


def test_forms_have_names():
    assert Form.of("equilibrium-delta") == Form(delta=True, equilibrium=True)
    assert Form.of("direct") == Form(delta=False, equilibrium=False)
    with pytest.raises(InputError, match="unknown form 'deq'"):
        Form.of("deq")
