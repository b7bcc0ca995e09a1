"""Options that mean the same in several commands: one molecule and its functional."""

import math
from pathlib import Path
from typing import Any

import typer

from deepchem_dft.errors import InputError

GEOMETRY = typer.Argument(
    ..., help="'El x y z; El x y z' (Bohr), or a file (Angstrom): .xyz, .mol, .sdf, .pdb, .gjf, .gen, .traj."
)
FUNCTIONAL = typer.Option(
    "pbe", "--xc", help="Functional: any name libxc knows, zoo:NAME, or NAME.safetensors."
)
RUN = typer.Option(None, "--run", help="Use the functional trained in this run directory instead.")
BASIS = typer.Option("def2-tzvp", "--basis", help="Basis set by name.")
CHARGE = typer.Option(
    None, "--charge", help="Total charge. Default: charge= of the file's comment line, or 0."
)
SPIN = typer.Option(None, "--spin", help="2S = n_alpha - n_beta. Default: mult= (2S+1) or spin= of it, or 0.")
MULTIPLICITY = typer.Option(None, "--multiplicity", min=1, help="2S+1, in place of --spin.")
UNIT = typer.Option(None, "--unit", help="Unit of the geometry: bohr or angstrom.")
GRID_LEVEL = typer.Option(3, "--grid-level", help="PySCF's quadrature level, 0 to 9.")
RESTRICTED = typer.Option(
    None,
    "--restricted/--unrestricted",
    help="Whether both spins share their orbitals. Default: shared for closed shells.",
)
STABILITY = typer.Option(
    False, "--stability", help="Test whether the solution is a minimum, and go on down if not."
)
BROKEN_SYMMETRY = typer.Option(False, "--broken-symmetry", help="Look for antiparallel spins (unrestricted).")
DENSITY_FIT = typer.Option(None, "--density-fit/--no-density-fit", help="Default: above 180 orbitals.")
SOLVENT = typer.Option(None, "--solvent", help="Solvent by name, such as water (SMD's).")
SOLVENT_MODEL = typer.Option(
    "smd", "--solvent-model", help="smd, iefpcm or cpcm (the last two without surface terms)."
)
POINT_CHARGES = typer.Option(
    None, "--point-charges", help="File with 'charge x y z' in each line (e; Angstrom, or --unit)."
)
DISPERSION = typer.Option(
    None, "--dispersion", help="Add d3bj or d4 to the functional; 'd4(pbe)' takes the parameters of another."
)
FMAX = typer.Option(4.5e-4, "--fmax", help="Convergence: largest force on an atom, Ha/Bohr.")
JOBS = typer.Option(None, "--jobs", min=1, help="Worker processes (default: all cores).")
QUIET = typer.Option(False, "--quiet", "-q", help="Show no progress.")
JSON = typer.Option(False, "--json", help="Print JSON, units in the names, in place of tables.")


def spin_of(spin: int | None, multiplicity: int | None) -> int | None:
    """Return 2S from whichever of the two options is given.

    Raises
    ------
    InputError
        If both are, and contradict each other.

    Examples
    --------
    >>> spin_of(None, 3), spin_of(1, None), spin_of(None, None)
    (2, 1, None)
    """
    if multiplicity is None:
        return spin
    if spin is not None and spin != multiplicity - 1:
        raise InputError(
            f"2S = {spin} and a multiplicity of {multiplicity} contradict each other",
            field="multiplicity",
            remedy=f"give one of them (2S+1 = {spin + 1})",
        )
    return multiplicity - 1


def print_json(data: Any) -> None:
    """Print plain data as JSON, for another program; what is not a finite number is null.

    Names in it are inert, as JSON escapes them.
    """
    from json import dumps

    print(dumps(_plain(data), indent=1, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, float):  # numpy's are floats, too
        return float(value) if math.isfinite(value) else None
    return value


def functional_of(xc: str, run: Path | None, dispersion: str | None) -> tuple[Any, str]:
    """Return the functional that is asked for, and what to call it."""
    from deepchem_dft.cli.common import functional_from_run
    from deepchem_dft.xc import dispersion as of_functionals
    from deepchem_dft.xc import get_xc

    if run is None:
        name = xc if dispersion is None else f"{xc}+{dispersion}"
        return get_xc(name), name
    functional, label = functional_from_run(run), f"trained in {run}"
    if dispersion is None:
        return functional, label
    return of_functionals.attached(functional, of_functionals.parse(dispersion)), f"{label} + {dispersion}"


def surroundings_of(solvent: str | None, model: str, charges: Path | None, unit: str | None) -> Any:
    """Return the surroundings that are asked for, or None.

    Raises
    ------
    InputError
        If both kinds are, or a model without a solvent.
    """
    from deepchem_dft.molecule.surroundings import Surroundings, read_point_charges

    if solvent is None and model != "smd":
        raise InputError("a model needs a solvent", field="solvent_model", remedy="add --solvent water, say")
    if charges is None:
        return None if solvent is None else Surroundings(solvent, model)
    found = read_point_charges(str(charges), unit or "angstrom")
    return Surroundings(solvent, model, found.point_charges)
