"""``deepchem-dft train``: a configuration in, a run directory with everything out."""

from pathlib import Path
from typing import Any

import typer

from deepchem_dft.cli.common import console, load_deepchem
from deepchem_dft.cli.processes import remedy_if_terminated, report
from deepchem_dft.errors import ProcessLost


def _print_keys(wanted: bool) -> None:
    if wanted:
        from deepchem_dft.runs.reference import keys_text

        typer.echo(keys_text())
        raise typer.Exit()


def _print_examples(wanted: bool) -> None:
    if wanted:
        from deepchem_dft.runs import examples

        typer.echo("\n".join(examples.names()))
        raise typer.Exit()


def train(
    config: Path | None = typer.Argument(None, help="YAML configuration, unless --example names one."),
    overrides: list[str] | None = typer.Argument(
        None, help="Changes such as training.epochs=5 or data.train.0.max_heavy=2."
    ),
    run_dir: Path | None = typer.Option(
        None, "--run-dir", help="Run directory. Default: output.dir, or runs/NAME."
    ),
    resume: bool = typer.Option(
        False, "--resume", help="Go on with an unfinished run of the same configuration."
    ),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="Print the results only."),
    example: str | None = typer.Option(
        None, "--example", help="A configuration that comes with the package; --examples lists them."
    ),
    examples: bool = typer.Option(
        False,
        "--examples",
        callback=_print_examples,
        is_eager=True,
        help="Print the names of the configurations that come with the package, and exit.",
    ),
    keys: bool = typer.Option(
        False,
        "--keys",
        callback=_print_keys,
        is_eager=True,
        help="Print every key of the configuration with its default and meaning, and exit.",
    ),
) -> None:
    """Train a functional, evaluate it against the baselines, draw figures.

    The run directory holds config.yaml, versions.json, data.json (with its hash), log.txt,
    history.csv, results.md and results.csv (kcal/mol), entries.csv, plots/, and the model.
    Ctrl-C leaves a checkpoint; the same command with --resume goes on from there. Several
    processes share the work under torchrun, as `evaluate` and `predict` do.

    Examples:

    - `deepchem-dft train --example train_pbe_mgga`

    - `deepchem-dft train --example train_pbe_mgga training.stages.0.epochs=5 --run-dir runs/short`

    - `deepchem-dft train examples/train_pbe_mgga.yaml` (in a checkout)

    - `deepchem-dft train examples/hamiltonian/water.yaml network.form=equilibrium-delta`

    - `deepchem-dft train my.yaml training.epochs=5 training.learning_rate=1e-4 --run-dir runs/a`

    - `deepchem-dft train my.yaml --run-dir runs/a --resume`

    - `torchrun --nproc-per-node 2 -m deepchem_dft train my.yaml`

    - `deepchem-dft train --keys`
    """
    from deepchem_dft.runs.config import load_config

    asked = str(config or "")
    if example is not None:
        # all that is not an option is a change then
        overrides = [*([str(config)] if config is not None else []), *(overrides or [])]
        asked = f"--example {example}"
    config = _configuration(config, example)
    settings = load_config(config, overrides)
    load_deepchem()
    from deepchem_dft.runs import run
    from deepchem_dft.runs.pipeline import default_directory

    directory = run_dir or default_directory(settings)
    reporter = reporter_of(quiet)
    again = (
        f"go on with: deepchem-dft train {asked} {' '.join([*(overrides or []), ''])}"
        f"--run-dir {directory} --resume"
    )
    several = f" Remedy: {again} (any number of processes will do)"
    remedy_if_terminated(several)
    try:
        result = run(settings, directory, resume=resume, reporter=reporter)
    except ProcessLost as error:
        raise ProcessLost(str(error).partition(" Remedy: ")[0] + several) from error
    except KeyboardInterrupt:
        report(f"\ninterrupted; {again}")
        raise typer.Exit(130) from None
    out = console()
    out.print(result.markdown, markup=False)
    out.print(f"run directory: {directory}", markup=False)


def _configuration(config: Path | None, example: str | None) -> Path:
    """Return the file to read: the one given, or that of an example."""
    from deepchem_dft.errors import InputError
    from deepchem_dft.runs import examples

    if example is not None:
        return examples.find(example)
    if config is None:
        raise InputError(
            "there is no configuration to train",
            field="config",
            remedy="name a YAML file, or one that comes with the package: --example train_pbe_mgga",
        )
    name = config.with_suffix("").as_posix().removeprefix("examples/")
    if not config.exists() and name in examples.names():
        raise InputError(
            "the file does not exist",
            file=str(config),
            field="config",
            remedy=f"it comes with the package: deepchem-dft train --example {name}",
        )
    return config


def reporter_of(quiet: bool) -> Any:
    """Return what shows progress: bars on a terminal, lines elsewhere, nothing if quiet."""
    from deepchem_dft.cli.progress import BarReporter, LineReporter
    from deepchem_dft.fitting.progress import Reporter

    if quiet:
        return Reporter()
    screen = console(stderr=True)
    return BarReporter(screen) if screen.is_terminal else LineReporter(screen)
