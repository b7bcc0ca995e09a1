"""Molecules in ASE: a calculator that runs any functional of this package."""

import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

try:
    from ase import Atoms, units
    from ase.calculators import calculator as ase_calculators
    from ase.calculators.abc import GetOutputsMixin
    from ase.calculators.calculator import (
        Calculator,
        CalculatorSetupError,
        PropertyNotPresent,
        SCFError,
        all_changes,
    )
except ImportError as error:
    raise ImportError("deepchem_dft.interop.ase needs ASE: pip install 'ase>=3.22.1'") from error

from deepchem_dft.errors import CheckpointError, InputError, SCFNotConverged
from deepchem_dft.molecule import Molecule, cache
from deepchem_dft.molecule.geometry import as_said
from deepchem_dft.molecule.reading import comment
from deepchem_dft.molecule.surroundings import Surroundings
from deepchem_dft.scf import KohnSham
from deepchem_dft.scf.guess import GuessExtrapolation
from deepchem_dft.scf.state import read_orbitals, write_orbitals
from deepchem_dft.xc.base import XCFunctional
from deepchem_dft.xc.ensemble import EnsembleXC
from deepchem_dft.xc.names import get_xc

__all__ = ["KohnShamCalculator"]

_PARAMETERS = {
    "basis": "def2-tzvp",
    "charge": None,
    "spin": None,
    "grid_level": 3,
    "density_fit": None,
    "tol": 1e-6,
    "max_iter": 500,
    "ecp": None,
    "restricted": None,
    "stability": False,
    "broken_symmetry": None,
    "surroundings": None,
}


#: Fewer electrons than this leave an orbital empty.
_FILLED = 1e-6


class KohnShamCalculator(Calculator, GetOutputsMixin):
    """Kohn-Sham energies, forces, dipole moments and charges of molecules for ASE.

    Each geometry starts from orbitals that those of the last ones foretell (see
    :class:`~deepchem_dft.scf.guess.GuessExtrapolation`), which takes about half the Fock builds of a
    start from atoms or fewer. The quadrature grid moves with the atoms and its response is part of the
    forces, so that these are exact derivatives of the energy and dynamics conserve it.

    Parameters
    ----------
    xc : str or XCFunctional
        A name (of libxc, or ``zoo:NAME``) or any functional of this package, such as
        ``model.functional``.
    basis : str or dict
        As in :class:`~deepchem_dft.molecule.Molecule`, like ``ecp``, ``grid_level`` and
        ``density_fit``.
    charge : int, optional
        Total charge. Default: ``atoms.info["charge"]`` or the sum of the atoms' initial charges.
    spin : int, optional
        2S = n_alpha - n_beta. Default: ``atoms.info["spin"]`` (2S as well), ``["mult"]`` less 1, or
        the sum of the atoms' initial magnetic moments.
    tol : float
        Convergence of the self-consistent field, Ha; see :class:`~deepchem_dft.scf.KohnSham`.
    max_iter : int
        Bound on Fock builds.
    restricted, stability : bool
        As in :class:`~deepchem_dft.scf.KohnSham`.
    broken_symmetry : bool or sequence of float, optional
        Likewise. Default: the atoms' initial magnetic moments, if some are up and some down: each
        geometry without orbitals of an earlier one then starts from such local spins.
    surroundings : str or Surroundings, optional
        The name of a solvent, or :class:`~deepchem_dft.molecule.surroundings.Surroundings` for point
        charges (which are in Bohr there, and stay where they are) and other models.
    restart : path, optional
        Orbitals written by :meth:`write` (or ``deepchem-dft scf --write``), from which the first geometry
        starts; its atoms may have moved.
    **kwargs
        Passed on to ASE: ``atoms``, ``label``, ``directory``.

    Attributes
    ----------
    result : KSResult or None
        The last calculation, in atomic units, with all there is beyond what ASE knows.
    results : dict
        What ASE reads (``charges`` are Mulliken's, in e); of an ensemble also ``"energy_uncertainty"``
        (eV), that of the total energy (see :class:`~deepchem_dft.xc.ensemble.EnsembleXC`).

    Raises
    ------
    CalculatorSetupError
        For a molecule that cannot be: periodic, impossible charge or spin, ``info`` that
        contradicts the atoms' charges or moments, unknown functional or basis. Mind that a radical
        needs ``spin`` or magnetic moments.
    SCFError
        If the self-consistent field does not converge.
    UserWarning
        If there is a word to be said about the state found (``result.notes``), such as a lower
        one.
    PropertyNotImplementedError
        For other properties, such as the stress.

    References
    ----------
    Larsen et al., J. Phys.: Condens. Matter 29, 273002 (2017).

    Examples
    --------
    >>> h2 = Atoms("H2", [(0, 0, 0), (0, 0, 0.74)])
    >>> h2.calc = KohnShamCalculator(xc="pbe", basis="sto-3g", grid_level=1)
    >>> round(h2.get_potential_energy(), 1), h2.get_forces().shape      # eV, eV/Angstrom
    (-31.3, (2, 3))
    >>> [round(float(level), 1) for level in h2.calc.get_homo_lumo()], h2.calc.get_number_of_spins()  # eV
    ([-9.8, 10.4], 1)
    """

    implemented_properties = ["energy", "free_energy", "forces", "dipole", "magmom", "charges"]
    default_parameters: dict[str, Any] = {"xc": "pbe", **_PARAMETERS}
    #: Vacuum around a molecule means nothing here.
    ignored_changes = {"cell"}
    discard_results_on_any_change = True

    def __init__(
        self, xc: str | XCFunctional = "pbe", restart: str | Path | None = None, **kwargs: Any
    ) -> None:
        self._orbitals = restart
        self.result: Any = None
        self._starts = GuessExtrapolation()
        self._system: tuple | None = None  # what they are for
        self._template: Molecule | None = None  # whose atoms are moved, if there is one
        super().__init__(xc=xc, **kwargs)

    def set(self, **kwargs: Any) -> dict:
        """Change parameters; results and orbitals of the old ones are dropped.

        Raises
        ------
        CalculatorSetupError
            For a parameter or functional there is not.
        """
        unknown = sorted(set(kwargs) - set(self.default_parameters))
        if unknown:
            raise CalculatorSetupError(
                f"unknown parameter '{unknown[0]}'; there are {', '.join(self.default_parameters)}"
            )
        if "xc" in kwargs:
            try:
                self._functional = get_xc(kwargs["xc"])
            except (InputError, CheckpointError) as error:
                raise CalculatorSetupError(str(error)) from error
        # not in reset(), which older ASE calls whenever atoms move
        self.result, self._system = None, None
        return super().set(**kwargs)

    def todict(self, skip_default: bool = True) -> dict:
        """Return the parameters as plain data, for ASE's files; a functional by its class."""
        found = super().todict(skip_default)
        if isinstance(found.get("xc"), XCFunctional):
            found["xc"] = type(found["xc"]).__name__
        if isinstance(found.get("surroundings"), Surroundings):
            found["surroundings"] = found["surroundings"].description
        return found

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list:
        """Return what has changed since the last calculation, charge and spin included."""
        changes = super().check_state(atoms, tol)
        if self.atoms is not None and _said(self.atoms)[:2] != _said(atoms)[:2]:
            changes.append("info")
        return changes

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        """Run one geometry; called by ASE."""
        super().calculate(atoms, properties, system_changes)
        # Where atoms move, integrals of a geometry are not asked for again.
        with nullcontext() if self._system is None else cache.read_only():
            # ASE asks for one property after the other; for the same atoms one solution serves all.
            if system_changes or self.result is None or not self.results:
                self.results = {}
                self._solve(self.atoms)
            if "forces" in properties:
                scale = units.Hartree / units.Bohr
                self.results["forces"] = _array(self.result.forces()) * scale

    def write(self, path: str | Path) -> None:
        """Write the orbitals to an ``.npz`` file, for ``restart=`` or ``deepchem-dft scf --read``.

        Raises
        ------
        PropertyNotPresent
            If nothing has been calculated.
        InputError, StorageError
            See :func:`~deepchem_dft.scf.state.write_orbitals`.
        """
        result = self._calculated()
        write_orbitals(path, result.molecule, result.state)

    def get_homo_lumo(self) -> np.ndarray:
        """Return the energies (eV) of the highest occupied and the lowest empty orbital, of either spin.

        They are infinite where there is none.

        Raises
        ------
        PropertyNotPresent
            If nothing has been calculated.
        """
        result = self._calculated()
        levels, filled = _array(result.orbital_energies), _array(result.occupations) > _FILLED
        ends = levels[filled].max(initial=-np.inf), levels[~filled].min(initial=np.inf)
        return np.array(ends) * units.Hartree

    def _outputmixin_get_results(self) -> Mapping[str, Any]:
        """Return what ASE's ``get_eigenvalues`` and its like read: one point of reciprocal space, eV."""
        result = self._calculated()
        return {
            "eigenvalues": _array(result.orbital_energies)[:, None] * units.Hartree,
            "occupations": _array(result.occupations)[:, None],
            "fermi_level": float(self.get_homo_lumo().mean()),
            "ibz_kpoints": np.zeros((1, 3)),
            "kpoint_weights": np.ones(1),
        }

    def _calculated(self) -> Any:
        if self.result is None:
            raise PropertyNotPresent("orbitals: ask for an energy first")
        return self.result

    def _solve(self, atoms: Any) -> None:
        try:
            molecule = self._molecule(atoms)
            system = (molecule.symbols, molecule.nelec, molecule.restricted, molecule.broken_symmetry)
            if system != self._system:
                self._starts = GuessExtrapolation()
            guess = self._starts.guess(molecule)
            if guess is None and self._orbitals is not None:
                guess = read_orbitals(self._orbitals, molecule)
            self.result = self._system = None  # what does not converge is no place to start from
            result = KohnSham(
                molecule,
                self._functional,
                tol=self.parameters["tol"],
                max_iter=self.parameters["max_iter"],
                stability=self.parameters["stability"],
            ).run(guess=guess)
        except SCFNotConverged as error:
            raise SCFError(str(error)) from error
        except InputError as error:
            raise CalculatorSetupError(str(error)) from error
        self._orbitals = None
        self._starts.add(result)
        self.result, self._system = result, system
        for note in result.notes:
            warnings.warn(f"{molecule.name}: {note}", stacklevel=2)
        energy = float(result.energy.detach()) * units.Hartree
        self.results = {
            "energy": energy,
            "free_energy": energy,  # nothing is smeared
            "dipole": _array(result.dipole) * units.Bohr,
            "magmom": float(molecule.spin),
            "charges": _array(result.charges()),
        }
        if isinstance(self._functional, EnsembleXC):
            spread = self._functional.uncertainty(result)
            self.results["energy_uncertainty"] = spread * units.Hartree

    def _molecule(self, atoms: Atoms) -> Molecule:
        if atoms.pbc.any():
            raise InputError(
                "periodic systems are not supported", field="pbc", remedy="set atoms.pbc = False"
            )
        # ASE's own constants, not ours, which are of another year
        positions = atoms.get_positions() / units.Bohr
        if self._template is not None:
            return self._template.at(positions)
        asked = self.parameters
        *said, remarks = _said(atoms)
        for remark in remarks:
            warnings.warn(remark, stacklevel=2)
        charge = _chosen("charge", asked["charge"], said[0], atoms.get_initial_charges(), "initial charges")
        spin = _chosen(
            "spin", asked["spin"], said[1], atoms.get_initial_magnetic_moments(), "initial magnetic moments"
        )
        geometry = (atoms.get_chemical_symbols(), positions)
        return Molecule(
            geometry,
            asked["basis"],
            charge,
            spin,
            "bohr",
            asked["grid_level"],
            density_fit=asked["density_fit"],
            ecp=asked["ecp"],
            restricted=asked["restricted"],
            broken_symmetry=self._local_spins(atoms, spin),
            surroundings=asked["surroundings"],
        )

    def _local_spins(self, atoms: Atoms, spin: int) -> Any:
        """Return what is asked for, or the atoms' moments if they are antiparallel."""
        asked, moments = self.parameters["broken_symmetry"], atoms.get_initial_magnetic_moments()
        if asked is not None:
            return asked
        if self.parameters["restricted"] or not (moments.min() < 0.0 < moments.max()):
            return False
        total = moments.sum()
        if abs(abs(total) - spin) > 0.05:
            return True  # another spin was asked for than these add up to
        return [float(m) for m in (moments if total >= 0 else -moments)]


if "deepchem_dft" not in ase_calculators.external_calculators:
    # for tools that take a calculator by name, once this module is imported
    ase_calculators.register_calculator_class("deepchem_dft", KohnShamCalculator)


def _said(atoms: Any) -> tuple[int | None, int | None, list[str]]:
    """Return charge and 2S of ``atoms.info``, and what there is not read."""
    remarks: list[str] = []
    pairs = [(key.lower(), str(value)) for key, value in atoms.info.items() if isinstance(key, str)]
    return *comment.electrons(pairs, remarks, "atoms.info"), remarks


def _chosen(field: str, asked: int | None, said: int | None, parts: np.ndarray, what: str) -> int:
    """Choose between the calculator's parameter, ``atoms.info`` and what the atoms have."""
    if asked is not None or (said is not None and not parts.any()):
        return as_said(field, asked, said, "atoms.info")
    total = _whole(abs(parts.sum()) if field == "spin" else parts.sum(), what, field)
    if said is not None and said != total:
        raise InputError(
            f"the {field} {said} of atoms.info contradicts the {what} of the atoms, which add up to {total}",
            field=field,
            remedy=f"set {field}= of the calculator",
        )
    return total


def _whole(total: float, what: str, field: str) -> int:
    # guesses per atom are often rounded, so their sum may be a little off
    if abs(total - round(total)) > 0.05:
        raise InputError(
            f"the {what} of the atoms add up to {total:g}, which is no whole number",
            field=field,
            remedy=f"set {field}= of the calculator",
        )
    return round(total)


def _array(tensor: Any) -> np.ndarray:
    return tensor.detach().cpu().numpy()
