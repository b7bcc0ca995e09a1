"""Determinants to start from where the usual start may lead to the wrong state.

Extrapolation and descent find a stationary state near where they begin. Which one is lowest, only
starts of another kind can tell: electrons and spins shared out among the atoms in other ways, and
frontier orbitals turned by large angles, within a spin or against each other between the spins.
"""

import math
from collections.abc import Sequence
from itertools import combinations, product

import numpy as np
import torch
from torch import Tensor

from deepchem_dft.molecule import Molecule
from deepchem_dft.molecule.geometry import NUCLEAR_CHARGE
from deepchem_dft.molecule.integrals import SHELLS
from deepchem_dft.scf.hamiltonian import KSHamiltonian

#: Ways to share out electrons and spins that are looked at, before the best of them are taken.
_MOST_SHARES = 20_000
#: A kick (radians) that no symmetry survives, so that nothing stays on a saddle for want of slope;
#: and how far apart (Ha) orbitals get the whole of it.
_KICK, _KICKED_FREELY = 0.01, 0.3
#: Orbitals of one atom this close (Ha) belong to one shell.
_ONE_LEVEL = 0.02


def unpaired(protons: int, charge: int) -> int | None:
    """Unpaired electrons of an atom or ion by Hund's rule (None: there is no such ion).

    Examples
    --------
    >>> [unpaired(8, charge) for charge in (-1, 0, 1)], unpaired(1, 1), unpaired(24, 0)
    ([1, 2, 3], 0, 6)
    """
    electrons = protons - charge
    if not 0 <= electrons < len(SHELLS):
        return None
    count = 0
    for momentum, held in enumerate(SHELLS[electrons]):
        room = 2 * momentum + 1
        last = held % (2 * room)
        count += min(last, 2 * room - last)
    return count


class Shares:
    """Ways to give each atom of a molecule its charge and its spin.

    Parameters
    ----------
    molecule : Molecule
        With whole electrons.
    closed : bool
        Whether every atom has to be closed-shell, as where both spins share their orbitals.
    """

    def __init__(self, molecule: Molecule, closed: bool = False) -> None:
        self.closed = closed
        self.protons = [NUCLEAR_CHARGE[s] for s in molecule.symbols]
        mole = molecule.pyscf_mol
        self.cores = [z - int(mole.atom_charge(i)) for i, z in enumerate(self.protons)]
        self.charge, self.spin = round(molecule.charge), round(molecule.spin)
        functions = mole.aoslice_by_atom()
        self.room = [int(stop - start) for start, stop in functions[:, 2:]]

    def charges(self) -> list[tuple[int, ...]]:
        """Total charges shared out among the atoms, likeliest first."""
        count, total = len(self.protons), self.charge
        step = 1 if total > 0 else -1
        found: dict[tuple[int, ...], None] = {}
        for places in combinations(range(count), min(abs(total), count)):
            row = [0] * count
            for place in places:
                row[place] = step
            row[places[0] if places else 0] += total - sum(row)
            found[tuple(row)] = None
            if len(found) > 12:
                break
        if abs(total) == 2:  # both on one atom
            found.update((tuple(total * (i == k) for i in range(count)), None) for k in range(min(count, 4)))
        neutral = list(found)
        if count <= 4:  # an electron handed over
            for shares in neutral:
                for giver, taker in product(range(count), repeat=2):
                    if giver != taker:
                        moved = list(shares)
                        moved[giver] += 1
                        moved[taker] -= 1
                        found[tuple(moved)] = None
        return list(found)

    def spins(self, charges: Sequence[int], mirrored: bool = False) -> list[tuple[int, ...]]:
        """Local spins (2S_z) of atoms of these charges, those with the most unpaired first.

        Of two mirror images, which only a molecule without net spin has, one is enough unless
        ``mirrored``.
        """
        options = []
        for protons, charge, core, room in zip(self.protons, charges, self.cores, self.room, strict=True):
            most, electrons = unpaired(protons, charge), protons - charge - core
            if most is None or not 0 <= electrons <= 2 * room:
                return []
            if self.closed:
                if electrons % 2:
                    return []
                most = 0
            most = min(most, electrons, 2 * room - electrons)
            most -= (most - electrons) % 2
            options.append(list(range(-most, most + 1, 2)))
        if math.prod(map(len, options)) > _MOST_SHARES:
            options = [[m for m in o if abs(m) == max(o)] for o in options]
        if math.prod(map(len, options)) > _MOST_SHARES:
            return []
        fits = {
            m
            for m in product(*options)
            if sum(m) == self.spin and (mirrored or self.spin or m >= tuple(-x for x in m))
        }
        return sorted(fits, key=lambda m: (-sum(x * x for x in m), m))

    def closest(self, moments: Sequence[float]) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """Return possible charges and spins that are closest to local spins asked for."""

        def far(spins: tuple[int, ...]) -> float:
            return sum((m - x) ** 2 for m, x in zip(spins, moments, strict=True))

        charges = self.charges()
        for row in charges:  # likeliest first: a neutral molecule's atoms are neutral
            if found := self.spins(row, mirrored=True):
                return row, min(found, key=far)
        return None

    def best(self, limit: int, neutral: bool = False) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """Charges and spins of the likeliest ways, in turns for every way to share out charges.

        With ``neutral``, of the first such way alone: no atom has a charge that another makes up for.
        """
        ways = self.charges()[: 1 if neutral else None]
        rows = [[(charges, spins) for spins in self.spins(charges)] for charges in ways]
        found = []
        for rank in range(max(map(len, rows), default=0)):
            found += [row[rank] for row in rows if rank < len(row)]
            if len(found) >= limit:
                break
        return found[:limit]

    def pairs(self, charges: Sequence[int], spins: Sequence[int]) -> bool:
        """Whether an atom has less spin than Hund's rule gives its open shell."""
        rows = zip(self.protons, charges, spins, strict=True)
        return any(abs(spin) < (unpaired(protons, charge) or 0) for protons, charge, spin in rows)


class AtomicStart:
    """Orbitals of the atoms within their molecule, filled as asked.

    Parameters
    ----------
    hamiltonian : KSHamiltonian
    fock : Tensor, shape (nao, nao)
        Of a density that treats the atoms alike, that of neutral ones say.
    basis : Tensor, shape (nao, nmo)
        Orthonormal.
    """

    def __init__(self, hamiltonian: KSHamiltonian, fock: Tensor, basis: Tensor) -> None:
        self.overlap, self.basis, self.nspin = hamiltonian.overlap, basis, hamiltonian.nspin
        self.molecule = hamiltonian.molecule
        mole = self.molecule.pyscf_mol
        self.protons = [int(z) for z in mole.atom_charges()]
        self.orbitals, self.levels = [], []
        for start, stop in mole.aoslice_by_atom()[:, 2:]:
            own = slice(int(start), int(stop))
            root = _inverse_root(self.overlap[own, own])
            levels, vectors = torch.linalg.eigh(root @ fock[own, own] @ root)
            vectors = root @ vectors
            whole = fock.new_zeros(len(fock), vectors.shape[1])
            whole[own] = vectors
            self.orbitals.append(whole)
            self.levels.append(levels)

    def __call__(
        self, charges: Sequence[int], spins: Sequence[int], turn: int = 0, crossed: bool = False
    ) -> Tensor:
        """Return orbitals, occupied ones first, shape (nspin, nao, nmo).

        ``turn`` numbers the directions in which open shells may point; in ``crossed`` ones the spins keep
        out of each other's way: of the last level, beta electrons take the other end.

        Raises
        ------
        ValueError
            If the orbitals of the atoms are too close to each other to be filled all.
        """
        pointing = [self._pointing(k, turn) for k in range(len(self.orbitals))]
        channels = []
        for sign in (1, -1)[: self.nspin]:
            columns = []
            for k, (orbitals, charge, spin) in enumerate(zip(pointing, charges, spins, strict=True)):
                count = (self.protons[k] - charge + sign * spin) // 2
                order = self._filling(k, count, crossed and sign < 0)
                columns.append(orbitals[:, order])
            occupied = torch.cat(columns, 1)
            channels.append(completed(occupied, self.overlap, self.basis))
        return torch.stack(channels)

    def points(self, charges: Sequence[int], spins: Sequence[int]) -> bool:
        """Whether any atom has a level that is filled in part, which may point elsewhere."""
        for levels, protons, charge, spin in zip(self.levels, self.protons, charges, spins, strict=True):
            for sign in (1, -1)[: self.nspin]:
                count = (protons - charge + sign * spin) // 2
                if 0 < count < len(levels) and levels[count] - levels[count - 1] < _ONE_LEVEL:
                    return True
        return False

    def _level(self, atom: int, count: int) -> list[int]:
        """Orbitals of an atom in one level with the last that so many electrons fill."""
        levels = self.levels[atom]
        if not 0 < count <= len(levels):
            return []
        return ((levels - levels[count - 1]).abs() < _ONE_LEVEL).nonzero()[:, 0].tolist()

    def _filling(self, atom: int, count: int, crossed: bool) -> list[int]:
        """Orbitals of an atom that are filled."""
        order, level = list(range(count)), self._level(atom, count) if crossed else []
        taken = sum(k < count for k in level)
        return order[: count - taken] + level[::-1][:taken]

    def _pointing(self, atom: int, turn: int) -> Tensor:
        """Orbitals of an atom, those of one level turned among themselves at random."""
        orbitals, levels = self.orbitals[atom], self.levels[atom]
        if not turn:
            return orbitals
        rng, new, first = np.random.default_rng([turn, atom]), orbitals.clone(), 0
        for last in range(1, len(levels) + 1):
            if last < len(levels) and levels[last] - levels[last - 1] < _ONE_LEVEL:
                continue
            matrix = np.linalg.qr(rng.standard_normal((last - first, last - first)))[0]
            new[:, first:last] = orbitals[:, first:last] @ torch.from_numpy(matrix).to(new.device)
            first = last
        return new


def completed(occupied: Tensor, overlap: Tensor, basis: Tensor) -> Tensor:
    """Orthonormalise occupied orbitals and add the empty ones, shape (nao, nmo)."""
    inside = basis.mT @ overlap @ occupied  # in the orthonormal basis
    left, values, _ = torch.linalg.svd(inside, full_matrices=True)
    if len(values) and float(values[-1]) < 1e-4:
        raise ValueError("these orbitals are not independent")
    if occupied.shape[1]:
        metric = inside.mT @ inside
        closest = inside @ _inverse_root(metric)
        left = torch.cat([closest, left[:, occupied.shape[1] :]], 1)
    return basis @ left


def kicked(orbitals: Tensor, fock: Tensor, seed: int, size: float = _KICK) -> Tensor:
    """Orbitals rotated a little at random, so that no symmetry holds them.

    Those that are far from each other in energy (Fock matrices tell, Ha) are rotated less, or the
    core would dominate.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = (orbitals.shape[0], orbitals.shape[2], orbitals.shape[2])
    levels = (orbitals.mT @ fock @ orbitals).diagonal(dim1=-2, dim2=-1)
    apart = (levels[:, :, None] - levels[:, None, :]).abs()
    kappa = size * torch.randn(shape, generator=generator, dtype=torch.float64)
    kappa = (kappa - kappa.mT).to(orbitals.device) / (apart / _KICKED_FREELY).clamp_min(1.0)
    return orbitals @ torch.matrix_exp(kappa)


def frontier(energies: Tensor, occupations: Tensor, window: float) -> list[tuple[Tensor, Tensor]]:
    """Occupied and empty orbitals of each spin that lie near, or the wrong side of, the gap.

    Returns
    -------
    list of (Tensor, Tensor)
        Indices, nearest to the gap first.
    """
    found = []
    for e, f in zip(energies, occupations > 1e-10, strict=True):
        occupied, empty = f.nonzero()[:, 0], (~f).nonzero()[:, 0]
        if not len(occupied) or not len(empty):
            found.append((occupied[:0], empty[:0]))
            continue
        highest, lowest = e[occupied].max(), e[empty].min()
        occupied = occupied[e[occupied] > min(highest, lowest) - window]
        empty = empty[e[empty] < max(highest, lowest) + window]
        found.append((occupied[e[occupied].argsort(descending=True)], empty[e[empty].argsort()]))
    return found


def turned(orbitals: Tensor, pairs: Sequence[tuple[int, int, int, float]]) -> Tensor:
    """Orbitals with some pairs rotated: (spin, occupied, empty, angle in radians)."""
    new = orbitals.clone()
    for spin, i, a, angle in pairs:
        c, s = math.cos(angle), math.sin(angle)
        one, other = new[spin, :, i].clone(), new[spin, :, a].clone()
        new[spin, :, i], new[spin, :, a] = c * one + s * other, c * other - s * one
    return new


def mixed(orbitals: Tensor, near: Sequence[tuple[Tensor, Tensor]], seed: int) -> Tensor:
    """Orbitals with those near the gap turned among themselves at random."""
    rng = np.random.default_rng(seed)
    new = orbitals.clone()
    for spin, (occupied, empty) in enumerate(near):
        if not len(occupied) or not len(empty):
            continue
        index = torch.cat([occupied, empty])
        matrix, upper = np.linalg.qr(rng.standard_normal((len(index), len(index))))
        turn = torch.from_numpy(matrix * np.sign(np.diag(upper))).to(orbitals.device)
        new[spin][:, index] = orbitals[spin][:, index] @ turn
    return new


def roots(metric: Tensor) -> tuple[Tensor, Tensor]:
    """Square root of a positive matrix, and its inverse."""
    values, vectors = torch.linalg.eigh(metric)
    values = values.clamp_min(1e-10)
    return (vectors * values.sqrt()) @ vectors.mT, (vectors * values.rsqrt()) @ vectors.mT


def _inverse_root(metric: Tensor) -> Tensor:
    return roots(metric)[1]
