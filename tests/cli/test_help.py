"""Help: complete, with examples, and quick because nothing heavy is imported."""

import subprocess
import sys

import pytest

COMMANDS = [
    "train",
    "evaluate",
    "predict",
    "scf",
    "reaction",
    "atomisation",
    "optimize",
    "frequencies",
    "scan",
    "curve",
    "install-dqc",
    "data check",
    "data densities",
    "data ksr",
    "data label",
    "data list",
    "export",
    "report",
    "zoo list",
    "zoo show",
]


def test_root_help_names_every_command(command):
    outcome = command("--help")
    assert outcome.status == 0
    for name in COMMANDS:
        assert name.split()[0] in outcome.out


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_examples(command, name):
    outcome = command(*name.split(), "--help")
    assert outcome.status == 0
    assert "Examples" in outcome.out and f"deepchem-dft {name}" in outcome.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name):
    """An option without a help text shows up as an empty cell: look at the declarations."""
    import typer

    from deepchem_dft.cli import app

    node = typer.main.get_command(app)
    for part in name.split():
        node = node.commands[part]
    for parameter in node.params:
        if parameter.name != "help":
            assert parameter.help, f"{name}: {parameter.name}"


def test_version(command):
    from deepchem_dft import __version__

    assert command("--version").out.strip() == f"deepchem-dft {__version__}"


def test_help_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['deepchem-dft', 'train', '--help']\n"
        "from deepchem_dft.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'deepchem', 'pyscf', 'numpy', 'matplotlib'} & sys.modules.keys()\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "deepchem_dft", "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and "deepchem-dft" in done.stdout
