"""``deepchem-dft install-dqc``: DQC on Pythons its wheels were not made for."""

import typer


def install_dqc(
    dry_run: bool = typer.Option(
        False, "--dry-run", help="Say what would be done; download and write nothing."
    ),
    undo: bool = typer.Option(False, "--undo", help="Remove what this command installed."),
    status: bool = typer.Option(False, "--status", help="Say what is installed."),
) -> None:
    """Install DQC, the second opinion, into this Python environment.

    Its wheels are published for Python 3.9 only but hold nothing that depends on the Python
    version. Pip installs them, checked against fixed SHA-256 digests, and what DQC imports besides
    (xitorch, h5py) if it is missing. Nothing else is touched.

    Examples:

    - `deepchem-dft install-dqc --dry-run`

    - `deepchem-dft install-dqc`

    - `deepchem-dft install-dqc --undo`
    """
    from deepchem_dft.interop.dqc import install as installer

    if status:
        for line in installer.status().lines():
            typer.echo(line)
    elif undo:
        installer.uninstall(dry_run=dry_run, say=typer.echo)
    else:
        installer.install(dry_run=dry_run, say=typer.echo)
