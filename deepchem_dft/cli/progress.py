"""How a run is shown: bars on a terminal, plain lines elsewhere."""

import math
import time
from typing import TYPE_CHECKING, Any

from deepchem_dft.fitting.progress import Reporter
from deepchem_dft.sinks import one_line

if TYPE_CHECKING:
    from rich.console import Console

    from deepchem_dft.scf.solutions import EnergyRecord


def epoch_text(row: dict[str, Any]) -> str:
    """Return the figures of an epoch, errors with their units.

    Examples
    --------
    >>> epoch_text({"loss": 2.5, "train_mae_kcal": 1.25, "valid_mae_kcal": None, "unconverged": 0})
    'loss 2.5, train 1.250 kcal/mol, unconverged 0'
    """
    parts = [f"loss {row['loss']:.5g}"]
    for key, label in (("train_mae_kcal", "train"), ("valid_mae_kcal", "valid")):
        value = row.get(key)
        if value is not None and not math.isnan(value):
            parts.append(f"{label} {value:.3f} kcal/mol")
        value = row.get(key.replace("kcal", "uha"))
        if value is not None and not math.isnan(value):
            parts.append(f"{label} {value:.1f} microhartree")
    return ", ".join([*parts, f"unconverged {row.get('unconverged', 0)}"])


class LineReporter(Reporter):
    """Plain lines: every epoch of a slow run, a selection of a fast one.

    Parameters
    ----------
    console : Console
    interval : float
        Least seconds between lines of one phase.
    """

    def __init__(self, console: "Console", interval: float = 5.0) -> None:
        self.console, self.interval = console, interval
        self._said = -math.inf
        self._total: int | None = None

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False)
        self._said = time.monotonic()

    def phase(self, title: str, total: int | None = None) -> None:
        super().phase(title, total)
        self._total = total
        self._say(title if total is None else f"{title}: {total} epochs")

    def solution(self, solution: "EnergyRecord", done: int, total: int) -> None:
        if not solution.converged:
            self._say(f"not converged: {solution.name}")
        elif done == total or time.monotonic() - self._said > self.interval:
            self._say(f"solved {done}/{total} systems")

    def epoch(self, row: dict[str, Any]) -> None:
        last = row["epoch"] == self._total
        if last or row["epoch"] == 1 or time.monotonic() - self._said > self.interval:
            self._say(f"epoch {row['epoch']}/{self._total}: {epoch_text(row)}")

    def note(self, text: str) -> None:
        super().note(text)
        self._say(text)


class BarReporter(Reporter):
    """Progress bars on a terminal, one per phase."""

    def __init__(self, console: "Console") -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description:<12}", markup=False),
            BarColumn(30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}", markup=False),
            console=console,
        )
        self._progress.start()
        self._epochs: Any = None
        self._systems: Any = None

    def phase(self, title: str, total: int | None = None) -> None:
        super().phase(title, total)
        self._systems = None
        if total is not None:
            self._epochs = self._progress.add_task(title, total=total, text="")

    def solution(self, solution: "EnergyRecord", done: int, total: int) -> None:
        if self._systems is None or done == 1:
            self._systems = self._progress.add_task("solving", total=total, text="")
        name = one_line(solution.name)
        self._progress.update(self._systems, completed=done, total=total, text=name)
        if not solution.converged:
            self.note(f"not converged: {solution.name}")

    def epoch(self, row: dict[str, Any]) -> None:
        self._progress.update(self._epochs, completed=row["epoch"], text=epoch_text(row))

    def note(self, text: str) -> None:
        super().note(text)
        self._progress.console.print(text, markup=False)

    def close(self) -> None:
        self._progress.stop()
