"""``deepchem-dft data``: check files, make densities and labels, list what is there."""

from pathlib import Path

import typer

from deepchem_dft.cli.common import console, quiet_imports
from deepchem_dft.cli.hamiltonian import hamiltonian
from deepchem_dft.cli.label import label
from deepchem_dft.cli.lattice import ksr

app = typer.Typer(
    help="Check data files, make reference densities, labels and Hamiltonians, list data sets.",
    no_args_is_help=True,
)
app.command("label")(label)
app.command("hamiltonian")(hamiltonian)
app.command("ksr")(ksr)


@app.command("check")
def check(
    files: list[str] = typer.Argument(
        ..., help="YAML files, folders or patterns, or names of the package's data sets."
    ),
) -> None:
    """Check data files in any of the three schemas and name every problem.

    Exit status 1 if there is one. Nothing is computed.

    Examples:

    - `deepchem-dft data check my.yaml`

    - `deepchem-dft data check "datasets/*.yaml"`

    - `deepchem-dft data check w4-11`
    """
    with quiet_imports():
        from deepchem_dft.data.reading.reader import advice, find_files, read_yaml
        from deepchem_dft.data.reading.reader import check as find_problems
        from deepchem_dft.runs.xc.selection import board_names, dataset_names, dataset_path
    import warnings

    packaged = set(dataset_names()) - set(board_names())
    named = {str(dataset_path(f)) if f in packaged and not Path(f).exists() else f: f for f in files}

    out, error = console(), console(stderr=True)
    problems = find_problems(list(named))
    for problem in problems:
        error.print(f"error: {problem}", markup=False)
    if problems:
        number = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"
        error.print(f"{number} found", markup=False)
        raise typer.Exit(1)
    for file in find_files(list(named)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            entries = read_yaml(file)
        kinds = {
            kind: sum(e.entry_type == kind for e in entries)
            for kind in dict.fromkeys(e.entry_type for e in entries)
        }
        counts = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        systems = len({s.key for e in entries for s in e.get_systems()})
        name = named.get(file, file)
        out.print(f"{name}: {counts}; {systems} different systems; no problems", markup=False)
        for text in advice(entries):
            error.print(f"warning: {name}: {text}", markup=False)


@app.command("densities")
def densities(
    file: str = typer.Argument(..., help="YAML file of entries."),
    out: Path = typer.Option(Path("densities"), "--out", help="Folder to write into."),
    kind: str | None = typer.Option(
        None,
        "--kind",
        help="dens or dm: one for every system. Default: what entries with 'value: ccsd' ask for.",
    ),
    grid_level: int = typer.Option(
        3, "--grid-level", min=0, max=9, help="PySCF's quadrature level (for dens)."
    ),
) -> None:
    """Make reference densities at CCSD level with PySCF.

    Writes NAME.npz (points in Bohr, weights in Bohr^3, density in electrons/Bohr^3) or NAME.npy
    (density matrix) per system, and densities.yaml with entries that use them.

    Examples:

    - `deepchem-dft data densities my.yaml --out densities`

    - `deepchem-dft data densities my.yaml --kind dm --out matrices`
    """
    with quiet_imports():
        from deepchem_dft.data.density_files import make_densities
    error = console(stderr=True)

    def show(done: int, total: int, name: str) -> None:
        error.print(f"{done}/{total} {name}", markup=False)

    for path in make_densities(file, out, kind, grid_level=grid_level, progress=show):
        console().print(f"written: {path}", markup=False)


@app.command("list")
def list_() -> None:
    """List the data sets of the package.

    Examples:

    - `deepchem-dft data list`
    """
    from deepchem_dft.runs.tables import markdown_table
    from deepchem_dft.runs.xc.contents import contents

    rows = [
        [one.name, str(one.entries), ", ".join(one.types), " / ".join(map(str, one.splits)) or "-"]
        for one in contents()
    ]
    header = ["data set", "entries", "types", "train / valid / test"]
    console().print(markdown_table(header, rows), markup=False)
