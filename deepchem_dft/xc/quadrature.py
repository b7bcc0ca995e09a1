"""A molecule's quadrature as a functional sees it that looks beyond single points."""

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Quadrature:
    """Points, weights and nuclei of a molecule's numerical integration, G points and A atoms.

    Points move with the atom they belong to, and the weights depend on where all atoms are. A
    functional that uses any of these differentiably has exact forces: the derivatives of its
    energy by ``points``, ``weights`` and ``positions`` are all asked for.

    Attributes
    ----------
    points : Tensor, shape (G, 3), float64
        Bohr. Their order has no meaning.
    weights : Tensor, shape (G,), float64
        Bohr^3; the integral of f is ``(f(points) * weights).sum()``.
    atoms : Tensor, shape (G,), int64
        Index of the atom that each point belongs to.
    positions : Tensor, shape (A, 3), float64
        Nuclei, Bohr.
    numbers : Tensor, shape (A,), int64
        Atomic numbers, those of the elements: an effective core potential does not change them.
    atomic_weights : Tensor, shape (G,), float64
        Bohr^3: weights of each atom's own quadrature of all space, before the atoms share it among
        them. They do not depend on where the nuclei are.

    References
    ----------
    Becke, J. Chem. Phys. 88, 2547 (1988).

    Examples
    --------
    >>> from deepchem_dft.molecule import Molecule
    >>> water = Molecule("O 0 0 0; H 0 0 1.8; H 1.7 0 -0.5", "sto-3g", grid_level=0).grid.quadrature
    >>> water.numbers.tolist(), water.size == len(water.points)
    ([8, 1, 1], True)
    >>> round(float((water.weights / water.atomic_weights).max()), 12)      # a share of space
    1.0
    """

    points: Tensor
    weights: Tensor
    atoms: Tensor
    positions: Tensor
    numbers: Tensor
    atomic_weights: Tensor

    @property
    def size(self) -> int:
        """Number of points."""
        return len(self.weights)

    def to(self, device: torch.device | str) -> "Quadrature":
        """Return it on a device (its tensors are shared where they are there already)."""
        return Quadrature(*(getattr(self, f.name).to(device) for f in fields(self)))

    def to_dict(self) -> dict[str, Tensor]:
        """Return its tensors by name, for files."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def at(self, rows: slice | Tensor) -> "Quadrature":
        """Return some of the points, with all nuclei."""
        return replace(
            self,
            points=self.points[rows],
            weights=self.weights[rows],
            atoms=self.atoms[rows],
            atomic_weights=self.atomic_weights[rows],
        )

    def detached(self, requires_grad: bool = False) -> "Quadrature":
        """Return it without graph; with ``requires_grad`` derivatives by its parts can be asked for."""
        return replace(
            self,
            **{
                name: getattr(self, name).detach().requires_grad_(requires_grad)
                for name in ("points", "weights", "positions")
            },
        )
