"""``deepchem-dft scf``: one molecule, one functional, printed with units."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import typer

from deepchem_dft.cli import options


def scf(
    geometry: str = options.GEOMETRY,
    xc: str = options.FUNCTIONAL,
    run: Path | None = options.RUN,
    basis: str | None = typer.Option(
        None, "--basis", help="Basis set by name. Default: def2-tzvp, or that of --guess."
    ),
    charge: int | None = options.CHARGE,
    spin: int | None = options.SPIN,
    unit: str | None = options.UNIT,
    grid_level: int = options.GRID_LEVEL,
    density_fit: bool | None = options.DENSITY_FIT,
    restricted: bool | None = options.RESTRICTED,
    stability: bool = options.STABILITY,
    broken_symmetry: bool = options.BROKEN_SYMMETRY,
    tol: float = typer.Option(1e-6, "--tol", help="Convergence: largest orbital gradient, Ha."),
    forces: bool = typer.Option(False, "--forces", help="Also print forces (Ha/Bohr)."),
    engine: str = typer.Option("native", "--engine", help="native, or dqc (see install-dqc)."),
    guess: Path | None = typer.Option(
        None,
        "--guess",
        help="Start from the Kohn-Sham matrix that this model predicts: run directory of "
        "'model: hamiltonian', folder of a HamiltonianModel, or zoo:NAME.",
    ),
    compare: bool = typer.Option(
        True,
        "--compare/--no-compare",
        help="With --guess: count the iterations of the default guess too, and PySCF's of both.",
    ),
) -> None:
    """Solve the Kohn-Sham equations for one molecule.

    Exit status 1 if the field does not converge.

    Examples:

    - `deepchem-dft scf "H 0 0 0; H 0 0 1.4" --xc pbe --basis def2-tzvp`

    - `deepchem-dft scf water.xyz --xc b3lyp --forces`

    - `deepchem-dft scf "O 0 0 0" --spin 2 --run runs/pbe_mgga`

    - `deepchem-dft scf water.xyz --xc zoo:NAME` (see `deepchem-dft zoo list`)

    - `deepchem-dft scf water.xyz --guess runs/water`
    """
    from deepchem_dft.cli.common import console, functional_from_run, hamiltonian_model, quiet_imports

    with quiet_imports():
        from deepchem_dft.molecule import Molecule
        from deepchem_dft.scf import KohnSham
        from deepchem_dft.xc import get_xc
        from deepchem_dft.xc.names import is_trained
    functional: Any = functional_from_run(run) if run is not None else get_xc(xc)
    model = None if guess is None else hamiltonian_model(guess)
    basis = basis or ("def2-tzvp" if model is None else str(model.config["basis"]))
    molecule = Molecule(
        geometry,
        basis,
        charge,
        spin,
        unit,
        grid_level,
        density_fit=density_fit,
        restricted=restricted,
        broken_symmetry=broken_symmetry,
    )
    prediction = None if model is None else _predicted(model, molecule, grid_level)
    # Two grids would make iterations of different cost, which cannot be compared.
    problem = KohnSham(
        molecule,
        functional,
        tol=tol,
        engine=engine,
        stability=stability,
        two_grid=None if model is None else False,
    )
    start = None if prediction is None else prediction.state
    result = problem.run(on_unconverged="continue", guess=start)
    label = xc if run is None else f"trained in {run}"
    _print(console(), molecule, label, result, forces, functional)
    if prediction is not None:
        # PySCF knows functionals by name only.
        known = run is None and not is_trained(xc)
        _print_guess(console(), problem, prediction, result, compare, xc if known else None)
    if not result.converged:
        from deepchem_dft.errors import SCFNotConverged

        raise SCFNotConverged(
            f"the self-consistent field of {molecule.name} did not converge "
            f"({result.status}); the energy above is not a prediction",
            result,
        )


def _predicted(model: Any, molecule: Any, grid_level: int) -> Any:
    """Return what a model predicts of a molecule."""
    import numpy as np

    from deepchem_dft.errors import InputError
    from deepchem_dft.hamiltonian.sample import HamiltonianSample
    from deepchem_dft.molecule.geometry import NUCLEAR_CHARGE

    if molecule.spin or molecule.charge != round(molecule.charge):
        raise InputError(
            "the model knows closed shells only", field="guess", remedy="leave --guess out, or --spin"
        )
    model.preparation.grid_level = grid_level
    numbers = np.array([NUCLEAR_CHARGE[symbol] for symbol in molecule.symbols])
    # Without a functional: one of another functional is a start, too.
    sample = HamiltonianSample(
        numbers, molecule.positions, molecule.basis, charge=round(molecule.charge), name=molecule.name
    )
    return model.predict_properties([sample])[0]


def _print_guess(out: Any, problem: Any, prediction: Any, result: Any, compare: bool, xc: str | None) -> None:
    from deepchem_dft.hamiltonian.reference import Reference

    known = prediction.prepared.reference
    if xc is not None:
        density = prediction.density_matrix
        reference = Reference(prediction.sample, xc, known.grid_level)
        above = 1e6 * (reference.energy(density) - float(result.energy.detach()))
        out.print(
            f"{'start:':<12}density of the model, whose energy is {above:.2f} microhartree above",
            markup=False,
        )
    if not prediction.converged:
        out.print(f"{'':<12}its fixed point was not found: {prediction.status}", markup=False)
    if not compare:
        return
    plain = problem.run(on_unconverged="continue")
    out.print(
        f"{'saved:':<12}{plain.iterations - result.iterations} of {plain.iterations} "
        "iterations of the default guess",
        markup=False,
    )
    if xc is not None:
        before, after = (reference.solve(start, conv_tol=1e-9).cycles for start in (None, density))
        out.print(f"{'PySCF:':<12}{after} cycles with this dm0, {before} without (1e-9 Ha)", markup=False)


def _print(out: Any, molecule: Any, label: str, result: Any, forces: bool, functional: Any) -> None:
    import torch

    from deepchem_dft.cli.common import state_text, uncertainty_text
    from deepchem_dft.units import AU_TO_DEBYE, HARTREE_TO_EV

    status = getattr(result.status, "value", result.status)
    lines = {
        "molecule": f"{molecule.formula}, charge {molecule.charge:+g}, 2S = {molecule.spin:g}",
        "functional": label,
        "basis": f"{molecule.basis} ({molecule.nao} orbitals), grid level {molecule.grid_level}",
        "status": f"{status} after {result.iterations} iterations "
        f"(orbital gradient {float(result.commutator):.1e} Ha)",
        "energy": f"{float(result.energy.detach()):.8f} Ha",
    }
    if functional.dispersion_terms:
        lines["dispersion"] = f"{result.energy_terms['dispersion']:.8f} Ha of the energy"
    uncertainty = uncertainty_text(functional, result)
    if uncertainty:
        lines["uncertainty"] = uncertainty
    lines["state"] = state_text(result)
    if math.isfinite(gap := result.gap):
        lines["gap"] = f"{gap * HARTREE_TO_EV:.3f} eV (HOMO-LUMO)"
    dipole = result.dipole.detach() * AU_TO_DEBYE
    vector = ", ".join(f"{x:.4f}" for x in (dipole + 0.0).tolist())
    lines["dipole"] = f"{float(torch.linalg.vector_norm(dipole)):.4f} Debye ({vector})"
    if molecule.charge:
        lines["dipole"] += ", about the origin"
    for key, value in lines.items():
        out.print(f"{key + ':':<11} {value}", markup=False)
    for note in result.notes:
        out.print(f"{'NOTE:':<11} {note}", markup=False)
    if forces and result.converged:
        out.print("forces (Ha/Bohr):")
        for symbol, row in zip(molecule.symbols, result.forces().tolist()):
            out.print(f"  {symbol:<3}" + "".join(f"{x:>14.8f}" for x in row), markup=False)
