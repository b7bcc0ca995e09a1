"""``deepchem-dft scf``: one molecule or many, one functional, printed with units."""

from pathlib import Path
from typing import Any

import typer

from deepchem_dft.cli import options


def scf(
    geometry: list[str] = typer.Argument(
        ...,
        help="'El x y z; El x y z' (Bohr), or a file (Angstrom): .xyz, .mol, .sdf, .pdb ...; several give a "
        "table with a row for each.",
    ),
    xc: str = options.FUNCTIONAL,
    run: Path | None = options.RUN,
    basis: str | None = typer.Option(
        None, "--basis", help="Basis set by name. Default: def2-tzvp, or that of --guess."
    ),
    ecp: str | None = typer.Option(
        None, "--ecp", help="Effective core potential by name. Default: that of the basis, if it has one."
    ),
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
    tol: float = typer.Option(1e-6, "--tol", help="Convergence: largest orbital gradient, Ha."),
    maxiter: int | None = typer.Option(None, "--maxiter", min=1, help="Most Fock builds. Default: 500."),
    forces: bool = typer.Option(False, "--forces", help="Also print forces (Ha/Bohr)."),
    engine: str = typer.Option("native", "--engine", help="native, or dqc (see install-dqc)."),
    read: Path | None = typer.Option(
        None, "--read", help="Start from the orbitals of this .npz file, made with --write."
    ),
    write: Path | None = typer.Option(None, "--write", help="Write the orbitals to this .npz file."),
    molden: Path | None = typer.Option(None, "--molden", help="Write orbitals to this Molden file."),
    cube: list[str] | None = typer.Option(
        None,
        "--cube",
        help="WHAT=FILE: write density, spin-density, homo, lumo, homo-beta or lumo-beta to a cube file; may "
        "be repeated.",
    ),
    xyz: Path | None = typer.Option(
        None, "--xyz", help="Write geometry, energy and forces to this extended xyz file (Angstrom, eV)."
    ),
    guess: Path | None = typer.Option(
        None,
        "--guess",
        help="Start from the Kohn-Sham matrix that this model predicts: run directory of "
        "'model: hamiltonian', folder of a HamiltonianModel, file of a HamiltonianPolynomial, or zoo:NAME.",
    ),
    compare: bool = typer.Option(
        True,
        "--compare/--no-compare",
        help="With --guess: count the iterations of the default guess too, and PySCF's of both.",
    ),
    iterate: bool = typer.Option(
        True,
        "--iterate/--no-iterate",
        help="With --guess or --read: make the field self-consistent, or one Fock build at that start, whose "
        "energies are off by the second order of its error and whose forces by the first.",
    ),
    keep: Path | None = typer.Option(
        None,
        "--keep",
        help="Of several molecules: write every solution to this file as it is found, and solve only what is "
        "not in it.",
    ),
    jobs: int | None = typer.Option(
        None, "--jobs", min=1, help="Of several molecules: worker processes (default: all cores)."
    ),
    json: bool = typer.Option(
        False, "--json", help="Print JSON in place of text: QCSchema of one molecule, rows of several."
    ),
    quiet: bool = options.QUIET,
) -> None:
    """Solve the Kohn-Sham equations for a molecule, or for many.

    What was understood and a line per iteration go to standard error. Exit status 1 if a field does not
    converge.

    Examples:

    - `deepchem-dft scf "H 0 0 0; H 0 0 1.4" --xc pbe --basis def2-tzvp`

    - `deepchem-dft scf water.xyz --xc b3lyp --forces --molden water.molden --cube density=water.cube`

    - `deepchem-dft scf cation.xyz --charge 1 --multiplicity 2 --xc zoo:NAME` (see `deepchem-dft zoo list`)

    - `deepchem-dft scf *.xyz --xc zoo:NAME --keep solved.jsonl --jobs 4`

    - `deepchem-dft scf water.xyz --write water.npz -q --json > water.json`

    - `deepchem-dft scf "O 0 0 0" --spin 2 --run runs/pbe_mgga`

    - `deepchem-dft scf water.xyz --guess runs/water`

    - `deepchem-dft scf water.xyz --guess runs/water --no-iterate --forces`

    - `deepchem-dft scf water.xyz --solvent water --dispersion d3bj --forces`
    """
    from deepchem_dft.cli.common import check_out, hamiltonian_model, quiet_imports
    from deepchem_dft.cli.molecules.early import check_molecule, check_names
    from deepchem_dft.cli.molecules.outputs import Outputs

    spin = options.spin_of(spin, multiplicity)
    outputs = Outputs.asked(molden, cube, xyz, write)
    if len(geometry) > 1:
        single = {"guess": guess, "read": read, "engine": engine != "native", "forces": forces}
        _check_many(single | {"no-iterate": not iterate}, outputs)
        check_out(keep)
    elif engine == "native":
        check_molecule(geometry[0], charge, spin, unit, basis or (None if guess else "def2-tzvp"))
    check_names([xc] if run is None else [])
    with quiet_imports():
        from deepchem_dft.molecule import Molecule
        from deepchem_dft.runs.advice import warn
        from deepchem_dft.xc.names import is_trained
    functional, label = options.functional_of(xc, run, dispersion)
    place = options.surroundings_of(solvent, solvent_model, point_charges, unit)
    model = None if guess is None else hamiltonian_model(guess)
    basis = basis or ("def2-tzvp" if model is None else str(model.config["basis"]))
    about = xc if run is None else ""  # whose card warnings are about

    def molecule_of(source: str) -> Any:
        return Molecule(
            source,
            basis,
            charge,
            spin,
            unit,
            grid_level,
            ecp=ecp,
            density_fit=density_fit,
            restricted=restricted,
            broken_symmetry=broken_symmetry,
            surroundings=place,
        )

    solving: dict[str, Any] = {"tol": tol, "max_iter": maxiter, "stability": stability}
    if len(geometry) > 1:
        from deepchem_dft.cli.molecules.batch import solve_many
        from deepchem_dft.scf.solutions import Functional

        solve_many(
            geometry,
            Functional.trained(functional, label) if run is not None else Functional.named(label),
            molecule_of,
            about,
            jobs=jobs,
            keep=keep,
            json=json,
            quiet=quiet,
            **solving,
        )
        return
    from deepchem_dft.cli.molecules.display import Progress

    progress = Progress(quiet)
    molecule = molecule_of(geometry[0])
    progress.understood(molecule, label, geometry[0], unit)
    said = warn({molecule.name: molecule}, [about])
    _solve(
        molecule,
        functional,
        label,
        solving | {"engine": engine},
        model=model,
        read=read,
        outputs=outputs,
        progress=progress,
        forces=forces,
        compare=compare,
        iterate=iterate,
        # PySCF knows functionals by name only.
        known=label if run is None and not is_trained(xc) else None,
        said=said,
        json=json,
    )


def _solve(
    molecule: Any,
    functional: Any,
    label: str,
    solving: dict[str, Any],
    *,
    model: Any,
    read: Path | None,
    outputs: Any,
    progress: Any,
    forces: bool,
    compare: bool,
    iterate: bool,
    known: str | None,
    said: list[str],
    json: bool,
) -> None:
    """Solve one molecule, print it, and write what is asked for."""
    from deepchem_dft.cli.common import console
    from deepchem_dft.cli.molecules.display import print_result
    from deepchem_dft.cli.molecules.single_build import print_single_build
    from deepchem_dft.errors import InputError, SCFNotConverged
    from deepchem_dft.scf import KohnSham

    if read is not None and model is not None:
        raise InputError("a calculation has one start", field="read", remedy="give --read or --guess")
    prediction = None if model is None else _predicted(model, molecule, molecule.grid_level)
    # Two grids would make iterations of different cost, which cannot be compared.
    problem = KohnSham(molecule, functional, two_grid=None if model is None else False, **solving)
    start = None if prediction is None else prediction.state
    if read is not None:
        from deepchem_dft.scf.state import read_orbitals

        start = read_orbitals(read, molecule)
    if not iterate:
        if start is None or outputs.any:
            raise InputError(
                "one Fock build needs a start, and leaves nothing to be written",
                field="iterate",
                remedy="give --guess or --read, and leave --write and the like out",
            )
        print_single_build(problem.single_build(start), label, forces, said if json else None)
        return
    result = problem.run(on_unconverged="continue", guess=start, on_iteration=progress)
    if json:
        options.print_json(_qcschema(result, label, functional, said, forces))
    else:
        print_result(molecule, label, result, functional, forces)
    if prediction is not None and not json:
        _print_guess(console(), problem, prediction, result, compare, known)
    if not result.converged:
        raise SCFNotConverged(
            f"the self-consistent field of {molecule.name} did not converge "
            f"({result.status}); the energy above is not a prediction"
            + (", and nothing was written" if outputs.any else ""),
            result,
        )
    outputs.write(result, say=not json)


def _qcschema(result: Any, label: str, functional: Any, said: list[str], forces: bool) -> dict[str, Any]:
    from deepchem_dft.errors import InputError
    from deepchem_dft.interop.qcschema import atomic_result
    from deepchem_dft.xc.ensemble import EnsembleXC

    if not hasattr(result, "spin_populations"):
        raise InputError("DQC's results are not printed as JSON", field="json", remedy="leave --engine out")
    extras: dict[str, Any] = {"warnings": said}
    if isinstance(functional, EnsembleXC) and result.converged:
        extras["uncertainty_of_total_energy"] = functional.uncertainty(result)
    gradient = -result.forces().detach().cpu().numpy() if forces and result.converged else None
    return atomic_result(result, label, gradient=gradient, extras=extras)


def _check_many(single: dict[str, Any], outputs: Any) -> None:
    """Refuse what is for one molecule only."""
    from deepchem_dft.errors import InputError

    asked = [name for name, value in single.items() if value] + ["--write and the like"] * outputs.any
    if asked:
        raise InputError(
            f"{asked[0]} is for one molecule",
            field=asked[0].split()[0].lstrip("-"),
            remedy="leave it out, or give one geometry",
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
