"""The damped self-consistent iteration of KSR, differentiable from end to end."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deepchem_dft.errors import InputError
from deepchem_dft.lattice.functionals import LatticeFunctional
from deepchem_dft.lattice.step import Molecules, kohn_sham_step
from deepchem_dft.lattice.systems import System
from deepchem_dft.torchstate import unaffected


@dataclass(frozen=True)
class Trajectory:
    """What happened in the iterations of a batch.

    Attributes
    ----------
    molecules : Molecules
    energies : Tensor, shape (B, K)
        Energy of each iteration's ``densities``, without the repulsion of the nuclei, Hartree;
        of the last K iterations if no more were wanted.
    densities : Tensor, shape (B, K, S, n)
        Densities that iterations ended with, before mixing, electrons per Bohr.
    mixed : Tensor, shape (B, S, n)
        What another iteration would have begun with.
    residual : Tensor, shape (B,)
        Electrons that the last iteration moved: int |n_out - n_in| dx / 2. No gradient.
    orbital_energies : Tensor, shape (B, S, m)
        Of the last iteration, Hartree. No gradient.
    """

    molecules: Molecules
    energies: Tensor
    densities: Tensor
    mixed: Tensor
    residual: Tensor
    orbital_energies: Tensor

    @property
    def energy(self) -> Tensor:
        """Energy of the last iteration, (B,), Hartree."""
        return self.energies[:, -1]

    @property
    def density(self) -> Tensor:
        """Density of the last iteration, summed over spins, (B, n), electrons per Bohr."""
        return self.densities[:, -1].sum(1)

    def converged(self, tol: float = 1e-3) -> Tensor:
        """Tell, (B,), whether the last iteration moved fewer electrons than ``tol``."""
        return self.residual < tol


@unaffected
def run_trajectory(
    molecules: Molecules | Sequence[System],
    functional: LatticeFunctional,
    iterations: int = 15,
    mixing: float = 0.5,
    decay: float = 0.9,
    *,
    start: Tensor | None = None,
    burn_in: int = 0,
    last: int | None = None,
) -> Trajectory:
    r"""Iterate the Kohn-Sham equations a fixed number of times.

    Iteration k = 0, 1, ... turns a density into that of the electrons in its potential, and

    .. math:: n_{k+1} = n_k + a\,d^k\,(n_k^{\rm out} - n_k)

    goes into the next. All is differentiable with respect to the functional's parameters: the
    iteration is a layer of the network.

    Parameters
    ----------
    molecules : Molecules or sequence of System
    functional : LatticeFunctional
    iterations : int
        K.
    mixing, decay : float
        a, from 0 to 1, and d.
    start : Tensor, shape (B, S, n), optional
        First density. Default: that of electrons that do not interact.
    burn_in : int
        Iterations at the beginning that are not differentiated: they lead towards the solution at
        a quarter of the cost, and their own errors, which may be wild, teach nothing.
    last : int, optional
        Keep energies and densities of so many iterations only.

    Returns
    -------
    Trajectory

    Raises
    ------
    InputError
        For numbers out of range, a start of another shape, or a potential that is not finite.

    Examples
    --------
    >>> from deepchem_dft.lattice.functionals import make_functional
    >>> from deepchem_dft.lattice.systems import h2, h2_plus
    >>> with torch.no_grad():
    ...     found = run_trajectory([h2_plus(2.48), h2(1.52)], make_functional("uniform-gas"))
    >>> [round(energy, 3) for energy in found.energy.tolist()]
    [-1.125, -1.973]

    References
    ----------
    Li et al., Phys. Rev. Lett. 126, 036401 (2021).
    """
    if iterations < 1 or not 0 < mixing <= 1 or not 0 < decay <= 1:
        raise InputError(
            f"{iterations} iterations with mixing {mixing} and decay {decay}",
            field="iterations",
            remedy="at least 1 iteration; mixing and decay above 0 and at most 1",
        )
    if not isinstance(molecules, Molecules):
        molecules = Molecules.of(molecules, functional.grid, functional.polarised)
    density = molecules.density if start is None else start
    if density.shape != molecules.density.shape:
        raise InputError(
            f"the start has shape {tuple(density.shape)}",
            field="start",
            remedy=f"give densities of shape {tuple(molecules.density.shape)}",
        )
    last = iterations if last is None else min(last, iterations)
    bound, orbitals = functional.bind(), molecules.orbitals
    energies, densities, amount = [], [], mixing
    for k in range(iterations):
        with torch.set_grad_enabled(torch.is_grad_enabled() and k >= burn_in):
            step = kohn_sham_step(molecules, bound, density, orbitals)
        orbitals, moved = step.orbitals, step.density - density
        density, amount = density + amount * moved, amount * decay
        if k >= iterations - last:
            energies.append(step.non_xc + bound.energy(step.density))
            densities.append(step.density)
    residual = molecules.grid.integrate(moved.detach().abs()).sum(1) / 2
    return Trajectory(
        molecules,
        torch.stack(energies, 1),
        torch.stack(densities, 1),
        density,
        residual,
        step.orbital_energies,
    )
