"""A planted border between ranges, found by training at fixed densities; and a whole run."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from deepchem.data import NumpyDataset

from deepchem_dft.data import DFTEntry
from deepchem_dft.models import XCModel
from deepchem_dft.models.xc.stages import Stage

SYSTEMS = {"H2": "H 0 0 0; H 0 0 1.4", "LiH": "Li 0 0 0; H 0 0 3.0", "HF": "F 0 0 0; H 0 0 1.75"}
TRAIN = ["omega", "long_exchange"]


def data(values=None) -> NumpyDataset:
    values = [0.0] * len(SYSTEMS) if values is None else values
    entries = [
        DFTEntry.create("energy", f"{value} Ha", [{"moldesc": g, "basis": "6-31g"}], name=name)
        for (name, g), value in zip(SYSTEMS.items(), values, strict=True)
    ]
    return NumpyDataset(np.array(entries, dtype=object), np.array(values)[:, None])


def model_of(tmp_path, **ranges) -> XCModel:
    network = {"form": "enhancement", "hidden": [4], "range_separation": ranges}
    model = XCModel(
        "pbe", network, exchange=0.2, loss_unit="kcal/mol", grid_level=0, seed=0, model_dir=str(tmp_path)
    )
    for factor in (model.functional.nnxc.x_factor, model.functional.nnxc.c_factor):
        for parameter in factor.parameters():
            parameter.requires_grad_(False)
    return model


@pytest.mark.slow
def test_a_planted_omega_is_found(tmp_path):
    values = model_of(tmp_path / "planted", omega=0.42, long_exchange=0.8).predict(data()).ravel()
    model = model_of(tmp_path / "fit", omega=0.25, train=TRAIN)
    # densities first of the functional as it starts, then of what it has become
    stages = [Stage(20, "frozen", optimizer="lbfgs")] * 3
    model.fit(data(values), stages=stages, processes=1)
    ranges = model.functional.nnxc.ranges
    assert ranges.omega.item() == pytest.approx(0.42, abs=2e-3)
    assert ranges.long_exchange.item() == pytest.approx(0.8, abs=2e-3)
    model.save_checkpoint()
    again = XCModel.load(str(tmp_path / "fit"))
    rho = torch.rand(2, 4, 20, dtype=torch.float64) + 0.1
    assert torch.equal(again.functional(rho), model.functional(rho))
