"""Functionals and molecules shared by the self-consistent-field tests."""

import pytest
import torch

from deepchem_dft.molecule import Molecule
from deepchem_dft.scf import KohnSham
from deepchem_dft.xc import HybridXC, build_network

#: name: (geometry in Angstrom, charge, spin)
SYSTEMS = {
    "H": ("H 0 0 0", 0, 1),
    "He": ("He 0 0 0", 0, 0),
    "LiH": ("Li 0 0 0; H 0 0 1.596", 0, 0),
    "N": ("N 0 0 0", 0, 3),
    "O": ("O 0 0 0", 0, 2),
    "F-": ("F 0 0 0", -1, 0),
    "OH-": ("O 0 0 0; H 0 0 0.964", -1, 0),
    "H2O": ("O 0 0 0.1173; H 0 0.7572 -0.4692; H 0 -0.7572 -0.4692", 0, 0),
    "NH4+": ("N 0 0 0; H .59 .59 .59; H .59 -.59 -.59; H -.59 .59 -.59; H -.59 -.59 .59", 1, 0),
    "NO": ("N 0 0 0; O 0 0 1.154", 0, 1),
    "CH2": ("C 0 0 0.1; H 0 0.99 -0.3; H 0 -0.99 -0.3", 0, 2),
    "HCl": ("Cl 0 0 0; H 0 0 1.275", 0, 0),
    "PH3": ("P 0 0 0.13; H 1.19 0 -0.64; H -0.595 1.031 -0.64; H -0.595 -1.031 -0.64", 0, 0),
    "SO2": ("S 0 0 0.36; O 0 1.24 -0.36; O 0 -1.24 -0.36", 0, 0),
    "H2O+": ("O 0 0 0.1173; H 0 0.7572 -0.4692; H 0 -0.7572 -0.4692", 1, 1),
    "Cr": ("Cr 0 0 0", 0, 6),
    "HF...Ne": ("H 0 0 0; F 0 0 0.92; Ne 0 0 4.92", 0, 0),
}


@pytest.fixture
def make():
    """Return a function: system name to Molecule."""

    def build(name: str, basis: str = "6-31g*", grid_level: int = 1, **options) -> Molecule:
        geometry, charge, spin = SYSTEMS[name]
        return Molecule(
            geometry,
            basis=basis,
            charge=charge,
            spin=spin,
            unit="angstrom",
            grid_level=grid_level,
            name=name,
            **options,
        )

    return build


@pytest.fixture
def neural():
    """Return a function: parent and family to a functional with a random, non-zero network."""

    def build(parent: str = "pbe", family: str = "gga", seed: int = 1, **options) -> HybridXC:
        network = build_network(family=family, hidden=(8, 8), zero_last=False, seed=seed)
        return HybridXC(parent, network, aweight0=0.3, family=family, **options)

    return build


@pytest.fixture
def directional():
    """Finite-difference derivative of functions of a solution along one parameter direction."""

    def derivative(functional, solve, measures, direction, step):
        parameters = list(functional.parameters())
        values = []
        for factor in (1, -1, 2, -2):
            with torch.no_grad():
                for p, d in zip(parameters, direction, strict=True):
                    p += factor * step * d
                result = solve()
                values.append([m(result).item() for m in measures])
                for p, d in zip(parameters, direction, strict=True):
                    p -= factor * step * d
        v = torch.tensor(values, dtype=torch.float64)
        return (8 * (v[0] - v[1]) - (v[2] - v[3])) / (12 * step)

    return derivative


@pytest.fixture
def check_forces():
    """Compare forces with five-point differences of the energy at some (atom, axis), and their sum with 0."""

    def check(molecule, xc, places=((0, 2), (1, 2)), step=1e-3, tol=1e-8, within=1e-6, at_rest=1e-8):
        result = KohnSham(molecule, xc, tol=tol).run()
        forces = result.forces()
        assert forces.sum(0).abs().max() < at_rest  # translation costs nothing
        for atom, axis in places:
            energies = []
            for sign in (1, -1, 2, -2):
                positions = molecule.positions.copy()
                positions[atom, axis] += sign * step
                moved = KohnSham(molecule.at(positions), xc, tol=tol).run(guess=result.state)
                energies.append(moved.energy.item())
            slope = (8 * (energies[0] - energies[1]) - (energies[2] - energies[3])) / (12 * step)
            assert forces[atom, axis].item() == pytest.approx(-slope, abs=within)

    return check
