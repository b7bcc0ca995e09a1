"""Files that are missing, empty, malformed or no text give one error each, and no data set."""

import numpy as np
import pytest

from deepchem_dft.data import DFTYamlLoader, check, read_yaml
from deepchem_dft.errors import InputError

GOOD = "- {e_type: ie, true_val: 0.5, systems: [{moldesc: H 0 0 0, basis: sto-3g, spin: 1}]}\n"
BAD = GOOD.replace("0.5", "x")


def test_missing_file_suggests_a_neighbour(write, tmp_path):
    write(GOOD, "water.yaml")
    with pytest.raises(InputError, match="no such file") as caught:
        read_yaml(str(tmp_path / "watr.yaml"))
    assert caught.value.file.endswith("watr.yaml") and "water.yaml" in caught.value.remedy
    with pytest.raises(InputError, match="no file matches"):
        DFTYamlLoader().create_dataset(str(tmp_path / "*.yml"))
    with pytest.raises(InputError, match="no such file"):
        DFTYamlLoader().create_dataset(str(tmp_path / "none.yaml"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no YAML file"):
        DFTYamlLoader().create_dataset(tmp_path / "empty")
    for wrong in ([], 3, [None], "", "a\0b"):
        with pytest.raises(InputError):
            DFTYamlLoader().create_dataset(wrong)


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "[]", "{}", "---\n", "null"])
def test_empty_file(write, text):
    path = write(text)
    with pytest.raises(InputError, match="empty") as caught:
        read_yaml(path)
    assert caught.value.file == path and caught.value.remedy


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("- e_type: ae\n  systems: [\n", 3),
        ("- e_type: ae\n true_val: 1\n", 2),
        ("- e_type: 'ae\n", 2),
        ("a: 1\na: 2\n", 2),
        ("- {e_type: ie, true_val: 1,\n   true_val: 2}\n", 2),
        ("- a: *nowhere\n", 1),
        ("- !!python/object/apply:os.system ['true']\n", 1),
        ("- ? [1]\n  : 2\n", 1),
        ("- one\n--- \n- two\n", 2),
        ("- a\n\t- b\n", 2),
    ],
)
def test_malformed_yaml_names_the_line(write, text, line):
    path = write(text)
    with pytest.raises(InputError) as caught:
        read_yaml(path)
    assert caught.value.file == path and f"line {line}" in caught.value.problem
    assert [str(p) for p in check(path)] == [str(caught.value)]


@pytest.mark.parametrize(
    "text",
    [
        "&a [*a]",
        "- " * 200 + "x",
        "- !!int abc",
        "- !!float abc",
        "- !!timestamp abc",
        "- !!bool abc",
        "- !!binary '*'",
        "- !!set {a, b}",
        "42",
        "just text",
        "- 1\n- 2\n",
        "- " + "9" * 5000,
        "[" * 3000,
    ],
)
def test_strange_yaml_is_an_input_error(write, text):
    with pytest.raises(InputError):
        read_yaml(write(text))


def test_aliases_cannot_blow_up_the_message(write):
    bomb = "- &a [x, x, x, x, x, x, x, x, x]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True):
        bomb += f"- &{new} [" + ", ".join([f"*{old}"] * 9) + "]\n"
    with pytest.raises(InputError) as caught:
        read_yaml(write(bomb + BAD.replace("x", "*i")))
    assert len(str(caught.value)) < 1000


def test_files_that_are_not_text(tmp_path):
    path = tmp_path / "binary.yaml"
    np.save(path.open("wb"), np.arange(300.0))
    for wrong in (path, tmp_path):
        with pytest.raises(InputError) as caught:
            read_yaml(wrong)
        assert caught.value.file == str(wrong)


def test_a_file_with_an_error_writes_no_data_set(write, tmp_path):
    target = tmp_path / "dataset"
    with pytest.raises(InputError):
        DFTYamlLoader().create_dataset(write(GOOD + BAD), data_dir=str(target))
    assert not target.exists()
