"""Small entries that train in seconds: H2, He, LiH and their atoms in minimal bases."""

import deepchem as dc
import numpy as np
import pytest
import torch
from torch import nn

from deepchem_dft.data import DFTEntry
from deepchem_dft.models import XCModel

H2 = {"moldesc": "H 0 0 0; H 0 0 1.4", "basis": "6-31g"}
H = {"moldesc": "H 0 0 0", "basis": "6-31g", "spin": 1}
LI = {"moldesc": "Li 0 0 0", "basis": "sto-3g", "spin": 1}
LIH = {"moldesc": "Li 0 0 0; H 0 0 3.015", "basis": "sto-3g"}
HE = {"moldesc": "He 0 0 0", "basis": "6-31g"}
HE_ION = {"moldesc": "He 0 0 0", "basis": "6-31g", "charge": 1, "spin": 1}


def _numpy_dataset(entries):
    X = np.empty(len(entries), dtype=object)
    X[:] = entries
    y = [[float(np.ravel(e.get_true_val())[0]) if e.is_energy else 0.0] for e in entries]
    w = [[float(e.get_weight())] for e in entries]
    return dc.data.NumpyDataset(X, np.array(y), np.array(w), ids=[str(i) for i in range(len(X))])


@pytest.fixture(scope="session")
def entries():
    """Five energy entries that share systems: values near experiment, not near LDA."""
    return [
        DFTEntry.create("ae", "0.1742", [H2, {**H, "number": 2}]),
        DFTEntry.create("ie", "0.9036", [HE, HE_ION]),
        DFTEntry.create("energy", "-2.9037", [HE]),
        DFTEntry.create("ie", "0.5", [H]),
        DFTEntry.create("energy", "-1.1745", [H2]),
    ]


@pytest.fixture(scope="session")
def make_dataset():
    """Return a function from entries to a NumpyDataset with their labels and weights."""
    return _numpy_dataset


@pytest.fixture
def dataset(entries):
    """The five entries as a DeepChem data set."""
    return _numpy_dataset(entries)


@pytest.fixture
def small(entries):
    """Two entries that share the hydrogen atom."""
    return _numpy_dataset([entries[0], entries[3]])


@pytest.fixture
def overtrained():
    """Data to train and to validate on: on its way to 0.52 Ha the model passes 0.49 Ha."""
    return [_numpy_dataset([DFTEntry.create("ie", value, [H])]) for value in ("0.52", "0.49")]


@pytest.fixture
def make_model(tmp_path):
    """Return a factory of quick models; each gets a folder of its own unless told."""

    def make(xcstr="lda,pw", *args, **options):
        count = len(list(tmp_path.iterdir()))
        defaults = {
            "grid_level": 0,
            "seed": 3,
            "hidden_size": 4,
            "learning_rate": 0.01,
            "model_dir": str(tmp_path / f"model{count}"),
        }
        return XCModel(xcstr, *args, **{**defaults, **options})

    return make


@pytest.fixture
def float32_network():
    """A user's plain network in single precision, not zero anywhere."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(2, 4), nn.Softplus(), nn.Linear(4, 1))


@pytest.fixture(scope="session")
def solved():
    """Return a function from atoms (Bohr) to a sample with all that PySCF says of it."""
    from dataclasses import replace

    from deepchem_dft.hamiltonian.reference import Reference
    from deepchem_dft.hamiltonian.sample import HamiltonianSample

    def make(numbers, positions, name, basis="sto-3g"):
        reference = Reference(HamiltonianSample(numbers, positions, basis, xc="pbe", name=name), grid_level=0)
        found = reference.solve()
        return replace(reference.complete(), hamiltonian=found.hamiltonian, energy=found.energy)

    return make


@pytest.fixture(scope="session")
def hamiltonians(solved):
    """Five waters and three hydrogen fluorides, in disorder."""
    rng = np.random.default_rng(0)
    water = np.array([[0, 0, 0.1], [0.1, 1.45, 1.1], [0, -1.4, 1.2]])
    fluoride = np.array([[0, 0, 0], [0.1, 0.3, 1.7]])
    waters = [solved([8, 1, 1], water + 0.1 * rng.normal(size=(3, 3)), f"water/{i}") for i in range(5)]
    fluorides = [solved([9, 1], fluoride + 0.1 * rng.normal(size=(2, 3)), f"HF/{i}") for i in range(3)]
    return [*waters[:2], *fluorides, *waters[2:]]


@pytest.fixture
def make_network(tmp_path):
    """Return a factory of quick Hamiltonian networks; each gets a folder of its own unless told."""

    from deepchem_dft.models import HamiltonianModel

    def factory(form="delta", **options):
        folder = tmp_path / f"model{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        small = {
            "width": 8,
            "hidden": 16,
            "layers": 1,
            "n_radial": 8,
            "feedback_width": 4,
            "warmup": 10,
            "learning_rate": 1e-2,
            "batch_size": 3,
            "grid_level": 0,
            "seed": 1,
            "model_dir": str(folder),
        }
        elements = options.pop("elements", ["H", "O", "F"])
        return HamiltonianModel(elements, "sto-3g", "pbe", form, **{**small, **options})

    return factory


@pytest.fixture
def samples(hamiltonians):
    """The eight molecules as a DeepChem data set."""
    return dc.data.NumpyDataset(hamiltonians, ids=[s.name for s in hamiltonians])
