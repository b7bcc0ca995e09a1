"""Harmonic vibrations with any functional: wavenumbers, infrared intensities, thermochemistry."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from pyscf import dft
from pyscf.hessian import thermo

from deepchem_dft.checks import choice
from deepchem_dft.errors import InputError, SCFNotConverged
from deepchem_dft.interop.thermochemistry import (
    ATMOSPHERE,
    ROOM_TEMPERATURE,
    Thermochemistry,
    ideal_gas,
    pyscf_mole,
)
from deepchem_dft.molecule import Molecule
from deepchem_dft.scf import KohnSham
from deepchem_dft.units import HARTREE_TO_KCAL
from deepchem_dft.xc.base import XCFunctional
from deepchem_dft.xc.names import get_xc
from deepchem_dft.xc.nonlocality.terms import has_nonlocal_part

__all__ = ["HESSIANS", "Frequencies", "frequencies", "untrusted"]

#: Ways to second derivatives.
HESSIANS = ("auto", "analytic", "differences")
#: Atoms are moved by this to and fro, Bohr: errors of third order stay below 1 cm-1.
_STEP = 0.01
#: Convergence of the fields whose forces are subtracted, Ha: what is left is divided by the step.
_TOL = 1e-7
#: Force above which a geometry is not called stationary, Ha/Bohr.
STATIONARY = 1e-3
#: Grid from which on PySCF's Hessian, mended, is as good as differences (docs/howto/pyscf.md).
_FINE_ENOUGH = 3
#: Infrared intensity of a change of the dipole by 1 e per Bohr sqrt(u)/Bohr, km/mol: N_A pi / (3 c^2)
#: e^2/(4 pi epsilon_0 u), with CODATA's values.
_KM_PER_MOL = 974.8801


@dataclass
class Frequencies:
    """Normal modes of a molecule.

    Attributes
    ----------
    molecule : Molecule
    result : KSResult
        At the geometry given.
    hessian : ndarray, shape (natom, natom, 3, 3), Ha/Bohr^2
    dipole_derivatives : ndarray, shape (natom, 3, 3), e, or None
        By displacement (second axis) of an atom; None if the route does not give them.
    route : str
        How the Hessian was made, in words.
    largest_force : float
        Ha/Bohr; zero at a stationary point.
    wavenumbers : ndarray, shape (nmodes,), cm^-1
        Ascending, without translations and rotations; imaginary ones as negative numbers.
    modes : ndarray, shape (nmodes, natom, 3)
        Displacements of mass-weighted length one, 1/sqrt(u).
    reduced_masses : ndarray, shape (nmodes,), u
    """

    molecule: Molecule
    result: Any
    hessian: np.ndarray = field(repr=False)
    dipole_derivatives: np.ndarray | None = field(repr=False)
    route: str
    largest_force: float

    @cached_property
    def _analysis(self) -> dict[str, np.ndarray]:
        if len(self.molecule.symbols) == 1:
            none = np.zeros(0)
            return {
                "freq_au": none,
                "freq_wavenumber": none,
                "reduced_mass": none,
                "norm_mode": np.zeros((0, 1, 3)),
            }
        return thermo.harmonic_analysis(pyscf_mole(self.molecule), self.hessian, imaginary_freq=False)

    @property
    def wavenumbers(self) -> np.ndarray:
        """See the class."""
        return self._analysis["freq_wavenumber"]

    @property
    def modes(self) -> np.ndarray:
        """See the class."""
        return self._analysis["norm_mode"]

    @property
    def reduced_masses(self) -> np.ndarray:
        """See the class."""
        return self._analysis["reduced_mass"]

    @property
    def intensities(self) -> np.ndarray | None:
        """Infrared intensities, km/mol, shape (nmodes,), in the double harmonic approximation."""
        if self.dipole_derivatives is None:
            return None
        slopes = np.einsum("kax,axd->kd", self.modes, self.dipole_derivatives)
        return _KM_PER_MOL * (slopes**2).sum(1)

    @property
    def imaginary(self) -> list[int]:
        """Places of the modes along which the energy falls."""
        return [int(k) for k in np.flatnonzero(self.wavenumbers < 0)]

    def movers(self, mode: int, least: float = 0.1) -> list[tuple[int, float]]:
        """Return which atoms move in a mode: their places and shares of the kinetic energy.

        Parameters
        ----------
        mode : int
        least : float
            Smaller shares are left out.
        """
        masses = self.molecule.pyscf_mol.atom_mass_list(isotope_avg=True)
        shares = masses * (self.modes[mode] ** 2).sum(1)
        return [(int(a), float(shares[a])) for a in np.argsort(-shares) if shares[a] >= least]

    def name(self, mode: int) -> str:
        """Return a mode in words: its wavenumber and the atoms that move most, numbered from 1."""
        value = self.wavenumbers[mode]
        text = f"{abs(value):.1f}{'i' if value < 0 else ''} cm-1"
        parts = [f"{self.molecule.symbols[a]}{a + 1} {share:.0%}" for a, share in self.movers(mode)]
        return f"{text} ({', '.join(parts)} of the motion)"

    def thermochemistry(
        self, temperature: float = ROOM_TEMPERATURE, pressure: float = ATMOSPHERE, symmetry: int | None = None
    ) -> Thermochemistry:
        """Return enthalpy, entropy and Gibbs energy; imaginary modes are left out.

        Parameters
        ----------
        temperature : float
            K.
        pressure : float
            Pa.
        symmetry : int, optional
            Symmetry number. Default: found from the geometry.
        """
        energy = float(self.result.energy.detach())
        # nothing is hidden: notes say how many modes are imaginary
        return ideal_gas(self.molecule, energy, self._analysis["freq_au"], temperature, pressure, symmetry)

    @property
    def notes(self) -> tuple[str, ...]:
        """What should be said beside the numbers."""
        found = list(self.result.notes)
        if self.largest_force > STATIONARY:
            found.append(
                f"the geometry is not stationary (largest force {self.largest_force:.1e} Ha/Bohr): optimise "
                "it first, or the wavenumbers mean little"
            )
        if self.molecule.surroundings is not None and self.molecule.surroundings.point_charges:
            found.append(
                "point charges hold the molecule, whose translations and rotations are left out all the same"
            )
        if self.imaginary:
            names = "; ".join(self.name(k) for k in self.imaginary)
            kind = "a transition state" if len(self.imaginary) == 1 else "no minimum"
            found.append(
                f"{len(self.imaginary)} imaginary, left out of the thermochemistry: {names}; this is {kind}, "
                "unless a finer grid or geometry says otherwise"
            )
        return tuple(found)

    def as_data(self) -> dict[str, Any]:
        """Return what was found as plain data, with units in the names."""
        molecule, bright = self.molecule, self.intensities
        return {
            "molecule": molecule.formula,
            "charge": molecule.charge,
            "multiplicity": molecule.spin + 1,
            "basis": str(molecule.basis),
            "grid_level": molecule.grid_level,
            "surroundings": None if molecule.surroundings is None else molecule.surroundings.description,
            "symbols": list(molecule.symbols),
            "positions_bohr": molecule.positions.tolist(),
            "hessian_from": self.route,
            "largest_force_hartree_per_bohr": self.largest_force,
            "wavenumbers_per_cm": self.wavenumbers.tolist(),
            "intensities_km_per_mol": None if bright is None else bright.tolist(),
            "reduced_masses_u": self.reduced_masses.tolist(),
            "modes_per_sqrt_u": self.modes.tolist(),
            "notes": list(self.notes),
        }


def untrusted(molecule: Molecule, functional: XCFunctional) -> str | None:
    """Return why PySCF's analytic Hessian is not taken, or None if it is.

    Examples
    --------
    >>> water = Molecule("O 0 0 0; H 0 1.43 -0.98; H 0 -1.43 -0.98", "sto-3g", grid_level=1)
    >>> untrusted(water, get_xc("pbe"))
    'its grid does not follow the atoms, and level 1 is too coarse for that'
    """
    if molecule.surroundings is not None:
        return f"the molecule is in {molecule.surroundings.description}"
    if has_nonlocal_part(functional):
        return "a part of the functional sees the whole quadrature"
    if len({omega for _, omega in functional.exchange_terms} - {None}) > 1:
        return "PySCF has one range of exact exchange"
    if molecule.grid_level < _FINE_ENOUGH:
        return f"its grid does not follow the atoms, and level {molecule.grid_level} is too coarse for that"
    return None


def frequencies(
    molecule: Molecule,
    functional: str | XCFunctional,
    hessian: str = "auto",
    *,
    tol: float = 1e-7,
    stability: bool = False,
    on_step: Callable[[int, int], None] | None = None,
) -> Frequencies:
    """Return the harmonic vibrations of a molecule.

    Parameters
    ----------
    molecule : Molecule
        At a stationary point; see :func:`~deepchem_dft.interop.relaxation.relax`.
    functional : str or XCFunctional
    hessian : {"auto", "analytic", "differences"}
        PySCF's analytic one through :func:`~deepchem_dft.interop.pyscf.to_pyscf`, mended for what the
        grid's rest does to it; or differences of forces, which are exact derivatives on any grid.
        ``auto`` takes the first where it is as good (see :func:`untrusted`).
    tol : float
        Convergence of the self-consistent field at the geometry itself, Ha.
    stability : bool
        Test whether that field is a minimum, and go on down if not.
    on_step : callable, optional
        Called with the number of fields solved and that of all, for differences.

    Raises
    ------
    InputError
        For fractional electrons, or an analytic Hessian that the functional does not have.
    SCFNotConverged
        If a self-consistent field does not converge.

    References
    ----------
    Wilson, Decius and Cross, Molecular Vibrations (1955), chapters 2 and 7.

    Examples
    --------
    >>> h2 = Molecule("H 0 0 0; H 0 0 1.42", "sto-3g")
    >>> found = frequencies(h2, "pbe")
    >>> found.route, found.wavenumbers.shape, found.intensities.round(6)
    ('analytic (PySCF)', (1,), array([0.]))
    """
    choice(hessian, HESSIANS, "hessian")
    functional = get_xc(functional)
    if molecule.occupations is not None or any(n % 1 for n in molecule.nelec):
        raise InputError(
            "only whole electrons in the lowest orbitals can vibrate",
            field="geometry",
            remedy="leave nelec and occupations out",
        )
    result = KohnSham(molecule, functional, tol=tol, stability=stability).run()
    natom = len(molecule.symbols)
    if natom == 1:
        return Frequencies(molecule, result, np.zeros((1, 1, 3, 3)), None, "none, of an atom", 0.0)
    force = float(np.linalg.norm(result.forces().numpy(), axis=1).max())
    why = untrusted(molecule, functional)
    found = None
    if hessian != "differences" and (why is None or hessian == "analytic"):
        found = _analytic(molecule, functional, result, hessian == "analytic")
        why = why if found else "PySCF finds another self-consistent field"
    if found:
        return Frequencies(molecule, result, *found, "analytic (PySCF)", force)
    route = "differences of forces" + (f" (not PySCF's analytic one: {why})" if hessian == "auto" else "")
    return Frequencies(molecule, result, *_differences(molecule, functional, result, on_step), route, force)


def _analytic(
    molecule: Molecule, functional: XCFunctional, result: Any, insist: bool
) -> tuple[np.ndarray, np.ndarray | None] | None:
    """Return the Hessian and dipole derivatives, or None if PySCF ends in another state."""
    from deepchem_dft.interop.pyscf import to_pyscf

    mf = to_pyscf(molecule, functional)
    density = result.density_matrix.detach().cpu().numpy()
    if not result.restricted and isinstance(mf, dft.rks.RKS):  # antiparallel spins
        mf = mf.to_uks()
    unrestricted = isinstance(mf, dft.uks.UKS)
    mf.verbose, mf.mol.verbose, mf.conv_tol = 0, 0, 1e-10
    mf.kernel(dm0=density if unrestricted else density.sum(0))
    if not mf.converged:
        raise SCFNotConverged(f"PySCF's self-consistent field of {molecule.name} did not converge")
    apart = float(mf.e_tot) - float(result.energy.detach())
    if abs(apart) > 1e-5:
        if insist:
            raise InputError(
                f"PySCF finds another self-consistent field, {apart * HARTREE_TO_KCAL:.3f} kcal/mol off",
                field="hessian",
                remedy="take differences",
            )
        return None
    made = mf.Hessian()
    usual, kept = made.solve_mo1, []

    def keeping(*args: Any, **options: Any) -> Any:
        kept.append(usual(*args, **options))
        return kept[-1]

    made.solve_mo1 = keeping
    hessian = made.kernel()
    return hessian, _dipole_derivatives(mf, kept[-1][0]) if kept else None


def _dipole_derivatives(mf: Any, changes: Any) -> np.ndarray:
    """Return d dipole / d position (natom, 3, 3) from the first-order orbitals PySCF's Hessian made."""
    mol, density = mf.mol, np.asarray(mf.make_rdm1())
    coefficients, occupations = np.asarray(mf.mo_coeff), np.asarray(mf.mo_occ)
    if density.ndim == 2:
        spins = [(coefficients, occupations, changes)]
    else:
        spins = list(zip(coefficients, occupations, changes, strict=True))
        density = density.sum(0)
    nao = mol.nao_nr()
    position = mol.intor_symmetric("int1e_r", comp=3)
    moved = mol.intor("int1e_irp", comp=9).reshape(3, 3, nao, nao)  # <a| r_d d/dx b>
    found = np.zeros((mol.natm, 3, 3))
    for atom, (_, _, start, stop) in enumerate(mol.aoslice_by_atom()):
        found[atom] = mol.atom_charge(atom) * np.eye(3)
        found[atom] += 2 * np.einsum("dxab,ab->xd", moved[..., start:stop], density[:, start:stop])
        for orbitals, electrons, change in spins:
            filled = orbitals[:, electrons > 0] * electrons[electrons > 0]
            found[atom] -= 2 * np.einsum("dab,xai,bi->xd", position, change[atom], filled)
    return found


def _differences(
    molecule: Molecule, functional: XCFunctional, result: Any, on_step: Callable[[int, int], None] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the Hessian and dipole derivatives from fields at displaced geometries."""
    where = molecule.positions
    natom = len(where)
    hessian, dipoles = np.zeros((natom, 3, natom, 3)), np.zeros((natom, 3, 3))
    done = 0
    for atom, axis in np.ndindex(natom, 3):
        for sign in (1.0, -1.0):
            moved = where.copy()
            moved[atom, axis] += sign * _STEP
            there = KohnSham(molecule.at(moved), functional, tol=_TOL).run(guess=result.state)
            hessian[atom, axis] -= sign * there.forces().numpy()
            dipoles[atom, axis] += sign * there.dipole.detach().cpu().numpy()
            done += 1
            if on_step is not None:
                on_step(done, 6 * natom)
    hessian /= 2 * _STEP
    flat = hessian.reshape(3 * natom, -1)
    flat = (flat + flat.T) / 2
    return flat.reshape(natom, 3, natom, 3).transpose(0, 2, 1, 3), dipoles / (2 * _STEP)
