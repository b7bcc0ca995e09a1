"""What commands share: consoles, progress bars, quiet imports, arguments into objects."""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepchem_dft.errors import InputError
from deepchem_dft.sinks import one_line, printable

if TYPE_CHECKING:
    from rich.console import Console


def console(stderr: bool = False) -> "Console":
    """Return a console that neither wraps nor colours when the output is not a terminal.

    Text is printed as it is, without what a terminal would obey: names come out of files.
    """
    from rich.console import Console

    class InertConsole(Console):
        def print(self, *objects: Any, **options: Any) -> None:
            options["markup"] = False
            super().print(*(printable(o) if isinstance(o, str) else o for o in objects), **options)

    # Jupyter's and CI's FORCE_COLOR make no terminal of a pipe; ":Cl:" of a name would be a picture to rich.
    stream = sys.stderr if stderr else sys.stdout
    there = stream is not None and stream.isatty()
    wide: dict[str, Any] = {} if there else {"width": 200, "soft_wrap": True}
    return InertConsole(stderr=stderr, highlight=False, emoji=False, force_terminal=there, **wide)


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
    """Silence what DeepChem and its dependencies say about packages they do not find."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)


def load_deepchem() -> None:
    """Import DeepChem and this package's data and models without their noise."""
    with quiet_imports():
        import deepchem  # noqa: F401

        from deepchem_dft import data, models  # noqa: F401


@contextlib.contextmanager
def solution_progress(title: str, quiet: bool = False) -> Iterator[Callable[..., None] | None]:
    """Show how many self-consistent fields are solved: a bar, or lines if not a terminal.

    Yields
    ------
    callable or None
        The ``on_solution`` of :meth:`deepchem_dft.scf.many.Solver.solve`.
    """
    if quiet:
        yield None
        return
    out = console(stderr=True)
    if out.is_terminal:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        with Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[last]}", markup=False),
            console=out,
            transient=True,
        ) as progress:
            task = progress.add_task(title, total=None, last="")

            def show(solution: Any, done: int, total: int) -> None:
                progress.update(task, completed=done, total=total, last=one_line(solution.name))

            yield show
        return

    def tell(solution: Any, done: int, total: int) -> None:
        if done == total or done % max(1, total // 10) == 0:
            out.print(f"{title}: {done}/{total}")

    yield tell


def tell_of_kept(solver: Any, keep: Path | None) -> None:
    """Say how many solutions a file of them holds already."""
    if keep is not None and len(solver.cache):
        what = "1 solution is" if len(solver.cache) == 1 else f"{len(solver.cache)} solutions are"
        console(stderr=True).print(f"{keep}: {what} known", markup=False)


def check_out(path: Path | None) -> None:
    """Raise unless a file can be written there, before anything is computed for it.

    Raises
    ------
    InputError
        For a folder, or one that does not exist.
    StorageError
        If the system refuses.
    """
    from deepchem_dft.files import check_writable

    if path is None:
        return
    if os.path.isdir(path):
        raise InputError("this is a folder", file=str(path), field="out", remedy="add the name of a file")
    if not os.path.isdir(path.resolve().parent):
        raise InputError(
            "the folder does not exist", file=str(path), field="out", remedy="make it, or choose another"
        )
    check_writable(path)


def check_geometry_name(path: Path | None, field: str = "out", endings: tuple[str, ...] = (".xyz",)) -> None:
    """Raise InputError unless a geometry can be written under this name."""
    if path is not None and path.suffix.lower() not in endings:
        raise InputError(
            f"cannot write a geometry as '{path.suffix or path.name}'",
            file=str(path),
            field=field,
            remedy="end the name with .xyz",
        )


def functional_from_run(run: Path) -> Any:
    """Return the functional trained in a run directory."""
    load_deepchem()
    from deepchem_dft.runs import load_functional

    return load_functional(run)


def uncertainty_text(functional: Any, result: Any) -> str:
    """Return the uncertainty of an ensemble's total energy and where it comes from, or nothing."""
    from deepchem_dft.units import HARTREE_TO_KCAL
    from deepchem_dft.xc.ensemble import EnsembleXC

    if not isinstance(functional, EnsembleXC) or not result.converged:
        return ""
    value = functional.uncertainty(result) * HARTREE_TO_KCAL
    floor = f", {functional.floor * HARTREE_TO_KCAL:.3g} kcal/mol in quadrature" if functional.floor else ""
    return (
        f"{value:.3f} kcal/mol of this total energy ({functional.calibration:.3g} x standard "
        f"deviation of {len(functional)} members{floor}; less of most differences)"
    )


def state_text(result: Any) -> str:
    """Return which kind of state was found, in words."""
    pure = result.molecule.spin / 2 * (result.molecule.spin / 2 + 1)
    text = (
        "restricted, closed shell"
        if result.restricted
        else (f"unrestricted, <S^2> = {result.spin_square:.4f} (pure: {pure:.4f})")
    )
    lowered = getattr(result, "findings", None) and result.findings.lowered  # DQC finds nothing
    if lowered and lowered > 1e-6:
        text += f"; {lowered:.5f} Ha below that of the usual start"
    if getattr(result, "stability", None) is not None:
        text += f"; {result.stability}"
    return text


def hamiltonian_model(source: Path) -> Any:
    """Return the model of a run on Hamiltonians, a folder of checkpoints, the zoo, or a file."""
    load_deepchem()
    from deepchem_dft.models import HamiltonianModel, HamiltonianPolynomial
    from deepchem_dft.runs import load_model

    if str(source).lower().startswith("zoo:") or source.suffix == ".safetensors":
        from deepchem_dft import zoo
        from deepchem_dft.zoo.cards import KINDS

        if (kind := zoo.card(source).kind) != "hamiltonian":
            raise InputError(
                f"this is a {KINDS[kind]}",
                file=str(source),
                field="guess",
                remedy="give a model of Hamiltonians: 'deepchem-dft zoo list'",
            )
        return zoo.load(source)
    if os.path.isfile(source) and HamiltonianPolynomial.wrote(source):
        return HamiltonianPolynomial.load(source)
    if not os.path.isfile(source / "config.yaml"):
        return HamiltonianModel.load(str(source))
    model = load_model(source)
    if not isinstance(model, HamiltonianModel):
        raise InputError(
            "this run has trained no model of Hamiltonians",
            file=str(source),
            field="guess",
            remedy="give a run with 'model: hamiltonian'",
        )
    return model


def dataset_ref(text: str, **filters: Any) -> Any:
    """Return a checked reference to a data set: a name, or a file if it looks like one."""
    from pydantic import ValidationError

    from deepchem_dft.runs.config import as_input_error
    from deepchem_dft.runs.xc.schema import DatasetRef
    from deepchem_dft.runs.xc.selection import dataset_path, selection

    kept = {key: value for key, value in filters.items() if value not in (None, [])}
    if text.endswith((".yaml", ".yml")) or "/" in text:
        if not os.path.isfile(text):
            raise InputError("the file does not exist", file=text, remedy="check the path")
        return DatasetRef(file=text, **kept)
    fields = selection(text)
    dataset_path(fields["dataset"])  # an unknown name is reported with the closest known one
    try:
        return DatasetRef(**{**fields, **kept})
    except ValidationError as error:
        raise as_input_error(error) from None
