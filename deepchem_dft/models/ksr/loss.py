"""The loss of KSR: energies along the trajectory, the density it ends with, separability."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from deepchem_dft.errors import InputError
from deepchem_dft.lattice.functionals import LatticeFunctional
from deepchem_dft.lattice.systems import System
from deepchem_dft.lattice.trajectory import Trajectory


@dataclass(frozen=True)
class KSRLoss:
    r"""Loss per molecule of N electrons after K iterations.

    .. math:: L = \frac{w_E}{N} \sum_{k > s}^{K} d^{K-k} (E_k - E)^2
                  + \frac{w_n}{N} \int (n_K - n)^2 dx

    Parameters
    ----------
    energy_weight, density_weight : float
        w_E, per square Hartree, and w_n, in Bohr.
    discount : float
        d.
    skip : int
        s: iterations at the start that do not count.

    Raises
    ------
    InputError
        For negative weights or a discount that is not in (0, 1].

    References
    ----------
    Li et al., Phys. Rev. Lett. 126, 036401 (2021), Eq. 3 and its supplement.

    Examples
    --------
    >>> KSRLoss(skip=13).discounts(15).tolist()
    [0.9, 1.0]
    """

    energy_weight: float = 1.0
    density_weight: float = 1.0
    discount: float = 0.9
    skip: int = 10

    def __post_init__(self) -> None:
        weights = (self.energy_weight, self.density_weight)
        if not (min(weights) >= 0 and max(weights) > 0):
            raise InputError(
                f"weights {weights[0]} of energy and {weights[1]} of density",
                field="energy_weight",
                remedy="neither negative, not both zero",
            )
        if not 0 < self.discount <= 1 or self.skip < 0:
            raise InputError(
                f"discount {self.discount} after {self.skip} iterations",
                field="discount",
                remedy="above 0 and at most 1; skip from 0",
            )

    def discounts(self, iterations: int) -> Tensor:
        """Return d^(K - k) of the iterations that count."""
        kept = iterations - self.skip
        if kept < 1:
            raise InputError(
                f"of {iterations} iterations all {self.skip} are skipped",
                field="skip",
                remedy=f"use at most {iterations - 1}",
            )
        return self.discount ** torch.arange(kept - 1, -1, -1, dtype=torch.float64)

    def __call__(self, trajectory: Trajectory, energy: Tensor, density: Tensor | None) -> Tensor:
        """Return the loss of each molecule, (B,).

        Parameters
        ----------
        trajectory : Trajectory
            With the energies of the iterations that count.
        energy : Tensor, shape (B,)
            Exact, Hartree.
        density : Tensor, shape (B, S, n), optional
            Exact, electrons per Bohr; not needed if its weight is 0.
        """
        errors = trajectory.energies - energy[:, None]
        discounts = self.discount ** torch.arange(errors.shape[1] - 1, -1, -1).to(errors)
        loss = self.energy_weight * (errors**2 @ discounts)
        if self.density_weight:
            assert density is not None
            deviation = trajectory.mixed - density
            square = trajectory.molecules.grid.integrate(deviation**2).sum(1)
            loss = loss + self.density_weight * square
        return loss / trajectory.molecules.electrons


@dataclass(frozen=True)
class KSRStage:
    """A stretch of training; what is None is as in the model.

    Parameters
    ----------
    epochs : int
    iterations : int, optional
        With 1 and ``start="exact"``, a single step from the exact density is learned: energy and
        density of the electrons in its potential. That takes a fraction of the time of a
        trajectory, and leads to where trajectories end near the exact density. Trajectories of
        molecules whose charge is easily moved, such as stretched chains, are chaotic at first and
        hard to learn from.
    start : {"noninteracting", "atoms", "exact"}, optional
    burn_in, skip : int, optional
        Default, if ``iterations`` is given: no burn-in, and the last five count.
    energy_weight, density_weight, discount, separability_weight : float, optional
    """

    epochs: int
    iterations: int | None = None
    start: str | None = None
    burn_in: int | None = None
    skip: int | None = None
    energy_weight: float | None = None
    density_weight: float | None = None
    discount: float | None = None
    separability_weight: float | None = None

    def loss(self, usual: KSRLoss) -> KSRLoss:
        """Return the stage's loss."""
        names = ("energy_weight", "density_weight", "discount", "skip")
        given = {n: v for n in names if (v := getattr(self, n)) is not None}
        if self.iterations is not None and self.skip is None:
            given["skip"] = max(self.iterations - 5, 0)
        return replace(usual, **given)


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
