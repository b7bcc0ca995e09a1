"""How a KSRModel is saved, restored and resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from deepchem_dft.errors import CheckpointError
from deepchem_dft.fitting.checkpointed import Checkpointed, must_be_finite, plain_copy
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.models.ksr.progress import KSRProgress


class KSRFiles(Checkpointed):
    """The part of ``KSRModel`` that reads and writes files; its methods belong to that class."""

    def _saved(self) -> dict[str, Any]:
        must_be_finite(self.functional.state_dict())
        return {"progress": self.progress.to_dict(), "config": plain_copy(self.config)}

    def _take(self, content: dict[str, Any]) -> None:
        self.progress = KSRProgress.from_dict(content["progress"])

    def _resume(self) -> None:
        """Restore the newest checkpoint with the last parameters, not the best."""
        self.restore()
        if self.progress.last is not None:
            self.functional.load_state_dict(self.progress.last)
            self.progress.last = None

    @classmethod
    def load(cls, source: str | Path, functional: nn.Module | None = None, **options: Any) -> Any:
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
        given = {} if functional is None else {"functional": functional}
        return super().load(source, **given, **options)

    @classmethod
    def _arguments(cls, config: dict[str, Any], options: dict[str, Any], path: str) -> dict[str, Any]:
        name, origin, grid = config.pop("xcstr"), config.pop("origin"), config.pop("grid")
        if origin == "functional" and "functional" not in options:
            raise CheckpointError(
                f"{path}: the model was made with a functional of your own, whose code is not in "
                "the file. Remedy: pass functional=."
            )
        return {"functional": name, **config, "grid": Grid(*grid), **options}
