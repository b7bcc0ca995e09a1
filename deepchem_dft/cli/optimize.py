"""``deepchem-dft optimize``: a molecule relaxed with any functional."""

from contextlib import closing
from pathlib import Path
from typing import Any

import typer

from deepchem_dft.cli import options


def optimize(
    geometry: str = options.GEOMETRY,
    xc: str = options.FUNCTIONAL,
    run: Path | None = options.RUN,
    basis: str = options.BASIS,
    charge: int | None = options.CHARGE,
    spin: int | None = options.SPIN,
    multiplicity: int | None = options.MULTIPLICITY,
    unit: str | None = options.UNIT,
    grid_level: int = options.GRID_LEVEL,
    density_fit: bool | None = options.DENSITY_FIT,
    restricted: bool | None = options.RESTRICTED,
    stability: bool = options.STABILITY,
    broken_symmetry: bool = options.BROKEN_SYMMETRY,
    dispersion: str | None = options.DISPERSION,
    solvent: str | None = options.SOLVENT,
    solvent_model: str = options.SOLVENT_MODEL,
    point_charges: Path | None = options.POINT_CHARGES,
    optimizer: str | None = typer.Option(
        None,
        "--optimizer",
        help="bfgs of ASE (the default), or geometric (needs geomeTRIC; the default with --constrain and "
        "--transition-state).",
    ),
    constrain: list[str] | None = typer.Option(
        None,
        "--constrain",
        help="Hold 'distance 1 2', 'angle 1 2 3', 'dihedral 1 2 3 4' or 'atom 1' (counted from 1), as it "
        "is or '= VALUE' (Angstrom, degrees); may be repeated.",
    ),
    transition_state: bool = typer.Option(
        False, "--transition-state", help="Look for a saddle point of first order, beginning with a Hessian."
    ),
    fmax: float = options.FMAX,
    max_steps: int = typer.Option(100, "--max-steps", min=1, help="Most steps that are taken."),
    tol: float = typer.Option(1e-6, "--tol", help="Convergence of each self-consistent field, Ha."),
    out: Path | None = typer.Option(None, "--out", help="Write the minimum to this .xyz file (Angstrom)."),
    trajectory: Path | None = typer.Option(
        None,
        "--trajectory",
        help="Write every geometry, energy and forces to this extended xyz file (Angstrom, eV) as it comes.",
    ),
    json: bool = typer.Option(
        False, "--json", help="Print JSON: the steps, and the last geometry's calculation as QCSchema."
    ),
) -> None:
    """Relax the geometry of a molecule.

    Each geometry starts from the orbitals of the one before. Exit status 1, and no file, if a
    self-consistent field or the geometry does not converge; the last geometry is printed then, too.

    Examples:

    - `deepchem-dft optimize water.xyz --xc pbe --basis def2-svp --out relaxed.xyz`

    - `deepchem-dft optimize water.xyz --xc zoo:NAME --out relaxed.xyz --trajectory way.xyz`

    - `deepchem-dft optimize "O 0 0 0; H 0 0 1.8" --spin 1 --run runs/pbe_mgga`

    - `deepchem-dft optimize peroxide.xyz --optimizer geometric --max-steps 50`

    - `deepchem-dft optimize peroxide.xyz --constrain "dihedral 3 1 2 4 = 180" --constrain "distance 1 2"`

    - `deepchem-dft optimize nearly_flat_ammonia.xyz --transition-state` (then `frequencies`)
    """
    from deepchem_dft.cli.common import check_geometry_name, check_out, console, quiet_imports
    from deepchem_dft.cli.molecules.early import check_molecule, check_names
    from deepchem_dft.errors import DeepChemDFTError

    for path in (out, trajectory):
        check_out(path)
        check_geometry_name(path)
    check_molecule(geometry, charge, options.spin_of(spin, multiplicity), unit, basis)
    check_names([xc] if run is None else [])
    with quiet_imports():
        from deepchem_dft.interop.coordinates import Coordinate
        from deepchem_dft.interop.relaxation import relax
        from deepchem_dft.molecule import Molecule
        from deepchem_dft.runs.advice import warn
    functional, label = options.functional_of(xc, run, dispersion)
    place = options.surroundings_of(solvent, solvent_model, point_charges, unit)
    molecule = Molecule(
        geometry,
        basis,
        charge,
        options.spin_of(spin, multiplicity),
        unit,
        grid_level,
        density_fit=density_fit,
        restricted=restricted,
        broken_symmetry=broken_symmetry,
        surroundings=place,
    )
    warn({molecule.name: molecule}, [xc if run is None else ""])
    screen = console(stderr=json)
    with closing(_Table(screen, molecule, trajectory)) as table:
        found = relax(
            molecule,
            functional,
            optimizer or ("geometric" if constrain or transition_state else "bfgs"),
            fmax=fmax,
            max_steps=max_steps,
            tol=tol,
            stability=stability,
            on_step=table,
            constraints=constrain or (),
            transition_state=transition_state,
        )
    first, last = found.steps[0], found.steps[-1]
    _print(screen, found, label, functional, first.energy - last.energy)
    for text in constrain or ():
        held = Coordinate.read(text, len(molecule.symbols))
        if held.kind != "atom":
            screen.print(f"held:       {held}, {held.value(found.molecule.positions):.4f} {held.unit}")
    if transition_state:
        screen.print("NOTE:       'deepchem-dft frequencies' says whether one mode is imaginary, and which")
    if json:
        options.print_json(_as_data(found, label))
    if not found.converged:
        raise DeepChemDFTError(
            f"the geometry of {molecule.name} did not converge in {_moves(found)}: the largest "
            f"force is {last.force:.2e} Ha/Bohr, wanted {fmax:.2e}; the geometry above is no "
            f"minimum{', and nothing was written' if out else ''}. Remedy: go on from it, with a "
            "larger --max-steps"
        )
    if out is not None:
        _write(out, found, f"{label}/{basis}")
        screen.print(f"written: {out}", markup=False)


def _as_data(found: Any, label: str) -> dict[str, Any]:
    from deepchem_dft.interop.qcschema import atomic_result

    steps = [{"energy_hartree": s.energy, "largest_force_hartree_per_bohr": s.force} for s in found.steps]
    gradient = -found.result.forces().detach().cpu().numpy()
    last = atomic_result(found.result, label, gradient=gradient)
    return {"converged": found.converged, "steps": steps, "last": last}


class _Table:
    """Prints one line for each step as it comes, and keeps the geometries in a file if there is one."""

    def __init__(self, screen: Any, molecule: Any, trajectory: Path | None = None) -> None:
        self.screen, self.count = screen, 0
        self.molecule, self.trajectory = molecule, trajectory
        self.file: Any = None

    def __call__(self, step: Any) -> None:
        from deepchem_dft.units import HARTREE_TO_KCAL

        header = f"{'step':>4}  {'energy (Ha)':>18}  {'largest force (Ha/Bohr)':>23}"
        line = f"{self.count:>4}  {step.energy:>18.8f}  {step.force:>23.2e}"
        if step.uncertainty is not None:
            header += f"  {'uncertainty (kcal/mol)':>22}"
            line += f"  {step.uncertainty * HARTREE_TO_KCAL:>22.3f}"
        if not self.count:
            self.screen.print(header, markup=False)
        self.screen.print(line, markup=False)
        self.count += 1
        if self.trajectory is not None:
            from deepchem_dft.interop.formats import extended_xyz
            from deepchem_dft.locks import GrowingFile

            if self.file is None:
                self.file = GrowingFile(self.trajectory)
                self.file.cut(0)  # of an earlier relaxation
            frame = extended_xyz(self.molecule, step.energy, step.forces, positions=step.positions)
            self.file.write(frame.encode())

    def close(self) -> None:
        """Let go of the file."""
        if self.file is not None:
            self.file.close()


def _moves(found: Any) -> str:
    count = len(found.steps) - 1
    return "1 step" if count == 1 else f"{count} steps"


def _atoms(molecule: Any) -> list[str]:
    from deepchem_dft.units import BOHR_TO_ANGSTROM

    return [
        f"{symbol:<3}" + "".join(f"{round(x * BOHR_TO_ANGSTROM, 8) + 0.0:>14.8f}" for x in row)
        for symbol, row in zip(molecule.symbols, molecule.positions)
    ]


def _print(screen: Any, found: Any, label: str, functional: Any, gain: float) -> None:
    from deepchem_dft.cli.common import state_text, uncertainty_text
    from deepchem_dft.cli.molecules.display import place_text, print_summary
    from deepchem_dft.units import HARTREE_TO_KCAL

    molecule, result = found.molecule, found.result
    state = "converged" if found.converged else "NOT converged"
    lines = {
        "functional": label,
        "basis": f"{molecule.basis} ({molecule.nao} orbitals), grid level {molecule.grid_level}"
        f"{place_text(molecule)}",
        "status": f"{state} after {_moves(found)} (largest force {found.steps[-1].force:.2e} Ha/Bohr)",
        "energy": f"{float(result.energy.detach()):.8f} Ha, "
        f"{abs(gain) * HARTREE_TO_KCAL:.3f} kcal/mol {'below' if gain >= 0 else 'above'} the start",
        "state": state_text(result),
    }
    uncertainty = uncertainty_text(functional, result)
    if uncertainty:
        lines["uncertainty"] = uncertainty
    print_summary(screen, molecule, lines, result.notes)
    screen.print("geometry (Angstrom):")
    for line in _atoms(molecule):
        screen.print(f"  {line}", markup=False)


def _write(out: Path, found: Any, method: str) -> None:
    from deepchem_dft.files import write

    write(out, geometry_text(found, method))


def geometry_text(found: Any, method: str) -> str:
    """Return the last geometry of a relaxation as text of an xyz file."""
    energy, force = float(found.result.energy.detach()), found.steps[-1].force
    molecule = found.molecule
    comment = (
        f"charge={molecule.charge:g} mult={molecule.spin + 1:g} {method}, "
        f"energy {energy:.8f} Ha, largest force {force:.2e} Ha/Bohr"
    )
    return "\n".join([str(len(molecule.symbols)), comment, *_atoms(molecule)]) + "\n"
