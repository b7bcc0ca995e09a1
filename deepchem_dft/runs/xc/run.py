"""A run with real molecules: a functional trained, and tested beside conventional ones."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from deepchem_dft import parallel
from deepchem_dft.errors import InputError
from deepchem_dft.files import write
from deepchem_dft.fitting.progress import Reporter
from deepchem_dft.runs import plots
from deepchem_dft.runs.base import DataNote, Run
from deepchem_dft.runs.card import ALL_ROLES, TRAINED, errors_of, unconverged_of, worse
from deepchem_dft.runs.rows import read_data, read_rows
from deepchem_dft.runs.rundir import RunDirectory
from deepchem_dft.runs.tables import (
    EntryRecord,
    Summary,
    notes_markdown,
    overview_markdown,
    summarise,
    summary_markdown,
    verdict,
    write_entries_csv,
    write_summary_csv,
)
from deepchem_dft.runs.xc import curves
from deepchem_dft.runs.xc.calibration import coverage_markdown, qualities
from deepchem_dft.runs.xc.calibration import draw as draw_calibration
from deepchem_dft.runs.xc.cross_validation import NOTE, CrossValidation, load_ensemble
from deepchem_dft.runs.xc.entries import (
    EntrySet,
    counts_text,
    data_hash,
    describe_sets,
    load_sets,
    overlap_markdown,
)
from deepchem_dft.runs.xc.evaluate import Evaluation
from deepchem_dft.runs.xc.fixed import Judged, records_at_fixed_densities
from deepchem_dft.runs.xc.functional import build_xc_model
from deepchem_dft.runs.xc.prepared import only_prepared, take_over
from deepchem_dft.runs.xc.residual import with_residual_targets
from deepchem_dft.runs.xc.schema import RunConfig
from deepchem_dft.runs.xc.train import Training
from deepchem_dft.scf.many import Solver
from deepchem_dft.scf.solutions import Functional
from deepchem_dft.sinks import markdown_cell

if TYPE_CHECKING:
    from deepchem_dft.models import XCModel


class FunctionalRun(Run):
    """Train the functional of a configuration, or an ensemble, and evaluate it."""

    several_processes: ClassVar[bool] = True
    is_functional: ClassVar[bool] = True
    config: RunConfig

    def __init__(self, config: RunConfig, directory: RunDirectory, reporter: Reporter | None = None) -> None:
        super().__init__(config, directory, reporter)
        self.baselines: list[Functional] = []
        self.sets: list[EntrySet] = []
        self.solver: Solver | None = None
        self.folds: CrossValidation | None = None

    def check(self) -> None:
        """Look up the baselines: a misspelt name fails before anything is computed."""
        named = self.config.baselines.items()
        self.baselines = [Functional.named(name, label) for label, name in named]
        self.sets = load_sets(self.config.data)

    def read(self) -> DataNote:
        """Return what the entries are, and tell how many, unless that is known later only."""
        if not self._chosen_later:
            self.reporter.note(counts_text(self.sets))
        level = self.config.data.grid_level
        return DataNote(data_hash(self.sets, level), describe_sets(self.sets))

    @property
    def _chosen_later(self) -> bool:
        """Whether entries are left out by what is known of their densities or states."""
        return self.config.data.only_prepared or self.config.training.target == "residual"

    @contextmanager
    def working(self) -> Iterator[None]:
        """Hold worker processes, and what they have solved."""
        config, directory = self.config, self.directory
        with Solver(
            config.evaluation.processes,
            tol=config.evaluation.scf_tol,
            cache=directory / "energies.jsonl",
            states=directory.states,
        ) as self.solver:
            if config.data.prepared is not None:
                known = take_over(Path(config.data.prepared), build_xc_model(config), self.solver)
                self.reporter.note(f"{known} densities are known from {Path(config.data.prepared).name}")
            if config.data.only_prepared:
                solver = self.solver
                self.sets = parallel.on_main(lambda: only_prepared(config, self.sets, solver, self.reporter))
            if config.training.target == "residual":
                self.sets = with_residual_targets(config, self.sets, self.solver, self.reporter)
            if self._chosen_later:
                self.reporter.note(counts_text(self.sets))
                parallel.on_main(lambda: directory.describe_data(describe_sets(self.sets)))
            if config.cross_validation is not None:
                self.folds = CrossValidation(config, directory, self.sets, self.solver, self.reporter)
            yield
        if parallel.rank() == 0:
            shutil.rmtree(directory.states, ignore_errors=True)  # only needed to go on

    def train(self) -> None:
        """Train the functional, or the members of its ensemble."""
        assert self.solver is not None
        (self.folds or Training(self.config, self.directory, self.sets, self.solver, self.reporter)).run()

    @property
    def is_trained(self) -> bool:
        """Whether the training is done, and what it left is there."""
        if self.config.cross_validation is None:
            return super().is_trained
        done = self.directory.status.get("state") in ("trained", "finished")
        return done and (self.directory / NOTE).is_file()

    def model(self) -> "XCModel":
        """Return the trained model; of a cross-validation, one with the ensemble."""
        if self.config.cross_validation is None:
            return super().model()
        from deepchem_dft.models import XCModel

        return XCModel(xc=load_ensemble(self.directory), grid_level=self.config.data.grid_level)

    def _load(self, folder: str) -> "XCModel":
        from deepchem_dft.models import XCModel

        return XCModel.load(folder)

    def evaluate(self) -> None:
        """Solve the systems of all sets with the trained functional and the baselines."""
        assert self.solver is not None
        trained = parallel.on_main(lambda: Functional.trained(self.model().functional.eval(), TRAINED))
        self.functionals = [*self.baselines, trained]
        if self.config.evaluation.fixed_densities:
            self.records = self._at_fixed_densities(trained)
            return
        self.records = _evaluate(
            self.config, self.sets, self.baselines, trained, self.solver, self.reporter, self.folds
        )

    def _at_fixed_densities(self, trained: Functional) -> list[EntryRecord]:
        assert self.solver is not None
        options, roles = self.config.evaluation, ("test", "valid", "train")
        sets = [s for role in roles if role in options.sets for s in self.sets if s.role == role]
        judged = [Judged.of(trained.load(), sets)]
        if self.folds is not None and "valid" in options.sets:
            judged += [Judged.of(f.load().eval(), groups) for f, groups in self.folds.held_out_sets()]
        names = dict.fromkeys([n for n in (self.config.training.published,) if n] + options.published)
        training = Training(self.config, self.directory, self.sets, self.solver, self.reporter)
        return records_at_fixed_densities(training, [one for one in judged if one.sets], list(names))

    def write_tables(self) -> str:
        """Write summaries, entries and ``results.md``."""
        return _write_tables(self.config, self.directory, self.sets, self.records)

    def draw(self) -> None:
        """Draw learning curve, errors and the H2 curve."""
        assert self.solver is not None
        curve = _h2_curve(self.config, self.functionals, self.solver, self.reporter)
        parallel.on_main(lambda: _draw(self.config, self.directory, self.records, self.functionals, curve))

    def card(self) -> dict[str, Any]:
        """Return errors of all sets, where it is worse than its parent, and overlaps."""
        results, config = self.directory / "results.csv", self.config
        errors, parent = errors_of(results, ALL_ROLES), config.functional.xc
        if config.evaluation.fixed_densities:
            errors = [{**row, "set": f"{row['set']}, at fixed densities"} for row in errors]
        errors += _curve_errors(self.directory / "h2_curve.csv")
        return {
            "errors": errors,
            "known_failures": unconverged_of(results),
            "parent": parent,
            "worse_than_parent": worse(errors, _parent(config)),
            **_data(config, self.directory),
        }


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
    config: RunConfig, directory: RunDirectory, sets: Sequence[EntrySet], records: Sequence[EntryRecord]
) -> str:
    summaries = summarise(records)
    write_summary_csv(directory / "results.csv", summaries)
    write_entries_csv(directory / "entries.csv", records)
    basis = config.data.basis or "as given in the data"
    how = "at the first densities of training" if config.evaluation.fixed_densities else "self-consistent"
    parts = [
        f"# Results of {config.name}\n",
        f"Calculated minus reference, {how}. Basis {basis}, grid level "
        f"{config.data.grid_level}. MAE: mean absolute error, ME: mean error.\n",
        *_residual_markdown(config),
        *_verdict_markdown(config, summaries),
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


def _parent(config: RunConfig) -> str:
    """Return the row of the functional that training starts from, its name if it has none."""
    parent = config.functional.xc.strip().lower()
    labels = (label for label, xc in config.baselines.items() if xc.strip().lower() == parent)
    return config.training.published or next(labels, config.functional.xc)


def _verdict_markdown(config: RunConfig, summaries: Sequence[Summary]) -> list[str]:
    lines = verdict(summaries, TRAINED, _parent(config))
    return ["\n".join(f"- {markdown_cell(line)}" for line in lines) + "\n"] if lines else []


def _residual_markdown(config: RunConfig) -> list[str]:
    if config.training.target != "residual":
        return []
    return [
        "References of rows of boards hold the error of this basis, as the functional has it that training "
        f"starts from: its value here minus the published one of {config.training.published}. Other "
        "functionals have other errors of the basis.\n"
    ]


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
    lines = ["- " + markdown_cell(f"{r.functional}, {r.entry}: {', '.join(r.unconverged)}") for r in bad]
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
        plots.learning_curve(history, folder / "learning_curve.png", config.training.select_best)
    shown = [r for r in records if r.role == "test"] or list(records)
    if any(r.is_energy for r in shown):
        plots.parity(shown, folder / "parity.png", trained=config.name)
        parent = config.functional.xc.strip().lower()
        plots.error_by_molecule(
            _comparable(records, config),
            folder / "error_by_molecule.png",
            rank_by=next((f.label for f in functionals if f.key == parent), ""),
            trained=config.name,
        )
    known = [q for q in qualities(records) if q.role == "test"]
    if known:
        draw_calibration(
            {f"{q.set} ({q.type})": (q.errors, q.uncertainties) for q in known},
            folder / "calibration.png",
            f"Calibration of {config.name}",
        )
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
    table, spread, notes = curves.solve(solver, molecules, functionals, on_solution=reporter.solution)
    exact = curves.exact_curve("h2")
    return curves.Curve(
        "H 0 0 0; H 0 0 {R}", "bohr", distances, table, exact, "H₂", spread, notes, config.name
    )


def _comparable(records: Sequence[EntryRecord], config: RunConfig) -> list[EntryRecord]:
    """Return the energies of the commonest type, of the roles that have baselines if any has."""
    roles = config.evaluation.baseline_sets if config.baselines else []
    chosen = [r for r in records if r.is_energy and r.role in roles]
    groups: dict[str, list[EntryRecord]] = {}
    for record in chosen or [r for r in records if r.is_energy]:
        groups.setdefault(record.type, []).append(record)
    return max(groups.values(), key=len)


def _curve_errors(path: Path) -> list[dict[str, Any]]:
    """Return the mean absolute errors of the H2 curve as a row of a card, if there is a curve."""
    rows = read_rows(path)
    ending, values = "_error_kcal_per_mol", {}
    for column in rows[0] if rows else []:
        if column.endswith(ending):
            errors = [abs(row.number(column)) for row in rows if row[column]]
            name = column.removesuffix(ending)
            values["this" if name == TRAINED else name] = sum(errors) / max(1, len(errors))
    return (
        [{"set": "H2 curve", "type": "energy", "entries": len(rows), "unit": "kcal/mol", "mae": values}]
        if "this" in values
        else []
    )


def _data(config: RunConfig, directory: RunDirectory) -> dict[str, Any]:
    """Return what the data say: overlap of the sets, and elements that were not trained on."""
    from deepchem_dft.runs.xc.entries import load_sets, overlap_markdown

    try:
        sets = load_sets(config.data)
    except InputError:  # the files are no longer where the run found them
        return {}
    described = read_data(directory / "data.json").get("sets", [])
    used = {e.get("name") for group in described for e in group.get("entries", [])}
    if used:
        sets = [replace(s, entries=[e for e in s.entries if e.name in used]) for s in sets]
    lines = overlap_markdown(sets).splitlines()
    elements = ", ".join(sorted(_elements(sets)))
    return {
        "overlap": [line.removeprefix("- ") for line in lines],
        "out_of_scope": [f"elements other than those trained on: {elements}"],
    }


def _elements(sets: Sequence[EntrySet]) -> set[str]:
    return {
        symbol
        for group in sets
        if group.role == "train"
        for entry in group.entries
        for system in entry.get_systems()
        for symbol in system.symbols
    }
