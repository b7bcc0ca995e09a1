"""Quadrature grids of a molecule, with its atomic orbitals on them in screened blocks."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from deepchem_dft.molecule import integrals
from deepchem_dft.molecule.constants import Constants
from deepchem_dft.molecule.elements import NUCLEAR_CHARGE
from deepchem_dft.torchstate import unaffected
from deepchem_dft.xc.quadrature import Quadrature

#: MolecularGrid points per block: large enough for BLAS, small enough for the cache of a core, and small
#: enough in space for most functions of a large molecule to vanish there.
BLOCK_ROWS = 1024
#: Functions (and gradients) that stay below this in a whole block are left out of it, 1/Bohr^(3/2).
_NEGLIGIBLE = 1e-11
#: Share of the memory budget for the orbitals on one grid; more are evaluated anew at every use.
#: It leaves room for those on a coarser grid and for the integrals.
BLOCK_SHARE = 0.4
#: Part of the hash of a grid: the version of what is kept, and of :func:`by_locality`.
GRID_ORDER = 3
# Bohr: size of the boxes of points, how far they reach beyond the nuclei, and the distance to a
# nucleus from which points are tails. Measured on alkanes and benzene.
_BOX, _MARGIN, _TAIL = 1.5, 4.0, 6.0
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

    def to(self, device: torch.device | str) -> "Block":
        """Return a copy on a device (or itself)."""
        columns = None if self.columns is None else self.columns.to(device)
        return Block(self.rows, columns, self.values.to(device))


class MolecularGrid:
    """Becke quadrature of one level, and the molecule's orbitals on it.

    Get one from :attr:`Molecule.grid` or :attr:`Molecule.coarse_grid`.

    Parameters
    ----------
    mole : pyscf.gto.Mole
    level : int or None
        PySCF's quadrature level, 0 to 9; None for the coarse grid.
    constants : Constants
        Where points, weights and orbitals are kept.

    Examples
    --------
    >>> from deepchem_dft.molecule import Molecule
    >>> hydrogen = Molecule("H 0 0 0; H 0 0 1.4", basis="sto-3g", grid_level=3)
    >>> hydrogen.grid.size > 5 * hydrogen.coarse_grid.size
    True
    """

    def __init__(self, mole: Any, level: int | None, constants: Constants) -> None:
        self._mole, self.level, self._constants = mole, level, constants
        #: Bytes that the blocks of a part take at least, if they did not fit before.
        self._too_large: dict[str, int] = {}

    def _small(self, name: str) -> Tensor:
        def make() -> dict:
            mole = self._mole
            made = integrals.quadrature(mole, self.level)
            order = by_locality(made["points"], mole.atom_coords())
            return {name: values[order] for name, values in made.items()}

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
    @unaffected
    def quadrature(self) -> Quadrature:
        """All a functional may see of it: points, weights, whose they are, and the nuclei."""
        mole = self._mole
        numbers = [NUCLEAR_CHARGE[mole.atom_pure_symbol(i)] for i in range(mole.natm)]
        return Quadrature(
            self.points,
            self.weights,
            self._small("atoms"),
            torch.from_numpy(np.array(mole.atom_coords())),
            torch.tensor(numbers),
            self._small("atomic_weights"),
        )

    @property
    def size(self) -> int:
        """Number of points."""
        return len(self.weights)

    def blocks(self, deriv: int, device: torch.device | str = "cpu") -> Iterable[Block]:
        """Atomic orbitals block by block, from memory if they fit into their share of the budget.

        Parameters
        ----------
        deriv : {0, 1}
            0 for values only, 1 for values and gradients.
        device : torch.device, optional
            Where the values are wanted.

        Returns
        -------
        iterable of Block
            To be gone through once; ask again for another time.
        """
        device, constants = torch.device(device), self._constants
        part = _part(deriv, device)
        if deriv == 0 and (richer := constants.held(_part(1, device))) is not None:
            return (Block(b.rows, b.columns, b.values[:1]) for b in richer)
        if (kept := constants.held(part)) is not None:
            return kept
        if deriv == 1:
            constants.release(_part(0, device))  # it is part of what comes
        room = constants.room(BLOCK_SHARE)
        if room >= self._too_large.get(part, 0):
            most = 8 * self.size * self._mole.nao_nr() * (1, 4)[deriv]
            made = constants.large(part, lambda: self._kept(deriv, device, room), min(most, room))
            if made is not None:
                return made
        return self._evaluated(deriv, device)

    def _evaluated(self, deriv: int, device: torch.device) -> Iterator[Block]:
        mole, points = self._mole, self.points.numpy()
        for rows in row_blocks(len(points), BLOCK_ROWS):
            values = integrals.atomic_orbitals(mole, points[rows], deriv, 0.01 * _NEGLIGIBLE)
            yield screened(rows, torch.from_numpy(values)).to(device)

    def _kept(self, deriv: int, device: torch.device, room: int) -> list[Block] | None:
        """Return all blocks, or None if they take more than ``room`` bytes."""
        blocks, size = [], 0
        for block in self._evaluated(deriv, device):
            size += block.values.nbytes
            if size > room:
                self._too_large[_part(deriv, device)] = size
                return None
            blocks.append(block)
        return blocks

    def release(self) -> None:
        """Drop the orbitals from memory; they are made again on demand."""
        self._constants.release()


def by_locality(points: np.ndarray, nuclei: np.ndarray) -> np.ndarray:
    """Return the order of points in which neighbours in space follow each other.

    Points near the nuclei come first, then the tails where few orbitals are left; each lot box by
    box, there and back along the principal axes of the molecule.

    Parameters
    ----------
    points : ndarray, shape (G, 3), Bohr
    nuclei : ndarray, shape (natom, 3), Bohr

    Returns
    -------
    ndarray of int, shape (G,)
    """
    distance = np.full(len(points), np.inf)
    for nucleus in nuclei:
        np.minimum(distance, np.linalg.norm(points - nucleus, axis=1), out=distance)
    axes = np.linalg.svd(nuclei - nuclei.mean(0))[2].T
    inner = nuclei @ axes
    corner, reach = inner.min(0) - _MARGIN, np.ptp(inner, axis=0) + 2 * _MARGIN
    boxes = np.clip((points @ axes - corner) // _BOX, -1, np.ceil(reach / _BOX))
    x, y, z = boxes.astype(int).T
    y = np.where(x % 2 == 0, y, -y)
    z = np.where((x + y) % 2 == 0, z, -z)
    return np.lexsort((z, y, x, distance > _TAIL))


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


def screened(rows: slice, values: Tensor) -> Block:
    """Return a block of orbitals (1 or 4, rows, nao) without those that vanish at its points."""
    present = torch.maximum(values.amax((0, 1)), -values.amin((0, 1))) > _NEGLIGIBLE
    columns = present.nonzero().flatten()
    if len(columns) > (1 - _WORTH_SKIPPING) * len(present):
        return Block(rows, None, values.contiguous())
    # PySCF's arrays run over points fastest, so columns are quick to pick before transposing.
    return Block(rows, columns, values.mT.index_select(1, columns).mT.contiguous())
