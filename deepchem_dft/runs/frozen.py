"""Training at fixed densities: thousands of epochs in the time of a few self-consistent fields."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import FunctionalError
from ..fitting.ordering import batches, epoch_order
from ..scf.compressed import CompressedDensity, DensityBatch
from ..units import HARTREE_TO_KCAL
from .schema import StageConfig, TrainingConfig

if TYPE_CHECKING:
    from ..data import DFTEntry
    from ..models import EntryLoss
    from ..xc import HybridXC


@dataclass
class FrozenEntries:
    """Energy entries with the densities of their systems.

    Attributes
    ----------
    entries : list of DFTEntry
    batch : DensityBatch
        Each system once.
    coefficients : Tensor, shape (N, number of systems)
        Values are ``coefficients @ energies``.
    target, weight : Tensor, shape (N, 1)
        Hartree.
    """

    entries: list[DFTEntry]
    batch: DensityBatch
    coefficients: Tensor
    target: Tensor
    weight: Tensor

    @classmethod
    def make(
        cls, entries: Sequence[DFTEntry], densities: dict[Any, CompressedDensity]
    ) -> FrozenEntries:
        """Put entries and the densities of their systems (by system key) together."""
        keys = list(dict.fromkeys(s.key for e in entries for s in e.get_systems()))
        place = {key: index for index, key in enumerate(keys)}
        coefficients = torch.zeros(len(entries), len(keys), dtype=torch.float64)
        for row, entry in enumerate(entries):
            for coefficient, system in zip(entry.coefficients, entry.get_systems()):
                coefficients[row, place[system.key]] += coefficient
        return cls(
            list(entries),
            DensityBatch([densities[key] for key in keys]),
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
            DensityBatch([self.batch.densities[i] for i in needed]),
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


class FrozenTrainer:
    """Minimise the loss of entries at fixed densities.

    Parameters
    ----------
    functional : HybridXC
        Trained in place.
    train, valid : FrozenEntries
        ``valid`` may be None.
    loss : EntryLoss
    stage : StageConfig
        With all values filled in.
    training : TrainingConfig
        For weight decay, clipping, seed and selection.
    """

    def __init__(
        self,
        functional: HybridXC,
        train: FrozenEntries,
        valid: FrozenEntries | None,
        loss: EntryLoss,
        stage: StageConfig,
        training: TrainingConfig,
    ) -> None:
        self.functional, self.train, self.valid, self.loss = functional, train, valid, loss
        self.stage, self.training = stage, training
        self.parameters = [p for p in functional.parameters() if p.requires_grad]
        self.optimizer = self._make_optimizer(stage.rate(1))
        self.epoch = 0
        self.best: dict[str, Any] | None = None

    def _make_optimizer(self, rate: float) -> torch.optim.Optimizer:
        decay = self.training.weight_decay
        if self.stage.optimizer == "lbfgs":
            return torch.optim.LBFGS(
                self.parameters, lr=1.0, max_iter=10, history_size=50, tolerance_grad=1e-9,
                tolerance_change=1e-12, line_search_fn="strong_wolfe")
        if decay:
            return torch.optim.AdamW(self.parameters, lr=rate, weight_decay=decay)
        return torch.optim.Adam(self.parameters, lr=rate)

    def fit(self, on_epoch: Callable[[dict[str, Any]], None]) -> None:
        """Train to the end of the stage (or until early stopping), then take the best parameters.

        ``on_epoch`` gets a row of the history: ``epoch`` (within the stage), ``loss``, errors.
        """
        self.functional.train()
        while self.epoch < self.stage.epochs and not self._stopped():
            on_epoch(self._run_epoch())
        if self.best is not None and self.training.select_best:
            self.functional.load_state_dict(self.best["parameters"])

    def _run_epoch(self) -> dict[str, Any]:
        start = time.perf_counter()
        rate = self.stage.rate(self.epoch + 1)
        if self.stage.optimizer == "adam":
            for group in self.optimizer.param_groups:
                group["lr"] = rate
        size = self.stage.batch_size or len(self.train)
        whole = size >= len(self.train)  # then the order is of no consequence
        order = epoch_order(len(self.train), self.training.seed, self.epoch, deterministic=whole)
        loss = error = 0.0
        for rows in batches(order, size):
            part = self.train.take(rows.tolist())
            value, prediction = self._step(part)
            loss += value * len(part)
            error += part.mae_kcal(prediction) * len(part)
        self.epoch += 1
        row: dict[str, Any] = {
            "epoch": self.epoch,
            "learning_rate": rate,
            "loss": loss / len(self.train),
            "train_mae_kcal": error / len(self.train),
            "unconverged": 0,
        }
        last = self.epoch == self.stage.epochs
        if self.valid is not None and (last or self.epoch % (self.stage.validate_every or 1) == 0):
            row.update(self._validate())
        row["seconds"] = time.perf_counter() - start
        return row

    def _step(self, part: FrozenEntries) -> tuple[float, Tensor]:
        first: list[tuple[float, Tensor]] = []

        def closure() -> Tensor:
            self.optimizer.zero_grad(set_to_none=True)
            prediction = part.predict(self.functional)
            value = self.loss(part.entries, prediction, part.target, part.weight)
            value = value + self._penalty()
            self._check(value)
            value.backward()
            limit = self.training.gradient_clip
            if limit is not None:
                torch.nn.utils.clip_grad_norm_(self.parameters, limit)
            first.append((value.item(), prediction))
            return value

        self.optimizer.step(closure)  # type: ignore[arg-type]
        return first[0]

    def _penalty(self) -> Tensor | float:
        fines = self.training.penalties
        if not (fines.size or fines.roughness):
            return 0.0
        return self.functional.nnxc.penalty(fines.size, fines.roughness)  # type: ignore[operator]

    def _check(self, value: Tensor) -> None:
        if not bool(torch.isfinite(value.detach())):
            raise FunctionalError(
                f"the loss is not a number in epoch {self.epoch + 1}",
                field="training",
                remedy="lower training.learning_rate, or set training.gradient_clip",
            )

    def _validate(self) -> dict[str, float]:
        assert self.valid is not None
        with torch.no_grad():
            prediction = self.valid.predict(self.functional)
        score = self.valid.mae_kcal(prediction, weighted=True)
        if self.best is None or score < self.best["score"]:
            parameters = {k: v.detach().clone() for k, v in self.functional.state_dict().items()}
            self.best = {"score": score, "epoch": self.epoch, "since": 0, "parameters": parameters}
        else:
            self.best["since"] += 1
        return {"valid_mae_kcal": self.valid.mae_kcal(prediction), "valid_score": score}

    def _stopped(self) -> bool:
        patience = self.training.early_stopping
        return patience is not None and self.best is not None and self.best["since"] >= patience

    # -- checkpoints ---------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes during :meth:`fit`."""
        return {
            "epoch": self.epoch,
            "best": self.best,
            "functional": self.functional.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Undo :meth:`state_dict`."""
        self.epoch, self.best = state["epoch"], state["best"]
        self.functional.load_state_dict(state["functional"])
        self.optimizer.load_state_dict(state["optimizer"])
