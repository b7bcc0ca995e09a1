"""Orbitals as they were given, by a model say, with the energy and forces that one Fock build tells."""

from typing import Any

import torch
from torch import Tensor

from deepchem_dft.errors import InputError
from deepchem_dft.scf.forces import nuclear_forces
from deepchem_dft.scf.hamiltonian import KSHamiltonian
from deepchem_dft.scf.ladder import SCFStatus, finish, orthonormal_basis, prepare
from deepchem_dft.scf.properties import DensityProperties
from deepchem_dft.scf.rotations import off_block
from deepchem_dft.scf.state import SCFState
from deepchem_dft.torchstate import unaffected


class SingleBuild(DensityProperties):
    r"""What one Fock build says of given orbitals, without any iteration: see `KohnSham.single_build`.

    The energy is stationary at self-consistency, so that its error is of second order in that of the
    density matrix D. There are two such energies: :math:`E[D]` itself, which lies above that of the
    ground state, and the Harris-Foulkes functional

    .. math:: E_\mathrm{HF} = E[D] + \mathrm{tr}\, F[D]\,(D' - D),

    D' being made of the lowest orbitals of F[D], which lies below as a rule. Their distance then is a bound
    on the errors of both.

    Forces are of first order. They are the exact derivative of :math:`E[D]`, basis functions (Pulay's terms)
    and quadrature in motion, where the occupied orbitals keep their coefficients but for being
    orthonormalised symmetrically. What they lack is the derivative of the energy with respect to the
    orbitals, times what else the orbitals of the ground state do when atoms move.

    Attributes
    ----------
    molecule : Molecule
    energy : float
        Of the density matrix, dispersion included, Ha.
    harris_foulkes : float
        Ha.
    commutator : float
        Largest Fock element between orbitals of different occupation, Ha: what is not yet self-consistent.
    orbital_energies : Tensor, shape (nspin, nmo), Ha
        Of the lowest orbitals of F[D].
    state : SCFState
        The orbitals, from which `KohnSham.run` can go on.

    References
    ----------
    Harris, Phys. Rev. B 31, 1770 (1985); Foulkes and Haydock, Phys. Rev. B 39, 12520 (1989). Forces: Pulay,
    Mol. Phys. 17, 197 (1969).
    """

    @unaffected
    def __init__(self, hamiltonian: KSHamiltonian, guess: SCFState) -> None:
        self.molecule = hamiltonian.molecule
        if self.molecule.occupations is not None:
            raise InputError(
                "orbitals that are filled by hand need a self-consistent field",
                entry=self.molecule.name,
                field="occupations",
                remedy="use run(), or leave occupations out",
            )
        start = prepare(hamiltonian, guess)
        evaluation = hamiltonian.evaluate(start.orbitals, start.occupations)
        residual = off_block(start.orbitals.mT @ evaluation.fock @ start.orbitals, start.occupations)
        self._hamiltonian = hamiltonian
        self._solution = finish(
            hamiltonian,
            start.orbitals,
            start.occupations,
            evaluation,
            residual,
            1,
            SCFStatus.MAX_ITERATIONS,
            [residual],
        )
        self.state, self.energy, self.commutator = self._solution.state, evaluation.energy, residual
        basis = orthonormal_basis(hamiltonian.overlap)
        self.orbital_energies: Tensor = torch.linalg.eigvalsh(basis.mT @ evaluation.fock @ basis)
        band = float((self.orbital_energies * start.occupations).sum())
        density = self.state.density_matrix()
        self.harris_foulkes = self.energy + band - float((density * evaluation.fock).sum())

    def __repr__(self) -> str:
        return (
            f"SingleBuild({self.molecule.name}: {self.energy:.8f} Ha, Harris-Foulkes "
            f"{self.harris_foulkes:.8f} Ha, orbital gradient {self.commutator:.1e} Ha)"
        )

    def __reduce__(self) -> Any:
        return SingleBuild, (self._hamiltonian, self.state)

    @property
    def density_matrix(self) -> Tensor:
        """Alpha and beta density matrices, shape (2, nao, nao)."""
        return self.state.unrestricted().density_matrix()

    @property
    def total_density_matrix(self) -> Tensor:
        """Spin-summed density matrix, shape (nao, nao)."""
        return self.state.density_matrix().sum(0)

    @unaffected
    def forces(self) -> Tensor:
        """Forces on the nuclei, shape (natom, 3), Ha/Bohr; their error is of first order in the density's."""
        return nuclear_forces(self._hamiltonian, self._solution)
