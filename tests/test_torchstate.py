"""Inference mode and torch's global defaults: results are the usual ones, and nothing is spoilt.

Each state runs first on a geometry of its own, whose constants nobody has made before; then the
same is trained in the usual state.
"""

import warnings
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from deepchem_dft import KohnSham, KSRModel, Molecule, XCModel
from deepchem_dft.data import DFTYamlLoader
from deepchem_dft.errors import InputError
from deepchem_dft.lattice.exact.state import ExactState
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.lattice.step import Molecules
from deepchem_dft.lattice.systems import h2
from deepchem_dft.torchstate import as_usual, stacklevel, unaffected
from deepchem_dft.xc import HybridXC, build_network


@contextmanager
def default_device(name):
    torch.set_default_device(name)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


STATES = {
    "inference": torch.inference_mode,
    "device": lambda: default_device("meta"),
    "context": lambda: torch.device("meta"),
    "half": lambda: default_dtype(torch.float16),
    "double": lambda: default_dtype(torch.float64),
}
IN_STATE = pytest.mark.parametrize("state", STATES.values(), ids=STATES)
LENGTHS = dict(zip(STATES.values(), (1.391, 1.392, 1.393, 1.394, 1.395)))


def gradient(xc):
    return [p.grad.clone() for p in xc.parameters() if p.grad is not None]


@IN_STATE
@pytest.mark.parametrize("name", ["pbe", "zoo:nn-hybrid"])
def test_energies_and_forces_are_the_usual_ones(state, name):
    r = LENGTHS[state] + 0.01 * (name == "pbe")
    with state():
        found = KohnSham(Molecule(f"H 0 0 0; H 0 0 {r}", "sto-3g", grid_level=0), name, stability=True).run()
        seen = [
            float(found.energy.detach()),
            found.forces().tolist(),
            found.dipole.tolist(),
            found.orbital_energies.tolist(),
            found.density([[0.0, 0.0, 0.3]]).tolist(),
        ]
    fresh = KohnSham(Molecule(f"H 0 0 0; H 0 0 {r + 1e-13}", "sto-3g", grid_level=0), name).run()
    assert seen[0] == pytest.approx(float(fresh.energy.detach()), abs=1e-10)
    np.testing.assert_allclose(seen[1], fresh.forces(), atol=1e-8)
    np.testing.assert_allclose(seen[3], fresh.orbital_energies.detach(), atol=1e-8)


@IN_STATE
def test_what_was_made_there_can_be_trained_later(state):
    r = LENGTHS[state] + 0.005
    with state():
        xc = HybridXC("pbe", build_network(family="gga", hidden=(4,), zero_last=False, seed=0), 0.1)
        molecule = Molecule(f"H 0 0 0; H 0 0 {r}", "sto-3g", grid_level=0)
        result = KohnSham(molecule, xc).run()
    assert not any(p.is_inference() or p.is_meta for p in xc.parameters())
    KohnSham(molecule, xc).run(guess=result).energy.backward()
    usual = HybridXC("pbe", build_network(family="gga", hidden=(4,), zero_last=False, seed=0), 0.1)
    usual.load_state_dict(xc.state_dict())
    KohnSham(Molecule(f"H 0 0 0; H 0 0 {r + 1e-13}", "sto-3g", grid_level=0), usual).run().energy.backward()
    for mine, theirs in zip(gradient(xc), gradient(usual), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-9)


@IN_STATE
def test_predicting_does_not_spoil_training(state, tmp_path):
    (tmp_path / "h2.yaml").write_text(
        "format: deepchem_dft/1\nsource: own\nentries:\n  - {name: a, type: energy, value: -1.1, "
        f'molecule: {{geometry: "H 0 0 0; H 0 0 {LENGTHS[state] + 0.002}", basis: sto-3g}}}}\n'
    )
    dataset = DFTYamlLoader().create_dataset(str(tmp_path / "h2.yaml"))
    with state():
        model = XCModel("pbe", {"family": "gga", "hidden": [4]}, grid_level=0, seed=0)
        before = model.predict(dataset)
    losses: list[float] = []
    model.fit(dataset, nb_epoch=2, all_losses=losses)
    assert abs(model.predict(dataset) + 1.1).item() < abs(before + 1.1).item()


@IN_STATE
def test_one_dimension_likewise(state):
    grid = Grid(121, 0.2 + 1e-3 * LENGTHS[state])
    states = np.empty(1, dtype=object)
    with state():
        density = Molecules.of([h2(1.28)], grid).atoms()[0].numpy()
        states[0] = ExactState(h2(1.28), grid, -1.0, np.repeat(density / 2, 2, 0))
        model = KSRModel(
            "global",
            grid=grid,
            iterations=4,
            skip=2,
            seed=1,
            functional_options={"hidden": (4, 4), "windows": 3},
        )
        import deepchem as dc

        dataset = dc.data.NumpyDataset(states, np.array([[-1.0]]), ids=["a"])
        assert np.isfinite(model.predict(dataset)).all()
    assert np.isfinite(model.fit(dataset, nb_epoch=1))


def test_a_network_made_in_inference_mode_is_refused_with_the_reason():
    with torch.inference_mode():
        network = torch.nn.Linear(2, 1).double()
    xc = HybridXC("lda,pw", network, 0.1)
    with pytest.raises(InputError, match="made under torch.inference_mode"):
        KohnSham(Molecule("He 0 0 0", "sto-3g", grid_level=0), xc).run()


def test_the_state_of_the_caller_comes_back():
    with torch.inference_mode(), torch.device("meta"), default_dtype(torch.bfloat16):
        with pytest.raises(ZeroDivisionError), as_usual():
            assert torch.ones(1).dtype is torch.float32
            _ = 1 / 0
        assert torch.is_inference_mode_enabled() and torch.ones(1).is_meta
        assert torch.ones(1).dtype is torch.bfloat16
    assert torch.is_grad_enabled()
    with as_usual():
        assert torch.is_grad_enabled()
    with torch.no_grad(), as_usual():
        assert not torch.is_grad_enabled()


def test_warnings_point_past_the_wrappers():
    @unaffected
    def inner():
        warnings.warn("here", stacklevel=stacklevel(3))

    @unaffected
    def outer():
        inner()

    with pytest.warns(UserWarning, match="here") as caught:
        outer()
    assert caught[0].filename == __file__
    assert stacklevel(1) == 1 and stacklevel(2) == 2


def test_methods_of_all_kinds_and_of_parents_are_wrapped_and_generators_are_not():
    class Parent:
        def made(self):
            return torch.ones(1).is_inference()

        @classmethod
        def of(cls):
            return cls, torch.ones(1).is_inference()

        @staticmethod
        def static():
            return torch.ones(1).is_inference()

        def stream(self):
            yield torch.is_inference_mode_enabled()

    @unaffected
    class Child(Parent):
        """Documented."""

    with torch.inference_mode():
        child = Child()
        assert (child.made(), Child.of(), Child.static()) == (False, (Child, False), False)
        assert Parent().made() and list(child.stream()) == [True]
    assert Child.__doc__ == "Documented."
