"""How a HamiltonianModel is saved, restored, resumed, and begun from another one."""

from __future__ import annotations

from typing import Any

from deepchem_dft import checkpoint as files
from deepchem_dft.errors import CheckpointError
from deepchem_dft.fitting.checkpointed import Checkpointed, must_be_finite, plain_copy
from deepchem_dft.models.hamiltonian.progress import HamiltonianProgress
from deepchem_dft.models.hamiltonian.training import parameters_of

#: Arguments that give the same parameters another meaning.
_MEANING = ("elements", "basis", "form", "guess", "inputs", "cutoff", "xc")


class HamiltonianFiles(Checkpointed):
    """The part of ``HamiltonianModel`` that reads and writes files; its methods belong to it."""

    _telling = "elements"

    def _saved(self) -> dict[str, Any]:
        """Return what is beside the optimiser.

        Parameters are those that predict: during training the averaged ones, beside those that are
        trained.
        """
        state, progress = self.model.state_dict(), self.progress.to_dict()
        must_be_finite({k: v for k, v in state.items() if v.is_floating_point()})
        if self.training and self.progress.average is not None:
            progress["last"] = parameters_of(self.model)
            state = {**state, **self.progress.average}
        return {"model_state_dict": state, "progress": progress, "config": plain_copy(self.config)}

    def _take(self, content: dict[str, Any]) -> None:
        self.progress = HamiltonianProgress.from_dict(content["progress"])
        self.preparation.forget()

    def _compare(self, content: dict[str, Any], source: str) -> None:
        for name in _MEANING:
            theirs, own = content["config"][name], plain_copy(self.config[name])
            if theirs != own:
                raise CheckpointError(
                    f"{source}: the checkpoint is of a model with {name}={theirs!r}, this one has "
                    f"{own!r}. Remedy: make the model with the same arguments, or use "
                    f"{type(self).__name__}.load"
                )

    def _resume(self) -> None:
        """Restore the newest checkpoint with the parameters as the optimiser left them."""
        self.restore()
        if self.progress.last is not None:
            self.model.load_state_dict(self.progress.last, strict=False)
            self.progress.last = None

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
                source_model, assignment_map, value_map, checkpoint, model_dir, include_top
            )
        else:
            parameters, label = files.parameters_of(
                source_model, self.device, checkpoint=checkpoint, model_dir=model_dir
            )
            if not include_top:
                own = self.model.state_dict()
                parameters = {
                    k: own[k] if k.startswith("network.readouts.") else v for k, v in parameters.items()
                }
            files.load_parameters(self.model, parameters, label)
        self.preparation.forget()
