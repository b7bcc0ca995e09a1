"""Scales of features and pooling of nodes, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepchem_dft.property.pooling import KINDS, Pooling
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


@pytest.mark.parametrize("kind", KINDS)
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
