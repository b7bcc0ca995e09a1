"""A small zoo of untrained but not trivial functionals."""

from pathlib import Path

import pytest
import torch

from deepchem_dft import zoo
from deepchem_dft.xc import HybridXC, build_network
from deepchem_dft.xc.ensemble import EnsembleXC


def network(seed: int = 0, family: str = "gga", **options):
    """Return a small network that does not return zero."""
    options = {"hidden": [4], "output": "lda_exchange", "max_output": 0.2, **options}
    return build_network(family=family, zero_last=False, seed=seed, **options)


def hybrid(seed: int = 0, **options) -> HybridXC:
    """Return PBE0-like functional with a learned correction."""
    return HybridXC("pbe", network(seed), aweight0=0.3, exchange=0.1, train_b=False, **options)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    """A folder that is the whole zoo: ``small``, and ``three``, an ensemble."""
    monkeypatch.setattr("deepchem_dft.zoo.registry.SHIPPED", tmp_path / "none")
    with torch.no_grad():
        zoo.save(hybrid(1), tmp_path / "small.safetensors", summary="a small hybrid", parent="pbe")
        zoo.save(EnsembleXC([hybrid(seed) for seed in (1, 2, 3)]), tmp_path / "three.safetensors")
    monkeypatch.setenv("DEEPCHEM_DFT_ZOO", str(tmp_path))
    return tmp_path
