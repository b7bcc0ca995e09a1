"""One molecule with its Kohn-Sham matrices: what data files hold and networks are trained on."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from deepchem_dft.errors import InputError

#: The fields that hold one value per pair of atomic orbitals.
MATRICES = ("hamiltonian", "overlap", "core", "guess")
#: Largest difference of two elements that symmetry makes equal (files hold single precision).
_ASYMMETRY = 1e-3


@dataclass(eq=False)
class HamiltonianSample:
    """A closed-shell molecule and the matrices that are known of it.

    All matrices have PySCF's order of atomic orbitals: atoms as in ``numbers``, within an atom by
    angular momentum, within a shell p: x, y, z and d, f: m = -l ... l (real spherical functions).

    Attributes
    ----------
    numbers : np.ndarray
        (N,) nuclear charges.
    positions : np.ndarray
        (N, 3) Bohr.
    basis : str
        Name of the basis set, such as ``"def2-svp"``.
    hamiltonian : np.ndarray or None
        (nao, nao) Hartree, the converged Kohn-Sham (Fock) matrix. None where it is asked for.
    overlap, core, guess : np.ndarray or None
        (nao, nao) overlap, core Hamiltonian (Hartree), and Fock matrix of the superposition of
        atomic densities (PySCF's ``minao``, Hartree).
    energy : float or None
        Total energy, Hartree.
    forces : np.ndarray or None
        (N, 3) Hartree/Bohr.
    charge : int
        Of the molecule.
    xc : str or None
        The functional in PySCF's spelling, such as ``"pbe"``.
    name : str
        What it is called in messages and as an identifier.

    Raises
    ------
    InputError
        If shapes do not agree, or a number is not finite, or a matrix not symmetric.

    Examples
    --------
    >>> import numpy as np
    >>> sample = HamiltonianSample([1, 1], [[0, 0, 0], [0, 0, 1.4]], "sto-3g", np.eye(2))
    >>> sample.nao, sample.n_electrons, sample.energy
    (2, 2, None)
    >>> HamiltonianSample([1, 1], [[0, 0, 0]], "sto-3g")
    Traceback (most recent call last):
    ...
    deepchem_dft.errors.InputError: field 'positions': the shape is (1, 3), not (2, 3).
    """

    numbers: np.ndarray
    positions: np.ndarray
    basis: str
    hamiltonian: np.ndarray | None = None
    overlap: np.ndarray | None = None
    core: np.ndarray | None = None
    guess: np.ndarray | None = None
    energy: float | None = None
    forces: np.ndarray | None = None
    charge: int = 0
    xc: str | None = None
    name: str = ""

    def __post_init__(self) -> None:
        self.numbers = np.asarray(self.numbers, dtype=np.int64)
        if self.numbers.ndim != 1 or not len(self.numbers) or self.numbers.min() < 1:
            raise InputError("nuclear charges must be a list of positive numbers", field="numbers")
        self.positions = self._checked("positions", self.positions, (len(self.numbers), 3))
        if self.forces is not None:
            self.forces = self._checked("forces", self.forces, self.positions.shape)
        if self.energy is not None:
            self.energy = float(self._checked("energy", self.energy, ()))
        nao = self.nao
        for name in MATRICES:
            value = getattr(self, name)
            if value is None:
                continue
            matrix = self._checked(name, value, (nao, nao))
            if np.abs(matrix - matrix.T).max() > _ASYMMETRY:
                raise InputError("the matrix is not symmetric", field=name)
            setattr(self, name, matrix)

    @staticmethod
    def _checked(name: str, value: Any, shape: tuple) -> np.ndarray:
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            raise InputError("it is not an array of numbers", field=name) from None
        if array.shape != shape:
            raise InputError(f"the shape is {array.shape}, not {shape}", field=name)
        if not np.isfinite(array).all():
            raise InputError("a number is not finite", field=name)
        return array

    @property
    def nao(self) -> int:
        """Number of atomic orbitals, by the first matrix there is (0 without any)."""
        for name in MATRICES:
            value = getattr(self, name)
            if value is not None:
                shape = np.shape(value)
                return int(shape[0]) if shape else 0
        return 0

    @property
    def n_electrons(self) -> int:
        """Number of electrons, those of cores included."""
        return int(self.numbers.sum()) - self.charge
