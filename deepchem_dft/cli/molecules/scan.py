"""``deepchem-dft scan``: energies along any internal coordinate, everything else relaxed."""

from pathlib import Path

import typer

from deepchem_dft.cli import options


def scan(
    geometry: str = options.GEOMETRY,
    coordinate: str = typer.Argument(
        ..., help="'distance 1 2', 'angle 1 2 3' or 'dihedral 1 2 3 4', atoms counted from 1."
    ),
    start: float = typer.Option(..., "--start", help="First value, Angstrom or degrees."),
    stop: float = typer.Option(..., "--stop", help="Last value, Angstrom or degrees."),
    points: int = typer.Option(7, "--points", min=2, help="Number of values, evenly spaced."),
    xc: str = options.FUNCTIONAL,
    run: Path | None = options.RUN,
    basis: str = options.BASIS,
    charge: int | None = options.CHARGE,
    spin: int | None = options.SPIN,
    multiplicity: int | None = options.MULTIPLICITY,
    unit: str | None = options.UNIT,
    grid_level: int = options.GRID_LEVEL,
    density_fit: bool | None = options.DENSITY_FIT,
    solvent: str | None = options.SOLVENT,
    solvent_model: str = options.SOLVENT_MODEL,
    constrain: list[str] | None = typer.Option(
        None, "--constrain", help="Hold this as well, as in 'optimize'; may be repeated."
    ),
    fmax: float = options.FMAX,
    max_steps: int = typer.Option(100, "--max-steps", min=1, help="Most steps of each relaxation."),
    out: Path | None = typer.Option(None, "--out", help="Write all geometries to this .xyz file (Angstrom)."),
    json: bool = options.JSON,
) -> None:
    """Relax a molecule at several values of a bond, an angle or a torsion (needs geomeTRIC).

    Each relaxation starts from the geometry of the one before. Exit status 1 if one does not converge;
    the others are printed all the same.

    Examples:

    - `deepchem-dft scan peroxide.xyz "dihedral 3 1 2 4" --start 0 --stop 180 --points 7 --out turn.xyz`

    - `deepchem-dft scan water.xyz "distance 1 2" --start 0.8 --stop 1.6 --xc zoo:NAME --json`
    """
    from deepchem_dft.cli.common import check_geometry_name, check_out, console, quiet_imports
    from deepchem_dft.cli.molecules.display import place_text
    from deepchem_dft.cli.optimize import geometry_text
    from deepchem_dft.errors import DeepChemDFTError
    from deepchem_dft.units import HARTREE_TO_KCAL

    check_out(out)
    check_geometry_name(out)
    with quiet_imports():
        from deepchem_dft.files import write
        from deepchem_dft.interop.relaxation import relaxed_scan
        from deepchem_dft.molecule import Molecule
    functional, label = options.functional_of(xc, run, None)
    spin = options.spin_of(spin, multiplicity)
    place = options.surroundings_of(solvent, solvent_model, None, None)
    molecule = Molecule(
        geometry, basis, charge, spin, unit, grid_level, density_fit=density_fit, surroundings=place
    )
    errors = console(stderr=True)
    found = relaxed_scan(
        molecule,
        functional,
        coordinate,
        [start + (stop - start) * k / (points - 1) for k in range(points)],
        constraints=constrain or (),
        fmax=fmax,
        max_steps=max_steps,
        on_point=lambda value, done: errors.print(f"{done}/{points}: {coordinate} = {value:g}"),
    )
    unit_of = found[0][0].unit
    energies = [float(relaxed.result.energy.detach()) for _, relaxed in found]
    above = [(e - min(energies)) * HARTREE_TO_KCAL for e in energies]
    if json:
        rows = [
            {
                f"value_{unit_of}": where.target,
                "energy_hartree": energy,
                "above_minimum_kcal_per_mol": height,
                "converged": relaxed.converged,
                "positions_bohr": relaxed.molecule.positions.tolist(),
            }
            for (where, relaxed), energy, height in zip(found, energies, above)
        ]
        options.print_json(
            {
                "functional": label,
                "surroundings": None if place is None else place.description,
                "coordinate": coordinate,
                "symbols": molecule.symbols,
                "points": rows,
            }
        )
    else:
        screen = console()
        screen.print(
            f"{molecule.formula}, {label}, {basis}, grid level {grid_level}{place_text(molecule)}: "
            f"{coordinate}, relaxed"
        )
        screen.print(f"{unit_of:>12}  {'energy (Ha)':>18}  {'above the lowest (kcal/mol)':>27}  {'steps':>5}")
        for (where, relaxed), energy, height in zip(found, energies, above):
            line = f"{where.target:>12.4f}  {energy:>18.8f}  {height:>27.3f}  {len(relaxed.steps) - 1:>5}"
            screen.print(line + ("" if relaxed.converged else "  NOT converged"))
    if out is not None:
        write(
            out,
            "".join(geometry_text(relaxed, f"{label}/{basis} {w} at {w.target:g}") for w, relaxed in found),
        )
        errors.print(f"written: {out}")
    if bad := [f"{where.target:g}" for where, relaxed in found if not relaxed.converged]:
        raise DeepChemDFTError(
            f"the geometry at {coordinate} = {', '.join(bad)} did not converge. Remedy: a larger --max-steps"
        )
