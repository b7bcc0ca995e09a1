"""What a Kohn-Sham calculation found: energy, density, orbitals and forces, with gradients."""

from typing import Any

import torch
from torch import Tensor

from deepchem_dft.errors import SCFNotConverged
from deepchem_dft.scf.adjoint import ResponseContext, differentiable_outputs
from deepchem_dft.scf.forces import nuclear_forces
from deepchem_dft.scf.frozen.density import FrozenDensity
from deepchem_dft.scf.hamiltonian import KSHamiltonian
from deepchem_dft.scf.ladder import SCFSolution, SCFStatus
from deepchem_dft.scf.properties import DensityProperties, one_electron_energies
from deepchem_dft.scf.response import SOFT_MODE
from deepchem_dft.scf.search.signs import Findings, remarks
from deepchem_dft.scf.state import gap_of
from deepchem_dft.torchstate import unaffected


class KSResult(DensityProperties):
    """A solved (or honestly unsolved) Kohn-Sham problem.

    Tensors carry gradients to the functional's trainable parameters: the energy at fixed density
    matrix (exact at self-consistency), everything else through the coupled-perturbed equations.
    A result that did not converge carries no gradient.

    Attributes
    ----------
    molecule : Molecule
    status : SCFStatus
        How it ended; prints as advice.
    iterations : int
        Fock builds.
    commutator : float
        Largest Fock element between orbitals of different occupation, Ha.
    history : list of float
        That element after every Fock build.
    state : SCFState
        Orbitals and occupations, for warm starts.
    occupations : Tensor, shape (nspin, nmo)
    frozen : FrozenDensity
        For energies of other parameters at this density.
    cpu_seconds : float or None
        Spent by this process on it, making integrals included.
    findings : Findings
        What the search for lower states has looked at (``signs`` of trouble, ``tried``) and found.
    """

    def __init__(
        self, hamiltonian: KSHamiltonian, solution: SCFSolution, findings: Findings | None = None
    ) -> None:
        self._hamiltonian, self._solution = hamiltonian, solution
        self.findings = findings or Findings()
        self.molecule = hamiltonian.molecule
        self.status = solution.status
        self.iterations = solution.iterations
        self.commutator = solution.residual
        self.history = solution.history
        self.state = solution.state
        self.occupations = solution.state.occupations
        self.frozen = FrozenDensity.from_evaluation(hamiltonian, solution.evaluation)
        self._context = ResponseContext(hamiltonian, solution)
        self._versions = self._parameter_versions()
        self.cpu_seconds: float | None = None
        self._energy: Tensor | None = None
        self._outputs: tuple[Tensor, Tensor] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Without graphs, which belong to the parameters of this process.
        return {
            "hamiltonian": self._hamiltonian,
            "solution": self._solution,
            "findings": self.findings,
            "cpu_seconds": self.cpu_seconds,
            "current": self._versions == self._parameter_versions(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        KSResult.__init__(self, state["hamiltonian"], state["solution"], state["findings"])
        self.cpu_seconds = state["cpu_seconds"]
        if not state["current"]:  # the parameters had moved on from this solution
            self._versions = [-1]

    def __repr__(self) -> str:
        energy = self._solution.evaluation.energy
        return (
            f"KSResult({self.molecule.name}: {energy:.8f} Ha, "
            f"{self.status.name.lower()} after {self.iterations} Fock builds"
            + "".join(f"; {note}" for note in self.notes)
            + ")"
        )

    @property
    def converged(self) -> bool:
        """True if the field is self-consistent to the tolerance asked for."""
        return self.status is SCFStatus.CONVERGED

    @property
    def restricted(self) -> bool:
        """True if both spins share their orbitals."""
        return self._hamiltonian.restricted

    @property
    def notes(self) -> tuple[str, ...]:
        """What should be said wherever the energy is: a negative gap, a lower solution."""
        return remarks(self.molecule, self._solution, self.findings)

    @property
    def stability(self) -> str | None:
        """Whether the solution is a minimum, in words; None if ``stability`` was not asked for."""
        mode = self.findings.mode
        if mode is None:
            return None
        kind = "minimum" if mode > -SOFT_MODE else "saddle point"
        return f"{kind} (lowest eigenvalue of the orbital Hessian {mode:.1e} Ha)"

    @property
    @unaffected
    def spin_square(self) -> float:
        """Expectation value of the total spin squared of the determinant: S (S + 1) if pure."""
        return self.state.spin_square(self._hamiltonian.overlap)

    @property
    @unaffected
    def energy(self) -> Tensor:
        """Total energy, Ha, 0-dimensional float64.

        Its gradient is exact to first order; a second derivative would lack the orbitals' response.
        Once parameters have changed, the value stays what it was and carries no gradient any more.
        """
        if not self._differentiable:
            return torch.tensor(
                self._solution.evaluation.energy, dtype=torch.float64, device=self._hamiltonian.device
            )
        if self._energy is None:
            slopes = self._solution.evaluation.slopes
            self._energy = (
                self.frozen.energy(self._hamiltonian.xc) if slopes is None else self._linear_energy(slopes)
            )
        return self._energy

    def _linear_energy(self, slopes: list[Tensor]) -> Tensor:
        """The energy with the slopes that the solver brought along as its gradient."""
        evaluation = self._solution.evaluation
        energy = torch.tensor(evaluation.energy, dtype=torch.float64, device=self._hamiltonian.device)
        for parameter, slope in zip(self._context.parameters, slopes, strict=True):
            energy = energy + (slope * (parameter - parameter.detach())).sum().to(energy)
        for coefficient, omega in self._hamiltonian.xc.exchange_terms:
            if isinstance(coefficient, Tensor) and coefficient.requires_grad:
                bare = evaluation.exchange[omega]
                energy = energy + (coefficient - coefficient.detach()) * bare
        dispersion = self._hamiltonian.xc.dispersion_at([self._hamiltonian.nuclei])()[0].to(energy)
        return energy + (dispersion - dispersion.detach())

    @property
    def energy_terms(self) -> dict[str, float]:
        """What the energy is the sum of, Ha.

        ``kinetic``; ``nuclear_attraction`` of the electrons, effective cores included; ``coulomb``, of the
        electrons among themselves; ``nuclear_repulsion``; ``exchange_correlation`` of the density, VV10
        included; ``exact_exchange``, its ranges with their shares; ``dispersion``.
        """
        evaluation = self._solution.evaluation
        kinetic, attraction = one_electron_energies(self.molecule, self.state.density_matrix().sum(0))
        repulsion = self.molecule.nuclear_repulsion
        shares = self._hamiltonian.exchange_terms()
        exact = sum(c * evaluation.exchange[omega] for c, omega in shares if omega in evaluation.exchange)
        terms = {
            "kinetic": kinetic,
            "nuclear_attraction": attraction,
            "coulomb": evaluation.fixed_energy - kinetic - attraction - repulsion,
            "nuclear_repulsion": repulsion,
            "exact_exchange": exact,
            "dispersion": evaluation.dispersion,
        }
        return {**terms, "exchange_correlation": evaluation.energy - sum(terms.values())}

    def _parameter_versions(self) -> list[int]:
        return [p._version for p in self._context.parameters]

    @property
    def _differentiable(self) -> bool:
        # A graph made now would belong to the parameters of now, not to this solution.
        return (
            self.converged
            and torch.is_grad_enabled()
            and bool(self._context.parameters)
            and self._versions == self._parameter_versions()
        )

    @unaffected
    def _output(self, index: int) -> Tensor:
        if not self._differentiable:
            with torch.no_grad():
                return differentiable_outputs(self._context)[index]
        if self._outputs is None:
            self._outputs = differentiable_outputs(self._context)
        return self._outputs[index]

    @property
    def density_matrix(self) -> Tensor:
        """Alpha and beta density matrices in PySCF's orbital order, shape (2, nao, nao)."""
        density = self._output(0)
        return density.expand(2, -1, -1) / 2 if self.restricted else density

    @property
    def total_density_matrix(self) -> Tensor:
        """Spin-summed density matrix, shape (nao, nao)."""
        return self._output(0).sum(0)

    @property
    def orbital_energies(self) -> Tensor:
        """Orbital energies, Ha, shape (1, nmo) if restricted, else (2, nmo).

        Differentiable where levels are not degenerate.
        """
        return self._output(1)

    @property
    def gap(self) -> float:
        """Gap between the highest occupied and the lowest empty orbital of any spin, Ha."""
        return gap_of(self._solution.energies, self.occupations)

    @property
    def aufbau(self) -> bool:
        """False if an empty orbital lies below an occupied one: perhaps an excited state."""
        return self.gap >= 0

    @property
    @unaffected
    def dipole(self) -> Tensor:
        """Dipole moment about the origin, shape (3,), e Bohr (atomic units)."""
        integrals = self.molecule.dipole_integrals.to(self._hamiltonian.device)
        electrons = torch.einsum("xij,ij->x", integrals, self.total_density_matrix)
        return self.molecule.nuclear_dipole.to(electrons.device) - electrons

    @unaffected
    def density(self, points: Any) -> Tensor:
        """Electron density (both spins) at points.

        Parameters
        ----------
        points : shape (G, 3), Bohr

        Returns
        -------
        Tensor, shape (G,), 1/Bohr^3
        """
        ao = self.molecule.eval_ao(points)[0].to(self._hamiltonian.device)
        return ((ao @ self.total_density_matrix) * ao).sum(1)

    @unaffected
    def forces(self) -> Tensor:
        """Forces on the nuclei, shape (natom, 3), Ha/Bohr.

        Raises
        ------
        SCFNotConverged
            Forces of an unconverged field are meaningless.
        """
        if not self.converged:
            raise SCFNotConverged(f"no forces for {self.molecule.name}: {self.status}", self)
        return nuclear_forces(self._hamiltonian, self._solution)

    @property
    @unaffected
    def soft_modes(self) -> Tensor:
        """Eigenvalues (Ha) of near-zero rotation modes left out of density gradients."""
        soft = self._context.soft
        return torch.zeros(0, dtype=torch.float64) if soft is None else soft.eigenvalues
