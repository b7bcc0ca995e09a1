"""Mutated valid files: the outcome is entries or an InputError, never anything else."""

import copy
import tempfile
import warnings
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from deepchem_dft.data import DFTEntry, check, read_yaml
from deepchem_dft.errors import InputError

TEXTS = [path.read_text() for path in sorted((Path(__file__).parent / "examples").glob("*.yaml"))]
# Plain YAML 1.1 would turn the molecule NO into a boolean; quoting it leaves the data the same.
DOCUMENTS = [yaml.safe_load(text.replace("NO:", "'NO':").replace(": NO\n", ": 'NO'\n")) for text in TEXTS]

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 12),
    st.integers(),
    st.floats(),
    st.sampled_from(
        [
            "",
            "0",
            "-1",
            "1e400",
            "nan",
            "H 0 0 0",
            "ccsd",
            "sto-3g",
            "auto",
            "H",
            "No",
            "1 eV",
            "dens",
            "reaction",
            "energy(systems[0])",
            "gth-dzvp",
            "/",
            ".",
            "~",
            "O 0 0 0; O 0 0 0",
            "conftest.py",
            "a\0b",
            "2\nH 0 0 0",
            "unc-",
            "@",
            "x@y",
        ]
    ),
    st.text(max_size=12),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.text(max_size=6), st.integers(0, 3)), inner, max_size=3),
    ),
    max_leaves=5,
)


def places(node: Any, path: tuple = ()) -> list[tuple]:
    """Return the paths of all items of a document."""
    out = []
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, child in items:
        out.append((*path, key))
        if isinstance(child, (dict, list)):
            out += places(child, (*path, key))
    return out


def parent_of(document: Any, path: tuple) -> Any:
    for key in path[:-1]:
        document = document[key]
    return document


@st.composite
def mutated(draw) -> Any:
    """Draw a valid document with one to three mutations."""
    document = copy.deepcopy(draw(st.sampled_from(DOCUMENTS)))
    for _ in range(draw(st.integers(1, 3))):
        options = places(document)
        if not options:
            break
        path = draw(st.sampled_from(options))
        parent, key = parent_of(document, path), path[-1]
        action = draw(st.sampled_from(["replace", "delete", "rename", "move", "insert"]))
        if action == "replace":
            parent[key] = draw(VALUES)
        elif action == "delete":
            del parent[key]
        elif action == "insert" and isinstance(parent, list):
            parent.insert(key, draw(VALUES))
        elif action == "insert":
            parent[draw(st.text(max_size=6))] = draw(VALUES)
        elif action == "move":
            other = draw(st.sampled_from(options))
            parent[key] = copy.deepcopy(parent_of(document, other)[other[-1]])
        elif isinstance(parent, dict):
            new = draw(st.one_of(st.text(max_size=6), st.sampled_from([f"{key}s", str(key)[1:]])))
            parent[new] = parent.pop(key)
    return document


def outcome(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "mutated.yaml"
        path.write_bytes(content)
        try:
            entries = read_yaml(path)
        except InputError as error:
            assert error.file == str(path), str(error)
            assert error.remedy and error.field and len(str(error)) < 3000, str(error)
            problems = check(path)
            assert str(problems[0]) == str(error)
        else:
            assert entries and all(isinstance(entry, DFTEntry) for entry in entries)
            assert all(entry.coefficients or not entry.is_energy for entry in entries)
            assert len({entry.name for entry in entries}) == len(entries)
            assert check(path) == []


@settings(max_examples=200)
@given(document=mutated())
def test_mutated_structure(document):
    outcome(yaml.safe_dump(document, allow_unicode=True).encode())


@settings(max_examples=150)
@given(data=st.data(), text=st.sampled_from(TEXTS))
def test_mutated_text(data, text):
    """Cut, repeat and overwrite pieces of the text itself."""
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, max(0, len(text) - 1)))
        stop = data.draw(st.integers(start, min(len(text), start + 20)))
        piece = data.draw(
            st.one_of(
                st.just(""),
                st.just(text[start:stop] * 2),
                st.text(max_size=5),
                st.sampled_from(list("-:[]{}&*!|>'\"%@`#,\t\n?")),
            )
        )
        text = text[:start] + piece + text[stop:]
    outcome(text.encode("utf-8", "surrogatepass"))


@settings(max_examples=100)
@given(content=st.binary(max_size=60))
def test_arbitrary_bytes(content):
    outcome(content)
