"""KSRModel: a DeepChem model that trains a functional through every Kohn-Sham iteration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from deepchem.data import Dataset
from deepchem.models.torch_models.torch_model import TorchModel
from torch import Tensor, nn

from ..errors import InputError
from ..lattice.functionals import LatticeFunctional
from ..lattice.grid import Grid
from ..torchstate import unaffected
from .ksr_files import KSRFiles
from .ksr_loss import KSRLoss, KSRStage
from .ksr_network import KSRNetwork
from .ksr_prediction import KSRPredicting
from .ksr_progress import KSREpoch, KSRProgress
from .ksr_samples import KSRSamples
from .ksr_seeds import KSRSeeds
from .ksr_training import KSRFit, KSRTrainer
from .persistence import describe

_BASE_OPTIONS = ("batch_size", "model_dir", "learning_rate", "optimizer", "tensorboard", "wandb",
                 "log_frequency", "device", "regularization_loss", "wandb_logger")  # fmt: skip


@unaffected
class KSRModel(KSRSeeds, KSRPredicting, KSRFiles, TorchModel):
    """Train a functional of one-dimensional molecules with the Kohn-Sham equations as regulariser.

    A calculation is a fixed number of damped Kohn-Sham iterations, and the loss compares energies
    along them and the density at their end with exact ones. Gradients go through all iterations,
    so that a functional is judged by what it leads to. Two molecules are enough to learn the
    dissociation curve of H2.

    Data sets hold exact states (or, to predict, systems) in ``X`` and energies without the
    repulsion of the nuclei in ``y``: see :func:`~deepchem_dft.molnet.load_ksr`.

    Parameters
    ----------
    functional : str, nn.Module or callable
        ``"global"``, ``"gradient"``, ``"local"``, ``"uniform-gas"``, a network of the user's, a
        ``LatticeFunctional``; or a function of the seed that returns one of the latter two. See
        :func:`~deepchem_dft.lattice.functionals.make_functional`.
    grid : Grid, optional
        Default: 513 points 0.08 Bohr apart.
    iterations : int
        K, at training.
    test_iterations : int, optional
        K at prediction and validation; default the same. May be changed at any time.
    mixing, decay : float
        Share of the new density in the first iteration, and its factor from each to the next.
    start : {"noninteracting", "atoms", "exact"}
        First density: of electrons that do not interact, of atoms side by side, or the exact one,
        which data must then hold. With ``"exact"`` and one iteration, a model learns the energy
        as a functional of the exact density: direct machine learning.
    burn_in : int
        Iterations at the beginning of training's trajectories that are not differentiated.
    polarised : bool
        Treat spins apart.
    functional_options : mapping, optional
        Of a functional given by name or network, such as ``gate``, ``gate_width``, ``hidden``.
    energy_weight, density_weight, discount, skip
        See :class:`~deepchem_dft.models.KSRLoss`. ``skip`` is by default all but the last five
        iterations.
    separability_weight : float
        Of the condition that two far copies of a molecule have twice its energy, in the loss; for
        molecules of more than two electrons. See
        :class:`~deepchem_dft.models.ksr_separability.Separability`. It goes beyond the paper.
    method : {"lbfgs", "adam"}
        L-BFGS takes all samples at once, and is the better choice by far. ``"adam"`` stands for
        DeepChem's ``optimizer``, whichever that is, and ``learning_rate``.
    tol : float
        Electrons that the last iteration may move in a converged calculation.
    on_unconverged : {"warn", "raise"}
        What prediction does about others.
    seed : int
        Of initial weights, and Adam's order of samples.
    **kwargs
        ``batch_size`` (8: samples side by side), ``learning_rate`` (0.001), ``optimizer``,
        ``model_dir``, ``regularization_loss``...: as in ``deepchem.models.TorchModel``.

    Attributes
    ----------
    functional : LatticeFunctional
        What is trained.
    history : list of KSREpoch
        One per epoch and seed, also after a resume.
    last_residuals : ndarray, shape (N,)
        Electrons moved by the last iteration of each sample of the last prediction.

    Raises
    ------
    InputError
        For arguments that describe no model, and data that do not fit it.

    Examples
    --------
    >>> import deepchem as dc
    >>> from deepchem_dft.lattice.exact import exact
    >>> from deepchem_dft.lattice.systems import h2
    >>> states = [exact(h2(1.28)), exact(h2(3.84))]
    >>> dataset = dc.data.NumpyDataset(states, [[state.energy] for state in states])
    >>> model = KSRModel(iterations=4, skip=2, test_iterations=15, seed=3)
    >>> loss = model.fit(dataset, nb_epoch=3)
    >>> loss < model.history[0].loss, model.predict(dataset).shape
    (True, (2, 1))

    References
    ----------
    Li et al., Phys. Rev. Lett. 126, 036401 (2021).
    """

    def __init__(
        self,
        functional: str | nn.Module | Callable[[int], nn.Module] = "global",
        *,
        grid: Grid | None = None,
        iterations: int = 15,
        test_iterations: int | None = None,
        mixing: float = 0.5,
        decay: float = 0.9,
        start: str = "noninteracting",
        burn_in: int = 0,
        polarised: bool = False,
        functional_options: Mapping[str, Any] | None = None,
        energy_weight: float = 1.0,
        density_weight: float = 1.0,
        discount: float = 0.9,
        skip: int | None = None,
        separability_weight: float = 0.0,
        method: str = "lbfgs",
        tol: float = 1e-2,
        on_unconverged: str = "warn",
        seed: int = 0,
        batch_size: int = 8,
        device: torch.device | str | None = None,
        **kwargs: Any,
    ) -> None:
        for name in kwargs:
            if name not in _BASE_OPTIONS:  # DeepChem's base class would swallow it
                raise TypeError(f"KSRModel got an unexpected keyword argument {name!r}")
        _choice(method, ("lbfgs", "adam"), "method")
        _choice(on_unconverged, ("warn", "raise"), "on_unconverged")
        if torch.device(device or "cpu").type != "cpu":
            raise InputError("banded equations are solved on the CPU", field="device",
                             remedy="leave device out")
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}", field="batch_size",
                             remedy="use 1 or more")
        self.ksr_loss = KSRLoss(energy_weight, density_weight, discount,
                                max(iterations - 5, 0) if skip is None else skip)
        self.ksr_loss.discounts(iterations)  # complains if nothing is left
        if not separability_weight >= 0:
            raise InputError(f"separability_weight is {separability_weight}",
                             field="separability_weight", remedy="use 0 or more")
        self.separability_weight = separability_weight
        self.method, self.tol, self.on_unconverged, self.seed = method, tol, on_unconverged, seed
        self._options = {**(functional_options or {}), "polarised": polarised}
        self._recipe, grid = functional, grid or Grid()
        self._grid = grid
        network = KSRNetwork(self._make(seed), iterations, mixing, decay, start, test_iterations,
                             burn_in)
        self.config = describe(
            functional if isinstance(functional, str) else None, None, None,
            {"grid": [grid.points, grid.spacing, grid.order], "iterations": iterations,
             "test_iterations": test_iterations, "mixing": mixing, "decay": decay, "start": start,
             "burn_in": burn_in,
             "polarised": polarised, "functional_options": dict(functional_options or {}),
             "energy_weight": energy_weight, "density_weight": density_weight,
             "discount": discount, "skip": skip, "method": method, "tol": tol,
             "separability_weight": separability_weight,
             "on_unconverged": on_unconverged, "seed": seed, "batch_size": batch_size},
        )  # fmt: skip
        if not isinstance(functional, str):
            self.config["origin"] = "functional"
        self.progress = KSRProgress(seed)
        self.last_residuals = np.zeros(0)
        super().__init__(network, _unused, output_types=["prediction", "density", "residual"],
                         batch_size=batch_size, device=torch.device("cpu"), **kwargs)

    # -- what it is ----------------------------------------------------------------------------

    @property
    def network(self) -> KSRNetwork:
        """The functional and how it is iterated."""
        return self.model

    @property
    def functional(self) -> LatticeFunctional:
        """The functional being trained."""
        return self.model.functional

    @property
    def test_iterations(self) -> int:
        """Iterations of a prediction."""
        return self.network.test_iterations

    @test_iterations.setter
    def test_iterations(self, value: int | None) -> None:
        self.network.test_iterations = self.network.iterations if value is None else value

    @property
    def history(self) -> list[KSREpoch]:
        """Reports of all completed epochs."""
        return self.progress.history

    # -- training ------------------------------------------------------------------------------

    def fit(
        self,
        dataset: Dataset,
        nb_epoch: int = 200,
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
        validate_every: int = 5,
        early_stopping: int | None = None,
        restore_best: bool = True,
        seeds: int | Sequence[int] | None = None,
        stages: Sequence[KSRStage] = (),
        checkpoint_every: int = 20,
        epoch_callback: Callable[[KSREpoch], None] | None = None,
    ) -> float:
        """Train.

        Parameters
        ----------
        dataset : Dataset
        nb_epoch : int
            Iterations of L-BFGS, or passes through the data with Adam, for each seed; with
            ``restore=True`` in all.
        max_checkpoints_to_keep : int
            Older ones are deleted.
        checkpoint_interval : int, optional
            As ``checkpoint_every``, under DeepChem's name.
        deterministic : bool
            Keep the data set's order with Adam.
        restore : bool
            Go on from the newest checkpoint, as if the run had never stopped.
        variables : list of Parameter, optional
            Train only these.
        loss
            Must be None: the loss is the trajectory's.
        callbacks : callable or list
            Called as ``f(model, step)`` after every epoch.
        all_losses : list, optional
            The loss of each epoch is appended.
        valid_dataset : Dataset, optional
            Selects the best parameters, of all seeds.
        metric : dc.metrics.Metric or callable(y_true, y_pred), optional
            Validation score, the lower the better (unless ``metric_greater_is_better=True``).
            Default: mean absolute error of the energies, Hartree.
        validate_every : int
            Epochs between validations.
        early_stopping : int, optional
            Leave a seed after so many validations without improvement.
        restore_best : bool
            End with the best parameters. A later ``fit(restore=True)`` still goes on from the
            last ones.
        seeds : int or sequence of int, optional
            Train from the initial weights of so many seeds in turn, from ``seed`` on, or of these.
            Default: go on from the weights as they are.
        stages : sequence of KSRStage, optional
            Stretches of training, for each seed one after the other, instead of ``nb_epoch``.
        checkpoint_every : int
            Epochs between checkpoints; 0 for none.
        epoch_callback : callable, optional
            Called with the ``KSREpoch`` after each epoch and its checkpoint.

        Returns
        -------
        float
            Loss of the last epoch.

        Raises
        ------
        InputError
            For a data set that cannot be trained on.
        FunctionalError
            If the loss is not finite, whatever the seed.
        CheckpointError
            If ``restore`` finds no usable checkpoint.
        """
        if loss is not None:
            raise InputError("KSRModel has a loss of its own", field="loss",
                             remedy="set energy_weight, density_weight, discount and skip")
        samples = KSRSamples.read(dataset)
        if valid_dataset is None and (early_stopping is not None or seeds not in (None, 1)):
            raise InputError("there is nothing to choose by", field="valid_dataset",
                             remedy="give valid_dataset, or leave out seeds and early_stopping")
        self._ensure_built()
        if restore:
            self._resume()
        else:
            self._begin(seeds)
        options = KSRFit(
            stages or [KSRStage(nb_epoch)],
            self._scorer(valid_dataset, metric, metric_greater_is_better), validate_every,
            early_stopping,
            checkpoint_every if checkpoint_interval is None else checkpoint_interval,
            max_checkpoints_to_keep, deterministic,
            [callbacks] if callable(callbacks) else list(callbacks), epoch_callback,
        )  # fmt: skip
        before = len(self.history)
        frozen = _freeze_others(self.functional, variables)
        try:
            value = KSRTrainer(self, samples, options).run()
        finally:
            for parameter in frozen:
                parameter.requires_grad_(True)
        if all_losses is not None:
            all_losses += [report.loss for report in self.history[before:]]
        if restore_best and self.progress.best is not None:
            self.progress.last = {k: v.detach().clone()
                                  for k, v in self.functional.state_dict().items()}  # fmt: skip
            self.functional.load_state_dict(self.progress.best)
            if options.checkpoint_every:
                self.save_checkpoint(max_checkpoints_to_keep)
        return value

    def fit_generator(self, *args: Any, **kwargs: Any) -> float:
        """Not supported: L-BFGS takes a whole data set.

        Raises
        ------
        InputError
        """
        raise InputError("KSRModel trains on data sets, not on generators",
                         remedy="use fit(dataset)")

    def _scorer(self, dataset: Dataset | None, metric: Any, greater: bool,
                ) -> Callable[[], float] | None:  # fmt: skip
        if dataset is None:
            return None
        samples = KSRSamples.read(dataset)
        y = samples.energy.numpy()[:, None]

        def score() -> float:
            prediction = self._energies(samples.entries)
            if metric is None:
                return float(np.abs(prediction - y).mean())
            if hasattr(metric, "compute_metric"):
                value = metric.compute_metric(y, prediction, np.ones_like(y))
            else:
                value = metric(y, prediction)
            return -float(value) if greater else float(value)

        return score


def _choice(value: str, choices: tuple[str, ...], name: str) -> None:
    if value not in choices:
        raise InputError(f"there is no {name} {value!r}", field=name,
                         remedy=f"use one of {', '.join(choices)}")


def _freeze_others(module: nn.Module, variables: Sequence[nn.Parameter] | None) -> list:
    """Switch off gradients of what is not to be trained; return what was switched off."""
    if variables is None:
        return []
    wanted = {id(v) for v in variables}
    others = [p for p in module.parameters() if p.requires_grad and id(p) not in wanted]
    for parameter in others:
        parameter.requires_grad_(False)
    return others


def _unused(outputs: list, labels: list, weights: list) -> Tensor:
    """Stand-in for the base class, whose own training loop is not used."""
    return ((outputs[0] - labels[0]) ** 2 * weights[0]).mean()
