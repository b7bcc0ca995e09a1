"""What a density says of a molecule: energies it is the sum of, charges of atoms, moments."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from deepchem_dft.checks import choice
from deepchem_dft.molecule import Molecule
from deepchem_dft.scf.ladder import square_root
from deepchem_dft.torchstate import unaffected

#: Ways to give electrons to atoms.
POPULATIONS = ("mulliken", "loewdin")


class DensityProperties:
    """What results can tell of their density: mixed into those with a molecule and a density matrix."""

    if TYPE_CHECKING:
        molecule: Molecule

        @property
        def density_matrix(self) -> Tensor:
            """Shape (2, nao, nao)."""

        @property
        def total_density_matrix(self) -> Tensor:
            """Of both spins."""

    def quadrupole(self, origin: Any = None) -> Tensor:
        """Traceless quadrupole moment, shape (3, 3), e Bohr^2; about the centre of mass by default.

        See :func:`~deepchem_dft.scf.properties.quadrupole`.
        """
        return quadrupole(self.molecule, self.total_density_matrix, origin)

    def charges(self, kind: str = "mulliken") -> Tensor:
        """Charges of the atoms, shape (natom,), e; ``mulliken`` or ``loewdin``."""
        return charges(self.molecule, self.total_density_matrix, kind)

    def spin_populations(self, kind: str = "mulliken") -> Tensor:
        """Alpha minus beta electrons of the atoms, shape (natom,); ``mulliken`` or ``loewdin``."""
        alpha, beta = self.density_matrix
        return populations(self.molecule, alpha - beta, kind)


def one_electron_energies(molecule: Molecule, density: Tensor) -> tuple[float, float]:
    """Return the kinetic energy and that of the electrons in the field of the nuclei, Ha.

    Parameters
    ----------
    molecule : Molecule
    density : Tensor, shape (nao, nao)
        Of both spins.
    """
    kinetic = torch.from_numpy(molecule.pyscf_mol.intor_symmetric("int1e_kin")).to(density)
    energy = float((density * kinetic).sum())
    return energy, float((density * molecule.core_hamiltonian.to(density)).sum()) - energy


@unaffected
def populations(molecule: Molecule, density: Tensor, kind: str = "mulliken") -> Tensor:
    """Return how many electrons of a density each atom has, shape (natom,).

    Parameters
    ----------
    molecule : Molecule
    density : Tensor, shape (nao, nao)
    kind : {"mulliken", "loewdin"}
        Diagonal elements of D S or of S^(1/2) D S^(1/2), summed over the functions of an atom.

    References
    ----------
    Mulliken, J. Chem. Phys. 23, 1833 (1955); Loewdin, J. Chem. Phys. 18, 365 (1950).
    """
    choice(kind, POPULATIONS, "kind")
    overlap = molecule.overlap.to(density)
    if kind == "mulliken":
        share = (density * overlap).sum(1)
    else:
        root = square_root(overlap)
        share = torch.diagonal(root @ density @ root)
    bounds = molecule.pyscf_mol.aoslice_by_atom()[:, 2:]
    return torch.stack([share[start:stop].sum() for start, stop in bounds])


@unaffected
def charges(molecule: Molecule, density: Tensor, kind: str = "mulliken") -> Tensor:
    """Return the charge of each atom, shape (natom,), e: its nucleus (and core) less its electrons."""
    nuclei = torch.from_numpy(molecule.pyscf_mol.atom_charges().astype(float)).to(density)
    return nuclei - populations(molecule, density, kind)


@unaffected
def quadrupole(molecule: Molecule, density: Tensor, origin: np.ndarray | None = None) -> Tensor:
    r"""Return the traceless quadrupole moment, shape (3, 3), e Bohr^2.

    .. math:: \Theta_{ij} = \tfrac12 \int \rho_c(r) (3 r_i r_j - r^2 \delta_{ij})

    of the charge density of nuclei and electrons. It depends on the origin where there is a charge or a
    dipole moment.

    Parameters
    ----------
    molecule : Molecule
    density : Tensor, shape (nao, nao)
        Of both spins.
    origin : (3,), Bohr, optional
        Default: the centre of mass.

    References
    ----------
    Buckingham, Q. Rev. Chem. Soc. 13, 183 (1959).
    """
    mole = molecule.pyscf_mol
    centre = centre_of_mass(molecule) if origin is None else np.asarray(origin, dtype=float)
    with mole.with_common_orig(centre):
        integrals = mole.intor_symmetric("int1e_rr", comp=9)
    electrons = torch.einsum("xij,ij->x", torch.from_numpy(integrals).to(density), density).reshape(3, 3)
    places = molecule.positions - centre
    nuclei = np.einsum("a,ai,aj->ij", mole.atom_charges().astype(float), places, places)
    second = torch.from_numpy(nuclei).to(density) - electrons
    return 1.5 * second - 0.5 * second.trace() * torch.eye(3).to(second)


def centre_of_mass(molecule: Molecule) -> np.ndarray:
    """Return the centre of mass (natural abundances), shape (3,), Bohr."""
    masses = molecule.pyscf_mol.atom_mass_list(isotope_avg=True)
    return masses @ molecule.positions / masses.sum()
