"""Training at fixed densities: thousands of epochs in the time of a few self-consistent fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from deepchem_dft.errors import FunctionalError
from deepchem_dft.fitting import progress as fitting
from deepchem_dft.fitting.loop import TrainingLoop
from deepchem_dft.fitting.options import FitOptions
from deepchem_dft.fitting.ordering import batches, epoch_order
from deepchem_dft.models.xc.progress import EpochReport
from deepchem_dft.models.xc.stages import Stage
from deepchem_dft.scf.frozen.binned import BinnedDensities, BinnedDensity
from deepchem_dft.units import HARTREE_TO_KCAL

if TYPE_CHECKING:
    from deepchem_dft.data import DFTEntry
    from deepchem_dft.models.xc.model import XCModel
    from deepchem_dft.xc import HybridXC


@dataclass
class FrozenEntries:
    """Energy entries with the densities of their systems.

    Attributes
    ----------
    entries : list of DFTEntry
    batch : BinnedDensities
        Each system once.
    coefficients : Tensor, shape (N, number of systems)
        Values are ``coefficients @ energies``.
    target, weight : Tensor, shape (N, 1)
        Hartree.
    """

    entries: list[DFTEntry]
    batch: BinnedDensities
    coefficients: Tensor
    target: Tensor
    weight: Tensor

    @classmethod
    def make(cls, entries: Sequence[DFTEntry], densities: dict[Any, BinnedDensity]) -> FrozenEntries:
        """Put entries and the densities of their systems (by system key) together."""
        keys = list(dict.fromkeys(s.key for e in entries for s in e.get_systems()))
        place = {key: index for index, key in enumerate(keys)}
        coefficients = torch.zeros(len(entries), len(keys), dtype=torch.float64)
        for row, entry in enumerate(entries):
            for coefficient, system in zip(entry.coefficients, entry.get_systems()):
                coefficients[row, place[system.key]] += coefficient
        return cls(
            list(entries),
            BinnedDensities([densities[key] for key in keys]),
            coefficients,
            torch.tensor([[e.label] for e in entries], dtype=torch.float64),
            torch.tensor([[e.get_weight()] for e in entries], dtype=torch.float64),
        )

    def __len__(self) -> int:
        return len(self.entries)

    def take(self, rows: Sequence[int]) -> FrozenEntries:
        """Return some entries with the systems they need."""
        if len(rows) == len(self):
            return self
        index = torch.as_tensor(list(rows))
        needed = self.coefficients[index].abs().sum(0).nonzero().flatten().tolist()
        return FrozenEntries(
            [self.entries[i] for i in rows],
            BinnedDensities([self.batch.densities[i] for i in needed]),
            self.coefficients[index][:, needed],
            self.target[index],
            self.weight[index],
        )

    def predict(self, functional: HybridXC) -> Tensor:
        """Return the entries' values (Ha), shape (N, 1), differentiable in the parameters."""
        return (self.coefficients @ self.batch.energies(functional))[:, None]

    def mae_kcal(self, prediction: Tensor, weighted: bool = False) -> float:
        """Return the mean absolute error of a prediction, kcal/mol."""
        errors = (prediction.detach() - self.target).abs() * HARTREE_TO_KCAL
        weight = self.weight if weighted else torch.ones_like(self.weight)
        return float((errors * weight).sum() / weight.sum())


class FrozenTrainer(TrainingLoop):
    """Minimise the loss of entries at fixed densities.

    Loss, penalties, clipping, seed and the kind of optimiser are the model's.

    Parameters
    ----------
    model : XCModel
        Trained in place.
    stage : Stage
    train : FrozenEntries
    valid : FrozenEntries, optional
    options : FitOptions, optional
        For early stopping, selection and callbacks. The rest is the stage's.
    """

    def __init__(
        self,
        model: XCModel,
        stage: Stage,
        train: FrozenEntries,
        valid: FrozenEntries | None = None,
        options: FitOptions | None = None,
    ) -> None:
        options = FitOptions() if options is None else options
        super().__init__(model, options, valid)
        model._ensure_built()
        options.validate_every = stage.validate_every
        self.stage, self.samples, self.last_epoch = stage, train, stage.epochs
        self.functional: HybridXC = model.functional  # type: ignore[assignment]
        self.trained = [p for p in self.functional.parameters() if p.requires_grad]
        self.optimizer = self._make_optimizer()
        self._progress = _StageProgress()
        self._sums = [0.0, 0.0]

    @property
    def progress(self) -> fitting.Progress:
        """That of the stage."""
        return self._progress

    def _make_optimizer(self) -> torch.optim.Optimizer:
        if self.stage.optimizer == "lbfgs":
            return torch.optim.LBFGS(
                self.trained,
                lr=1.0,
                max_iter=10,
                history_size=50,
                tolerance_grad=1e-9,
                tolerance_change=1e-12,
                line_search_fn="strong_wolfe",
            )
        return self.model.optimizer._create_pytorch_optimizer(self.trained)

    def batches(self) -> Iterator[FrozenEntries]:
        """Yield the entries of an epoch in batches; all at once unless the stage has a size."""
        rate, train, epoch = self.stage.rate(self.progress.epoch + 1), self.samples, self.progress
        self.functional.train()
        self._sums = [0.0, 0.0]
        if self.stage.optimizer != "lbfgs":
            for group in self.optimizer.param_groups:
                group["lr"] = rate
        size = self.stage.batch_size or len(train)
        whole = size >= len(train)  # then the order is of no consequence
        order = epoch_order(len(train), self.model.seed, epoch.epoch, deterministic=whole)
        for rows in batches(order, size):
            yield train.take(rows.tolist())

    def step(self, batch: FrozenEntries) -> None:
        """Take one step of the optimiser: with L-BFGS, up to ten iterations."""
        first: list[tuple[float, Tensor]] = []

        def closure() -> Tensor:
            self.optimizer.zero_grad(set_to_none=True)
            prediction = batch.predict(self.functional)
            value = self.model.entry_loss(batch.entries, prediction, batch.target, batch.weight)
            value = value + self._penalty()
            self._check(value)
            value.backward()
            limit = self.model.max_grad_norm
            if limit is not None:
                torch.nn.utils.clip_grad_norm_(self.trained, limit)
            first.append((value.item(), prediction))
            return value

        self.optimizer.step(closure)  # type: ignore[arg-type]
        loss, prediction = first[0]
        self._sums[0] += loss * len(batch)
        self._sums[1] += batch.mae_kcal(prediction) * len(batch)

    def after_step(self) -> None:
        """Count no step: those of the model are of self-consistent fields."""

    def _penalty(self) -> Tensor | float:
        size, roughness = self.stage.size_penalty, self.stage.roughness_penalty
        if not (size or roughness):
            return 0.0
        return self.functional.nnxc.penalty(size, roughness)  # type: ignore[operator]

    def _check(self, value: Tensor) -> None:
        if not bool(torch.isfinite(value.detach())):
            raise FunctionalError(
                f"the loss is not a number in epoch {self.progress.epoch + 1}",
                field="training",
                remedy="lower training.learning_rate, or set training.gradient_clip",
            )

    def report(self) -> EpochReport:
        """Return what there is to say of the epoch just done."""
        self.progress.epoch += 1
        loss, error = (total / len(self.samples) for total in self._sums)
        return EpochReport(self.progress.epoch, loss, mae_kcal=error)

    def validate(self, report: EpochReport) -> None:
        """Check by the weighted mean absolute error, kcal/mol."""
        with torch.no_grad():
            prediction = self.valid.predict(self.functional)
        report.score = self.valid.mae_kcal(prediction, weighted=True)
        report.valid_mae_kcal = self.valid.mae_kcal(prediction)

    def parameters(self) -> dict[str, Tensor]:
        """Return those of the functional."""
        return self.functional.state_dict()

    def take(self, parameters: Mapping[str, Tensor]) -> None:
        """Give them to the functional."""
        self.functional.load_state_dict(parameters)

    # -- checkpoints ---------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes during :meth:`run`."""
        return {
            **self.progress.to_dict(),
            "history": [],  # whoever trains stage by stage keeps one of all stages
            "functional": self.functional.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Undo :meth:`state_dict`."""
        state = dict(state)
        self.functional.load_state_dict(state.pop("functional"))
        self.optimizer.load_state_dict(state.pop("optimizer"))
        if "since" in (state["best"] or {}):  # as written by version 0.1
            best = state["best"]
            state["best"] = {
                "epoch": best["epoch"],
                "score": best["score"],
                "unconverged": 0,
                "validations_since": best["since"],
                "parameters": best["parameters"],
            }
        self._progress = _StageProgress.from_dict({"history": [], **state})


@dataclass
class _StageProgress(fitting.Progress):
    report = EpochReport
