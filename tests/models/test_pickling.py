"""Models and adapters of PySCF go to another process and come back as they were."""

import pickle
from pathlib import Path

import deepchem as dc
import joblib
import numpy as np
import pytest
from pyscf import gto

from deepchem_dft import DEQModel, KSRModel, XCModel
from deepchem_dft.data import DFTEntry
from deepchem_dft.interop.pyscf import to_pyscf
from deepchem_dft.models import HamiltonianModel

H2 = {"moldesc": "H 0 0 0; H 0 0 1.4", "basis": "sto-3g"}
ATOM = {"moldesc": "H 0 0 0", "basis": "sto-3g", "spin": 1}


def fitted():
    entry = DFTEntry.create("ae", 0.17, [H2, ATOM, ATOM])
    dataset = dc.data.NumpyDataset(np.array([entry]), np.array([[0.17]]))
    model = XCModel("lda,pw", {"family": "lda", "hidden": [4]}, loss="huber", grid_level=0, seed=0)
    model.fit(dataset, nb_epoch=1)
    return model, dataset


def predicted(model, dataset) -> np.ndarray:
    return model.predict(dataset)


def test_a_model_predicts_and_trains_on_after_a_journey():
    model, dataset = fitted()
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.predict(dataset), model.predict(dataset))
    assert again.model_dir != model.model_dir and Path(again.model_dir).is_dir()
    assert [r.epoch for r in again.history] == [1]
    for one in (model, again):
        one.fit(dataset, nb_epoch=1)
    assert again.history[-1].loss == model.history[-1].loss


def test_with_joblib():
    model, dataset = fitted()
    tasks = [joblib.delayed(predicted)(model, dataset)] * 2
    found = joblib.Parallel(n_jobs=2, backend="multiprocessing")(tasks)
    assert all(np.array_equal(one, model.predict(dataset)) for one in found)


@pytest.mark.parametrize(
    "make",
    [lambda: DEQModel(1), KSRModel, lambda: HamiltonianModel(["H"], "sto-3g")],
    ids=["deq", "ksr", "hamiltonian"],
)
def test_every_family(make):
    model = make()
    again = pickle.loads(pickle.dumps(model))
    assert [p.tolist() for p in again.model.parameters()] == [p.tolist() for p in model.model.parameters()]


def test_a_trained_deq_model():
    dataset = dc.data.NumpyDataset(np.random.default_rng(0).normal(size=(5, 3)), np.zeros((5, 1)))
    model = DEQModel(1, width=4)
    model.fit(dataset, nb_epoch=1)
    assert np.array_equal(pickle.loads(pickle.dumps(model)).predict(dataset), model.predict(dataset))


@pytest.mark.parametrize(
    "change",
    [
        lambda mf: mf,
        lambda mf: mf.density_fit(),
        lambda mf: mf.newton(),
        lambda mf: mf.PCM(),
        lambda mf: mf.density_fit().newton(),
        lambda mf: mf.to_uks(),
    ],
    ids=["plain", "fit", "newton", "solvent", "fit-newton", "unrestricted"],
)
def test_adapters_of_pyscf(change):
    mf = to_pyscf(gto.M(atom="H 0 0 0; F 0 0 0.92", basis="sto-3g", verbose=0), "native:pbe")
    mf.grids.level = 0
    mf = change(mf).run()
    again = pickle.loads(pickle.dumps(mf))
    assert type(again).__mro__[1:] == type(mf).__mro__[1:] and again.e_tot == mf.e_tot
    assert again.kernel() == pytest.approx(mf.e_tot, abs=1e-8)
    mine, theirs = (pickle.loads(pickle.dumps(m.nuc_grad_method())).kernel() for m in (again, mf))
    np.testing.assert_allclose(mine, theirs, atol=1e-5)
