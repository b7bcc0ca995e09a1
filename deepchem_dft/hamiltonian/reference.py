"""All that comes from PySCF: orbitals of elements, one-electron matrices, guesses, SCF results."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from deepchem_dft.errors import InputError, SCFNotConverged
from deepchem_dft.molecule.basis import resolve_basis, resolve_ecp
from deepchem_dft.molecule.geometry import SYMBOLS, parse_geometry
from deepchem_dft.molecule.integrals import build_mole
from deepchem_dft.xc.libxc import Libxc
from deepchem_dft.xc.nonlocality.terms import refuse_nonlocal

if TYPE_CHECKING:
    from deepchem_dft.hamiltonian.sample import HamiltonianSample

GUESSES = ("minao", "sap")
#: Energies are stationary and matrices are not: at 1e-9 Ha, PySCF's own, an element of H is still
#: wrong by 1e-5 Ha. These give 1e-7 Ha.
_TIGHT = {"conv_tol": 1e-11, "conv_tol_grad": 1e-6}
#: The larger of the two published sets of potentials, fitted to fully numerical atoms.
_SAP_BASIS = "sapgrasplarge"


@dataclass(frozen=True)
class ReferenceSolution:
    """A self-consistent field.

    Attributes
    ----------
    hamiltonian, density : np.ndarray
        (nao, nao) Kohn-Sham matrix (Hartree) of the density matrix.
    energy : float
        Total energy, Hartree.
    orbital_energies, coefficients : np.ndarray
        (nao,) Hartree and (nao, nao), orbitals in columns.
    cycles : int
        PySCF's count of iterations.
    """

    hamiltonian: np.ndarray
    density: np.ndarray
    energy: float
    orbital_energies: np.ndarray
    coefficients: np.ndarray
    cycles: int


class Reference:
    """The Kohn-Sham problem of one closed-shell molecule, as PySCF solves it.

    Parameters
    ----------
    sample : HamiltonianSample
        Its geometry, basis and charge are used.
    xc : str, optional
        In PySCF's spelling; that of the sample by default.
    grid_level : int
        PySCF's, of the quadrature.

    Raises
    ------
    InputError
        For an unknown basis or functional, nuclei that coincide, or an odd number of electrons.

    Examples
    --------
    >>> from deepchem_dft.hamiltonian.sample import HamiltonianSample
    >>> molecule = HamiltonianSample([1, 1], [[0, 0, 0], [0, 0, 1.4]], "sto-3g")
    >>> reference = Reference(molecule, "pbe")
    >>> reference.overlap.shape, round(reference.solve().energy, 4)
    ((2, 2), -1.1521)
    """

    def __init__(self, sample: "HamiltonianSample", xc: str | None = None, grid_level: int = 3) -> None:
        self.xc = xc or sample.xc
        self.sample, self.grid_level = sample, grid_level
        if sample.n_electrons % 2 or sample.n_electrons < 2:
            raise InputError(
                f"{sample.n_electrons} electrons are no closed shell",
                field="charge",
                remedy="give the charge of a closed-shell molecule",
            )
        self.mole = _mole(sample.numbers, sample.positions, sample.basis)
        # As attributes: PySCF takes an argument spin=0 for none at all.
        self.mole.charge, self.mole.spin = sample.charge, 0
        self.mole.build(dump_input=False, parse_arg=False)

    @property
    def n_occupied(self) -> int:
        """Number of doubly occupied orbitals, those of effective cores left out."""
        return int(self.mole.nelectron) // 2

    @cached_property
    def overlap(self) -> np.ndarray:
        """(nao, nao) overlap matrix."""
        return self.mole.intor_symmetric("int1e_ovlp")

    @cached_property
    def core(self) -> np.ndarray:
        """(nao, nao) core Hamiltonian, Hartree."""
        from pyscf.scf import hf

        return hf.get_hcore(self.mole)

    @cached_property
    def dipole_integrals(self) -> np.ndarray:
        """(3, nao, nao) integrals of x, y, z about the origin, Bohr."""
        with self.mole.with_common_orig((0.0, 0.0, 0.0)):
            return self.mole.intor_symmetric("int1e_r", comp=3)

    def dipole(self, density: np.ndarray) -> np.ndarray:
        """Return the (3,) dipole moment of a density matrix, e Bohr."""
        nuclear = self.mole.atom_charges() @ self.mole.atom_coords()
        return nuclear - np.einsum("xij,ji->x", self.dipole_integrals, density)

    @cached_property
    def _field(self) -> Any:
        from pyscf import dft

        if self.xc is None:
            raise InputError("no functional is given", field="xc", remedy="name one, such as pbe")
        # Our own reader of names refuses what PySCF would run in part, such as dispersion.
        functional = Libxc(self.xc)
        refuse_nonlocal(functional, "a reference of Hamiltonians", "name one without VV10, such as pbe")
        field = dft.RKS(self.mole, xc=functional.code)
        field.grids.level = self.grid_level
        field.verbose = 0
        field.chkfile = None
        field.conv_tol, field.conv_tol_grad = _TIGHT["conv_tol"], _TIGHT["conv_tol_grad"]
        return field

    def fock(self, density: np.ndarray) -> np.ndarray:
        """Return the (nao, nao) Kohn-Sham matrix of a density matrix, Hartree."""
        # Plain arrays: PySCF tags what it returns with potentials it would then reuse.
        return np.array(self._field.get_fock(h1e=self.core, dm=np.array(density)))

    def response(self, density: np.ndarray, change: np.ndarray) -> np.ndarray:
        """Return by how much `fock` changes with a (symmetric) change of the density matrix.

        Parameters
        ----------
        density, change : np.ndarray
            (nao, nao); the density matrix is that of orbitals.

        Returns
        -------
        np.ndarray
            (nao, nao) Hartree, to first order in the change.
        """
        from scipy.linalg import eigh

        weighted = self.overlap @ density @ self.overlap
        occupations, orbitals = eigh(weighted, self.overlap)
        if self._field.grids.coords is None:
            self._field.grids.build(with_non0tab=True)
        linear = self._field.gen_response(orbitals, occupations.clip(0.0), hermi=1)
        return np.array(linear(np.array(change)))

    def energy(self, density: np.ndarray) -> float:
        """Return the total energy of a density matrix, without any iteration, Hartree."""
        return float(self._field.energy_tot(dm=np.array(density), h1e=self.core))

    def guess_density(self) -> np.ndarray:
        """Return PySCF's default guess: (nao, nao), superposed atomic densities (minao)."""
        return np.array(self._field.init_guess_by_minao())

    def guess(self, kind: str = "minao") -> np.ndarray:
        """Return a cheap Kohn-Sham matrix to start from.

        Parameters
        ----------
        kind : {"minao", "sap"}
            Of superposed atomic densities (one Coulomb and exchange-correlation matrix), or the
            core Hamiltonian with superposed atomic potentials, which takes three-centre integrals
            only and is exact: no quadrature.

        Returns
        -------
        np.ndarray
            (nao, nao) Hartree.

        References
        ----------
        Lehtola, Visscher, Engel, J. Chem. Phys. 152, 144105 (2020) (SAP by Gaussians).
        """
        if kind == "minao":
            return self.fock(self.guess_density())
        if kind == "sap":
            return self.core + self._screening()
        raise InputError(f"unknown guess {kind!r}", field="guess", remedy=f"use {' or '.join(GUESSES)}")

    def _screening(self) -> np.ndarray:
        from pyscf.scf import hf

        if self.mole.has_ecp():
            raise InputError(
                "there are no atomic potentials for effective cores", field="guess", remedy="use minao"
            )
        return hf.make_sap(
            self.mole,
            {
                self.mole.atom_symbol(i): _screening_charge(SYMBOLS[z])
                for i, z in enumerate(self.sample.numbers)
            },
        )

    def solve(
        self, density: np.ndarray | None = None, conv_tol: float | None = None, max_cycle: int = 100
    ) -> ReferenceSolution:
        """Solve the Kohn-Sham equations.

        Parameters
        ----------
        density : np.ndarray, optional
            (nao, nao) density matrix to start from; PySCF's own guess by default.
        conv_tol : float, optional
            Of the energy, Hartree, with PySCF's tolerance for gradients. By default both are tight
            enough for elements of H to be right to 1e-7 Hartree.
        max_cycle : int

        Returns
        -------
        ReferenceSolution

        Raises
        ------
        SCFNotConverged
            Also PySCF's second-order solver is tried first, unless ``conv_tol`` is given (whoever
            counts cycles wants those of one method).
        """
        field = self._field.copy()
        field.max_cycle = max_cycle
        if conv_tol is not None:
            field.conv_tol, field.conv_tol_grad = conv_tol, None
        field.kernel(dm0=None if density is None else np.array(density))
        cycles = int(field.cycles)
        if not field.converged and conv_tol is None:
            field = field.newton()
            field.kernel(field.mo_coeff, field.mo_occ)
        if not field.converged:
            raise SCFNotConverged(f"PySCF does not converge in {max_cycle} cycles")
        density = np.array(field.make_rdm1())
        return ReferenceSolution(
            self.fock(density),
            density,
            float(field.e_tot),
            np.array(field.mo_energy),
            np.array(field.mo_coeff),
            cycles,
        )

    def forces(self, solution: ReferenceSolution) -> np.ndarray:
        """Return the (N, 3) forces on the nuclei, Hartree/Bohr."""
        gradient = self._solved(solution).nuc_grad_method()
        gradient.verbose = 0
        return -np.array(gradient.kernel())

    def hessian(self, solution: ReferenceSolution) -> np.ndarray:
        """Return (3N, 3N) second derivatives of the energy, Hartree/Bohr^2."""
        try:
            hessian = np.array(self._solved(solution).Hessian().kernel())
        except NotImplementedError as error:
            raise InputError(f"PySCF has no second derivatives of it ({error})", field="xc") from None
        size = 3 * len(self.sample.numbers)
        return hessian.transpose(0, 2, 1, 3).reshape(size, size)

    def _solved(self, solution: ReferenceSolution) -> Any:
        field = self._field.copy()
        field.mo_coeff, field.mo_energy = solution.coefficients, solution.orbital_energies
        field.mo_occ = field.get_occ(field.mo_energy, field.mo_coeff)
        field.e_tot, field.converged = solution.energy, True
        return field

    def complete(self, guess: str | None = "minao") -> "HamiltonianSample":
        """Return the sample with overlap, core Hamiltonian and (unless None) guess filled in."""
        sample = self.sample
        return replace(
            sample,
            xc=self.xc,
            overlap=self.overlap if sample.overlap is None else sample.overlap,
            core=self.core if sample.core is None else sample.core,
            guess=self.guess(guess) if guess and sample.guess is None else sample.guess,
        )


def version() -> str:
    """Return the version of PySCF."""
    import pyscf

    return str(pyscf.__version__)


@lru_cache(maxsize=256)
def _screening_charge(symbol: str) -> np.ndarray:
    from pyscf import gto

    found = gto.basis.load(_SAP_BASIS, symbol)
    rows = found[symbol] if isinstance(found, dict) else found
    return np.asarray(rows[0][1:], dtype=np.float64)


@lru_cache(maxsize=1024)
def element_momenta(number: int, basis: str) -> tuple[int, ...]:
    """Return l of the shells of an element, in PySCF's order.

    Parameters
    ----------
    number : int
        Nuclear charge.
    basis : str

    Returns
    -------
    tuple of int

    Raises
    ------
    InputError
        For an unknown basis, or an element it lacks.

    Examples
    --------
    >>> element_momenta(8, "def2-svp")
    (0, 0, 0, 1, 1, 2)
    """
    if not 0 < number < len(SYMBOLS):
        raise InputError(f"there is no element with nuclear charge {number}", field="numbers")
    mole = _mole([number], np.zeros((1, 3)), basis)
    return tuple(int(mole.bas_angular(i)) for i in range(mole.nbas) for _ in range(mole.bas_nctr(i)))


def masses(numbers: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return the (N,) masses of elements as they occur in nature, in electron masses.

    Examples
    --------
    >>> masses([1]).round(1).tolist()
    [1837.5]
    """
    from pyscf.data import elements, nist

    return np.array([elements.MASSES[int(z)] for z in numbers]) * (nist.ATOMIC_MASS / nist.E_MASS)


def _mole(numbers: Sequence[int] | np.ndarray, positions: np.ndarray, basis: str) -> Any:
    symbols = [SYMBOLS[z] for z in numbers]
    parse_geometry((symbols, np.asarray(positions).tolist()))  # refuses nuclei that coincide
    return build_mole(
        symbols, np.asarray(positions), resolve_basis(symbols, basis), resolve_ecp(symbols, basis)
    )
