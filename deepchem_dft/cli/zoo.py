"""``deepchem-dft zoo`` and ``export``: trained functionals to look at, and to hand on."""

from pathlib import Path

import typer

from deepchem_dft.cli.common import check_out, console, load_deepchem

app = typer.Typer(help="List trained functionals and networks, show their cards.", no_args_is_help=True)
_FOLDER = typer.Option(
    None, "--folder", help="Look here only. Default: DEEPCHEM_DFT_ZOO, and those of the package."
)


@app.command("list")
def list_models(folder: Path | None = _FOLDER) -> None:
    """List all models with a sentence on each.

    Exit status 1 if a card cannot be read.

    Examples:

    - `deepchem-dft zoo list`

    - `deepchem-dft zoo list --folder my-functionals`
    """
    from deepchem_dft import zoo
    from deepchem_dft.errors import CheckpointError
    from deepchem_dft.zoo.cards import list_text

    cards, problems = [], []
    for name in zoo.names(folder):
        try:
            cards.append(zoo.card(name, folder))
        except CheckpointError as error:
            problems.append(str(error))
    if cards:
        console().print(list_text(cards), markup=False)
    elif not problems:
        console().print("the zoo is empty", markup=False)
    for problem in problems:
        console(stderr=True).print(f"error: {problem}", markup=False)
    if problems:
        raise typer.Exit(1)


@app.command("show")
def show(
    name: str = typer.Argument(..., help="Name in the zoo, or file of a card or of weights."),
    folder: Path | None = _FOLDER,
    json: bool = typer.Option(False, "--json", help="Print the card as JSON."),
) -> None:
    """Show the card of a model: training data, errors, known failures, form.

    Examples:

    - `deepchem-dft zoo show NAME`

    - `deepchem-dft zoo show NAME --json`
    """
    from json import dumps

    from deepchem_dft import zoo

    card = zoo.card(name, folder)
    text = dumps(card.to_dict(), indent=1) if json else card.text().rstrip("\n")
    console().print(text, markup=False)


def export(
    source: str = typer.Argument(..., help="Run directory, name in the zoo, or file."),
    to: Path = typer.Option(..., "--to", help="File NAME.safetensors, or a folder."),
    summary: str | None = typer.Option(None, "--summary", help="One sentence for the card."),
) -> None:
    """Write a trained model to a file of weights and a card, for others to use.

    Nothing in these files is ever executed. `--xc NAME.safetensors` uses them.

    Examples:

    - `deepchem-dft export runs/pbe_mgga --to mine.safetensors`

    - `deepchem-dft export NAME --to copy.safetensors`
    """
    check_out(to / "model.safetensors" if to.is_dir() else to)
    load_deepchem()
    from deepchem_dft.runs.card import export as write

    card = write(source, to, summary)
    out, to = console(), to / str(card.weights["file"]) if to.is_dir() else to
    out.print(f"written: {to} ({card.weights['parameters']} parameters)", markup=False)
    out.print(f"written: {to.with_suffix('.json')}", markup=False)
