"""Cards of runs: what the configuration says, what the tables say, overlap, where they go."""

import yaml

from deepchem_dft import zoo
from deepchem_dft.errors import InputError
from deepchem_dft.runs import load_config, run
from deepchem_dft.runs.card import export, worse
from deepchem_dft.runs.config import config_hash

from .conftest import write_run
from .kinds.test_hamiltonian import CONFIG as MATRICES
from .kinds.test_hamiltonian import data  # noqa: F401 (a fixture)
from .kinds.test_ksr import CONFIG as LATTICE

CARD = {
    "name": "carded",
    "summary": "what it is",
    "worse_than_parent": ["always"],
    "known_failures": ["long bonds"],
    "out_of_scope": ["anything else"],
}


def _config(folder, content, **changes):
    path = folder / "carded.yaml"
    path.write_text(yaml.safe_dump({**content, **changes}))
    return load_config(path)


def test_the_card_is_no_part_of_what_is_computed(tmp_path):
    assert config_hash(_config(tmp_path, LATTICE)) == config_hash(_config(tmp_path, LATTICE, card=CARD))
    for bad, message in (({"summry": "x"}, "use 'summary'"), ({"name": "../x"}, "card.name")):
        try:
            _config(tmp_path, LATTICE, card=bad)
        except InputError as error:
            assert message in str(error)
        else:
            raise AssertionError(f"{bad} was accepted")


def test_lattice_run(tmp_path):
    training = {"epochs": 2, "validate_every": 2}
    config = _config(
        tmp_path, LATTICE, card=CARD, training=training, output={"plots": False, "checkpoint_every": 2}
    )
    run(config, tmp_path / "run")
    zoo_folder = tmp_path / "zoo_folder"
    zoo_folder.mkdir()
    export(tmp_path / "run", zoo_folder)
    card = zoo.card("carded", zoo_folder)
    assert card.summary == "what it is" and card.known_failures[0] == "long bonds"
    assert card.worse_than_parent == ["always"] and card.out_of_scope[0] == "anything else"
    assert card.overlap == [
        "train and test h2 share 0 of 3 molecules; the family is trained on at other distances",
        "train and test ion share none; the family is not trained on",
    ]
    assert {row["set"] for row in card.errors} == {"h2", "ion"}
    assert card.training["entries"] == {"train: h2": 2, "valid: h2": 1, "test: h2": 3, "test: ion": 2}
    again = export(zoo_folder / "carded.json", tmp_path / "copy.safetensors", "new")
    assert (again.summary, again.known_failures) == ("new", card.known_failures)
    # A text that is changed later is stored by --resume, and nothing is trained again.
    config.card.summary = "another text"
    run(config, tmp_path / "run", resume=True)
    assert export(tmp_path / "run", zoo_folder).summary == "another text"
    assert zoo.card("carded", zoo_folder).weights["sha256"] == card.weights["sha256"]


def test_run_on_hamiltonians(data, tmp_path):  # noqa: F811
    path = data / "carded.yaml"
    content = {
        **MATRICES,
        "network": {"form": "delta", "width": 4, "hidden": 8, "layers": 1},
        "training": {"epochs": 1, "batch_size": 2},
        "output": {"plots": False},
        "evaluation": {"sets": ["test"]},
    }
    path.write_text(yaml.safe_dump(content))
    run(load_config(path), tmp_path / "run")
    card = export(tmp_path / "run", tmp_path / "h.safetensors")
    assert card.parent == "minao guess" and card.name == "h"
    assert card.overlap == [
        "train and test 500 K share no geometry; 1 of 1 tested molecules were trained on in other geometries"
    ]
    assert card.out_of_scope[:2] == [
        "elements other than H, O",
        "other functionals than pbe, other basis sets than sto-3g",
    ]
    assert card.worse_than_parent == worse(card.errors, "minao guess")
    assert str(data) not in (tmp_path / "h.json").read_text()


def test_functional_run_without_a_card(tmp_path):
    overrides = ["training.epochs=1", "output.plots=false", "baselines=[pbe]", "card={known_failures: [one]}"]
    run(load_config(write_run(tmp_path), overrides), tmp_path / "run")
    card = export(tmp_path / "run", tmp_path / "f.safetensors")
    assert card.parent == "pbe" and card.known_failures == ["one"]
    assert card.out_of_scope == ["elements other than those trained on: H, He"]
