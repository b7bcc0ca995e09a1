"""DEQModel: a DeepChem model whose features are a fixed point."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from deepchem.data import Dataset
from deepchem.models.torch_models.torch_model import TorchModel
from torch import Tensor

from deepchem_dft.checks import choice
from deepchem_dft.equilibrium import Adjoint, Solver, Unrolled
from deepchem_dft.equilibrium.adjoints import get_adjoint
from deepchem_dft.equilibrium.result import Status, code
from deepchem_dft.equilibrium.solvers import get_solver
from deepchem_dft.errors import InputError
from deepchem_dft.fitting.checkpointed import Checkpointed, plain_copy, plain_part
from deepchem_dft.fitting.model import Fitting
from deepchem_dft.fitting.options import (
    UNCONVERGED,
    FitOptions,
    arguments_of,
    only_deepchems,
    tell_unconverged,
)
from deepchem_dft.fitting.ordering import seeded_batches
from deepchem_dft.models.deq.network import Outputs
from deepchem_dft.models.deq.sizes import SizesOfData
from deepchem_dft.models.deq.training import DEQEpoch, DEQProgress, DEQTrainer
from deepchem_dft.property import EquilibriumNetwork, Settings, SolveCount
from deepchem_dft.property.inputs import EDGE_FEATURES, KINDS, Kind, sample_names
from deepchem_dft.torchstate import unaffected


@unaffected
class DEQModel(SizesOfData, Checkpointed, Fitting, TorchModel):
    """Predict properties of molecules and materials from the fixed point of a small network.

    Instead of passing through a stack of layers, features are iterated with one cell until they no
    longer change: a deep equilibrium model. Any solver of
    :func:`~deepchem_dft.equilibrium.fixed_point` finds the same features; which is a matter of
    speed, and may be changed at any time: ``model.solver = "damped"``.

    Parameters
    ----------
    n_tasks : int
    mode : {"regression", "classification"}
        Predictions have shape (N, n_tasks), or (N, n_tasks, n_classes) and are probabilities.
    cell : {"graph", "fingerprint", "image"}, optional
        ``"graph"`` takes DeepChem's ``GraphData``: molecules
        (``MolGraphConvFeaturizer(use_edges=True)``, ``DMPNNFeaturizer()``) or crystals.
        ``"fingerprint"`` takes vectors: fingerprints or descriptors. ``"image"`` takes pictures
        (channels, height, width). Default: chosen by the first data set that is trained on; until
        then a graph.
    n_features : int or tuple of int, optional
        Features per atom, length of the vectors, or shape of the pictures. Default: those of the first
        data set; until then 30 (as ``MolGraphConvFeaturizer`` makes), 2048, or (3, 32, 32).
    n_edge_features : int, optional
        Per bond, for graphs. Default: likewise; until then 11. 0 ignores what there is.
    n_global_features : int
        Length of ``global_features`` of the graphs, which join the fixed point.
    n_classes : int
    width : int
        Features of the fixed point, per atom or pixel.
    layers : int
        Layers in one evaluation of the cell.
    bound : float or None
        Upper bound on the slope of the cell; below 1 the fixed point exists and is the only one.
        None: no bound; watch ``unconverged`` in the history.
    pooling : sequence of {"mean", "sum", "max", "attention", "pairs"}
        From the atoms of a graph to the graph. ``"pairs"`` adds what dipole moments are made of:
        products of two atoms' charges by their distance in bonds.
    hidden : int
        Width of the layer between fixed point and prediction; 0: none.
    dropout : float
        On the fixed point and that layer.
    jacobian_weight : float
        Penalty on the mean square of the cell's Jacobian, for cells without bound.
    solver : {"anderson", "broyden", "damped"} or Solver
        ``"damped"`` is plain forward iteration.
    adjoint : {"implicit", "truncated", "unrolled"} or Adjoint
    tol : float, optional
        Relative residual of a fixed point; default 2e-6, or 1e-11 in float64.
    train_tol : float, optional
        The same while training; default 1e-4, or ``tol`` if that is larger.
    max_iter : int
        Evaluations at most. A sample that needs more is predicted from its best iterate (see
        ``on_unconverged``); in training it is left out of the step, unless the adjoint is unrolled.
    reuse : bool
        Whether to start from the last fixed point of the same sample (same identifier in the data set;
        same atoms, or the same vector or picture), in the next epoch as in the next step of dynamics.
        That saves evaluations; fixed points are the same to within ``tol``. A bounded cell has but
        one; a cell without bound may stay with the one it has found. A resumed training begins without
        any, and so is not the same to the last digit.
    dtype : {"float32", "float64"}
    on_unconverged : {"warn", "raise", "nan"}
        What prediction does about samples without a fixed point.
    seed : int
        Of initial weights, order of samples, and dropout.
    **kwargs
        ``batch_size`` (100), ``learning_rate`` (0.001), ``optimizer``, ``model_dir``, ``device``,
        ``tensorboard``, ``log_frequency``...: as in ``deepchem.models.TorchModel``.

    Attributes
    ----------
    history : list of DEQEpoch
        One per epoch.
    last_solve : SolveCount
        What the latest ``fit`` (its last epoch) or ``predict`` took.

    Raises
    ------
    InputError
        For arguments that describe no model, and data that do not fit it.

    Examples
    --------
    >>> import deepchem as dc
    >>> smiles, y = ["CCO", "CC", "CCN", "CCC"], [[1], [0], [1], [0]]
    >>> graphs = dc.feat.MolGraphConvFeaturizer(use_edges=True).featurize(smiles)
    >>> dataset = dc.data.NumpyDataset(graphs, y)
    >>> model = DEQModel(1, "classification", learning_rate=0.01, seed=0)
    >>> loss = model.fit(dataset, nb_epoch=20)
    >>> model.predict(dataset)[:, 0, 1].round().tolist(), model.history[-1].unconverged
    ([1.0, 0.0, 1.0, 0.0], 0.0)

    References
    ----------
    S. Bai, J. Z. Kolter, V. Koltun, Deep Equilibrium Models, NeurIPS 32 (2019). ``reuse``: S. Bai, Z. Geng,
    Y. Savani, J. Z. Kolter, Deep Equilibrium Optical Flow Estimation, CVPR (2022).
    """

    def __init__(
        self,
        n_tasks: int,
        mode: str = "regression",
        cell: str | None = None,
        n_features: int | Sequence[int] | None = None,
        n_edge_features: int | None = None,
        n_global_features: int = 0,
        n_classes: int = 2,
        *,
        width: int = 64,
        layers: int = 1,
        bound: float | None = 0.9,
        pooling: Sequence[str] = ("mean", "sum", "max"),
        hidden: int = 64,
        dropout: float = 0.0,
        jacobian_weight: float = 0.0,
        solver: str | Solver = "anderson",
        adjoint: str | Adjoint = "implicit",
        tol: float | None = None,
        train_tol: float | None = None,
        max_iter: int = 200,
        reuse: bool = False,
        dtype: str = "float32",
        on_unconverged: str = "warn",
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        arguments = arguments_of(locals())
        only_deepchems(self, kwargs)
        self._unsaid = {k for k in ("cell", "n_features", "n_edge_features") if arguments[k] is None}
        self._rebuild = {**arguments, **kwargs}
        cell = arguments["cell"] = cell or "graph"
        edges = arguments["n_edge_features"] = EDGE_FEATURES if n_edge_features is None else n_edge_features
        choice(mode, ("regression", "classification"), "mode")
        choice(cell, tuple(KINDS), "cell")
        choice(dtype, ("float32", "float64"), "dtype")
        choice(on_unconverged, UNCONVERGED, "on_unconverged")
        if n_tasks < 1 or n_classes < 2:
            raise InputError(
                f"{n_tasks} tasks and {n_classes} classes",
                field="n_tasks",
                remedy="at least 1 task, and 2 classes",
            )
        self.on_unconverged = on_unconverged
        self.n_tasks, self.mode, self.n_classes, self.seed = n_tasks, mode, n_classes, seed
        #: Arguments that rebuild the model, those that are plain data.
        self.config = plain_part(arguments)
        self.dtype = getattr(torch, dtype)
        if tol is None:
            tol = 2e-6 if dtype == "float32" else 1e-11
        if train_tol is None:
            train_tol = max(tol, 1e-4)
        settings = Settings(_solver(solver), _adjoint(adjoint), tol, train_tol, max_iter)
        self.kind: Kind = KINDS[cell](n_features, edges, n_global_features)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = EquilibriumNetwork(
                self.kind.cell(width=width, layers=layers, bound=bound, pooling=tuple(pooling)),
                n_tasks * (n_classes if mode == "classification" else 1),
                settings,
                hidden,
                dropout,
                jacobian_weight,
                seed,
            ).to(self.dtype)
        self.reuse = reuse
        self.progress = DEQProgress()
        self._losses: list[Tensor] = []
        outputs = ["prediction", "loss", "embedding"]
        super().__init__(
            Outputs(network, n_tasks, n_classes if mode == "classification" else 0),
            self._loss,
            output_types=outputs,
            **kwargs,
        )

    # -- how fixed points are found ------------------------------------------------------------

    @property
    def network(self) -> EquilibriumNetwork:
        """The cell and what reads the prediction off its fixed point."""
        return self.model.network

    @property
    def last_solve(self) -> SolveCount:
        """What the latest ``fit`` (its last epoch) or ``predict`` took."""
        return self.network.count

    @property
    def solver(self) -> str | Solver:
        """The solver; may be set."""
        return self.network.settings.solver

    @solver.setter
    def solver(self, solver: str | Solver) -> None:
        self.network.settings.solver = _solver(solver)

    @property
    def adjoint(self) -> str | Adjoint:
        """The adjoint; may be set."""
        return self.network.settings.adjoint

    @adjoint.setter
    def adjoint(self, adjoint: str | Adjoint) -> None:
        self.network.settings.adjoint = _adjoint(adjoint)

    # -- training ------------------------------------------------------------------------------

    def _training(self, dataset: Dataset, valid: Dataset | None, options: FitOptions) -> DEQTrainer:
        """The first data set also sets the scale of descriptors, and what was not said of its features."""
        if self._unsaid and not self._global_step:
            self._suit(dataset)
        self.kind.fit_scales(self.network.cell, dataset, self.batch_size)
        return DEQTrainer(self, options, dataset, valid)

    _telling = "n_tasks"

    def _saved(self) -> dict[str, Any]:
        return {"progress": self.progress.to_dict(), "config": plain_copy(self.config)}

    def _take(self, content: dict[str, Any]) -> None:
        if "progress" in content:
            self.progress = DEQProgress.from_dict(content["progress"])
        else:  # as written by version 0.1
            reports = [DEQEpoch(**report) for report in content["history"]]
            self.progress = DEQProgress(len(reports), reports)

    def default_generator(
        self,
        dataset: Dataset,
        epochs: int = 1,
        mode: str = "fit",
        deterministic: bool = True,
        pad_batches: bool = False,
    ) -> Iterator[tuple[list, list, list]]:
        """Yield batches ``([inputs], [labels], [weights])``; labels are checked in training."""
        if self.reuse and isinstance(get_adjoint(self.adjoint), Unrolled):
            raise InputError(
                "an unrolled adjoint differentiates the way from the start, which a known solution cuts off",
                field="reuse",
                remedy="use the implicit or the truncated adjoint",
            )
        for epoch in range(epochs):
            number = int(self.network.epochs) + epoch
            batches = dataset.iterbatches(self.batch_size, deterministic=deterministic)
            for x, y, w, ids in seeded_batches(batches, (self.seed, number)):
                inputs = self.kind.batch(x, ids)
                if mode == "fit":
                    self._check(y, w, ids)
                self.network.names = sample_names(x, ids) if self.reuse else None
                yield [inputs], [y], [w]

    def _check(self, y: np.ndarray, w: np.ndarray, ids: np.ndarray) -> None:
        labels = np.asarray(y, dtype=float).reshape(len(y), -1)
        if labels.shape[1] != self.n_tasks:
            raise InputError(f"{labels.shape[1]} labels per sample for {self.n_tasks} tasks", field="y")
        bad = ~np.isfinite(labels)
        if self.mode == "classification":
            bad |= (labels < 0) | (labels >= self.n_classes) | (labels != np.round(labels))
        bad &= np.broadcast_to(np.asarray(w).reshape(len(y), -1), labels.shape) != 0
        if bad.any():
            row, task = np.argwhere(bad)[0]
            what = (
                "a finite number"
                if self.mode == "regression"
                else (f"a class from 0 to {self.n_classes - 1}")
            )
            raise InputError(
                f"the label {labels[row, task]} of task {task} is not {what}",
                entry=str(ids[row]),
                field="y",
                remedy="give missing labels a weight of 0",
            )

    def _prepare_batch(self, batch: tuple[Any, Any, Any]) -> tuple[Any, list[Tensor], list[Tensor]]:
        inputs, labels, weights = batch
        inputs = [self.kind.batch(x) if isinstance(x, np.ndarray) else x for x in inputs]
        self.network.draw = self._global_step

        def tensors(values: Any) -> list[Tensor]:
            return [
                torch.as_tensor(np.asarray(v, dtype=float), dtype=self.dtype, device=self.device)
                for v in values or []
            ]

        return (
            [self.kind.move(x, self.device, self.dtype) for x in inputs],
            tensors(labels),
            tensors(weights),
        )

    def _loss(self, outputs: list[Tensor], labels: list[Tensor], weights: list[Tensor]) -> Tensor:
        """Weighted mean over samples and tasks, DeepChem's normalisation."""
        (output,), last = outputs, self.model.last
        shape = (len(output), self.n_tasks)
        weight = weights[0].reshape(len(output), -1).expand(shape)
        if not isinstance(get_adjoint(self.adjoint), Unrolled):
            weight = weight * last.found.converged[:, None]
        # A missing label may be NaN, and 0 * NaN is not 0.
        label = torch.where(weight != 0, labels[0].reshape(shape), 0.0)
        if self.mode == "regression":
            loss = (output - label).square()
        else:
            loss = torch.nn.functional.cross_entropy(output.mT, label.long(), reduction="none")
        loss = (loss * weight).mean()
        self._losses.append(loss.detach() * len(output))
        if self.regularization_loss is not None:
            loss = loss + self.regularization_loss()
        return loss + last.penalty

    # -- prediction ------------------------------------------------------------------------------

    def _predict(self, *args: Any, **kwargs: Any) -> Any:
        self.network.count = SolveCount()
        with torch.no_grad():  # DeepChem would keep the graph of every batch
            result = super()._predict(*args, **kwargs)
        count = self.network.count
        if count.unconverged and tell_unconverged(
            self.on_unconverged,
            f"{count.unconverged} of {count.samples} samples have no converged fixed point and "
            "are predicted from their best iterate. Remedy: raise max_iter, choose another "
            "solver, or bound the cell",
            4,
        ):
            lost = (torch.cat(count.codes) != code(Status.CONVERGED)).cpu().numpy()
            for part in result if isinstance(result, list) else [result]:
                part[lost] = np.nan
        return result


def _solver(solver: str | Solver) -> str | Solver:
    get_solver(solver)
    return solver


def _adjoint(adjoint: str | Adjoint) -> str | Adjoint:
    get_adjoint(adjoint)
    return adjoint
