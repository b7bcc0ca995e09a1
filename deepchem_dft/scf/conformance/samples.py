"""Small densities to ask functionals about, and the same ones elsewhere, turned, or in another order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from deepchem_dft.molecule import Molecule, cache
from deepchem_dft.scf.kohn_sham import KohnSham
from deepchem_dft.scf.quadrature import XCQuadrature
from deepchem_dft.xc.base import XCFunctional
from deepchem_dft.xc.libxc import Libxc
from deepchem_dft.xc.quadrature import Quadrature

# No element of symmetry, so that nothing is right by accident.
_WATER = "O 0.1 -0.2 0.3; H 0.15 1.4 -0.9; H -0.1 -1.7 -0.5"


@dataclass(frozen=True, eq=False)
class Sample:
    """A density on its quadrature.

    Attributes
    ----------
    rho : Tensor, shape (nspin, 5, G)
    quadrature : Quadrature
    direction : Tensor, shape (nspin, 5, G)
        A change that is itself the change of a density: orbitals of another functional.
    """

    rho: Tensor
    quadrature: Quadrature
    direction: Tensor

    def to(self, device: torch.device) -> Sample:
        """Return it on a device."""
        return Sample(self.rho.to(device), self.quadrature.to(device), self.direction.to(device))

    def turned(self, rotation: Tensor) -> Sample:
        """Return the molecule with its grid rotated, (3, 3)."""
        q, rho = self.quadrature, self.rho.clone()
        rho[:, 1:4] = torch.einsum("xy,syg->sxg", rotation, rho[:, 1:4])
        turned = replace(q, points=q.points @ rotation.mT, positions=q.positions @ rotation.mT)
        return replace(self, rho=rho, quadrature=turned)

    def moved(self, by: Tensor) -> Sample:
        """Return the molecule with its grid somewhere else, (3,), Bohr."""
        q = self.quadrature
        return replace(self, quadrature=replace(q, points=q.points + by, positions=q.positions + by))

    def reordered(self, order: Tensor) -> Sample:
        """Return it with its points in another order, (G,)."""
        q = self.quadrature
        points = replace(
            q,
            points=q.points[order],
            weights=q.weights[order],
            atoms=q.atoms[order],
            atomic_weights=q.atomic_weights[order],
        )
        return replace(self, rho=self.rho[:, :, order], quadrature=points)

    def renumbered(self, order: Tensor) -> Sample:
        """Return it with its atoms in another order, (A,); points stay where they are."""
        q = self.quadrature
        atoms = torch.argsort(order)[q.atoms]
        return replace(
            self, quadrature=replace(q, positions=q.positions[order], numbers=q.numbers[order], atoms=atoms)
        )

    def beside(self, other: Sample) -> Sample:
        """Return two molecules that are too far apart to share space, as one."""
        one, two = self.quadrature, other.quadrature
        both = Quadrature(
            torch.cat([one.points, two.points]),
            torch.cat([one.weights, two.weights]),
            torch.cat([one.atoms, two.atoms + len(one.positions)]),
            torch.cat([one.positions, two.positions]),
            torch.cat([one.numbers, two.numbers]),
            torch.cat([one.atomic_weights, two.atomic_weights]),
        )
        return Sample(
            torch.cat([self.rho, other.rho], 2), both, torch.cat([self.direction, other.direction], 2)
        )


@lru_cache(maxsize=4)
def water(electrons_missing: int) -> Sample:
    """Return water (restricted) or its cation (both spins), without any symmetry."""
    charge = electrons_missing
    molecule = Molecule(_WATER, "sto-3g", charge=charge, spin=charge, grid_level=0)
    first = KohnSham(molecule, "lda,pw").run().state.density_matrix()
    other = KohnSham(molecule, "hf").run().state.density_matrix()
    field = _field(molecule, len(first))
    rho = field.density_of_matrix(first)
    return Sample(rho, field.quadratures.parts[0], field.density_of_matrix(other) - rho)


@lru_cache(maxsize=512)
def stretched(distance: float) -> Sample:
    """Return lithium and hydrogen atoms, their densities as they are alone, so far apart (Bohr)."""
    with cache.read_only():  # a geometry that nobody asks for again
        field = _field(_lithium_hydride(distance), 1)
        rho = field.density_of_matrix(_atoms()[None])
    return Sample(rho, field.quadratures.parts[0], torch.zeros_like(rho))


def _lithium_hydride(distance: float) -> Molecule:
    return Molecule(f"Li 0 0 0; H 0 0 {distance!r}", "sto-3g", grid_level=0)


@lru_cache(maxsize=1)
def _atoms() -> Tensor:
    """Return the density matrix of atoms that do not feel each other; orbitals carry it along."""
    return _lithium_hydride(100.0).starting_density


def _field(molecule: Molecule, nspin: int) -> XCQuadrature:
    """Return maps from matrices to all components of densities."""
    xc = Libxc("r2scan")
    return XCQuadrature(xc, [molecule.grid], {None: 0}, molecule.nao, nspin, torch.device("cpu"))


def energy_of(xc: XCFunctional, sample: Sample) -> Tensor:
    """Return the energy of a functional with all its nonlocal terms, on one quadrature, Ha."""
    total = xc.energy(sample.rho, sample.quadrature)
    for term in xc.nonlocal_terms:
        total = total + term.energy(sample.rho, sample.quadrature)
    return total
