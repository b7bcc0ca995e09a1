"""Kohn-Sham calculations: ``KohnSham(molecule, xc).run() -> KSResult``."""

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from deepchem_dft import plugins
from deepchem_dft.checks import choice
from deepchem_dft.errors import InputError, SCFNotConverged
from deepchem_dft.molecule import Molecule
from deepchem_dft.molecule.electrons import treatment
from deepchem_dft.scf.frozen.single_build import SingleBuild
from deepchem_dft.scf.hamiltonian import KSHamiltonian
from deepchem_dft.scf.ladder import SCFSolution, SCFStatus, UnfitGuess, solve
from deepchem_dft.scf.options import SCFOptions
from deepchem_dft.scf.result import KSResult
from deepchem_dft.scf.search.ground_state import ground_state
from deepchem_dft.scf.search.local_spins import with_local_spins
from deepchem_dft.scf.search.signs import Findings
from deepchem_dft.scf.search.stability import follow_instabilities
from deepchem_dft.scf.state import SCFState
from deepchem_dft.scf.two_grid import solve_on_two_grids, suits
from deepchem_dft.torchstate import stacklevel, unaffected
from deepchem_dft.xc.base import XCFunctional
from deepchem_dft.xc.names import get_xc


@dataclass(frozen=True)
class Iteration:
    """One step of a solver.

    Attributes
    ----------
    number : int
        From 1.
    energy, change : float
        Ha, and less that of the step before (NaN for the first of a phase).
    residual : float
        Largest Fock element between orbitals of different occupation, Ha.
    cpu_seconds : float
        Of this process since the calculation began.
    phase : {"scf", "search"}
        ``search`` once it has converged and lower states are looked for.
    """

    number: int
    energy: float
    change: float
    residual: float
    cpu_seconds: float
    phase: str


class _Watch:
    """Makes iterations of what solvers tell."""

    def __init__(self, tell: Callable[[Iteration], None], begin: float, phase: str = "scf") -> None:
        self.tell, self.begin, self.phase = tell, begin, phase
        self.number, self.last = 0, math.nan

    def search(self) -> None:
        self.phase, self.last = "search", math.nan

    def __call__(self, energy: float, residual: float) -> None:
        self.number += 1
        spent = time.process_time() - self.begin
        self.tell(Iteration(self.number, energy, energy - self.last, residual, spent, self.phase))
        self.last = energy


class KohnSham:
    """A Kohn-Sham problem: one molecule, one functional.

    Parameters
    ----------
    molecule : Molecule
    xc : str or XCFunctional
        A libxc name or any functional of this package.
    scf : SCFOptions, optional
        How it is solved.
    broken_symmetry : bool or sequence of float, optional
        Look for antiparallel spins: True in every way; or local spins (2S_z) of the atoms to start
        from, such as [1, -1]. Implies ``restricted=False``. None: as the molecule says.
    device : str, optional
        Where matrices live. Default: where the functional's parameters are.
    **options
        ``restricted``, ``tol``, ``max_iter``, ``stability``, ``two_grid``, ``engine``: see
        :class:`~deepchem_dft.scf.SCFOptions`.

    Examples
    --------
    >>> from deepchem_dft.molecule import Molecule
    >>> h2 = Molecule("H 0 0 0; H 0 0 1.4", basis="sto-3g", grid_level=1)
    >>> result = KohnSham(h2, "lda,pw").run()
    >>> result.converged, round(float(result.energy), 3)
    (True, -1.121)
    """

    def __init__(
        self,
        molecule: Molecule,
        xc: str | XCFunctional,
        scf: SCFOptions | None = None,
        *,
        broken_symmetry: bool | Sequence[float] | None = None,
        device: str | torch.device | None = None,
        **options: Any,
    ) -> None:
        asked = SCFOptions.of(scf, **options)
        restricted = asked.restricted
        restricted, self.broken_symmetry = treatment(
            molecule.restricted if restricted is None and not broken_symmetry else restricted,
            molecule.broken_symmetry
            if broken_symmetry is None and restricted is not True
            else broken_symmetry,
            len(molecule.symbols),
            molecule.spin,
        )
        if self.broken_symmetry and asked.engine == "dqc":
            raise InputError(
                "DQC's solvers do not look for broken symmetries",
                field="engine",
                remedy="use the native engine",
            )
        self.molecule, self.xc, self.device = molecule, get_xc(xc), device
        self.scf = replace(asked, restricted=restricted)

    @unaffected
    def run(
        self,
        on_unconverged: str = "raise",
        guess: SCFState | KSResult | None = None,
        on_iteration: Callable[[Iteration], None] | None = None,
    ) -> Any:
        """Solve.

        Parameters
        ----------
        on_unconverged : {"raise", "continue"}
            ``continue`` returns the last iterate; look at ``status`` before you use it.
        guess : SCFState or KSResult, optional
            Orbitals of an earlier solution in the same basis.
        on_iteration : callable, optional
            Called with every :class:`Iteration` (not by DQC).

        Returns
        -------
        KSResult

        Raises
        ------
        SCFNotConverged
            Unless ``on_unconverged="continue"``.
        FunctionalError
            If the functional returns values that are not finite.
        """
        begin = time.process_time()
        choice(on_unconverged, ("raise", "continue"), "on_unconverged")
        guess = None if guess is None else _state_of(guess)
        scf = self.scf
        if self.molecule.surroundings is not None:
            return self._in_surroundings(on_unconverged, guess, on_iteration, begin)
        if scf.engine == "dqc":
            # What DQC's solvers do not reach in a hundred steps, they do not reach.
            return plugins.find("engines", "dqc")(
                self.molecule,
                self.xc,
                restricted=scf.restricted,
                tol=scf.tol,
                max_iter=min(scf.max_iter, 100),
                guess=guess,
                on_unconverged=on_unconverged,
            )
        hamiltonian = KSHamiltonian(self.molecule, self.xc, scf.restricted, self.device)
        if on_iteration is not None:
            hamiltonian.watch = _Watch(on_iteration, begin)
        try:
            solution, findings = self._solve(hamiltonian, guess)
        except UnfitGuess as error:
            warnings.warn(f"starting {self.molecule.name} afresh: {error}", stacklevel=stacklevel(2))
            solution, findings = self._solve(hamiltonian, None)
        hamiltonian.watch = None
        if scf.stability and solution.status is SCFStatus.CONVERGED:
            solution, findings.mode = follow_instabilities(
                hamiltonian, solution, tol=scf.tol, max_iter=scf.max_iter
            )
        result = KSResult(hamiltonian, solution, findings)
        result.cpu_seconds = time.process_time() - begin
        if not result.converged and on_unconverged == "raise":
            raise SCFNotConverged(
                f"{self.molecule.name} did not converge in {result.iterations} Fock builds "
                f"(largest occupied-virtual Fock element {result.commutator:.1e} Ha, "
                f"wanted {scf.tol:.0e} Ha): {result.status}",
                result,
            )
        return result

    @unaffected
    def single_build(self, guess: SCFState | KSResult) -> SingleBuild:
        """Return energy and forces of given orbitals, by one Fock build and no iteration.

        Parameters
        ----------
        guess : SCFState or KSResult
            Orbitals in this basis, such as ``HamiltonianPrediction.state``.

        Returns
        -------
        SingleBuild
            Its energies are off by the second order of the density's error, its forces by the first.

        Raises
        ------
        InputError
            For orbitals of another basis, a molecule in surroundings, other engines.

        Examples
        --------
        >>> from deepchem_dft.molecule import Molecule
        >>> h2 = Molecule("H 0 0 0; H 0 0 1.4", basis="6-31g", grid_level=1)
        >>> other, pbe = KohnSham(h2, "lda,pw").run(), KohnSham(h2, "pbe")
        >>> found, true = pbe.single_build(other), float(pbe.run().energy)
        >>> found.harris_foulkes < true < found.energy < true + 1e-3
        True
        """
        if self.scf.engine != "native":
            raise InputError(
                "DQC makes no single Fock builds", field="engine", remedy="use the native engine"
            )
        hamiltonian = KSHamiltonian(self.molecule, self.xc, self.scf.restricted, self.device)
        hamiltonian.differentiate = False
        try:
            return SingleBuild(hamiltonian, _state_of(guess))
        except UnfitGuess as error:
            raise InputError(
                str(error),
                entry=self.molecule.name,
                field="guess",
                remedy="give orbitals of this molecule in this basis",
            ) from None

    def _in_surroundings(
        self,
        on_unconverged: str,
        guess: SCFState | None,
        on_iteration: Callable[[Iteration], None] | None,
        begin: float,
    ) -> Any:
        """Let PySCF go on from the state found without surroundings, which is searched for as ever."""
        if self.scf.engine != "native":
            raise InputError(
                f"DQC does not know {self.molecule.surroundings.description}",  # type: ignore[union-attr]
                field="engine",
                remedy="leave it native: PySCF solves fields in surroundings",
            )
        if guess is None:
            alone = self.molecule.replace(surroundings=None)
            free = KohnSham(
                alone, self.xc, self.scf, broken_symmetry=self.broken_symmetry, device=self.device
            )
            guess = free.run(on_unconverged="continue", on_iteration=on_iteration).state
        watch = None if on_iteration is None else _Watch(on_iteration, begin, "surroundings")
        found = plugins.find("engines", "surroundings")(
            self.molecule,
            self.xc,
            tol=self.scf.tol,
            max_iter=self.scf.max_iter,
            guess=guess,
            on_unconverged=on_unconverged,
            watch=watch,
        )
        found.cpu_seconds = time.process_time() - begin
        return found

    def _solve(self, hamiltonian: KSHamiltonian, guess: SCFState | None) -> tuple[SCFSolution, Findings]:
        options: dict[str, Any] = {"tol": self.scf.tol, "max_iter": self.scf.max_iter}
        if guess is None and isinstance(self.broken_symmetry, tuple):
            return with_local_spins(hamiltonian, self.broken_symmetry, **options), Findings()
        two_grid = suits(hamiltonian, guess) if self.scf.two_grid is None else self.scf.two_grid
        way = solve_on_two_grids if two_grid else solve
        solution = way(hamiltonian, guess=guess, **options)
        if isinstance(hamiltonian.watch, _Watch):
            hamiltonian.watch.search()
        thorough = self.scf.stability or (self.broken_symmetry is True and guess is None)
        return ground_state(hamiltonian, solution, cold=guess is None, thorough=thorough, **options)


def _state_of(guess: Any) -> SCFState:
    if isinstance(guess, KSResult):
        return guess.state
    if not isinstance(guess, SCFState):
        raise InputError(
            f"a {type(guess).__name__} is no guess",
            field="guess",
            remedy="pass the state of an earlier result, or None",
        )
    return guess
