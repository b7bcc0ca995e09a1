"""Files in all three schemas, small enough to read in milliseconds."""

import textwrap
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent / "examples"


@pytest.fixture
def write(tmp_path):
    """Return a function that writes YAML text to a file and returns its path."""

    def write_file(text: str, name: str = "data.yaml") -> str:
        path = tmp_path / name
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return str(path)

    return write_file


@pytest.fixture
def deepchem_file():
    """Four entries in DeepChem's schema: LiH, N, BeH2, H."""
    return str(EXAMPLES / "deepchem.yaml")


@pytest.fixture
def xcnn_file():
    """Five entries in xcnn's schema, two of them CCSD targets."""
    return str(EXAMPLES / "xcnn.yaml")


@pytest.fixture
def native_file():
    """Seven entries in the package's own schema, one of each kind but dm."""
    return str(EXAMPLES / "native.yaml")


@pytest.fixture
def all_files(deepchem_file, xcnn_file, native_file):
    """One valid file per schema."""
    return [deepchem_file, xcnn_file, native_file]
