"""What every kind of run is: data, training, evaluation, tables, figures, card; and how one is loaded."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from deepchem_dft import checkpoint as files
from deepchem_dft.errors import InputError
from deepchem_dft.fitting.progress import Reporter
from deepchem_dft.runs.rundir import RunDirectory
from deepchem_dft.runs.tables import EntryRecord

if TYPE_CHECKING:
    from deepchem_dft.xc.base import XCFunctional


#: Folder of the trained model inside a run directory.
MODEL_DIR = "model"
ROLES = ("train", "valid", "test")


@dataclass(frozen=True)
class DataNote:
    """What ``data.json`` of a run says.

    Attributes
    ----------
    sha256 : str
        Of what is trained on.
    sets : list
        What the sets are, as JSON can hold it.
    renew : bool
        Whether sets that are not trained on may be others when the run is resumed.
    """

    sha256: str
    sets: Any
    renew: bool = False


class Run(ABC):
    """One run of a kind; :func:`deepchem_dft.runs.run` calls its methods in this order.

    Parameters
    ----------
    config : BaseRunConfig
    directory : RunDirectory
    reporter : Reporter, optional

    Attributes
    ----------
    records : list of EntryRecord
        Errors entry by entry, where values are energies.
    """

    #: Whether torchrun's processes share its work.
    several_processes: ClassVar[bool] = False
    #: Whether what it trains is an exchange-correlation functional.
    is_functional: ClassVar[bool] = False
    #: If not, what is said to whoever takes it for one: what it is, and the commands for it.
    instead: ClassVar[tuple[str, str]] = ("", "")

    def __init__(self, config: Any, directory: RunDirectory, reporter: Reporter | None = None) -> None:
        self.config, self.directory = config, directory
        self.reporter = reporter or Reporter()
        self.records: list[EntryRecord] = []

    @abstractmethod
    def check(self) -> None:
        """Raise for what cannot be, before anything is written or computed."""

    @abstractmethod
    def read(self) -> DataNote:
        """Read the data, or make them."""

    @contextmanager
    def working(self) -> Iterator[None]:
        """Hold what training and evaluation share, such as worker processes."""
        yield

    @abstractmethod
    def train(self) -> None:
        """Train (what is left of it), save the model, and set the state to ``trained``."""

    def fit(
        self,
        model: Any,
        dataset: Any,
        epochs: int,
        row: Callable[[Any], dict[str, Any]],
        columns: Sequence[str],
        **options: Any,
    ) -> None:
        """Fit a model that keeps its checkpoints in the run directory; go on where it was stopped.

        Parameters
        ----------
        model : Fitting
        dataset : Dataset
        epochs : int
        row : callable
            From the report of an epoch to what ``history.csv`` says of it.
        columns : sequence of str
            Of that file.
        **options
            Of the model's ``fit``.
        """
        directory, every, count = self.directory, self.config.output.checkpoint_every, len(dataset)

        def write_history() -> None:
            directory.write_history([row(report) for report in model.history], columns)

        def after_epoch(report: Any) -> None:
            said, number = row(report), len(model.history)
            left_out = round(said.get("unconverged_share", 0.0) * count)
            self.reporter.epoch({**said, "epoch": number, "unconverged": left_out})
            if number % every == 0:
                write_history()

        model.fit(
            dataset,
            epochs,
            max_checkpoints_to_keep=2,
            validate_every=self.config.training.validate_every,
            checkpoint_every=every,
            epoch_callback=after_epoch,
            **options,
        )
        write_history()
        model.save_checkpoint(1, model_dir=str(directory / MODEL_DIR))
        directory.set_status(state="trained", epochs=len(model.history))

    @property
    def begun(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return bool(files.existing(self.directory.checkpoints))

    @abstractmethod
    def evaluate(self) -> None:
        """Evaluate the trained model and its baselines."""

    @abstractmethod
    def write_tables(self) -> str:
        """Write the tables; return what ``results.md`` says."""

    @abstractmethod
    def draw(self) -> None:
        """Draw figures into ``plots/``."""

    @property
    def is_trained(self) -> bool:
        """Whether the training is done, and what it left is there."""
        done = self.directory.status.get("state") in ("trained", "finished")
        return done and bool(files.existing(self.directory / MODEL_DIR))

    def model(self) -> Any:
        """Return the trained model.

        Raises
        ------
        InputError
            If nothing was trained yet.
        """
        folder = self.directory / MODEL_DIR
        if not os.path.isdir(folder):
            raise self.unfinished()
        return self._load(str(folder))

    @abstractmethod
    def _load(self, folder: str) -> Any:
        """Return the model of a folder."""

    def unfinished(self) -> InputError:
        """Return the error of whoever asks for what was not trained yet."""
        return InputError(
            "the training of this run has not finished",
            file=str(self.directory.path),
            remedy="continue it with 'deepchem-dft train CONFIG.yaml --resume'",
        )

    def no_functional(self) -> InputError:
        """Return the error of whoever takes the model for a functional of real molecules."""
        problem, commands = self.instead
        remedy = f"use {commands}, or load_model(run) in Python"
        return InputError(problem, file=str(self.directory.path), remedy=remedy)

    @abstractmethod
    def card(self) -> dict[str, Any]:
        """Return what tables and data say for the card of the model."""

    def evaluate_on(self, names: Sequence[str], out: Path | None = None) -> tuple[str, list[str]]:
        """Evaluate the trained model on other sets, for ``deepchem-dft evaluate``.

        Parameters
        ----------
        names : sequence of str
            Sets, as the configuration writes them; none: the test sets of the run.
        out : path, optional
            File for the errors of all entries (CSV).

        Returns
        -------
        str, list of str
            A table, and what did not converge.
        """
        raise NotImplementedError

    def no_test_set(self, example: str) -> InputError:
        """Return the error of a run without a test set."""
        return InputError(
            "the run has no test set", file=str(self.directory.path), remedy=f"add --dataset {example}"
        )


def open_run(path: str | Path, reporter: Reporter | None = None) -> Run:
    """Return the run of a directory, of whatever kind it is.

    Raises
    ------
    InputError
        If the folder is not a run directory.
    """
    from deepchem_dft.runs.kinds import kind_of

    directory = RunDirectory(path)
    config = directory.load_config()
    return kind_of(config).run(config, directory, reporter)


def load_model(run: str | Path) -> Any:
    """Return the trained model of a finished run: XCModel, KSRModel, HamiltonianModel, DEQModel.

    Raises
    ------
    InputError
        If the folder is no run directory, or nothing was trained in it yet.
    """
    return open_run(run).model()


def load_functional(run: str | Path) -> "XCFunctional":
    """Return the trained functional of a finished run, in evaluation mode.

    Raises
    ------
    InputError
        Also for a run that trained something else, such as a functional of one-dimensional
        molecules.
    """
    found = open_run(run)
    if not found.is_functional:
        raise found.no_functional()
    return found.model().functional.eval()
