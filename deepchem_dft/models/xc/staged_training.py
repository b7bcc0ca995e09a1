"""An XCModel trained stage by stage, at fixed densities and through self-consistent fields."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from deepchem_dft import checkpoint as files
from deepchem_dft import parallel
from deepchem_dft.errors import InputError
from deepchem_dft.fitting.options import FitOptions
from deepchem_dft.fitting.progress import LOGGER, Reporter
from deepchem_dft.models.xc.frozen import FrozenEntries, FrozenTrainer
from deepchem_dft.models.xc.functional import starting_functional
from deepchem_dft.models.xc.losses import WeightedMAE
from deepchem_dft.models.xc.progress import EpochReport, Progress, report_of, row_of
from deepchem_dft.models.xc.samples import make_dataset, unique_systems
from deepchem_dft.models.xc.stages import Stage
from deepchem_dft.scf.frozen.binned import BinnedDensity
from deepchem_dft.scf.many import Solver
from deepchem_dft.scf.solutions import EnergyRecord, Functional
from deepchem_dft.units import HARTREE_TO_KCAL

if TYPE_CHECKING:
    from deepchem_dft.data import DFTEntry, DFTSystem
    from deepchem_dft.models.xc.model import XCModel
    from deepchem_dft.molecule import Molecule
    from deepchem_dft.xc import HybridXC

#: Seconds between checkpoints of a frozen stage, whose epochs take milliseconds.
CHECKPOINT_SECONDS = 10.0
_PROGRESS = "run.pt"


class StagedTraining:
    """Trains a model stage by stage.

    Everything that decides the next number is on disk after each epoch (each ten seconds in frozen
    stages), so that a killed training goes on as if it had never stopped.

    Parameters
    ----------
    model : XCModel
        Trained in place.
    stages : sequence of Stage
    train, valid : sequence of DFTEntry
    options : FitOptions
        For early stopping, selection, checkpoints of ``scf`` stages, and callbacks.
    folder : Path
        Where progress is kept. What is there already is gone on from.
    solver : Solver
        With a folder of states.
    reporter : Reporter, optional
    start : Functional, optional
        At whose densities a frozen stage trains that comes first. Default: what the model is before training.
    """

    def __init__(
        self,
        model: XCModel,
        stages: Sequence[Stage],
        train: Sequence[DFTEntry],
        valid: Sequence[DFTEntry],
        options: FitOptions,
        *,
        folder: Path,
        solver: Solver,
        reporter: Reporter | None = None,
        start: Functional | None = None,
    ) -> None:
        self.start = start
        self.model, self.stages, self.options = model, list(stages), options
        self.train, self.valid = list(train), list(valid)
        self.folder, self.solver = Path(folder), solver
        self.reporter = reporter or Reporter()
        self.history: list[EpochReport] = []
        self.saved: Callable[[], None] = lambda: None
        self._molecules: dict[Any, Molecule] = {}

    @property
    def functional(self) -> HybridXC:
        """The functional being trained."""
        return self.model.functional  # type: ignore[return-value]

    def run(self) -> float:
        """Train all stages that are left; return the loss of the last epoch.

        Raises
        ------
        InputError
            If the entries cannot be trained on in the stages' modes.
        """
        self._check()
        progress = self._load_progress()
        self.reporter.phase("training", sum(stage.epochs for stage in self.stages))
        for report in self.history:
            self.reporter.epoch(row_of(report))
        index = progress["stage"]
        while index < len(self.stages):
            group = self._group(index)
            if self.stages[index].mode == "frozen":
                self._run_frozen(index, progress.get("trainer"))
            else:
                self._run_scf(index, group)
            index += len(group)
            progress = {"stage": index}
            self._save_progress(index)
        self.model.progress.history = list(self.history)
        return self.history[-1].loss if self.history else math.nan

    def _check(self) -> None:
        if any(stage.mode == "frozen" for stage in self.stages):
            bad = next((e for e in self.train + self.valid if not e.is_energy), None)
            if bad is not None:
                raise InputError(
                    f"a frozen stage cannot train on an entry of type {bad.entry_type}: its "
                    "density does not change",
                    entry=bad.name,
                    field="training.stages",
                    remedy="use mode: scf, or energies only",
                )

    def _group(self, index: int) -> list[Stage]:
        """Return the stages done together: neighbouring scf stages are one fit."""
        if self.stages[index].mode == "frozen":
            return [self.stages[index]]
        stop = index
        while stop < len(self.stages) and self.stages[stop].mode == "scf":
            stop += 1
        return self.stages[index:stop]

    # -- progress on disk ----------------------------------------------------------------------

    def _load_progress(self) -> dict[str, Any]:
        path = self.folder / _PROGRESS
        progress = parallel.on_main(lambda: files.read(path) if path.is_file() else None)
        if progress is None:
            return {"stage": 0}
        with files.understood(path):
            self.functional.load_state_dict(progress["functional"])
            self.history = [report_of(row) for row in progress["history"]]
            _ = progress["stage"]
        return progress

    def _save_progress(self, stage: int, trainer: FrozenTrainer | None = None) -> None:
        content: dict[str, Any] = {
            "stage": stage,
            "functional": self.functional.state_dict(),
            "history": [asdict(report) for report in self.history],
        }
        if trainer is not None:
            content["trainer"] = trainer.state_dict()
        parallel.on_main(lambda: files.write(self.folder / _PROGRESS, content))
        self.saved()

    def _add(self, report: EpochReport, stage: int, within: int, *, first: int) -> None:
        """Add an epoch of a stage to the history."""
        report = replace(
            report, stage=stage + 1, epoch=first + report.epoch, learning_rate=self.stages[stage].rate(within)
        )
        self.history.append(report)
        self.reporter.epoch(row_of(report))
        if self.options.all_losses is not None:
            self.options.all_losses.append(report.loss)
        if self.options.epoch_callback is not None:
            self.options.epoch_callback(report)

    # -- systems -------------------------------------------------------------------------------

    def molecule(self, system: DFTSystem) -> Molecule:
        """Return the molecule of a system, the same object each time."""
        if system.key not in self._molecules:
            self._molecules[system.key] = self.model.model.options.molecule(system)
        return self._molecules[system.key]

    def _start_functional(self, stage: int) -> Functional:
        """Return whose densities a stage starts from: the conventional one's at the beginning."""
        if stage:
            return Functional.trained(self.functional)
        return self.start or starting_functional(self.model.xc, self.model.config, self.functional)

    def _solve(self, functional: Functional, densities: bool) -> dict[Any, EnergyRecord]:
        """Solve all training and validation systems; return solutions by system key."""
        systems = unique_systems(self.train + self.valid)
        found = self.solver.solve(
            [(self.molecule(system), [functional]) for system in systems],
            keep_states=True,
            densities_for=Functional.trained(self.functional) if densities else None,
            on_solution=self.reporter.solution,
        )
        return {s.key: found[self.molecule(s).key, functional.key] for s in systems}

    def _usable(self, entries: Sequence[DFTEntry], solved: dict[Any, EnergyRecord]) -> list[DFTEntry]:
        """Drop entries with a system that did not converge, and say so."""
        good = []
        for entry in entries:
            bad = [s.name for s in entry.get_systems() if not solved[s.key].converged]
            if bad:
                self.reporter.note(f"left out, not converged: {entry.name} ({', '.join(bad)})")
            else:
                good.append(entry)
        return good

    def frozen_values(
        self, entries: Sequence[DFTEntry], functionals: Sequence[HybridXC]
    ) -> list[list[float]]:
        """Return each functional's values (Ha) of entries at the densities the first stage takes.

        Entries with a system that has no density there, or that are no energies, are NaN.
        """
        start = self._start_functional(0)
        systems = unique_systems([e for e in entries if e.is_energy])
        self.solver.solve(
            [(self.molecule(s), [start]) for s in systems],
            keep_states=True,
            densities_for=Functional.trained(self.functional),
        )
        densities = {}
        for system in systems:
            path = self.solver.path(self.molecule(system), start, "density")
            if path is not None and path.is_file():
                densities[system.key] = BinnedDensity.load(path)
        known = [e for e in entries if e.is_energy and all(s.key in densities for s in e.get_systems())]
        frozen, out = FrozenEntries.make(known, densities), []
        for functional in functionals:
            with torch.no_grad():
                found = iter(frozen.predict(functional).flatten())
            out.append([float(next(found)) if e in known else math.nan for e in entries])
        return out

    # -- frozen stages --------------------------------------------------------------------------

    def _run_frozen(self, index: int, state: dict[str, Any] | None) -> None:
        started = time.perf_counter()
        functional = parallel.on_main(lambda: self._stage_functional(index, state is not None))
        solved = self._solve(functional, densities=True)
        self._report_scf_errors(index, solved)
        solving = time.perf_counter() - started
        # Epochs take milliseconds: the other processes would rather wait than talk.
        parameters, self.history = parallel.on_main(
            lambda: self._train_frozen(index, state, functional, solved, solving)
        )
        self.functional.load_state_dict(parameters)

    def _train_frozen(
        self,
        index: int,
        state: dict[str, Any] | None,
        functional: Functional,
        solved: dict[Any, EnergyRecord],
        solving: float,
    ) -> tuple[dict[str, Any], list[EpochReport]]:
        """Return the functional's parameters and the history at the end of a frozen stage."""
        started, densities = time.perf_counter(), {}
        for system in unique_systems(self.train + self.valid):
            path = self.solver.path(self.molecule(system), functional, "density")
            if solved[system.key].converged and path is not None:
                densities[system.key] = BinnedDensity.load(path)
        train, valid = self._usable(self.train, solved), self._usable(self.valid, solved)
        if not train:
            raise InputError("no training entry converged", field="data.train")
        lost = len(self.train) - len(train)
        solving += time.perf_counter() - started
        first, saved = len(self.history), time.perf_counter()

        def on_epoch(report: EpochReport) -> None:
            nonlocal saved
            report.unconverged = lost
            if report.epoch == 1:
                report.seconds, report.scf_solutions = report.seconds + solving, len(solved)
            self._add(report, index, report.epoch, first=first)
            if time.perf_counter() - saved > CHECKPOINT_SECONDS:
                self._save_progress(index, trainer)
                saved = time.perf_counter()

        trainer = FrozenTrainer(
            self.model,
            self.stages[index],
            FrozenEntries.make(train, densities),
            FrozenEntries.make(valid, densities) if valid else None,
            FitOptions(
                early_stopping=self.options.early_stopping,
                restore_best=self.options.restore_best,
                epoch_callback=on_epoch,
            ),
        )
        if state is not None:
            with files.understood(self.folder / _PROGRESS):
                trainer.load_state_dict(state)
            first -= trainer.progress.epoch
        trainer.run()
        best = trainer.progress.best
        LOGGER.info("stage %d: best epoch %s", index + 1, None if best is None else first + best.epoch)
        return self.functional.state_dict(), self.history

    def _stage_functional(self, index: int, resumed: bool) -> Functional:
        """Return the functional whose densities the stage uses, also after a resume within it."""
        note = self.folder / f"stage{index + 1}-start.pt"
        if not resumed:
            files.write(note, {"functional": self.functional.state_dict()})
            return self._start_functional(index)
        now = {k: v.clone() for k, v in self.functional.state_dict().items()}
        with files.understood(note):
            self.functional.load_state_dict(files.read(note)["functional"])
        functional = self._start_functional(index)
        self.functional.load_state_dict(now)
        return functional

    def _report_scf_errors(self, index: int, solved: dict[Any, EnergyRecord]) -> None:
        """Say how good the present functional is self-consistently; at first, without its dispersion."""
        bare = ", without dispersion" if not index and self.functional.dispersion is not None else ""
        for role, entries in (("train", self.train), ("valid", self.valid)):
            errors = []
            for entry in entries:
                energies = [solved[s.key].energy for s in entry.get_systems()]
                value = sum(c * e for c, e in zip(entry.coefficients, energies))
                errors.append(abs(value - entry.label) * HARTREE_TO_KCAL)
            known = [e for e in errors if e == e]
            if known:
                self.reporter.note(
                    f"stage {index + 1} begins: self-consistent {role} MAE{bare} "
                    f"{sum(known) / len(known):.3f} kcal/mol ({len(known)} of {len(errors)})"
                )

    # -- self-consistent stages -----------------------------------------------------------------

    def _run_scf(self, index: int, group: Sequence[Stage]) -> None:
        model, options = self.model, self.options
        folder = self.folder / f"stage{index + 1}"
        first, restore = len(self.history), parallel.on_main(lambda: bool(files.existing(folder)))
        by_epoch = [
            (number, epoch)
            for number, stage in enumerate(group, start=index)
            for epoch in range(1, stage.epochs + 1)
        ]

        def before_epoch(model: XCModel, epoch: int) -> None:
            number, within = by_epoch[epoch - 1]
            stage = self.stages[number]
            model.set_learning_rate(stage.rate(within))
            model.batch_size, model.scf_every = stage.batch_size or 1, stage.scf_every
            if options.before_epoch is not None:
                options.before_epoch(model, first + epoch)

        def after_epoch(report: EpochReport) -> None:
            self._add(report, *by_epoch[report.epoch - 1], first=first)
            self.saved()

        usual = model.model_dir, model.batch_size, model.scf_every
        try:
            model.start_over(str(folder))  # the stage's optimiser and counters are its own
            if restore:  # epochs done before the kill
                with files.understood(folder):
                    done = parallel.on_main(lambda: files.read(files.newest(folder))["progress"])
                    for report in Progress.from_dict(done).history:
                        self._add(report, *by_epoch[report.epoch - 1], first=first)
            else:
                self._save_progress(index)
                self._warm_start(index)
            weighted = options.metric is None and all(e.is_energy for e in self.valid)
            model.fit(
                make_dataset(self.train),
                nb_epoch=len(by_epoch),
                restore=restore,
                valid_dataset=make_dataset(self.valid) if self.valid else None,
                metric=WeightedMAE() if weighted else options.metric,
                metric_greater_is_better=options.metric_greater_is_better,
                deterministic=options.deterministic,
                callbacks=options.callbacks,
                validate_every=options.validate_every,
                early_stopping=options.early_stopping,
                restore_best=options.restore_best,
                checkpoint_every=options.checkpoint_every,
                max_checkpoints_to_keep=2,
                before_epoch=before_epoch,
                epoch_callback=after_epoch,
            )
        finally:
            model.model_dir, model.batch_size, model.scf_every = usual

    def _warm_start(self, index: int) -> None:
        """Solve all systems in parallel and hand the orbitals to the model."""
        functional = parallel.on_main(lambda: self._start_functional(index))
        self._solve(functional, densities=False)
        for store, entries in ((self.model.model.states, self.train), (self.model.valid_states, self.valid)):
            store.clear()
            for system in unique_systems(entries):
                state = self.solver.load_state(self.molecule(system), functional)
                if state is not None:
                    # Step 0, where this stage begins: scf_every counts from here.
                    store.put(str(system.key), state, 0)
