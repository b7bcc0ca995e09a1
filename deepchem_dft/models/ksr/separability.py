"""An exact condition to train on: far molecules have the energies of each, added."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from deepchem_dft.lattice.functionals import LatticeFunctional
from deepchem_dft.lattice.systems import System

#: Gaps between two copies, from nucleus to nucleus, Bohr: three decay lengths of the interaction
#: and more.
GAPS = (7.0, 9.0, 11.0)
#: Electrons that may be lost beyond the ends of the grid.
_LOST = 1e-6


class Separability:
    r"""How far the functional is from being additive for two copies of a molecule.

    .. math:: \frac1M \sum \frac{1}{2N} (E_{xc}[n(x - a) + n(x + a)] - 2 E_{xc}[n])^2

    over molecules with their exact densities n, of N electrons, and distances 2a at which copies do
    not overlap. A network that sees far must learn this; that the molecules it is trained on are
    well described tells it nothing about two of them. Pairs are no larger than the largest
    molecule, unless all are larger.

    Parameters
    ----------
    functional : LatticeFunctional
    systems : sequence of System
    densities : Tensor, shape (N, S, n)
        Exact, electrons per Bohr. Molecules of which no two copies fit on the grid are left out.

    Examples
    --------
    >>> from deepchem_dft.lattice.functionals import make_functional
    >>> from deepchem_dft.lattice.step import Molecules
    >>> from deepchem_dft.lattice.systems import h2
    >>> molecules, xc = Molecules.of([h2(1.52)]), make_functional("local")
    >>> measure = Separability(xc, molecules.systems, molecules.density)
    >>> len(measure), measure(xc).item() < 1e-9
    (3, True)
    """

    def __init__(self, functional: LatticeFunctional, systems: Sequence[System], densities: Tensor) -> None:
        grid = functional.grid
        counts = [system.electrons for system in systems]
        most = max(*counts, 2 * min(counts), 0)
        pairs, self.molecule = [], []
        for number, (system, density) in enumerate(zip(systems, densities, strict=True)):
            length = max(system.positions) - min(system.positions)
            for gap in GAPS if 2 * system.electrons <= most else ():
                pair = _two(density, round((length + gap) / 2 / grid.spacing))
                lost = 2 * system.electrons - grid.integrate(pair).sum()
                if lost.abs() < _LOST:
                    pairs.append(pair)
                    self.molecule.append(number)
        self.pairs = torch.stack(pairs) if pairs else densities[:0]
        self.densities = densities
        self.electrons = torch.tensor([2.0 * counts[number] for number in self.molecule], dtype=torch.float64)

    def __len__(self) -> int:
        return len(self.electrons)

    def __call__(self, functional: LatticeFunctional) -> Tensor:
        """Return the mean square per electron, square Hartree."""
        if not len(self):
            return torch.zeros((), dtype=torch.float64)
        bound = functional.bind()
        used = sorted(set(self.molecule))
        single = bound.energy(self.densities[used])
        where = [used.index(number) for number in self.molecule]
        excess = bound.energy(self.pairs) - 2 * single[where]
        return (excess**2 / self.electrons).mean()


def _two(density: Tensor, shift: int) -> Tensor:
    """Return a density (S, n) moved to the left plus the same moved to the right."""
    out, n = torch.zeros_like(density), density.shape[-1]
    if shift < n:
        out[:, : n - shift] += density[:, shift:]
        out[:, shift:] += density[:, : n - shift]
    return out
