"""``deepchem-dft data label``: GFN2-xTB labels for a file of molecules."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer

from deepchem_dft.cli.common import check_out, console


def label(
    file: Path = typer.Argument(..., help="SMILES (.smi), .sdf or .xyz file, or one of them .gz."),
    out: Path = typer.Option(..., "--out", help="CSV file of labels to write."),
    jobs: int = typer.Option(1, "--jobs", min=1, help="Number of processes."),
    resume: bool = typer.Option(False, "--resume", help="Go on where a run was stopped."),
    relax: bool = typer.Option(
        False, "--relax", help="Relax each geometry with GFN2-xTB (some 5 times slower)."
    ),
    conformers: int = typer.Option(10, "--conformers", min=1, help="Conformers to choose the lowest of."),
    seed: int = typer.Option(0, "--seed", min=0, help="Of the conformers."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="Show no progress."),
) -> None:
    """Compute dipole moments, HOMO-LUMO gaps and energies with GFN2-xTB.

    SMILES get a geometry by RDKit (ETKDG, MMFF94); three-dimensional SDF records and XYZ frames
    keep theirs. A molecule that cannot be done is written down with the reason. Ctrl-C and worse
    lose nothing: `--resume` goes on.

    Examples:

    - `deepchem-dft data label molecules.smi --out labels.csv --jobs 4`

    - `deepchem-dft data label molecules.smi --out labels.csv --jobs 4 --resume`
    """
    from deepchem_dft.data.properties.labelling import GeometryRecipe, label_file

    check_out(out)
    recipe = GeometryRecipe(seed=seed, conformers=conformers, relax=relax)
    try:
        with tally_progress(quiet) as show:
            count = label_file(file, out, jobs=jobs, resume=resume, recipe=recipe, progress=show)
    except KeyboardInterrupt:
        console(stderr=True).print("stopped; the same command with --resume goes on", markup=False)
        raise typer.Exit(130) from None
    labelled = count.done - count.failed
    text = f"{out}: {labelled} of {count.total} molecules labelled"
    if count.failed:
        text += f", {count.failed} could not be (see the column 'problem')"
    if count.resumed:
        text += f"; {count.resumed} were there already"
    console().print(text, markup=False)


@contextlib.contextmanager
def tally_progress(
    quiet: bool, title: str = "labelling", line: str = "labelled {}/{} molecules, {} failed"
) -> Iterator[Callable[[Any], None] | None]:
    """Show how far it is: a bar, or a line now and then where there is no terminal."""
    out = console(stderr=True)
    if quiet:
        yield None
    elif out.is_terminal:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        with Progress(
            TextColumn(title),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}", markup=False),
            console=out,
        ) as bar:
            task = bar.add_task("", total=None, text="")

            def move(count: Any) -> None:
                text = f"{count.failed} failed" if count.failed else ""
                bar.update(task, completed=count.done, total=count.total, text=text)

            yield move
    else:
        yield _Lines(lambda text: out.print(text, markup=False), line)


class _Lines:
    """Say at the beginning, at the end and in between how many molecules are done."""

    def __init__(self, say: Callable[[str], None], line: str, interval: float = 10.0) -> None:
        self.say, self.line, self.interval = say, line, interval
        self.next = 0.0

    def __call__(self, count: Any) -> None:
        if count.done == count.total or time.monotonic() >= self.next:
            self.next = time.monotonic() + self.interval
            self.say(self.line.format(count.done, count.total, count.failed))
