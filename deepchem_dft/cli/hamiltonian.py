"""``deepchem-dft data hamiltonian``: Kohn-Sham matrices of many geometries."""

from pathlib import Path

import typer

from deepchem_dft.cli.common import check_out, console, quiet_imports
from deepchem_dft.cli.label import tally_progress


def hamiltonian(
    file: Path = typer.Argument(..., help="Molecules: .xyz (each frame), .smi or .sdf, or .gz."),
    out: Path = typer.Option(..., "--out", help="HDF5 file to write."),
    xc: str = typer.Option("pbe", "--xc", help="Functional, as PySCF spells it."),
    basis: str = typer.Option("def2-svp", "--basis", help="Basis set, up to f functions."),
    sampling: str = typer.Option(
        "none",
        "--sampling",
        help="Geometries: none (those given), modes (along normal modes) or dynamics (GFN2-xTB).",
    ),
    temperature: list[float] = typer.Option(
        [300.0], "--temperature", help="Kelvin, of the sampling; may be given several times."
    ),
    samples: int = typer.Option(100, "--samples", min=1, help="Geometries per molecule and temperature."),
    charge: int | None = typer.Option(
        None, "--charge", help="Of each molecule. Default: that of the frame's comment, or 0."
    ),
    grid_level: int = typer.Option(3, "--grid-level", min=0, max=9, help="PySCF's quadrature."),
    forces: bool = typer.Option(False, "--forces", help="Forces, too (about twice the time)."),
    seed: int = typer.Option(0, "--seed", min=0, help="Of the sampling."),
    jobs: int = typer.Option(1, "--jobs", min=1, help="Number of processes."),
    resume: bool = typer.Option(False, "--resume", help="Go on where a run was stopped."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="Show no progress."),
) -> None:
    """Compute Kohn-Sham Hamiltonians with PySCF, to train a network on.

    Geometries are those of the file, or drawn at a temperature around each of them. The file has
    Hamiltonian, overlap, core Hamiltonian, guess, energy. A geometry that does not converge is
    left out, and named. Ctrl-C and worse lose nothing: `--resume` goes on.

    Examples:

    - `deepchem-dft data hamiltonian trajectory.xyz --out water.h5 --jobs 4`

    - `deepchem-dft data hamiltonian water.xyz --sampling modes --temperature 300 --temperature 500 --samples 1000 --out water.h5 --jobs 4`

    - `deepchem-dft data hamiltonian small.smi --xc b3lyp --sampling dynamics --samples 20 --out mixed.h5 --jobs 4`
    """  # noqa: E501
    with quiet_imports():
        from deepchem_dft.runs.hamiltonian.making import SamplingRecipe, make_hamiltonians

    check_out(out)
    recipe = SamplingRecipe(
        xc=xc,
        basis=basis,
        grid_level=grid_level,
        charge=charge,
        sampling=sampling,
        temperatures=tuple(temperature),
        samples=samples,
        seed=seed,
        forces=forces,
    )
    line = "computed {}/{} Hamiltonians, {} failed"
    try:
        with tally_progress(quiet, "Hamiltonians", line) as show:
            count = make_hamiltonians(file, out, jobs=jobs, resume=resume, recipe=recipe, progress=show)
    except KeyboardInterrupt:
        console(stderr=True).print("stopped; the same command with --resume goes on", markup=False)
        raise typer.Exit(130) from None
    text = f"{out}: {count.done - count.failed} of {count.total} Hamiltonians"
    if count.resumed:
        text += f"; {count.resumed} were there already"
    console().print(text, markup=False)
    for name, problem in list(count.problems.items())[:10]:
        console(stderr=True).print(f"left out: {name}: {problem}", markup=False)
    if len(count.problems) > 10:
        console(stderr=True).print(f"and {len(count.problems) - 10} more", markup=False)
