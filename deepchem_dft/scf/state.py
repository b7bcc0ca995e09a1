"""Orbitals and occupations: what a self-consistent field starts from and ends with."""

import math
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deepchem_dft.errors import InputError
from deepchem_dft.files import replacing
from deepchem_dft.molecule import Molecule

#: What a file of orbitals says it is.
ORBITAL_FILE = "deepchem_dft/orbitals/1"


@dataclass
class FockHistory:
    """Matrices of successive solutions of one system, from which the next is foreseen.

    Attributes
    ----------
    matrices : Tensor, shape (k, nspin, nao, nao), Ha
        Of the last solution: its Fock matrix, and perhaps what that of a coarse grid lacks.
    changes : Tensor, shape (n, k, nspin, nao, nao), Ha
        How they changed from one solution to the next, the latest change first; n is 0 to 2.
    """

    matrices: Tensor
    changes: Tensor

    @classmethod
    def after(cls, guess: "SCFState | None", *matrices: Tensor) -> "FockHistory":
        """Return the trend of a solution that was started from a guess (or from none)."""
        stacked = torch.stack(matrices)
        before = None if guess is None else guess.trend
        if before is None or before.matrices.shape != stacked.shape:
            return cls(stacked, stacked[None][:0])
        change = stacked - before.matrices.to(stacked.device)
        return cls(stacked, torch.cat([change[None], before.changes[:1].to(stacked.device)]))

    def foresee(self) -> Tensor:
        """Guess the next solution's matrices, shape (k, nspin, nao, nao).

        Parameters that move steadily move the solution steadily; where changes do not follow one
        another, nothing is added.
        """
        if not self.foresees:
            return self.matrices
        latest, before = self.changes
        overlap, scale = (latest[0] * before[0]).sum(), before[0].square().sum()
        steadiness = float(overlap / scale.clamp_min(1e-30))
        return self.matrices + min(max(steadiness, 0.0), 1.0) * latest

    @property
    def foresees(self) -> bool:
        """True once there are changes to go by."""
        return len(self.changes) == 2


@dataclass
class SCFState:
    """Orbitals of a molecule, detached from any graph, fit for a warm start or a checkpoint.

    Attributes
    ----------
    orbitals : Tensor, shape (nspin, nao, nmo), float64
        Columns are orbitals, orthonormal in the overlap metric. ``nspin`` is 1 if restricted.
    occupations : Tensor, shape (nspin, nmo), float64
        Electrons per orbital: up to 2 if restricted, up to 1 otherwise.
    trend : FockHistory or None
        What successive solutions have shown about the next one.
    """

    orbitals: Tensor
    occupations: Tensor
    trend: FockHistory | None = None

    @property
    def restricted(self) -> bool:
        """True if both spins share their orbitals."""
        return self.orbitals.shape[0] == 1

    def density_matrix(self) -> Tensor:
        """Density matrix of each spin channel, shape (nspin, nao, nao)."""
        return (self.orbitals * self.occupations[:, None, :]) @ self.orbitals.mT

    def unrestricted(self) -> "SCFState":
        """Return the same density as two spin channels."""
        if not self.restricted:
            return self
        return SCFState(self.orbitals.repeat(2, 1, 1), self.occupations.repeat(2, 1) / 2)

    def spin_square(self, overlap: Tensor) -> float:
        """Expectation value of the total spin squared of the determinant: S (S + 1) if pure."""
        if self.restricted:
            return 0.0
        alpha, beta = self.occupations
        shared = (self.orbitals[0].mT @ overlap @ self.orbitals[1]).square()
        sz = float(alpha.sum() - beta.sum()) / 2
        # Rounding makes tiny negative numbers of what cannot be negative.
        return sz * (sz + 1) + max(float(beta.sum() - alpha @ shared @ beta), 0.0)

    def to_dict(self) -> dict[str, Tensor]:
        """Return plain tensors, for a checkpoint."""
        content = {"orbitals": self.orbitals, "occupations": self.occupations}
        if self.trend is not None:
            content |= {"trend": self.trend.matrices, "changes": self.trend.changes}
        return content

    @classmethod
    def from_dict(cls, content: dict[str, Tensor]) -> "SCFState":
        """Rebuild from :meth:`to_dict`."""
        trend = FockHistory(content["trend"], content["changes"]) if "trend" in content else None
        return cls(content["orbitals"], content["occupations"], trend)


def write_orbitals(path: str | Path, molecule: Molecule, state: SCFState) -> None:
    """Write orbitals to an ``.npz`` file of plain arrays, for :func:`read_orbitals` or any other program.

    ``orbitals`` (nspin, nao, nmo) in PySCF's order of functions, ``occupations`` (nspin, nmo), ``symbols``,
    ``positions`` (natom, 3) in Bohr.

    Raises
    ------
    InputError
        For another ending.
    StorageError
        If the system refuses.
    """
    _check_ending(path)
    with replacing(path) as draft, open(draft, "wb") as stream:
        np.savez(
            stream,
            format=np.array(ORBITAL_FILE),
            symbols=np.array(molecule.symbols),
            positions=molecule.positions,
            orbitals=state.orbitals.detach().cpu().numpy(),
            occupations=state.occupations.detach().cpu().numpy(),
        )


def read_orbitals(path: str | Path, molecule: Molecule) -> SCFState:
    """Read orbitals to start a calculation of a molecule from; nothing in the file is executed.

    Parameters
    ----------
    path : path
        Made by :func:`write_orbitals`.
    molecule : Molecule
        Of the same elements in the same order, and as many functions; its atoms may have moved.

    Raises
    ------
    InputError
        If this is no such file, or one of another molecule or basis.
    """
    _check_ending(path)
    where = {"file": str(path), "field": "read"}
    try:
        with np.load(path, allow_pickle=False) as content:
            if str(content["format"]) != ORBITAL_FILE:
                raise KeyError("format")
            symbols = [str(s) for s in content["symbols"]]
            orbitals, occupations = content["orbitals"], content["occupations"]
    except FileNotFoundError:
        raise InputError("the file does not exist", **where, remedy="check the path") from None
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        raise InputError(
            "this is no file of orbitals", **where, remedy="give one made with --write"
        ) from None
    if symbols != molecule.symbols:
        raise InputError("these are orbitals of other atoms", **where, remedy="keep elements and their order")
    nspin, nao, nmo = orbitals.shape if orbitals.ndim == 3 else (0, 0, 0)
    if nspin not in (1, 2) or nao != molecule.nao or occupations.shape != (nspin, nmo):
        raise InputError(
            f"these orbitals have {nao} functions, the basis of the molecule {molecule.nao}",
            **where,
            remedy="use the basis that they were made in",
        )
    if orbitals.dtype.kind != "f" or not np.isfinite(orbitals).all() or not np.isfinite(occupations).all():
        raise InputError("the orbitals are not numbers", **where, remedy="make them again")
    return SCFState(torch.from_numpy(orbitals.astype(float)), torch.from_numpy(occupations.astype(float)))


def _check_ending(path: str | Path) -> None:
    if Path(path).suffix.lower() != ".npz":
        raise InputError("orbitals are kept in .npz files", file=str(path), remedy="end the name with .npz")


def gap_of(energies: Tensor, occupations: Tensor) -> float:
    """Gap between the highest occupied and the lowest empty orbital of any spin, Ha."""
    occupied = occupations > 1e-10
    if bool(occupied.all()) or not bool(occupied.any()):
        return float("inf")
    return float(energies[~occupied].min() - energies[occupied].max())


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
