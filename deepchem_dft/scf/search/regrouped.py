"""Molecules far from each other: their electrons and spins shared out among them in other ways.

What atoms may hold (:mod:`deepchem_dft.scf.search.starts`) says nothing of molecules, whose bonds would have
to be found again. But far from each other, each has orbitals of its own, those of the solution at hand.
"""

from collections.abc import Iterator
from itertools import permutations, product

import numpy as np
import torch
from torch import Tensor

from deepchem_dft.scf.hamiltonian import KSHamiltonian
from deepchem_dft.scf.ladder import SCFSolution
from deepchem_dft.scf.search.orientation import functions
from deepchem_dft.scf.search.signs import parts
from deepchem_dft.scf.search.starts import completed, roots

#: How many ways are tried that leave each part its electrons, and how many that hand one over; and how many
#: parts there may be for the latter.
_SPINS, _HANDED, _FEW = 4, 2, 3


class Parts:
    """Orbitals of the parts of a molecule in the field of an unrestricted solution.

    Parameters
    ----------
    hamiltonian : KSHamiltonian
    solution : SCFSolution
        Unrestricted.

    Attributes
    ----------
    held : list of (int, int)
        Alpha and beta electrons of each part.
    """

    def __init__(self, hamiltonian: KSHamiltonian, solution: SCFSolution) -> None:
        molecule, self.overlap = hamiltonian.molecule, hamiltonian.overlap
        self.basis, self.spin = solution.state.orbitals[0], round(molecule.spin)
        self.groups = parts(molecule)
        root, _ = roots(self.overlap)
        density = root @ solution.state.density_matrix() @ root
        populations = np.zeros((2, len(self.groups)))
        self.orbitals: list[tuple[Tensor, Tensor]] = []  # of each part and spin, lowest first
        self.levels: list[tuple[Tensor, Tensor]] = []
        for number, atoms in enumerate(self.groups):
            own = torch.from_numpy(functions(molecule, tuple(atoms))).to(self.overlap.device)
            block = own[:, None], own
            _, inverse = roots(self.overlap[block])
            levels, vectors = torch.linalg.eigh(inverse @ solution.evaluation.fock[:, *block] @ inverse)
            whole = self.overlap.new_zeros(2, len(self.overlap), len(own))
            whole[:, own] = inverse @ vectors
            self.orbitals.append((whole[0], whole[1]))
            self.levels.append((levels[0], levels[1]))
            populations[:, number] = [float(d[block].trace()) for d in density]
        rows = [whole_numbers(row) for row in populations]
        self.held = list(zip(*rows, strict=True))

    def ways(self) -> list[list[tuple[int, int]]]:
        """Alpha and beta electrons of each part, other than now: likeliest first, at most a few."""
        count = len(self.groups)
        moves = [m for m in permutations([1, -1, *[0] * (count - 2)]) if count <= _FEW]
        chosen = []
        for handed, limit in (([(0,) * count], _SPINS), (sorted(set(moves)), _HANDED)):
            found = {way for move in handed for way in self._spins(move)}
            chosen += sorted(found, key=lambda way: (self._energy(way), way))[:limit]
        return [list(way) for way in chosen]

    def _spins(self, moved: tuple[int, ...]) -> Iterator[tuple[tuple[int, int], ...]]:
        """Ways to give the parts their spins, if they have so many electrons more."""
        options = []
        for (alpha, beta), change, levels in zip(self.held, moved, self.levels, strict=True):
            electrons, most = alpha + beta + change, abs(alpha - beta) + 2
            most = min(most - most % 2 + electrons % 2, electrons, 2 * len(levels[0]) - electrons)
            options.append([((electrons + m) // 2, (electrons - m) // 2) for m in range(-most, most + 1, 2)])
        for way in product(*options):
            mirror = tuple((b, a) for a, b in way)
            fits, now = sum(a - b for a, b in way) == self.spin, tuple(self.held)
            if fits and way != now and (self.spin or (way <= mirror and mirror != now)):
                yield way

    def _flipped(self, number: int, electrons: tuple[int, int]) -> int:
        """Whether a part has its spins the other way round, so that orbitals of the other spin suit it."""
        before, after = (a - b for a, b in (self.held[number], electrons))
        return int(before * after < 0)

    def _energy(self, way: tuple[tuple[int, int], ...]) -> float:
        """Sum of the levels filled, Ha: enough to tell likely ways from others."""
        total = 0.0
        for number, electrons in enumerate(way):
            levels = self.levels[number]
            for spin, held in enumerate(electrons):
                total += float(levels[spin ^ self._flipped(number, electrons)][:held].sum())
        return total

    def filled(self, way: list[tuple[int, int]]) -> Tensor:
        """Return orbitals, occupied ones first, shape (2, nao, nmo).

        Raises
        ------
        ValueError
            If the orbitals of the parts are too close to each other to be filled all.
        """
        channels = []
        for spin in (0, 1):
            columns = [
                self.orbitals[number][spin ^ self._flipped(number, electrons)][:, : electrons[spin]]
                for number, electrons in enumerate(way)
            ]
            channels.append(completed(torch.cat(columns, 1), self.overlap, self.basis))
        return torch.stack(channels)


def whole_numbers(shares: np.ndarray) -> list[int]:
    """Round numbers to whole ones without changing their sum, which is whole.

    Examples
    --------
    >>> whole_numbers(np.array([1.4, 2.4, 0.2]))
    [2, 2, 0]
    """
    found = np.floor(shares + 1e-6).astype(int)
    missing = round(float(shares.sum())) - int(found.sum())
    for place in np.argsort(found - shares, kind="stable")[:missing]:
        found[place] += 1
    return [int(n) for n in found]


def regrouped(hamiltonian: KSHamiltonian, solution: SCFSolution) -> Iterator[Tensor]:
    """Yield orbitals with electrons shared out in other ways, where any part is more than an atom."""
    groups = parts(hamiltonian.molecule)
    if hamiltonian.restricted or len(groups) < 2 or all(len(atoms) == 1 for atoms in groups):
        return
    apart = Parts(hamiltonian, solution)
    for way in apart.ways():
        try:
            yield apart.filled(way)
        except ValueError:
            continue
