"""``deepchem-dft evaluate`` and ``predict``: functionals on data sets."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from deepchem_dft import parallel
from deepchem_dft.cli import options
from deepchem_dft.cli.common import (
    check_out,
    console,
    dataset_ref,
    load_deepchem,
    quiet_imports,
    solution_progress,
    tell_of_kept,
)
from deepchem_dft.cli.molecules.early import check_names


def evaluate(
    run: Path | None = typer.Argument(None, help="Run directory of a trained functional."),
    xc: list[str] | None = typer.Option(
        None, "--xc", help="Functional by name, zoo:NAME or a file; may be given several times."
    ),
    dataset: list[str] | None = typer.Option(
        None,
        "--dataset",
        help="Data set by name (see 'data list'), NAME:SPLIT, or a YAML file; may be repeated. "
        "Default: the run's test sets.",
    ),
    basis: str | None = typer.Option(
        None, "--basis", help="Basis set. Default: the run's, else that of the data."
    ),
    grid_level: int | None = typer.Option(
        None, "--grid-level", min=0, max=9, help="PySCF's grid level. Default: the run's, or 3."
    ),
    max_heavy: int | None = typer.Option(
        None, "--max-heavy", min=0, help="Leave out entries with more heavy atoms."
    ),
    entries: bool = typer.Option(False, "--entries", help="Also print the error of every entry."),
    out: Path | None = typer.Option(None, "--out", help="Write the errors of all entries (CSV)."),
    keep: Path | None = typer.Option(
        None,
        "--keep",
        help="Write every solution to this file (JSON lines) as it is found, and "
        "solve only what is not in it: the same command goes on where it was stopped.",
    ),
    jobs: int | None = options.JOBS,
    json: bool = options.JSON,
) -> None:
    """Print mean errors (kcal/mol) of functionals on data sets.

    Entries whose self-consistent field does not converge are named and left out of the averages;
    the exit status is then 1. Of ensembles, the uncertainty of every entry is compared with its
    error.

    Examples:

    - `deepchem-dft evaluate runs/pbe_mgga`

    - `deepchem-dft evaluate runs/pbe_mgga --xc pbe --xc b3lyp --dataset barriers`

    - `deepchem-dft evaluate --xc lda,pw --dataset atomic-ip --basis 6-31g`

    - `deepchem-dft evaluate --xc zoo:NAME --xc pbe --dataset w4-11 --keep w4-11.jsonl`

    - `deepchem-dft evaluate --xc pbe --dataset my.yaml --out errors.csv`

    - `deepchem-dft evaluate runs/ksr_h2 --dataset h2_plus:test` (a run with `model: ksr`)

    - `deepchem-dft evaluate runs/water --dataset "water.h5:*/500K/*"` (with `model: hamiltonian`)

    - `deepchem-dft evaluate runs/nci --dataset labels.csv` (with `model: deq`)
    """
    from deepchem_dft.errors import InputError

    if run is None and not xc:
        raise InputError("nothing to evaluate", remedy="give a run directory, or --xc NAME")
    if run is None and not dataset:
        raise InputError("no data set given", field="dataset", remedy="add --dataset NAME")
    check_out(out)
    check_out(keep)
    done: Any = None if run is None else _opened(run)
    if done is not None and not done.is_functional:
        if json:
            raise InputError("runs of this kind print no JSON", field="json", remedy="use --out errors.csv")
        _evaluate_other(done, dataset or [], keep, entries, out)
        return
    config: Any = None if done is None else done.config
    refs = [dataset_ref(name, max_heavy=max_heavy) for name in dataset or []]
    check_names(xc or [])
    load_deepchem()
    from deepchem_dft.runs import tables
    from deepchem_dft.runs.xc.calibration import coverage_markdown
    from deepchem_dft.runs.xc.entries import EntrySet, load_sets, select
    from deepchem_dft.runs.xc.evaluate import Evaluation
    from deepchem_dft.scf.many import Solver
    from deepchem_dft.scf.solutions import Functional

    functionals = [Functional.named(name) for name in xc or []]
    if run is not None:
        functionals.append(Functional.trained(done.model().functional.eval()))
        basis = basis or config.data.basis
        grid_level = config.data.grid_level if grid_level is None else grid_level
    if refs:
        sets = [EntrySet("test", r.label or r.dataset or Path(r.file).stem, select(r, basis)) for r in refs]
    else:
        sets = [s for s in load_sets(config.data) if s.role == "test"]
        if not sets:
            raise InputError("the run has no test set", file=str(run), remedy="add --dataset NAME")
    with Solver(jobs, cache=keep) as solver, solution_progress("solving") as show:
        tell_of_kept(solver, keep)
        level = 3 if grid_level is None else grid_level
        fit = None if run is None else config.data.density_fit
        records = Evaluation(solver, level, fit).run([(s, functionals) for s in sets], show)
    if json:
        summary = [asdict(row) for row in tables.summarise(records)]
        options.print_json({"summary": summary, "entries": tables.entries_data(records)})
        if out is not None:
            parallel.on_main(lambda: tables.write_entries_csv(out, records))
        _fail_if_unconverged(records)
        return
    screen = console()
    screen.print(tables.summary_markdown(tables.summarise(records)), markup=False)
    if uncertain := coverage_markdown(records):
        screen.print(f"### uncertainties\n\n{uncertain}", markup=False)
    if notes := tables.notes_markdown(records):
        screen.print(f"### states\n\n{notes}\n", markup=False)
    if entries:
        screen.print(tables.entries_markdown(records), markup=False)
    if out is not None:
        parallel.on_main(lambda: tables.write_entries_csv(out, records))
        screen.print(f"written: {out}", markup=False)
    _fail_if_unconverged(records)


def predict(
    run: str = typer.Argument(
        ..., help="Functional: run directory, zoo:NAME, NAME.safetensors, or any name as after --xc."
    ),
    file: Path = typer.Argument(..., help="YAML file of entries, in any of the schemas."),
    out: Path = typer.Option(..., "--out", help="CSV file of predictions (Ha and kcal/mol)."),
    basis: str | None = typer.Option(None, "--basis", help="Basis set. Default: that of the file."),
    grid_level: int | None = typer.Option(
        None, "--grid-level", min=0, max=9, help="PySCF's grid level. Default: the run's, or 3."
    ),
    keep: Path | None = typer.Option(
        None, "--keep", help="File of solutions (JSON lines) to go on from, as of 'evaluate'."
    ),
    jobs: int | None = options.JOBS,
    json: bool = options.JSON,
) -> None:
    """Predict every entry of a file with a functional; entries need no value.

    An ensemble tells the uncertainty of each value, too.

    Examples:

    - `deepchem-dft predict runs/pbe_mgga molecules.yaml --out predictions.csv`

    - `deepchem-dft predict zoo:NAME molecules.yaml --out predictions.csv --keep solved.jsonl`
    """
    check_out(out)
    check_out(keep)
    with quiet_imports():
        from deepchem_dft.xc.dispersion.spelling import is_trained
    named = is_trained(run) or not ("/" in run or Path(run).is_dir())
    if named:
        check_names([run])
    done: Any = None if named else _opened(Path(run))
    if done is not None and not done.is_functional:
        raise done.no_functional()
    config: Any = None if done is None else done.config
    ref = dataset_ref(str(file))
    load_deepchem()
    from deepchem_dft.runs import tables
    from deepchem_dft.runs.xc.entries import EntrySet, select
    from deepchem_dft.runs.xc.evaluate import Evaluation
    from deepchem_dft.scf.many import Solver
    from deepchem_dft.scf.solutions import Functional

    fit, level = None, 3 if grid_level is None else grid_level
    if config is None:
        functional = Functional.named(run)
    else:
        functional = Functional.trained(done.model().functional.eval())
        fit = config.data.density_fit
        level = config.data.grid_level if grid_level is None else grid_level
    group = EntrySet("test", file.stem, select(ref, basis, values=False))
    with Solver(jobs, cache=keep) as solver, solution_progress("solving") as show:
        tell_of_kept(solver, keep)
        records = Evaluation(solver, level, fit).run([(group, [functional])], show)
    parallel.on_main(lambda: tables.write_entries_csv(out, records))
    screen = console(stderr=json)
    if json:
        options.print_json({"entries": tables.entries_data(records)})
    else:
        screen.print(tables.entries_markdown(records), markup=False)
    if (notes := tables.notes_markdown(records)) and not json:
        screen.print(f"### states\n\n{notes}\n", markup=False)
    screen.print(f"written: {out}", markup=False)
    _fail_if_unconverged(records)


def _opened(run: Path) -> Any:
    from deepchem_dft.runs.base import open_run

    return open_run(run)


def _evaluate_other(done: Any, names: list[str], keep: Path | None, entries: bool, out: Path | None) -> None:
    """Evaluate a run that has trained no functional of real molecules."""
    from deepchem_dft.errors import InputError, SCFNotConverged

    where = str(done.directory.path)
    if keep is not None:
        raise InputError(
            "the models of this run are evaluated in one go", field="keep", remedy="leave --keep out"
        )
    if parallel.world_size() > 1:
        raise InputError(
            "models of this kind are evaluated by one process",
            file=where,
            remedy="start the same command without torchrun",
        )
    load_deepchem()
    from deepchem_dft.runs import tables

    table, bad = done.evaluate_on(names, out)
    screen = console()
    screen.print(table, markup=False)
    if entries and done.records:
        screen.print(tables.entries_markdown(done.records), markup=False)
    if out is not None:
        screen.print(f"written: {out}", markup=False)
    if bad:
        raise SCFNotConverged(f"{len(bad)} did not converge: {'; '.join(bad[:5])}")


def _fail_if_unconverged(records: Any) -> None:
    from deepchem_dft.errors import SCFNotConverged

    bad = [f"{r.entry} with {r.functional} ({', '.join(r.unconverged)})" for r in records if r.unconverged]
    if bad:
        raise SCFNotConverged(f"{len(bad)} entries did not converge: {'; '.join(bad)}")
