"""Self-consistency of Fock matrices as a fixed point, and what PySCF makes of the same one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deepchem_dft.equilibrium import Solver, fixed_point
from deepchem_dft.molecule import Molecule
from deepchem_dft.scf.hamiltonian import KSHamiltonian
from deepchem_dft.scf.ladder import diagonalise, off_block, prepare
from deepchem_dft.xc.names import get_xc

#: name: (geometry in Angstrom, charge)
MOLECULES = {
    "water": ("O 0 0 0.1173; H 0 0.7572 -0.4692; H 0 -0.7572 -0.4692", 0),
    "formamide": (
        "O 1.193 0.218 0; N -1.064 0.150 0; C 0.159 -0.384 0; H 0.247 -1.487 0; "
        "H -1.185 1.155 0; H -1.896 -0.420 0",
        0,
    ),
    "N2 2A": ("N 0 0 0; N 0 0 2", 0),
    "LiF 3A": ("Li 0 0 0; F 0 0 3", 0),
    "MnO4-": (
        "Mn 0 0 0; O .9295 .9295 .9295; O .9295 -.9295 -.9295; O -.9295 .9295 -.9295; O -.9295 -.9295 .9295",
        -1,
    ),
}
MOST_BUILDS = 60


@dataclass
class Outcome:
    """How an iteration of Fock matrices ended."""

    builds: int
    residual: float  # largest occupied-virtual element, Ha
    energy: float  # Ha

    @property
    def converged(self) -> bool:
        """Whether the residual is below 1e-6 Ha."""
        return self.residual < 1e-6

    def __str__(self) -> str:
        return f"{self.builds}" if self.converged else f"- ({self.residual:.0e})"


class FockProblem:
    """Restricted PBE of one molecule as a fixed point of Fock matrices, from atomic densities."""

    def __init__(self, name: str, basis: str = "def2-svp", grid_level: int = 3) -> None:
        geometry, charge = MOLECULES[name]
        self.molecule = Molecule(
            geometry, basis=basis, charge=charge, spin=0, unit="angstrom", grid_level=grid_level, name=name
        )
        self.hamiltonian = KSHamiltonian(self.molecule, get_xc("pbe"), restricted=True)
        self.problem = prepare(self.hamiltonian, None)

    def evaluate(self, orbitals: Tensor) -> tuple[Tensor, float, float]:
        """Fock matrix of orbitals, its largest occupied-virtual element and the energy (Ha)."""
        found = self.hamiltonian.evaluate(orbitals, self.problem.occupations)
        residual = off_block(orbitals.mT @ found.fock @ orbitals, self.problem.occupations)
        return found.fock, float(residual), found.energy

    def commutator(self, orbitals: Tensor, fock: Tensor) -> Tensor:
        """FDS - SDF in an orthonormal basis."""
        density = (orbitals * self.problem.occupations[:, None, :]) @ orbitals.mT
        product = fock @ density @ self.hamiltonian.overlap
        return self.problem.basis.mT @ (product - product.mT) @ self.problem.basis

    def iterate(self, mix: Callable[[Tensor, Tensor], Tensor] | None) -> Outcome:
        """Diagonalise, build, and let ``mix(fock, error)`` make the next matrix."""
        orbitals, builds = self.problem.orbitals, self.problem.iterations
        while True:
            fock, residual, energy = self.evaluate(orbitals)
            builds += 1
            outcome = Outcome(builds, residual, energy)
            if outcome.converged or builds >= MOST_BUILDS:
                return outcome
            if mix is not None:
                fock = mix(fock, self.commutator(orbitals, fock))
            orbitals = diagonalise(fock, self.problem.basis)

    def by_fixed_point(self, solver: Solver, use_error: bool = False) -> Outcome:
        """The same through ``fixed_point``: Fock matrix to Fock matrix of its orbitals."""
        first, seen = [self.problem.orbitals], []

        def orbitals_of(fock: Tensor) -> Tensor:
            return first[0] if not seen else diagonalise(fock, self.problem.basis)

        def f(fock: Tensor) -> Tensor:
            image, residual, energy = self.evaluate(orbitals_of(fock))
            seen.append(Outcome(len(seen) + 1 + self.problem.iterations, residual, energy))
            return image

        def error(fock: Tensor, image: Tensor) -> Tensor:
            orbitals = first[0] if len(seen) == 1 else diagonalise(fock, self.problem.basis)
            return self.commutator(orbitals, image)

        with torch.no_grad():
            start = torch.zeros_like(self.hamiltonian.core)[None]
            fixed_point(
                f,
                start,
                solver=solver,
                error=error if use_error else None,
                tol=1e-9,
                max_iter=MOST_BUILDS - self.problem.iterations,
            )
        return next((s for s in seen if s.converged), seen[-1])

    def pyscf(self) -> Outcome:
        """PySCF's DIIS from the same density, with the same measure of convergence."""
        from pyscf import dft

        mole = self.molecule.pyscf_mol.copy()
        mole.charge, mole.spin, mole.verbose = int(self.molecule.charge), 0, 0
        mole.build()
        solver = dft.RKS(mole)
        solver.xc, solver.grids.level = "pbe", self.molecule.grid_level
        solver.conv_tol, solver.max_cycle = 1e-30, MOST_BUILDS - 1
        seen: list[Outcome] = []

        def note(state: dict) -> None:
            gradient = solver.get_grad(state["mo_coeff"], state["mo_occ"], state["fock"])
            seen.append(Outcome(len(seen) + 2, float(np.abs(gradient).max()) / 2.0, float(state["e_tot"])))
            if seen[-1].converged:
                raise StopIteration

        solver.callback = note
        density = self.molecule.starting_density
        electrons = float((density * self.molecule.overlap).sum())
        with contextlib.suppress(StopIteration):
            solver.kernel(dm0=(density * (sum(self.molecule.nelec) / electrons)).numpy())
        return seen[-1]


def damping(share: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a mixture of each Fock matrix with the last one."""
    last: list[Tensor] = []

    def mix(fock: Tensor, error: Tensor) -> Tensor:
        last[:] = [fock if not last else last[0] + share * (fock - last[0])]
        return last[0]

    return mix
