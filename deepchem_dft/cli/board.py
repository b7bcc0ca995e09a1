"""``deepchem-dft board``: functionals on a board of reactions, beside published ones."""

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
    solution_progress,
    tell_of_kept,
)
from deepchem_dft.cli.molecules.early import check_names


def board(
    run: Path | None = typer.Argument(None, help="Run directory of a trained functional."),
    xc: list[str] | None = typer.Option(
        None, "--xc", help="Functional by name, zoo:NAME or a file; may be given several times."
    ),
    dataset: list[str] = typer.Option(
        ...,
        "--dataset",
        help="Rows of a board: gscdb138:BH46, gscdb138:type=NC,max_heavy=4,test; may be repeated.",
    ),
    beside: list[str] | None = typer.Option(
        None,
        "--beside",
        help="Published functional to show, or 'all'; may be repeated. Default: nine of them.",
    ),
    basis: str | None = typer.Option(
        None, "--basis", help="Basis set. Default: the run's, else that of the authors."
    ),
    grid_level: int | None = typer.Option(
        None, "--grid-level", min=0, max=9, help="PySCF's grid level. Default: the run's, or 3."
    ),
    max_heavy: int | None = typer.Option(
        None, "--max-heavy", min=0, help="Leave out rows with more heavy atoms in one system."
    ),
    worst: int = typer.Option(10, "--worst", min=0, help="How many of the worst rows to print."),
    out: Path | None = typer.Option(None, "--out", help="Write the errors of all rows (CSV)."),
    html: Path | None = typer.Option(
        None, "--html", help="Write a page with tables that sort and filter, and charts."
    ),
    keep: Path | None = typer.Option(
        None,
        "--keep",
        help="Write every solution to this file (JSON lines) as it is found, and solve only what is not in "
        "it: the same command goes on where it was stopped.",
    ),
    jobs: int | None = options.JOBS,
    json: bool = options.JSON,
) -> None:
    """Judge functionals on a board: errors by kind and set beside published ones, totals, cost.

    Without a functional, published ones are shown alone, and nothing is computed.

    Rows that a functional has learned from are marked, and averaged apart. Rows with a system that does not
    converge are named and left out for all; the exit status is then 1. Under torchrun its processes share
    the systems.

    Examples:

    - `deepchem-dft board --xc zoo:nn-hybrid --xc r2scan --dataset gscdb138:max_heavy=2,test --keep b.jsonl`

    - `deepchem-dft board runs/mine --dataset gscdb138:BH46 --basis def2-tzvpd --html board.html`

    - `deepchem-dft board --dataset gscdb138:diet=100 --beside all`

    - `deepchem-dft board --xc r2scan --dataset gscdb138:diet=30 --beside all --json > board.json`
    """
    from deepchem_dft.errors import SCFNotConverged

    for path in (out, html, keep):
        check_out(path)
    refs = [dataset_ref(name, max_heavy=max_heavy) for name in dataset]
    check_names(xc or [])
    load_deepchem()
    done: Any = None
    if run is not None:
        from deepchem_dft.runs.base import open_run

        done = open_run(run)
        if not done.is_functional:
            raise done.no_functional()
    from deepchem_dft.runs.board.judging import PEERS, board_rows, check_peers, judge
    from deepchem_dft.runs.board.page import write_page
    from deepchem_dft.runs.board.seen import training_of_config, training_of_name
    from deepchem_dft.runs.board.tables import as_data, markdown, write_csv
    from deepchem_dft.runs.xc.entries import EntrySet, select
    from deepchem_dft.runs.xc.evaluate import Evaluation
    from deepchem_dft.scf.many import Solver
    from deepchem_dft.scf.solutions import Functional

    functionals = [Functional.named(name) for name in xc or []]
    training = {f.label: training_of_name(name) for f, name in zip(functionals, xc or [])}
    level, fit = 3 if grid_level is None else grid_level, None
    if done is not None:
        own = Functional.trained(done.model().functional.eval(), run.name if run is not None else "trained")
        functionals.append(own)
        training[own.label] = training_of_config(done.config.model_dump())
        basis, fit = basis or done.config.data.basis, done.config.data.density_fit
        level = done.config.data.grid_level if grid_level is None else grid_level
    entries = list({e.name: e for ref in refs for e in select(ref, basis)}.values())
    source, rows = board_rows(entries)
    shown = PEERS if not beside else source.functionals if "all" in beside else tuple(beside)
    diets = {ref.diet for ref in refs}
    log = console(stderr=True)
    screen = log if json else console()
    check_peers(source, shown)
    records: list[Any] = []
    solved: dict[Any, Any] = {}
    if functionals:
        group = EntrySet("test", source.name, entries)
        with Solver(jobs, cache=keep) as solver, solution_progress("solving") as show:
            tell_of_kept(solver, keep)
            evaluation = Evaluation(solver, level, fit)
            records, solved = evaluation.run([(group, functionals)], show), evaluation.solved
    keys = {f.label: f.key for f in functionals}
    diet = diets.pop() if len(diets) == 1 else None
    found = judge(source, rows, records, solved, keys, training, shown, diet)
    if json:
        options.print_json(as_data(found) | {"basis": basis or "of the authors", "grid_level": level})
    else:
        screen.print(markdown(found, most=worst), markup=False)
    for label, one in training.items():
        for missing in one.missing:
            log.print(
                f"{label}: {missing} cannot be read, so rows learned from it are not marked", markup=False
            )
    if out is not None:
        parallel.on_main(lambda: write_csv(out, found))
        screen.print(f"written: {out}", markup=False)
    if html is not None:
        said = [f"{', '.join(dataset)}; basis {basis or 'of the authors'}, grid level {level}."]
        title = f"{', '.join(keys) or 'Published functionals'} on {source.name}"
        parallel.on_main(lambda: write_page(html, found, title, said))
        screen.print(f"written: {html}", markup=False)
    lost = [f"{n} with {c.label} ({', '.join(w)})" for c in found.computed for n, w in c.unconverged.items()]
    if lost:
        more = f"; and {len(lost) - 10} more" if len(lost) > 10 else ""
        raise SCFNotConverged(f"{len(lost)} rows did not converge: {'; '.join(lost[:10])}{more}")
