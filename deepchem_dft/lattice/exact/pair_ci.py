"""Full CI of one or two electrons of each spin, as a few large matrix products.

With no more than a pair of each spin, the wave function is an array over (up pair, down pair), and
what the interaction between the spins does to it is one product of two K^2 x K^2 matrices for K
orbitals. A general program gathers strings of any length instead, which is some twenty times slower
here: `full_ci` is one, and serves as the second opinion.
"""

import numpy as np

from deepchem_dft.lattice.exact.state import lowest_state

#: Norm of the residual, Hartree.
_TOL = 1e-6
#: Orbitals of the dense problem that the iterations start from.
_START = 6


def pair_ci(
    core: np.ndarray, repulsion: np.ndarray, electrons: tuple[int, int], name: str = ""
) -> tuple[float, np.ndarray]:
    """Return the ground state of up to two electrons of each spin.

    With as many up as down, the spin is even.

    Parameters
    ----------
    core : ndarray
        (K, K): one-electron integrals in orthonormal orbitals, Hartree.
    repulsion : ndarray
        (K, K, K, K): (pq|rs), Hartree.
    electrons : tuple of int
        Up and down, 1 or 2 each.
    name : str
        Of the system, for the message.

    Returns
    -------
    energy : float
        Hartree.
    density_matrices : ndarray
        (2, K, K): one-electron density matrices of the spins.

    Raises
    ------
    ExactNotConverged
    """
    small = _Pairs(core, repulsion, electrons, min(_START, len(core)))
    start = small.dense()
    large = _Pairs(core, repulsion, electrons, len(core))
    vector = large.fold(_embedded(small.unfold(start), len(core)))
    even = (lambda c: (c + c.T) / 2) if electrons[0] == electrons[1] else None
    energy, vector = lowest_state(large.apply, large.diagonal, vector, tol=_TOL, name=name, project=even)
    return energy, large.density_matrices(vector)


def _embedded(array: np.ndarray, size: int) -> np.ndarray:
    larger = np.zeros((size,) * array.ndim)
    larger[tuple(slice(n) for n in array.shape)] = array
    return larger


class _Pairs:
    """The Hamiltonian among all ways to put the electrons into the first ``size`` orbitals.

    A wave function is stored folded, one number for each pair p < q (or each p) of either spin;
    unfolded it is antisymmetric with one axis per electron, up before down.
    """

    def __init__(
        self, core: np.ndarray, repulsion: np.ndarray, electrons: tuple[int, int], size: int
    ) -> None:
        self.size, self.electrons = size, electrons
        self.pairs = np.triu_indices(size, 1)
        h, g = core[:size, :size], repulsion[:size, :size, :size, :size]
        between = g.transpose(0, 2, 1, 3).reshape(size**2, size**2)  # (p r), (p' r')
        self.between = np.ascontiguousarray(between)
        self.within = [self._within(h, g, n) for n in electrons]
        p, q = self.pairs
        cross = np.einsum("pprr->pr", g)
        if electrons[0] == 2:
            cross = cross[p] + cross[q]
        if electrons[1] == 2:
            cross = cross[:, p] + cross[:, q]
        self.diagonal = np.diag(self.within[0])[:, None] + np.diag(self.within[1]) + cross

    def _within(self, h: np.ndarray, g: np.ndarray, electrons: int) -> np.ndarray:
        """Return the Hamiltonian of the electrons of one spin by themselves."""
        if electrons == 1:
            return h
        p, q = self.pairs
        one = np.eye(self.size)

        def element(a: np.ndarray, b: np.ndarray) -> np.ndarray:  # <pq| ... |ab>, no exchange
            p_, q_, a_, b_ = p[:, None], q[:, None], a[None], b[None]
            return h[p_, a_] * one[q_, b_] + one[p_, a_] * h[q_, b_] + g[p_, a_, q_, b_]

        return element(p, q) - element(q, p)

    def unfold(self, vector: np.ndarray) -> np.ndarray:
        """Return the wave function with one axis per electron."""
        array, axis = vector, 0
        for n in self.electrons:
            if n == 2:
                array = np.moveaxis(array, axis, 0)
                full = np.zeros((self.size, self.size, *array.shape[1:]))
                full[self.pairs] = array
                full[self.pairs[::-1]] = -array
                array = np.moveaxis(full, (0, 1), (axis, axis + 1))
            axis += n
        return array

    def fold(self, array: np.ndarray) -> np.ndarray:
        """Keep each pair of an antisymmetric array once, undoing `unfold`."""
        for axis, n in enumerate(self.electrons):
            if n == 2:
                array = np.moveaxis(array, (axis, axis + 1), (0, 1))
                array = np.moveaxis(array[self.pairs], 0, axis)
        return array

    def apply(self, vector: np.ndarray) -> np.ndarray:
        """Return the Hamiltonian times a folded wave function."""
        first, second = self.within
        result = first @ vector + vector @ second.T
        full = self.unfold(vector)
        # One electron of each spin to the front; by antisymmetry they stand for all.
        down = self.electrons[0]
        moved = np.moveaxis(full, (0, down), (0, 1))
        changed = (self.between @ moved.reshape(self.size**2, -1)).reshape(moved.shape)
        return result + self._antisymmetrised(np.moveaxis(changed, (0, 1), (0, down)))

    def _antisymmetrised(self, array: np.ndarray) -> np.ndarray:
        axis = 0
        for n in self.electrons:
            if n == 2:
                array = array - array.swapaxes(axis, axis + 1)
            axis += n
        return self.fold(array)

    def dense(self) -> np.ndarray:
        """Return the ground state by full diagonalisation."""
        shape = self.diagonal.shape
        units = np.eye(self.diagonal.size).reshape(-1, *shape)
        matrix = np.stack([self.apply(unit).ravel() for unit in units])
        if self.electrons[0] == self.electrons[1]:  # push states of odd spin out of reach
            swap = units.transpose(0, 2, 1).reshape(len(units), -1)
            matrix = matrix + 1e4 * (np.eye(len(units)) - swap)
        return np.linalg.eigh(matrix)[1][:, 0].reshape(shape)

    def density_matrices(self, vector: np.ndarray) -> np.ndarray:
        """Return the one-electron density matrix of each spin, (2, size, size)."""
        full = self.unfold(vector)
        matrices = []
        for axis, others in ((0, self.electrons[1]), (self.electrons[0], self.electrons[0])):
            flat = np.moveaxis(full, axis, 0).reshape(self.size, -1)
            matrices.append(flat @ flat.T / others)  # a pair of the others is there in both orders
        return np.stack(matrices)
