"""The parts of a functional, each on its quadrature; all quadratures side by side as one run of points."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from deepchem_dft.molecule import Molecule
from deepchem_dft.molecule.grid import Block, MolecularGrid, row_blocks
from deepchem_dft.xc.base import NCOMP, XCFunctional, highest_family
from deepchem_dft.xc.quadrature import Quadrature

# Grid points per call of the functional: few enough for a network's activations to stay close to
# a core, enough for what a call costs at any length not to matter.
_XC_ROWS = 16384


@dataclass(frozen=True, eq=False)
class Quadratures:
    """Quadratures one after the other; densities on all of them have points in this order.

    Attributes
    ----------
    parts : list of Quadrature
        That of the functional itself first.
    places : dict
        Which of them a part of the functional is on, by the ``grid_level`` it asks for.
    """

    parts: list[Quadrature]
    places: dict[int | str | None, int]

    @property
    def size(self) -> int:
        """Number of points in all."""
        return sum(part.size for part in self.parts)

    @property
    def weights(self) -> Tensor:
        """Weights of all points, Bohr^3."""
        first, *others = (part.weights for part in self.parts)
        return torch.cat([first, *others]) if others else first

    @property
    def starts(self) -> list[int]:
        """Where the points of each begin."""
        return [sum(part.size for part in self.parts[:i]) for i in range(len(self.parts))]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, for files."""
        return {"parts": [part.to_dict() for part in self.parts], "places": list(self.places.items())}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Quadratures":
        """Undo :meth:`to_dict`."""
        return cls([Quadrature(**part) for part in data["parts"]], dict(data["places"]))

    def of(self, part: XCFunctional) -> tuple[slice, Quadrature]:
        """Return where among all points those of a functional's part are, and their quadrature."""
        place = self.place(part)
        return self.span(place), self.parts[place]

    def place(self, part: XCFunctional) -> int:
        """Return which of the quadratures a functional's part is on."""
        return self.places[_level(part)]

    def span(self, place: int) -> slice:
        """Return where the points of a quadrature are among all."""
        start = self.starts[place]
        return slice(start, start + self.parts[place].size)

    def serve(self, xc: XCFunctional) -> bool:
        """Return True if there is a quadrature for every part of a functional."""
        return all(_level(part) in self.places for part in (xc, *xc.nonlocal_terms))

    def blocks(self, xc: XCFunctional) -> Iterator[tuple[XCFunctional, slice | Tensor, Quadrature]]:
        """Take a functional's energy apart.

        Yields
        ------
        XCFunctional
            The functional itself, or one of its nonlocal terms.
        slice, or Tensor of int64
            Some of the points: a part's whole quadrature, one of its ``pieces`` if it has such, or a
            block for a local functional.
        Quadrature
            Of these points. The energy is the sum of ``part.energy(rho[:, :, rows], quadrature)``.
        """
        with torch.enable_grad():  # or coefficients would be made without their gradients
            terms = xc.nonlocal_terms
        for part in (xc, *terms):
            span, quadrature = self.of(part)
            if part.needs_quadrature:
                pieces = part.pieces(quadrature)
                if pieces is None:
                    yield part, span, quadrature
                for group in pieces or ():
                    yield part, group + span.start, quadrature.at(group)
                continue
            for rows in row_blocks(quadrature.size, _XC_ROWS):
                there = slice(span.start + rows.start, span.start + rows.stop)
                yield part, there, quadrature.at(rows)


def _level(part: XCFunctional) -> int | str | None:
    return part.grid_level if part.needs_quadrature else None


def components(xc: XCFunctional) -> int:
    """Return how many rows of the density a functional reads with all its parts."""
    return NCOMP[highest_family(xc.family, *(term.family for term in xc.nonlocal_terms))]


def grids_of(
    molecule: Molecule, xc: XCFunctional, grid: MolecularGrid | None = None
) -> tuple[list[MolecularGrid], dict[int | str | None, int]]:
    """Return the grids a functional needs, and which of them each level means that it asks for.

    Parameters
    ----------
    molecule : Molecule
    xc : XCFunctional
    grid : MolecularGrid, optional
        One grid for all parts, whatever they ask for. Default: those they ask for.
    """
    asked = list(dict.fromkeys(_level(part) for part in (xc, *xc.nonlocal_terms)))
    if grid is not None:
        return [grid], dict.fromkeys(asked, 0)
    grids = [molecule.grid if level is None else molecule.grid_at(level) for level in asked]
    distinct = list(dict.fromkeys(grids))
    return distinct, {level: distinct.index(found) for level, found in zip(asked, grids, strict=True)}


def shifted_blocks(grids: Iterable[MolecularGrid], deriv: int, device: torch.device) -> Iterator[Block]:
    """Yield the atomic orbitals on several grids, their points counted through."""
    start = 0
    for grid in grids:
        for block in grid.blocks(deriv, device):
            rows = slice(start + block.rows.start, start + block.rows.stop)
            yield block._replace(rows=rows)
        start += grid.size
