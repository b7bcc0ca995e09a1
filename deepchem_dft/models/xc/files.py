"""Saving and restoring an XCModel: checkpoints, resuming, loading from other models."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deepchem.models.optimizers import LearningRateSchedule
from torch import Tensor, nn

from deepchem_dft import checkpoint as files
from deepchem_dft import parallel
from deepchem_dft.errors import CheckpointError
from deepchem_dft.fitting.checkpointed import Checkpointed, must_be_finite, plain, plain_copy
from deepchem_dft.models.xc.progress import Progress
from deepchem_dft.models.xc.states import StateStore
from deepchem_dft.xc.base import XCFunctional
from deepchem_dft.xc.names import get_xc, is_trained
from deepchem_dft.xc.networks import XCNetwork

LOGGER = logging.getLogger("deepchem_dft.models")


def describe(
    xcstr: str | None,
    nnmodel: nn.Module | Mapping[str, Any] | None,
    xc: XCFunctional | None,
    options: dict[str, Any],
) -> dict[str, Any]:
    """Return a model's constructor arguments as plain data, for its checkpoints.

    ``origin`` says whose the functional is: "built" can be rebuilt from this, "network" needs the
    user's network, "functional" the user's functional. Options that are not plain (a loss
    function) are left out.
    """
    origin = "built"
    if xc is not None:
        origin = "functional"
    elif isinstance(nnmodel, XCNetwork):
        nnmodel = nnmodel.config
    elif isinstance(nnmodel, nn.Module):
        origin = "network"
    config: dict[str, Any] = {"xcstr": xcstr, "origin": origin}
    if isinstance(nnmodel, Mapping):
        config["nnmodel"] = nnmodel
    return {k: v for k, v in {**config, **options}.items() if plain(v)}


class Persistent(Checkpointed):
    """The part of ``XCModel`` that reads and writes files; its methods belong to that class."""

    # -- optimisers ---------------------------------------------------------------------------

    def _optimizer_of(self, variables: Sequence[Tensor] | None) -> tuple[Any, Any]:
        """Return (optimiser, schedule) of some parameters, the same ones at every call."""
        self._ensure_built()
        if variables is None:
            return self._pytorch_optimizer, self._lr_schedule
        key = tuple(variables)
        if key not in self._optimizer_for_vars:
            optimizer = self.optimizer._create_pytorch_optimizer(list(key))
            rate, schedule = self.optimizer.learning_rate, None
            if isinstance(rate, LearningRateSchedule):
                schedule = rate._create_pytorch_schedule(optimizer)
            self._optimizer_for_vars[key] = (optimizer, schedule)
        return self._optimizer_for_vars[key]

    def _optimizer_states(self) -> list[dict[str, Any]]:
        names = {id(p): name for name, p in self.model.named_parameters()}
        pairs = [(None, (self._pytorch_optimizer, self._lr_schedule))]
        pairs += [
            ([names[id(p)] for p in variables], pair) for variables, pair in self._optimizer_for_vars.items()
        ]
        return [
            {
                "variables": variables,
                "kind": type(optimizer).__name__,
                "optimizer": optimizer.state_dict(),
                "schedule": None if schedule is None else schedule.state_dict(),
            }
            for variables, (optimizer, schedule) in pairs
        ]

    def _load_optimizers(self, states: list[dict[str, Any]], source: str) -> None:
        parameters = dict(self.model.named_parameters())
        for state in states:
            names = state["variables"]
            chosen = None if names is None else [parameters[name] for name in names]
            optimizer, schedule = self._optimizer_of(chosen)
            if state["kind"] != type(optimizer).__name__:
                LOGGER.info(
                    "%s was written with the optimiser %s; %s starts afresh",
                    source,
                    state["kind"],
                    type(optimizer).__name__,
                )
                continue
            try:
                optimizer.load_state_dict(state["optimizer"])
                if schedule is not None and state["schedule"] is not None:
                    schedule.load_state_dict(state["schedule"])
            except (ValueError, KeyError) as error:
                raise CheckpointError(f"{source}: its optimiser state does not fit: {error}") from error

    # -- DeepChem's names -----------------------------------------------------------------------

    def save_checkpoint(self, max_checkpoints_to_keep: int = 5, model_dir: str | None = None) -> None:
        """Write everything a run needs to go on, as ``checkpoint1.pt``.

        That is parameters, optimiser, learning-rate schedule, random numbers, the orbitals of
        every system, counters, history, and the best parameters so far. The file is complete or
        not there at all, whenever the process dies. Of several processes all must call this; one
        writes.

        Parameters
        ----------
        max_checkpoints_to_keep : int
            Older ones are renumbered and deleted beyond this; 0 writes none.
        model_dir : str, optional
            Default: the model's.

        Raises
        ------
        FunctionalError
            If a parameter is NaN or infinite; no file is written or removed.
        StorageError
            If the system refuses; the older checkpoints are as before.
        """
        if max_checkpoints_to_keep == 0:
            return
        self._ensure_built()
        must_be_finite(self.model.state_dict())
        orbitals = {name: self.model.spreader.collect(store) for name, store in self._stores()}
        content = {**self._content(), **orbitals}
        parallel.on_main(lambda: files.push(model_dir or self.model_dir, content, max_checkpoints_to_keep))

    def _stores(self) -> list[tuple[str, StateStore]]:
        return [("states", self.model.states), ("valid_states", self.valid_states)]

    def _content(self) -> dict[str, Any]:
        """Return what a checkpoint holds besides the orbitals."""
        return {
            "model_state_dict": self.model.state_dict(),
            "optimizers": self._optimizer_states(),
            "global_step": self._global_step,
            "progress": self.progress.to_dict(),
            "seed": self.seed,
            "random": files.random_state(),
            "config": plain_copy(self.config),
        }

    def restore(
        self,
        checkpoint: str | None = None,
        model_dir: str | None = None,
        strict: bool | None = True,
        *,
        best: bool = False,
    ) -> None:
        """Load parameters, optimiser, counters and orbitals from a checkpoint.

        Parameters
        ----------
        checkpoint : str, optional
            File or folder. Default: the newest in ``model_dir``.
        model_dir : str, optional
            Default: the model's.
        strict : bool
            Whether the checkpoint must have exactly this model's parameters and conventional
            functional.
        best : bool
            Load the best validated parameters instead of those of the checkpoint's moment. (A fit
            with validation that ran to its end has already chosen them.)

        Raises
        ------
        CheckpointError
            If the file is missing, damaged, or belongs to a different model; the model is then
            unchanged.
        """
        source = files.newest(checkpoint or model_dir or self.model_dir)
        content = self._read_own(source, bool(strict))
        with files.understood(source):
            kept = content["progress"]["best"]
        if best and kept is None:
            raise CheckpointError(f"{source}: no epoch of it was validated, so there is no best")
        self._load(content, source, bool(strict), kept["parameters"] if best else None)

    def _resume(self) -> None:
        """Restore everything as it was, including random numbers and the last parameters."""
        source, content = parallel.on_main(self._read_newest)
        with files.understood(source):
            self._load(content, source, True, self._last_of(content))
            self.progress.last = None
            files.set_random_state(content["random"])

    @staticmethod
    def _last_of(content: dict[str, Any]) -> dict[str, Any] | None:
        """Return the parameters that training ended with, if those of the file are the best."""
        if "last_parameters" in content:  # as written before version 0.2
            return content["last_parameters"]
        return content["progress"]["last"]

    def _read_newest(self) -> tuple[str, dict[str, Any]]:
        source = files.newest(self.model_dir)
        return source, self._read_own(source, strict=True)

    def _align(self) -> None:
        """Take over parameters, optimiser, seeds and counters of process 0; orbitals stay."""
        if parallel.world_size() == 1:
            return
        content = parallel.on_main(self._content)
        if parallel.rank():
            self._load(content, "process 0", True, content["model_state_dict"])
            files.set_random_state(content["random"])

    def _read_own(self, source: str, strict: bool) -> dict[str, Any]:
        content = files.read(source, self.device)
        with files.understood(source):
            trained, own = content["config"]["parts"], self.config["parts"]
        if strict and trained != own:
            # Shapes of the parameters alone would let a PBE-based network into a BLYP-based one.
            raise CheckpointError(
                f"{source}: the functional was trained on top of {' and '.join(trained)}, this "
                f"model is made of {' and '.join(own)}. Remedy: build the model with the same "
                "functional, or use load_from_pretrained to copy the parameters regardless."
            )
        return content

    def _load(self, content: dict[str, Any], source: str, strict: bool, parameters: dict | None) -> None:
        self._ensure_built()
        with files.understood(source):
            files.load_parameters(self.model, parameters or content["model_state_dict"], source, strict)
            self._load_optimizers(content["optimizers"], source)
            self._global_step = content["global_step"]
            self.progress = Progress.from_dict(content["progress"])
            if "states" in content:
                self.model.states = StateStore.from_dict(content["states"])
                self.valid_states = StateStore.from_dict(content["valid_states"])
            self.seed = content["seed"]

    def get_global_step(self) -> int:
        """Return the number of optimiser steps taken."""
        self._ensure_built()
        return self._global_step

    def reload(self) -> None:
        """Restore the newest checkpoint."""
        self.restore()

    def save(self) -> None:
        """Write a checkpoint."""
        self.save_checkpoint()

    # -- from elsewhere ---------------------------------------------------------------------------

    @classmethod
    def load(
        cls,
        source: str | Path,
        nnmodel: nn.Module | None = None,
        *,
        xc: XCFunctional | None = None,
        **options: Any,
    ) -> Any:
        """Rebuild a model from its checkpoint alone.

        Parameters
        ----------
        source : str or Path
            Checkpoint file, or folder of a model.
        nnmodel : nn.Module, optional
            The network, needed if it was the user's own.
        xc : XCFunctional, optional
            The functional, needed if it was the user's own.
        **options
            Constructor arguments to change.

        Raises
        ------
        CheckpointError
            If the file is unusable, or a part it does not hold was not given.
        """
        given = {name: part for name, part in (("nnmodel", nnmodel), ("xc", xc)) if part is not None}
        return super().load(source, **given, **options)

    @classmethod
    def _arguments(cls, config: dict[str, Any], options: dict[str, Any], path: str) -> dict[str, Any]:
        origin = config.pop("origin")
        config.pop("parts")
        part = {"network": "nnmodel", "functional": "xc"}.get(origin)
        if part is not None and part not in options:
            raise CheckpointError(
                f"{path}: the model was made with a {origin} of your own, whose code is not in the "
                f"file. Remedy: pass {part}=."
            )
        return {**config, **{name: value for name, value in options.items() if value is not None}}

    def _pretrained(self, source: Any, checkpoint: str | None, model_dir: str | None) -> tuple[dict, str]:
        if not isinstance(source, (str, Path)) or not is_trained(str(source)):
            return super()._pretrained(source, checkpoint, model_dir)
        return {f"xc.{name}": value for name, value in get_xc(str(source)).state_dict().items()}, str(source)

    def _replaced(self) -> None:
        # Orbitals of the old functional would be a poor start, and wrong when frozen.
        self.model.states.clear()
        self.valid_states.clear()
