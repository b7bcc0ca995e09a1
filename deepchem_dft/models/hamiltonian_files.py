"""How a HamiltonianModel is saved, restored, resumed, and begun from another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import CheckpointError, FunctionalError
from . import checkpoint as files
from .hamiltonian_progress import HamiltonianProgress
from .hamiltonian_training import parameters_of
from .persistence import _plain_copy
from .progress import first_not_finite

#: Arguments that give the same parameters another meaning.
_MEANING = ("elements", "basis", "form", "guess", "inputs", "cutoff", "xc")


class HamiltonianFiles:
    """The part of ``HamiltonianModel`` that reads and writes files; its methods belong to it."""

    def save_checkpoint(
        self, max_checkpoints_to_keep: int = 5, model_dir: str | None = None
    ) -> None:
        """Write parameters, averages, optimiser and history.

        The file is whole or not there at all. Parameters are those that predict: during training
        the averaged ones, beside those that are trained.

        Raises
        ------
        FunctionalError
            If a parameter is NaN or infinite; no file is written or removed.
        """
        if max_checkpoints_to_keep == 0:
            return
        self._ensure_built()
        state, progress = self.model.state_dict(), self.progress.to_dict()
        bad = first_not_finite({k: v for k, v in state.items() if v.is_floating_point()})
        if bad is not None:
            raise FunctionalError(f"the parameter '{bad}' is not finite, so no checkpoint is "
                                  "written", remedy="restore an earlier checkpoint")
        if self.training and self.progress.average is not None:
            progress["trained"] = parameters_of(self.model)
            state = {**state, **self.progress.average}
        content: dict[str, Any] = {
            "model_state_dict": state,
            "optimizer_state_dict": self._pytorch_optimizer.state_dict(),
            "global_step": self._global_step,
            "progress": progress,
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
        content = files.read(source, self.device)
        self._compare(content["config"], source)
        files.load_parameters(self.model, content["model_state_dict"], source, bool(strict))
        self._pytorch_optimizer.load_state_dict(content["optimizer_state_dict"])
        if self._lr_schedule is not None and "schedule" in content:
            self._lr_schedule.load_state_dict(content["schedule"])
        self._global_step = content["global_step"]
        self.progress = HamiltonianProgress.from_dict(content["progress"])
        self.preparation.forget()

    def _compare(self, config: dict[str, Any], source: str) -> None:
        for name in _MEANING:
            theirs, own = config[name], _plain_copy(self.config[name])
            if theirs != own:
                raise CheckpointError(
                    f"{source}: the checkpoint is of a model with {name}={theirs!r}, this one has "
                    f"{own!r}. Remedy: make the model with the same arguments, or use "
                    f"{type(self).__name__}.load")

    def _resume(self) -> None:
        """Restore the newest checkpoint with the parameters as the optimiser left them."""
        self.restore()
        if self.progress.trained is not None:
            self.model.load_state_dict(self.progress.trained, strict=False)
            self.progress.trained = None

    @classmethod
    def load(cls, source: str | Path, **options: Any) -> Any:
        """Rebuild a model from its checkpoint alone.

        Parameters
        ----------
        source : str or Path
            Checkpoint file, or folder of a model.
        **options
            Constructor arguments to change.

        Raises
        ------
        CheckpointError
            If the file is unusable.
        """
        path = files.newest(source)
        config = {**files.read(path)["config"], **options}
        if "elements" not in config:
            raise CheckpointError(f"{path}: not a checkpoint of a {cls.__name__}")
        if "model_dir" not in config and Path(source).is_dir():
            config["model_dir"] = str(source)
        model: Any = cls(**config)
        model.restore(path)
        return model

    def load_from_pretrained(
        self,
        source_model: Any,
        assignment_map: dict | None = None,
        value_map: dict | None = None,
        checkpoint: str | None = None,
        model_dir: str | None = None,
        include_top: bool = True,
        inputs: Any = None,
        **kwargs: Any,
    ) -> None:
        """Copy parameters, means and spreads from a trained model, and nothing else.

        Parameters
        ----------
        source_model : HamiltonianModel, str or Path
            A model (its newest checkpoint, or ``checkpoint``, is restored first if there is one),
            a checkpoint file, or a folder.
        assignment_map, value_map : dict, optional
            As in DeepChem.
        checkpoint, model_dir : str, optional
            Where the source model is restored from.
        include_top : bool
            If False, the layers that read matrices off features are not copied.
        inputs
            Not needed; for DeepChem's sake.

        Raises
        ------
        CheckpointError
            If there is nothing to load, or names and shapes differ.
        """
        self._ensure_built()
        if assignment_map is not None or value_map is not None:
            super().load_from_pretrained(  # type: ignore[misc]
                source_model, assignment_map, value_map, checkpoint, model_dir, include_top)
        else:
            if isinstance(source_model, (str, Path)):
                label = files.newest(source_model)
                parameters = files.read(label, self.device)["model_state_dict"]
            else:
                label = "the source model"
                if checkpoint or model_dir or source_model.get_checkpoints():
                    source_model.restore(checkpoint=checkpoint, model_dir=model_dir)
                parameters = source_model.model.state_dict()
            if not include_top:
                own = self.model.state_dict()
                parameters = {k: own[k] if k.startswith("network.readouts.") else v
                              for k, v in parameters.items()}
            files.load_parameters(self.model, parameters, label)
        self.preparation.forget()
