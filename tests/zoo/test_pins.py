"""What shipped models compute, against their formulae written again and against stored numbers."""

import json

import numpy as np
import pytest
import torch
from pyscf import dft, gto
from safetensors.numpy import load_file

from deepchem_dft import zoo
from deepchem_dft.zoo.registry import SHIPPED

from . import formulae, pins

CARDS = {name: zoo.card(name, SHIPPED) for name in zoo.names(SHIPPED)}
FUNCTIONALS = [name for name, card in CARDS.items() if card.kind == "functional"]
PINS = json.loads(pins.FILE.read_text("utf-8"))
#: Single precision of the network, or of what it iterates.
TOLERANCE = {"functional": 1e-8, "ksr": 1e-8, "hamiltonian": 2e-6, "deq": 2e-5}


def weights(name: str) -> formulae.Weights:
    return load_file(SHIPPED / f"{name}.safetensors")


def of_kind(kind: str) -> str:
    (name,) = (name for name, card in CARDS.items() if card.kind == kind)
    return name


def densities(points: int = 300) -> np.ndarray:
    """Return physical spin densities: r_s from 0.2 to 8, s to 5, tau above von Weizsaecker's."""
    draw = np.random.default_rng(0)
    n = 10.0 ** draw.uniform(-3.5, 1.0, (2, points))
    direction = draw.normal(size=(2, 3, points))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    s = 10.0 ** draw.uniform(-1.5, 0.7, (2, 1, points))
    gradient = direction * s * 2.0 * (3.0 * np.pi**2) ** (1.0 / 3.0) * n[:, None] ** (4.0 / 3.0)
    tau = (gradient**2).sum(1) / (8.0 * n) + 10.0 ** draw.uniform(-2, 1, (2, points)) * n ** (5 / 3)
    return np.concatenate([n[:, None], gradient, tau[:, None]], 1)


def test_every_model_is_pinned():
    assert set(PINS) - {"command", "versions"} == set(CARDS)


@pytest.mark.parametrize("name", FUNCTIONALS)
def test_energy_density_is_the_formula(name):
    xc, rho = zoo.load(name, SHIPPED), densities()
    expected = formulae.functional(CARDS[name].form, weights(name), rho)
    with torch.no_grad():
        np.testing.assert_allclose(xc(torch.from_numpy(rho)).numpy(), expected, rtol=1e-11)
        closed = torch.from_numpy(2.0 * rho[:1])
        expected = formulae.functional(CARDS[name].form, weights(name), rho[[0, 0]])
        np.testing.assert_allclose(xc(closed).numpy(), expected, rtol=1e-11)


@pytest.mark.parametrize("name", FUNCTIONALS)
def test_exact_exchange_is_the_cards(name):
    shares = formulae.exact_exchange(CARDS[name].form, weights(name))
    if not name.startswith("general"):
        assert shares == pytest.approx({0.0: 0.25 if "hybrid" in name else 0.0}, abs=1e-14)
    assert all(0.0 <= sum(shares[w] for w in upto) <= 1.0 for upto in ([0.0], list(shares)))
    terms = {omega or 0.0: float(c) for c, omega in zoo.load(name, SHIPPED).exchange_terms}
    assert {w: c for w, c in shares.items() if c} == pytest.approx({w: c for w, c in terms.items() if c})


@pytest.mark.parametrize("molecule", pins.MOLECULES)
@pytest.mark.parametrize("name", FUNCTIONALS)
def test_self_consistent_energy(name, molecule):
    """As stored, and as PySCF's integrals and the formula make it of the density matrix."""
    found = pins.self_consistent(name, molecule)
    assert found.energy.item() == pytest.approx(PINS[name][molecule][0], abs=1e-8)

    geometry, spin = pins.MOLECULES[molecule]
    mol = gto.M(atom=geometry, unit="bohr", basis="sto-3g", spin=spin, verbose=0)
    field = dft.UKS(mol)
    field.grids.level = 0
    field.grids.build()
    density = found.density_matrix.detach().numpy()
    ao = dft.numint.eval_ao(mol, field.grids.coords, deriv=1)
    rho = np.stack([dft.numint.eval_rho(mol, ao, d, xctype="MGGA", with_lapl=False) for d in density])
    there = rho[:, 0].sum(0) > 1e-11  # libxc has thresholds, we a floor
    rho = np.maximum(rho, np.array([1e-15, *[-np.inf] * 3, 0.0])[:, None])[..., there]
    form, own = CARDS[name].form, weights(name)
    semilocal = field.grids.weights[there] @ formulae.functional(form, own, rho)
    coulomb = field.get_j(mol, density)
    exact = sum(
        share * np.vdot(density, field.get_k(mol, density, omega=omega))
        for omega, share in formulae.exact_exchange(form, own).items()
    )
    energy = (
        mol.energy_nuc()
        + np.vdot(density.sum(0), field.get_hcore())
        + 0.5 * np.vdot(density.sum(0), coulomb.sum(0))
        - 0.5 * exact
        + semilocal
        + formulae.dispersion(form, own, mol.atom_charges(), mol.atom_coords())
    )
    assert found.energy.item() == pytest.approx(energy, abs=2e-9)


@pytest.mark.parametrize("kind", ["ksr", "hamiltonian", "deq"])
def test_predictions_are_those_stored(kind):
    if kind == "hamiltonian":
        pytest.importorskip("e3nn")
    name = of_kind(kind)
    found = pins.predictions(name, kind)
    assert found.keys() == PINS[name].keys()
    for key, value in found.items():
        np.testing.assert_allclose(value, PINS[name][key], rtol=0, atol=TOLERANCE[kind])


@pytest.mark.parametrize("electrons", [1.0, 1.3, 2.0, 4.0])
def test_functional_in_one_dimension_is_the_formula(electrons):
    name = of_kind("ksr")
    points, spacing, _ = CARDS[name].form["grid"]
    xc = zoo.load(name, SHIPPED).functional
    x = spacing * (np.arange(points) - (points - 1) / 2)
    density = np.exp(-((x - 0.3) ** 2) / 1.3) + 0.6 * np.exp(-((x + 2.1) ** 2) / 3.0)
    density *= electrons / (density.sum() * spacing)
    with torch.no_grad():
        found = xc.energy(torch.from_numpy(density)[None, None]).item()
    assert found == pytest.approx(formulae.ksr_energy(weights(name), density, spacing), abs=1e-12)


def test_properties_are_the_formula():
    import deepchem as dc

    name = of_kind("deq")
    graphs = dc.feat.MolGraphConvFeaturizer(use_edges=True).featurize(pins.SMILES)
    found = zoo.load(name, SHIPPED).predict(dc.data.NumpyDataset(graphs)).reshape(-1, 2)
    for graph, values in zip(graphs, found, strict=True):
        expected = formulae.deq(
            CARDS[name].form, weights(name), graph.node_features, graph.edge_index, graph.edge_features
        )
        np.testing.assert_allclose(values, expected, rtol=0, atol=2e-5)
