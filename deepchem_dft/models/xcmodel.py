"""XCModel: a DeepChem model that trains a neural exchange-correlation functional."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from deepchem.data import Dataset
from deepchem.models.torch_models.torch_model import TorchModel
from torch import Tensor, nn

from ..errors import InputError
from ..files import make_folder
from ..torchstate import unaffected
from ..xc.base import XCFunctional
from .dftxc import DFTXC
from .functional import conventional_parts, make_functional
from .losses import EntryLoss
from .persistence import Persistent, describe
from .prediction import Predicting
from .progress import EpochReport, Progress
from .samples import read_samples
from .states import StateStore
from .training import FitOptions, Trainer

_BASE_OPTIONS = ("batch_size", "model_dir", "learning_rate", "optimizer", "tensorboard", "wandb",
                 "regularization_loss", "wandb_logger")  # fmt: skip


@unaffected
class XCModel(Predicting, Persistent, TorchModel):
    """Train a neural exchange-correlation functional through self-consistent Kohn-Sham.

    The functional is ``a * network + b * xcstr + exact exchange``, and training starts exactly at
    ``xcstr``. Every entry of a data set (atomisation energy, barrier, density...) is a combination
    of systems that are solved self-consistently; the loss on it is minimised. Any DeepChem
    ``Dataset`` of ``DFTEntry`` objects works, with DeepChem's fit, predict and evaluate. Under
    torchrun these share the systems over its processes, all of which must make the same calls.

    Parameters
    ----------
    xcstr : str or None
        Conventional part: any functional libxc knows (None if ``xc`` is given).
    nnmodel : nn.Module or mapping, optional
        Network on (n, xi), (n, xi, s) or (n, xi, s, alpha), any float dtype, with one output: the
        energy per electron in Ha. A mapping is passed to ``deepchem_dft.xc.build_network``.
        Default: DeepChem's network.
    input_size, hidden_size, n_layers, modeltype : int
        DeepChem's network (``input_size=None`` follows the family).
    n_tasks, mode
        Accepted for DeepChem's sake; the model always predicts one number per entry.
    log_frequency : int
        Steps between log messages; 0 logs epochs only.
    device : torch.device, optional
        Default: the CPU, where the integrals are.
    xc : XCFunctional, optional
        A ready functional instead of all that describes one.
    aweight0, bweight0 : float
        Initial a and b. ``aweight0`` defaults to 1 for a network that returns zero, as those
        built here do, and to 0 for any other: training starts at ``xcstr``.
    train_a, train_b : bool
        Whether a and b are trained.
    exchange : float, optional
        Share of exact exchange; default b times the share of ``xcstr``.
    train_exchange : bool
        Whether that share is trained.
    family : {"lda", "gga", "mgga"}, optional
        Inputs of the network; default those of ``xcstr``.
    spin_symmetric : bool
        Average the network over both signs of the spin polarisation.
    loss : {"l2", "l1", "huber"}, deepchem loss or callable(prediction, target, weight)
        See :class:`~deepchem_dft.models.losses.EntryLoss`, also for ``loss_unit``,
        ``type_weights`` and ``huber_delta``. The loss of an epoch is the mean over its entries.
    scf_every : int
        Optimiser steps between self-consistent solutions of a system: see
        :class:`~deepchem_dft.models.dftxc.DFTXC`, also for ``scf_trust``, ``warm_start``,
        ``two_grid``, ``restricted``, ``tol``, ``grid_level``, ``density_fit``, ``max_iter``
        and ``engine``.
    on_unconverged : {"raise", "nan"}
        What prediction does with an entry that does not converge. In training it is left out,
        counted in ``last_epoch.unconverged``, and warned about once.
    max_grad_norm : float, optional
        Clip the gradient to this norm.
    seed : int, optional
        Seeds the network's initial weights and the order of the entries. Default: drawn from
        numpy's random numbers.
    **kwargs
        ``batch_size`` (100), ``learning_rate`` (0.001), ``optimizer``, ``model_dir``,
        ``tensorboard``, ``regularization_loss`` (added to every step's loss), ``wandb_logger``:
        as in ``deepchem.models.TorchModel``.

    Attributes
    ----------
    functional : XCFunctional
        What is trained.
    history : list of EpochReport
        One per epoch, also after a resume.

    Raises
    ------
    InputError, FunctionalError
        For arguments that describe no functional.

    Examples
    --------
    >>> import deepchem as dc
    >>> from deepchem_dft.data import DFTEntry
    >>> h2 = [{"moldesc": "H 0 0 0; H 0 0 1.4", "basis": "sto-3g"}]
    >>> dataset = dc.data.NumpyDataset([DFTEntry.create("energy", "-1.17 Ha", h2)], [[-1.17]])
    >>> model = XCModel("lda", grid_level=0, learning_rate=0.01, seed=0)
    >>> loss = model.fit(dataset, nb_epoch=3)
    >>> loss < model.history[0].loss
    True

    References
    ----------
    Kasim, Vinko, Phys. Rev. Lett. 127, 126403 (2021).
    """

    def __init__(
        self,
        xcstr: str | None = None,
        nnmodel: nn.Module | Mapping[str, Any] | None = None,
        input_size: int | None = None,
        hidden_size: int = 10,
        n_layers: int = 1,
        modeltype: int = 1,
        n_tasks: int = 0,
        log_frequency: int = 0,
        mode: str = "regression",
        device: torch.device | str | None = None,
        *,
        xc: XCFunctional | None = None,
        aweight0: float | None = None,
        bweight0: float = 1.0,
        train_a: bool = True,
        train_b: bool = True,
        exchange: float | None = None,
        train_exchange: bool = False,
        family: str | None = None,
        spin_symmetric: bool = True,
        loss: Any = "l2",
        loss_unit: str = "hartree",
        type_weights: Mapping[str, float] | None = None,
        huber_delta: float = 1.0,
        scf_every: int = 1,
        scf_trust: float = 1e-5,
        warm_start: bool = True,
        two_grid: bool | None = None,
        tol: float = 1e-6,
        grid_level: int = 3,
        density_fit: bool | str | None = None,
        restricted: bool | None = None,
        max_iter: int | None = None,
        on_unconverged: str = "raise",
        engine: str = "native",
        max_grad_norm: float | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        for name in kwargs:
            if name not in _BASE_OPTIONS:  # DeepChem's base class would swallow it
                raise TypeError(f"XCModel got an unexpected keyword argument {name!r}")
        recipe: dict[str, Any] = {
            "input_size": input_size, "hidden_size": hidden_size, "n_layers": n_layers,
            "modeltype": modeltype, "aweight0": aweight0, "bweight0": bweight0, "train_a": train_a,
            "train_b": train_b, "exchange": exchange, "train_exchange": train_exchange,
            "family": family, "spin_symmetric": spin_symmetric, "seed": seed,
        }  # fmt: skip
        field: dict[str, Any] = {
            "tol": tol, "grid_level": grid_level, "restricted": restricted, "max_iter": max_iter,
            "scf_every": scf_every, "warm_start": warm_start, "on_unconverged": on_unconverged,
            "scf_trust": scf_trust, "two_grid": two_grid, "engine": engine,
            "density_fit": density_fit,
        }  # fmt: skip
        self.config = describe(
            xcstr, nnmodel, xc, {**recipe, **field, "loss": loss, "loss_unit": loss_unit,
                                 "type_weights": type_weights, "huber_delta": huber_delta}
        )  # fmt: skip
        functional = xc if xc is not None else make_functional(xcstr, nnmodel, **recipe)
        self.config["parts"] = conventional_parts(functional)
        self.entry_loss = EntryLoss(loss, loss_unit, type_weights, huber_delta)
        self.xc, self.mode, self.n_tasks = xcstr, mode, n_tasks
        self.max_grad_norm = max_grad_norm
        self.seed = int(np.random.randint(2**31)) if seed is None else seed
        self.progress = Progress()
        self.valid_states = StateStore()
        self._last_parameters: dict[str, Tensor] | None = None
        self._generator_report: EpochReport | None = None
        device = torch.device("cpu") if device is None else torch.device(device)
        if device.type == "mps":
            raise InputError("Apple's GPU has no float64, which energies need", field="device",
                             remedy="use the CPU or CUDA")
        if kwargs.get("model_dir") is not None:  # DeepChem's way fails if two processes do it
            make_folder(kwargs["model_dir"])
        super().__init__(
            DFTXC(xc=functional, **field),
            loss=_mean_square,
            output_types=["prediction"],
            device=device,
            log_frequency=log_frequency,
            **kwargs,
        )
        if self.batch_size < 1:
            raise InputError(f"batch_size is {self.batch_size}", field="batch_size",
                             remedy="use 1 or more")

    # -- what it is -----------------------------------------------------------------------------

    @property
    def functional(self) -> XCFunctional:
        """The functional being trained."""
        return self.model.xc

    @property
    def scf_every(self) -> int:
        """Optimiser steps between self-consistent solutions; may be changed while training."""
        return self.model.scf_every

    @scf_every.setter
    def scf_every(self, value: int) -> None:
        self.model.scf_every = value

    @property
    def history(self) -> list[EpochReport]:
        """Reports of all completed epochs."""
        return self.progress.history

    @property
    def last_epoch(self) -> EpochReport | None:
        """Report of the last completed epoch (or generator), None before the first."""
        return self._generator_report or (self.history[-1] if self.history else None)

    # -- training -------------------------------------------------------------------------------

    def fit(
        self,
        dataset: Dataset,
        nb_epoch: int = 10,
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
        validate_every: int = 1,
        early_stopping: int | None = None,
        restore_best: bool = True,
        checkpoint_every: int = 1,
        before_epoch: Callable[[XCModel, int], None] | None = None,
        epoch_callback: Callable[[EpochReport], None] | None = None,
    ) -> float:
        """Train.

        Parameters
        ----------
        dataset : Dataset
        nb_epoch : int
            Epochs to train, or with ``restore=True`` epochs in all.
        max_checkpoints_to_keep : int
            Older ones are deleted.
        checkpoint_interval : int, optional
            Steps between checkpoints, 0 for none. Default: one every ``checkpoint_every`` epochs.
        deterministic : bool
            Keep the data set's order. Else each epoch's order follows from seed and epoch number.
        restore : bool
            Go on from the newest checkpoint, as if the run had never stopped.
        variables : list of Parameter, optional
            Train only these.
        loss : callable, optional
            DeepChem's form ``f(outputs, labels, weights)`` instead of the model's loss.
        callbacks : callable or list
            Called as ``f(model, step)`` after every step.
        all_losses : list, optional
            The loss of each epoch is appended.
        valid_dataset : Dataset, optional
            Selects the best parameters.
        metric : dc.metrics.Metric or callable(y_true, y_pred), optional
            Validation score, the lower the better (unless ``metric_greater_is_better=True``).
            Default: mean absolute error of the energies in kcal/mol; the loss if there are none.
            An epoch with more unconverged validation entries is never better.
        validate_every : int
            Epochs between validations (1).
        early_stopping : int, optional
            Stop after so many validations without improvement.
        restore_best : bool
            End with the best parameters (True). A later ``fit(restore=True)`` still goes on from
            the last ones.
        before_epoch : callable, optional
            Called as ``f(model, epoch)`` before each epoch (from 1), for instance to call
            :meth:`set_learning_rate` or to set ``batch_size`` or ``scf_every``.
        epoch_callback : callable, optional
            Called with the ``EpochReport`` after each epoch and its checkpoint.

        Returns
        -------
        float
            Mean loss over the entries of the last epoch.

        Raises
        ------
        InputError
            For a data set that cannot be trained on.
        FunctionalError
            If the loss or a gradient is not finite; nothing is written then.
        CheckpointError
            If ``restore`` finds no usable checkpoint.
        """
        train = read_samples(dataset, self.device)
        valid = None if valid_dataset is None else read_samples(valid_dataset, self.device)
        if early_stopping is not None and valid is None:
            raise InputError("early stopping needs something to judge by", field="early_stopping",
                             remedy="give valid_dataset")
        trainer = Trainer(self, FitOptions(
            checkpoint_interval=checkpoint_interval, checkpoint_every=checkpoint_every,
            max_checkpoints_to_keep=max_checkpoints_to_keep, deterministic=deterministic,
            variables=variables, loss=loss, callbacks=callbacks, all_losses=all_losses,
            metric=metric, metric_greater_is_better=metric_greater_is_better,
            validate_every=validate_every, early_stopping=early_stopping,
            restore_best=restore_best, before_epoch=before_epoch, epoch_callback=epoch_callback,
        ))  # fmt: skip
        self._generator_report = None
        if restore:
            self._resume()
        else:
            self.progress.new_run()
            self._align()
        self._last_parameters = None
        return trainer.fit(train, valid, nb_epoch if restore else self.progress.epoch + nb_epoch)

    def fit_generator(
        self,
        generator: Iterable[tuple[Any, Any, Any]],
        max_checkpoints_to_keep: int = 5,
        checkpoint_interval: int = 1000,
        restore: bool = False,
        variables: Sequence[nn.Parameter] | None = None,
        loss: Callable | None = None,
        callbacks: Callable | Sequence[Callable] = (),
        all_losses: list[float] | None = None,
    ) -> float:
        """Train on batches ``([entries], [labels], [weights])``; return their mean loss.

        ``restore`` loads the newest checkpoint first; where in the generator it was written is
        not known, so that use :meth:`fit` for runs that must resume exactly.
        """
        trainer = Trainer(self, FitOptions(
            checkpoint_interval=checkpoint_interval, variables=variables, loss=loss,
            max_checkpoints_to_keep=max_checkpoints_to_keep, callbacks=callbacks,
            all_losses=all_losses,
        ))  # fmt: skip
        if restore:
            self._resume()
        else:
            self._align()
        self._last_parameters = None
        return trainer.fit_generator(generator)

    def set_learning_rate(self, value: float) -> None:
        """Set the learning rate of the optimiser from now on (a schedule would overwrite it)."""
        self._ensure_built()
        optimizers = [self._pytorch_optimizer, *(o for o, _ in self._optimizer_for_vars.values())]
        for group in (g for o in optimizers for g in o.param_groups):
            group["lr"] = value


def _mean_square(outputs: list, labels: list, weights: list) -> Tensor:
    """Stand-in for the base class, whose own training loop is not used."""
    return ((outputs[0] - labels[0]) ** 2 * weights[0]).mean()
