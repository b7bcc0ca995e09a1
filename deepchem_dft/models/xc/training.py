"""How an XCModel is trained: the step, validation, and systems shared by several processes."""

import logging
import math
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from deepchem_dft import parallel
from deepchem_dft.errors import FunctionalError, InputError
from deepchem_dft.fitting.loop import TrainingLoop
from deepchem_dft.fitting.options import FitOptions
from deepchem_dft.fitting.ordering import batches, column, epoch_order, unwrap
from deepchem_dft.models.xc.progress import EpochReport, Totals
from deepchem_dft.models.xc.samples import Samples, check_entries, check_same_entries, entry_name
from deepchem_dft.models.xc.spreading import tasks_of
from deepchem_dft.torchstate import stacklevel

if TYPE_CHECKING:
    from deepchem_dft.models.xc.model import XCModel

_UNSTEADY = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)
LOGGER = logging.getLogger("deepchem_dft.models")


class Trainer(TrainingLoop):
    """Trains an ``XCModel``.

    Parameters
    ----------
    model : XCModel
    options : FitOptions
    samples : Samples, optional
        Not needed to train on generators.
    valid : Samples, optional
    """

    model: "XCModel"

    def __init__(
        self,
        model: "XCModel",
        options: FitOptions,
        samples: Samples | None = None,
        valid: Samples | None = None,
    ) -> None:
        super().__init__(model, options, valid)
        self.samples = samples
        model._ensure_built()
        chosen = options.variables
        trained = list(model.model.parameters()) if chosen is None else chosen
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
        self.optimizer, self.schedule = model._optimizer_of(chosen)
        self._warned = False
        self._epochs = 0

    # -- one step ---------------------------------------------------------------------------

    def batches(self) -> Iterator[Samples]:
        """Yield the entries of the present epoch that have not been trained on."""
        assert self.samples is not None
        model, progress = self.model, self.progress
        order = epoch_order(len(self.samples), model.seed, progress.epoch, self.options.deterministic)
        for rows in batches(order[progress.done :], model.batch_size):
            yield self.samples.take(rows.tolist())

    def step(self, batch: Samples) -> None:
        """Take one optimiser step on a batch; entries that do not converge are left out."""
        model, network, totals = self.model, self.model.model, self.progress.totals
        start, solved = time.perf_counter(), network.solver.solutions
        network.train()
        parallel.doing(f"step {model._global_step + 1} (epoch {self.progress.epoch + 1})")
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
            totals.add_loss(value.item(), len(kept))
            if value.requires_grad:
                value.backward()
                self._clip(part)
                self.optimizer.step()
                # All processes took the same step, up to what their processors make of it.
                parallel.copy_from_main(list(network.parameters()))
                if self.schedule is not None:
                    self.schedule.step()
        totals.add(batch.entries, prediction, batch.target)
        model._global_step += 1
        self.progress.done += len(batch)
        totals.seconds += time.perf_counter() - start
        totals.scf_solutions += network.solver.solutions - solved

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
                stacklevel=stacklevel(7),
            )

    # -- epochs -----------------------------------------------------------------------------

    def train(self) -> None:
        """Give every process its share of the systems, and train."""
        for samples in (self.samples, self.valid):
            if samples is not None:
                check_same_entries(samples.entries)
                self.model.model.spreader.assign(tasks_of(samples.entries))
        super().train()

    def after_step(self) -> None:
        """Log every ``log_frequency`` steps, besides what all models do."""
        step, frequency = self.model._global_step, self.model.log_frequency
        if frequency and step % frequency == 0:
            LOGGER.info("step %d: average loss %g", step, self.progress.totals.mean_loss)
        super().after_step()

    def report(self) -> EpochReport:
        """Turn the sums of the epoch into its report."""
        progress = self.progress
        report = progress.totals.report(progress.epoch + 1)
        progress.epoch, progress.done, progress.totals = report.epoch, 0, Totals()
        self._began = self.clock()  # a step counts its own time, also that before a kill
        return report

    def end_epoch(self) -> None:
        """End it, and spread systems by the time they took: after 2, 4, 8... epochs."""
        super().end_epoch()
        self._epochs += 1
        if parallel.world_size() == 1 or self._epochs & (self._epochs - 1):
            return
        model = self.model
        if self._epochs > 1:  # the first epoch made integrals, and says little
            groups = [
                [task.key for task in tasks_of(samples.entries)]
                for samples in (self.samples, self.valid)
                if samples is not None
            ]
            moved = model.model.spreader.rebalance(groups, [store for _, store in model._stores()])
            if moved:
                LOGGER.info("%d systems moved to other processes", moved)
        model.model.spreader.forget_times()

    def validate(self, report: EpochReport) -> None:
        """Check the parameters of now on the validation set, each system solved."""
        model, network, valid = self.model, self.model.model, self.valid
        parallel.doing(f"validation (epoch {report.epoch})")
        network.eval()
        with torch.no_grad():
            prediction = network.values(valid.entries, store=model.valid_states, on_unconverged="nan")
            totals = Totals()
            totals.add(valid.entries, prediction, valid.target)
            kept = (~torch.isnan(prediction)).flatten().nonzero().flatten().tolist()
            report.valid_mae_kcal, report.valid_unconverged = totals.mae_kcal, totals.unconverged
            report.score = math.nan
            if kept:
                report.score = self._score(valid.take(kept), prediction[kept], totals.mae_kcal)

    def _score(self, valid: Samples, prediction: Tensor, mae_kcal: float | None) -> float:
        if self.options.metric is None:
            return self._loss(valid, prediction).item() if mae_kcal is None else mae_kcal
        y, p, w = (t.detach().cpu().numpy() for t in (valid.target, prediction, valid.weight))
        return self.options.score(y, p, w)

    def logged(self, report: EpochReport) -> dict[str, float | None]:
        """Return what of a report goes into logs."""
        return {
            "loss": report.loss,
            "mae_kcal": report.mae_kcal,
            "valid_mae_kcal": report.valid_mae_kcal,
            "valid_score": report.score,
            "unconverged": report.unconverged,
        }

    # -- DeepChem's generators ----------------------------------------------------------------

    def fit_generator(self, generator: Iterable[tuple[Any, Any, Any]]) -> float:
        """Train on batches ``([entries], [labels], [weights])``; return their average loss."""
        progress = self.progress
        progress.totals, done = Totals(), progress.done
        for inputs, labels, weights in generator:
            self.step(self._batch(inputs, labels, weights))
            self.after_step()
        report = progress.totals.report(progress.epoch)
        progress.totals, progress.done = Totals(), done
        self.model._generator_report = report
        if self.options.all_losses is not None:
            self.options.all_losses.append(report.loss)
        if self.options.saves:
            self.save()
        return report.loss

    def _batch(self, inputs: Any, labels: Any, weights: Any) -> Samples:
        entries = check_entries(unwrap(inputs))
        n, device = len(entries), self.model.device
        weights = np.ones(n) if weights is None or len(weights) == 0 else unwrap(weights)
        target, weight = column(unwrap(labels), n, "labels"), column(weights, n, "weights")
        return Samples(
            entries, torch.as_tensor(target, device=device), torch.as_tensor(weight, device=device)
        )
