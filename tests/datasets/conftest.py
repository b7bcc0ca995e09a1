"""All data files, read once."""

import csv

import pytest

from deepchem_dft.molnet import datasets_dir
from deepchem_dft.units import HARTREE_TO_KCAL


def kcal(entry) -> float:
    return entry.label * HARTREE_TO_KCAL


def table(name: str) -> list[dict]:
    lines = (datasets_dir() / name).read_text().splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


@pytest.fixture(scope="session")
def files() -> dict:
    """Entries by file stem and entry name."""
    from deepchem_dft.data import read_yaml

    return {
        path.stem: {entry.name: entry for entry in read_yaml(path)}
        for path in sorted(datasets_dir().glob("*.yaml"))
    }


@pytest.fixture(scope="session")
def entries(files: dict) -> list:
    """Every entry of every file."""
    return [entry for group in files.values() for entry in group.values()]
