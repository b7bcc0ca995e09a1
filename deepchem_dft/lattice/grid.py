"""The line on which everything lives: points, spacing, kinetic energy by central differences."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch

from deepchem_dft.errors import InputError
from deepchem_dft.torchstate import unaffected


@dataclass(frozen=True)
class Grid:
    """A uniform grid centred on zero, with hard walls one spacing beyond its ends.

    The defaults are those of Li et al.: 513 points from -20.48 to 20.48 Bohr.

    Parameters
    ----------
    points : int
        Number of points.
    spacing : float
        Distance between points, Bohr.
    order : int
        Points of the central difference for the kinetic energy: 3, 5, 7 ... up to 15. The paper's
        5 are exact up to the fourth power of ``spacing``.

    Raises
    ------
    InputError
        For fewer points than two stencils have, a spacing that is not positive, an order that is
        not an odd number from 3 to 15.

    References
    ----------
    Li et al., Phys. Rev. Lett. 126, 036401 (2021).

    Examples
    --------
    >>> grid = Grid()
    >>> grid.x[0].item(), grid.x[256].item(), len(grid)
    (-20.48, 0.0, 513)
    >>> (grid.kinetic_stencil() * 2 * grid.spacing**2 * 12).round().tolist()
    [30.0, -16.0, 1.0]
    """

    points: int = 513
    spacing: float = 0.08
    order: int = 5

    def __post_init__(self) -> None:
        if self.order not in range(3, 16, 2):
            raise InputError(
                f"a central difference of {self.order!r} points does not exist here",
                field="order",
                remedy="use an odd number from 3 to 15",
            )
        if (
            isinstance(self.points, bool)
            or not isinstance(self.points, int)
            or (self.points < 2 * self.order)
        ):
            raise InputError(
                f"{self.points!r} points do not make a grid",
                field="points",
                remedy=f"use a whole number, at least {2 * self.order}",
            )
        if not (math.isfinite(self.spacing) and self.spacing > 0):
            raise InputError(
                f"{self.spacing!r} is not a spacing",
                field="spacing",
                remedy="use a positive number of Bohr, such as 0.08",
            )

    def __len__(self) -> int:
        return self.points

    @cached_property
    @unaffected
    def x(self) -> torch.Tensor:
        """Positions of the points, (points,), Bohr."""
        return (torch.arange(self.points, dtype=torch.float64) - (self.points - 1) / 2) * (self.spacing)

    @property
    def half_width(self) -> float:
        """Position of the last point, Bohr."""
        return (self.points - 1) / 2 * self.spacing

    @unaffected
    def kinetic_stencil(self) -> torch.Tensor:
        """Return T[i, i], T[i, i + 1], ... of the kinetic energy -1/2 d2/dx2.

        Returns
        -------
        Tensor of shape (order // 2 + 1,), Hartree

        References
        ----------
        Fornberg, Math. Comp. 51, 699 (1988).
        """
        weights = torch.tensor(_second_derivative(self.order // 2), dtype=torch.float64)
        return -0.5 * weights / self.spacing**2

    def kinetic_bands(self) -> torch.Tensor:
        """Return the kinetic energy in the lower banded form of SciPy, Hartree.

        Row k holds T[i + k, i] for all i; what would stick out of the matrix is zero. This is
        what `scipy.linalg.eig_banded` and `solveh_banded` take with ``lower=True``.

        Returns
        -------
        Tensor of shape (order // 2 + 1, points)
        """
        stencil = self.kinetic_stencil()
        bands = stencil[:, None].repeat(1, self.points)
        for k in range(1, len(stencil)):
            bands[k, self.points - k :] = 0.0
        return bands

    @unaffected
    def kinetic_matrix(self) -> torch.Tensor:
        """Return the kinetic energy as a full symmetric matrix, (points, points), Hartree."""
        matrix = torch.zeros(self.points, self.points, dtype=torch.float64)
        for k, value in enumerate(self.kinetic_stencil()):
            matrix.diagonal(k).fill_(value)
            matrix.diagonal(-k).fill_(value)
        return matrix

    def integrate(self, values: torch.Tensor) -> torch.Tensor:
        """Integrate (..., points) over the line; functions vanish at the walls."""
        return values.sum(-1) * self.spacing

    def check_inside(self, positions: Sequence[float] | torch.Tensor, entry: str | None = None) -> None:
        """Refuse nuclei that are not on the line.

        Parameters
        ----------
        positions : sequence of float, or Tensor
            Bohr.
        entry : str, optional
            Name of the system, for the message.

        Raises
        ------
        InputError
            For a position beyond the first or last point, or not a number.
        """
        for place in torch.as_tensor(positions, dtype=torch.float64).flatten().tolist():
            if not abs(place) <= self.half_width * (1 + 1e-12):
                raise InputError(
                    f"a nucleus at {place:g} Bohr is outside the grid, which ends at "
                    f"{self.half_width:g} Bohr",
                    entry=entry,
                    field="positions",
                    remedy="centre the molecule on 0, or use a Grid with more points",
                )


@lru_cache
def _second_derivative(width: int) -> tuple[float, ...]:
    """Weights, in units of 1/spacing^2, of the central difference of 2 width + 1 points."""
    sides = [
        2
        * (-1) ** (k + 1)
        * math.factorial(width) ** 2
        / (k**2 * math.factorial(width - k) * math.factorial(width + k))
        for k in range(1, width + 1)
    ]
    return (-2 * sum(sides), *sides)
