"""The fit loop: optimiser steps, epochs, validation, early stopping, resuming."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import parallel
from ..errors import FunctionalError, InputError
from ..torchstate import stacklevel
from .progress import EpochReport, Totals
from .samples import (
    Samples,
    batches,
    check_entries,
    check_same_entries,
    column,
    entry_name,
    epoch_order,
    unwrap,
)
from .spreading import tasks_of

if TYPE_CHECKING:
    from .xcmodel import XCModel

_UNSTEADY = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)
LOGGER = logging.getLogger("deepchem_dft.models")


@dataclass
class FitOptions:
    """What ``XCModel.fit`` was asked for, beyond the data.

    See there for the meaning of each.
    """

    checkpoint_interval: int | None = None
    checkpoint_every: int = 1
    max_checkpoints_to_keep: int = 5
    deterministic: bool = False
    variables: Sequence[Tensor] | None = None
    loss: Callable | None = None
    callbacks: Callable | Sequence[Callable] = ()
    all_losses: list[float] | None = None
    metric: Any = None
    metric_greater_is_better: bool = False
    validate_every: int = 1
    early_stopping: int | None = None
    restore_best: bool = True
    before_epoch: Callable[[Any, int], None] | None = None
    epoch_callback: Callable[[EpochReport], None] | None = None
    step_callbacks: list[Callable] = field(init=False)

    def __post_init__(self) -> None:
        calls = self.callbacks
        self.step_callbacks = list(calls) if isinstance(calls, Sequence) else [calls]
        for name in ("checkpoint_every", "validate_every", "early_stopping"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}", field=name, remedy="use 1 or more")


class Trainer:
    """Trains an ``XCModel``; everything that must survive a kill is kept in the model."""

    def __init__(self, model: XCModel, options: FitOptions) -> None:
        self.model, self.options = model, options
        model._ensure_built()
        trained = list(model.model.parameters()) if options.variables is None else options.variables
        if not any(p.requires_grad for p in trained):
            raise InputError(
                "the functional has no trainable parameters",
                remedy="give it a network, or use train_a, train_b or train_exchange",
            )
        for module in model.model.modules():
            if isinstance(module, _UNSTEADY):
                raise InputError(
                    f"the network contains {type(module).__name__}, with which the energy depends "
                    "on chance or on other points, so that no field becomes self-consistent",
                    field="nnmodel",
                    remedy="leave dropout and batch normalisation out (LayerNorm is fine)",
                )
        self.optimizer, self.schedule = model._optimizer_of(options.variables)
        self._warned = False
        self._epochs = 0

    # -- one step ---------------------------------------------------------------------------

    def step(self, batch: Samples) -> None:
        """Take one optimiser step on a batch; entries that do not converge are left out."""
        model, network = self.model, self.model.model
        network.train()
        parallel.doing(f"step {model._global_step + 1} (epoch {model.progress.epoch + 1})")
        network.solver.step = model._global_step
        network.zero_grad(set_to_none=True)
        prediction = network(batch.entries)
        lost = torch.isnan(prediction.detach()).flatten()
        kept = (~lost).nonzero().flatten().tolist()
        if len(kept) < len(batch):
            self._warn([e for e, gone in zip(batch.entries, lost.tolist(), strict=True) if gone])
        if kept:
            part, prediction_kept = batch.take(kept), prediction[kept]
            value = self._loss(part, prediction_kept)
            self._check(value, part, prediction_kept)
            model.progress.totals.add_loss(value.item(), len(kept))
            if value.requires_grad:
                value.backward()
                self._clip(part)
                self.optimizer.step()
                # All processes took the same step, up to what their processors make of it.
                parallel.copy_from_main(list(network.parameters()))
                if self.schedule is not None:
                    self.schedule.step()
        model.progress.totals.add(batch.entries, prediction, batch.target)
        model._global_step += 1

    def _loss(self, batch: Samples, prediction: Tensor) -> Tensor:
        model = self.model
        if self.options.loss is not None:  # DeepChem's form: lists of outputs, labels, weights
            weight = model.entry_loss.weights(batch.entries, batch.weight)
            value = self.options.loss([prediction], [batch.target], [weight]).mean()
        else:
            value = model.entry_loss(batch.entries, prediction, batch.target, batch.weight)
        if model.regularization_loss is not None and torch.is_grad_enabled():
            value = value + model.regularization_loss()
        return value

    def _check(self, value: Tensor, batch: Samples, prediction: Tensor) -> None:
        if not bool(torch.isfinite(value.detach())):
            worst = int((prediction.detach() - batch.target).abs().argmax())
            raise FunctionalError(
                "the loss is not a number",
                entry=entry_name(batch.entries[worst]),
                remedy="lower the learning rate, use max_grad_norm, or check the loss function",
            )

    def _clip(self, batch: Samples) -> None:
        parameters = [p for p in self.model.model.parameters() if p.grad is not None]
        limit = self.model.max_grad_norm
        norm = torch.nn.utils.clip_grad_norm_(parameters, math.inf if limit is None else limit)
        if not bool(torch.isfinite(norm)):
            raise FunctionalError(
                "the gradient of the loss is not finite",
                entry=", ".join(entry_name(e) for e in batch.entries[:3]),
                remedy="check the loss function and the regularization",
            )

    def _warn(self, entries: Sequence[Any]) -> None:
        names = ", ".join(entry_name(e) for e in entries[:5])
        LOGGER.info("step %d: not converged: %s", self.model._global_step, names)
        if not self._warned and parallel.rank() == 0:
            self._warned = True
            warnings.warn(
                f"the self-consistent field did not converge for {names}; such entries are left "
                "out of the step and counted in EpochReport.unconverged (warned once per fit)",
                stacklevel=stacklevel(6),
            )

    # -- epochs -----------------------------------------------------------------------------

    def fit(self, train: Samples, valid: Samples | None, last_epoch: int) -> float:
        """Train until epoch ``last_epoch`` is done; return the loss of the last epoch."""
        model, options = self.model, self.options
        self._spread(train, valid)
        progress = model.progress
        while progress.epoch < last_epoch and not self._stopped():
            if options.before_epoch is not None:
                options.before_epoch(model, progress.epoch + 1)
            order = epoch_order(len(train), model.seed, progress.epoch, options.deterministic)
            for rows in batches(order[progress.done :], model.batch_size):
                start, solved = time.perf_counter(), model.model.solver.solutions
                self.step(train.take(rows.tolist()))
                progress.done += len(rows)
                progress.totals.seconds += time.perf_counter() - start
                progress.totals.scf_solutions += model.model.solver.solutions - solved
                self._after_step()
            self._end_epoch(valid)
            self._rebalance(train, valid)
        self._finish()
        return progress.history[-1].loss if progress.history else 0.0

    def _spread(self, train: Samples, valid: Samples | None) -> None:
        """Give every process its share of the systems."""
        for samples in (train, valid):
            if samples is not None:
                check_same_entries(samples.entries)
                self.model.model.spreader.assign(tasks_of(samples.entries))

    def _rebalance(self, train: Samples, valid: Samples | None) -> None:
        """Spread systems by the time they took: after 2, 4, 8... epochs of this process."""
        self._epochs += 1
        if parallel.world_size() == 1 or self._epochs & (self._epochs - 1):
            return
        model = self.model
        if self._epochs > 1:  # the first epoch made integrals, and says little
            groups = [[task.key for task in tasks_of(samples.entries)]
                      for samples in (train, valid) if samples is not None]  # fmt: skip
            moved = model.model.spreader.rebalance(groups, [store for _, store in model._stores()])
            if moved:
                LOGGER.info("%d systems moved to other processes", moved)
        model.model.spreader.forget_times()

    def _stopped(self) -> bool:
        best, patience = self.model.progress.best, self.options.early_stopping
        return best is not None and patience is not None and best.validations_since >= patience

    def _after_step(self) -> None:
        model, options = self.model, self.options
        step, frequency = model._global_step, model.log_frequency
        if frequency and step % frequency == 0:
            LOGGER.info("step %d: average loss %g", step, model.progress.totals.mean_loss)
        interval = options.checkpoint_interval
        if interval and step % interval == 0:
            model.save_checkpoint(options.max_checkpoints_to_keep)
        for call in options.step_callbacks:
            call(model, step)

    def _end_epoch(self, valid: Samples | None) -> None:
        model, options = self.model, self.options
        progress = model.progress
        report = progress.totals.report(progress.epoch + 1)
        if valid is not None and report.epoch % options.validate_every == 0:
            start = time.perf_counter()
            self._validate(valid, report)
            report.seconds += time.perf_counter() - start
        progress.epoch, progress.done, progress.totals = report.epoch, 0, Totals()
        progress.consider(report, model.model.state_dict())
        progress.history.append(report)
        if options.all_losses is not None:
            options.all_losses.append(report.loss)
        if options.checkpoint_interval is None and report.epoch % options.checkpoint_every == 0:
            model.save_checkpoint(options.max_checkpoints_to_keep)
        self._log(report)
        if options.epoch_callback is not None:
            options.epoch_callback(report)

    def _validate(self, valid: Samples, report: EpochReport) -> None:
        model, network = self.model, self.model.model
        parallel.doing(f"validation (epoch {report.epoch})")
        network.eval()
        with torch.no_grad():
            prediction = network.values(
                valid.entries, store=model.valid_states, on_unconverged="nan"
            )
            totals = Totals()
            totals.add(valid.entries, prediction, valid.target)
            kept = (~torch.isnan(prediction)).flatten().nonzero().flatten().tolist()
            report.valid_mae_kcal, report.valid_unconverged = totals.mae_kcal, totals.unconverged
            report.score = math.nan
            if kept:
                report.score = self._score(valid.take(kept), prediction[kept], totals.mae_kcal)

    def _score(self, valid: Samples, prediction: Tensor, mae_kcal: float | None) -> float:
        metric = self.options.metric
        if metric is None:
            return self._loss(valid, prediction).item() if mae_kcal is None else mae_kcal
        y, p, w = (t.detach().cpu().numpy() for t in (valid.target, prediction, valid.weight))
        compute = getattr(metric, "compute_metric", None)
        value = metric(y, p) if compute is None else compute(y, p, w)
        return -float(value) if self.options.metric_greater_is_better else float(value)

    def _log(self, report: EpochReport) -> None:
        values = {
            "loss": report.loss,
            "mae_kcal": report.mae_kcal,
            "valid_mae_kcal": report.valid_mae_kcal,
            "valid_score": report.score,
            "unconverged": report.unconverged,
        }
        values = {k: v for k, v in values.items() if v is not None}
        text = ", ".join(f"{name} {value:.6g}" for name, value in values.items())
        LOGGER.info("epoch %d: %s (%.1f s)", report.epoch, text, report.seconds)
        if parallel.rank():
            return
        step = self.model._global_step
        if self.model.tensorboard:
            for name, value in values.items():
                self.model._log_scalar_to_tensorboard(name, value, step)
            self.model._summary_writer.flush()
        if self.model.wandb_logger is not None:
            self.model.wandb_logger.log_data({f"train/{k}": v for k, v in values.items()}, step)

    def _finish(self) -> None:
        model, options, best = self.model, self.options, self.model.progress.best
        if best is not None and options.restore_best and best.epoch != model.progress.epoch:
            state = model.model.state_dict()
            model._last_parameters = {k: v.detach().cpu().clone() for k, v in state.items()}
            model.model.load_state_dict(best.parameters)
        elif not options.checkpoint_interval and options.checkpoint_every == 1:
            return  # the checkpoint of the last epoch says it all, or none are wanted
        if options.checkpoint_interval != 0:
            model.save_checkpoint(options.max_checkpoints_to_keep)

    # -- DeepChem's generators ----------------------------------------------------------------

    def fit_generator(self, generator: Iterable[tuple[Any, Any, Any]]) -> float:
        """Train on batches ``([entries], [labels], [weights])``; return their average loss."""
        progress = self.model.progress
        progress.totals = Totals()
        for inputs, labels, weights in generator:
            self.step(self._batch(inputs, labels, weights))
            self._after_step()
        report = progress.totals.report(progress.epoch)
        progress.totals = Totals()
        self.model._generator_report = report
        if self.options.all_losses is not None:
            self.options.all_losses.append(report.loss)
        if self.options.checkpoint_interval != 0:
            self.model.save_checkpoint(self.options.max_checkpoints_to_keep)
        return report.loss

    def _batch(self, inputs: Any, labels: Any, weights: Any) -> Samples:
        entries = check_entries(unwrap(inputs))
        n, device = len(entries), self.model.device
        weights = np.ones(n) if weights is None or len(weights) == 0 else unwrap(weights)
        target, weight = column(unwrap(labels), n, "labels"), column(weights, n, "weights")
        return Samples(
            entries, torch.as_tensor(target, device=device), torch.as_tensor(weight, device=device)
        )
