"""Cards: the limits of what is read, identity, and every line of their text."""

import json
import re

import pytest

from deepchem_dft import zoo
from deepchem_dft.errors import CheckpointError
from deepchem_dft.zoo.cards import Card, form_digest, list_text, read_card

SHA = "ab" * 32


def card(**values) -> Card:
    form = values.pop("form", {"type": "libxc", "name": "pbe"})
    weights = {
        "file": "a.safetensors",
        "sha256": SHA,
        "parameters": 7,
        "form_sha256": form_digest("functional", form),
        **values.pop("weights", {}),
    }
    return Card(name=values.pop("name", "a"), kind="functional", form=form, weights=weights, **values)


def nested(depth: int):
    """Return lists within lists, so many levels of them."""
    value: list = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_a_card_of_a_mebibyte_is_read_and_no_more(tmp_path):
    card().write(tmp_path / "a.json")
    raw = (tmp_path / "a.json").read_bytes()
    (tmp_path / "a.json").write_bytes(raw + b" " * (2**20 - len(raw)))
    assert read_card(tmp_path / "a.json") == card()
    (tmp_path / "a.json").write_bytes(raw + b" " * (2**20 + 1 - len(raw)))
    with pytest.raises(CheckpointError, match="too large to be a card"):
        read_card(tmp_path / "a.json")


def test_sixty_levels_are_read_and_no_more(tmp_path):
    for depth, fine in ((58, True), (59, False)):  # within the card and the training
        deep = card(training={"x": nested(depth)})
        (tmp_path / "a.json").write_text(json.dumps(deep.to_dict()))
        if fine:
            assert read_card(tmp_path / "a.json") == deep
        else:
            with pytest.raises(CheckpointError, match="nested without end"):
                read_card(tmp_path / "a.json")


def test_the_key_is_that_of_form_and_weights():
    one = card()
    assert re.fullmatch("[0-9a-f]{32}", one.key)
    assert card(summary="other words", seed=3).key == one.key
    assert card(form={"type": "libxc", "name": "blyp"}).key != one.key
    assert card(weights={"sha256": "cd" * 32}).key != one.key
    assert form_digest("ksr", one.form) != form_digest("functional", one.form)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"weights": {"sha256": SHA, "form_sha256": SHA[:-1]}}, "no SHA-256"),
        ({"weights": {"sha256": SHA, "form_sha256": SHA[:-1] + "g"}}, "no SHA-256"),
        ({"weights": {"sha256": SHA[:-1] + "G", "form_sha256": SHA}}, "no SHA-256"),
        ({"weights": {"sha256": SHA, "form_sha256": 1}}, "no SHA-256"),
        ({"errors": [{"mae": 3}]}, "not a list of rows"),
        ({"errors": [{}]}, "not a list of rows"),
        ({"errors": [{"mae": {}}, 1]}, "not a list of rows"),
        ({"errors": {}}, "'errors' is a dict"),
        ({"overlap": ["a", None]}, "not a list of texts"),
        ({"seed": 1.5}, "'seed' is a float"),
        ({"parent": 2}, "'parent' is a int"),
        ({"format": 1}, "the format is 1"),
        ({"format": "deepchem_dft/run/1"}, "give a card of a functional of the zoo."),
        ({"training": {"x": 1e999}}, "is not a number"),
    ],
)
def test_other_content_is_refused(tmp_path, values, message):
    content = {**card().to_dict(), **values}
    (tmp_path / "a.json").write_text(json.dumps(content).replace("Infinity", "1e999"))
    with pytest.raises(CheckpointError, match=message) as caught:
        read_card(tmp_path / "a.json")
    assert str(caught.value).startswith(f"{tmp_path / 'a.json'}: ") and "Remedy: " in str(caught)


@pytest.mark.parametrize(
    "values", [{"seed": None}, {"seed": 3}, {"seed": [1, 2]}, {"parent": None}, {"errors": [{"mae": {}}]}]
)
def test_what_may_stand_there(tmp_path, values):
    card(**values).write(tmp_path / "a.json")
    assert read_card(tmp_path / "a.json") == card(**values)


def test_the_whole_text_of_a_card():
    rows = [
        {"set": "w4", "type": "ae", "entries": 3, "unit": "kcal/mol", "mae": {"this": 2.34567, "pbe": 14.0}},
        {
            "set": "bh",
            "type": "barrier",
            "entries": 2,
            "unit": "kcal/mol",
            "mae": {"this": 1, "blyp": 5.5, "pbe": None},
        },
    ]
    text = card(
        summary="A summary.",
        parent="pbe",
        worse_than_parent=["barriers"],
        errors=rows,
        seed=4,
        known_failures=["stretched bonds"],
        out_of_scope=["metals"],
        overlap=["none"],
        training={"entries": {"train": 3, "test": [1, 2]}, "config": [{"a": 1}, 2], "empty": {}},
        cost={"seconds": 5},
        versions={"torch": "2"},
    ).text()
    assert (
        text
        == f"""# a

**Worse than pbe:**

- barriers

A summary.

- kind: exchange-correlation functional
- parent: pbe
- parameters: 7
- seed: 4
- weights: a.safetensors, SHA-256 {SHA}

## Errors

Mean absolute errors.

| set | type | entries | unit | **a** | pbe | blyp |
| --- | --- | --- | --- | --- | --- | --- |
| w4 | ae | 3 | kcal/mol | 2.35 | 14 | - |
| bh | barrier | 2 | kcal/mol | 1 | - | 5.5 |

## Known failures

- stretched bonds

## Out of scope

- metals

## Training

- entries:
  - train: 3
  - test: 1, 2
- config:
  - 0:
    - a: 1
  - 1: 2
- empty: {{}}

## Overlap of training data and tests

- none

## Cost

- seconds: 5

## Versions

- torch: 2

## Form

- type: libxc
- name: pbe
"""
    )


def test_text_of_what_is_not_stated():
    text = card(worse_than_parent=["all"], weights={"parameters": 0}).text()
    assert "**Worse than its parent:**" in text and "(summary not stated)" in text
    assert "parent: none" in text and "seed: not stated" in text and "uncertainty" not in text
    assert text.count("\nnot stated\n") == 7  # all parts but the form


@pytest.mark.parametrize(
    "calibration, shown",
    [
        ({}, "1 x standard deviation of the members (not calibrated)"),
        ({"calibration": 2.0}, "2 x standard deviation of the members (calibrated)"),
        (
            {"calibration": 2.0, "floor": 0.002},
            "2 x standard deviation of the members, 1.26 kcal/mol added in quadrature (calibrated)",
        ),
    ],
)
def test_text_of_an_ensemble(calibration, shown):
    member = {"type": "libxc", "name": "pbe"}
    both = card(form={"type": "ensemble", "members": [member, member], **calibration})
    assert both.members == 2 and card().members == 1
    assert card(form={"type": "hybrid", "members": [1, 2]}).members == 1
    assert "- kind: exchange-correlation functional, ensemble of 2\n" in both.text()
    assert f"- uncertainty: {shown}\n" in both.text()


def test_lists_of_cards():
    member = {"type": "libxc", "name": "pbe"}
    both = card(form={"type": "ensemble", "members": [member, member]}, summary="two | three")
    lines = list_text([card(parent="pbe", summary="one", errors=[], cost={}), both]).splitlines()
    assert lines[:3] == [
        "| name | kind | mean absolute error (of its parent) | CPU time, x PBE | summary |",
        "| --- | --- | --- | --- | --- |",
        "| a | functional | - | - | one |",
    ]
    assert lines[3].startswith("| a | functional x 2 | ") and "| two" in lines[3] and len(lines) == 4


def test_a_list_says_errors_cost_and_where_to_begin():
    errors = [{"set": "w4", "type": "ae", "unit": "kcal/mol", "mae": {"this": 2.25, "PBE": 13.5}}]
    one = card(name="z", parent="pbe", errors=errors, cost={"scf_relative_to_pbe": 2.9})
    best = card(name="nn-hybrid", parent="lda,pw", errors=[{**errors[0], "mae": {"this": 3.5, "LDA": 70}}])
    lines = list_text([one, best]).splitlines()
    assert lines[2].startswith("| nn-hybrid | functional | 3.5 (lda,pw 70) kcal/mol, w4 |")
    assert lines[3].startswith("| z | functional | 2.25 (pbe 13.5) kcal/mol, w4 | 2.9 |")
    assert lines[-1] == "Start with nn-hybrid (energies of molecules)."


def test_the_zoo_has_no_other_names():
    with pytest.raises(AttributeError, match="shelves"):
        _ = zoo.shelves
    assert {"Card", "card", "functional", "load", "names", "save"} <= set(dir(zoo))


def test_a_form_may_take_four_times_its_weights_and_eight_million_numbers():
    import torch

    from deepchem_dft.errors import InputError
    from deepchem_dft.zoo.weights import BoundedTensors

    with BoundedTensors(weights=10):
        torch.empty(2**23 + 38, dtype=torch.int8)
        torch.zeros(2, dtype=torch.int8)  # 40 in all
    with pytest.raises(InputError, match="far larger"), BoundedTensors(weights=10):
        torch.empty(2**23 + 41, dtype=torch.int8)


def test_lists_of_256_are_built_and_no_longer_ones():
    from deepchem_dft.errors import InputError
    from deepchem_dft.zoo.forms import build_form

    layers = [{"type": "activation", "name": "silu"}] * 257
    assert len(build_form({"type": "sequential", "layers": layers[:256]})) == 256
    with pytest.raises(InputError, match="'layers' is too large"):
        build_form({"type": "sequential", "layers": layers})
    assert build_form({"type": "linear", "inputs": 8192, "outputs": 1}).in_features == 8192
    with pytest.raises(InputError, match="'inputs' is too large"):
        build_form({"type": "linear", "inputs": 8193, "outputs": 1})


def test_three_near_names_are_told(tmp_path):
    from deepchem_dft.errors import FunctionalError
    from deepchem_dft.zoo.registry import find

    for name in ("mine-a", "mine-b", "mine-c", "mine-d"):
        (tmp_path / f"{name}.json").write_text("{}")
    with pytest.raises(FunctionalError) as caught:
        find("mine", tmp_path)
    assert str(caught.value).count("'mine-") == 3


def test_what_does_not_fit_is_counted():
    import torch
    from torch import nn

    from deepchem_dft.zoo.weights import fill

    module = nn.Sequential(*(nn.Linear(1, 1) for _ in range(3)))
    full = module.state_dict()
    with pytest.raises(CheckpointError, match="; and 3 more. Remedy"):
        fill(module, {}, "a.safetensors")
    for missing, more in ((3, ""), (4, "; and 1 more")):
        some = dict(list(full.items())[missing:])
        listed = "; ".join(f"'{name}' is not in the file" for name in list(full)[:3])
        with pytest.raises(CheckpointError, match=f"card: {listed}{more}. Remedy"):
            fill(module, some, "a.safetensors")
    with pytest.raises(CheckpointError) as caught:
        fill(module, {**full, "2.weight": torch.zeros(2, 1), "x": torch.zeros(1)}, "a.safetensors")
    assert "'x' has no place in the form; '2.weight' is float32 (2, 1)" in str(caught.value)
    assert "more" not in str(caught.value)


def test_why_weights_cannot_be_read_is_told(tmp_path):
    import hashlib

    from deepchem_dft.zoo.weights import read_weights

    raw = b"\x08" + bytes(7) + b"not json"
    (tmp_path / "a.safetensors").write_bytes(raw)
    with pytest.raises(CheckpointError, match=r"not a safetensors file \(.*[Hh]eader") as caught:
        read_weights(tmp_path / "a.safetensors", hashlib.sha256(raw).hexdigest())
    assert len(str(caught.value)) > 60


def test_weights_of_more_than_sixteen_gibibytes_are_not_read(tmp_path):
    from deepchem_dft.zoo.weights import read_weights

    with open(tmp_path / "a.safetensors", "wb") as stream:
        stream.truncate(2**34 + 1)  # takes no room
    with pytest.raises(CheckpointError, match="too large to be weights"):
        read_weights(tmp_path / "a.safetensors", SHA)
