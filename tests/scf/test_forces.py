"""Nuclear forces against finite differences of the energy and against PySCF."""

from __future__ import annotations

import numpy as np
import pytest

from deepchem_dft.molecule import Molecule
from deepchem_dft.scf import KohnSham


def displaced(molecule: Molecule, atom: int, axis: int, by: float) -> Molecule:
    positions = molecule.positions.copy()
    positions[atom, axis] += by
    return Molecule(
        (molecule.symbols, positions),
        basis=molecule.basis,
        nelec=molecule.nelec,
        grid_level=molecule.grid_level,
    )


@pytest.mark.parametrize(
    ("name", "parent", "family"),
    [
        ("H2O", "lda,pw", "lda"),
        ("H2O", "pbe", "mgga"),
        ("H2O+", "pbe", "gga"),
        ("NO", "b3lyp", "gga"),
        ("H2O", "camb3lyp", "gga"),
        ("HCl", "pbe", "gga"),
    ],
)
def test_forces_are_minus_the_energy_derivative(make, neural, name, parent, family):
    molecule, functional, step = make(name), neural(parent, family), 1e-3
    result = KohnSham(molecule, functional, tol=1e-8).run()
    forces = result.forces().numpy()
    assert np.abs(forces.sum(0)).max() < 1e-9  # translation costs nothing
    for atom, axis in ((0, 2), (1, 2)):
        energies = [
            float(
                KohnSham(displaced(molecule, atom, axis, s * step), functional, tol=1e-8)
                .run(guess=result.state)
                .energy.detach()
            )
            for s in (1, -1, 2, -2)
        ]
        slope = (8 * (energies[0] - energies[1]) - (energies[2] - energies[3])) / (12 * step)
        assert forces[atom, axis] == pytest.approx(-slope, abs=1e-6)


def test_forces_equal_pyscf_with_grid_response(make):
    from pyscf import dft

    molecule = make("H2O")
    result = KohnSham(molecule, "pbe", tol=1e-8).run()
    mole = molecule.pyscf_mol.copy()
    solver = dft.RKS(mole).set(xc="pbe", conv_tol=1e-12, verbose=0)
    solver.grids.level = molecule.grid_level
    solver.kernel()
    gradient = solver.nuc_grad_method()
    gradient.grid_response = True
    assert result.forces().numpy() == pytest.approx(-gradient.kernel(), abs=1e-6)
