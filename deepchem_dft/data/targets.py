"""Reference density matrices and densities: read from files, checked against their system."""

from __future__ import annotations

import importlib
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from deepchem_dft.data.ao_order import dqc_transform
from deepchem_dft.data.fields import number, show, suggest
from deepchem_dft.errors import InputError

if TYPE_CHECKING:
    from deepchem_dft.data.system import DFTSystem

#: What a file may say in place of a path to have the reference made by PySCF.
CCSD = "ccsd"
#: Largest accepted error of the number of electrons in a target.
TOLERANCE = 1e-3

#: Providers of named quadrature grids, ``system -> (points (G, 3), weights (G,))`` in Bohr.
#: The room that knows a foreign grid registers it here, since this room must not import it.
GRIDS: dict[str, Callable[[DFTSystem], tuple[np.ndarray, np.ndarray]]] = {}

#: Modules that fill `GRIDS` when they are imported. Plug-ins, looked up by name when a file first
#: asks for their grid: a static import would point upwards, and load PySCF and torch for everyone.
_PROVIDERS = {"dqc": "deepchem_dft.interop.dqc.engine"}

_READ_ERRORS = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    zipfile.BadZipFile,
    zlib.error,
    SyntaxError,
)  # SyntaxError and the like come from damaged .npy headers


def find_file(text: Any, folder: str | Path | None, field: str = "true_val") -> Path:
    """Find a file named in an entry: beside the YAML file first, then in the working folder.

    Raises
    ------
    InputError
        If it is in neither place.
    """
    if not isinstance(text, (str, Path)) or not str(text).strip() or "\0" in str(text):
        raise InputError(
            f"{show(text)} is not the path of a file",
            field=field,
            remedy="name a .npy or .npz file, or write ccsd",
        )
    places = [Path(folder) / text, Path(text)] if folder is not None else [Path(text)]
    for place in places:
        try:
            if os.path.isfile(place):
                return place
        except (OSError, ValueError):
            continue
    if suggest(text, ["ccsd"]):
        remedy = "did you mean 'ccsd'?"
    else:
        remedy = f"put it in {places[0].parent} or correct the path"
    raise InputError(f"there is no file {str(text)[:120]!r}", field=field, remedy=remedy)


def _load(path: Path, field: str) -> dict[str, np.ndarray]:
    try:
        with open(path, "rb") as stream:
            content = np.load(stream, allow_pickle=False)
            if isinstance(content, np.ndarray):
                return {"": content}
            return {name: content[name] for name in content.files}
    except _READ_ERRORS as error:
        raise InputError(
            f"{path} cannot be read ({type(error).__name__})",
            field=field,
            remedy="save it with numpy.save or numpy.savez, without objects",
        ) from None


def _real(array: Any, what: str, field: str) -> np.ndarray:
    values = np.asarray(array)
    if values.dtype.kind not in "fiu":
        raise InputError(
            f"{what} holds {values.dtype}, not real numbers",
            field=field,
            remedy="save real numbers in double precision",
        )
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise InputError(f"{what} holds values that are not finite", field=field, remedy="recompute it")
    return values


def load_density_matrix(
    value: Any,
    system: DFTSystem,
    *,
    folder: str | Path | None = None,
    ao_order: str = "pyscf",
    tolerance: float | None = None,
    field: str = "true_val",
) -> np.ndarray:
    """Read a spin-summed density matrix and check shape, symmetry and trace(D S) = N.

    Parameters
    ----------
    value : str, Path or np.ndarray
        A ``.npy`` file (or the matrix itself), shape ``(nao, nao)``.
    system : DFTSystem
    folder : path, optional
        Where relative paths are looked up first.
    ao_order : {"pyscf", "dqc"}
        Order of the (spherical) orbitals in the file.
    tolerance : float, optional
        Largest accepted error of the electron number, default 1e-3.
    field : str
        Named in errors.

    Returns
    -------
    np.ndarray
        Shape ``(nao, nao)``, float64, in PySCF's order.

    Raises
    ------
    InputError
        Missing or unreadable file, wrong shape, order, symmetry or trace.

    Examples
    --------
    >>> from deepchem_dft.data.system import DFTSystem
    >>> hydrogen = DFTSystem({"moldesc": "H 0 0 0", "basis": "sto-3g", "spin": 1})
    >>> load_density_matrix(np.array([[1.0]]), hydrogen)
    array([[1.]])
    """
    what = "the density matrix"
    if not isinstance(value, np.ndarray):
        content = _load(find_file(value, folder, field), field)
        if len(content) != 1:
            raise InputError(
                f"{value} holds {len(content)} arrays",
                field=field,
                remedy="save the one matrix with numpy.save",
            )
        what, value = f"{what} in {value}", next(iter(content.values()))
    matrix = _real(value, what, field)
    mole = system.to_molecule().pyscf_mol
    nao = int(mole.nao_nr())
    if matrix.shape != (nao, nao):
        spins = matrix.shape == (2, nao, nao)
        raise InputError(
            f"{what} has shape {matrix.shape}, but {system.name} in this basis needs {(nao, nao)}",
            field=field,
            remedy="add the two spins: one spin-summed matrix is expected"
            if spins
            else "check basis and geometry; one spin-summed matrix over spherical orbitals is expected",
        )
    overlap = mole.intor_symmetric("int1e_ovlp")
    limit = TOLERANCE if tolerance is None else tolerance
    ordered = _ordered(matrix, system, ao_order)
    electrons = sum(system.electrons)
    excess = _excess(ordered, overlap, electrons)
    if abs(excess) > limit:
        raise InputError(
            f"{what} gives trace(D S) = {electrons + excess:.6g}, "
            f"but {system.name} has {electrons:g} electrons",
            field=field,
            remedy=_trace_remedy(matrix, system, ao_order, overlap, electrons, limit),
        )
    if np.abs(ordered - ordered.T).max() > 1e-5:
        raise InputError(
            f"{what} is not symmetric",
            field=field,
            remedy="save the spin-summed density matrix of real orbitals",
        )
    return (ordered + ordered.T) / 2


def _excess(matrix: np.ndarray, overlap: np.ndarray, electrons: float) -> float:
    return float(np.sum(matrix * overlap)) - electrons


def _ordered(matrix: np.ndarray, system: DFTSystem, ao_order: str) -> np.ndarray:
    if ao_order == "pyscf":
        return matrix
    transform = dqc_transform(system)
    return transform @ matrix @ transform.T


def _trace_remedy(matrix, system, ao_order, overlap, electrons, limit) -> str:
    """See whether the other order of orbitals would make the trace right."""
    other = "dqc" if ao_order == "pyscf" else "pyscf"
    try:
        if abs(_excess(_ordered(matrix, system, other), overlap, electrons)) <= limit:
            return f"the orbitals seem to be in {other.upper()} order: write ao_order: {other}"
    except InputError:
        pass
    return "check geometry, unit, charge and basis of the file, or state a larger tolerance"


def load_density(
    value: Any,
    system: DFTSystem,
    *,
    folder: str | Path | None = None,
    grid: str | None = None,
    tolerance: float | None = None,
    field: str = "true_val",
) -> dict[str, np.ndarray]:
    """Read a density on quadrature points and check that it integrates to N.

    Parameters
    ----------
    value : str, Path or mapping
        A ``.npz`` file (or a mapping) with ``points`` (G, 3) in Bohr, ``weights`` (G,) in Bohr^3
        and ``density`` (G,) in electrons per Bohr^3. A bare ``.npy`` with the density alone is
        accepted only with ``grid="dqc"``.
    system : DFTSystem
    folder, field
        As in `load_density_matrix`.
    grid : {None, "dqc"}
        Which program's default grid a bare ``.npy`` belongs to.
    tolerance : float, optional
        Largest accepted error of the electron number, default 1e-3 per electron.

    Returns
    -------
    dict
        ``points``, ``weights``, ``density``; float64.

    Raises
    ------
    InputError
        Missing or unreadable file, missing arrays, wrong shapes, wrong number of electrons.

    Examples
    --------
    >>> from deepchem_dft.data.system import DFTSystem
    >>> atom = DFTSystem({"moldesc": "H 0 0 0", "basis": "sto-3g", "spin": 1})
    >>> target = {"points": np.zeros((1, 3)), "weights": np.ones(1), "density": np.ones(1)}
    >>> sorted(load_density(target, atom))
    ['density', 'points', 'weights']
    """
    if isinstance(value, Mapping):
        what, content = "the density", dict(value)
    elif isinstance(value, np.ndarray):
        what, content = "the density", {"": value}
    elif isinstance(value, (str, Path)):
        what, content = str(value), _load(find_file(value, folder, field), field)
    else:
        problem = f"{type(value).__name__} is no density"
        raise InputError(problem, field=field, remedy="name a .npz file, or write ccsd")
    if set(content) == {""}:
        content = _bare(content[""], what, system, grid, field)
    missing = [key for key in ("points", "weights", "density") if key not in content]
    if missing:
        raise InputError(
            f"{what} lacks {', '.join(missing)}",
            field=field,
            remedy="save points, weights and density with numpy.savez",
        )
    out = {key: _real(content[key], f"{key} of {what}", field) for key in ("points", "weights", "density")}
    count = out["density"].size
    if (
        out["density"].shape != (count,)
        or out["weights"].shape != (count,)
        or out["points"].shape != (count, 3)
        or count == 0
    ):
        shapes = ", ".join(f"{key} {out[key].shape}" for key in out)
        raise InputError(
            f"the shapes in {what} do not fit: {shapes}",
            field=field,
            remedy="points must be (G, 3), weights and density (G,)",
        )
    electrons = sum(system.electrons)
    limit = TOLERANCE * max(1.0, electrons) if tolerance is None else tolerance
    found = float(out["weights"] @ out["density"])
    if abs(found - electrons) > limit:
        raise InputError(
            f"the density in {what} integrates to {found:.6g}, but {system.name} has {electrons:g} electrons",
            field=field,
            remedy="check geometry, unit, charge and grid of the file, or state a larger tolerance",
        )
    return out


def _bare(
    density: np.ndarray, what: str, system: DFTSystem, grid: str | None, field: str
) -> dict[str, np.ndarray]:
    if grid is None:
        raise InputError(
            f"{what} holds a density without points and weights",
            field=field,
            remedy="save points, weights and density in a .npz file, or write "
            "'grid: dqc' if it belongs to DQC's default grid",
        )
    if grid not in GRIDS and grid in _PROVIDERS:
        importlib.import_module(_PROVIDERS[grid])
    if grid not in GRIDS:
        raise InputError(
            f"the grid of {grid.upper()} is not available",
            field="grid",
            remedy="write grid: dqc, or save points, weights and density in a .npz file",
        )
    points, weights = GRIDS[grid](system)
    if density.shape != (len(weights),):
        raise InputError(
            f"{what} has shape {density.shape}, but {grid.upper()}'s grid for "
            f"{system.name} has {len(weights)} points",
            field=field,
            remedy="save points, weights and density in a .npz file",
        )
    return {"points": points, "weights": weights, "density": density}


def asked_target(value: Any, system: DFTSystem, tolerance: float | None) -> tuple[bool, float | None]:
    """Check what an entry says of its target; return whether it is a CCSD reference, and the tolerance."""
    if value is None:
        raise InputError(
            "true_val is missing",
            field="true_val",
            remedy="name a file, or write ccsd to have the reference made",
        )
    if tolerance is not None:
        tolerance = number(tolerance, "tolerance")
        if tolerance <= 0:
            raise InputError(
                f"tolerance {tolerance:g} is not positive",
                field="tolerance",
                remedy="write a number of electrons such as 1e-3",
            )
    ccsd = isinstance(value, str) and value.strip().lower() == CCSD
    if ccsd and system.nelec is not None and any(n % 1 for n in system.nelec):
        raise InputError(
            "CCSD needs whole electron numbers",
            field="true_val",
            remedy="name a file, or use integer charge and spin",
        )
    return ccsd, tolerance


class DensityGrid(NamedTuple):
    """Points and weights under the names of DeepChem's and DQC's grids."""

    points: np.ndarray
    weights: np.ndarray

    def get_rgrid(self) -> Tensor:
        """Return the points, shape (G, 3), Bohr."""
        return torch.as_tensor(self.points)

    def get_dvolume(self) -> Tensor:
        """Return the weights, shape (G,), Bohr^3."""
        return torch.as_tensor(self.weights)


def deviation(difference: Tensor, weights: Tensor) -> Tensor:
    """Return sqrt(sum_g w_g d_g^2), with a finite gradient at zero."""
    if bool((weights >= 0).all()):
        return torch.linalg.vector_norm(weights.sqrt() * difference)
    # Some Lebedev rules have negative weights; then the sum itself is the safer measure.
    total = (weights * difference**2).sum()
    safe = torch.where(total > 0, total, torch.ones_like(total))
    return torch.where(total > 0, safe.sqrt(), total * 0.0)
