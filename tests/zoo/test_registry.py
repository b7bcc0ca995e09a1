"""Names, loading, saving; what is refused, and that nothing is executed."""

import errno
import hashlib
import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from deepchem_dft import KohnSham, Molecule, XCModel, zoo
from deepchem_dft.errors import CheckpointError, FunctionalError, InputError, StorageError
from deepchem_dft.xc import NNLDA, get_xc
from deepchem_dft.zoo.cards import FORMAT, form_digest
from deepchem_dft.zoo.registry import find

from .conftest import hybrid, network
from .test_forms import Mine, density


def test_loaded_is_what_was_saved(folder):
    assert zoo.names() == ["small", "three"]
    loaded, original = zoo.load("small"), hybrid(1)
    assert torch.equal(loaded(density()), original(density())) and not loaded.training
    state = original.state_dict()
    assert all(torch.equal(v, state[k]) for k, v in loaded.state_dict().items())
    for name in (
        "small",
        "zoo:small",
        "ZOO:small",
        folder / "small.safetensors",
        folder / "small.json",
        f"zoo:{folder}/small.safetensors",
    ):
        assert find(name) == folder / "small.json"
    assert zoo.names(folder) == zoo.names() and zoo.card("small").summary == "a small hybrid"
    assert zoo.card("three").members == 3 and len(zoo.load("three")) == 3


def test_a_name_is_a_functional_wherever_one_is_taken(folder):
    h2 = Molecule("H 0 0 0; H 0 0 1.4", "sto-3g", grid_level=0)
    expected = KohnSham(h2, hybrid(1)).run().energy.item()
    for name in ("zoo:small", str(folder / "small.safetensors")):
        assert KohnSham(h2, name).run().energy.item() == expected


def test_trusted_tools_read_the_same_file(folder):
    """The format is safetensors' own, and the hash that of `sha256sum`."""
    from safetensors import safe_open

    weights = folder / "small.safetensors"
    with safe_open(weights, "pt") as stream:
        assert set(stream.keys()) == set(hybrid().state_dict())
    content = json.loads((folder / "small.json").read_text())
    assert content["weights"]["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert content["format"] == FORMAT and content["versions"]["torch"]


def test_the_variable_lists_folders_and_the_first_wins(folder, tmp_path_factory, monkeypatch):
    other = tmp_path_factory.mktemp("other")
    zoo.save(hybrid(2), other / "small.safetensors", summary="another")
    zoo.save(hybrid(2), other / "mine.v1.safetensors")
    monkeypatch.setenv("DEEPCHEM_DFT_ZOO", f"{other}{os.pathsep}{folder}")
    assert zoo.card("small").summary == "another" and zoo.names() == ["mine.v1", "small", "three"]
    assert zoo.card("small", folder).summary == "a small hybrid"
    assert zoo.load("mine.v1") is not None
    monkeypatch.setenv("DEEPCHEM_DFT_ZOO", str(other / "nowhere"))
    with pytest.raises(InputError, match="DEEPCHEM_DFT_ZOO.*does not exist"):
        zoo.names()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("smal", "did you mean 'small'"),
        ("THREE ", "did you mean 'three'"),
        ("xyzzy", "one of small, three"),
        ("", "one of small"),
        ("../small", "not a file of the zoo"),
        ("/no/such.safetensors", "does not exist"),
        ("no-such.json", "does not exist"),
        ("a\nb", "there is no"),
    ],
)
def test_unknown_names(folder, name, message):
    with pytest.raises(InputError, match=message):
        zoo.load(name)
    with pytest.raises(InputError, match=message):
        get_xc(f"zoo:{name}")


def test_an_empty_zoo_says_how_to_fill_it(tmp_path):
    with pytest.raises(FunctionalError, match="the zoo is empty; set DEEPCHEM_DFT_ZOO"):
        zoo.load("small", tmp_path)


# -- damage and malice -----------------------------------------------------------------------------


def change(path: Path, **values) -> None:
    """Change a card."""
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **values}))


def forge(folder: Path, raw: bytes) -> None:
    """Put other weights there, with a card that vouches for them."""
    (folder / "small.safetensors").write_bytes(raw)
    weights = json.loads((folder / "small.json").read_text())["weights"]
    weights["sha256"] = hashlib.sha256(raw).hexdigest()
    change(folder / "small.json", weights=weights)


def refused(folder: Path, *parts: str) -> str:
    """Return the message with which ``small`` is refused; it is one, and names the file."""
    with pytest.raises(CheckpointError) as caught:
        zoo.load("small", folder)
    text = str(caught.value)
    assert all(part in text for part in parts) and "Remedy: " in text and "\n" not in text
    assert str(folder) in text
    return text


def test_any_flipped_byte_of_the_weights(folder):
    file = folder / "small.safetensors"
    raw = bytearray(file.read_bytes())
    for place in (0, 8, 20, len(raw) // 2, len(raw) - 1):
        damaged = bytearray(raw)
        damaged[place] ^= 1
        file.write_bytes(damaged)
        refused(folder, "SHA-256", "damaged or another one")
    file.write_bytes(raw[:-1])
    refused(folder, "SHA-256")
    file.write_bytes(raw)
    assert zoo.load("small", folder) is not None


def test_flipped_bytes_of_the_card_change_nothing_or_are_refused(folder):
    """Whatever byte is flipped: the energy density is the same, or there is none."""
    file, rho = folder / "small.json", density()
    raw, expected = file.read_bytes(), zoo.load("small", folder)(rho)
    outcomes = {"same": 0, "refused": 0}
    for place in range(0, len(raw), 7):
        damaged = bytearray(raw)
        damaged[place] ^= 4
        file.write_bytes(damaged)
        try:
            assert torch.equal(zoo.load("small", folder)(rho), expected)
            outcomes["same"] += 1
        except CheckpointError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 5


def test_a_changed_form(folder):
    card = folder / "small.json"
    form = json.loads(card.read_text())["form"]
    form["learned"]["network"]["max_output"] = 0.9
    change(card, form=form)
    refused(folder, "the form on the card has been changed")
    weights = json.loads(card.read_text())["weights"]
    form["learned"]["network"]["hidden"] = [5]
    change(card, form=form, weights={**weights, "form_sha256": form_digest("functional", form)})
    refused(folder, "the weights do not fit the card", "(4, 4)", "(5, 4)")


@pytest.mark.parametrize(
    "trick", ["plain pickle", "torch.save", "zip", "cut off", "other file", "huge header"]
)
def test_a_pickle_in_disguise_is_not_executed(folder, tmp_path, trick):
    """Even with a card that vouches for it."""
    witness = tmp_path / "executed"
    payload = Bomb(str(witness))
    file = tmp_path / "bomb"
    if trick == "plain pickle":
        raw = pickle.dumps(payload)
    elif trick == "torch.save":
        torch.save(payload, file)
        raw = file.read_bytes()
    elif trick == "zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("data.pkl", pickle.dumps(payload))
        raw = file.read_bytes()
    else:
        raw = {
            "cut off": (folder / "small.safetensors").read_bytes()[:-8],
            "other file": b"hello",
            "huge header": b"\xff" * 64,
        }[trick]
    forge(folder, raw)
    pickled = trick in ("plain pickle", "torch.save", "zip")
    refused(folder, "nothing in it was executed" if pickled else "not a safetensors file")
    assert not witness.exists()
    # The bomb is live: reading it the other way does set it off.
    if trick == "plain pickle":
        pickle.loads(raw)
        assert witness.exists()


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_as_a_card(folder, tmp_path):
    (folder / "small.json").write_bytes(pickle.dumps(Bomb(str(tmp_path / "executed"))))
    refused(folder, "damaged or not JSON")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format": "deepchem_dft/zoo/2"}, "Remedy: update deepchem_dft"),
        ({"format": None}, "the format is None"),
        ({"kind": "spell"}, "unknown kind 'spell'"),
        ({"extra": 1}, "unknown key 'extra'"),
        ({"name": 3}, "'name' is a int"),
        ({"seed": True}, "'seed' is a bool"),
        ({"weights": {}}, "no SHA-256"),
        ({"weights": {"sha256": "../x", "form_sha256": "0"}}, "no SHA-256"),
        ({"known_failures": [1]}, "not a list of texts"),
        ({"errors": [3]}, "not a list of rows"),
        ({"form": {}}, "has been changed"),
    ],
)
def test_other_cards_are_refused(folder, values, message):
    change(folder / "small.json", **values)
    refused(folder, message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[1]", "not a card"),
        ("{", "not JSON"),
        ('{"a": NaN}', "not a number"),
        ('{"a": 1, "a": 2}', "occurs twice"),
        ("[" * 100000, "not JSON"),
        ("é\x00", "not JSON"),
        (" " * (1 << 20) + "{}", "too large"),
        ('{"format": "deepchem_dft/zoo/1"}', "is missing"),
    ],
)
def test_what_is_no_card_at_all(folder, text, message):
    (folder / "small.json").write_text(text)
    refused(folder, message)


def test_missing_halves(folder):
    (folder / "small.json").rename(folder / "away")
    refused(folder, "there is no such card")
    with pytest.raises(CheckpointError, match="there is no such card"):
        zoo.load(folder / "small.safetensors")
    (folder / "away").rename(folder / "small.json")
    (folder / "small.safetensors").unlink()
    refused(folder, "no such file of weights")


def test_a_form_from_a_later_version_says_so(folder):
    form = {"type": "transformer"}
    weights = json.loads((folder / "small.json").read_text())["weights"]
    change(
        folder / "small.json", form=form, weights={**weights, "form_sha256": form_digest("functional", form)}
    )
    with pytest.raises(InputError, match="unknown type 'transformer'.*update deepchem_dft"):
        zoo.load("small", folder)


# -- saving ----------------------------------------------------------------------------------------


def test_what_cannot_be_saved_leaves_nothing(tmp_path):
    broken = hybrid()
    with torch.no_grad():
        broken.aweight.fill_(float("nan"))
    for thing, message in (
        (NNLDA(Mine()), "cannot be written down"),
        (broken, "not finite"),
        (3, "a int cannot be put"),
        (XCModel("lda"), "give model.functional"),
    ):
        with pytest.raises(InputError, match=message):
            zoo.save(thing, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="end it with .safetensors"):
        zoo.save(hybrid(), tmp_path / "x.pt")
    with pytest.raises(InputError, match="no field 'sumary'"):
        zoo.save(hybrid(), tmp_path / "x.safetensors", sumary="")
    assert list(tmp_path.iterdir()) == []


def test_killed_between_the_two_files_the_pair_is_refused(folder, monkeypatch):
    usual = os.replace

    def dying(source, target):
        if str(target).endswith("small.json"):
            raise KeyboardInterrupt
        usual(source, target)

    monkeypatch.setattr(os, "replace", dying)
    with pytest.raises(KeyboardInterrupt):
        zoo.save(hybrid(9), folder / "small.safetensors")
    refused(folder, "SHA-256")


def test_a_failure_keeps_the_old_pair(folder, monkeypatch):
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    def full(*_):
        raise OSError(errno.ENOSPC, "")

    for module in ("zoo.cards", "zoo.registry"):  # who writes the card, and who the weights
        with monkeypatch.context() as patched:
            patched.setattr(f"deepchem_dft.{module}.write", full)
            with pytest.raises(StorageError, match="no space left"):
                zoo.save(hybrid(9), folder / "small.safetensors")
        assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_pretrained_parameters_reach_a_model(folder):
    model = XCModel("pbe", network(7), aweight0=1.0, exchange=0.2)
    model.load_from_pretrained("zoo:small")
    expected = hybrid(1).state_dict()
    found = model.functional.state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    model.load_from_pretrained(folder / "small.safetensors")
    with pytest.raises(CheckpointError, match="belongs to a different model"):
        XCModel("lda", network(7, "lda"), aweight0=1.0).load_from_pretrained("zoo:small")
    with pytest.raises(InputError, match="did you mean 'small'"):
        model.load_from_pretrained("zoo:smalll")


def test_the_card_tells_the_worst_first(folder):
    rows = [
        {
            "set": "w4-11",
            "type": "ae",
            "entries": 3,
            "unit": "kcal/mol",
            "mae": {"this": 2.5, "pbe": 14.0, "b3lyp": None},
        }
    ]
    card = zoo.save(
        hybrid(),
        folder / "told.safetensors",
        errors=rows,
        parent="pbe",
        worse_than_parent=["barriers"],
        summary="evil \x1b[2J",
        seed=4,
    )
    text = card.text()
    assert text.index("**Worse than pbe:**") < text.index("evil")
    assert "| w4-11 | ae | 3 | kcal/mol | 2.5 | 14 | - |" in text
    assert "\x1b" not in text and "## Cost\n\nnot stated" in text
    assert zoo.card("told") == card


def test_nothing_is_ever_unpickled(folder, monkeypatch):
    def never(*args, **options):
        raise AssertionError("something was unpickled")

    for place in ("pickle.load", "pickle.loads", "pickle.Unpickler", "torch.load"):
        monkeypatch.setattr(place, never)
    assert len(zoo.load("three")) == 3 and zoo.load("small") is not None
