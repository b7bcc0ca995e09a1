"""The network of a DEQModel, as DeepChem wants it."""

from typing import Any

import torch
from torch import Tensor

from deepchem_dft.property import EquilibriumNetwork


class Outputs(torch.nn.Module):
    """What DeepChem wants of a network: prediction, input of the loss, embedding."""

    def __init__(self, network: EquilibriumNetwork, n_tasks: int, n_classes: int) -> None:
        super().__init__()
        self.network = network
        self._tasks, self._classes = n_tasks, n_classes

    def __getstate__(self) -> dict[str, Any]:
        # the last batch has a graph, which belongs to this process
        return {name: value for name, value in self.__dict__.items() if name != "last"}

    def forward(self, batch: Any) -> list[Tensor]:
        """Return (prediction, what the loss is made of, embedding)."""
        self.last = self.network(batch)
        output = self.last.output
        if not self._classes:
            return [output, output, self.last.embedding]
        logits = output.reshape(-1, self._tasks, self._classes)
        return [torch.softmax(logits, dim=2), logits, self.last.embedding]
