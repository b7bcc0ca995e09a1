"""Results for other programs to open: molden and cube files through PySCF, extended xyz."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from pyscf.tools import cubegen, molden

from deepchem_dft.errors import InputError
from deepchem_dft.files import replacing
from deepchem_dft.molecule import Molecule
from deepchem_dft.units import BOHR_TO_ANGSTROM, HARTREE_TO_EV

#: What a cube file can hold.
CUBES = ("density", "spin-density", "homo", "lumo", "homo-beta", "lumo-beta")
_OCCUPIED = 1e-6


def write_molden(path: str | Path, result: Any) -> None:
    """Write orbitals, their energies and occupations to a Molden file.

    Parameters
    ----------
    path : path
    result : KSResult

    Notes
    -----
    The format has no functions beyond g; PySCF leaves h functions out.
    """
    mole, state = result.molecule.pyscf_mol, result.state
    energies = result.orbital_energies.detach().cpu().numpy()
    with replacing(path) as draft, open(draft, "w") as stream:
        molden.header(mole, stream)
        for spin, orbitals in enumerate(_numbers(state.orbitals)):
            molden.orbital_coeff(
                mole,
                stream,
                orbitals,
                spin=("Alpha", "Beta")[spin],
                ene=energies[spin],
                occ=_numbers(state.occupations)[spin],
            )


def write_cube(path: str | Path, result: Any, what: str = "density", spacing: float = 0.2) -> None:
    """Write a density or an orbital to a Gaussian cube file, in atomic units.

    Parameters
    ----------
    path : path
    result : KSResult
    what : str
        One of :data:`CUBES`; ``homo`` and ``lumo`` are those of the alpha electrons if there are two kinds.
    spacing : float
        Between points, Bohr.

    Raises
    ------
    InputError
        For another name, and an orbital that is not there.
    """
    mole = result.molecule.pyscf_mol
    check_cube(what)
    with replacing(path) as draft:
        if "density" in what:
            alpha, beta = _numbers(result.density_matrix)
            matrix = alpha + beta if what == "density" else alpha - beta
            cubegen.density(mole, str(draft), matrix, resolution=spacing)
        else:
            cubegen.orbital(mole, str(draft), _orbital(result, what), resolution=spacing)


def check_cube(what: str) -> None:
    """Raise InputError unless this is one of :data:`CUBES`."""
    if what not in CUBES:
        raise InputError(
            f"a cube of {what[:40]!r} is not known", field="cube", remedy=f"one of {', '.join(CUBES)}"
        )


def _orbital(result: Any, what: str) -> np.ndarray:
    spin = 1 if what.endswith("-beta") and not result.restricted else 0
    occupied = np.flatnonzero(_numbers(result.occupations)[spin] > _OCCUPIED)
    index = (occupied[-1] if len(occupied) else -1) + (not what.startswith("homo"))
    orbitals = _numbers(result.state.orbitals)[spin]
    if not 0 <= index < orbitals.shape[1]:
        raise InputError(f"there is no {what} here", field="cube", remedy="choose another orbital")
    return orbitals[:, index]


def extended_xyz(
    molecule: Molecule,
    energy: float,
    forces: np.ndarray | torch.Tensor | None = None,
    positions: np.ndarray | None = None,
) -> str:
    """Return a geometry with energy and forces as extended xyz, in Angstrom and eV as ASE has them.

    Parameters
    ----------
    molecule : Molecule
    energy : float
        Ha.
    forces : (natom, 3), optional
        Ha/Bohr.
    positions : (natom, 3), optional
        Bohr; default those of the molecule.

    Returns
    -------
    str
        Charge and multiplicity are in the comment line too, so that it can be read back.

    Examples
    --------
    >>> print(extended_xyz(Molecule("He 0 0 0", "sto-3g"), -2.5), end="")
    1
    Properties=species:S:1:pos:R:3 energy=-68.0284656... charge=0 mult=1 pbc="F F F"
    He       0.00000000     0.00000000     0.00000000
    """
    columns = [(molecule.positions if positions is None else positions) * BOHR_TO_ANGSTROM]
    properties = "species:S:1:pos:R:3"
    if forces is not None:
        columns.append(np.asarray(forces) * HARTREE_TO_EV / BOHR_TO_ANGSTROM)
        properties += ":forces:R:3"
    pairs: dict[str, Any] = {"energy": f"{energy * HARTREE_TO_EV:.10f}", "charge": f"{molecule.charge:g}"}
    pairs |= {"mult": f"{molecule.spin + 1:g}", "pbc": '"F F F"'}
    comment = " ".join(f"{key}={value}" for key, value in pairs.items())
    rows = [
        f"{symbol:<4}" + "".join(f"{x + 0.0:>15.8f}" for x in row)
        for symbol, row in zip(molecule.symbols, np.hstack(columns).round(8))
    ]
    return "\n".join([str(len(rows)), f"Properties={properties} {comment}", *rows]) + "\n"


def _numbers(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
