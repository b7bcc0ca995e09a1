"""The part of a HamiltonianModel that trains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from deepchem.data import Dataset, NumpyDataset
from torch import nn

from ..data.featurizer import object_array
from ..errors import InputError
from .hamiltonian_network import HamiltonianModule
from .hamiltonian_predicting import named
from .hamiltonian_progress import HamiltonianEpoch, HamiltonianProgress
from .hamiltonian_samples import Preparation
from .hamiltonian_training import HamiltonianFit, HamiltonianTrainer, parameters_of

if TYPE_CHECKING:
    from .hamiltonian import HamiltonianModel


class HamiltonianFitting:
    """Training; its methods belong to ``HamiltonianModel``."""

    model: HamiltonianModule
    preparation: Preparation
    progress: HamiltonianProgress
    _global_step: int

    @property
    def history(self) -> list[HamiltonianEpoch]:
        """Reports of all completed epochs."""
        return self.progress.history

    def fit(
        self: HamiltonianModel,
        dataset: Dataset,
        nb_epoch: int = 100,
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
        validate_every: int = 5,
        restore_best: bool = True,
        checkpoint_every: int = 20,
        epoch_callback: Callable[[HamiltonianEpoch], None] | None = None,
        keep_optimizer: bool = False,
    ) -> float:
        """Train; the first data set also sets means and spreads.

        Parameters
        ----------
        dataset : Dataset
            Of `HamiltonianSample` objects. What they lack of overlap, core Hamiltonian and guess
            is computed and kept. Samples with weight 0 are left out.
        nb_epoch : int
            Passes through the data; with ``restore=True`` in all, the interrupted ones included.
            The learning rate falls over them.
        max_checkpoints_to_keep : int
            Older ones are deleted.
        checkpoint_interval : int, optional
            As ``checkpoint_every``, under DeepChem's name.
        deterministic : bool
            Keep the order of the data set.
        restore : bool
            Go on from the newest checkpoint, as if the training had never stopped.
        variables : list of Parameter, optional
            Train only these.
        loss
            Must be None: see the constructor's weights.
        callbacks : callable or list
            Called as ``f(model, step)`` after every epoch.
        all_losses : list, optional
            The loss of each epoch is appended.
        valid_dataset : Dataset, optional
            Selects the best of the averaged parameters, by the error of H.
        validate_every : int
            Epochs between validations.
        restore_best : bool
            End with the best parameters rather than the last.
        checkpoint_every : int
            Epochs between checkpoints; 0 for none.
        epoch_callback : callable, optional
            Called with the `HamiltonianEpoch` after each epoch and its checkpoint.
        keep_optimizer : bool
            Go on with what the optimiser has learned of gradients in an earlier training.

        Returns
        -------
        float
            Loss of the last epoch.

        Raises
        ------
        InputError
            Naming the entry that cannot be used.
        FunctionalError
            If the loss is not finite.
        CheckpointError
            If ``restore`` finds no usable checkpoint.
        """
        if loss is not None:
            raise InputError("HamiltonianModel has a loss of its own", field="loss",
                             remedy="set mae_weight, mse_weight, orbital_weight and "
                             "commutator_weight")
        if not len(dataset):
            raise InputError("the data set is empty", field="dataset")
        self._ensure_built()
        if restore:
            self._resume()
        else:
            warm = self.progress.warm if keep_optimizer else 0
            self.progress = HamiltonianProgress(warm=warm, history=self.progress.history)
            if not keep_optimizer:
                self._new_optimizer()
        if not bool(self.model.fitted):
            self.preparation.measure(named(dataset))
            self.model.fitted.fill_(True)
        every = checkpoint_every if checkpoint_interval is None else checkpoint_interval
        options = HamiltonianFit(
            nb_epoch, deterministic, valid_dataset, validate_every, every, max_checkpoints_to_keep,
            [callbacks] if callable(callbacks) else list(callbacks), epoch_callback)
        before, frozen = len(self.history), _freeze_others(self.model, variables)
        self.training = True
        try:
            value = HamiltonianTrainer(self, dataset, options).run()
        finally:
            self.training = False
            for parameter in frozen:
                parameter.requires_grad_(True)
            self._settle(restore_best)
        if every:
            self.save_checkpoint(max_checkpoints_to_keep)
        if all_losses is not None:
            all_losses += [report.loss for report in self.history[before:]]
        return value

    def _settle(self, best: bool) -> None:
        """Take the parameters that predict: the best, or else the averaged ones."""
        chosen = self.progress.best if best else None
        chosen = chosen or self.progress.average
        if chosen is not None:
            self.progress.trained = parameters_of(self.model)
            self.model.load_state_dict(chosen, strict=False)

    def _new_optimizer(self: HamiltonianModel) -> None:
        step, self._built = self.get_global_step(), False
        self._ensure_built()
        self._global_step = step

    def fit_on_batch(
        self: HamiltonianModel, X: Sequence, y: Sequence, w: Sequence,
        variables: Sequence[nn.Parameter] | None = None, loss: Callable | None = None,
        callbacks: Callable | Sequence[Callable] = (), checkpoint: bool = True,
        max_checkpoints_to_keep: int = 5,
    ) -> float:
        """Take one step; the optimiser goes on from earlier ones."""
        return self.fit(
            NumpyDataset(object_array(list(X)), y, w), 1, max_checkpoints_to_keep,
            int(checkpoint), variables=variables, loss=loss, callbacks=callbacks,
            keep_optimizer=True)

    def fit_generator(self, *args: Any, **kwargs: Any) -> float:
        """Not supported.

        Raises
        ------
        InputError
        """
        raise InputError("HamiltonianModel trains on data sets, not on generators",
                         remedy="use fit(dataset); a data set may read samples when needed")


def _freeze_others(module: nn.Module, variables: Sequence[nn.Parameter] | None) -> list:
    """Switch off gradients of what is not to be trained; return what was switched off."""
    if variables is None:
        return []
    wanted = {id(v) for v in variables}
    others = [p for p in module.parameters() if p.requires_grad and id(p) not in wanted]
    for parameter in others:
        parameter.requires_grad_(False)
    return others
