"""``deepchem-dft prepare``: the densities that a training needs, in one file."""

from pathlib import Path

import typer

from deepchem_dft.cli import options
from deepchem_dft.cli.common import check_out, console, load_deepchem
from deepchem_dft.cli.train import reporter_of


def prepare(
    config: Path = typer.Argument(..., help="YAML configuration of a training (see 'train')."),
    overrides: list[str] | None = typer.Argument(None, help="Changes such as data.train.0.max_heavy=2."),
    out: Path = typer.Option(..., "--out", help="The file to write (zip)."),
    work: Path | None = typer.Option(
        None, "--work", help="Folder of what is found on the way. Default: the file's name with .parts."
    ),
    jobs: int | None = options.JOBS,
    pack_only: bool = typer.Option(
        False, "--pack-only", help="Solve nothing: pack what has been found so far."
    ),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="Print the result only."),
) -> None:
    """Solve the systems of a training and pack their densities into one file.

    `data.prepared: FILE` in a configuration then spares the training this work, on any machine. Killed or out
    of disk, the same command goes on where it was; with more data in the configuration it solves
    what is new. Several processes share the systems under torchrun.

    Examples:

    - `deepchem-dft prepare my.yaml --out my.zip`

    - `torchrun --nproc-per-node 2 -m deepchem_dft prepare my.yaml --out my.zip`
    """
    from deepchem_dft.errors import InputError
    from deepchem_dft.runs.config import load_config
    from deepchem_dft.runs.xc.schema import RunConfig

    check_out(out)
    settings = load_config(config, overrides)
    if not isinstance(settings, RunConfig):
        raise InputError(
            "only functionals of real molecules are trained at fixed densities",
            file=str(config),
            field="model",
            remedy="give a configuration without 'model'",
        )
    load_deepchem()
    from deepchem_dft.runs.xc.prepared import prepare as make

    made = make(
        settings, out, work or out.with_name(out.name + ".parts"), reporter_of(quiet), jobs, not pack_only
    )
    screen = console()
    for name in made.unconverged[:20]:
        screen.print(f"not converged, not in the file: {name}", markup=False)
    if len(made.unconverged) > 20:
        screen.print(f"and {len(made.unconverged) - 20} more", markup=False)
    each = made.size / 1024 / max(made.systems, 1)
    screen.print(
        f"written: {out} ({made.systems} systems, {made.size / 1e6:.1f} MB, {each:.1f} kB each, "
        f"{made.seconds:.0f} CPU seconds of self-consistent fields)",
        markup=False,
    )
