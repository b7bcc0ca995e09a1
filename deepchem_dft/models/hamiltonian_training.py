"""The training loop of a HamiltonianModel: batches, rates, averages, validation."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from deepchem.data import Dataset
from deepchem.models.optimizers import Adam
from torch import Tensor

from ..equilibrium import Equilibrium
from ..errors import FunctionalError
from .hamiltonian_progress import HamiltonianEpoch, HamiltonianProgress
from .hamiltonian_samples import Batch, Prepared
from .ordering import seeded_batches

if TYPE_CHECKING:
    from .hamiltonian import HamiltonianModel

LOGGER = logging.getLogger("deepchem_dft.models")

#: The rate never falls below this share of what it was.
_LEAST = 1e-3


class FusedAdam(Adam):
    """DeepChem's Adam, updating all parameters in one call: they are many and small."""

    def _create_pytorch_optimizer(self, params: Any) -> torch.optim.Optimizer:
        rate: Any = getattr(self.learning_rate, "initial_rate", self.learning_rate)  # of a schedule
        return torch.optim.Adam(params, rate, (self.beta1, self.beta2), self.epsilon, fused=True)


@dataclass
class HamiltonianFit:
    """Options of a training; see ``HamiltonianModel.fit``."""

    epochs: int
    deterministic: bool = False
    valid: Dataset | None = None
    validate_every: int = 1
    checkpoint_every: int = 0
    max_checkpoints_to_keep: int = 5
    callbacks: Sequence[Callable] = ()
    epoch_callback: Callable[[HamiltonianEpoch], None] | None = None


@dataclass
class _Sums:
    """What is added up over an epoch."""

    samples: int = 0
    loss: float = 0.0
    labelled: int = 0
    error: float = 0.0
    unconverged: int = 0
    iterations: int = 0
    found: list[Equilibrium] = field(default_factory=list)


class HamiltonianTrainer:
    """Train a model on a data set.

    Parameters
    ----------
    model : HamiltonianModel
    dataset : Dataset
    options : HamiltonianFit
    """

    def __init__(self, model: HamiltonianModel, dataset: Dataset, options: HamiltonianFit) -> None:
        self.model, self.dataset, self.options = model, dataset, options
        # DeepChem's data sets without y, which a sample holds here, have weights of 0.
        self.weighted = bool(np.any(dataset.w))
        self.per_epoch = math.ceil(len(dataset) / model.batch_size)
        self.parameters = [p for p in model.model.parameters() if p.requires_grad]
        self.names = [n for n, p in model.model.named_parameters() if p.requires_grad]

    @property
    def progress(self) -> HamiltonianProgress:
        """That of the model."""
        return self.model.progress

    def run(self) -> float:
        """Train until all epochs are done; return the loss of the last."""
        valid = self.options.valid
        held = None if valid is None else self.model.prepared(valid, label=True)
        while self.progress.epoch < self.options.epochs:
            self._epoch(held)
        if self.options.checkpoint_every and self.progress.epoch % self.options.checkpoint_every:
            self._save()
        return self.progress.history[-1].loss if self.progress.history else math.nan

    def _batches(self) -> Iterator[tuple[Batch, Tensor]]:
        model = self.model
        batches = self.dataset.iterbatches(model.batch_size,
                                           deterministic=self.options.deterministic)
        for x, _, w, ids in seeded_batches(batches, (model.seed, self.progress.epoch)):
            weights = np.asarray(w, dtype=float).reshape(len(x), -1).mean(1)
            weights = weights if self.weighted else np.ones(len(x))
            samples = [model.preparation(sample, str(name), model.hamiltonian_loss.needs_labels)
                       for sample, name, weight in zip(x, ids, weights) if weight]
            if samples:
                yield (Batch.of(samples, model.device),
                       torch.from_numpy(weights[weights != 0]).to(model.device))

    def _epoch(self, held: list[Prepared] | None) -> None:
        model, progress, options = self.model, self.progress, self.options
        sums, clock, rate = _Sums(), time.process_time(), 0.0
        model.model.train()
        model.model.search.tol = model.train_tol
        for batch, weights in self._batches():
            rate = self._step(batch, weights, sums)
        for found in sums.found:  # a backward pass may still have changed it
            sums.unconverged += int((~found.converged).sum())
            sums.iterations += int(found.iterations.sum())
        progress.epoch += 1
        count = max(sums.samples, 1)
        report = HamiltonianEpoch(
            progress.epoch, model.get_global_step(), rate, sums.loss / count,
            1e6 * sums.error / sums.labelled if sums.labelled else math.nan,
            unconverged=sums.unconverged / count, iterations=sums.iterations / count)
        last = progress.epoch == options.epochs
        if held is not None and (progress.epoch % options.validate_every == 0 or last):
            self._validate(held, report)
        report.seconds = time.process_time() - clock
        progress.history.append(report)
        judged = "" if report.valid_mae is None else f", validation {report.valid_mae:.2f}"
        LOGGER.info("epoch %d: loss %.4g, H %.2f uHa%s, unconverged %.2f %% (%.1f s)",
                    report.epoch, report.loss, report.train_mae, judged,
                    100 * report.unconverged, report.seconds)
        if options.checkpoint_every and progress.epoch % options.checkpoint_every == 0:
            self._save()
        for callback in options.callbacks:
            callback(model, model.get_global_step())
        if options.epoch_callback is not None:
            options.epoch_callback(report)

    def _step(self, batch: Batch, weights: Tensor, sums: _Sums) -> float:
        """Change the parameters by the gradient of one batch; return the learning rate."""
        model, optimizer = self.model, self.model._pytorch_optimizer
        elements, found = model.model(batch.graph)
        losses, errors = model.hamiltonian_loss(batch, elements)
        count = len(batch.samples)
        # An unconverged prediction has no gradient that means anything.
        valued = losses if found is None else torch.where(found.converged, losses, 0.0)
        loss = (weights * valued).sum() / count
        if not torch.isfinite(loss):
            bad = [s.name for s, one in zip(batch.samples, losses.tolist())
                   if not math.isfinite(one)]
            raise FunctionalError("the loss is not finite", entry=", ".join(bad[:3]) or None,
                                  field="loss", remedy="restore a checkpoint, and use a lower "
                                  "learning rate or max_grad_norm")
        if model.regularization_loss is not None:
            loss = loss + model.regularization_loss()
        optimizer.zero_grad()
        loss.backward()
        if model.max_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, model.max_grad_norm)
        rate = self._set_rate(optimizer)
        optimizer.step()
        if model._lr_schedule is not None:
            model._lr_schedule.step()
        self._average()
        self.progress.steps += 1
        self.progress.warm += 1
        model._global_step += 1
        errors = errors[torch.isfinite(errors)]
        sums.samples += count
        sums.loss += float(losses.detach().sum())
        sums.labelled += len(errors)
        sums.error += float(errors.sum())
        if found is not None:
            found.state = None  # a whole graph of autograd would hang on it
            sums.found.append(found)
        return rate

    def _set_rate(self, optimizer: torch.optim.Optimizer) -> float:
        """Rise over the first steps of the optimiser, fall over this training."""
        model = self.model
        if model._lr_schedule is None:  # else DeepChem's schedule decides
            total = max(self.options.epochs * self.per_epoch, 1)
            left = max(1.0 - self.progress.steps / total, 0.0)
            factor = min(1.0, (self.progress.warm + 1) / max(model.warmup, 1))
            factor *= max(left**model.decay, _LEAST)
            for group in optimizer.param_groups:
                group["lr"] = factor * float(model.optimizer.learning_rate)
        return float(optimizer.param_groups[0]["lr"])

    def _average(self) -> None:
        model, progress = self.model, self.progress
        current = [p.detach() for p in self.parameters]
        if progress.average is None:
            progress.average = {n: p.clone() for n, p in zip(self.names, current)}
            return
        # Over fewer steps at first, when each is better than the one before.
        keep = min(model.ema, (1 + progress.steps) / (10 + progress.steps))
        torch._foreach_lerp_([progress.average[n] for n in self.names], current, 1.0 - keep)

    def _validate(self, held: list[Prepared], report: HamiltonianEpoch) -> None:
        model, progress = self.model, self.progress
        assert progress.average is not None
        trained = parameters_of(model.model)
        model.model.load_state_dict(progress.average, strict=False)
        try:
            errors = [s.label.flatten().sub(p.change.flatten()).abs().mean()
                      for s, p in zip(held, model.predicted(held)) if s.label is not None]
        finally:
            model.model.load_state_dict(trained, strict=False)
            model.model.train()
            model.model.search.tol = model.train_tol
        report.valid_mae = 1e6 * float(torch.stack(errors).mean())
        if report.valid_mae < progress.best_mae:
            report.best, progress.best_mae = True, report.valid_mae
            progress.best = {n: p.clone() for n, p in progress.average.items()}

    def _save(self) -> None:
        self.model.save_checkpoint(self.options.max_checkpoints_to_keep)


def parameters_of(module: torch.nn.Module) -> dict[str, Tensor]:
    """Return copies of a module's parameters, without buffers."""
    return {name: p.detach().clone() for name, p in module.named_parameters()}
