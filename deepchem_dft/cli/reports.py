"""``deepchem-dft report``: what runs have found, as one page to look at."""

from pathlib import Path

import typer

from deepchem_dft.cli.common import check_out, console, load_deepchem


def report(
    runs: list[Path] = typer.Argument(..., help="Run directories, of any kind."),
    out: Path = typer.Option(Path("report.html"), "--out", help="The HTML file to write."),
    title: str | None = typer.Option(None, "--title", help="Heading. Default: the runs' names."),
) -> None:
    """Write one HTML file with the tables and figures of one run, or of several to compare.

    It needs no network and no other file: mail it, or open it on a phone. Tables sort and filter,
    points of charts say which molecule they are. Unfinished runs show what they have.

    Examples:

    - `deepchem-dft report runs/pbe_mgga`

    - `deepchem-dft report runs/a runs/b --out comparison.html --title "L1 against L2"`
    """
    check_out(out)
    screen, log = console(), console(stderr=True)
    load_deepchem()
    from deepchem_dft.runs.report import write_report

    written = write_report(runs, out, title, lambda text: log.print(text, markup=False))
    for note in written.notes:
        screen.print(f"missing: {note}", markup=False)
    size = written.path.stat().st_size / 1024
    screen.print(f"written: {written.path} ({size:.0f} KiB)", markup=False)
