"""``deepchem-dft scf``: one molecule, one functional, printed with units."""

# ruff: noqa: B008 (typer declares options as calls in defaults)
from __future__ import annotations

from pathlib import Path
from typing import Any

import typer


def scf(
    geometry: str = typer.Argument(
        ..., help="'El x y z; El x y z' (Bohr), or an .xyz file (Angstrom)."
    ),
    xc: str = typer.Option(
        "pbe", "--xc", help="Functional: any name libxc knows, zoo:NAME, or NAME.safetensors."
    ),
    run: Path | None = typer.Option(
        None, "--run", help="Use the functional trained in this run directory instead."
    ),
    basis: str = typer.Option("def2-tzvp", "--basis", help="Basis set by name."),
    charge: int = typer.Option(0, "--charge", help="Total charge."),
    spin: int = typer.Option(0, "--spin", help="2S = n_alpha - n_beta."),
    unit: str | None = typer.Option(
        None, "--unit", help="Unit of the geometry: bohr or angstrom."
    ),
    grid_level: int = typer.Option(3, "--grid-level", help="PySCF's quadrature level, 0 to 9."),
    density_fit: bool | None = typer.Option(
        None, "--density-fit/--no-density-fit", help="Default: above 180 orbitals."
    ),
    tol: float = typer.Option(1e-6, "--tol", help="Convergence: largest orbital gradient, Ha."),
    forces: bool = typer.Option(False, "--forces", help="Also print forces (Ha/Bohr)."),
    engine: str = typer.Option("native", "--engine", help="native, or dqc (see install-dqc)."),
) -> None:
    """Solve the Kohn-Sham equations for one molecule.

    Exit status 1 if the field does not converge.

    Examples:

    - `deepchem-dft scf "H 0 0 0; H 0 0 1.4" --xc pbe --basis def2-tzvp`

    - `deepchem-dft scf water.xyz --xc b3lyp --forces`

    - `deepchem-dft scf "O 0 0 0" --spin 2 --run runs/pbe_mgga`

    - `deepchem-dft scf water.xyz --xc zoo:NAME` (see `deepchem-dft zoo list`)
    """
    from .common import console, functional_from_run, quiet_imports, read_geometry

    text, unit = read_geometry(geometry, unit)
    with quiet_imports():
        from ..molecule import Molecule
        from ..scf import KohnSham
        from ..xc import get_xc
    functional: Any = functional_from_run(run) if run is not None else get_xc(xc)
    molecule = Molecule(text, basis, charge, spin, unit, grid_level,
                        density_fit=density_fit)
    result = KohnSham(molecule, functional, tol=tol, engine=engine).run(on_unconverged="continue")
    spread = functional.spread(result) if hasattr(functional, "spread") else None
    label = xc if run is None else f"trained in {run}"
    _print(console(), molecule, label, result, forces, spread)
    if not result.converged:
        from ..errors import SCFNotConverged

        raise SCFNotConverged(
            f"the self-consistent field of {molecule.name} did not converge "
            f"({result.status}); the energy above is not a prediction",
            result,
        )


def _print(out: Any, molecule: Any, functional: str, result: Any, forces: bool,
           spread: float | None) -> None:  # fmt: skip
    import torch

    from ..units import AU_TO_DEBYE, HARTREE_TO_EV, HARTREE_TO_KCAL

    status = getattr(result.status, "value", result.status)
    lines = {
        "molecule": f"{molecule.formula}, charge {molecule.charge:+g}, 2S = {molecule.spin:g}",
        "functional": functional,
        "basis": f"{molecule.basis} ({molecule.nao} orbitals), grid level {molecule.grid_level}",
        "status": f"{status} after {result.iterations} iterations "
        f"(orbital gradient {float(result.commutator):.1e} Ha)",
        "energy": f"{float(result.energy.detach()):.8f} Ha",
    }
    if spread is not None and result.converged:
        lines["spread"] = f"{spread * HARTREE_TO_KCAL:.3f} kcal/mol between the ensemble's members"
    gap = _gap(result)
    if gap is not None:
        lines["gap"] = f"{gap * HARTREE_TO_EV:.3f} eV (HOMO-LUMO)"
    dipole = result.dipole.detach() * AU_TO_DEBYE
    vector = ", ".join(f"{x:.4f}" for x in (dipole + 0.0).tolist())
    lines["dipole"] = f"{float(torch.linalg.vector_norm(dipole)):.4f} Debye ({vector})"
    if molecule.charge:
        lines["dipole"] += ", about the origin"
    for key, value in lines.items():
        out.print(f"{key + ':':<12}{value}", markup=False)
    if forces and result.converged:
        out.print("forces (Ha/Bohr):")
        for symbol, row in zip(molecule.symbols, result.forces().tolist()):
            out.print(f"  {symbol:<3}" + "".join(f"{x:>14.8f}" for x in row), markup=False)


def _gap(result: Any) -> float | None:
    """Return the smallest empty minus the largest occupied orbital energy (Ha), if both exist."""
    energies, occupations = result.orbital_energies.detach(), result.occupations
    occupied, empty = energies[occupations > 1e-8], energies[occupations <= 1e-8]
    if not len(occupied) or not len(empty):
        return None
    return float(empty.min() - occupied.max())
