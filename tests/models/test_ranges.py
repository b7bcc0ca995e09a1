"""A planted border between ranges, found by training at fixed densities; and a whole run."""

import numpy as np
import pytest
import torch
from deepchem.data import NumpyDataset

from deepchem_dft.data import DFTEntry
from deepchem_dft.models import XCModel
from deepchem_dft.models.xc.functional import starting_functional
from deepchem_dft.models.xc.stages import Stage
from deepchem_dft.molecule import Molecule
from deepchem_dft.scf import KohnSham
from deepchem_dft.xc import get_xc
from deepchem_dft.zoo.forms import build_form, form_of

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


def test_a_functional_of_the_kind_of_wb97m_v():
    """Two ranges, VV10, a parent and a network: from a name and a mapping to data, and back."""
    network = {"form": "enhancement", "hidden": [4], "range_separation": {"omega": 0.3}}
    functional = XCModel("r2scan+vv10(6.0,0.01)", network, exchange=0.15, seed=0).functional
    (vv10,) = functional.nonlocal_terms
    assert not any(p.requires_grad for p in vv10.parameters())
    shares = [(round(float(c), 12), w) for c, w in functional.exchange_terms]
    assert shares == [(0.15, None), (0.85, 0.3)]
    again = build_form(form_of(functional))
    again.load_state_dict(functional.state_dict())
    helium = Molecule("He 0 0 0; He 0 0 5.6", "sto-3g", grid_level=0)
    energy, same = (KohnSham(helium, xc, tol=1e-8).run().energy.item() for xc in (functional, again))
    assert energy == pytest.approx(same, abs=1e-12)
    without = XCModel("r2scan", network, exchange=0.15, seed=0).functional
    difference = energy - KohnSham(helium, without, tol=1e-8).run().energy.item()
    plain = [
        KohnSham(helium, name, tol=1e-8).run().energy.item() for name in ("r2scan+vv10(6.0,0.01)", "r2scan")
    ]
    assert difference == pytest.approx(plain[0] - plain[1], rel=0.05) and difference > 0.001


@pytest.mark.parametrize("far, named", [(0.25, True), (1.0, False)])
def test_equal_shares_at_both_ranges_start_at_a_hybrid_of_libxc(far, named):
    """A Fock matrix of the parent's, rather than of networks and of two ranges, gives the same energy."""
    network = {"form": "enhancement", "hidden": [4], "range_separation": {"omega": 0.3, "long_exchange": far}}
    model = XCModel("r2scan", network, exchange=0.25, seed=0)
    start = starting_functional("r2scan", {"nnmodel": network, "exchange": 0.25}, model.functional)
    assert isinstance(start.payload, str) is named
    helium = Molecule("He 0 0 0; H 0 0 1.5", "6-31g", charge=1, grid_level=0)
    energies = [KohnSham(helium, xc, tol=1e-8).run().energy.item() for xc in (model.functional, start.load())]
    assert energies[0] == pytest.approx(energies[1], abs=1e-8)


def test_it_starts_at_its_parent_with_vv10():
    network = {"form": "enhancement", "hidden": [4]}
    helium = Molecule("He 0 0 0", "sto-3g", grid_level=0)
    model = XCModel("r2scan-rvv10", network, seed=0)
    energies = [
        KohnSham(helium, xc, tol=1e-8).run().energy.item() for xc in (model.functional, "r2scan-rvv10")
    ]
    assert energies[0] == pytest.approx(energies[1], abs=1e-10)
    start = starting_functional("r2scan-rvv10", {"nnmodel": network, "exchange": 0.25}, model.functional)
    assert [t.form for t in get_xc(start.load()).nonlocal_terms] == ["rvv10"]
