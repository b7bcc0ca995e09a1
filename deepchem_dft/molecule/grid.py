"""Quadrature grids of a molecule, with its atomic orbitals on them in screened blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from deepchem_dft.molecule import integrals
from deepchem_dft.molecule.constants import Constants

#: Grid points per block: large enough for BLAS, small enough for the cache of a core, and small
#: enough in space for most functions of a large molecule to vanish there.
BLOCK_ROWS = 1024
#: Functions (and gradients) that stay below this in a whole block are left out of it, 1/Bohr^(3/2).
_NEGLIGIBLE = 1e-11
# With fewer functions left out than this share, skipping them costs more than it saves.
_WORTH_SKIPPING = 0.1


class Block(NamedTuple):
    """Atomic orbitals on some neighbouring points.

    Attributes
    ----------
    rows : slice
        Which points.
    columns : Tensor of int64 or None
        Which orbitals; None for all.
    values : Tensor, shape (1 or 4, rows, columns), float64
        Values, then gradients.
    """

    rows: slice
    columns: Tensor | None
    values: Tensor

    def to(self, device: torch.device | str) -> Block:
        """Return a copy on a device (or itself)."""
        columns = None if self.columns is None else self.columns.to(device)
        return Block(self.rows, columns, self.values.to(device))


class Grid:
    """Becke quadrature of one level, and the molecule's orbitals on it.

    Get one from :attr:`Molecule.grid` or :meth:`Molecule.grid_at`.

    Parameters
    ----------
    mole : callable returning pyscf.gto.Mole
    level : int
        PySCF's quadrature level, 0 to 9.
    constants : Constants
        Where points, weights and orbitals are kept.

    Examples
    --------
    >>> from deepchem_dft.molecule import Molecule
    >>> hydrogen = Molecule("H 0 0 0; H 0 0 1.4", basis="sto-3g", grid_level=3)
    >>> hydrogen.grid.size > 5 * hydrogen.grid_at(0).size
    True
    """

    def __init__(self, mole: Callable[[], Any], level: int, constants: Constants) -> None:
        self._mole, self.level, self._constants = mole, level, constants

    def _small(self, name: str) -> Tensor:
        def make() -> dict:
            points, weights = integrals.quadrature(self._mole(), self.level)
            return {"points": points, "weights": weights}

        return self._constants.small(name, make)

    @property
    def points(self) -> Tensor:
        """Quadrature points, shape (G, 3), Bohr; neighbours in space are neighbours in order."""
        return self._small("points")

    @property
    def weights(self) -> Tensor:
        """Quadrature weights, shape (G,), Bohr^3."""
        return self._small("weights")

    @property
    def size(self) -> int:
        """Number of points."""
        return len(self.weights)

    def blocks(self, deriv: int, device: torch.device | str = "cpu") -> Iterable[Block]:
        """Atomic orbitals block by block.

        Parameters
        ----------
        deriv : {0, 1}
            0 for values only, 1 for values and gradients.
        device : torch.device, optional
            Where the values are wanted.

        Returns
        -------
        iterable of Block
        """
        device = torch.device(device)
        if deriv == 0 and (richer := self._constants.held(_part(1, device))) is not None:
            return (Block(b.rows, b.columns, b.values[:1]) for b in richer)
        return self._constants.large(_part(deriv, device), lambda: self._make(deriv, device))

    def _make(self, deriv: int, device: torch.device) -> list[Block]:
        mole, points = self._mole(), self.points.numpy()
        return [_screened(rows, torch.from_numpy(
                    integrals.atomic_orbitals(mole, points[rows], deriv))).to(device)
                for rows in row_blocks(len(points), BLOCK_ROWS)]  # fmt: skip

    def release(self) -> None:
        """Drop the orbitals from memory; they are made again on demand."""
        self._constants.release()


def row_blocks(length: int, rows: int) -> list[slice]:
    """Cut a range into slices.

    Examples
    --------
    >>> row_blocks(5, 2)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    return [slice(start, min(start + rows, length)) for start in range(0, length, rows)]


def _part(deriv: int, device: torch.device) -> str:
    return f"ao{deriv}" if device.type == "cpu" else f"ao{deriv}-{device}"


def _screened(rows: slice, values: Tensor) -> Block:
    present = values.abs().amax((0, 1)) > _NEGLIGIBLE
    columns = present.nonzero().flatten()
    if len(columns) > (1 - _WORTH_SKIPPING) * len(present):
        return Block(rows, None, values.contiguous())
    return Block(rows, columns, values[:, :, columns].contiguous())
