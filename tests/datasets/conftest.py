"""All data files, read once."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def files() -> dict:
    """Entries by file stem and entry name."""
    from deepchem_dft.data import read_yaml
    from deepchem_dft.molnet import datasets_dir

    return {
        path.stem: {entry.name: entry for entry in read_yaml(path)}
        for path in sorted(datasets_dir().glob("*.yaml"))
    }


@pytest.fixture(scope="session")
def entries(files: dict) -> list:
    """Every entry of every file."""
    return [entry for group in files.values() for entry in group.values()]
