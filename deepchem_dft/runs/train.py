"""A training run from configuration to trained model: stages, history, resuming after a kill."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from .. import parallel
from ..errors import InputError
from ..models import checkpoint as files
from ..models.progress import Progress
from ..molecule.threads import threads
from ..scf.compressed import CompressedDensity
from ..xc import HybridXC
from ..xc.parents import hybrid_name
from .entries import EntrySet, make_dataset, unique_systems
from .frozen import FrozenEntries, FrozenTrainer
from .functional import MODEL_DIR, WeightedMAE, build_model
from .reporter import LOGGER, Reporter
from .rundir import RunDirectory
from .schema import RunConfig, StageConfig
from .solutions import Functional, Solution
from .solve import Solver, available_cpus

if TYPE_CHECKING:
    from ..data import DFTEntry, DFTSystem
    from ..models import EpochReport, XCModel
    from ..molecule import Molecule

#: Seconds between checkpoints of a frozen stage, whose epochs take milliseconds.
CHECKPOINT_SECONDS = 10.0
_PROGRESS = "run.pt"


class Training:
    """Trains the functional of a run directory, stage by stage.

    Everything that decides the next number is on disk after each epoch (each ten seconds in frozen
    stages), so that a killed run goes on as if it had never stopped.

    Parameters
    ----------
    config : RunConfig
    directory : RunDirectory
        Started.
    sets : list of EntrySet
    solver : Solver
        With the run directory's cache and folder of states.
    reporter : Reporter
    """

    def __init__(
        self,
        config: RunConfig,
        directory: RunDirectory,
        sets: Sequence[EntrySet],
        solver: Solver,
        reporter: Reporter,
    ) -> None:
        self.config, self.directory, self.solver = config, directory, solver
        self.reporter = reporter
        self.train = [e for s in sets if s.role == "train" for e in s.entries]
        self.valid = [e for s in sets if s.role == "valid" for e in s.entries]
        self.stages = config.training.resolved_stages()
        self.model = build_model(config)
        assert isinstance(self.functional, HybridXC)
        self.history: list[dict[str, Any]] = []
        self._molecules: dict[Any, Molecule] = {}

    @property
    def functional(self) -> HybridXC:
        """The functional being trained."""
        return self.model.functional  # type: ignore[return-value]

    def run(self) -> XCModel:
        """Train all stages (those that are left) and save the model.

        Raises
        ------
        InputError
            If the entries cannot be trained on in the stages' modes.
        """
        self._check()
        number = self.config.training.threads
        if parallel.world_size() > 1:  # torchrun's processes share the cores of their machine
            neighbours = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
            number = min(number, max(1, available_cpus() // neighbours))
        with threads(number):
            self._run_stages()
        self.model.save_checkpoint(1, model_dir=str(self.directory / MODEL_DIR))
        self.directory.set_status(state="trained", epochs=len(self.history))
        return self.model

    def _run_stages(self) -> None:
        progress = self._load_progress()
        self.reporter.phase("training", sum(stage.epochs for stage in self.stages))
        for row in self.history:
            self.reporter.epoch(row)
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

    def _group(self, index: int) -> list[StageConfig]:
        """Return the stages done together: neighbouring scf stages are one fit."""
        if self.stages[index].mode == "frozen":
            return [self.stages[index]]
        stop = index
        while stop < len(self.stages) and self.stages[stop].mode == "scf":
            stop += 1
        return self.stages[index:stop]

    # -- progress on disk ----------------------------------------------------------------------

    def _load_progress(self) -> dict[str, Any]:
        path = self.directory.checkpoints / _PROGRESS
        progress = parallel.on_main(lambda: files.read(path) if path.is_file() else None)
        if progress is None:
            return {"stage": 0}
        with files.understood(path):
            self.functional.load_state_dict(progress["functional"])
            self.history, _ = progress["history"], progress["stage"]
        return progress

    def _save_progress(self, stage: int, trainer: FrozenTrainer | None = None) -> None:
        content: dict[str, Any] = {
            "stage": stage,
            "functional": self.functional.state_dict(),
            "history": self.history,
        }
        if trainer is not None:
            content["trainer"] = trainer.state_dict()
        parallel.on_main(lambda: files.write(self.directory.checkpoints / _PROGRESS, content))
        self.directory.write_history(self.history)

    def _add_row(self, stage: int, row: dict[str, Any], first: int) -> dict[str, Any]:
        row = {**row, "stage": stage + 1, "epoch": first + row["epoch"]}
        self.history.append(row)
        self.reporter.epoch(row)
        return row

    # -- systems -------------------------------------------------------------------------------

    def molecule(self, system: DFTSystem) -> Molecule:
        """Return the molecule of a system, the same object each time."""
        if system.key not in self._molecules:
            data = self.config.data
            self._molecules[system.key] = system.to_molecule(data.grid_level, data.density_fit)
        return self._molecules[system.key]

    def _start_functional(self, stage: int) -> Functional:
        """Return whose densities a stage starts from: the conventional one's at the beginning."""
        xc = self.config.functional.xc.strip()
        enhanced = self.config.functional.enhancement is not None
        share = self.config.functional.exchange or 0.0
        if stage == 0 and enhanced and (share or xc.lower() == "lda"):  # libxc's has exchange only
            return Functional.named(hybrid_name(xc, share))
        if stage == 0:
            return Functional.named("lda" if xc.lower() in ("", "none") else xc)
        return Functional.trained(self.functional)

    def _solve(self, functional: Functional, densities: bool) -> dict[Any, Solution]:
        """Solve all training and validation systems; return solutions by system key."""
        systems = unique_systems(self.train + self.valid)
        found = self.solver.solve(
            [(self.molecule(system), [functional]) for system in systems],
            keep_states=True,
            densities_for=Functional.trained(self.functional) if densities else None,
            on_solution=self.reporter.solution,
        )
        return {s.key: found[self.molecule(s).key, functional.key] for s in systems}

    def _usable(self, entries: Sequence[DFTEntry], solved: dict[Any, Solution]) -> list[DFTEntry]:
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
        self.solver.solve([(self.molecule(s), [start]) for s in systems], keep_states=True,
                          densities_for=Functional.trained(self.functional))  # fmt: skip
        densities = {}
        for system in systems:
            path = self.solver.path(self.molecule(system), start, "density")
            if path is not None and path.is_file():
                densities[system.key] = CompressedDensity.load(path)
        known = [e for e in entries
                 if e.is_energy and all(s.key in densities for s in e.get_systems())]
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
        solved: dict[Any, Solution],
        solving: float,
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Return the functional's parameters and the history at the end of a frozen stage."""
        started, densities = time.perf_counter(), {}
        for system in unique_systems(self.train + self.valid):
            path = self.solver.path(self.molecule(system), functional, "density")
            if solved[system.key].converged and path is not None:
                densities[system.key] = CompressedDensity.load(path)
        train, valid = self._usable(self.train, solved), self._usable(self.valid, solved)
        if not train:
            raise InputError("no training entry converged", field="data.train")
        stage = self.stages[index]
        trainer = FrozenTrainer(
            self.functional,
            FrozenEntries.make(train, densities),
            FrozenEntries.make(valid, densities) if valid else None,
            self.model.entry_loss,
            stage,
            self.config.training,
        )
        lost = len(self.train) - len(train)
        if state is not None:
            with files.understood(self.directory.checkpoints / _PROGRESS):
                trainer.load_state_dict(state)
        first = len(self.history) - trainer.epoch
        saved = time.perf_counter()
        solving += saved - started

        def on_epoch(row: dict[str, Any]) -> None:
            nonlocal saved
            begins = row["epoch"] == 1
            row["seconds"] += solving if begins else 0.0
            extra = {"unconverged": lost, "scf_solutions": len(solved) if begins else 0}
            self._add_row(index, {**row, **extra}, first)
            if time.perf_counter() - saved > CHECKPOINT_SECONDS:
                self._save_progress(index, trainer)
                saved = time.perf_counter()

        trainer.fit(on_epoch)
        LOGGER.info("stage %d: best epoch %s", index + 1,
                    None if trainer.best is None else first + trainer.best["epoch"])  # fmt: skip
        return self.functional.state_dict(), self.history

    def _stage_functional(self, index: int, resumed: bool) -> Functional:
        """Return the functional whose densities the stage uses, also after a resume within it."""
        note = self.directory.checkpoints / f"stage{index + 1}-start.pt"
        if not resumed:
            files.write(note, {"functional": self.functional.state_dict()})
            return self._start_functional(index)
        now = {k: v.clone() for k, v in self.functional.state_dict().items()}
        with files.understood(note):
            self.functional.load_state_dict(files.read(note)["functional"])
        functional = self._start_functional(index)
        self.functional.load_state_dict(now)
        return functional

    def _report_scf_errors(self, index: int, solved: dict[Any, Solution]) -> None:
        """Say how good the present functional is self-consistently."""
        from ..units import HARTREE_TO_KCAL

        for role, entries in (("train", self.train), ("valid", self.valid)):
            errors = []
            for entry in entries:
                energies = [solved[s.key].energy for s in entry.get_systems()]
                value = sum(c * e for c, e in zip(entry.coefficients, energies))
                errors.append(abs(value - entry.label) * HARTREE_TO_KCAL)
            known = [e for e in errors if e == e]
            if known:
                self.reporter.note(
                    f"stage {index + 1} begins: self-consistent {role} MAE "
                    f"{sum(known) / len(known):.3f} kcal/mol ({len(known)} of {len(errors)})"
                )

    # -- self-consistent stages -----------------------------------------------------------------

    def _run_scf(self, index: int, group: Sequence[StageConfig]) -> None:
        training = self.config.training
        folder = self.directory.checkpoints / f"stage{index + 1}"
        model = build_model(self.config, folder)  # its optimiser and counters start afresh
        model.functional.load_state_dict(self.functional.state_dict())
        self.model = model
        first, restore = len(self.history), parallel.on_main(lambda: bool(files.existing(folder)))
        by_epoch = [(number, stage, epoch) for number, stage in enumerate(group, start=index)
                    for epoch in range(1, stage.epochs + 1)]  # fmt: skip

        def before_epoch(model: XCModel, epoch: int) -> None:
            _, stage, within = by_epoch[epoch - 1]
            model.set_learning_rate(stage.rate(within))
            model.batch_size, model.scf_every = stage.batch_size or 1, stage.scf_every or 1

        def after_epoch(report: EpochReport) -> None:
            self._add_row(by_epoch[report.epoch - 1][0], _row(report, by_epoch), first)
            self.directory.write_history(self.history)

        if restore:  # epochs done before the kill
            with files.understood(folder):
                done = parallel.on_main(lambda: files.read(files.newest(folder))["progress"])
                for report in Progress.from_dict(done).history:
                    self._add_row(by_epoch[report.epoch - 1][0], _row(report, by_epoch), first)
        else:
            self._save_progress(index)
            self._warm_start(index)
        weighted = all(e.is_energy for e in self.valid)
        model.fit(
            make_dataset(self.train),
            nb_epoch=len(by_epoch),
            restore=restore,
            valid_dataset=make_dataset(self.valid) if self.valid else None,
            metric=WeightedMAE() if weighted else None,
            validate_every=training.validate_every,
            early_stopping=training.early_stopping,
            restore_best=training.select_best,
            checkpoint_every=self.config.output.checkpoint_every,
            max_checkpoints_to_keep=2,
            before_epoch=before_epoch,
            epoch_callback=after_epoch,
        )

    def _warm_start(self, index: int) -> None:
        """Solve all systems in parallel and hand the orbitals to the model."""
        functional = parallel.on_main(lambda: self._start_functional(index))
        self._solve(functional, densities=False)
        for store, entries in ((self.model.model.states, self.train),
                               (self.model.valid_states, self.valid)):  # fmt: skip
            store.clear()
            for system in unique_systems(entries):
                state = self.solver.load_state(self.molecule(system), functional)
                if state is not None:
                    # Step 0, where this model begins: scf_every counts from here.
                    store.put(str(system.key), state, 0)


def _row(report: EpochReport, by_epoch: Sequence[tuple[int, StageConfig, int]]) -> dict[str, Any]:
    _, stage, within = by_epoch[report.epoch - 1]
    return {
        "epoch": report.epoch,
        "learning_rate": stage.rate(within),
        "loss": report.loss,
        "train_mae_kcal": report.mae_kcal,
        "valid_mae_kcal": report.valid_mae_kcal,
        "valid_score": report.score,
        "unconverged": report.unconverged + report.valid_unconverged,
        "scf_solutions": report.scf_solutions,
        "seconds": report.seconds,
    }
