"""Scales of features and pooling of nodes, against numpy."""

import numpy as np
import pytest
import torch

from deepchem_dft.property.pooling import FURTHEST, KINDS, PairPooling, Pooling, pairs_of
from deepchem_dft.property.scaling import Standardize


def test_scales_do_not_depend_on_batches_and_skip_what_is_missing():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(50, 4)) * [1, 1e3, 1e-3, 1] + [0, 1e6, 0, 5]
    values[:, 3] = rng.integers(0, 2, 50)
    values[3, 0] = np.nan
    values[4, 1] = np.inf
    scale = Standardize(4).double()
    scale.fit(torch.from_numpy(values).split(7))
    known = np.where(np.isfinite(values), values, np.nan)
    assert np.allclose(scale.mean[:3], np.nanmean(known, 0)[:3], rtol=1e-12)
    assert np.allclose(scale.spread[:3], np.nanstd(known, 0)[:3], rtol=1e-9)
    assert (scale.mean[3], scale.spread[3]) == (0, 1)
    scaled = scale(torch.from_numpy(values))
    assert torch.isfinite(scaled).all() and scaled[3, 0] == 0 and scaled[4, 1] == 0


def test_a_constant_feature_becomes_zero_and_outliers_are_cut():
    scale = Standardize(2)
    scale.fit([torch.tensor([[7.0, 0.0], [7.0, 2.0], [7.0, 4.0]])])
    assert scale(torch.tensor([[7.0, 1e9]])).tolist() == [[0.0, 8.0]]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "pairs"])
def test_pooling_of_unequal_graphs(kind):
    torch.manual_seed(0)
    nodes = torch.randn(6, 3) * 50  # exp would overflow without a shift
    sample = torch.tensor([0, 1, 0, 2, 1, 0])
    pool = Pooling([kind], 3)
    result = pool(nodes, sample, 3)
    for number in range(3):
        own = nodes[sample == number]
        expected = {"mean": own.mean(0), "sum": own.sum(0) / 10, "max": own.amax(0)}
        if kind == "attention":
            expected[kind] = (torch.softmax(pool.score(own), 0) * own).sum(0)
        assert torch.allclose(result[number], expected[kind], rtol=1e-5, atol=1e-5)


def _squared_kernel() -> PairPooling:
    pool = PairPooling(1, channels=1).double()
    with torch.no_grad():
        pool.charge.weight.fill_(1.0)
        pool.kernel.copy_(-(torch.arange(FURTHEST + 1.0)[:, None] ** 2))
    return pool


def test_pairs_give_the_dipole_moment_of_charges_on_a_line():
    """There distances in bonds are distances: |mu|^2 = (sum_i q_i x_i)^2 if charges add up to 0."""
    charges = torch.tensor([[0.4], [-1.0], [0.3], [0.9], [-0.6]], dtype=torch.float64)
    chain = np.stack([np.arange(4), np.arange(1, 5)])
    pairs = torch.from_numpy(pairs_of(chain, 5))
    (result,) = _squared_kernel()(charges + 7.0, torch.zeros(5, dtype=torch.long), 1, pairs)
    dipole = float((charges[:, 0] * torch.arange(5)).sum())
    assert float(result[0]) == pytest.approx(dipole**2 / 5)
    assert float(result[1]) == pytest.approx(abs(dipole), abs=0.02)


def test_pairs_of_opposite_groups_cancel_and_graphs_do_not_mix():
    """Ring with two equal charges: less apart in para than the same charges in ortho."""
    ring = np.stack([np.arange(6), np.roll(np.arange(6), -1)])
    one = pairs_of(ring, 6)
    assert sorted(one[2].tolist()) == [1] * 6 + [2] * 6 + [3] * 3
    pairs = torch.from_numpy(np.concatenate([one, one + [[6], [6], [0]]], axis=1))
    charges = torch.zeros(12, 1, dtype=torch.float64)
    charges[[0, 3, 6, 7]] = 1.0  # para, then ortho
    sample = torch.repeat_interleave(torch.arange(2), 6)
    pool = _squared_kernel()
    both = pool(charges, sample, 2, pairs)
    assert both[0, 0] < both[1, 0]
    for number in range(2):
        rows = slice(6 * number, 6 * number + 6)
        alone = pool(charges[rows], sample[:6], 1, torch.from_numpy(one))
        assert torch.allclose(both[number], alone[0])


def test_unconnected_nodes_are_far_apart():
    assert pairs_of(np.zeros((2, 0), dtype=int), 2).tolist() == [[0], [1], [FURTHEST]]
    assert pairs_of(np.zeros((2, 0), dtype=int), 1).shape == (3, 0)
