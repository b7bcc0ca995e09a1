"""A whole run: train, evaluate against the baselines, write tables and figures."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from .. import parallel
from ..errors import InputError
from ..files import write
from ..fitting.reporter import Reporter
from ..scf.many import Solver
from ..scf.solutions import Functional
from ..sinks import markdown_cell
from . import curves, plots
from .calibration import coverage_markdown, qualities
from .calibration import draw as draw_calibration
from .config import AnyConfig
from .cross_validation import CrossValidation
from .entries import EntrySet, data_hash, describe_sets, load_sets, overlap_markdown
from .evaluate import Evaluation
from .functional import is_trained, load_functional
from .hamiltonian_schema import HamiltonianRunConfig
from .ksr_schema import LatticeRunConfig
from .rundir import RunDirectory
from .schema import RunConfig
from .tables import (
    EntryRecord,
    Summary,
    notes_markdown,
    overview_markdown,
    summarise,
    summary_markdown,
    write_entries_csv,
    write_summary_csv,
)
from .train import Training

#: Name of the trained functional's row.
TRAINED = "trained"


@dataclass
class RunResult:
    """Outcome of a run.

    Attributes
    ----------
    directory : RunDirectory
    records : list of EntryRecord
    summaries : list of Summary
    markdown : str
        What ``results.md`` holds.
    """

    directory: RunDirectory
    records: list[EntryRecord]
    summaries: list[Summary]
    markdown: str


def default_directory(config: AnyConfig) -> Path:
    """Return where a run goes if nothing else is said: ``output.dir``, or ``runs/<name>``."""
    return Path(config.output.dir or Path("runs") / config.name)


def run(
    config: AnyConfig,
    run_dir: str | Path | None = None,
    *,
    resume: bool = False,
    reporter: Reporter | None = None,
) -> RunResult:
    """Train the functional of a configuration and evaluate it.

    Under torchrun all processes must call this. They share the systems; number 0 alone writes into
    the run directory, which all must be able to read, and reports progress.

    Parameters
    ----------
    config : RunConfig, LatticeRunConfig or HamiltonianRunConfig
        From :func:`deepchem_dft.runs.load_config`.
    run_dir : path, optional
        Default: ``output.dir`` of the configuration, or ``runs/<name>``.
    resume : bool
        Go on with an unfinished run of the same configuration, if there is one.
    reporter : Reporter, optional
        Receives progress.

    Returns
    -------
    RunResult

    Raises
    ------
    InputError
        For input that cannot be used, or a run directory that holds something else.
    """
    reporter = reporter if reporter and parallel.rank() == 0 else Reporter()
    if parallel.world_size() > 1 and not isinstance(config, RunConfig):
        raise InputError(
            "models of this kind are trained and evaluated by one process", field="model",
            remedy="start the same command without torchrun; it uses several threads")
    if isinstance(config, LatticeRunConfig):
        from .ksr import run_lattice

        return run_lattice(
            config, run_dir or default_directory(config), resume=resume, reporter=reporter)
    if isinstance(config, HamiltonianRunConfig):
        from .hamiltonian import run_hamiltonian

        return run_hamiltonian(
            config, run_dir or default_directory(config), resume=resume, reporter=reporter)
    directory = RunDirectory(run_dir or default_directory(config))
    # Here, so that a misspelt name fails before anything is computed.
    baselines = [Functional.named(name, label) for label, name in config.baselines.items()]
    sets = load_sets(config.data)
    with closing(reporter), directory.opened(config, resume):
        parallel.on_main(lambda: directory.check_data(
            data_hash(sets, config.data.grid_level), describe_sets(sets)))
        with Solver(
            config.evaluation.processes,
            config.evaluation.scf_tol,
            cache=directory / "energies.jsonl",
            states=directory.states,
        ) as solver:
            folds = None
            if config.cross_validation is not None:
                folds = CrossValidation(config, directory, sets, solver, reporter)
            if not parallel.on_main(lambda: is_trained(directory, config)):
                (folds or Training(config, directory, sets, solver, reporter)).run()
            trained = parallel.on_main(
                lambda: Functional.trained(load_functional(directory.path), TRAINED)
            )
            reporter.phase("evaluating")
            records = _evaluate(config, sets, baselines, trained, solver, reporter, folds)
            markdown = parallel.on_main(lambda: _write_tables(config, directory, sets, records))
            if config.output.plots:
                curve = _h2_curve(config, [*baselines, trained], solver, reporter)
                parallel.on_main(
                    lambda: _draw(config, directory, records, [*baselines, trained], curve)
                )
        if parallel.rank() == 0:
            shutil.rmtree(directory.states, ignore_errors=True)  # only needed to go on
        return RunResult(directory, records, summarise(records), markdown)


def _evaluate(
    config: RunConfig,
    sets: Sequence[EntrySet],
    baselines: Sequence[Functional],
    trained: Functional,
    solver: Solver,
    reporter: Reporter,
    folds: CrossValidation | None,
) -> list[EntryRecord]:
    options = config.evaluation
    tasks = []
    for group in sorted(sets, key=lambda s: ("test", "valid", "train").index(s.role)):
        chosen = list(baselines) if group.role in options.baseline_sets else []
        if group.role in options.sets:
            tasks.append((group, [*chosen, trained]))
    if folds is not None and "valid" in options.sets:
        chosen = list(baselines) if "valid" in options.baseline_sets else []
        for functional, groups in folds.held_out_sets():
            tasks += [(group, [*chosen, functional]) for group in groups]
    evaluation = Evaluation(solver, config.data.grid_level, config.data.density_fit)
    return evaluation.run(tasks, reporter.solution)


def _write_tables(
    config: RunConfig,
    directory: RunDirectory,
    sets: Sequence[EntrySet],
    records: Sequence[EntryRecord],
) -> str:
    summaries = summarise(records)
    write_summary_csv(directory / "results.csv", summaries)
    write_entries_csv(directory / "entries.csv", records)
    basis = config.data.basis or "as given in the data"
    parts = [
        f"# Results of {config.name}\n",
        f"Calculated minus reference, self-consistent. Basis {basis}, grid level "
        f"{config.data.grid_level}. MAE: mean absolute error, ME: mean error.\n",
        overview_markdown(summaries) + "\n",
        summary_markdown(summaries),
        *_uncertainty_markdown(records),
        "## Overlap of the data\n",
        overlap_markdown(sets),
        _unconverged_markdown(records),
        *_notes_markdown(records),
    ]
    markdown = "\n".join(parts)
    write(directory / "results.md", markdown)
    return markdown


def _uncertainty_markdown(records: Sequence[EntryRecord]) -> list[str]:
    text = coverage_markdown(records)
    return ["## Uncertainties\n", text] if text else []


def _notes_markdown(records: Sequence[EntryRecord]) -> list[str]:
    text = notes_markdown(records)
    return ["## States\n", text + "\n"] if text else []


def _unconverged_markdown(records: Sequence[EntryRecord]) -> str:
    bad = [r for r in records if r.unconverged]
    if not bad:
        return "All self-consistent fields converged.\n"
    lines = ["- " + markdown_cell(f"{r.functional}, {r.entry}: {', '.join(r.unconverged)}")
             for r in bad]
    title = "## Not converged (left out of the averages)\n"
    return "\n".join([title, *dict.fromkeys(lines)]) + "\n"


def _draw(
    config: RunConfig,
    directory: RunDirectory,
    records: Sequence[EntryRecord],
    functionals: Sequence[Functional],
    curve: curves.Curve | None,
) -> None:
    folder = directory.plots
    history = directory.read_history()
    if history:
        plots.learning_curve(history, folder / "learning_curve.png")
    shown = [r for r in records if r.role == "test"] or list(records)
    if any(r.is_energy for r in shown):
        plots.parity(shown, folder / "parity.png", config.name)
        parent = config.functional.xc.strip().lower()
        plots.error_by_molecule(
            _comparable(records, config),
            folder / "error_by_molecule.png",
            rank_by=next((f.label for f in functionals if f.key == parent), ""),
        )
    known = [q for q in qualities(records) if q.role == "test"]
    if known:
        draw_calibration({f"{q.set} ({q.type})": (q.errors, q.uncertainties) for q in known},
                         folder / "calibration.png", f"Calibration of {config.name}")
    if curve is not None:
        curve.write(folder / "h2_curve.png")
        curve.write(directory / "h2_curve.csv")


def _h2_curve(
    config: RunConfig, functionals: Sequence[Functional], solver: Solver, reporter: Reporter
) -> curves.Curve | None:
    options = config.output.h2_curve
    if not options:
        return None
    reporter.phase("H2 curve")
    molecules = curves.molecules(
        "H 0 0 0; H 0 0 {R}",
        distances := curves.spaced(options.start, options.stop, options.points),
        options.basis or config.data.basis or "def2-tzvp",
        grid_level=config.data.grid_level,
    )
    table, spread, notes = curves.solve(solver, molecules, functionals,
                                        on_solution=reporter.solution)
    exact = curves.exact_curve("h2")
    return curves.Curve("H 0 0 0; H 0 0 {R}", "bohr", distances, table, exact, "H2", spread,
                        notes)


def _comparable(records: Sequence[EntryRecord], config: RunConfig) -> list[EntryRecord]:
    """Return the energies of the commonest type, of the roles that have baselines if any has."""
    roles = config.evaluation.baseline_sets if config.baselines else []
    chosen = [r for r in records if r.is_energy and r.role in roles]
    groups: dict[str, list[EntryRecord]] = {}
    for record in chosen or [r for r in records if r.is_energy]:
        groups.setdefault(record.type, []).append(record)
    return max(groups.values(), key=len)
