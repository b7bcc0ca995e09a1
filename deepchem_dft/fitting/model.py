"""The ``fit`` of every model."""

from collections.abc import Callable, Sequence
from typing import Any

from deepchem.data import Dataset
from torch import nn

from deepchem_dft.errors import InputError
from deepchem_dft.fitting.loop import TrainingLoop
from deepchem_dft.fitting.options import FitDefaults, FitOptions, training_only
from deepchem_dft.fitting.progress import Epoch


class Fitting:
    """Training; its methods belong to a DeepChem model.

    A model says how it is trained in ``_training`` and how a run begins in ``_begin``.
    """

    #: What :meth:`fit` does where it is not told.
    fit_defaults = FitDefaults()

    progress: Any

    def _training(self, dataset: Dataset, valid: Dataset | None, options: FitOptions) -> TrainingLoop:
        """Return the loop that trains this model; raise InputError for data it cannot take."""
        raise NotImplementedError

    def _begin(self, options: FitOptions) -> None:
        """Begin another run; set ``options.nb_epoch`` to the last epoch of it."""
        self.progress.new_run()
        options.nb_epoch += self.progress.epoch

    def _resume(self) -> None:
        """Go on from the newest checkpoint with the parameters that training ended with."""
        self.restore()
        if self.progress.last is not None:
            self._put_back(self.progress.last)
            self.progress.last = None

    def _put_back(self, parameters: dict[str, Any]) -> None:
        """Take the parameters that ``progress.last`` kept."""
        self.model.load_state_dict(parameters)

    @property
    def history(self) -> list[Any]:
        """Reports of all completed epochs."""
        return self.progress.history

    @property
    def last_epoch(self) -> Epoch | None:
        """Report of the last completed epoch, None before the first."""
        return self.history[-1] if self.history else None

    def fit(
        self,
        dataset: Dataset,
        nb_epoch: int | None = None,
        max_checkpoints_to_keep: int = 5,
        checkpoint_interval: int | None = None,
        deterministic: bool = False,
        restore: bool = False,
        variables: Sequence[nn.Parameter] | None = None,
        loss: Callable | None = None,
        callbacks: Callable | Sequence[Callable] = (),
        all_losses: list[float] | None = None,
        *,
        valid_dataset: Dataset | None = None,
        metric: Any = None,
        metric_greater_is_better: bool = False,
        validate_every: int | None = None,
        early_stopping: int | None = None,
        restore_best: bool = True,
        checkpoint_every: int | None = None,
        before_epoch: Callable[[Any, int], None] | None = None,
        epoch_callback: Callable[[Any], None] | None = None,
    ) -> float:
        """Train.

        Where a default is None, it is the model's own: see ``fit_defaults``.

        Parameters
        ----------
        dataset : Dataset
        nb_epoch : int, optional
            Epochs to train, or with ``restore=True`` epochs in all.
        max_checkpoints_to_keep : int
            Older ones are deleted; 0 writes none.
        checkpoint_interval : int, optional
            Steps between checkpoints, 0 for none. Default: one every ``checkpoint_every`` epochs.
        deterministic : bool
            Keep the data set's order. Else each epoch's order follows from seed and epoch number.
        restore : bool
            Go on from the newest checkpoint, as if the run had never stopped.
        variables : list of Parameter, optional
            Train only these.
        loss : callable, optional
            DeepChem's form ``f(outputs, labels, weights)`` instead of the model's loss. Not for
            ``KSRModel`` and ``HamiltonianModel``, which compare whole trajectories and matrices
            with their samples: their losses have weights, arguments of the constructors.
        callbacks : callable or list
            Called as ``f(model, step)`` after every step.
        all_losses : list, optional
            The loss of each epoch is appended.
        valid_dataset : Dataset, optional
            Selects the best parameters.
        metric : dc.metrics.Metric or callable(y_true, y_pred), optional
            Validation score, the lower the better (unless ``metric_greater_is_better=True``).
            Default: the model's own, see there. An epoch with more unconverged validation entries
            is never better.
        validate_every : int, optional
            Epochs between validations; the last epoch is always validated.
        early_stopping : int, optional
            Stop after so many validations without improvement.
        restore_best : bool
            End with the best parameters (True). A later ``fit(restore=True)`` still goes on from
            the last ones.
        checkpoint_every : int, optional
            Epochs between checkpoints; 0 for none.
        before_epoch : callable, optional
            Called as ``f(model, epoch)`` before each epoch (from 1), for instance to change the
            learning rate, ``batch_size`` or another attribute of the model.
        epoch_callback : callable, optional
            Called with the report of each epoch after its checkpoint.

        Returns
        -------
        float
            Mean loss over the entries of the last epoch.

        Raises
        ------
        InputError
            For a data set that cannot be trained on, and options that make no sense.
        FunctionalError
            If the loss or a gradient is not finite; nothing is written then.
        CheckpointError
            If ``restore`` finds no usable checkpoint.
        """
        usual = self.fit_defaults
        options = FitOptions(
            nb_epoch=usual.nb_epoch if nb_epoch is None else nb_epoch,
            max_checkpoints_to_keep=max_checkpoints_to_keep,
            checkpoint_interval=checkpoint_interval,
            checkpoint_every=(usual.checkpoint_every if checkpoint_every is None else checkpoint_every),
            deterministic=deterministic,
            variables=variables,
            loss=loss,
            callbacks=callbacks,
            all_losses=all_losses,
            metric=metric,
            metric_greater_is_better=metric_greater_is_better,
            validate_every=usual.validate_every if validate_every is None else validate_every,
            early_stopping=early_stopping,
            restore_best=restore_best,
            before_epoch=before_epoch,
            epoch_callback=epoch_callback,
        )
        if early_stopping is not None and valid_dataset is None:
            raise InputError(
                "early stopping needs something to judge by",
                field="early_stopping",
                remedy="give valid_dataset",
            )
        self._ensure_built()
        loop = self._training(dataset, valid_dataset, options)
        if restore:
            self._resume()
        else:
            self._begin(options)
        loop.last_epoch = options.nb_epoch
        with training_only(self.model, variables):
            return loop.run()
