"""One molecule in coordinates and axes of its own: what its matrices are smooth functions of."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement
from math import comb

import numpy as np
import torch

from deepchem_dft.errors import InputError
from deepchem_dft.hamiltonian.orbitals import orbital_layout
from deepchem_dft.hamiltonian.rotations import frames, wigner

#: Three atoms whose angle has a smaller sine in some geometry span no axes.
_FLAT = 0.2


@dataclass(frozen=True)
class InternalCoordinates:
    """Axes that turn with a molecule, and coordinates that do not: 3N - 6 of them, or one of two atoms.

    The first atom is the origin. Of three, the z axis halves the angle at the first and x lies in
    their plane; their two distances and angle are coordinates, and so are x, y and z of each
    further atom. The two axes across a diatomic molecule are arbitrary, since its matrices do not change
    when it is turned about itself.

    Attributes
    ----------
    atoms : tuple of int
        The first and two others; of diatomic molecules the first and the other.

    Examples
    --------
    >>> water = np.array([[[0.0, 0, 0], [0, 1.8, 0], [1.9, 0, 0]]])
    >>> InternalCoordinates((0, 1, 2))(water).round(3)
    array([[1.8  , 1.9  , 1.571]])
    """

    atoms: tuple[int, ...]

    @classmethod
    def of(cls, positions: np.ndarray) -> "InternalCoordinates":
        """Choose the three atoms whose distances change least, of those that are never on a line.

        Parameters
        ----------
        positions : np.ndarray
            (n, N, 3) geometries, Bohr.

        Raises
        ------
        InputError
            For atoms, and molecules whose atoms are on a line (unless there are two).
        """
        count = positions.shape[1]
        if count == 2:
            return cls((0, 1))
        best, found = np.inf, None
        for three in combinations(range(count), 3):
            for atoms in (three, (three[1], three[0], three[2]), (three[2], three[0], three[1])):
                a, b, angle = cls(atoms)._of_three(positions).T
                if np.sin(angle).min() < _FLAT:
                    continue
                c = np.linalg.norm(positions[:, atoms[1]] - positions[:, atoms[2]], axis=1)
                spread = a.std() + b.std() + c.std()
                # Within the last digits the first wins, which is where files put heavy atoms.
                if spread < best - 1e-9:
                    best, found = spread, cls(atoms)
        if found is None:
            raise InputError(
                "no three atoms are off a line in every geometry",
                field="positions",
                remedy="use HamiltonianModel for linear molecules",
            )
        return found

    def _of_three(self, positions: np.ndarray) -> np.ndarray:
        u, v = (positions[:, atom] - positions[:, self.atoms[0]] for atom in self.atoms[1:])
        a, b = np.linalg.norm(u, axis=1), np.linalg.norm(v, axis=1)
        return np.stack([a, b, np.arccos(np.clip((u * v).sum(1) / (a * b), -1, 1))], 1)

    def axes(self, positions: np.ndarray) -> np.ndarray:
        """Return (n, 3, 3) proper rotations that turn positions (n, N, 3) into the molecule's own axes."""
        first = positions[:, self.atoms[0]]
        u, *more = (
            vector / np.linalg.norm(vector, axis=1, keepdims=True)
            for vector in (positions[:, atom] - first for atom in self.atoms[1:])
        )
        if not more:
            return frames(torch.from_numpy(u)).numpy()
        x, z = u - more[0], u + more[0]
        x, z = (vector / np.linalg.norm(vector, axis=1, keepdims=True) for vector in (x, z))
        return np.stack([x, np.cross(z, x), z], 1)

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Return the (n, 3N - 6) coordinates of geometries (n, N, 3): Bohr, and one angle in radians."""
        first = positions[:, self.atoms[0]]
        if len(self.atoms) == 2:
            return np.linalg.norm(positions[:, self.atoms[1]] - first, axis=1)[:, None]
        others = [atom for atom in range(positions.shape[1]) if atom not in self.atoms]
        rest = (positions[:, others] - first[:, None]) @ self.axes(positions).swapaxes(1, 2)
        return np.concatenate([self._of_three(positions), rest.reshape(len(positions), -1)], 1)


def turned(matrices: np.ndarray, rotations: np.ndarray, numbers: Sequence[int], basis: str) -> np.ndarray:
    """Turn matrices of atomic orbitals together with the molecule.

    Parameters
    ----------
    matrices : np.ndarray
        (n, nao, nao) in PySCF's order.
    rotations : np.ndarray
        (n, 3, 3) proper.
    numbers : sequence of int
        Nuclear charges.
    basis : str

    Returns
    -------
    np.ndarray
        (n, nao, nao)
    """
    layout = orbital_layout(numbers, basis)
    blocks = wigner(torch.from_numpy(rotations), int(layout.momentum.max()))
    whole = np.zeros((len(rotations), layout.nao, layout.nao))
    for shell in layout.shells:
        whole[:, shell.slice, shell.slice] = blocks[shell.momentum].numpy()
    return layout.e3nn.to_pyscf(whole @ layout.e3nn.from_pyscf(matrices) @ whole.swapaxes(1, 2))


@dataclass(frozen=True, eq=False)
class Polynomial:
    """Least-squares polynomials of several variables, all of one total degree.

    Attributes
    ----------
    centre, half : np.ndarray
        (K,) middle and half of the range of each variable, which Legendre polynomials are scaled to.
    powers : np.ndarray
        (T, K) degree of each variable in each term.
    coefficients : np.ndarray
        (T, M) of M functions.
    left_out : float
        Mean absolute error of samples that are left out of the fit, one at a time.
    """

    centre: np.ndarray
    half: np.ndarray
    powers: np.ndarray
    coefficients: np.ndarray
    left_out: float

    @property
    def degree(self) -> int:
        """The total degree."""
        return int(self.powers.sum(1).max())

    @classmethod
    def fit(cls, x: np.ndarray, y: np.ndarray, degree: int) -> "Polynomial":
        """Fit.

        Parameters
        ----------
        x : np.ndarray
            (n, K) variables.
        y : np.ndarray
            (n, M) values.
        degree : int

        Raises
        ------
        InputError
            If there are no more samples than terms.

        Examples
        --------
        >>> x = np.linspace(1, 2, 5)[:, None]
        >>> found = Polynomial.fit(x, x**2, 2)
        >>> found(np.array([[3.0]])).round(9), found.left_out < 1e-12
        (array([[9.]]), True)
        """
        count = x.shape[1]
        terms = number_of_terms(count, degree)
        if terms >= len(x):
            raise InputError(
                f"{len(x)} geometries for {terms} terms of degree {degree} in {count} coordinates",
                field="degree",
                remedy="give more geometries, or a lower degree",
            )
        powers = np.zeros((terms, count), dtype=np.int64)
        chosen = (c for d in range(degree + 1) for c in combinations_with_replacement(range(count), d))
        for row, variables in enumerate(chosen):
            np.add.at(powers[row], list(variables), 1)
        low, high = x.min(0), x.max(0)
        # What never changes is no variable, whatever its last digits say.
        half = np.where(high - low > 1e-10, (high - low) / 2, 1.0)
        found = cls((low + high) / 2, half, powers, np.empty((0, 0)), 0.0)
        q, r = np.linalg.qr(found._terms(x))
        size = np.abs(np.diagonal(r))
        if size.min() < 1e-10 * size.max():
            raise InputError(
                f"the geometries do not determine a polynomial of degree {degree}",
                field="degree",
                remedy="give other geometries, or a lower degree",
            )
        inner = q.T @ y
        # A sample's error without it, from its error with it (Allen, Technometrics 16, 125, 1974).
        alone = (y - q @ inner) / np.maximum(1 - np.square(q).sum(1), 1e-12)[:, None]
        return cls(found.centre, half, powers, np.linalg.solve(r, inner), float(np.abs(alone).mean()))

    def _terms(self, x: np.ndarray) -> np.ndarray:
        """Return the (n, T) products of Legendre polynomials."""
        values = np.polynomial.legendre.legvander((x - self.centre) / self.half, self.degree)
        product = np.ones((len(x), len(self.powers)))
        for variable, degrees in enumerate(self.powers.T):
            product *= values[:, variable, degrees]
        return product

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the (n, M) values at (n, K)."""
        return self._terms(x) @ self.coefficients

    def beyond(self, x: np.ndarray) -> np.ndarray:
        """Return (n,) how far from the middle of the training data's range, in halves of it."""
        return np.abs((x - self.centre) / self.half).max(1)


def number_of_terms(variables: int, degree: int) -> int:
    """Return how many terms a polynomial has.

    Examples
    --------
    >>> number_of_terms(3, 5), number_of_terms(21, 2)
    (56, 253)
    """
    return comb(variables + degree, degree)
