"""Saving and restoring an XCModel: checkpoints, resuming, loading from other models."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deepchem.models.optimizers import LearningRateSchedule
from torch import Tensor, nn

from deepchem_dft import checkpoint as files
from deepchem_dft import parallel
from deepchem_dft.errors import CheckpointError
from deepchem_dft.fitting.checkpointed import must_be_finite, plain, plain_copy
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


class Persistent:
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

    def get_checkpoints(self, model_dir: str | None = None) -> list[str]:
        """Return the checkpoint files, newest first."""
        return files.existing(model_dir or self.model_dir)

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
        content = self._read(source, bool(strict))
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
        return source, self._read(source, strict=True)

    def _align(self) -> None:
        """Take over parameters, optimiser, seeds and counters of process 0; orbitals stay."""
        if parallel.world_size() == 1:
            return
        content = parallel.on_main(self._content)
        if parallel.rank():
            self._load(content, "process 0", True, content["model_state_dict"])
            files.set_random_state(content["random"])

    def _read(self, source: str, strict: bool) -> dict[str, Any]:
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
        path = files.newest(source)
        with files.understood(path):
            config = dict(files.read(path)["config"])
            origin = config.pop("origin")
            config.pop("parts")
        if origin == "network" and nnmodel is None or origin == "functional" and xc is None:
            raise CheckpointError(
                f"{path}: the model was made with a {origin} of your own, whose code is not in the "
                f"file. Remedy: pass {'nnmodel' if origin == 'network' else 'xc'}=."
            )
        given = {"nnmodel": nnmodel, "xc": xc}
        config.update({k: v for k, v in {**given, **options}.items() if v is not None})
        if "model_dir" not in config and Path(source).is_dir():
            config["model_dir"] = str(source)
        with files.understood(path):
            model = cls(**config)
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
        inputs: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Copy parameters from a trained model, leaving this one's optimiser and counters alone.

        Parameters
        ----------
        source_model : XCModel, str or Path
            A model (its newest checkpoint, or ``checkpoint``, is restored first if there is one),
            a checkpoint file, a model folder, or the name of a trained functional such as
            ``"zoo:NAME"``.
        assignment_map, value_map : dict, optional
            As in DeepChem.
        checkpoint, model_dir : str, optional
            Where the source model is restored from.
        include_top : bool
            If False, the network's last linear layer is not copied.
        inputs
            Not needed; for DeepChem's sake.

        Raises
        ------
        CheckpointError
            If there is nothing to load, or names and shapes differ.
        """
        if assignment_map is not None or value_map is not None:
            super().load_from_pretrained(  # type: ignore[misc]
                source_model, assignment_map, value_map, checkpoint, model_dir, include_top
            )
            return
        self._ensure_built()
        if isinstance(source_model, (str, Path)) and is_trained(str(source_model)):
            label = str(source_model)
            trained = get_xc(label).state_dict()
            parameters = {f"xc.{name}": value for name, value in trained.items()}
        else:
            parameters, label = files.parameters_of(
                source_model, self.device, checkpoint=checkpoint, model_dir=model_dir
            )
        if not include_top:
            layers = [n for n, m in self.model.named_modules() if isinstance(m, nn.Linear)]
            own = self.model.state_dict()
            top = f"{layers[-1]}." if layers else "\0"
            parameters = {k: own[k] if k.startswith(top) else v for k, v in parameters.items()}
        files.load_parameters(self.model, parameters, label)
        # Orbitals of the old functional would be a poor start, and wrong when frozen.
        self.model.states.clear()
        self.valid_states.clear()
