"""The training of a run: a configuration's stages, with progress in the run directory."""

import os
from collections.abc import Sequence
from typing import Any

from deepchem_dft import parallel
from deepchem_dft.fitting.options import FitOptions
from deepchem_dft.fitting.progress import Reporter
from deepchem_dft.models.xc.progress import row_of
from deepchem_dft.models.xc.staged_training import StagedTraining
from deepchem_dft.molecule.memory import threads
from deepchem_dft.parallel.pool import available_cpus
from deepchem_dft.runs.base import MODEL_DIR
from deepchem_dft.runs.rundir import RunDirectory
from deepchem_dft.runs.xc.entries import EntrySet
from deepchem_dft.runs.xc.functional import build_xc_model, named_start
from deepchem_dft.runs.xc.schema import RunConfig
from deepchem_dft.scf.many import Solver
from deepchem_dft.xc import HybridXC


class Training(StagedTraining):
    """Trains the functional of a run directory.

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
        training = config.training
        entries = {
            role: [e for s in sets if s.role == role for e in s.entries] for role in ("train", "valid")
        }
        options = FitOptions(
            validate_every=training.validate_every,
            early_stopping=training.early_stopping,
            restore_best=training.select_best,
            checkpoint_interval=None,
            checkpoint_every=config.output.checkpoint_every,
        )
        super().__init__(
            build_xc_model(config),
            training.resolved_stages(),
            entries["train"],
            entries["valid"],
            options,
            folder=directory.checkpoints,
            solver=solver,
            reporter=reporter,
            start=named_start(config),
        )
        assert isinstance(self.functional, HybridXC)
        self.config, self.directory = config, directory
        self.rows: list[dict[str, Any]] = []
        self.saved = lambda: directory.write_history([row_of(one) for one in self.history])

    def run(self) -> float:
        """Train all stages (those that are left) and save the model."""
        number = self.config.training.threads
        if parallel.world_size() > 1:  # torchrun's processes share the cores of their machine
            neighbours = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
            number = min(number, max(1, available_cpus() // neighbours))
        with threads(number):
            loss = super().run()
        self.model.save_checkpoint(1, model_dir=str(self.directory / MODEL_DIR))
        self.directory.set_status(state="trained", epochs=len(self.history))
        return loss
