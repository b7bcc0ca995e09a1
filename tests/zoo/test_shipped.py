"""Models that come with the package: cards complete, small files, and predictions that hold."""

import json
from pathlib import Path

import deepchem as dc
import numpy as np
import pytest
import yaml

from deepchem_dft import zoo
from deepchem_dft.xc import HybridXC, build_network
from deepchem_dft.zoo.models import module_of
from deepchem_dft.zoo.registry import SHIPPED

ROOT = Path(__file__).resolve().parents[2]
NAMES = zoo.names(SHIPPED)


def test_one_of_each_other_model_is_there():
    assert {"ksr", "hamiltonian", "deq"} <= {zoo.card(name, SHIPPED).kind for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_card_is_complete(name):
    card = zoo.card(name, SHIPPED)
    assert len(card.summary) > 20 and card.known_failures and card.out_of_scope and card.overlap
    assert zoo.load(name, SHIPPED)
    assert card.errors and all(len(row["mae"]) > 1 for row in card.errors), "no baseline"
    assert card.training["entries"] and card.cost["training_seconds"] < 2 * 3600
    assert card.seed is not None and {"deepchem_dft", "torch", "pyscf"} <= set(card.versions)
    assert (SHIPPED / f"{name}.safetensors").stat().st_size < 2 * 2**20
    text = json.dumps(card.to_dict())
    assert not any(place in text for place in ("/work/", "/tmp/", "/home/"))


@pytest.mark.parametrize("name", ["ksr-h2-h4", "hamiltonian-water"])
def test_card_is_of_the_configuration(name):
    """What the card says of the form and the training is what the file in examples/zoo says."""
    config = yaml.safe_load((ROOT / "examples" / "zoo" / f"{name}.yaml").read_text("utf-8"))
    card, said = zoo.card(name, SHIPPED), config["card"]
    assert config["name"] == name
    assert card.summary == said["summary"]
    assert card.known_failures[: len(said["known_failures"])] == said["known_failures"]
    assert card.out_of_scope[: len(said["out_of_scope"])] == said["out_of_scope"]
    for key, value in config["training"].items():
        if key != "stages":
            assert card.training["config"]["training"][key] == value
    for key, value in config.get("network", {}).items():
        assert card.form[key] == value


def test_ksr_is_exact_for_one_electron_and_good_for_two():
    from deepchem_dft.lattice.exact import exact
    from deepchem_dft.lattice.systems import h2, h2_plus

    model = zoo.load("ksr-h2-h4", SHIPPED)
    model.test_iterations = 150  # enough here, and quick
    molecules = [h2_plus(2.48), h2(1.52)]
    found = model.trajectory(molecules)
    errors = [abs(e - exact(m).energy) for e, m in zip(found.energy.tolist(), molecules)]
    assert errors[0] < 1e-8 and errors[1] < 1.6e-3  # Ha
    assert float(found.residual.max()) < 1e-2


def test_hamiltonian_of_water():
    """A geometry of no set: PySCF's converged matrix is met better than the guess by 1e4."""
    pytest.importorskip("e3nn")
    from deepchem_dft.hamiltonian.reference import Reference
    from deepchem_dft.hamiltonian.sample import HamiltonianSample

    model = zoo.load("hamiltonian-water", SHIPPED)
    start = [[0, 0, 0.2217], [0, 1.4309, -0.8867], [0, -1.4309, -0.8867]]
    reference = Reference(HamiltonianSample([8, 1, 1], start, "def2-svp", xc="pbe", name="water"))
    solution, sample = reference.solve(), reference.complete()
    sample.hamiltonian, sample.energy = solution.hamiltonian, solution.energy
    dataset = dc.data.NumpyDataset(np.array([sample, None], dtype=object)[:1])
    own = model.evaluate(dataset)["hamiltonian_mae"]
    assert own < 1.0 and model.guess_scores(dataset)[0].hamiltonian_mae > 1e4 * own
    prediction = model.predict_properties(dataset)[0]
    found = prediction.single_build()
    assert [found.energy, found.harris_foulkes] == pytest.approx([solution.energy] * 2, abs=1e-8)
    # PySCF's own leave out how the grid moves, which is 1e-5 here
    np.testing.assert_allclose(prediction.forces, reference.forces(solution), atol=5e-5)


def test_deq_tells_polar_molecules_and_small_gaps():
    model = zoo.load("deq-nci", SHIPPED)
    smiles = ["CCCCCC", "N#Cc1ccc(N)cc1", "O=C1C=CC(=O)C=C1"]
    graphs = dc.feat.MolGraphConvFeaturizer(use_edges=True).featurize(smiles)
    dipole, gap = model.predict(dc.data.NumpyDataset(graphs)).reshape(3, 2).T
    assert (
        dipole[0] < 1.29 < 3 < dipole[1]
    )  # Debye: hexane (0, within the model's own error), aminobenzonitrile
    assert gap[2] < 2.5 < 4 < gap[0]  # eV, GFN2-xTB: quinone, hexane
    assert model.last_solve.unconverged == 0


def test_cards_count_what_is_trained(tmp_path):
    """Not weights of a sum that are fixed, and no transition states as molecules."""
    functional = HybridXC(
        "pbe", build_network(family="gga", hidden=[4]), aweight0=0.5, train_a=False, train_b=False
    )
    network = sum(p.numel() for p in functional.nnxc.parameters())
    assert sum(p.numel() for p in functional.parameters()) > network
    assert zoo.save(functional, tmp_path / "fixed.safetensors").weights["parameters"] == network
    for name in zoo.names(SHIPPED):
        card = zoo.card(name, SHIPPED)
        trained = sum(p.numel() for p in module_of(zoo.load(name, SHIPPED)).parameters() if p.requires_grad)
        assert card.weights["parameters"] == trained, name
    card = zoo.card("nn-mgga", SHIPPED)
    assert card.weights["parameters"] == 704
    assert "33 molecules by formula and charge, 12 transition states" in card.text()
    assert "8 molecules (CH3, CH4, CHO, ClH, H2S, HO, HS, N2O)" in card.text()
