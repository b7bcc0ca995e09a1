"""How a HamiltonianModel is saved, restored, resumed, and begun from another one."""

from typing import Any

from deepchem_dft.errors import CheckpointError
from deepchem_dft.fitting.checkpointed import Checkpointed, must_be_finite, plain_copy
from deepchem_dft.models.hamiltonian.training import HamiltonianProgress, parameters_of

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

    def _put_back(self, parameters: dict[str, Any]) -> None:
        self.model.load_state_dict(parameters, strict=False)  # without buffers

    def _top(self) -> str:
        return "network.readouts."

    def _replaced(self) -> None:
        self.preparation.forget()
