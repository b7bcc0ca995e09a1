"""GFN2-xTB through tblite, which is imported here only."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from deepchem_dft.errors import InputError
from deepchem_dft.needs import optional
from deepchem_dft.units import ANGSTROM_TO_BOHR, AU_TO_DEBYE, HARTREE_TO_EV

METHOD = "GFN2-xTB"
# GFN2-xTB fills orbitals at 300 K. Of a closed shell none is open by more (electrons); degenerate
# ones that share a pair, as in O2, hold one each: the ground state is open, whatever was asked for.
_BROKEN = 0.02


@dataclass(frozen=True)
class Labels:
    """What one calculation yields.

    Attributes
    ----------
    dipole : float
        Length of the dipole moment, Debye.
    gap : float
        Energy of the lowest unoccupied minus the highest occupied orbital, eV.
    energy : float
        Total energy, Hartree.
    """

    dipole: float
    gap: float
    energy: float


def _module(name: str) -> Any:
    return optional(name, METHOD, "property", "method")


def version() -> str:
    """Return the version of tblite, as ``"0.4.0"``."""
    from importlib import metadata

    _module("tblite.interface")
    return metadata.version("tblite")


def single_point(numbers: np.ndarray, positions: np.ndarray) -> Labels:
    """Calculate a neutral molecule with closed shells.

    Parameters
    ----------
    numbers : np.ndarray
        (N,) nuclear charges.
    positions : np.ndarray
        (N, 3) in Angstrom.

    Returns
    -------
    Labels

    Raises
    ------
    InputError
        If it does not converge, GFN2-xTB has no parameters (beyond radon), or orbitals are half
        filled, as in O2: the ground state is then no closed shell.

    References
    ----------
    Bannwarth, Ehlert, Grimme, J. Chem. Theory Comput. 15, 1652 (2019).

    Examples
    --------
    >>> hydrogen = single_point(np.array([1, 1]), np.array([[0, 0, 0], [0, 0, 0.777]]))
    >>> round(hydrogen.energy, 4), round(hydrogen.dipole, 6)
    (-0.9827, 0.0)
    """
    tblite = _module("tblite.interface")
    try:
        calculator = tblite.Calculator(
            METHOD, np.asarray(numbers), np.asarray(positions, float) * ANGSTROM_TO_BOHR
        )
        calculator.set("verbosity", 0)
        result = calculator.singlepoint()
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{METHOD}: {_one_line(error)}") from None
    occupations = np.ravel(result.get("orbital-occupations"))
    electrons = round(float(np.sum(occupations)))
    orbitals = np.sort(np.ravel(result.get("orbital-energies")))
    if electrons % 2:
        raise InputError("an odd number of electrons: only closed shells are labelled")
    broken = float(np.minimum(occupations, 2 - occupations).max())
    if broken > _BROKEN:
        raise InputError(
            f"no closed shell: an orbital holds {broken:.2f} of 2 electrons, as in "
            "triplet O2; only closed shells are labelled"
        )
    occupied = electrons // 2
    # Every orbital of the minimal basis may be filled, as in neon.
    gap = orbitals[occupied] - orbitals[occupied - 1] if occupied < len(orbitals) else np.nan
    labels = Labels(
        float(np.linalg.norm(result.get("dipole"))) * AU_TO_DEBYE,
        float(gap) * HARTREE_TO_EV,
        float(np.sum(result.get("energy"))),
    )
    for name, value in vars(labels).items():
        if not np.isfinite(value):
            raise InputError(f"{METHOD} gives no finite {name}")
    return labels


def ase_calculator(charge: int = 0) -> Any:
    """Return tblite's calculator for ASE, for relaxing a geometry of this total charge."""
    return _module("tblite.ase").TBLite(method=METHOD, charge=charge, verbosity=0)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
