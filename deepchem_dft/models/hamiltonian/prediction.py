"""What a predicted Kohn-Sham matrix says: orbitals, density, gap, dipole; and how good it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from deepchem_dft.equilibrium.result import Status
from deepchem_dft.errors import InputError
from deepchem_dft.hamiltonian.sample import HamiltonianSample
from deepchem_dft.models.hamiltonian.samples import Known
from deepchem_dft.molecule.geometry import SYMBOLS

if TYPE_CHECKING:
    from deepchem_dft.scf.frozen.single_build import SingleBuild
    from deepchem_dft.scf.state import SCFState
    from deepchem_dft.xc.base import XCFunctional

#: From Hartree.
_MICRO = 1e6


@dataclass(eq=False)
class HamiltonianPrediction:
    """A Kohn-Sham matrix of one molecule, and what follows from it.

    Orbitals are those of the generalised eigenvalue problem H C = S C e. Nothing is iterated.

    Attributes
    ----------
    prepared : Known
        The molecule.
    hamiltonian : np.ndarray
        (nao, nao) Hartree, in PySCF's order.
    status : Status or None
        How the search for the fixed point ended, as advice; None for forms without one.
    residual : float
        Relative, of the fixed point; 0 for forms without.
    iterations : int
        Evaluations of the feedback; 0 for forms without.
    """

    prepared: Known
    hamiltonian: np.ndarray
    status: Status | None = None
    residual: float = 0.0
    iterations: int = 0

    @property
    def name(self) -> str:
        """Name of the molecule."""
        return self.prepared.name

    @property
    def sample(self) -> HamiltonianSample:
        """The molecule."""
        return self.prepared.sample

    @property
    def converged(self) -> bool:
        """False if there is a fixed point to be found, and it was not."""
        return self.status in (None, Status.CONVERGED)

    @property
    def true(self) -> np.ndarray:
        """(nao, nao) Hamiltonian of the sample, which must have one, Hartree."""
        assert self.sample.hamiltonian is not None
        return self.sample.hamiltonian

    @property
    def change(self) -> Tensor:
        """(nao, nao) difference to what predictions are added to, Hartree."""
        matrix = torch.from_numpy(self.hamiltonian)
        return matrix - self.prepared.base.view_as(matrix)

    @cached_property
    def _orbitals(self) -> tuple[np.ndarray, np.ndarray]:
        return self.prepared.solve(self.hamiltonian)

    @property
    def orbital_energies(self) -> np.ndarray:
        """(nao,) Hartree, ascending."""
        return self._orbitals[0]

    @property
    def coefficients(self) -> np.ndarray:
        """(nao, nao) orbitals in columns."""
        return self._orbitals[1]

    @property
    def n_occupied(self) -> int:
        """Number of doubly occupied orbitals."""
        return self.prepared.n_occupied

    @property
    def occupied(self) -> np.ndarray:
        """(nao, n) occupied orbitals in columns."""
        return self.coefficients[:, : self.n_occupied]

    @property
    def density_matrix(self) -> np.ndarray:
        """(nao, nao) of both spins; what PySCF takes as ``dm0``."""
        return 2.0 * self.occupied @ self.occupied.T

    @property
    def homo_lumo_gap(self) -> float:
        """Hartree; infinite if no orbital is empty."""
        energies, n = self.orbital_energies, self.n_occupied
        return float(energies[n] - energies[n - 1]) if n < len(energies) else float("inf")

    @cached_property
    def dipole(self) -> np.ndarray:
        """(3,) dipole moment about the origin, e Bohr."""
        return self.prepared.reference.dipole(self.density_matrix)

    @cached_property
    def energy(self) -> float:
        """Total energy of the density matrix, Hartree: one Kohn-Sham matrix, no iteration."""
        return self.prepared.reference.energy(self.density_matrix)

    @property
    def state(self) -> "SCFState":
        """Orbitals and occupations: what `KohnSham.run` takes as ``guess``."""
        from deepchem_dft.scf.state import SCFState

        occupations = torch.zeros(1, len(self.orbital_energies), dtype=torch.float64)
        occupations[:, : self.n_occupied] = 2.0
        return SCFState(torch.from_numpy(self.coefficients.copy())[None], occupations)

    def single_build(self, xc: "str | XCFunctional | None" = None, **options: Any) -> "SingleBuild":
        """Return energies, forces and what is left of the residual, by one Fock build of this package.

        Parameters
        ----------
        xc : str or XCFunctional, optional
            Any functional of this package; the one the matrix is of by default.
        **options
            Of :class:`~deepchem_dft.molecule.Molecule`, such as ``grid_level`` and ``density_fit``.

        Raises
        ------
        InputError
            If no functional is known.
        """
        from deepchem_dft.molecule import Molecule
        from deepchem_dft.scf import KohnSham

        sample, functional = self.sample, xc or self.prepared.reference.xc
        if functional is None:
            raise InputError("no functional is given", field="xc", remedy="name one, such as pbe")
        options.setdefault("grid_level", self.prepared.reference.grid_level)
        symbols = [SYMBOLS[z] for z in sample.numbers]
        molecule = Molecule((symbols, sample.positions), sample.basis, sample.charge, **options)
        return KohnSham(molecule, functional, restricted=True).single_build(self.state)

    @cached_property
    def forces(self) -> np.ndarray:
        """(N, 3) forces on the nuclei, Hartree/Bohr: one Fock build; see `single_build` for their error."""
        return self.single_build().forces().numpy()

    def cycles(self, conv_tol: float = 1e-9) -> tuple[int, int]:
        """Return PySCF's iterations from its default guess and from this density matrix.

        Parameters
        ----------
        conv_tol : float
            Of the energy, Hartree.
        """
        solve = self.prepared.reference.solve
        return (solve(conv_tol=conv_tol).cycles, solve(self.density_matrix, conv_tol=conv_tol).cycles)


@dataclass
class HamiltonianScore:
    """Errors of one prediction, energies in microhartree.

    Attributes
    ----------
    name : str
    hamiltonian_mae : float
        Mean absolute error of the elements of the matrix.
    orbital_mae : float
        The same of occupied orbital energies.
    coefficient_similarity : float
        Mean of ``|cos|`` between predicted and true coefficients of occupied orbitals, 1 at best.
        Orbitals of equal energy can be mixed at will, which makes it small without any error.
    gap_error, energy_error : float or None
        Absolute; the energy's is between those of two density matrices, that of the predicted and
        that of the true matrix. None if it was not asked for.
    converged : bool
    iterations : int
    orbitals : list of (float, float)
        True and predicted energies of occupied orbitals and the lowest empty one, Hartree.
    """

    name: str
    hamiltonian_mae: float
    orbital_mae: float
    coefficient_similarity: float
    gap_error: float
    energy_error: float | None
    converged: bool
    iterations: int
    orbitals: list[tuple[float, float]]


def score(found: HamiltonianPrediction, energy: bool = False) -> HamiltonianScore:
    """Compare a prediction with the Hamiltonian of its sample."""
    true, n = HamiltonianPrediction(found.prepared, found.true), found.n_occupied
    errors = np.abs(found.orbital_energies - true.orbital_energies)[:n]
    a, b = found.occupied, true.occupied
    cosines = np.abs((a * b).sum(0)) / (np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0))
    gaps = found.homo_lumo_gap, true.homo_lumo_gap
    return HamiltonianScore(
        found.name,
        _MICRO * float(np.abs(found.hamiltonian - found.true).mean()),
        _MICRO * float(errors.mean()),
        float(cosines.mean()),
        _MICRO * abs(gaps[0] - gaps[1]) if np.isfinite(gaps[0]) else 0.0,
        _MICRO * abs(found.energy - true.energy) if energy else None,
        found.converged,
        found.iterations,
        [
            (float(e), float(f))
            for e, f in zip(true.orbital_energies[: n + 1], found.orbital_energies[: n + 1])
        ],
    )


#: Means of scores by name, with what `HamiltonianModel.evaluate` calls them.
METRICS = {
    "hamiltonian_mae": "hamiltonian_mae",
    "orbital_mae": "orbital_mae",
    "coefficient_similarity": "coefficient_similarity",
    "gap_mae": "gap_error",
    "energy_mae": "energy_error",
}


def mean_scores(scores: Sequence[HamiltonianScore], names: Sequence[str] | None = None) -> dict[str, float]:
    """Return means over molecules, energies in microhartree; iterations; the unconverged share."""
    chosen = names or [name for name in METRICS if name != "energy_mae"]
    found = {name: float(np.mean([getattr(s, METRICS[name]) for s in scores])) for name in chosen}
    found["iterations"] = float(np.mean([s.iterations for s in scores]))
    found["unconverged"] = float(np.mean([not s.converged for s in scores]))
    return found
