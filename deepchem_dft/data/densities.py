"""Reference densities at CCSD level, made by PySCF on request and cached."""

from __future__ import annotations

import contextlib
import io
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepchem_dft.data.system import DFTSystem
from deepchem_dft.errors import InputError, SCFNotConverged
from deepchem_dft.molecule import cache

if TYPE_CHECKING:
    from deepchem_dft.data.entry import DFTEntry

_KINDS = ("dens", "dm")


def ccsd_density_matrix(system: DFTSystem) -> np.ndarray:
    """Return the spin-summed unrelaxed CCSD density matrix of a system.

    Restricted Hartree-Fock and CCSD for singlets, unrestricted for the rest, all electrons
    correlated, internal stability of the Hartree-Fock solution checked. One-electron systems are
    exact at Hartree-Fock level. The result is kept in the cache of constants.

    Parameters
    ----------
    system : DFTSystem
        With whole electron numbers.

    Returns
    -------
    np.ndarray
        Shape ``(nao, nao)``, over PySCF's spherical orbitals.

    Raises
    ------
    InputError
        For fractional electron numbers.
    SCFNotConverged
        If Hartree-Fock, CCSD or its lambda equations do not converge.
    """
    key = cache.content_key({"what": "ccsd density matrix", "version": 1, "system": system.key})
    stored = cache.load(key, "ccsd")
    if stored is None:
        stored = {"density_matrix": _compute(system)}
        cache.store(key, "ccsd", stored)
    return stored["density_matrix"]


def _compute(system: DFTSystem) -> np.ndarray:
    if any(n % 1 for n in system.electrons):
        raise InputError("CCSD needs whole electron numbers", field="true_val",
                         remedy="use integer charge and spin")
    from pyscf import cc

    mean_field = _hartree_fock(system)
    orbitals = mean_field.mo_coeff
    hartree_fock = np.asarray(mean_field.make_rdm1())
    if sum(system.electrons) == 1 or _is_full(system, mean_field.mol):
        # One electron, or no empty orbital: nothing to correlate.
        matrix = hartree_fock.sum(axis=0) if hartree_fock.ndim == 3 else hartree_fock
    else:
        coupled = cc.CCSD(mean_field)
        coupled.verbose, coupled.max_cycle = 0, 200
        coupled.conv_tol, coupled.conv_tol_normt = 1e-9, 1e-7
        coupled.kernel()
        if not coupled.converged:
            raise SCFNotConverged(f"CCSD of {system.name} did not converge in 200 iterations")
        coupled.solve_lambda()
        if not coupled.converged_lambda:
            raise SCFNotConverged(f"the CCSD density of {system.name} did not converge")
        density = coupled.make_rdm1()
        if isinstance(density, tuple):
            matrix = sum(c @ d @ c.T for c, d in zip(orbitals, density, strict=True))
        else:
            matrix = orbitals @ density @ orbitals.T
    electrons = float(np.sum(matrix * mean_field.get_ovlp()))
    if abs(electrons - sum(system.electrons)) > 1e-6:
        raise SCFNotConverged(f"the CCSD density of {system.name} holds {electrons:.6f} electrons")
    return (matrix + matrix.T) / 2


def _hartree_fock(system: DFTSystem) -> Any:
    from pyscf import scf

    mole = system.to_molecule().pyscf_mol.copy()
    mole.verbose = 0
    mole.charge, mole.spin = int(system.charge), round(system.electrons[0] - system.electrons[1])
    mean_field = scf.RHF(mole) if mole.spin == 0 else scf.UHF(mole)
    mean_field.conv_tol, mean_field.max_cycle = 1e-11, 100
    guess = None
    for _ in range(4):
        mean_field.kernel(guess)
        if not mean_field.converged:
            mean_field = mean_field.newton()
            mean_field.kernel(mean_field.mo_coeff, mean_field.mo_occ)
            mean_field = mean_field.undo_newton()
        if not mean_field.converged:
            break
        if _is_full(system, mole):
            return mean_field
        with contextlib.redirect_stdout(io.StringIO()):
            orbitals, _, stable, _ = mean_field.stability(return_status=True)
        if stable:
            return mean_field
        guess = mean_field.make_rdm1(orbitals, mean_field.mo_occ)
    if not mean_field.converged:
        raise SCFNotConverged(f"Hartree-Fock of {system.name} did not converge")
    return mean_field


def _is_full(system: DFTSystem, mole: Any) -> bool:
    """Whether no orbital of either spin is empty (PySCF divides by their number)."""
    return min(system.electrons) == mole.nao_nr()


def reference(system: DFTSystem, kind: str, grid_level: int = 3) -> dict[str, np.ndarray]:
    """Return the arrays of a CCSD target.

    Parameters
    ----------
    system : DFTSystem
    kind : {"dm", "dens"}
    grid_level : int
        Level of the PySCF grid of a dens target.

    Returns
    -------
    dict
        ``density_matrix`` (nao, nao), or ``points`` (G, 3), ``weights`` (G,), ``density`` (G,).
    """
    matrix = ccsd_density_matrix(system)
    if kind == "dm":
        return {"density_matrix": matrix}
    molecule = system.to_molecule(grid_level)
    points, weights = molecule.points.numpy(), molecule.weights.numpy()
    density = np.empty(len(points))
    for start in range(0, len(points), 4096):  # in blocks: orbitals on all points may not fit
        rows = slice(start, start + 4096)
        orbitals = molecule.eval_ao(points[rows])[0].numpy()
        density[rows] = np.einsum("gi,gi->g", orbitals @ matrix, orbitals)
    return {"points": points.copy(), "weights": weights.copy(), "density": density}


def make_densities(
    path_or_entries: str | Path | Sequence[DFTEntry], out_dir: str | Path,
    kind: str | None = None, *, grid_level: int = 3,
    progress: Callable[[int, int, str], None] | None = None,
) -> list[Path]:
    """Make CCSD targets and write them, with a YAML file of entries that use them.

    Parameters
    ----------
    path_or_entries : path or sequence of DFTEntry
        A YAML file in any schema, or entries.
    out_dir : path
        Receives ``NAME.npz`` (dens) or ``NAME.npy`` (dm) files and ``densities.yaml``.
    kind : {None, "dens", "dm"}
        None: the targets that dm and dens entries ask for with ``ccsd``. Otherwise one target of
        this kind for every different system of all entries.
    grid_level : int
        Level of the PySCF grid with ``kind="dens"``.
    progress : callable, optional
        Called with (number done, number in all, name) before each system and at the end.

    Returns
    -------
    list of Path
        The written targets.

    Raises
    ------
    InputError
        Nothing to do, or a folder that cannot be written.
    SCFNotConverged
        With the name of the system.
    """
    if kind is not None and kind not in _KINDS:
        raise InputError(f"unknown kind of density {kind!r}", field="kind",
                         remedy="use dens or dm")
    file = None
    if isinstance(path_or_entries, (str, Path)):
        from deepchem_dft.data.reader import read_yaml

        file = str(path_or_entries)
        path_or_entries = read_yaml(path_or_entries)
    jobs = _jobs(path_or_entries, kind, grid_level)
    if not jobs:
        raise InputError("no entry asks for a CCSD density", file=file, field="value",
                         remedy="write 'value: ccsd' in dm or dens entries, or choose a kind (dens "
                         "or dm) to make one for every system")
    folder = Path(out_dir)
    lines = ["# CCSD reference densities made by deepchem_dft with PySCF", "format: deepchem_dft/1",
             "source: CCSD (unrelaxed density, all electrons), PySCF", "entries:"]
    written = []
    for done, (name, what, system, level) in enumerate(jobs):
        if progress is not None:
            progress(done, len(jobs), name)
        arrays = reference(system, what, level)
        path = folder / f"{name}.{'npy' if what == 'dm' else 'npz'}"
        _write(path, arrays)
        written.append(path)
        lines += _yaml_entry(name, what, system, path.name)
    _write(folder / "densities.yaml", "\n".join(lines) + "\n")
    if progress is not None:
        progress(len(jobs), len(jobs), "done")
    return written


def _jobs(
    entries: Sequence[DFTEntry], kind: str | None, grid_level: int
) -> list[tuple[str, str, DFTSystem, int]]:
    jobs: list[tuple[str, str, DFTSystem, int]] = []
    seen, names = set(), set()
    for entry in entries:
        asks = getattr(entry, "is_ccsd", False)
        if kind is None and not asks:
            continue
        for system in entry.get_systems():
            what = kind or entry.entry_type
            if (system.key, what) in seen:
                continue
            seen.add((system.key, what))
            stem = re.sub(r"[^A-Za-z0-9+-]+", "_", entry.name if asks else system.name)[:60]
            name = stem = stem.strip("_") or "system"
            count = 2
            while name.lower() in names:  # file systems may not tell capitals apart
                name, count = f"{stem}-{count}", count + 1
            names.add(name.lower())
            jobs.append((name, what, system,
                         getattr(entry, "grid_level", 3) if asks else grid_level))
    return jobs


def _yaml_entry(name: str, what: str, system: DFTSystem, file: str) -> list[str]:
    import json  # JSON is YAML, and quotes everything that needs it

    fields = {k: v for k, v in system.system.items() if k not in ("number", "moldesc")}
    mapping = {"geometry": system.moldesc, **fields}
    return [f"- name: {json.dumps(name)}", f"  type: {what}", f"  value: {json.dumps(file)}",
            f"  systems: [{json.dumps(mapping)}]"]


def _write(path: Path, content: dict[str, np.ndarray] | str) -> None:
    """Write a file so that others see all of it or nothing."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        with os.fdopen(handle, "wb") as stream:
            if isinstance(content, str):
                stream.write(content.encode())
            elif path.suffix == ".npy":
                np.save(stream, content["density_matrix"])
            else:
                np.savez_compressed(stream, **content)  # type: ignore[arg-type]
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror})", field="out_dir",
                         remedy="choose a folder that can be written") from None
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
