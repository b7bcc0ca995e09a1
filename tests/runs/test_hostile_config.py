"""Configurations of a stranger: an InputError, nothing executed, nothing without end."""

import math
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
import yaml

from deepchem_dft.errors import InputError
from deepchem_dft.runs import load_config
from deepchem_dft.runs.config import dump_yaml, validate
from deepchem_dft.runs.deq.schema import PropertyRunConfig
from deepchem_dft.runs.hamiltonian.schema import HamiltonianRunConfig
from deepchem_dft.runs.kinds import KINDS
from deepchem_dft.runs.ksr.schema import LatticeRunConfig
from deepchem_dft.runs.section import Section
from deepchem_dft.runs.xc.schema import RunConfig

#: The least that each kind of run needs.
LEAST: dict[type[Section], dict[str, Any]] = {
    RunConfig: {"data": {"train": ["w4-11:train"]}},
    LatticeRunConfig: {"model": "ksr", "data": {"train": ["h2"]}},
    HamiltonianRunConfig: {"model": "hamiltonian", "data": {"train": ["water.h5"]}},
    PropertyRunConfig: {"model": "deq"},
}


def numeric_fields(annotation: Any, path: tuple = ()) -> list[tuple[tuple, type]]:
    """Return the places below a type that hold numbers, with int or float."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if annotation in (int, float):
        return [(path, annotation)]
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [
            found
            for name, field in annotation.model_fields.items()
            for found in numeric_fields(field.annotation, (*path, name))
        ]
    if origin is Annotated:
        return numeric_fields(parts[0], path)
    if origin in (Union, types.UnionType):
        return [found for part in parts for found in numeric_fields(part, path)]
    if origin is list:
        return numeric_fields(parts[0], (*path, 0))
    if origin is dict:
        name = get_args(parts[0])[0] if get_origin(parts[0]) is Literal else "key"
        return numeric_fields(parts[1], (*path, name))
    return []


def placed(content: dict, path: tuple, value: Any) -> dict:
    """Return a copy of a configuration with a value at a place, sections made on the way."""
    node = result = yaml.safe_load(yaml.safe_dump(content))
    for part, following in zip(path, path[1:]):
        fresh: Any = [{}] if following == 0 else {}
        if isinstance(node, list):
            if not isinstance(node[part], (dict, list)):
                node[part] = (
                    {"file": "a.yaml"}
                    if content is LEAST[RunConfig]
                    else ({"file": "w.h5"} if content is LEAST[HamiltonianRunConfig] else {"family": "h2"})
                )
            node = node[part]
        else:
            node = node.setdefault(part, fresh)
    node[path[-1]] = value
    return result


FIELDS = [(schema, path) for schema in LEAST for path, _ in numeric_fields(schema)]


def test_there_are_as_many_numbers_as_one_would_think():
    assert len(FIELDS) > 120 and {kind.schema for kind in KINDS.values()} == set(LEAST)
    assert (LatticeRunConfig, ("data", "train", 0, "distances", 0)) in FIELDS
    assert (RunConfig, ("training", "type_weights", "energy")) in FIELDS


@pytest.mark.parametrize(
    "value", [math.inf, -math.inf, math.nan, 1e30, -1e30, 10**30, 10**399, True, "1" * 5000], ids=str
)
def test_every_number_has_bounds(value):
    accepted = []
    for schema, path in FIELDS:
        try:
            validate(placed(LEAST[schema], path, value))
        except InputError as error:
            # The field is named; a union of list and number names the list.
            assert str(error.field).split(".")[0] == path[0] and len(str(error)) < 600
        else:
            accepted.append(".".join(map(str, path)))
    assert not accepted


@pytest.mark.parametrize(
    "override",
    [
        "functional.exchange=-5",
        "functional.exchange=1.5",
        "training.learning_rate=.inf",
        "training.stages.0.repeat=1000000000",
        "functional.network.hidden=[1000000000]",
        "functional.network.hidden=[8000, 8000]",
        "training.threads=1000000000",
        "training.epochs=true",
        "evaluation.processes=1e9",
        "training.epochs=" + "9" * 5000,
        "training.epochs=" + "[" * 900,
        "training.epochs=!!int banana",
        "training.epochs=2020-13-45",
        "name={a: 1, a: 2}",
        "training.epochs=!!python/object/apply:os.getcwd []",
        "training.epochs=!!timestamp 2020-13-45",
        "training.stages.²=1",
        "training..epochs=1",
        "training.stages." + "9" * 5000 + "=1",
        "name='../x'",
        'name="a\\n"',
        "name='" + "a" * 101 + "'",
        'data.basis="\\0"',
        'data.train=["\\e[2J:train"]',
        "card.name='../victim'",
        "model=[1]",
        "data.train.0.file='a\\0.yaml'".replace("'", '"'),
        "description=" + "a" * 20_000,
        'baselines={"\\e]0;x\\a": pbe}',
    ],
)
def test_hostile_overrides(tiny, override):
    with pytest.raises(InputError) as caught:
        load_config(tiny, [override])
    assert len(str(caught.value)) < 600


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join(['*' + old] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi")
)
MERGES = "a: &a {k: 1}\n" + "".join(
    f"{new}: &{new} {{<<: [{', '.join(['*' + old] * 9)}]}}\n" for old, new in zip("abcdefgh", "bcdefghi")
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{i + 1}: &a{i + 1} [*a{i}]\n" for i in range(2000))


@pytest.mark.parametrize(
    "text, words",
    [
        ("name: a\nname: b\n", "twice"),
        ("training: {epochs: 1, epochs: 2}\n", "twice"),
        ("training: {epochs: !!int banana}\n", "tags"),
        ("name: !!timestamp 2020-13-45\n", "tag"),
        ("name: !!binary aGFsbG8=\n", "tag"),
        ("name: !!set {a, b}\n", "tag"),
        ("name: !!python/object/apply:os.system ['touch PLANTED']\n", "tag"),
        ("training: {epochs: " + "9" * 5000 + "}\n", "digits"),
        ("name: " + "[" * 900, "nested"),
        ("name: " + "{a: " * 900, "nested"),
        ("- " * 50_000 + "x", "nested"),
        ("model: [1]\n", "no model"),
        ("model: {a: 1}\n", "no model"),
        ("model: .nan\n", "no model"),
        ("data: &d {train: *d}\n", "itself|alias"),
        (BOMB, "multiply"),
        (MERGES, "multiply"),
        (CHAIN, "nest"),
        ("? [a, b]\n: 1\n", "plain text"),
        ('name: "a\0b"\n', "YAML"),
        ("%YAML 9.9\n---\nname: x\n", "YAML"),
        ("name: a\n---\nname: b\n", "YAML"),
        ("<<: 5\n", "YAML"),
        ("1: {2: 3}\n", "unknown key"),
        ("data: {train: ['a\\ud800']}\n".replace("'", '"'), "YAML|control"),
        ("- a\n", "a list"),
        ("5\n", "int"),
        ("", "empty"),
        ("# nothing\n", "empty"),
    ],
)
def test_hostile_text(tmp_path, monkeypatch, text, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        load_config(tmp_path / "run.yaml")
    assert str(tmp_path / "run.yaml") in str(caught.value) and len(str(caught.value)) < 600
    assert [p.name for p in tmp_path.iterdir()] == ["run.yaml"]


@pytest.mark.parametrize(
    "raw, words",
    [
        (b"\xff\xfe\x00n\x00", "UTF-8"),
        (b"name: \x80\n", "UTF-8"),
        (b"#" * (2 << 20), "larger than 1 MiB"),
        (b"\x00" * 100, "YAML"),
    ],
)
def test_hostile_bytes(tmp_path, raw, words):
    (tmp_path / "run.yaml").write_bytes(raw)
    with pytest.raises(InputError, match=words):
        load_config(tmp_path / "run.yaml")


@pytest.mark.parametrize("path", ["a\0.yaml", "", "x" * 5000, "/", "\udcff.yaml"])
def test_hostile_path(path):
    with pytest.raises(InputError):
        load_config(path)


def test_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "run.yaml").write_bytes(b"\xef\xbb\xbfdata: {train: [w4-11]}\n")
    assert load_config(tmp_path / "run.yaml").data.train[0].dataset == "w4-11"


def test_yaml_is_that_of_the_data_files(tmp_path):
    """NO is a molecule, 1e-3 a number, 010 ten: as in the files that the configuration names."""
    (tmp_path / "run.yaml").write_text(
        "data: {train: [{dataset: w4-11, names: [NO, y]}]}\ntraining: {learning_rate: 1e-4, epochs: 010}\n"
    )
    config = load_config(tmp_path / "run.yaml")
    assert config.data.train[0].names == ["NO", "y"]
    assert (config.training.learning_rate, config.training.epochs) == (1e-4, 10)


def test_text_that_looks_like_a_number_is_stored_as_text(tmp_path):
    config = validate(
        {
            "data": {"train": [{"dataset": "w4-11", "names": ["1e5", "010", "NO", "~"]}], "basis": "1e5"},
            "description": "1e-3",
        }
    )
    (tmp_path / "config.yaml").write_text(dump_yaml(config))
    assert load_config(tmp_path / "config.yaml") == config
