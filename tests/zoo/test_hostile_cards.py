"""Cards and weights of a stranger: refused before anything is built, written or run."""

import hashlib
import json
import resource
from pathlib import Path

import pytest
import torch
from torch import nn

from deepchem_dft import HybridXC, zoo
from deepchem_dft.errors import CheckpointError, DeepChemDFTError, InputError
from deepchem_dft.runs.card import export
from deepchem_dft.xc import build_network
from deepchem_dft.zoo.cards import form_digest
from deepchem_dft.zoo.weights import BoundedTensors


@pytest.fixture
def card(tmp_path) -> Path:
    """The card of a small functional, in a folder of its own."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    network = build_network(family="gga", hidden=[4], seed=0)
    zoo.save(HybridXC("pbe", network, aweight0=1.0), folder / "small.safetensors", summary="small")
    return folder / "small.json"


def forged(card: Path, **changes) -> Path:
    """Write a card with other content, and the digests that make it look right."""
    content = {**json.loads(card.read_text()), **changes}
    content["weights"]["form_sha256"] = form_digest(content["kind"], content["form"])
    raw = card.with_suffix(".safetensors").read_bytes()
    content["weights"]["sha256"] = hashlib.sha256(raw).hexdigest()
    card.write_text(json.dumps(content))
    return card


@pytest.mark.parametrize(
    "name",
    [
        "../victim",
        "/tmp/victim",
        "a/b",
        "..",
        "",
        ".hidden",
        "a\n",
        "a\0b",
        "-rf",
        "a b",
        "x" * 101,
        "\u202ea",
        "~",
        "a\\b",
    ],
)
def test_the_name_on_a_card_leads_nowhere(card, tmp_path, name):
    victim = tmp_path / "victim.safetensors"
    victim.write_text("mine")
    (tmp_path / "to").mkdir()
    with pytest.raises(CheckpointError, match="no name for a model"):
        export(forged(card, name=name), tmp_path / "to")
    assert victim.read_text() == "mine" and not list((tmp_path / "to").iterdir())
    assert {p.name for p in tmp_path.iterdir()} == {"zoo", "to", "victim.safetensors"}


def test_the_file_on_a_card_is_not_what_is_read(card, tmp_path):
    content = json.loads(card.read_text())
    content["weights"]["file"] = "../../etc/passwd"
    card.write_text(json.dumps(content))
    assert zoo.load(card).family == "gga"


def huge(linear: dict, many: int) -> dict:
    return {"type": "neural", "family": "gga", "network": {"type": "sequential", "layers": [linear] * many}}


@pytest.mark.parametrize(
    "form",
    [
        huge({"type": "linear", "inputs": 8192, "outputs": 8192}, 10),
        huge({"type": "linear", "inputs": 8192, "outputs": 8192}, 256),
        {
            "type": "ensemble",
            "members": [huge({"type": "linear", "inputs": 4096, "outputs": 4096, "dtype": "float32"}, 9)]
            * 50,
        },
        {"type": "enhanced", "parent": "pbe", "hidden": [8192] * 10},
    ],
    ids=["ten layers", "256 layers", "fifty members", "enhanced"],
)
def test_a_form_is_no_larger_than_its_weights(card, form):
    """Ten layers of 8192 x 8192 are 5.4 GB: refused before the first of them is made."""
    forged(card, form=form)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="far larger than its weights"):
        zoo.load(card)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # kB


def test_other_kinds_are_no_larger_either(tmp_path):
    for end in (".json", ".safetensors"):
        source = Path(zoo.__file__).parent / "shipped" / f"deq-nci{end}"
        (tmp_path / f"deq-nci{end}").write_bytes(source.read_bytes())
    path = tmp_path / "deq-nci.json"
    form = json.loads(path.read_text())["form"]
    with pytest.raises(InputError, match="far larger than its weights"):
        zoo.load(forged(path, form={**form, "width": 60_000}))


def test_the_limit_counts_what_is_made_together():
    with pytest.raises(InputError), BoundedTensors(0):
        for _ in range(100):
            nn.Linear(1000, 1000)
    with BoundedTensors(0):
        assert nn.Linear(1000, 1000)(torch.zeros(1000)).shape == (1000,)
    with pytest.raises(InputError), BoundedTensors(0):
        torch.eye(10_000)
    with pytest.raises(InputError), BoundedTensors(0):
        torch.arange(10**9)


@pytest.mark.parametrize(
    "text, words",
    [
        ('"seed": 1e400', "not a number"),
        ('"seed": NaN', "not a number"),
        ('"seed": ' + "9" * 5000, "not a number"),
        ('"training": {"a": ' + "[" * 100 + "]" * 100 + "}", "nested"),
        ('"training": {"a": ' + "[" * 5000 + "]" * 5000 + "}", "damaged|nested"),
        ('"training": {"a": 1, "a": 2}', "twice"),
        ('"errors": [{"mae": {"this": 1' + "0" * 400 + "}}]", "not a number"),
        ('"training": {"a": "\\ud800"}', "surrogates"),
    ],
)
def test_text_of_cards(card, text, words):
    content = json.loads(card.read_text())
    for key in ("seed", "training", "errors"):
        if text.startswith(f'"{key}"'):
            del content[key]
    card.write_text(json.dumps(content)[:-1] + ", " + text + "}")
    with pytest.raises(CheckpointError, match=words):
        zoo.card(card)


@pytest.mark.parametrize(
    "form",
    [
        {"type": "libxc", "name": "../pbe"},
        {"type": "libxc", "name": ["pbe"]},
        {"type": "libxc"},
        {"type": "hybrid", "conventional": None, "learned": None},
        {"type": ["linear"]},
        {},
        {"type": "native", "name": "__class__"},
        {"type": "activation", "name": "__init__"},
        {"type": "ensemble", "members": []},
        {"type": "ensemble", "members": {"a": 1}},
        {"type": "enhanced", "parent": "pbe", "bound": 10**400},
        {"type": "enhanced", "parent": {}},
        {"type": "xc_network", "family": "gga", "hidden": "88"},
        {"type": "xc_network", "family": "gga", "hidden": [4], "seed": 10**30},
        {"type": "linear", "inputs": -1, "outputs": 2},
        {"type": "linear", "inputs": 1.5, "outputs": 2},
    ],
    ids=str,
)
def test_impossible_forms(card, form):
    with pytest.raises(DeepChemDFTError):
        zoo.load(forged(card, form=form))


def test_weights_that_never_end(card):
    weights = card.with_suffix(".safetensors")
    weights.unlink()
    weights.symlink_to("/dev/zero")
    with pytest.raises(CheckpointError, match="no such file"):
        zoo.load(card)
