"""KSRModel: a DeepChem model that trains a functional through every Kohn-Sham iteration."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from deepchem.data import Dataset
from deepchem.models.torch_models.torch_model import TorchModel
from torch import Tensor, nn

from deepchem_dft.checks import choice
from deepchem_dft.errors import InputError
from deepchem_dft.fitting.checkpointed import plain_part
from deepchem_dft.fitting.model import Fitting
from deepchem_dft.fitting.options import UNCONVERGED, FitDefaults, FitOptions, arguments_of, only_deepchems
from deepchem_dft.lattice.functionals import LatticeFunctional
from deepchem_dft.lattice.grid import Grid
from deepchem_dft.models.ksr.loss import KSRLoss, KSRStage
from deepchem_dft.models.ksr.network import KSRNetwork
from deepchem_dft.models.ksr.prediction import KSRFiles, KSRPredicting
from deepchem_dft.models.ksr.progress import KSRProgress
from deepchem_dft.models.ksr.samples import KSRSamples
from deepchem_dft.models.ksr.seeds import KSRSeeds
from deepchem_dft.models.ksr.training import KSRTrainer
from deepchem_dft.torchstate import unaffected

#: What may choose among seeds and epochs.
SELECTORS = ("validation", "loss")


@unaffected
class KSRModel(KSRSeeds, KSRPredicting, KSRFiles, Fitting, TorchModel):
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
        :class:`~deepchem_dft.models.ksr.loss.Separability`. It goes beyond the paper.
    method : {"lbfgs", "adam"}
        L-BFGS takes all samples at once, and is the better choice by far. ``"adam"`` stands for
        DeepChem's ``optimizer``, whichever that is, and ``learning_rate``.
    tol : float
        Electrons that the last iteration may move in a converged calculation.
    on_unconverged : {"warn", "raise", "nan"}
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

    fit_defaults = FitDefaults(nb_epoch=200, validate_every=5, checkpoint_every=20)

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
        arguments = arguments_of(locals())
        only_deepchems(self, kwargs)
        choice(method, ("lbfgs", "adam"), "method")
        choice(on_unconverged, UNCONVERGED, "on_unconverged")
        if torch.device(device or "cpu").type != "cpu":
            raise InputError(
                "banded equations are solved on the CPU", field="device", remedy="leave device out"
            )
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}", field="batch_size", remedy="use 1 or more")
        self.ksr_loss = KSRLoss(
            energy_weight, density_weight, discount, max(iterations - 5, 0) if skip is None else skip
        )
        self.ksr_loss.discounts(iterations)  # complains if nothing is left
        if not separability_weight >= 0:
            raise InputError(
                f"separability_weight is {separability_weight}",
                field="separability_weight",
                remedy="use 0 or more",
            )
        self.separability_weight = separability_weight
        self.method, self.tol, self.on_unconverged, self.seed = method, tol, on_unconverged, seed
        self._options = {**(functional_options or {}), "polarised": polarised}
        self._recipe, grid = functional, grid or Grid()
        self._grid = grid
        network = KSRNetwork(self._make(seed), iterations, mixing, decay, start, test_iterations, burn_in)
        del arguments["functional"], arguments["device"]
        self.config = plain_part(
            {
                **arguments,
                "grid": [grid.points, grid.spacing, grid.order],
                "xcstr": functional if isinstance(functional, str) else None,
                "origin": "built" if isinstance(functional, str) else "functional",
            }
        )
        self.progress = KSRProgress(seed=seed)
        self._seeds: int | Sequence[int] | None = None
        self._stages: tuple[KSRStage, ...] = ()
        self._select = SELECTORS[0]
        self.last_residuals = np.zeros(0)
        super().__init__(
            network,
            _unused,
            output_types=["prediction", "density", "residual"],
            batch_size=batch_size,
            device=torch.device("cpu"),
            **kwargs,
        )

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

    # -- training ------------------------------------------------------------------------------

    def fit(
        self,
        dataset: Dataset,
        nb_epoch: int | None = None,
        *args: Any,
        seeds: int | Sequence[int] | None = None,
        stages: Sequence[KSRStage] = (),
        select: str = "validation",
        **options: Any,
    ) -> float:
        """Train; all options of :meth:`deepchem_dft.fitting.model.Fitting.fit`, and three more.

        An epoch is an iteration of L-BFGS, or a pass through the data with Adam. The validation
        score is by default the mean absolute error of the energies, Hartree.

        Parameters
        ----------
        dataset : Dataset
        nb_epoch : int, optional
            For each seed; with ``restore=True`` in all.
        seeds : int or sequence of int, optional
            Train from the initial weights of so many seeds in turn, from ``seed`` on, or of these;
            validation chooses among them. Default: go on from the weights as they are.
        stages : sequence of KSRStage, optional
            Stretches of training, for each seed one after the other, instead of ``nb_epoch``.
        select : {"validation", "loss"}
            What chooses the parameters among all seeds and epochs: the validation set, or the loss
            on the training set in the last stage, where nothing else is known.
        """
        choice(select, SELECTORS, "select")
        if options.get("valid_dataset") is not None and select == "loss":
            raise InputError(
                "either a validation set or the loss chooses",
                field="select",
                remedy="leave one of valid_dataset and select='loss' out",
            )
        if options.get("valid_dataset") is None and select == "validation" and seeds not in (None, 1):
            raise InputError(
                "there is nothing to choose by",
                field="valid_dataset",
                remedy="give valid_dataset, leave out seeds, or choose by select='loss'",
            )
        self._seeds, self._stages, self._select = seeds, tuple(stages), select
        return super().fit(dataset, nb_epoch, *args, **options)

    def _training(self, dataset: Dataset, valid: Dataset | None, options: FitOptions) -> KSRTrainer:
        if options.loss is not None:
            raise InputError(
                "KSRModel has a loss of its own",
                field="loss",
                remedy="set energy_weight, density_weight, discount and skip",
            )
        held = None if valid is None else KSRSamples.read(valid)
        stages = self._stages or (KSRStage(options.nb_epoch),)
        by_loss = self._select == "loss"
        return KSRTrainer(self, options, KSRSamples.read(dataset), held, stages, by_loss=by_loss)

    def fit_generator(self, *args: Any, **kwargs: Any) -> float:
        """Not supported: L-BFGS takes a whole data set.

        Raises
        ------
        InputError
        """
        raise InputError("KSRModel trains on data sets, not on generators", remedy="use fit(dataset)")


def _unused(outputs: list, labels: list, weights: list) -> Tensor:
    """Stand-in for the base class, whose own training loop is not used."""
    return ((outputs[0] - labels[0]) ** 2 * weights[0]).mean()
