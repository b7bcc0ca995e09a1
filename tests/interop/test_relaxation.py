"""Relaxation: the same minimum by both optimisers, nothing left behind by geomeTRIC."""

import importlib.util
import logging

import numpy as np
import pytest

from deepchem_dft import KohnSham, Molecule
from deepchem_dft.errors import InputError, SCFNotConverged
from deepchem_dft.interop.coordinates import Coordinate
from deepchem_dft.interop.relaxation import OPTIMIZERS, largest, relax, relaxed_scan
from deepchem_dft.units import BOHR_TO_ANGSTROM
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


@pytest.mark.skipif("geometric" in MISSING, reason="geomeTRIC is not installed")
class TestGeomeTRICAlone:
    """What is held keeps its value, and what is not has no force left."""

    def test_constraints(self):
        start = Molecule(WATER, "sto-3g", grid_level=1)
        held = ["distance 1 2 = 1.1", "angle 2 1 3"]
        found = relax(start, "lda", "geometric", constraints=held)
        assert found.converged
        o, h, other = found.molecule.positions * BOHR_TO_ANGSTROM
        assert np.linalg.norm(o - h) == pytest.approx(1.1, abs=1e-3)
        bend = [
            np.degrees(np.arccos((a - c) @ (b - c) / np.linalg.norm(a - c) / np.linalg.norm(b - c)))
            for c, a, b in (found.molecule.positions, start.positions)
        ]
        assert bend[0] == pytest.approx(bend[1], abs=0.1)
        # along the free bond nothing pulls, along the held one a stretched bond does
        forces = found.result.forces().numpy()
        free, stretched = (v / np.linalg.norm(v) for v in (other - o, h - o))
        assert abs(forces[2] @ free) < 5e-4 and forces[1] @ stretched < -0.02

    def test_a_scan_goes_through_the_values(self):
        molecule, seen = Molecule("H 0 0 0; F 0 0 1.8", "sto-3g", grid_level=0), []
        found = relaxed_scan(
            molecule,
            "lda",
            "distance 1 2",
            [0.9, 1.2],
            on_point=lambda value, done: seen.append((value, done)),
        )
        assert seen == [(0.9, 1), (1.2, 2)]
        for (coordinate, relaxed), value in zip(found, (0.9, 1.2)):
            bond = Molecule(f"H 0 0 0; F 0 0 {value}", "sto-3g", unit="angstrom", grid_level=0)
            assert coordinate.target == value and coordinate.unit == "angstrom"
            energy = KohnSham(bond, "lda").run().energy.item()
            assert relaxed.result.energy.item() == pytest.approx(energy, abs=1e-4)

    def test_ammonia_turns_inside_out_through_a_plane(self):
        start = Molecule("N 0 0 0.3; H 0 1.9 0; H 1.64 -0.95 0; H -1.64 -0.95 0", "sto-3g")
        found = relax(start, "lda", "geometric", transition_state=True)
        assert found.converged and found.result.energy > found.steps[0].energy
        nitrogen, *hydrogens = found.molecule.positions
        across = np.cross(hydrogens[1] - hydrogens[0], hydrogens[2] - hydrogens[0])
        assert abs((nitrogen - hydrogens[0]) @ across) / np.linalg.norm(across) < 0.02

    def test_others_are_refused(self):
        molecule = Molecule(WATER, "sto-3g", grid_level=0)
        with pytest.raises(InputError, match="geomeTRIC"):
            relax(molecule, "lda", constraints=["distance 1 2"])
        for text in (
            "distance 1",
            "distance 1 4",
            "angle 1 1 2",
            "bond 1 2",
            "distance 1 2 = x",
            "atom 1 = 2",
        ):
            with pytest.raises(InputError, match="constraint"):
                relax(molecule, "lda", "geometric", constraints=[text])
        with pytest.raises(InputError, match="distance"):
            relax(molecule, "lda", "geometric", constraints=["distance 1 2 = -1"])


def test_coordinates_are_those_of_ase():
    ase = pytest.importorskip("ase")
    where = np.random.default_rng(3).normal(size=(4, 3))
    atoms = ase.Atoms("H4", where * BOHR_TO_ANGSTROM)
    assert Coordinate("distance", (1, 3)).value(where) == pytest.approx(atoms.get_distance(0, 2))
    assert Coordinate("angle", (4, 1, 3)).value(where) == pytest.approx(atoms.get_angle(3, 0, 2))
    turn = Coordinate("dihedral", (1, 2, 3, 4)).value(where)
    assert turn % 360 == pytest.approx(atoms.get_dihedral(0, 1, 2, 3))
