"""The loss of KSR: energies along the trajectory, and the density it ends with."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from deepchem_dft.errors import InputError
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
