"""The training loop of every model: epochs of steps, validation, checkpoints, early stopping."""

import logging
import math
import time
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from deepchem_dft import parallel
from deepchem_dft.fitting.options import FitOptions

LOGGER = logging.getLogger("deepchem_dft.models")


class TrainingLoop:
    """Train a model until its epochs are done; everything that must survive a kill is the model's.

    A family of models says in a subclass what is its own: what a batch is and what a step does
    with it (:meth:`batches`, :meth:`step`), what an epoch was (:meth:`report`), how parameters are
    judged (:meth:`validate`) and which ones predict (:meth:`parameters`, :meth:`take`).

    Parameters
    ----------
    model : TorchModel
        With a ``progress`` (:class:`~deepchem_dft.fitting.progress.Progress` or its like).
    options : FitOptions
    valid
        Whatever the family validates on; None for no validation.
    """

    #: What ``seconds`` of a report counts.
    clock = staticmethod(time.perf_counter)

    def __init__(self, model: Any, options: FitOptions, valid: Any = None) -> None:
        self.model, self.options, self.valid = model, options, valid
        self.last_epoch = options.nb_epoch
        self._began = 0.0
        self._saved: tuple[int, int] | None = None

    # -- what a family says ----------------------------------------------------------------------

    def batches(self) -> Iterable[Any]:
        """Yield what is left of the present epoch, batch by batch."""
        raise NotImplementedError

    def step(self, batch: Any) -> None:
        """Take one step of the optimiser; count it in ``model._global_step``."""
        raise NotImplementedError

    def report(self) -> Any:
        """Complete the epoch in the model's progress; return what there is to say of it."""
        raise NotImplementedError

    def validate(self, report: Any) -> None:
        """Set ``report.score`` (lower is better) and whatever else validation tells."""
        raise NotImplementedError

    def parameters(self) -> Mapping[str, Tensor]:
        """Return the parameters that :meth:`validate` judged."""
        return self.model.model.state_dict()

    def take(self, parameters: Mapping[str, Tensor]) -> None:
        """Give the model parameters that :meth:`parameters` returned."""
        self.model.model.load_state_dict(parameters)

    def logged(self, report: Any) -> dict[str, float | None]:
        """Return what of a report goes into logs."""
        return {"loss": report.loss, "valid_score": report.score}

    # -- the loop ----------------------------------------------------------------------------------

    @property
    def progress(self) -> Any:
        """That of the model."""
        return self.model.progress

    @property
    def stopped(self) -> bool:
        """Whether validation has not improved for as long as was allowed."""
        patience = self.options.early_stopping
        return patience is not None and self.progress.validations_since_best >= patience

    def run(self) -> float:
        """Train; return the loss of the last epoch."""
        self.train()
        self.finish()
        history = self.progress.history
        return history[-1].loss if history else math.nan

    def train(self) -> None:
        """Do the epochs that are left."""
        while self.progress.epoch < self.last_epoch and not self.stopped:
            self.begin_epoch()
            for batch in self.batches():
                self.step(batch)
                self.after_step()
            self.end_epoch()

    def begin_epoch(self) -> None:
        """Start the clock and call ``before_epoch``."""
        self._began = self.clock()
        if self.options.before_epoch is not None:
            self.options.before_epoch(self.model, self.progress.epoch + 1)

    def after_step(self) -> None:
        """Log, save and call back, as often as was asked for."""
        step = self.model._global_step
        if self.options.save_after_step(step):
            self.save()
        for call in self.options.callbacks:  # type: ignore[union-attr]
            call(self.model, step)

    def end_epoch(self) -> None:
        """Report, validate, keep the best parameters, save and call back."""
        options, progress = self.options, self.progress
        report = self.report()
        last = progress.epoch == self.last_epoch
        if self.valid is not None and (last or progress.epoch % options.validate_every == 0):
            self.validate(report)
            progress.consider(report, self.parameters())
        report.seconds += self.clock() - self._began
        progress.history.append(report)
        if options.all_losses is not None:
            options.all_losses.append(report.loss)
        if options.save_after_epoch(progress.epoch):
            self.save()
        self._log(report)
        if options.epoch_callback is not None:
            options.epoch_callback(report)

    def finish(self) -> None:
        """Take the best parameters if that is wanted, and save."""
        changed = self.options.restore_best and self.take_best()
        done = (self.model._global_step, self.progress.epoch)
        if self.options.saves and (changed or done != self._saved):
            self.save()

    def take_best(self) -> bool:
        """Give the model the best parameters, keeping the last ones; tell whether they differ."""
        progress = self.progress
        if progress.best is None or progress.best.epoch == progress.epoch:
            return False
        progress.last = {k: v.detach().cpu().clone() for k, v in self.parameters().items()}
        self.take(progress.best.parameters)
        return True

    def save(self) -> None:
        """Write a checkpoint."""
        self.model.save_checkpoint(self.options.max_checkpoints_to_keep)
        self._saved = (self.model._global_step, self.progress.epoch)

    def _log(self, report: Any) -> None:
        values = {k: v for k, v in self.logged(report).items() if v is not None}
        text = ", ".join(f"{name} {value:.6g}" for name, value in values.items())
        LOGGER.info("epoch %d: %s (%.1f s)", report.epoch, text, report.seconds)
        if parallel.rank():
            return
        step = self.model._global_step
        if getattr(self.model, "tensorboard", False):
            for name, value in values.items():
                self.model._log_scalar_to_tensorboard(name, value, step)
            self.model._summary_writer.flush()
        if getattr(self.model, "wandb_logger", None) is not None:
            self.model.wandb_logger.log_data({f"train/{k}": v for k, v in values.items()}, step)
