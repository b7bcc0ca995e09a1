"""What models share of saving and restoring."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from deepchem_dft import checkpoint as files
from deepchem_dft import parallel
from deepchem_dft.errors import CheckpointError, FunctionalError
from deepchem_dft.files import make_folder
from deepchem_dft.fitting.progress import first_not_finite


class Checkpointed:
    """Checkpoints of parameters, optimiser, learning-rate schedule and what the model adds.

    A model says in ``_saved`` what else belongs into the file, and takes it back in ``_take``.
    """

    #: The constructor's argument by which a file is known to be of this kind of model.
    _telling = ""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        if options.get("model_dir") is not None:  # DeepChem's way fails if two processes do it
            make_folder(options["model_dir"])
        super().__init__(*arguments, **options)

    def __getstate__(self) -> dict[str, Any]:
        # A temporary folder is removed with the model it was made for.
        left_out = {"model_dir"} if self.__dict__.get("model_dir_is_temp") else set()
        return {name: value for name, value in self.__dict__.items() if name not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "model_dir" not in state:
            self.model_dir = tempfile.mkdtemp()

    def save_checkpoint(self, max_checkpoints_to_keep: int = 5, model_dir: str | None = None) -> None:
        """Write parameters, optimiser, history and whatever else a training needs to go on.

        The file is whole or not there at all. Of several processes all must call this; one writes.

        Raises
        ------
        StorageError
            If the system refuses; the older checkpoints are as before.
        FunctionalError
            If the model refuses parameters that are NaN or infinite; no file is written or removed.
        """
        if max_checkpoints_to_keep == 0:
            return
        self._ensure_built()
        optimizer = self._pytorch_optimizer
        content: dict[str, Any] = {
            "model_state_dict": self.model.state_dict(),
            "optimizer_state_dict": None if optimizer is None else optimizer.state_dict(),
            "global_step": self._global_step,
            **self._saved(),
        }
        if self._lr_schedule is not None:
            content["schedule"] = self._lr_schedule.state_dict()
        parallel.on_main(lambda: files.push(model_dir or self.model_dir, content, max_checkpoints_to_keep))

    def get_checkpoints(self, model_dir: str | None = None) -> list[str]:
        """Return the checkpoint files, newest first."""
        return files.existing(model_dir or self.model_dir)

    def restore(
        self, checkpoint: str | None = None, model_dir: str | None = None, strict: bool = True
    ) -> None:
        """Load a checkpoint; default the newest of the model's folder.

        Of several processes all must call this; one reads.

        Raises
        ------
        CheckpointError
            If it is missing, damaged, or that of another model; this model is then unchanged.
        """
        self._ensure_built()
        source, content = parallel.on_main(lambda: self._read(checkpoint or model_dir or self.model_dir))
        with files.understood(source):
            self._compare(content, source)
            files.load_parameters(self.model, content["model_state_dict"], source, bool(strict))
            if self._pytorch_optimizer is not None:
                self._pytorch_optimizer.load_state_dict(content["optimizer_state_dict"])
            if self._lr_schedule is not None and "schedule" in content:
                self._lr_schedule.load_state_dict(content["schedule"])
            self._global_step = content["global_step"]
            self._take(content)

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
        with files.understood(path):
            config = cls._arguments(dict(files.read(path)["config"]), options, path)
        if "model_dir" not in config and Path(source).is_dir():
            config["model_dir"] = str(source)
        with files.understood(path):
            model: Any = cls(**config)
        model.restore(path)
        return model

    @classmethod
    def _arguments(cls, config: dict[str, Any], options: dict[str, Any], path: str) -> dict[str, Any]:
        """Return the constructor's arguments for what a checkpoint holds; ``options`` take precedence."""
        if cls._telling not in config:
            raise CheckpointError(f"{path}: not a checkpoint of a {cls.__name__}")
        return {**config, **options}

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
        """Copy parameters from a trained model, leaving this one's optimiser and counters alone.

        Parameters
        ----------
        source_model : Model, str or Path
            A model (its newest checkpoint, or ``checkpoint``, is restored first if there is one),
            a checkpoint file, or a model folder. For ``XCModel`` also the name of a trained functional such
            as ``"zoo:NAME"``.
        assignment_map, value_map : dict, optional
            As in DeepChem.
        checkpoint, model_dir : str, optional
            Where the source model is restored from.
        include_top : bool
            If False, the last linear layer (of a ``HamiltonianModel`` those that read matrices off features)
            is not copied.
        inputs
            Not needed; for DeepChem's sake.

        Raises
        ------
        CheckpointError
            If there is nothing to load, or names and shapes differ.
        """
        self._ensure_built()
        if assignment_map is not None or value_map is not None:
            super().load_from_pretrained(
                source_model, assignment_map, value_map, checkpoint, model_dir, include_top
            )
        else:
            parameters, label = self._pretrained(source_model, checkpoint, model_dir)
            if not include_top:
                own, top = self.model.state_dict(), self._top()
                parameters = {k: own[k] if k.startswith(top) else v for k, v in parameters.items()}
            files.load_parameters(self.model, parameters, label)
        self._replaced()

    def _pretrained(self, source: Any, checkpoint: str | None, model_dir: str | None) -> tuple[dict, str]:
        """Return the parameters of a trained model, and what to call it."""
        return files.parameters_of(source, self.device, checkpoint=checkpoint, model_dir=model_dir)

    def _top(self) -> str:
        """Return how the names of the last layer's parameters begin."""
        layers = [name for name, module in self.model.named_modules() if isinstance(module, nn.Linear)]
        return f"{layers[-1]}." if layers else [name for name, _ in self.model.named_parameters()][-1]

    def _replaced(self) -> None:
        """Forget what belonged to other parameters."""

    def _read(self, place: str) -> tuple[str, dict[str, Any]]:
        source = files.newest(place)
        return source, files.read(source, self.device)

    def _saved(self) -> dict[str, Any]:
        """Return what else a checkpoint holds; ``model_state_dict`` may be among it."""
        raise NotImplementedError

    def _take(self, content: dict[str, Any]) -> None:
        """Take back what `_saved` gave."""
        raise NotImplementedError

    def _compare(self, content: dict[str, Any], source: str) -> None:
        """Raise CheckpointError if a checkpoint is that of another model."""


def must_be_finite(state: Mapping[str, Tensor]) -> None:
    """Raise FunctionalError if a parameter is NaN or infinite."""
    bad = first_not_finite(dict(state))
    if bad is not None:
        raise FunctionalError(
            f"the parameter '{bad}' is not finite, so no checkpoint is written",
            remedy="restore an earlier checkpoint and lower the learning rate",
        )


def plain(value: Any) -> bool:
    """Tell whether a value is data that a checkpoint can hold: numbers, text, lists, mappings."""
    if isinstance(value, Mapping):
        return all(isinstance(k, str) and plain(v) for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return all(plain(v) for v in value)
    return value is None or isinstance(value, (bool, int, float, str))


def plain_part(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Copy those arguments that are plain data."""
    return {name: plain_copy(value) for name, value in arguments.items() if plain(value)}


def plain_copy(value: Any) -> Any:
    """Copy plain data; tuples become lists."""
    if isinstance(value, Mapping):
        return {k: plain_copy(v) for k, v in value.items()}
    return [plain_copy(v) for v in value] if isinstance(value, (list, tuple)) else value
