"""XCModel: a DeepChem model that trains a neural exchange-correlation functional."""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from deepchem.data import Dataset
from deepchem.models.torch_models.torch_model import TorchModel
from torch import Tensor, nn

from deepchem_dft import parallel
from deepchem_dft.errors import InputError
from deepchem_dft.fitting.model import Fitting
from deepchem_dft.fitting.options import FitOptions, arguments_of, only_deepchems, training_only
from deepchem_dft.models.xc.dftxc import DFTXC
from deepchem_dft.models.xc.files import Persistent, describe
from deepchem_dft.models.xc.functional import FUNCTIONAL_OPTIONS, conventional_parts, make_functional
from deepchem_dft.models.xc.losses import EntryLoss
from deepchem_dft.models.xc.options import SystemOptions
from deepchem_dft.models.xc.prediction import Predicting
from deepchem_dft.models.xc.progress import EpochReport, Progress
from deepchem_dft.models.xc.samples import read_samples
from deepchem_dft.models.xc.staged_training import StagedTraining
from deepchem_dft.models.xc.stages import Stage
from deepchem_dft.models.xc.states import StateStore
from deepchem_dft.models.xc.training import Trainer
from deepchem_dft.scf import SCFOptions
from deepchem_dft.scf.many import Solver
from deepchem_dft.torchstate import unaffected
from deepchem_dft.xc.base import XCFunctional


@unaffected
class XCModel(Predicting, Persistent, Fitting, TorchModel):
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
    dispersion : str or mapping, optional
        Energy of pairs of atoms that is part of the functional: ``"d3bj"``, ``"d4"``, or a mapping with
        parameters and which of them to train, as in ``{"model": "d3bj", "train": ["s8", "a1", "a2"]}``;
        see :class:`~deepchem_dft.xc.dispersion.Dispersion`. ``xcstr`` may name it, too: ``"pbe+d3bj"``.
    loss : {"l2", "l1", "huber"}, deepchem loss or callable(prediction, target, weight)
        See :class:`~deepchem_dft.models.xc.losses.EntryLoss`, also for ``loss_unit``,
        ``type_weights`` and ``huber_delta``. The loss of an epoch is the mean over its entries.
    scf : SCFOptions, optional
        How systems are solved. Or by name, with what concerns training: ``tol``, ``grid_level``,
        ``density_fit``, ``restricted``, ``max_iter``, ``two_grid``, ``engine``, ``stability``, ``scf_every``,
        ``scf_trust``, ``warm_start``, and ``on_unconverged``; see
        :class:`~deepchem_dft.models.xc.options.SystemOptions`. In training an entry that does not converge is
        left out, counted in ``last_epoch.unconverged``, and warned about once.
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
        dispersion: str | Mapping[str, Any] | None = None,
        loss: Any = "l2",
        loss_unit: str = "hartree",
        type_weights: Mapping[str, float] | None = None,
        huber_delta: float = 1.0,
        scf: SCFOptions | None = None,
        max_grad_norm: float | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        arguments = arguments_of(locals())
        named = {f.name: kwargs.pop(f.name) for f in fields(SystemOptions) if f.name in kwargs}
        options = SystemOptions.of(scf, **named)
        only_deepchems(self, kwargs)
        recipe = {name: arguments[name] for name in FUNCTIONAL_OPTIONS}
        losses = {name: arguments[name] for name in ("loss", "loss_unit", "type_weights", "huber_delta")}
        self.config = describe(xcstr, nnmodel, xc, {**recipe, **asdict(options), **losses})
        functional = xc if xc is not None else make_functional(xcstr, nnmodel, **recipe)
        self.config["parts"] = conventional_parts(functional)
        self.entry_loss = EntryLoss(*losses.values())
        self.xc, self.mode, self.n_tasks = xcstr, mode, n_tasks
        self.max_grad_norm = max_grad_norm
        self.seed = int(np.random.randint(2**31)) if seed is None else seed
        self.progress = Progress()
        self.valid_states = StateStore()
        self._generator_report: EpochReport | None = None
        self._stages: tuple[Stage, ...] = ()
        self._processes: int | None = None
        self._solver: Solver | None = None
        device = torch.device("cpu") if device is None else torch.device(device)
        if device.type == "mps":
            raise InputError(
                "Apple's GPU has no float64, which energies need",
                field="device",
                remedy="use the CPU or CUDA",
            )
        super().__init__(
            DFTXC(xc=functional, scf=options),
            loss=_mean_square,
            output_types=["prediction"],
            device=device,
            log_frequency=log_frequency,
            **kwargs,
        )
        if self.batch_size < 1:
            raise InputError(f"batch_size is {self.batch_size}", field="batch_size", remedy="use 1 or more")

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
    def last_epoch(self) -> EpochReport | None:
        """Report of the last completed epoch (or generator), None before the first."""
        return self._generator_report or (self.history[-1] if self.history else None)

    # -- training -------------------------------------------------------------------------------

    def fit(
        self,
        dataset: Dataset,
        nb_epoch: int | None = None,
        *args: Any,
        stages: Sequence[Stage] = (),
        processes: int | None = None,
        **options: Any,
    ) -> float:
        """Train; all options of :meth:`deepchem_dft.fitting.model.Fitting.fit`, and two more.

        The validation score is by default the mean absolute error of the energies in kcal/mol, or
        the loss if there are none.

        Parameters
        ----------
        dataset : Dataset
        nb_epoch : int, optional
        stages : sequence of Stage, optional
            Stretches of training one after the other, instead of ``nb_epoch``: at fixed densities,
            where an epoch takes milliseconds, or through self-consistent fields. Progress is kept
            in the model's folder, and ``restore=True`` goes on from there.
        processes : int, optional
            Processes that solve systems for fixed densities; default all cores.
        """
        self._stages, self._processes = tuple(stages), processes
        try:
            return super().fit(dataset, nb_epoch, *args, **options)
        finally:
            if self._solver is not None:
                self._solver.close()
            self._stages, self._solver = (), None

    def _training(self, dataset: Dataset, valid: Dataset | None, options: FitOptions) -> Any:
        self._generator_report = None
        train = read_samples(dataset, self.device)
        held = None if valid is None else read_samples(valid, self.device)
        if not self._stages:
            return Trainer(self, options, train, held)
        folder = self._stage_folder
        self._solver = Solver(
            self._processes,
            tol=self.model.layer.scf.tol,
            cache=folder / "energies.jsonl",
            states=folder / "states",
        )
        return StagedTraining(
            self,
            self._stages,
            train.entries,
            held.entries if held else (),
            options,
            folder=folder,
            solver=self._solver,
        )

    @property
    def _stage_folder(self) -> Path:
        return Path(self.model_dir) / "stages"

    def _begin(self, options: FitOptions) -> None:
        if self._stages:
            parallel.on_main(lambda: shutil.rmtree(self._stage_folder, ignore_errors=True))
        self._align()
        super()._begin(options)

    def _resume(self) -> None:
        if not self._stages:  # those keep their own progress
            super()._resume()

    def start_over(self, model_dir: str) -> None:
        """Forget optimiser, counters, history and orbitals; keep the parameters.

        Parameters
        ----------
        model_dir : str
            Where checkpoints go from now on.
        """
        self.model_dir = model_dir
        self.progress, self._built = Progress(), False
        self._optimizer_for_vars.clear()
        self.model.states.clear()
        self.valid_states.clear()
        self._ensure_built()

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
        trainer = Trainer(
            self,
            FitOptions(
                checkpoint_interval=checkpoint_interval,
                variables=variables,
                loss=loss,
                max_checkpoints_to_keep=max_checkpoints_to_keep,
                callbacks=callbacks,
                all_losses=all_losses,
            ),
        )
        if restore:
            self._resume()
        else:
            self._align()
        with training_only(self.model, variables):
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
