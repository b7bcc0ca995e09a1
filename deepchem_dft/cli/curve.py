"""``deepchem-dft curve``: energies along a stretched bond."""

from pathlib import Path

import typer

from deepchem_dft import parallel
from deepchem_dft.cli import options
from deepchem_dft.errors import InputError


def curve(
    geometry: str = typer.Argument(..., help="Geometry with {R} where the distance goes (Bohr)."),
    xc: list[str] | None = typer.Option(
        None, "--xc", help="Functional by name, zoo:NAME or file; may be repeated. Default: pbe."
    ),
    run: list[Path] | None = typer.Option(
        None, "--run", help="Run directory of a trained functional; may be repeated."
    ),
    start: float | None = typer.Option(
        None, "--start", help="First distance, in --unit. Default: 0.7 times the sum of the covalent radii."
    ),
    stop: float | None = typer.Option(
        None, "--stop", help="Last distance, in --unit. Default: 4 times that sum."
    ),
    points: int = typer.Option(16, "--points", min=2, help="Number of distances."),
    basis: str = options.BASIS,
    charge: int | None = options.CHARGE,
    spin: int | None = options.SPIN,
    unit: str = typer.Option("bohr", "--unit", help="Unit of all lengths: bohr or angstrom."),
    grid_level: int = options.GRID_LEVEL,
    restricted: bool | None = options.RESTRICTED,
    stability: bool = options.STABILITY,
    broken_symmetry: bool = options.BROKEN_SYMMETRY,
    solvent: str | None = options.SOLVENT,
    solvent_model: str = options.SOLVENT_MODEL,
    exact: str | None = typer.Option(None, "--exact", help="Known exact curve to compare with: h2."),
    out: list[Path] | None = typer.Option(
        None, "--out", help="Write a figure (.png, .pdf, .svg) or numbers (.csv); may be repeated."
    ),
    jobs: int | None = options.JOBS,
    json: bool = options.JSON,
) -> None:
    """Compute a dissociation curve with one or several functionals.

    A point that does not converge is left out of the figure, reported, and makes the exit
    status 1. Of an ensemble, the uncertainty of each energy is given too: a column, and a band in
    the figure.

    Examples:

    - `deepchem-dft curve "H 0 0 0; H 0 0 {R}" --xc lda,pw --xc pbe --exact h2 --out h2.png`

    - `deepchem-dft curve "Li 0 0 0; H 0 0 {R}" --start 2 --stop 8 --points 20 --out lih.csv`

    - `deepchem-dft curve "H 0 0 0; H 0 0 {R}" --xc pbe --run runs/pbe_mgga --exact h2 --out h2.png`
    """
    from deepchem_dft.cli.common import console, functional_from_run, quiet_imports, solution_progress
    from deepchem_dft.cli.molecules.early import check_names

    check_names(xc or [])
    with quiet_imports():
        from deepchem_dft.runs.xc import curves
        from deepchem_dft.scf.many import Solver
        from deepchem_dft.scf.solutions import Functional
    functionals = [Functional.named(name) for name in xc or ([] if run else ["pbe"])]
    for path in run or []:
        label = "trained" if len(run or []) == 1 else str(path)
        functionals.append(Functional.trained(functional_from_run(path), label))
    for path in out or []:
        curves.check_output(path)
    reference = curves.exact_curve(exact) if exact else None
    if exact and solvent:
        raise InputError("exact curves are those in vacuum", field="exact", remedy="leave --solvent out")
    if start is None or stop is None:
        usual = curves.usual_range(geometry, unit) if "{R}" in geometry else (1.0, 2.0)  # refused below
        start, stop = usual[0] if start is None else start, usual[1] if stop is None else stop
    place = options.surroundings_of(solvent, solvent_model, None, None)
    distances = curves.spaced(start, stop, points)
    molecules = curves.molecules(
        geometry,
        distances,
        basis,
        charge,
        spin,
        unit,
        grid_level,
        restricted=restricted,
        broken_symmetry=broken_symmetry,
        surroundings=place,
    )
    if exact:
        curves.check_is_h2(molecules, distances, unit)
    with Solver(jobs, stability=stability) as solver, solution_progress("curve") as show:
        table, spread, notes = curves.solve(solver, molecules, functionals, on_solution=show)
    result = curves.Curve(geometry, unit, distances, table, reference, uncertainties=spread, notes=notes)
    if place is not None:
        result.title = f"{geometry.replace('{R}', 'R')}, in {place.description}"
    for path in out or []:
        parallel.on_main(lambda path=path: result.write(path))  # type: ignore[misc]
    screen = console(stderr=json)
    if json:
        where = None if place is None else place.description
        options.print_json(result.data() | {"surroundings": where})
    else:
        if result.title:
            screen.print(result.title, markup=False)
        screen.print(result.text(), markup=False)
    for path in out or []:
        screen.print(f"written: {path}", markup=False)
    result.raise_if_unconverged()
