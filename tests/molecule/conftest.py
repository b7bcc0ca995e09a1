"""Water, and a clean slate: what one test keeps in memory must not help the next."""

import weakref

import pytest

from deepchem_dft.molecule import Molecule, constants

WATER = "O 0 0 0.2217; H 0 1.4309 -0.8867; H 0 -1.4309 -0.8867"


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    """Return a function after which new molecules share nothing with those made before."""

    def forget():
        monkeypatch.setattr(constants, "_SHARED", weakref.WeakValueDictionary())

    forget()
    return forget


@pytest.fixture
def water():
    return Molecule(WATER, basis="6-31g", grid_level=1)
