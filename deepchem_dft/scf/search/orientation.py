"""Open shells that turn: on a quadrature grid it matters where the orbitals of a free atom point.

An atom with an open shell has the same energy whichever way the shell points, and so has an atom far
from others, or a linear molecule turned about its axis. On a coarse grid these energies differ by 1e-5
Ha and more, with a minimum in many a direction, and no descent leads from one to the next. But what
changes is the functional's energy near the part that turns, which costs a fraction of a Fock build.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from torch import Tensor

from deepchem_dft.molecule import Molecule
from deepchem_dft.scf.hamiltonian import KSHamiltonian
from deepchem_dft.scf.quadrature import occupied_of
from deepchem_dft.scf.search.explorer import WORTHWHILE
from deepchem_dft.scf.search.signs import parts
from deepchem_dft.scf.search.starts import completed, turned
from deepchem_dft.scf.state import SCFState

#: Squared electrons that a turn has to move, or the shell is closed.
_ROUND = 1e-3
#: Directions of a free atom, and of a linear molecule about its axis; those that tell whether it matters;
#: and numbers that may be held at once.
_DIRECTIONS, _TURNS, _PROBES, _HELD = 96, 32, 6, 20_000_000
#: How many of them go downhill, on the coarsest grid and on others, for how many steps, and how long
#: (radians) the first and any may be.
_ROUGHLY, _DESCENTS, _STEPS, _FIRST, _FURTHEST = 12, 5, 8, 0.1, 0.3
#: How different they have to be, relative to the most different ones.
_APART = 0.04
#: Fock builds that an energy and one with its slope are worth: measured for pairs of atoms.
_ENERGY, _GRADIENT = 0.25, 0.5
#: How much of the differences between directions relaxing may make up for.
_RELAXED = 0.1
#: Squared electrons by which what has turned as a whole may differ from what one of its orbitals has.
_ALIKE = 0.02
#: Random rotations from which directions far from each other are chosen.
_DRAWN = 1500


@dataclass(frozen=True)
class Part:
    """Atoms that turn together, about any axis or about one (a unit vector)."""

    atoms: tuple[int, ...]
    axis: tuple[float, float, float] | None = None

    def vectors(self) -> Tensor:
        """Rotation vectors to try, shape (n, 3) or (n, 1) about the axis, the likeliest to differ first."""
        if self.axis is None:
            return torch.from_numpy(directions(_DIRECTIONS))
        return math.pi * torch.tensor([[_reversed_bits(k)] for k in range(1, _TURNS)], dtype=torch.float64)

    def generators(self, molecule: Molecule) -> Tensor:
        """Generators of the rotations of its functions, shape (3 or 1, nao, nao)."""
        axes = np.eye(3) if self.axis is None else np.array([self.axis])
        own = functions(molecule, self.atoms)
        found = []
        # Elements are trigonometric polynomials of the angle, of the functions' degree at most (below half
        # the number of angles): their slope at zero is a sum over angles, exactly.
        mole = molecule.pyscf_mol
        count = 2 * max(mole.bas_angular(shell) for shell in range(mole.nbas)) + 2
        angles = 2.0 * math.pi * np.arange(1, count) / count
        weights = 0.5 * (-1.0) ** np.arange(2, count + 1) / np.tan(0.5 * angles)
        for axis in axes:
            turned = [mole.ao_rotation_matrix(Rotation.from_rotvec(a * axis).as_matrix()) for a in angles]
            found.append(sum(w * m[np.ix_(own, own)] for w, m in zip(weights, turned, strict=True)))
        return torch.from_numpy(np.array(found))


def turning_parts(molecule: Molecule) -> list[Part]:
    """Free atoms and linear fragments of a molecule.

    Examples
    --------
    >>> geometry = "O 0 0 0; H 0 0 1.8; C 0 0 20; O 0 20 0; H 0 21.4 1; H 0 18.6 1"
    >>> far = Molecule(geometry, "sto-3g", spin=1, grid_level=0)
    >>> [part.atoms for part in turning_parts(far)]
    [(0, 1), (2,)]
    """
    found = []
    for atoms in parts(molecule):
        places = molecule.positions[atoms]
        if len(atoms) == 1:
            found.append(Part(tuple(atoms)))
            continue
        _, lengths, axes = np.linalg.svd(places - places.mean(0))
        if lengths[1] < 1e-3:
            found.append(Part(tuple(atoms), tuple(axes[0])))
    return found


def functions(molecule: Molecule, atoms: tuple[int, ...]) -> np.ndarray:
    """Indices of the functions of some atoms."""
    slices = molecule.pyscf_mol.aoslice_by_atom()[list(atoms), 2:]
    return np.concatenate([np.arange(start, stop) for start, stop in slices])


@cache
def directions(count: int) -> np.ndarray:
    """Rotation vectors far from each other, those that a cube cannot tell apart taken as one.

    Examples
    --------
    >>> directions(4).shape
    (4, 3)
    """
    drawn = Rotation.random(_DRAWN, random_state=np.random.RandomState(0)).as_matrix()
    cube = Rotation.create_group("O").as_matrix()
    nearest, chosen = np.full(_DRAWN, -np.inf), []
    new = Rotation.from_euler("zyx", [0.35, 0.6, 0.2]).as_matrix()  # in no particular direction
    for _ in range(count):
        chosen.append(new)
        # The trace of the rotation between two tells how close they are.
        nearest = np.maximum(nearest, np.einsum("gij,nij->ng", cube @ new, drawn).max(1))
        new = drawn[nearest.argmin()]
    return Rotation.from_matrix(chosen).as_rotvec()


class Turning:
    """A solution one part of which turns rigidly, while the others stand still.

    Parameters
    ----------
    hamiltonian : KSHamiltonian
    state : SCFState
        Occupied orbitals first.
    part : Part

    Attributes
    ----------
    builds : float
        What has been spent, in Fock builds.
    """

    def __init__(self, hamiltonian: KSHamiltonian, state: SCFState, part: Part) -> None:
        self.hamiltonian, self.state, self.part = hamiltonian, state, part
        molecule = hamiltonian.molecule
        device = hamiltonian.device
        self.own = torch.from_numpy(functions(molecule, part.atoms)).to(device)
        self.generators = part.generators(molecule).to(device)
        occupied = occupied_of(state.orbitals, state.occupations)
        self.sizes = [c.shape[1] for c in occupied]
        self.coefficients = torch.cat(occupied, 1)  # (nao, n), D = C C^T for each spin's columns
        self.builds = 0.0

    def is_round(self) -> bool:
        """Whether the part looks the same from everywhere."""
        own = self.coefficients[self.own]
        overlap = self.hamiltonian.overlap[self.own[:, None], self.own]
        for generator in self.generators:
            turn = torch.matrix_exp(generator)
            for c, t in zip(own.split(self.sizes, 1), (turn @ own).split(self.sizes, 1), strict=True):
                change = (t @ t.mT - c @ c.mT) @ overlap
                if float((change * change.mT).sum()) > _ROUND:
                    return False
        return True

    def amounts_to(self, spin: int, occupied: int, empty: int, angle: float) -> bool:
        """Whether an orbital that turns toward another is little else than the whole part that turns.

        Parameters
        ----------
        spin, occupied, empty : int
            Orbitals of the solution.
        angle : float
            How far, radians.
        """
        overlap, orbitals = self.hamiltonian.overlap, self.state.orbitals
        i, a = (orbitals[spin][self.own, k] for k in (occupied, empty))
        # An orbital of degree m about an axis turns m times as fast, toward its partner.
        axis = torch.einsum("i,ij,ajk,k->a", a, overlap[self.own[:, None], self.own], self.generators, i)
        degree = round(float(axis.norm()))
        if not degree:
            return False
        whole = self.coefficients.clone()
        whole[self.own] = self.turns(angle / degree * axis[None] / axis.norm())[0] @ whole[self.own]
        one = occupied_of(turned(orbitals, [(spin, occupied, empty, angle)]), self.state.occupations)
        change = 0.0
        for c, t in zip(one, whole.split(self.sizes, 1), strict=True):
            change += c.shape[1] + float((t.mT @ overlap @ t).square().sum())
            change -= 2.0 * float((c.mT @ overlap @ t).square().sum())
        return change < _ALIKE

    def prepare(self) -> None:
        """Collect what energies need: orbitals near the part, the field of the others."""
        h, own = self.hamiltonian, self.own
        molecule = h.molecule
        _, nearest = cKDTree(molecule.positions).query(h.grid.points.numpy())
        near = torch.from_numpy(np.isin(nearest, self.part.atoms)).to(h.device)
        mine, others = [], []
        rest = self.coefficients.clone()
        rest[own] = 0.0
        place = torch.full((h.nao,), -1, device=h.device)
        place[own] = torch.arange(len(own), device=h.device)
        for rows, columns, ao in h.grid.blocks(0 if h.ncomp == 1 else 1, h.device):
            chosen = ao[:, near[rows]]
            index = torch.arange(h.nao, device=h.device) if columns is None else columns
            there = place[index] >= 0
            values = chosen.new_zeros(*chosen.shape[:2], len(own))
            values[:, :, place[index][there]] = chosen[:, :, there]
            mine.append(values)
            others.append(chosen @ rest[index])
        self.functions, self.others = torch.cat(mine, 1), torch.cat(others, 1)
        self.weights = h.quadratures.parts[0].weights[near]
        self.together = max(1, _HELD // max(self.others.numel(), 1))
        total = self.state.density_matrix().sum(0)
        alone = torch.zeros_like(total)
        alone[own[:, None], own] = total[own[:, None], own]
        field = h.core + molecule.coulomb(total - alone)
        self.field = field[own[:, None], own]
        self.density = total[own[:, None], own]
        # Orbitals shared with the others: small far away, so that the first order will do.
        total[own[:, None], own] = 0.0
        self.shared = total[own] @ (h.core + molecule.coulomb(total + alone))[:, own]

    def turns(self, vectors: Tensor) -> Tensor:
        """Rotations of the part's functions, shape (n, nown, nown)."""
        return torch.matrix_exp(torch.einsum("na,aij->nij", vectors, self.generators))

    def energies(self, vectors: Tensor) -> Tensor:
        """What changes of the energy (Ha), shape (n,), after turns by rotation vectors, shape (n, 3 or 1).

        Without exact exchange with other parts, and without the functional's nonlocal terms.
        """
        h, turns = self.hamiltonian, self.turns(vectors)
        self.builds += len(vectors) * (_GRADIENT if vectors.requires_grad else _ENERGY)
        psi = self.others + torch.einsum(
            "xgi,nij,jo->nxgo", self.functions, turns, self.coefficients[self.own]
        )
        rho = []
        for p in psi.split(self.sizes, 3):
            components = [p[:, 0].square().sum(2)]
            if h.ncomp > 1:
                components += (2.0 * (p[:, 1:] * p[:, :1]).sum(3)).unbind(1)
            if h.ncomp > 4:
                components.append(0.5 * p[:, 1:].square().sum((1, 3)))
            rho.append(torch.stack([c.flatten() for c in components]))
        density = h.xc.energy_density(torch.stack(rho)).unflatten(0, (len(vectors), -1))
        electrostatic = torch.einsum("nij,jk,nlk,li->n", turns, self.density, turns, self.field)
        return density @ self.weights + electrostatic + 2.0 * torch.einsum("nij,ji->n", turns, self.shared)

    @torch.no_grad()
    def best(self, vectors: Tensor) -> list[Tensor]:
        """Rotation vectors of the lowest minima, unless it makes no difference or none is as low as here.

        Parameters
        ----------
        vectors : Tensor, shape (n, 3 or 1)
            Where to look first.
        """
        here = float(self.energies(torch.zeros_like(vectors[:1])))
        found = self.energies(vectors[:_PROBES])
        if float((found - here).abs().max()) < WORTHWHILE:
            return []
        found = torch.cat([found, *(self.energies(v) for v in vectors[_PROBES:].split(self.together))])
        spread = float(found.max() - found.min())
        energies, minima = self.descend(vectors[self.different(vectors, found.argsort())])
        chosen: list[tuple[float, Tensor]] = []
        for k in energies.argsort().tolist():
            energy = float(energies[k])
            if energy < here + _RELAXED * spread and all(energy > e + WORTHWHILE for e, _ in chosen):
                chosen.append((energy, minima[k]))
        return [vector for _, vector in chosen]

    def different(self, vectors: Tensor, order: Tensor) -> list[int]:
        """Pick turns that a grid of cubic symmetry can tell apart, the first ones in some order."""
        turns, own = self.turns(vectors), self.coefficients[self.own]
        found = torch.stack([(turns @ c) @ (turns @ c).mT for c in own.split(self.sizes, 1)], 1)
        cube = torch.zeros(1, vectors.shape[1], dtype=torch.float64)
        if vectors.shape[1] == 3:
            cube = torch.from_numpy(Rotation.create_group("O").as_rotvec())
        images = self.turns(cube.to(vectors))[:, None]
        distances = torch.stack(
            [(images @ d @ images.mT - found[:, None]).square().sum((2, 3, 4)).amin(1) for d in found]
        ).cpu()
        chosen: list[int] = []
        most = _DESCENTS if self.hamiltonian.molecule.grid_level else _ROUGHLY
        for k in order.tolist():
            if not chosen or float(distances[k, chosen].min()) > _APART * float(distances.max()):
                chosen.append(k)
            if len(chosen) == most:
                break
        return chosen

    def descend(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Follow the energy downhill from several turns at once, by BFGS in a few dimensions.

        Returns
        -------
        energies : Tensor, shape (n,), Ha
        vectors : Tensor, shape (n, 3 or 1)
        """
        energy, slope = self._differentiated(vectors)
        count, size = vectors.shape
        inverse = torch.eye(size, dtype=vectors.dtype, device=vectors.device).repeat(count, 1, 1)
        inverse *= (_FIRST / slope.norm(dim=1).clamp_min(1e-12))[:, None, None]
        fresh = torch.ones(count, dtype=torch.bool, device=vectors.device)
        reach = torch.full_like(energy, _FURTHEST)
        for _ in range(_STEPS):
            step = -torch.einsum("nij,nj->ni", inverse, slope)
            step *= (reach / step.norm(dim=1).clamp_min(1e-12)).clamp_max(1.0)[:, None]
            new_energy, new_slope = self._differentiated(vectors + step)
            change = new_slope - slope
            curvature = (step * change).sum(1)
            # A step that failed tells of the curvature, too.
            learn = curvature > 1e-10 * step.norm(dim=1) * change.norm(dim=1)
            scale = curvature / change.square().sum(1).clamp_min(1e-30)
            inverse[learn & fresh] = scale[learn & fresh, None, None] * torch.eye(size).to(inverse)
            fresh &= ~learn
            inverse[learn] = _updated(inverse[learn], step[learn], change[learn])
            lower = new_energy < energy
            reach = torch.where(lower, reach, 0.3 * step.norm(dim=1)).clamp_min(1e-4)
            reach = torch.where(lower & learn.logical_not(), (2.0 * reach).clamp_max(_FURTHEST), reach)
            vectors = torch.where(lower[:, None], vectors + step, vectors)
            energy, slope = (
                torch.where(lower, new_energy, energy),
                torch.where(lower[:, None], new_slope, slope),
            )
        return energy, vectors

    def _differentiated(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        energies, slopes = [], []
        for part in vectors.split(self.together):
            with torch.enable_grad():
                leaf = part.clone().requires_grad_()
                energies.append(self.energies(leaf))
                slopes += torch.autograd.grad(energies[-1].sum(), leaf)
        return torch.cat(energies).detach(), torch.cat(slopes)

    def orbitals(self, vector: Tensor) -> Tensor:
        """The orbitals after a turn, orthonormal, shape (nspin, nao, nmo).

        Raises
        ------
        ValueError
            If too little is left of one.
        """
        turned = self.coefficients.clone()
        turn = self.turns(vector[None])[0]
        turned[self.own] = turn @ turned[self.own]
        overlap = self.hamiltonian.overlap
        channels = zip(turned.split(self.sizes, 1), self.state.orbitals, strict=True)
        return torch.stack([completed(c, overlap, basis) for c, basis in channels])


def _updated(inverse: Tensor, step: Tensor, change: Tensor) -> Tensor:
    """BFGS's inverse Hessians, shape (n, d, d), after steps that changed slopes, shape (n, d)."""
    rho = 1.0 / (step * change).sum(1)
    across = torch.eye(step.shape[1]).to(inverse) - rho[:, None, None] * step[:, :, None] * change[:, None, :]
    return across @ inverse @ across.mT + rho[:, None, None] * step[:, :, None] * step[:, None, :]


def _reversed_bits(k: int) -> float:
    """The k-th fraction of van der Corput's sequence in base 2."""
    value, scale = 0.0, 0.5
    while k:
        value, k, scale = value + scale * (k & 1), k >> 1, scale / 2
    return value
