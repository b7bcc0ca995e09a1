"""Relaxation: the same minimum by both optimisers, nothing left behind by geomeTRIC."""

from __future__ import annotations

import importlib.util
import logging

import numpy as np
import pytest

from deepchem_dft import KohnSham, Molecule
from deepchem_dft.errors import InputError, SCFNotConverged
from deepchem_dft.interop.relaxation import OPTIMIZERS, largest, relax
from deepchem_dft.xc.ensemble import EnsembleXC

MISSING = [name for name, (package, _) in OPTIMIZERS.items() if importlib.util.find_spec(package) is None]
WATER = "O 0 0 0.2; H 0 1.5 -0.9; H 0 -1.4 -0.95"
NH = "N 0 0 0; H 0 0 2.5"


def optimizers() -> list:
    return [
        pytest.param(
            name, marks=pytest.mark.skipif(name in MISSING, reason=f"{OPTIMIZERS[name][0]} is not installed")
        )
        for name in OPTIMIZERS
    ]


@pytest.mark.parametrize("optimizer", optimizers())
@pytest.mark.parametrize("geometry, spin", [(WATER, 0), (NH, 2)], ids=["water", "NH"])
def test_ends_where_forces_vanish(optimizer, geometry, spin, capfd, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    start, seen = Molecule(geometry, "sto-3g", spin=spin, grid_level=1), []
    where = start.positions.copy()
    found = relax(start, "pbe", optimizer, on_step=seen.append)
    assert found.converged and found.steps == seen and len(seen) > 2
    forces = KohnSham(found.molecule, "pbe").run().forces().numpy()
    assert largest(forces) < 4.5e-4
    assert seen[-1].force == pytest.approx(largest(forces), abs=5e-5)
    assert seen[-1].energy == pytest.approx(found.result.energy.item(), abs=1e-6)
    assert seen[-1].energy < seen[0].energy - 1e-3 and seen[-1].uncertainty is None
    assert (found.molecule.spin, found.molecule.grid_level) == (spin, 1)
    np.testing.assert_array_equal(start.positions, where)
    assert capfd.readouterr() == ("", "") and list(tmp_path.iterdir()) == []
    assert (root.level, root.handlers) == before


@pytest.mark.skipif(bool(MISSING), reason=f"{MISSING} not installed")
def test_both_find_the_same_minimum():
    energies = [
        relax(Molecule(WATER, "sto-3g", grid_level=1), "pbe", name).result.energy.item()
        for name in OPTIMIZERS
    ]
    assert energies[0] == pytest.approx(energies[1], abs=2e-6)


@pytest.mark.parametrize("optimizer", optimizers())
def test_too_few_steps_and_too_few_iterations(optimizer, monkeypatch):
    found = relax(Molecule(WATER, "sto-3g", grid_level=0), EnsembleXC(["lda", "pbe"]), optimizer, max_steps=1)
    assert not found.converged and len(found.steps) == 2
    assert (found.steps[0].uncertainty is None) == (optimizer == "geometric")
    from pyscf import dft

    monkeypatch.setattr(dft.rks.RKS, "max_cycle", 1)
    usual = KohnSham.run
    monkeypatch.setattr(
        KohnSham, "run", lambda self, **k: usual(KohnSham(self.molecule, self.xc, max_iter=1, tol=1e-14), **k)
    )
    with pytest.raises(SCFNotConverged, match="at geometry 0"):
        relax(Molecule(WATER, "sto-3g", grid_level=0), "pbe", optimizer)


def test_fractional_electrons_are_refused():
    molecule = Molecule("H 0 0 0; H 0 0 2.0", "sto-3g", nelec=(0.5, 0.5), grid_level=0)
    for optimizer in OPTIMIZERS.keys() - MISSING:
        with pytest.raises(InputError, match="only whole electrons"):
            relax(molecule, "pbe", optimizer)
