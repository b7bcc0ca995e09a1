"""How a KSRModel is saved, restored and resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from ..errors import CheckpointError, FunctionalError
from ..lattice.grid import Grid
from . import checkpoint as files
from .ksr_progress import KSRProgress
from .persistence import _plain_copy
from .progress import first_not_finite


class KSRFiles:
    """The part of ``KSRModel`` that reads and writes files; its methods belong to that class."""

    def save_checkpoint(
        self, max_checkpoints_to_keep: int = 5, model_dir: str | None = None
    ) -> None:
        """Write parameters, what the optimiser knows, history, and the best parameters so far.

        The file is whole or not there at all.

        Raises
        ------
        FunctionalError
            If a parameter is NaN or infinite; no file is written or removed.
        """
        if max_checkpoints_to_keep == 0:
            return
        self._ensure_built()
        bad = first_not_finite(self.functional.state_dict())
        if bad is not None:
            raise FunctionalError(f"the parameter '{bad}' is not finite, so no checkpoint is "
                                  "written", remedy="restore an earlier checkpoint")
        content: dict[str, Any] = {
            "model_state_dict": self.model.state_dict(),
            "optimizer_state_dict": (
                self._pytorch_optimizer.state_dict() if self._pytorch_optimizer else None),
            "global_step": self._global_step,
            "progress": self.progress.to_dict(),
            "config": _plain_copy(self.config),
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
        content = files.read(source)
        files.load_parameters(self.model, content["model_state_dict"], source, bool(strict))
        if self._pytorch_optimizer is not None:
            self._pytorch_optimizer.load_state_dict(content["optimizer_state_dict"])
        if self._lr_schedule is not None and "schedule" in content:
            self._lr_schedule.load_state_dict(content["schedule"])
        self._global_step = content["global_step"]
        self.progress = KSRProgress.from_dict(content["progress"])

    def _resume(self) -> None:
        """Restore the newest checkpoint with the last parameters, not the best."""
        self.restore()
        if self.progress.last is not None:
            self.functional.load_state_dict(self.progress.last)
            self.progress.last = None

    @classmethod
    def load(
        cls, source: str | Path, functional: nn.Module | None = None, **options: Any
    ) -> Any:
        """Rebuild a model from its checkpoint alone.

        Parameters
        ----------
        source : str or Path
            Checkpoint file, or folder of a model.
        functional : nn.Module, optional
            The network or functional, needed if it was the user's own.
        **options
            Constructor arguments to change.

        Raises
        ------
        CheckpointError
            If the file is unusable, or a part it does not hold was not given.
        """
        path = files.newest(source)
        config = dict(files.read(path)["config"])
        name, origin = config.pop("xcstr"), config.pop("origin")
        if origin == "functional" and functional is None:
            raise CheckpointError(
                f"{path}: the model was made with a functional of your own, whose code is not in "
                "the file. Remedy: pass functional=.")
        points, spacing, order = config.pop("grid")
        config.update(grid=Grid(points, spacing, order), **options)
        if "model_dir" not in config and Path(source).is_dir():
            config["model_dir"] = str(source)
        model: Any = cls(name if functional is None else functional, **config)  # type: ignore[call-arg]
        model.restore(path)
        return model
