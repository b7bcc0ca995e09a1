"""``deepchem-dft data ksr``: exact energies and densities of one-dimensional molecules."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from deepchem_dft.checks import choice
from deepchem_dft.cli.common import check_out, console, quiet_imports

if TYPE_CHECKING:
    from deepchem_dft.lattice.exact import ExactState

_PAPER = ("h2_plus", "h2", "h4", "h2h2")
_COLUMNS = ["name", "electrons", "energy", "total_energy", "wall_error", "orbitals"]


def ksr(
    families: list[str] = typer.Argument(
        None, help="Families of molecules. Default: those of the paper, h2_plus h2 h4 h2h2."
    ),
    at: list[float] = typer.Option(
        None,
        "--at",
        help="Distance in Bohr (of ions: nuclear charge); may be repeated. "
        "Default: the separations of the paper.",
    ),
    everything: bool = typer.Option(False, "--all", help="All separations, 0.08 Bohr apart."),
    out: Path | None = typer.Option(
        None, "--out", help="Write energies (.csv), or energies and densities (.npz)."
    ),
    orbitals: int | None = typer.Option(
        None, "--orbitals", min=2, help="Natural orbitals for three and four electrons."
    ),
    points: int = typer.Option(513, "--points", min=10, help="Points of the grid."),
    spacing: float = typer.Option(0.08, "--spacing", help="Spacing of the grid, Bohr."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="Show no progress."),
) -> None:
    """Make exact energies and densities of one-dimensional molecules.

    They are kept in the cache, where `load_ksr` finds them. Energies in Hartree: of the electrons,
    and with the repulsion of the nuclei. Families: h2_plus, h2, h3_plus, h3, h4, h2h2, heh_plus,
    lih, beh_plus, hydrogen_like, helium_like, lithium_like, beryllium_like.

    Examples:

    - `deepchem-dft data ksr`

    - `deepchem-dft data ksr h2 --all --out h2.npz`

    - `deepchem-dft data ksr lih --at 2.4 --at 3.2`
    """
    from deepchem_dft.errors import InputError

    check_out(out)
    if out is not None and out.suffix not in (".csv", ".npz"):
        raise InputError(
            f"{out.suffix or 'no suffix'} is no kind of file",
            file=str(out),
            field="out",
            remedy="use .csv or .npz",
        )
    with quiet_imports():
        from deepchem_dft.lattice.exact import ORBITALS, exact
        from deepchem_dft.lattice.grid import Grid
        from deepchem_dft.lattice.systems import CURVE, FAMILIES, TEST, TRAIN, VALID
        from deepchem_dft.runs.tables import markdown_table
    grid = Grid(points, spacing)
    systems = []
    for family in families or _PAPER:
        choice(family, FAMILIES, "families", "family")
        paper = {*TRAIN.get(family, ()), *VALID.get(family, ()), *TEST.get(family, ())}
        distances = at or (CURVE[family] if everything or not paper else sorted(paper))
        systems += [FAMILIES[family](distance) for distance in distances]
    error, states = console(stderr=True), []
    for done, system in enumerate(systems, 1):
        states.append(exact(system, grid, orbitals or ORBITALS))
        if not quiet and (done == len(systems) or done % 10 == 0):
            error.print(f"{done}/{len(systems)} {system.name}", markup=False)
    if out is not None:
        _write(states, out)
    rows = [[str(value) for value in _row(state)] for state in states]
    console().print(markdown_table(_COLUMNS, rows), markup=False)
    if out is not None:
        console().print(f"written: {out}", markup=False)


def _row(state: "ExactState") -> list[object]:
    return [
        state.system.name,
        state.system.electrons,
        f"{state.energy:.8f}",
        f"{state.total_energy:.8f}",
        f"{state.wall_error:.0e}",
        state.orbitals or "-",
    ]


def _write(states: "list[ExactState]", path: Path) -> None:
    import numpy as np

    from deepchem_dft.files import write
    from deepchem_dft.runs.tables import csv_text

    if path.suffix == ".csv":
        write(path, csv_text([_COLUMNS, *map(_row, states)]))
        return
    raw = io.BytesIO()
    np.savez(
        raw,
        names=np.array([s.system.name for s in states]),
        x=states[0].grid.x.numpy(),
        energies=np.array([s.energy for s in states]),
        total_energies=np.array([s.total_energy for s in states]),
        spin_densities=np.stack([s.spin_density for s in states]),
    )
    write(path, raw.getvalue())
