"""What a field solved by another program is asked for, in the words of ``KSResult``."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deepchem_dft.molecule import Molecule
from deepchem_dft.scf.frozen.density import FrozenDensity
from deepchem_dft.scf.ladder import SCFStatus
from deepchem_dft.scf.state import SCFState, gap_of
from deepchem_dft.xc.base import XCFunctional


@dataclass
class ForeignResult:
    """A self-consistent field of another program.

    Attributes
    ----------
    energy : Tensor, shape (), Ha
    density_matrix : Tensor, shape (2, nao, nao)
        Alpha and beta in PySCF's orbital order.
    orbital_energies : Tensor, shape (nspin, nmo), Ha
    status : SCFStatus
        How it ended.
    commutator : float
        Largest Fock element between orbitals of different occupation, Ha.
    iterations : int
        Fock matrices built.
    state : SCFState
        Orbitals and occupations, for warm starts of any engine.
    """

    molecule: Molecule
    xc: XCFunctional
    energy: Tensor
    density_matrix: Tensor
    orbital_energies: Tensor
    status: SCFStatus
    commutator: float
    iterations: int
    state: SCFState

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.molecule.name}: {float(self.energy.detach()):.8f} Ha, "
            f"{self.status.name.lower()} after {self.iterations} Fock builds)"
        )

    @property
    def converged(self) -> bool:
        """True if the state is self-consistent to the tolerance asked for."""
        return self.status is SCFStatus.CONVERGED

    @property
    def restricted(self) -> bool:
        """True if both spins share their orbitals."""
        return self.state.restricted

    @property
    def gap(self) -> float:
        """Gap between the highest occupied and the lowest empty orbital of any spin, Ha."""
        return gap_of(self.orbital_energies.detach(), self.occupations)

    @property
    def spin_square(self) -> float:
        """As of a :class:`~deepchem_dft.scf.KSResult`."""
        return self.state.spin_square(self.molecule.overlap)

    @property
    def notes(self) -> tuple[str, ...]:
        """What should be said wherever the energy is."""
        if not self.gap < -1e-5:
            return ()
        return ("an empty orbital lies below an occupied one: perhaps an excited state",)

    @property
    def occupations(self) -> Tensor:
        """Electrons per orbital, shape (nspin, nmo)."""
        return self.state.occupations

    @property
    def total_density_matrix(self) -> Tensor:
        """Spin-summed density matrix, shape (nao, nao)."""
        return self.density_matrix.sum(0)

    @property
    def dipole(self) -> Tensor:
        """Dipole moment about the origin, shape (3,), e Bohr."""
        electrons = torch.einsum("xij,ij->x", self.molecule.dipole_integrals, self.total_density_matrix)
        return self.molecule.nuclear_dipole - electrons

    @property
    def frozen(self) -> FrozenDensity:
        """For energies of other parameters at this density, which the native engine computes."""
        return FrozenDensity.from_state(self.molecule, self.xc, self.state)

    def density(self, points: Tensor | np.ndarray) -> Tensor:
        """Total electron density at ``points`` (G, 3) in Bohr, shape (G,), 1/Bohr^3."""
        orbitals = self.molecule.eval_ao(points)[0]
        return ((orbitals @ self.total_density_matrix) * orbitals).sum(-1)
