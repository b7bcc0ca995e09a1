"""Small samples with matrices that PySCF gives at once: no self-consistent field."""

from dataclasses import replace

import numpy as np
import pytest

from deepchem_dft.hamiltonian.reference import Reference
from deepchem_dft.hamiltonian.sample import HamiltonianSample

#: H to F and the third row, two molecules of an even number of electrons, Bohr.
GEOMETRIES = {
    "HHeBeB": ([1, 2, 4, 5], [[0, 0, 0.2], [0, 2.5, 0], [2.4, 0.3, 0], [0.1, 0.2, 3.0]]),
    "LiCNOF": (
        [3, 6, 7, 8, 9, 1],
        [[0, 0, 0.1], [2.9, 0.3, 0], [0, 3.1, 0], [0.3, 0.1, 3.3], [3, 3, 0.2], [-2.0, 0.1, 0]],
    ),
    "NaAlS": ([11, 13, 16], [[0, 0, 0.3], [4.1, 0.2, 0], [0, 4.4, 0.3]]),
    "MgSiPClAr": (
        [12, 14, 15, 17, 18],
        [[0.1, 0, 0.3], [4.1, 0.2, 0], [0, 4.4, 0.3], [0.2, 0, 4.5], [4.6, 4.3, 0.1]],
    ),
    "water": ([8, 1, 1], [[0, 0.1, 0], [0.2, 1.4, 1.1], [0, -1.4, 1.2]]),
}


def made(name: str, basis: str = "def2-svp", shift: float = 0.0) -> HamiltonianSample:
    """A sample whose "Hamiltonian" is T + V of PySCF, and whose energy and forces are invented."""
    numbers, positions = GEOMETRIES[name]
    bare = HamiltonianSample(
        numbers, np.array(positions) + shift, basis, xc="pbe", name=name, charge=sum(numbers) % 2
    )
    reference = Reference(bare)
    forces = np.random.default_rng(len(name)).normal(size=bare.positions.shape)
    return replace(
        bare,
        hamiltonian=reference.core,
        overlap=reference.overlap,
        energy=-sum(numbers) - 0.25,
        forces=forces,
        charge=0,
    )


@pytest.fixture(scope="session")
def samples() -> list[HamiltonianSample]:
    """One sample of each molecule."""
    return [made(name) for name in GEOMETRIES]
