"""A molecule as tensors: geometry and basis in, constants of the self-consistent field out."""

from collections.abc import Sequence
from dataclasses import astuple
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepchem_dft.errors import InputError
from deepchem_dft.molecule import cache, electrons, integrals
from deepchem_dft.molecule.basis import resolve_basis, resolve_ecp
from deepchem_dft.molecule.changes import changed, checked_level, tidy
from deepchem_dft.molecule.constants import Constants
from deepchem_dft.molecule.fitting import resolve_fitting
from deepchem_dft.molecule.geometry import as_said, formula, names_a_file, read_geometry
from deepchem_dft.molecule.grid import GRID_ORDER, MolecularGrid
from deepchem_dft.molecule.repulsion import ElectronRepulsion
from deepchem_dft.molecule.surroundings import Surroundings
from deepchem_dft.torchstate import unaffected

Geometry = str | Path | tuple[list[str], Any]


class Molecule(ElectronRepulsion):
    """Constants of one molecule, made once by PySCF and cached in memory and on disk.

    Molecules that differ in their electrons alone (a cation and its parent) share them in memory.

    Parameters
    ----------
    geometry : str, path or (symbols, positions)
        ``"O 0 0 0; H 0 0 1.8; H 1.7 0 -0.5"``, a list of symbols with an (natom, 3) array, or an
        xyz file by its name (``"water.xyz"``), plain or extended; see :doc:`/howto/files`.
    basis : str or dict
        Any basis PySCF or the Basis Set Exchange knows, or one per element.
    charge : float, optional
        Total charge. May be fractional. Default: what the comment line of an xyz file says, or 0.
    spin : float, optional
        2S = n_alpha - n_beta. May be fractional. Default: likewise.
    unit : {"bohr", "angstrom"}, optional
        Unit of ``geometry``. Default: Angstrom for xyz files, Bohr otherwise.
    grid_level : int
        PySCF's quadrature level, 0 to 9. Level 3 is safe for energies to 1e-5 Ha.
    nelec : (float, float), optional
        Electrons of each spin, which may be fractional. Overrides ``charge`` and ``spin``.
    occupations : (sequence of float, sequence of float), optional
        Electrons (0 to 1) in the lowest alpha and beta orbitals, by energy, for shells that are to
        be filled evenly, say. Their sums are the electron numbers. Overrides ``nelec``.
    ecp : str or dict, optional
        Effective core potential by name or per element. The def2 and LANL families bring theirs.
    density_fit : None, bool, str or dict
        Electron repulsion from fitted densities: an error of some 1e-5 Ha per atom that mostly
        cancels in differences, for much less memory and time. None fits molecules with more than
        180 orbitals, True and False all and none. Or a fitting basis by name or per element; True
        uses PySCF's choice, a JK-fit set, which is good for exact exchange as well.
    name : str, optional
        For messages; the formula if not given.
    restricted : bool, optional
        Whether both spins are to share their orbitals. None leaves it to who solves: shared for
        closed shells, as a rule.
    broken_symmetry : bool or sequence of float
        Look for antiparallel spins: True in every way; or local spins (2S_z) of the atoms to start
        from, which add up to ``spin``. Implies ``restricted=False``.
    surroundings : Surroundings or str, optional
        What it is in: the name of a solvent, or
        :class:`~deepchem_dft.molecule.surroundings.Surroundings` for point charges and other models.
        :class:`~deepchem_dft.scf.KohnSham` then has its fields solved by PySCF.

    Attributes
    ----------
    symbols : list of str
    positions : ndarray, shape (natom, 3), Bohr
    nelec : (float, float)
    nao : int
        Number of (spherical) atomic orbitals, in PySCF's order.
    fitting : FittingBasis or None
        The auxiliary functions if the density is fitted.
    key : str
        Hash of everything the constants depend on, and of the electron numbers.

    Raises
    ------
    InputError
        For a geometry, basis, charge or spin that cannot be.

    Examples
    --------
    >>> water = Molecule("O 0 0 0; H 0 1.43 -0.98; H 0 -1.43 -0.98", basis="sto-3g")
    >>> water.formula, water.nao, water.nelec
    ('H2O', 7, (5.0, 5.0))
    """

    def __init__(
        self,
        geometry: Geometry,
        basis: str | dict = "def2-tzvp",
        charge: float | None = None,
        spin: float | None = None,
        unit: str | None = None,
        grid_level: int = 3,
        *,
        nelec: tuple[float, float] | None = None,
        occupations: tuple[Sequence[float], Sequence[float]] | None = None,
        ecp: str | dict | None = None,
        density_fit: bool | str | dict | None = None,
        name: str | None = None,
        restricted: bool | None = None,
        broken_symmetry: bool | Sequence[float] = False,
        surroundings: Surroundings | str | None = None,
    ) -> None:
        found = read_geometry(geometry, unit)
        self.symbols, self.positions = found.symbols, found.positions
        if nelec is None and occupations is None:
            source = str(geometry) if names_a_file(geometry) else "the geometry"
            charge = as_said("charge", charge, found.charge, source)
            spin = as_said("spin", spin, found.spin, source)
        self.basis, self.ecp = basis, ecp
        self.grid_level = checked_level(grid_level)
        self._basis_data = resolve_basis(self.symbols, basis)
        self._ecp_data = resolve_ecp(self.symbols, basis, ecp)
        self.occupations = None if occupations is None else electrons.from_occupations(occupations)
        self._set_electrons(charge, spin, nelec)
        self.density_fit = density_fit
        self.fitting = resolve_fitting(self.pyscf_mol, basis, density_fit)
        self.name = name or self.formula
        self.surroundings = Surroundings.of(surroundings)
        self.restricted, self.broken_symmetry = electrons.treatment(
            restricted, broken_symmetry, len(self.symbols), self.spin
        )

    # -- what it is made of -------------------------------------------------------------------

    def _set_electrons(self, charge, spin, nelec) -> None:
        protons = int(sum(self.pyscf_mol.atom_charges()))
        if self.occupations is not None:
            self.nelec = (sum(self.occupations[0]), sum(self.occupations[1]))
        elif nelec is not None:
            self.nelec = electrons.from_counts(nelec)
        else:
            self.nelec = electrons.from_charge_and_spin(charge, spin, protons, self.formula)
        if max(self.nelec) > self.nao or (
            self.occupations is not None and max(map(len, self.occupations)) > self.nao
        ):
            raise InputError(
                f"{max(self.nelec):g} electrons of one spin do not fit into {self.nao} orbitals",
                field="basis",
                remedy="use a larger basis",
            )
        self.charge = tidy(protons - sum(self.nelec))
        self.spin = tidy(self.nelec[0] - self.nelec[1])

    @cached_property
    def pyscf_mol(self):
        """The PySCF ``gto.Mole`` behind the integrals (its own charge and spin mean nothing)."""
        return integrals.build_mole(self.symbols, self.positions, self._basis_data, self._ecp_data)

    @property
    def formula(self) -> str:
        """Hill formula, without charge."""
        return formula(self.symbols)

    @cached_property
    def constants_key(self) -> str:
        """Hash of geometry and basis: molecules that share it share what is made from them."""
        return cache.content_key(
            {
                "symbols": self.symbols,
                "positions": [[float(c).hex() for c in r] for r in self.positions],
                "basis": self._basis_data,
                "ecp": self._ecp_data,
            }
        )

    @cached_property
    def key(self) -> str:
        """Hash of geometry, basis, fitting basis, grid and electron numbers."""
        content = {
            "constants": self.constants_key,
            "grid_level": self.grid_level,
            "nelec": self.nelec,
            "occupations": self.occupations,
        }
        if self.fitting is not None:
            content["fitting"] = self.fitting.data
        if self.restricted is not None:
            content["treatment"] = (self.restricted, self.broken_symmetry)
        if self.surroundings is not None:
            content["surroundings"] = astuple(self.surroundings)
        return cache.content_key(content)

    def replace(self, **changes: Any) -> "Molecule":
        """Return this molecule with some things changed and everything else as it is.

        Parameters
        ----------
        **changes
            ``positions`` ((natom, 3), Bohr), or any argument of the constructor. Charge and spin
            stay unless they, electron numbers or occupations are given.

        Examples
        --------
        >>> cation = Molecule("N 0 0 0; N 0 0 2.1", "sto-3g", charge=1, spin=1)
        >>> cation.replace(positions=[[0, 0, 0], [0, 0, 2.2]])
        Molecule(N2, charge=+1, spin=1, 10 orbitals, grid level 3)
        """
        return Molecule(**changed(self, changes))

    def at(self, positions: Any) -> "Molecule":
        """Return this molecule with its atoms elsewhere, (natom, 3), Bohr; see :meth:`replace`."""
        return self.replace(positions=positions)

    def __repr__(self) -> str:
        fitted = "" if self.fitting is None else f", density fitted in {self.fitting.name}"
        where = "" if self.surroundings is None else f", in {self.surroundings.description}"
        return (
            f"Molecule({self.name}, charge={self.charge:+g}, spin={self.spin:g}, "
            f"{self.nao} orbitals, grid level {self.grid_level}{fitted}{where})"
        )

    def __getstate__(self) -> dict:
        # Workers get the recipe, not gigabytes; constants come back from the cache on demand.
        # The keys go too: where it is unpickled, PySCF may have another version.
        left_out = ("_constants", "_grids", "_twin", "pyscf_mol", "constants_key", "key")
        return {name: value for name, value in self.__dict__.items() if name not in left_out}

    @cached_property
    def _constants(self) -> Constants:  # type: ignore[override]
        return Constants.of(self.constants_key)

    def fitted(self) -> "Molecule":
        """Return this molecule with its density fitted, sharing all else (itself if it is)."""
        if self.fitting is not None:
            return self
        if "_twin" not in self.__dict__:
            twin = self.__class__.__new__(self.__class__)
            twin.__dict__.update({k: v for k, v in self.__dict__.items() if k != "key"})
            twin.density_fit = True
            twin.fitting = resolve_fitting(self.pyscf_mol, self.basis, True)
            self.__dict__["_twin"] = twin
        return self.__dict__["_twin"]

    # -- quadrature ---------------------------------------------------------------------------

    @cached_property
    def _grids(self) -> dict[int | None, MolecularGrid]:
        return {}

    def grid_at(self, level: int | str | None) -> MolecularGrid:
        """Return the quadrature grid of a level, 0 to 9; "coarse" or None for the coarse one."""
        if isinstance(level, str):
            level = None if level == "coarse" else checked_level(level)
        if level not in self._grids:
            key = cache.content_key(
                {
                    "constants": self.constants_key,
                    "order": GRID_ORDER,
                    "grid_level": integrals.COARSE if level is None else level,
                }
            )
            constants = Constants.of(key, group=self.constants_key)
            # PySCF's molecule, not self: a grid must not keep its molecule alive
            self._grids[level] = MolecularGrid(self.pyscf_mol, level, constants)
        return self._grids[level]

    @property
    def grid(self) -> MolecularGrid:
        """The quadrature grid of the molecule's own level."""
        return self.grid_at(self.grid_level)

    @property
    def coarse_grid(self) -> MolecularGrid:
        """A grid of few points that gives potentials to some 1e-3 Ha."""
        return self.grid_at(None)

    @property
    def points(self) -> Tensor:
        """Quadrature points, shape (G, 3), Bohr."""
        return self.grid.points

    @property
    def weights(self) -> Tensor:
        """Quadrature weights, shape (G,), Bohr^3."""
        return self.grid.weights

    # -- small constants ----------------------------------------------------------------------

    def _small(self, name: str) -> Tensor:
        def make() -> dict[str, np.ndarray]:
            mole = self.pyscf_mol
            return {**integrals.one_electron(mole), "starting_density": integrals.starting_density(mole)}

        return self._constants.small(name, make)

    @property
    def overlap(self) -> Tensor:
        """Overlap matrix S, shape (nao, nao)."""
        return self._small("overlap")

    @property
    def core_hamiltonian(self) -> Tensor:
        """Kinetic energy and nuclear attraction, shape (nao, nao), Ha."""
        return self._small("core_hamiltonian")

    @property
    def dipole_integrals(self) -> Tensor:
        """Position integrals, shape (3, nao, nao), Bohr."""
        return self._small("dipole")

    @property
    def starting_density(self) -> Tensor:
        """Spin-summed density matrix of neutral atoms, shape (nao, nao)."""
        return self._small("starting_density")

    @cached_property
    def nuclear_repulsion(self) -> float:
        """Nuclear repulsion energy, Ha."""
        return float(self.pyscf_mol.energy_nuc())

    @property
    def nuclear_dipole(self) -> Tensor:
        """Dipole moment of the nuclei about the origin, shape (3,), e Bohr."""
        charges = self.pyscf_mol.atom_charges().astype(float)
        return torch.from_numpy(charges @ self.positions)

    # -- large constants ----------------------------------------------------------------------

    def release(self) -> None:
        """Drop large constants from memory; they are made again on demand.

        This holds for every molecule of the same geometry and basis: they share them.
        """
        self._constants.release_group()

    @unaffected
    def eval_ao(self, points: Tensor | np.ndarray, deriv: int = 0) -> Tensor:
        """Evaluate the atomic orbitals anywhere.

        Parameters
        ----------
        points : shape (G, 3), Bohr
        deriv : {0, 1, 2}

        Returns
        -------
        Tensor, shape (1, 4 or 10, G, nao)
        """
        points = np.ascontiguousarray(torch.as_tensor(points).detach().cpu().numpy(), dtype=float)
        values = integrals.atomic_orbitals(self.pyscf_mol, points, deriv)
        return torch.from_numpy(np.ascontiguousarray(values))
