"""What a DEQModel reports of its training, and how it is saved and restored."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from . import checkpoint as files


@dataclass
class DEQEpoch:
    """What happened in one epoch.

    Attributes
    ----------
    epoch : int
        From 1.
    loss : float
        Mean over samples and tasks, each at the parameters it was evaluated with.
    unconverged : float
        Share of samples for which no fixed point, or no gradient, was found.
    evaluations : float
        Evaluations of the cell per batch: until its slowest sample was done.
    iterations : float
        Evaluations per sample.
    seconds : float
        Wall time.
    """

    epoch: int
    loss: float
    unconverged: float
    evaluations: float
    iterations: float
    seconds: float


class DEQFiles:
    """The part of ``DEQModel`` that reads and writes files; its methods belong to that class."""

    def save_checkpoint(
        self, max_checkpoints_to_keep: int = 5, model_dir: str | None = None
    ) -> None:
        """Write parameters, optimiser and history; the file is whole or not there at all."""
        if max_checkpoints_to_keep == 0:
            return
        self._ensure_built()
        content: dict[str, Any] = {
            "model_state_dict": self.model.state_dict(),
            "optimizer_state_dict": self._pytorch_optimizer.state_dict(),
            "global_step": self._global_step,
            "history": [asdict(report) for report in self.history],
        }
        if self._lr_schedule is not None:
            content["schedule"] = self._lr_schedule.state_dict()
        files.push(model_dir or self.model_dir, content, max_checkpoints_to_keep)

    def get_checkpoints(self, model_dir: str | None = None) -> list[str]:
        """Return the checkpoint files, newest first."""
        return files.existing(model_dir or self.model_dir)

    def restore(
        self, checkpoint: str | None = None, model_dir: str | None = None, strict: bool = True
    ) -> None:
        """Load a checkpoint; default the newest of the model's folder.

        Raises
        ------
        CheckpointError
            If it is missing, damaged, or that of another model; this model is then unchanged.
        """
        self._ensure_built()
        source = files.newest(checkpoint or model_dir or self.model_dir)
        content = files.read(source, self.device)
        files.load_parameters(self.model, content["model_state_dict"], source, bool(strict))
        self._pytorch_optimizer.load_state_dict(content["optimizer_state_dict"])
        if self._lr_schedule is not None and "schedule" in content:
            self._lr_schedule.load_state_dict(content["schedule"])
        self._global_step = content["global_step"]
        self.history = [DEQEpoch(**report) for report in content["history"]]
