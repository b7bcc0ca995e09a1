"""Whatever makes a molecule from another carries everything that belongs to it."""

import copy
import pickle

import numpy as np
import pytest
from pyscf import dft, gto

from deepchem_dft import KohnSham, Molecule
from deepchem_dft.errors import InputError
from deepchem_dft.interop.relaxation import relax

RICH = {
    "basis": {"H": "sto-3g", "I": "def2-svp"},
    "ecp": {"I": "lanl2dz"},
    "grid_level": 0,
    "density_fit": True,
    "name": "mine",
}


def same(one, other):
    names = (
        "symbols",
        "basis",
        "ecp",
        "grid_level",
        "density_fit",
        "name",
        "nelec",
        "charge",
        "spin",
        "occupations",
        "_basis_data",
        "_ecp_data",
    )
    return all(getattr(one, name) == getattr(other, name) for name in names)


@pytest.mark.parametrize(
    "electrons",
    [
        {},
        {"charge": 1, "spin": 1},
        {"charge": -0.3, "spin": 0.7},
        {"nelec": (4.3, 3.1)},
        {"occupations": ((1, 1, 0.5, 0.5), (1, 0.25))},
    ],
)
def test_moved_atoms_change_nothing_else(electrons):
    molecule = Molecule("H 0 0 0; I 0 0 3.1", **RICH, **electrons)
    moved = molecule.at([[0, 0, 0], [0, 0, 3.2]])
    assert same(molecule, moved) and moved.positions[1, 2] == 3.2
    assert moved.at(molecule.positions).key == molecule.key
    assert copy.deepcopy(molecule).key == pickle.loads(pickle.dumps(molecule)).key == molecule.key


def test_what_is_asked_for_changes():
    molecule = Molecule("H 0 0 0; I 0 0 3.1", **RICH, charge=1, spin=1)
    assert molecule.replace(charge=0, spin=0).nelec == (4, 4)
    assert molecule.replace(spin=3).nelec == (5, 2)
    assert molecule.replace(nelec=(2.5, 1)).charge == 4.5
    # The core is another then; the charge is what is meant to stay.
    assert molecule.replace(ecp="def2-svp").nelec == (13, 12)
    assert molecule.replace(basis="sto-3g", ecp=None).nelec == (27, 26)
    assert (
        molecule.replace(geometry="H 0 0 0; F 0 0 0.9", unit="angstrom", basis="sto-3g", ecp=None).charge == 1
    )
    for wrong in ({"bases": "sto-3g"}, {"unit": "angstrom"}):
        with pytest.raises(InputError, match="to be replaced"):
            molecule.replace(**wrong)


@pytest.mark.parametrize("optimizer", ["bfgs", "geometric"])
def test_relaxing_keeps_the_core_potential(optimizer):
    if optimizer == "geometric":
        pytest.importorskip("geometric")
    start = Molecule("H 0 0 0; I 0 0 3.25", "def2-svp", ecp="lanl2dz", grid_level=0, name="mine")
    assert start.nelec == (4, 4)
    found = relax(start, "lda,vwn", optimizer, fmax=3e-3)
    assert found.converged and found.molecule.nelec == (4, 4) and found.molecule.name == "mine"
    mole = gto.M(
        atom=[("H", found.molecule.positions[0]), ("I", found.molecule.positions[1])],
        unit="bohr",
        basis="def2-svp",
        ecp={"I": "lanl2dz"},
        verbose=0,
    )
    reference = dft.RKS(mole, xc="lda,vwn")
    reference.grids.level = 0
    energy = reference.kernel()
    assert float(found.result.energy) == pytest.approx(energy, abs=1e-6)
    assert found.steps[-1].energy == pytest.approx(energy, abs=1e-5)


def test_forces_of_a_moved_molecule_are_slopes_of_its_energy():
    molecule = Molecule("H 0 0 0; I 0 0 3.25", "def2-svp", ecp="lanl2dz", grid_level=0)
    step = np.array([[0, 0, 0], [0, 0, 1e-3]])
    energies = [
        float(KohnSham(molecule.at(molecule.positions + s * step), "lda,vwn", tol=1e-8).run().energy)
        for s in (1, -1)
    ]
    force = float(KohnSham(molecule, "lda,vwn", tol=1e-8).run().forces()[1, 2])
    assert force == pytest.approx(-(energies[0] - energies[1]) / 2e-3, abs=1e-5)
