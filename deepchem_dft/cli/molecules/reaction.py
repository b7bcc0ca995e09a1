"""``deepchem-dft reaction`` and ``atomisation``: energies of reactions of one's own molecules."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from deepchem_dft.cli import options
from deepchem_dft.cli.common import (
    check_out,
    console,
    load_deepchem,
    quiet_imports,
    solution_progress,
    tell_of_kept,
)
from deepchem_dft.cli.molecules.early import check_names
from deepchem_dft.errors import InputError

if TYPE_CHECKING:
    from deepchem_dft.runs.reactions.energies import ReactionEnergy
    from deepchem_dft.runs.reactions.equation import Reaction

#: Beside each other where none is named: with an uncertainty, and what everybody knows.
_USUAL = ("zoo:nn-hybrid-ensemble", "pbe")
_XC = typer.Option(
    None,
    "--xc",
    help=f"Functional by name, zoo:NAME or a file; may be repeated. Default: {' and '.join(_USUAL)}.",
)
_KEEP = typer.Option(
    None,
    "--keep",
    help="Write every solution to this file (JSON lines) as it is found, and solve only what is not in it: "
    "the same command goes on where it was stopped.",
)


def reaction(
    equation: list[str] = typer.Argument(
        ...,
        help="'water.xyz -> oh.xyz + 1/2 h2.xyz': files, SMILES, e-, H+, with spaces around -> and +; "
        "several equations share their species.",
    ),
    xc: list[str] | None = _XC,
    basis: str = options.BASIS,
    charge: list[str] | None = typer.Option(
        None, "--charge", help="NAME=CHARGE of a species; may be repeated. Default: the file's comment, or 0."
    ),
    spin: list[str] | None = typer.Option(
        None,
        "--spin",
        help="NAME=2S of a species. Default: the file's comment; else 0 or 1, of atoms the ground state.",
    ),
    multiplicity: list[str] | None = typer.Option(
        None, "--multiplicity", help="NAME=2S+1 of a species, in place of --spin."
    ),
    unit: str | None = typer.Option(None, "--unit", help="Unit of the files: angstrom (default) or bohr."),
    grid_level: int = options.GRID_LEVEL,
    density_fit: bool | None = options.DENSITY_FIT,
    solvent: str | None = options.SOLVENT,
    solvent_model: str = options.SOLVENT_MODEL,
    keep: Path | None = _KEEP,
    jobs: int | None = options.JOBS,
    json: bool = options.JSON,
    quiet: bool = options.QUIET,
) -> None:
    """Compute reaction energies from files of molecules, with the uncertainty of the difference.

    Energies are those of the electrons at the geometries given: no zero-point energy, no temperature.
    Of ensembles, members form the difference one by one, so that errors they share cancel. Exit status 1
    if atoms or charges do not add up, or a species does not converge.

    Examples:

    - `deepchem-dft reaction "water.xyz -> oh.xyz + h.xyz"`

    - `deepchem-dft reaction "2 h2.xyz + o2.xyz -> 2 water.xyz" --multiplicity o2.xyz=3 --xc zoo:NAME`

    - `deepchem-dft reaction "water.xyz -> cation.xyz + e-" --charge cation.xyz=1 --spin cation.xyz=1`

    - `deepchem-dft reaction "C=C + [H][H] -> CC" --xc b3lyp --keep solved.jsonl --json`

    - `deepchem-dft reaction "[OH-] + CF -> [F-] + CO" --xc b3lyp --basis def2-tzvpd --solvent water`
    """
    check_out(keep)
    check_names(xc or _USUAL)
    with quiet_imports():
        from deepchem_dft.runs.reactions.equation import read_reaction
    charges = _assigned(charge, "charge")
    spins = _assigned(spin, "spin") | {
        name: mult - 1 for name, mult in _assigned(multiplicity, "multiplicity").items()
    }
    names = {name for text in equation for name in _names(text)}
    for option, given in (("charge", charges), ("spin", spins)):
        if unknown := [name for name in given if name not in names]:
            raise InputError(
                f"{unknown[0]!r} is in no equation", field=option, remedy=f"one of {', '.join(sorted(names))}"
            )
    reactions = [
        read_reaction(
            text,
            basis,
            charges={n: q for n, q in charges.items() if n in _names(text)},
            spins={n: s for n, s in spins.items() if n in _names(text)},
            unit=unit,
        )
        for text in equation
    ]
    place = options.surroundings_of(solvent, solvent_model, None, None)
    _compute(reactions, xc, basis, grid_level, density_fit, keep, jobs, json, quiet, place)


def atomisation(
    files: list[str] = typer.Argument(
        ..., help="Files (.xyz, .mol, .sdf, .pdb ...), or SMILES; one row each."
    ),
    xc: list[str] | None = _XC,
    basis: str = options.BASIS,
    spin: int | None = typer.Option(None, "--spin", help="2S of the molecule. Default: the file's comment."),
    multiplicity: int | None = options.MULTIPLICITY,
    unit: str | None = typer.Option(None, "--unit", help="Unit of the files: angstrom (default) or bohr."),
    grid_level: int = options.GRID_LEVEL,
    density_fit: bool | None = options.DENSITY_FIT,
    keep: Path | None = _KEEP,
    jobs: int | None = options.JOBS,
    json: bool = options.JSON,
    quiet: bool = options.QUIET,
) -> None:
    """Compute atomisation energies: of the atoms in their ground states, minus that of the molecule.

    Energies are those of the electrons at the geometries given (D_e, not D_0). For ions, write the
    reaction out.

    Examples:

    - `deepchem-dft atomisation water.xyz`

    - `deepchem-dft atomisation *.xyz --xc zoo:NAME --xc pbe --keep solved.jsonl`

    - `deepchem-dft atomisation o2.xyz --multiplicity 3 --json`
    """
    check_out(keep)
    check_names(xc or _USUAL)
    with quiet_imports():
        from deepchem_dft.runs.reactions.equation import atomisation as read
    reactions = [read(file, basis, spin=options.spin_of(spin, multiplicity), unit=unit) for file in files]
    _compute(reactions, xc, basis, grid_level, density_fit, keep, jobs, json, quiet)


def _names(text: str) -> list[str]:
    from deepchem_dft.runs.reactions.equation import parse_equation

    return [name for side in parse_equation(text) for _, name in side]


def _assigned(items: list[str] | None, option: str) -> dict[str, int]:
    """Read ``NAME=NUMBER``."""
    found: dict[str, int] = {}
    for item in items or []:
        name, _, number = item.rpartition("=")
        try:
            found[name.strip()] = int(number)
        except ValueError:
            name = ""
        if not name.strip():
            raise InputError(
                f"{item[:60]!r} gives no species a whole number",
                field=option,
                remedy=f"write the name as in the equation: --{option} oh.xyz=1",
            )
    return found


def _compute(
    reactions: "Sequence[Reaction]",
    xc: list[str] | None,
    basis: str,
    grid_level: int,
    density_fit: bool | None,
    keep: Path | None,
    jobs: int | None,
    json: bool,
    quiet: bool,
    place: Any = None,
) -> None:
    load_deepchem()
    from deepchem_dft.runs.advice import warn
    from deepchem_dft.runs.reactions.energies import as_data, energies
    from deepchem_dft.scf.many import Solver
    from deepchem_dft.scf.solutions import Functional

    warn(
        {
            term.name: term.system.to_molecule(0)
            for one in reactions
            for _, term in one.terms
            if term.system is not None
        },
        xc or _USUAL,
    )
    functionals = [Functional.named(name) for name in dict.fromkeys(xc or _USUAL)]
    with Solver(jobs, cache=keep) as solver, solution_progress("solving", quiet) as show:
        tell_of_kept(solver, keep)
        found = energies(
            reactions,
            functionals,
            solver,
            grid_level=grid_level,
            density_fit=density_fit,
            surroundings=place,
            on_solution=show,
        )
    where = None if place is None else place.description
    if json:
        options.print_json(as_data(found, basis=basis, grid_level=grid_level, surroundings=where))
    else:
        _print(reactions, found, f"{basis}, grid level {grid_level}" + (f", in {where}" if where else ""))
    bad = [f"{text} with {row.functional}" for row in found for text in row.unconverged]
    if bad:
        from deepchem_dft.errors import SCFNotConverged

        raise SCFNotConverged(f"{len(bad)} did not converge: {'; '.join(bad[:10])}")


def _print(reactions: "Sequence[Reaction]", found: "Sequence[ReactionEnergy]", method: str) -> None:
    from deepchem_dft.runs.tables import markdown_table
    from deepchem_dft.units import HARTREE_TO_KCAL

    out = console()
    out.print(f"basis: {method}\n", markup=False)
    out.print(_species_table(reactions), markup=False)
    out.print("\nenergies of the electrons, kcal/mol\n", markup=False)
    uncertain = any(row.uncertainty is not None for row in found)
    header = ["reaction", "functional", "left", "right", "right - left"]
    header += ["uncertainty of the difference"] * uncertain
    rows = []
    for one in reactions:
        for row in found:
            if row.reaction is not one:
                continue
            values = [row.left, row.right, row.energy]
            cells = ["-" if math.isnan(v) else f"{v * HARTREE_TO_KCAL:.2f}" for v in values]
            if uncertain:
                spread = row.uncertainty
                cells.append("-" if spread is None else f"{spread * HARTREE_TO_KCAL:.2f}")
            rows.append([one.formulas, row.functional, *cells])
    out.print(markdown_table(header, rows), markup=False)
    for note in dict.fromkeys(f"NOTE: {row.functional}, {note}" for row in found for note in row.notes):
        out.print(note, markup=False)


def _species_table(reactions: "Sequence[Reaction]") -> str:
    from deepchem_dft.molecule.geometry import formula
    from deepchem_dft.runs.tables import markdown_table

    rows: list[list[Any]] = []
    for term in dict.fromkeys(replace(t, count=1.0) for one in reactions for _, t in one.terms):
        if term.system is None:
            continue
        system = term.system
        row = [
            term.name,
            formula(system.symbols, float(system.charge)),
            f"{system.charge:+g}",
            f"{system.spin + 1:g}" + (" (assumed)" if term.assumed else ""),
            "RDKit, force field" if term.made else "as given",
        ]
        rows.append(row)
    return markdown_table(["species", "formula", "charge", "2S+1", "geometry"], rows)
