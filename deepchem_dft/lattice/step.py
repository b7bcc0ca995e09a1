"""Molecules of a batch side by side, and one Kohn-Sham step on their densities."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from deepchem_dft.errors import InputError
from deepchem_dft.lattice.functionals import LatticeFunctional
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.lattice.interaction import hartree_energy, hartree_potential
from deepchem_dft.lattice.orbitals import Occupied, occupied_orbitals
from deepchem_dft.lattice.systems import System
from deepchem_dft.torchstate import unaffected


@dataclass(frozen=True)
class Molecules:
    """What calculations on several molecules have in common; make it with :meth:`of`.

    Attributes
    ----------
    grid : Grid
    systems : tuple of System
    external : Tensor, shape (B, n)
        Attraction of the nuclei, Hartree.
    occupations : Tensor, shape (B, S, m)
        Electrons per orbital: S = 1, at most 2 in each, or S = 2 spins with at most 1.
    electrons : Tensor, shape (B,)
    mirror : Tensor of int, shape (B, n)
        Point opposite to each point; itself where there is none, and in molecules that are not
        symmetric about a point of the grid or half-way between two.
    density : Tensor, shape (B, S, n)
        Of electrons that do not interact, electrons per Bohr.
    orbitals : Tensor, shape (B, S, m, n)
        Theirs.
    """

    grid: Grid
    systems: tuple[System, ...]
    external: Tensor
    occupations: Tensor
    electrons: Tensor
    mirror: Tensor
    density: Tensor
    orbitals: Tensor

    @classmethod
    @unaffected
    def of(cls, systems: Sequence[System], grid: Grid | None = None, polarised: bool = False) -> "Molecules":
        """Prepare molecules, from memory where they were met before.

        Parameters
        ----------
        systems : sequence of System
        grid : Grid, optional
            Default: the paper's.
        polarised : bool
            Treat spins apart. Otherwise an unpaired electron half fills an orbital.

        Raises
        ------
        InputError
            For no systems, or nuclei outside the grid.

        Examples
        --------
        >>> from deepchem_dft.lattice.systems import h2, h4
        >>> Molecules.of([h2(1.52), h4(2.0)]).occupations.tolist()
        [[[2.0, 0.0]], [[2.0, 2.0]]]
        """
        if not systems:
            raise InputError("there are no systems", remedy="give one or more")
        grid = grid or Grid()
        singles = [_single(system, grid, polarised) for system in systems]
        most = max(single.occupations.shape[2] for single in singles)

        def padded(values: Tensor) -> Tensor:
            out = values.new_zeros(*values.shape[:2], most, *values.shape[3:])
            out[:, :, : values.shape[2]] = values
            return out

        return cls(
            grid,
            tuple(systems),
            torch.cat([s.external for s in singles]),
            torch.cat([padded(s.occupations) for s in singles]),
            torch.cat([s.electrons for s in singles]),
            torch.cat([s.mirror for s in singles]),
            torch.cat([s.density for s in singles]),
            torch.cat([padded(s.orbitals) for s in singles]),
        )

    def __len__(self) -> int:
        return len(self.systems)

    def symmetrise(self, values: Tensor) -> Tensor:
        """Average (B, S, n) values over each molecule's two sides."""
        mirror = self.mirror[:, None].expand_as(values)
        return (values + values.gather(-1, mirror)) / 2

    def atoms(self) -> Tensor:
        """Return the densities of the atoms put side by side, (B, S, n), as first densities.

        Each nucleus has its share of the electrons, in the shape of one electron alone with it.
        Far from equilibrium this is a better start than electrons that do not interact, which
        gather where most nuclei are.

        Examples
        --------
        >>> from deepchem_dft.lattice.systems import h4
        >>> molecules = Molecules.of([h4(3.0)])
        >>> molecules.grid.integrate(molecules.atoms()).tolist()
        [[4.0...]]
        """
        polarised = self.occupations.shape[1] == 2
        return torch.stack([_atoms(s, self.grid, polarised) for s in self.systems])

    def fill(self, potential: Tensor, guess: Tensor | None = None) -> Occupied:
        """Put the electrons into potentials (B, S, n); results have an axis for spin as well."""
        batch, spins, n = potential.shape
        rows = None if guess is None else guess.reshape(batch * spins, -1, n)
        found = occupied_orbitals(
            self.grid, potential.reshape(-1, n), self.occupations.reshape(batch * spins, -1), rows
        )
        return Occupied(*(value.reshape(batch, spins, *value.shape[1:]) for value in found))


@dataclass(frozen=True)
class Step:
    """Result of one Kohn-Sham step.

    Attributes
    ----------
    density : Tensor, shape (B, S, n)
        Of the electrons in the potential of the density put in.
    non_xc : Tensor, shape (B,)
        Energy of ``density`` without exchange and correlation, and without the nuclei's repulsion.
    orbitals : Tensor, shape (B, S, m, n)
    orbital_energies : Tensor, shape (B, S, m)
        Hartree.
    """

    density: Tensor
    non_xc: Tensor
    orbitals: Tensor
    orbital_energies: Tensor


@unaffected
def kohn_sham_step(
    molecules: Molecules, functional: LatticeFunctional, density: Tensor, guess: Tensor | None = None
) -> Step:
    """Fill the lowest orbitals in the Kohn-Sham potential of a density.

    Parameters
    ----------
    molecules : Molecules
    functional : LatticeFunctional
    density : Tensor, shape (B, S, n)
        Electrons per Bohr.
    guess : Tensor, shape (B, S, m, n), optional
        Orbitals of similar densities: they save time.

    Returns
    -------
    Step
        Differentiable with respect to the density and to the functional's parameters.
    """
    grid = molecules.grid
    potential = molecules.symmetrise(functional.potential(density))
    fixed = molecules.external + hartree_potential(grid, density.sum(1))
    potential = potential + fixed[:, None]
    found = molecules.fill(potential, guess)
    out = molecules.symmetrise(found.density)
    # The sum of orbital energies minus the potential's part of it is the kinetic energy.
    kinetic = found.energy.sum(1) - grid.integrate(potential * out).sum(1)
    total = out.sum(1)
    non_xc = kinetic + grid.integrate(molecules.external * total) + hartree_energy(grid, total)
    return Step(out, non_xc, found.orbitals, found.orbital_energies)


def _occupations(system: System, polarised: bool) -> Tensor:
    """Return electrons per orbital, (S, m)."""
    if not polarised:
        pairs, single = divmod(system.electrons, 2)
        return torch.tensor([[2.0] * pairs + [1.0] * single], dtype=torch.float64)
    rows = [[1.0] * count + [0.0] * (system.up - count) for count in (system.up, system.down)]
    return torch.tensor(rows, dtype=torch.float64)


def _mirror(system: System, grid: Grid) -> Tensor:
    own = torch.arange(len(grid))
    shift = 2 * system.centre / grid.spacing
    if not system.symmetric or abs(shift - round(shift)) > 1e-6:
        return own
    other = len(grid) - 1 + round(shift) - own
    return torch.where((other >= 0) & (other < len(grid)), other, own)


@lru_cache(maxsize=2048)
@unaffected
def _single(system: System, grid: Grid, polarised: bool) -> Molecules:
    occupations = _occupations(system, polarised)[None]
    bare = Molecules(
        grid,
        (system,),
        system.external_potential(grid)[None],
        occupations,
        torch.tensor([float(system.electrons)], dtype=torch.float64),
        _mirror(system, grid)[None],
        torch.empty(0),
        torch.empty(0),
    )
    with torch.no_grad():
        spins = occupations.shape[1]
        found = bare.fill(bare.external[:, None].repeat(1, spins, 1))
        density = bare.symmetrise(found.density)
    return Molecules(
        grid, (system,), bare.external, occupations, bare.electrons, bare.mirror, density, found.orbitals
    )


@lru_cache(maxsize=2048)
@unaffected
def _atoms(system: System, grid: Grid, polarised: bool) -> Tensor:
    whole = torch.zeros(len(grid), dtype=torch.float64)
    for position, charge in zip(system.positions, system.charges, strict=True):
        atom = _single(System([position], [charge], 1, 1), grid, False)
        whole += atom.density[0, 0] * (charge / sum(system.charges))
    spins = [system.up, system.down] if polarised else [system.electrons]
    return torch.tensor(spins, dtype=torch.float64)[:, None] * whole
