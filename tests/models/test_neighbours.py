"""A network that sees its neighbours through ``XCModel``: both kinds of stages, checkpoints."""

import numpy as np
import pytest
from deepchem.data import NumpyDataset

from deepchem_dft.data import DFTEntry
from deepchem_dft.models import XCModel
from deepchem_dft.models.xc.functional import conventional_parts, starting_functional
from deepchem_dft.models.xc.stages import Stage
from deepchem_dft.xc import NNNonlocal

SYSTEMS = {"H2": ("H 0 0 0; H 0 0 1.4", -1.20), "LiH": ("Li 0 0 0; H 0 0 3.0", -7.80)}
NETWORK = {"form": "nonlocal", "hidden": [6], "channels": 3, "radial": 3, "descriptors": 3, "cutoff": 4.0}


def data() -> NumpyDataset:
    entries = [
        DFTEntry.create("energy", f"{value} Ha", [{"moldesc": geometry, "basis": "sto-3g"}], name=name)
        for name, (geometry, value) in SYSTEMS.items()
    ]
    return NumpyDataset(np.array(entries, dtype=object), np.array([v for _, v in SYSTEMS.values()])[:, None])


def model(folder) -> XCModel:
    return XCModel("pbe", NETWORK, grid_level=0, seed=0, loss_unit="kcal/mol", model_dir=str(folder))


def test_it_learns_two_energies_at_fixed_densities_and_self_consistently(tmp_path):
    trained = model(tmp_path)
    assert type(trained.functional.nnxc) is NNNonlocal
    assert conventional_parts(trained.functional) == ["nonlocal('pbe', bound=1.804)"]
    before = np.abs(trained.predict(data()) - data().y).max()
    trained.fit(data(), stages=[Stage(12, "frozen", optimizer="lbfgs"), Stage(1, learning_rate=1e-5)])
    after = np.abs(trained.predict(data()) - data().y).max()
    assert before > 0.02 and after < 0.1 * before
    trained.save_checkpoint()
    again = model(tmp_path)
    again.restore()
    np.testing.assert_allclose(again.predict(data()), trained.predict(data()), rtol=0, atol=1e-7)


@pytest.mark.parametrize("exchange, name", [(None, "pbe"), (0.25, "0.75*gga_x_pbe+0.25*hf,gga_c_pbe")])
def test_it_starts_at_its_parent_by_name(exchange, name, tmp_path):
    made = XCModel("pbe", NETWORK, exchange=exchange, grid_level=0, seed=0, model_dir=str(tmp_path))
    start = starting_functional("pbe", {"nnmodel": NETWORK, "exchange": exchange}, made.functional)
    assert start.label == name
    assert made.functional.nnxc.config["exchange"] == (exchange or 0.0)
