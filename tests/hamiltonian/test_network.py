"""Batches, single atoms, the cutoff, and what a fit measures."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from deepchem_dft.errors import InputError
from deepchem_dft.hamiltonian.elements import Elements
from deepchem_dft.hamiltonian.expansion import Expansion
from deepchem_dft.hamiltonian.graph import envelope, join, make_graph
from deepchem_dft.hamiltonian.sample import HamiltonianSample

from .networks import GEOMETRIES, Model, elements, known, moved, sample

SAMPLES = [sample(name) for name in GEOMETRIES]


@pytest.mark.parametrize("equilibrium", [False, True], ids=["plain", "equilibrium"])
def test_a_batch_of_different_molecules_is_each_alone(equilibrium):
    model = Model(SAMPLES, equilibrium=equilibrium)
    together = model.predict(*SAMPLES)
    iterations = model.found.iterations.tolist() if equilibrium else []
    for number, one in enumerate(SAMPLES):
        (alone,) = model.predict(one)
        np.testing.assert_allclose(together[number], alone, rtol=0, atol=1e-12)
        if equilibrium:
            assert model.found.iterations.tolist() == iterations[number : number + 1]
    assert len({h.shape for h in together}) == len(SAMPLES)


def test_one_atom_alone_is_spherical():
    """Every shell of an atom is an angular momentum: H mixes no two, and does not know m."""
    helium, argon = SAMPLES[3], sample("helium", "def2-svp")
    argon.numbers = np.array([18])
    argon = moved(argon, argon.positions)
    for one, sizes in ((helium, (1, 1, 3)), (argon, (1, 1, 1, 1, 3, 3, 3, 5))):
        for equilibrium in (False, True):
            (h,) = Model([one], equilibrium=equilibrium).predict(one)
            start = 0
            for size in sizes:
                block = h[start : start + size, start : start + size]
                np.testing.assert_allclose(block, block[0, 0] * np.eye(size), atol=1e-12)
                start += size
            assert h.shape == (start, start) and np.abs(h).max() > 1e-3


@pytest.mark.parametrize("equilibrium", [False, True], ids=["plain", "equilibrium"])
def test_prediction_is_smooth_where_an_atom_crosses_the_cutoff(equilibrium):
    """Hydrogens of water are 2.9 Bohr apart: the cutoff takes their pair away."""
    water = SAMPLES[0]
    between = np.linalg.norm(water.positions[1] - water.positions[2])

    model = Model([water], equilibrium=equilibrium, cutoff=between)
    direction = (water.positions[2] - water.positions[1]) / between
    found = []
    for step in (-1e-3, -1e-4, 1e-4):
        other = water.positions.copy()
        other[2] += step * direction
        # Known matrices stay: they are as smooth as PySCF makes them.
        found.append(model.predict(replace(water, positions=other))[0])
    assert np.abs(found[1] - found[2]).max() < 1e-3
    assert np.abs(found[1][14:19, 19:]).max() < 1e-9  # the block fades before it is gone
    assert not found[2][14:19, 19:].any()
    slopes = [np.abs(found[0] - found[1]).max() / 9e-4, np.abs(found[1] - found[2]).max() / 2e-4]
    assert slopes[1] == pytest.approx(slopes[0], rel=0.05)


def test_envelope_has_two_derivatives_at_the_cutoff():
    r = torch.tensor([5.0 - 1e-3, 5.0], dtype=torch.float64, requires_grad=True)
    value = envelope(r, 5.0)
    (first,) = torch.autograd.grad(value.sum(), r, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), r)
    assert value[0].item() < 1e-8 and abs(first[0].item()) < 1e-5 and second[0].item() < 0.02
    assert max(float(x[1].detach().abs()) for x in (value, first, second)) < 1e-12


def test_a_fit_takes_what_is_common_to_the_training_data_away():
    """One sample is its own mean, where a group has one member: nothing invariant is left."""
    model = Model(SAMPLES[:1])
    one = SAMPLES[0]
    graph = model.graph(one)
    expansion = Expansion(model.elements).double()
    target = expansion.to_parts(model.bare(one), elements(0.02 * one.guess, model.bare(one)))
    for group, part in model.network.target.normalise(graph, target).items():
        m = model.elements.layout.m if graph.is_pair[group] else model.elements.layout.l
        assert float(part[:, m == 0].abs().max()) < 1e-6 or graph.sizes[group] > 1
        assert float(part.abs().max()) < 30.0


def test_joining_graphs_keeps_matrices_apart():
    model = Model(SAMPLES)
    graphs = [model.graph(one) for one in SAMPLES]
    both = join(graphs)
    assert both.nao == [24, 29, 52, 5]
    assert sorted(both.place.tolist()) == sorted(set(both.place.tolist()))
    values = torch.arange(both.n_elements)[both.place]
    assert torch.equal(values[both.mirror], both.turned)
    owners = torch.repeat_interleave(torch.arange(4), torch.tensor([n * n for n in both.nao]))
    assert torch.equal(both.owner, owners[both.place])


def test_unknown_elements_and_coinciding_atoms_are_refused():
    with pytest.raises(InputError, match="nuclear charge 6 is not among the elements"):
        Model(SAMPLES[:1]).graph(SAMPLES[2])
    with pytest.raises(InputError, match="two atoms coincide"):
        make_graph(np.array([1, 1]), np.zeros((2, 3)), Elements((1,), "def2-svp"), 5.0)
    with pytest.raises(InputError, match="elements"):
        Elements((8, 1), "def2-svp")


def test_gradients_reach_every_weight():
    """Nothing is computed and thrown away, in either form."""
    model = Model(SAMPLES, equilibrium=True, tol=1e-8)
    graph = join([model.graph(one) for one in SAMPLES])
    model(graph).square().sum().backward()
    # Pairs of elements that do not meet in these molecules have weights without use.
    assert [
        name
        for name, weight in model.named_parameters()
        if weight.grad is None
        and "sources" not in name
        and "readouts" not in name
        and "into" not in name
        and "out" not in name
    ] == []


def test_known_matrices_matter():
    water = SAMPLES[0]
    model = Model([water])
    (before,) = model.predict(water)
    for name in ("overlap", "core", "guess"):
        other = replace(water, **{name: getattr(water, name) * 1.01})
        (after,) = model.predict(other)
        assert np.abs(after - before).max() > 1e-6, name
    assert len(known(water, model.bare(water))) == 3
    assert isinstance(water, HamiltonianSample)
