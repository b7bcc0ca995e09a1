"""Orbitals and occupations: what a self-consistent field starts from and ends with."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from deepchem_dft.molecule import Molecule


@dataclass
class SCFState:
    """Orbitals of a molecule, detached from any graph, fit for a warm start or a checkpoint.

    Attributes
    ----------
    orbitals : Tensor, shape (nspin, nao, nmo), float64
        Columns are orbitals, orthonormal in the overlap metric. ``nspin`` is 1 if restricted.
    occupations : Tensor, shape (nspin, nmo), float64
        Electrons per orbital: up to 2 if restricted, up to 1 otherwise.
    """

    orbitals: Tensor
    occupations: Tensor

    @property
    def restricted(self) -> bool:
        """True if both spins share their orbitals."""
        return self.orbitals.shape[0] == 1

    def density_matrix(self) -> Tensor:
        """Density matrix of each spin channel, shape (nspin, nao, nao)."""
        return (self.orbitals * self.occupations[:, None, :]) @ self.orbitals.mT

    def unrestricted(self) -> SCFState:
        """Return the same density as two spin channels."""
        if not self.restricted:
            return self
        return SCFState(self.orbitals.repeat(2, 1, 1), self.occupations.repeat(2, 1) / 2)

    def to_dict(self) -> dict[str, Tensor]:
        """Return plain tensors, for a checkpoint."""
        return {"orbitals": self.orbitals, "occupations": self.occupations}

    @classmethod
    def from_dict(cls, content: dict[str, Tensor]) -> SCFState:
        """Rebuild from :meth:`to_dict`."""
        return cls(content["orbitals"], content["occupations"])


def aufbau(nelec: tuple[float, ...], nmo: int, restricted: bool) -> Tensor:
    """Fill the lowest orbitals, the last one with what is left.

    Parameters
    ----------
    nelec : (float, float)
        Electrons per spin, possibly fractional.
    nmo : int
        Number of orbitals.
    restricted : bool
        One channel with occupations up to 2, or two with occupations up to 1.

    Returns
    -------
    Tensor, shape (1 or 2, nmo)

    Examples
    --------
    >>> aufbau((1.5, 1.0), 3, restricted=False)
    tensor([[1.0000, 0.5000, 0.0000],
            [1.0000, 0.0000, 0.0000]], dtype=torch.float64)
    """
    rows = []
    for n in nelec[:1] if restricted else nelec:
        full = math.floor(n + 1e-10)
        row = torch.zeros(nmo, dtype=torch.float64)
        row[:full] = 1.0
        if n - full > 1e-10:
            row[full] = n - full
        rows.append(row * (2.0 if restricted else 1.0))
    return torch.stack(rows)


def occupations_of(molecule: Molecule, nmo: int, restricted: bool) -> Tensor:
    """Return a molecule's own occupations if it has any, else fill from below.

    Returns
    -------
    Tensor, shape (1 or 2, nmo)
    """
    if molecule.occupations is None:
        return aufbau(molecule.nelec, nmo, restricted)
    rows = torch.zeros(2, nmo, dtype=torch.float64)
    for row, given in zip(rows, molecule.occupations, strict=True):
        row[: len(given)] = torch.tensor(given, dtype=torch.float64)
    return 2.0 * rows[:1] if restricted else rows
