"""A one-dimensional run: exact data, training, evaluation, tables and figures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepchem_dft.checks import choice
from deepchem_dft.errors import InputError
from deepchem_dft.files import write
from deepchem_dft.fitting.progress import Reporter
from deepchem_dft.runs.base import MODEL_DIR, ROLES, DataNote, Run
from deepchem_dft.runs.card import TESTS, TRAINED, errors_of, unconverged_of
from deepchem_dft.runs.ksr.evaluation import CurveSet, Evaluated, curves_markdown, evaluate_sets, make_dataset
from deepchem_dft.runs.ksr.schema import CurveRef, LatticeRunConfig
from deepchem_dft.runs.rows import read_data
from deepchem_dft.runs.rundir import RunDirectory
from deepchem_dft.runs.tables import (
    EntryRecord,
    summarise,
    summary_markdown,
    write_entries_csv,
    write_summary_csv,
)
from deepchem_dft.units import HARTREE_TO_KCAL

if TYPE_CHECKING:
    from deepchem_dft.lattice.exact import ExactState
    from deepchem_dft.lattice.grid import Grid
    from deepchem_dft.models import KSREpoch, KSRModel

BASELINE = "uniform-gas LDA"
HISTORY_COLUMNS = ["seed", "stage", "epoch", "loss", "valid_mae_kcal", "best", "evaluations", "seconds"]


def distances_of(ref: CurveRef, field: str) -> list[float]:
    """Return the distances, Bohr, that a reference stands for.

    Raises
    ------
    InputError
        For a family that does not exist, or one without such a set.
    """
    from deepchem_dft.lattice import systems

    choice(ref.family, systems.FAMILIES, f"{field}.family", "family")
    if not isinstance(ref.distances, str):
        return list(ref.distances)
    table = {"test": systems.TEST, "valid": systems.VALID, "curve": systems.CURVE}[ref.distances]
    if ref.family not in table:
        raise InputError(
            f"{ref.family} has no set {ref.distances!r}",
            field=f"{field}.distances",
            remedy="give the distances as a list, Bohr",
        )
    return list(table[ref.family])


def load_curves(config: LatticeRunConfig, reporter: Reporter | None = None) -> list[CurveSet]:
    """Make the exact states of a run, or take them from the cache."""
    sets = []
    for role in ROLES:
        for number, ref in enumerate(getattr(config.data, role)):
            sets.append(exact_curve(ref, role, _grid(config), f"data.{role}.{number}"))
            if reporter is not None:
                reporter.note(f"exact: {role} {sets[-1].label}, {len(sets[-1].states)} molecules")
    return sets


def exact_curve(ref: CurveRef, role: str, grid: Grid, field: str = "data") -> CurveSet:
    """Return the exact states of one reference."""
    from deepchem_dft.lattice.exact import exact
    from deepchem_dft.lattice.systems import FAMILIES

    distances = distances_of(ref, field)
    states = [exact(FAMILIES[ref.family](r), grid) for r in distances]
    return CurveSet(role, ref.label or ref.family, ref.family, distances, states)


def build_ksr_model(config: LatticeRunConfig, model_dir: str | Path | None = None) -> KSRModel:
    """Return the untrained model a configuration describes."""
    from deepchem_dft.models import KSRModel

    functional, training = config.functional, config.training
    options = functional.model_dump(exclude={"kind", "polarised"}, exclude_none=True)
    loss = {
        k: getattr(training, k)
        for k in ("energy_weight", "density_weight", "discount", "skip", "separability_weight")
    }
    return KSRModel(
        functional.kind,
        grid=_grid(config),
        polarised=functional.polarised,
        functional_options=options,
        **config.trajectory.model_dump(),
        **loss,
        method=training.method,
        learning_rate=training.learning_rate,
        seed=training.seed,
        batch_size=training.batch_size,
        tol=config.evaluation.tol,
        model_dir=None if model_dir is None else str(model_dir),
    )


def _grid(config: LatticeRunConfig) -> Grid:
    from deepchem_dft.lattice.grid import Grid

    return Grid(**config.data.grid.model_dump())


# -- a whole run -----------------------------------------------------------------------------------


class LatticeRun(Run):
    """Train a functional of one-dimensional molecules and compare with what is exact."""

    config: LatticeRunConfig
    instead = ("the functional of this run is for one-dimensional molecules", "'deepchem-dft evaluate'")

    def check(self) -> None:
        """Build the model and look up the distances: what cannot be fails before anything."""
        build_ksr_model(self.config)
        for role in ROLES:
            for number, ref in enumerate(getattr(self.config.data, role)):
                distances_of(ref, f"data.{role}.{number}")

    def read(self) -> DataNote:
        """Make the exact states, or take them from the cache."""
        self.reporter.phase("exact data")
        self.sets = load_curves(self.config, self.reporter)
        return _note(self.sets)

    def train(self) -> None:
        """Train from all seeds."""
        from deepchem_dft.models import KSRStage

        training, valid = self.config.training, _states(self.sets, "valid")
        model = build_ksr_model(self.config, self.directory.checkpoints)
        stages = [KSRStage(**stage.model_dump()) for stage in training.stages]
        epochs = sum(stage.epochs for stage in stages) or training.epochs
        self.reporter.phase("training", epochs * training.seeds)
        self.fit(
            model,
            make_dataset(_states(self.sets, "train")),
            training.epochs,
            _row if training.select == "validation" else _loss_row,
            HISTORY_COLUMNS,
            restore=self.begun,
            valid_dataset=make_dataset(valid) if valid and training.select == "validation" else None,
            select=training.select,
            early_stopping=training.early_stopping,
            seeds=None if self.begun else training.seeds,
            stages=stages,
        )
        for seed, reason in model.progress.failures.items():
            self.reporter.note(f"seed {seed} failed: {reason}")

    def _load(self, folder: str) -> KSRModel:
        from deepchem_dft.models import KSRModel

        return KSRModel.load(folder)

    def evaluate(self) -> None:
        """Predict all sets, with the uniform-gas functional beside."""
        self.trained = build_ksr_model(self.config)
        self.trained.restore(model_dir=str(self.directory / MODEL_DIR))
        self.found = _evaluate(self.config, self.sets, self.trained)
        tol = self.config.evaluation.tol
        self.records = [record for one in self.found for record in one.records(tol)]

    def write_tables(self) -> str:
        """Write summaries, entries and ``results.md``."""
        return _write_tables(self.config, self.directory, self.found, self.records)

    def draw(self) -> None:
        """Draw learning curve, dissociation curves and trajectories."""
        _draw(self.directory, self.sets, self.found, self.trained)

    def card(self) -> dict[str, Any]:
        """Return errors of the test sets, and what they share with what was trained on."""
        sets = [
            s
            for s in read_data(self.directory / "data.json").get("sets", [])
            if "family" in s and s.get("distances")
        ]
        trained: dict[str, set[float]] = {}
        for one in (s for s in sets if s["role"] == "train"):
            trained.setdefault(one["family"], set()).update(one["distances"])
        overlap = []
        for one in (s for s in sets if s["role"] == "test"):
            shared = len(set(one["distances"]) & trained.get(one["family"], set()))
            many = len(one["distances"])
            what = (
                f"share {shared} of {many} molecules; the family is trained on at other distances"
                if one["family"] in trained
                else "share none; the family is not trained on"
            )
            overlap.append(f"train and test {one['set']} {what}")
        families, results = ", ".join(sorted(trained)), self.directory / "results.csv"
        return {
            "errors": errors_of(results, TESTS),
            "overlap": overlap,
            "known_failures": unconverged_of(results),
            "out_of_scope": [
                "molecules in three dimensions",
                f"molecules unlike those trained on ({families}), unless tested",
            ],
        }

    def evaluate_on(self, names: Sequence[str], out: Path | None = None) -> tuple[str, list[str]]:
        """Evaluate on families of molecules such as ``h4:test``."""
        refs = [CurveRef.model_validate(name) for name in names] or self.config.data.test
        if not refs:
            raise self.no_test_set("h2:test")
        model, tol = self.model(), self.config.evaluation.tol
        sets = [exact_curve(ref, "test", model.functional.grid, "dataset") for ref in refs]
        found = evaluate_sets(model, TRAINED, sets)
        self.records = [record for one in found for record in one.records(tol)]
        if out is not None:
            write_entries_csv(out, self.records)
        bad = [f"{r.entry} ({', '.join(r.unconverged)})" for r in self.records if r.unconverged]
        return curves_markdown(found, tol), bad


def _note(sets: Sequence[CurveSet]) -> DataNote:
    digest = hashlib.sha256()
    for one in sets:
        for state in one.states:
            system = state.system
            digest.update(
                json.dumps(
                    [one.role, system.positions, system.charges, system.electrons, system.spin]
                ).encode()
            )
            digest.update(f"{state.energy:.7f}".encode())
    return DataNote(
        digest.hexdigest(),
        [
            {
                "role": s.role,
                "set": s.label,
                "family": s.family,
                "distances": s.distances,
                "energies": [state.energy for state in s.states],
            }
            for s in sets
        ],
    )


def _states(sets: Sequence[CurveSet], role: str) -> list[ExactState]:
    return [state for one in sets if one.role == role for state in one.states]


def _row(report: KSREpoch) -> dict[str, Any]:
    row = asdict(report)
    score = row.pop("score")
    return {
        **row,
        "best": int(report.best),
        "valid_mae_kcal": None if score is None else score * HARTREE_TO_KCAL,
    }


def _loss_row(report: KSREpoch) -> dict[str, Any]:
    """Return a row of a run whose score is the loss: there was no validation."""
    return {**_row(report), "valid_mae_kcal": None}


# -- evaluation ------------------------------------------------------------------------------------


def _evaluate(config: LatticeRunConfig, sets: Sequence[CurveSet], model: KSRModel) -> list[Evaluated]:
    from deepchem_dft.models import KSRModel

    order = [s for role in ("test", "valid", "train") for s in sets if s.role == role]
    found = []
    if config.evaluation.baseline:
        # As careful as the trained one, and self-consistent even where that one is not meant to be.
        path = config.trajectory
        iterations = max(path.test_iterations or path.iterations, 40)
        lda = KSRModel(
            "uniform-gas",
            grid=_grid(config),
            iterations=iterations,
            mixing=path.mixing,
            decay=path.decay,
            batch_size=32,
        )
        found = evaluate_sets(lda, BASELINE, [s for s in order if s.role == "test"])
    chosen = [s for s in order if s.role in config.evaluation.sets]
    return found + evaluate_sets(model, TRAINED, chosen)


def _write_tables(
    config: LatticeRunConfig,
    directory: RunDirectory,
    found: Sequence[Evaluated],
    records: Sequence[EntryRecord],
) -> str:
    summaries = summarise(records)
    write_summary_csv(directory / "results.csv", summaries)
    write_entries_csv(directory / "entries.csv", records)
    parts = [
        f"# Results of {config.name}\n",
        "Energies against exact ones on the same grid. Density: int |n - exact| dx per electron. "
        f"Unconverged: the last iteration moved {config.evaluation.tol:g} electrons or more.\n",
        curves_markdown(found, config.evaluation.tol) + "\n",
        summary_markdown(summaries),
    ]
    markdown = "\n".join(parts)
    write(directory / "results.md", markdown)
    return markdown


def _draw(
    directory: RunDirectory, sets: Sequence[CurveSet], found: Sequence[Evaluated], model: KSRModel
) -> None:
    from deepchem_dft.runs.ksr import plots as ksr_plots

    folder = directory.plots
    history = directory.read_history()
    if history:
        ksr_plots.learning_curve(history, folder / "learning_curve.png")
    for label in dict.fromkeys(one.curve.label for one in found if one.curve.role == "test"):
        chosen = [one for one in found if (one.curve.role, one.curve.label) == ("test", label)]
        marks = [s for s in sets if s.role == "train" and s.family == chosen[0].curve.family]
        ksr_plots.curve(chosen, marks, folder / f"curve_{label}.png")
        states = chosen[0].curve.states
        shown = [states[len(states) // 4], states[-1]]
        ksr_plots.trajectories(model, shown, folder / f"trajectory_{label}.png")
