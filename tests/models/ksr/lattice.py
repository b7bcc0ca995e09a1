"""Small systems on a line with made-up states, and quick models of them."""

import deepchem as dc
import numpy as np

from deepchem_dft import KSRModel
from deepchem_dft.lattice.exact.state import ExactState
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.lattice.step import Molecules

GRID = Grid(121, 0.2)


def state_of(system, grid):
    """A state that some functional could have: of the right form, not exact."""
    density = Molecules.of([system], grid).atoms()[0].numpy()
    energy = -1.05 * system.electrons + 0.04 * abs(system.positions[0])
    return ExactState(system, grid, energy, np.repeat(density / 2, 2, 0))


def dataset_of(*systems, grid=GRID):
    states = np.empty(len(systems), dtype=object)
    states[:] = [state_of(system, grid) for system in systems]
    y = np.array([[s.energy] for s in states])
    return dc.data.NumpyDataset(states, y, ids=[s.system.name for s in states])


def model_of(functional="gradient", **options):
    """A quick model: few iterations, small networks."""
    defaults = {"grid": GRID, "iterations": 4, "skip": 2, "seed": 1}
    if isinstance(functional, str) and functional != "uniform-gas":
        defaults["functional_options"] = {"hidden": (6, 6), "windows": 3}
    return KSRModel(functional, **{**defaults, **options})
