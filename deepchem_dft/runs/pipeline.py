"""A whole run of any kind: data, training, evaluation, tables, figures."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from deepchem_dft import parallel
from deepchem_dft.errors import InputError
from deepchem_dft.fitting.progress import Reporter
from deepchem_dft.runs.config import AnyConfig
from deepchem_dft.runs.kinds import kind_of
from deepchem_dft.runs.rundir import RunDirectory
from deepchem_dft.runs.tables import EntryRecord, Summary, summarise


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
    config : BaseRunConfig
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
    kind, directory = kind_of(config), RunDirectory(run_dir or default_directory(config))
    if parallel.world_size() > 1 and not kind.run.several_processes:
        raise InputError(
            "models of this kind are trained and evaluated by one process",
            field="model",
            remedy="start the same command without torchrun; it uses several threads",
        )
    work = kind.run(config, directory, reporter)
    with closing(reporter):
        work.check()
        with directory.opened(config, resume):
            data = work.read()
            parallel.on_main(lambda: directory.check_data(data.sha256, data.sets, data.renew))
            with work.working():
                if not parallel.on_main(lambda: work.is_trained):
                    work.train()
                reporter.phase("evaluating")
                work.evaluate()
                markdown = parallel.on_main(work.write_tables)
                if config.output.plots:
                    work.draw()
    return RunResult(directory, work.records, summarise(work.records), markdown)
