"""What a run tells whoever watches it; the command line draws progress bars from it."""

from __future__ import annotations

import logging
from typing import Any

from deepchem_dft.scf.solutions import EnergyRecord

LOGGER = logging.getLogger("deepchem_dft.runs")


class Reporter:
    """Receives events of a run. This one only logs; subclasses show them."""

    def phase(self, title: str, total: int | None = None) -> None:
        """A new phase begins: training with ``total`` epochs, or solving systems."""
        LOGGER.info("%s", title)

    def solution(self, solution: EnergyRecord, done: int, total: int) -> None:
        """A self-consistent field was solved, ``done`` of ``total`` in this phase."""

    def epoch(self, row: dict[str, Any]) -> None:
        """An epoch ended; ``row`` is a row of the history."""

    def note(self, text: str) -> None:
        """Something worth a line of its own."""
        LOGGER.info("%s", text)

    def close(self) -> None:
        """The run ended, well or not."""
