"""Hydrogen molecules on a line."""

import pytest

from deepchem_dft.lattice.systems import h2

from .lattice import dataset_of


@pytest.fixture(scope="module")
def two():
    """Two hydrogen molecules on a line."""
    return dataset_of(h2(1.28), h2(3.84))


@pytest.fixture(scope="module")
def others():
    """Two more, for validation."""
    return dataset_of(h2(2.4), h2(4.8))
