"""XCModel(engine="dqc") trains through DQC, to the same energies and gradients."""

import deepchem as dc
import pytest
import torch

from deepchem_dft.data import DFTEntry
from deepchem_dft.errors import FunctionalError, InputError
from deepchem_dft.models import XCModel
from deepchem_dft.xc import HybridXC, build_network

SYSTEMS = {
    "H2": {"moldesc": "H 0 0 0; H 0 0 1.4", "basis": "6-311++g(3df,3pd)"},
    "LiH": {"moldesc": "Li 0 0 0; H 0 0 3.014", "basis": "6-31g*"},
    "H2O": {"moldesc": "O 0 0 0; H 0 1.43 1.1; H 0 -1.43 1.1", "basis": "6-31g*"},
    "N2": {"moldesc": "N 0 0 0; N 0 0 2.074", "basis": "6-31g*"},
    "NH2": {"moldesc": "N 0 0 0; H 0 1.51 1.2; H 0 -1.51 1.2", "basis": "3-21g", "spin": 1},
}


def model(engine: str, family: str = "gga", **options) -> XCModel:
    network = build_network(family=family, hidden=(8,), output="lda_exchange", zero_last=False, seed=1)
    xc = HybridXC("pbe", network, aweight0=0.2)
    return XCModel(xc=xc, engine=engine, grid_level=1, seed=0, batch_size=1, **options)


def entry(name: str, value: float = -1.0) -> DFTEntry:
    return DFTEntry.create("energy", f"{value} Ha", [SYSTEMS[name]])


@pytest.mark.dqc
@pytest.mark.parametrize("name", SYSTEMS)
def test_energies_and_gradients_are_those_of_the_native_engine(name):
    found = {}
    for engine in ("native", "dqc"):
        module = model(engine, tol=1e-7).model.train()
        value = module([entry(name)])
        value.sum().backward()
        gradient = torch.cat([p.grad.flatten() for p in module.parameters() if p.requires_grad])
        found[engine] = value.item(), gradient
    (energy, gradient), (other, theirs) = found["native"], found["dqc"]
    assert other == pytest.approx(energy, abs=2e-5)
    assert float(theirs.norm()) == pytest.approx(float(gradient.norm()), rel=1e-4)
    assert float((theirs - gradient).norm() / gradient.norm()) < 1e-3


@pytest.mark.dqc
@pytest.mark.parametrize("every", [1, 2])
def test_it_trains_and_resumes(tmp_path, every):
    dataset = dc.data.NumpyDataset([entry("H2", -1.175), entry("LiH", -8.07)], [[-1.175], [-8.07]])
    options = {"learning_rate": 0.01, "scf_every": every}
    whole = model("dqc", **options, model_dir=str(tmp_path / "a"))
    whole.fit(dataset, nb_epoch=4)
    assert whole.history[-1].loss < 0.9 * whole.history[0].loss
    model("dqc", **options, model_dir=str(tmp_path / "b")).fit(dataset, nb_epoch=2)
    again = model("dqc", **options, model_dir=str(tmp_path / "b"))
    again.fit(dataset, nb_epoch=4, restore=True)
    assert again.history[-1].loss == pytest.approx(whole.history[-1].loss, rel=1e-8)
    native = model("native", **options)
    native.fit(dataset, nb_epoch=4)
    assert native.history[-1].loss == pytest.approx(whole.history[-1].loss, rel=1e-3)


def test_engines_that_do_not_exist_are_refused():
    with pytest.raises(InputError, match="engine"):
        model("psi4")


@pytest.mark.dqc
def test_what_dqc_cannot_do_is_said():
    xc = HybridXC("pbe0", build_network(family="gga", zero_last=False, seed=0), aweight0=0.1)
    hybrid = XCModel(xc=xc, engine="dqc", grid_level=0)
    with pytest.raises(FunctionalError, match="exact exchange"):
        hybrid.predict(dc.data.NumpyDataset([entry("H2")], [[-1.0]]))
