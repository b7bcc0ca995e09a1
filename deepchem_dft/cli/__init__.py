"""The ``deepchem-dft`` command: one module per group of commands, heavy imports inside them."""

import os
import sys
import warnings

import typer

from deepchem_dft import parallel
from deepchem_dft.cli import board, curve, data, dqc, evaluate, optimize, prepare, reports, train, zoo
from deepchem_dft.cli.molecules import frequencies, reaction, scan, scf
from deepchem_dft.cli.processes import Terminated, one_of_several, report
from deepchem_dft.errors import DeepChemDFTError, InputError
from deepchem_dft.files import refusal
from deepchem_dft.needs import how_to_get
from deepchem_dft.sinks import printable

app = typer.Typer(
    name="deepchem-dft",
    help="Train, test and use neural exchange-correlation functionals.",
    epilog="Energies are printed with their units. Set DEEPCHEM_DFT_DEBUG=1 for full tracebacks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        from deepchem_dft import __version__

        typer.echo(f"deepchem-dft {__version__}")
        raise typer.Exit()


#: Commands whose work several processes share.
_SHARED = ("train", "evaluate", "predict", "curve", "board", "prepare")


@app.callback()
def _root(
    context: typer.Context,
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    name = context.invoked_subcommand
    if parallel.launched() and name not in _SHARED:
        more = " (some commands have --jobs)" if name == "data" else ""
        raise InputError(
            f"'{name}' works in one process", remedy=f"start the same command without torchrun{more}"
        )


app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("prepare")(prepare.prepare)
app.command("predict")(evaluate.predict)
app.command("board")(board.board)
app.command("scf")(scf.scf)
app.command("reaction")(reaction.reaction)
app.command("atomisation")(reaction.atomisation)
app.command("optimize")(optimize.optimize)
app.command("frequencies")(frequencies.frequencies)
app.command("scan")(scan.scan)
app.command("curve")(curve.curve)
app.command("export")(zoo.export)
app.command("report")(reports.report)
app.add_typer(zoo.app, name="zoo")
app.add_typer(data.app, name="data")
app.command("install-dqc")(dqc.install_dqc)


def main() -> None:
    """Run the command line; known errors become one line on stderr and exit status 1.

    Of several processes under torchrun, one prints.
    """
    _show_own_warnings()
    debug = os.environ.get("DEEPCHEM_DFT_DEBUG", "") not in ("", "0")
    try:
        with one_of_several():
            try:
                app()
            finally:
                _flush()
    except BrokenPipeError:  # of a reader that has seen enough, such as head
        _silence()
        sys.exit(1)
    except Terminated as end:
        report(f"error: {end}")
        sys.exit(143)
    except DeepChemDFTError as error:
        if debug:
            raise
        _complain(str(error))
    except MemoryError:
        if debug:
            raise
        _complain("out of memory. Remedy: a smaller basis, fewer processes, or a larger machine.")
    except OSError as error:  # what was not foreseen where it happened
        if debug:
            raise
        _flush()
        _complain(str(refusal(error, "a file, or the standard output", "read or written")))
    except ModuleNotFoundError as error:
        if debug or (text := how_to_get(error)) is None:
            raise
        _complain(text)
    except Exception as error:
        if debug:
            raise
        _complain(
            f"unexpected {type(error).__name__}: {error}\n"
            "This is a fault of the program, not of your input. Set DEEPCHEM_DFT_DEBUG=1 to see "
            "where it happened, and please report it."
        )


def _show_own_warnings() -> None:
    """Print this package's warnings as plain lines, and nobody else's."""
    warnings.simplefilter("ignore")
    warnings.filterwarnings("default", category=UserWarning, module=r"deepchem_dft(\.|$)")

    def show(message: Warning | str, *_: object, **__: object) -> None:
        print(printable(f"warning: {message}"), file=sys.stderr)

    warnings.showwarning = show  # type: ignore[assignment]


def _flush() -> None:
    """Write what is waiting for the standard output, or say that this is where it failed."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _silence()
        _complain(str(refusal(error, "standard output")))


def _silence() -> None:
    """Let nothing more be written to a standard output that does not take it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _complain(message: str) -> None:
    report(f"error: {message}")
    sys.exit(1)
