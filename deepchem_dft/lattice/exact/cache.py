"""Exact states kept on disk, in the folder of the cached integrals."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np

from deepchem_dft.lattice.exact.state import ExactState
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.lattice.systems import System
from deepchem_dft.molecule import cache

#: Raised whenever the methods change what comes out.
_VERSION = 1
_PART = "exact"


def load(system: System, grid: Grid, orbitals: int) -> ExactState | None:
    """Return the state if it is there. A damaged file counts as absent, with a warning."""
    arrays = cache.load(_key(system, grid, orbitals), _PART)
    if arrays is None:
        return None
    return ExactState(
        system,
        grid,
        float(arrays["energy"]),
        arrays["spin_density"],
        str(arrays["method"]),
        orbitals if system.electrons > 2 else None,
    )


def store(state: ExactState) -> None:
    """Keep a state; a failure to write is a warning."""
    cache.store(
        _key(state.system, state.grid, state.orbitals or 0),
        _PART,
        {
            "energy": np.array(state.energy),
            "spin_density": state.spin_density,
            "method": np.array(state.method),
        },
    )


def _key(system: System, grid: Grid, orbitals: int) -> str:
    return cache.content_key(
        {
            "kind": "lattice",
            "version": _VERSION,
            "grid": astuple(grid),
            "positions": system.positions,
            "charges": system.charges,
            "electrons": system.electrons,
            "spin": system.spin,
            "orbitals": orbitals if system.electrons > 2 else 0,
        }
    )
