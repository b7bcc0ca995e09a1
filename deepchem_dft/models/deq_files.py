"""What a DEQModel reports of its training, and how it is saved and restored."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .checkpointed import Checkpointed


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


class DEQFiles(Checkpointed):
    """The part of ``DEQModel`` that reads and writes files; its methods belong to that class."""

    def _saved(self) -> dict[str, Any]:
        return {"history": [asdict(report) for report in self.history]}

    def _take(self, content: dict[str, Any]) -> None:
        self.history = [DEQEpoch(**report) for report in content["history"]]
