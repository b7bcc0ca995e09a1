"""The part of a HamiltonianModel that trains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from deepchem.data import Dataset, NumpyDataset
from torch import nn

from deepchem_dft.data.featurizer import object_array
from deepchem_dft.errors import InputError
from deepchem_dft.fitting.model import Fitting
from deepchem_dft.fitting.options import FitDefaults, FitOptions
from deepchem_dft.models.hamiltonian.network import HamiltonianModule
from deepchem_dft.models.hamiltonian.samples import Preparation
from deepchem_dft.models.hamiltonian.training import HamiltonianProgress, HamiltonianTrainer

if TYPE_CHECKING:
    from deepchem_dft.models.hamiltonian.model import HamiltonianModel


class HamiltonianFitting(Fitting):
    """Training; its methods belong to ``HamiltonianModel``."""

    model: HamiltonianModule
    preparation: Preparation
    progress: HamiltonianProgress
    _global_step: int

    fit_defaults = FitDefaults(nb_epoch=100, validate_every=5, checkpoint_every=10)
    _keep_optimizer = False

    def fit(
        self: HamiltonianModel,
        dataset: Dataset,
        nb_epoch: int | None = None,
        *args: Any,
        keep_optimizer: bool = False,
        **options: Any,
    ) -> float:
        """Train; all options of :meth:`deepchem_dft.fitting.model.Fitting.fit`, and one more.

        The first data set also sets means and spreads. Data sets hold `HamiltonianSample` objects;
        what they lack of overlap, core Hamiltonian and guess is computed and kept, and samples
        with weight 0 are left out. The learning rate falls over all epochs. Validation judges the
        averaged parameters, by the mean absolute error of the elements of H (microhartree).

        Parameters
        ----------
        dataset : Dataset
        nb_epoch : int, optional
        keep_optimizer : bool
            Go on with what the optimiser has learned of gradients in an earlier training.
        """
        self._keep_optimizer = keep_optimizer
        return super().fit(dataset, nb_epoch, *args, **options)

    def _training(
        self: HamiltonianModel, dataset: Dataset, valid: Dataset | None, options: FitOptions
    ) -> HamiltonianTrainer:
        if options.loss is not None:
            raise InputError(
                "HamiltonianModel has a loss of its own",
                field="loss",
                remedy="set mae_weight, mse_weight, orbital_weight and commutator_weight",
            )
        if not len(dataset):
            raise InputError("the data set is empty", field="dataset")
        return HamiltonianTrainer(self, options, dataset, valid)

    def _begin(self: HamiltonianModel, options: FitOptions) -> None:
        warm = self.progress.warm if self._keep_optimizer else 0
        self.progress = HamiltonianProgress(history=self.progress.history, warm=warm)
        if not self._keep_optimizer:
            self._new_optimizer()

    def _new_optimizer(self: HamiltonianModel) -> None:
        step, self._built = self.get_global_step(), False
        self._ensure_built()
        self._global_step = step

    def fit_on_batch(
        self: HamiltonianModel,
        X: Sequence,
        y: Sequence,
        w: Sequence,
        variables: Sequence[nn.Parameter] | None = None,
        loss: Callable | None = None,
        callbacks: Callable | Sequence[Callable] = (),
        checkpoint: bool = True,
        max_checkpoints_to_keep: int = 5,
    ) -> float:
        """Take one step; the optimiser goes on from earlier ones."""
        return self.fit(
            NumpyDataset(object_array(list(X)), y, w),
            1,
            max_checkpoints_to_keep,
            checkpoint_interval=int(checkpoint),
            variables=variables,
            loss=loss,
            callbacks=callbacks,
            keep_optimizer=True,
        )

    def fit_generator(self, *args: Any, **kwargs: Any) -> float:
        """Not supported.

        Raises
        ------
        InputError
        """
        raise InputError(
            "HamiltonianModel trains on data sets, not on generators",
            remedy="use fit(dataset); a data set may read samples when needed",
        )
