"""How a KSRModel is trained: L-BFGS that can be resumed, Adam, validation, several seeds."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from ..errors import CheckpointError, FunctionalError, InputError
from ..lattice.step import Molecules
from .ksr_loss import KSRStage
from .ksr_progress import KSREpoch, KSRProgress, Record
from .ksr_samples import KSRSamples
from .ksr_separability import Separability
from .samples import batches, epoch_order

LOGGER = logging.getLogger("deepchem_dft.models")

#: Corrections that L-BFGS remembers. SciPy's usual 10 and the 20 of the paper converge more slowly.
_MEMORY = 100


@dataclass
class KSRFit:
    """What :meth:`KSRModel.fit` was asked for; its docstring explains."""

    stages: Sequence[KSRStage]
    score: Callable[[], float] | None = None
    validate_every: int = 5
    early_stopping: int | None = None
    checkpoint_every: int = 20
    max_checkpoints_to_keep: int = 5
    deterministic: bool = False
    callbacks: Sequence[Callable] = ()
    epoch_callback: Callable[[KSREpoch], None] | None = None


class _Chunk(NamedTuple):
    """Molecules side by side, with all that their loss needs."""

    molecules: Molecules
    energy: Tensor
    weight: Tensor
    density: Tensor | None
    start: Tensor | None


class _Enough(Exception):
    """Early stopping."""


class KSRTrainer:
    """Trains the functional of a model; all that changes is in the model and its progress."""

    def __init__(self, model: Any, samples: KSRSamples, options: KSRFit) -> None:
        self.model, self.samples, self.options = model, samples, options
        self.parameters = [p for p in model.functional.parameters() if p.requires_grad]
        if not self.parameters:
            raise InputError("the functional has no parameters to train", field="functional",
                             remedy="use 'global', 'gradient', 'local' or a network")
        if self.progress.stage >= len(options.stages):
            raise InputError(f"the run is in stage {self.progress.stage + 1} of "
                             f"{len(options.stages)}", field="stages",
                             remedy="give the stages it was begun with")
        self.stage, self.loss = options.stages[0], model.ksr_loss
        self._separability: Separability | None = None
        self._clock = time.process_time()

    @property
    def progress(self) -> KSRProgress:
        """That of the model."""
        return self.model.progress

    def run(self) -> float:
        """Train all seeds that are left; return the loss of the last epoch."""
        progress = self.progress
        while True:
            try:
                self._optimise()
                while progress.stage + 1 < len(self.options.stages):
                    progress.next_stage()
                    self.model.new_optimizer()
                    self._optimise()
            except (InputError, FunctionalError) as error:
                # A few initial weights lead nowhere. Others may do; if none does, say why.
                progress.failures[str(progress.seed)] = str(error)
                LOGGER.warning("seed %d failed: %s", progress.seed, error)
                if not progress.seeds_left and progress.best is None:
                    raise
            if not progress.seeds_left:
                break
            self.model.start_seed(progress.seeds_left.pop(0))
            progress = self.progress
        self._save()
        return progress.history[-1].loss if progress.history else math.nan

    def _optimise(self) -> None:
        """Train one stage of one seed until it has had its epochs."""
        model, samples = self.model, self.samples
        self.stage = stage = self.options.stages[self.progress.stage]
        self.loss = stage.loss(model.ksr_loss)
        self.loss.discounts(stage.iterations or model.network.iterations)
        self._separability, self._clock = None, time.process_time()
        if self._separability_weight:
            densities = model.network.exact_densities(samples.entries)
            self._separability = Separability(model.functional, samples.systems, densities)
        try:
            (self._lbfgs if model.method == "lbfgs" else self._adam)()
        except _Enough:
            LOGGER.info("seed %d: no improvement, stopped early", self.progress.seed)

    # -- the loss ------------------------------------------------------------------------------

    @property
    def _separability_weight(self) -> float:
        own = self.stage.separability_weight
        return self.model.separability_weight if own is None else own

    def _chunk(self, rows: np.ndarray) -> _Chunk:
        samples, network = self.samples, self.model.network
        entries = [samples.entries[i] for i in rows]
        return _Chunk(
            network.molecules(entries), samples.energy[rows], samples.weight[rows] / len(samples),
            network.exact_densities(entries) if self.loss.density_weight > 0 else None,
            network.start(entries, self.stage.start),
        )  # fmt: skip

    def _loss(self, chunk: _Chunk) -> Tensor:
        stage, network = self.stage, self.model.network
        iterations = stage.iterations or network.iterations
        burn_in = 0 if stage.iterations and stage.burn_in is None else stage.burn_in
        trajectory = network.run(chunk.molecules, iterations, chunk.start,
                                 last=iterations - self.loss.skip, burn_in=burn_in)
        return (chunk.weight * self.loss(trajectory, chunk.energy, chunk.density)).sum()

    def _backward(self, chunks: Sequence[_Chunk]) -> float:
        """Add the gradient of some samples' loss to the parameters'; return the loss."""
        total = 0.0
        for chunk in chunks:
            loss = self._loss(chunk)
            if not torch.isfinite(loss):
                raise FunctionalError("the loss is not finite", field="functional",
                                      remedy="use other initial weights, or a lower learning rate")
            loss.backward()
            total += loss.item()
        extra = self._extra()
        if extra is not None:
            extra = extra * (sum(len(chunk.energy) for chunk in chunks) / len(self.samples))
            extra.backward()
            total += extra.item()
        return total

    def _extra(self) -> Tensor | None:
        """Return the part of the loss that is not of samples."""
        extra = None
        if self._separability is not None:
            extra = self._separability_weight * self._separability(self.model.functional)
        if self.model.regularization_loss is not None:
            added = self.model.regularization_loss()
            extra = added if extra is None else extra + added
        return extra

    def _zero(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    # -- L-BFGS --------------------------------------------------------------------------------

    def _flat(self) -> Tensor:
        return torch.cat([p.detach().flatten() for p in self.parameters])

    def _assign(self, x: np.ndarray) -> None:
        sizes = [p.numel() for p in self.parameters]
        with torch.no_grad():
            for p, part in zip(self.parameters, torch.from_numpy(x.copy()).split(sizes)):
                p.copy_(part.reshape(p.shape))

    def _lbfgs(self) -> None:
        progress = self.progress
        if progress.record is None:
            progress.record = Record(self._flat())
        record, asked, done = progress.record, 0, progress.epoch
        epoch, losses = 0, {}
        order = np.arange(len(self.samples))
        chunks = [self._chunk(rows) for rows in batches(order, self.model.batch_size)]

        def value(x: np.ndarray) -> tuple[float, np.ndarray]:
            nonlocal asked
            if asked == len(record.losses):
                self._assign(x)
                self._zero()
                record.losses.append(self._backward(chunks))
                record.gradients.append(torch.cat([
                    torch.zeros(p.numel(), dtype=torch.float64) if p.grad is None
                    else p.grad.flatten() for p in self.parameters]))  # fmt: skip
            loss, gradient = record.losses[asked], record.gradients[asked].numpy()
            asked += 1
            losses[x.tobytes()] = loss
            return loss, gradient

        def accepted(x: np.ndarray) -> None:
            nonlocal epoch
            epoch += 1
            loss = losses.get(x.tobytes())
            losses.clear()
            if epoch <= done:
                return
            if loss is None:  # not to be expected of SciPy
                raise CheckpointError("L-BFGS accepted a point it had not asked for")
            self._assign(x)
            progress.evaluations = asked
            self._end_epoch(loss)

        if done >= self.stage.epochs:
            return
        result = minimize(
            value, record.start.numpy(), jac=True, method="L-BFGS-B", callback=accepted,
            options={"maxiter": self.stage.epochs, "maxfun": 10**9, "maxcor": _MEMORY,
                     "ftol": 0.0, "gtol": 1e-14},
        )  # fmt: skip
        self._assign(result.x)
        if epoch < self.stage.epochs:
            LOGGER.info("seed %d: L-BFGS ended after %d iterations (%s)", progress.seed, epoch,
                        result.message)  # fmt: skip

    # -- Adam ----------------------------------------------------------------------------------

    def _adam(self) -> None:
        model, progress, n = self.model, self.progress, len(self.samples)
        model._ensure_built()
        while progress.epoch < self.stage.epochs:
            order = epoch_order(n, progress.seed, progress.epoch, self.options.deterministic)
            total = 0.0
            for rows in batches(order, model.batch_size):
                self._zero()
                chunk = self._chunk(rows)
                loss = self._backward([chunk])
                scale = n / len(rows)  # the mean of the batch, for the size of the step
                for parameter in self.parameters:
                    if parameter.grad is not None:
                        parameter.grad *= scale
                model._pytorch_optimizer.step()
                if model._lr_schedule is not None:
                    model._lr_schedule.step()
                progress.evaluations += 1
                total += loss
            self._end_epoch(total)

    # -- every epoch ---------------------------------------------------------------------------

    def _end_epoch(self, loss: float) -> None:
        model, progress, options = self.model, self.progress, self.options
        progress.epoch += 1
        model._global_step += 1
        report = KSREpoch(progress.seed, progress.stage + 1, progress.epoch, loss,
                          evaluations=progress.evaluations)
        last = progress.epoch == self.stage.epochs
        if options.score is not None and (progress.epoch % options.validate_every == 0 or last):
            self._validate(report)
        report.seconds, self._clock = time.process_time() - self._clock, time.process_time()
        progress.history.append(report)
        judged = "" if report.score is None else f", validation {report.score:.4g}"
        LOGGER.info("seed %d, stage %d, epoch %d: loss %.4g%s (%.1f s)", report.seed, report.stage,
                    report.epoch, loss, judged, report.seconds)  # fmt: skip
        if options.checkpoint_every and progress.epoch % options.checkpoint_every == 0:
            self._save()
        for callback in options.callbacks:
            callback(model, model._global_step)
        if options.epoch_callback is not None:
            options.epoch_callback(report)
        if options.early_stopping is not None and progress.since_best >= options.early_stopping:
            raise _Enough

    def _validate(self, report: KSREpoch) -> None:
        assert self.options.score is not None
        progress, score = self.progress, self.options.score()
        report.score = score
        progress.since_best += 1
        if score < progress.own_best:
            progress.own_best, progress.since_best = score, 0
        if score < progress.best_score:
            report.best, progress.best_score = True, score
            progress.best = {k: v.detach().clone()
                             for k, v in self.model.functional.state_dict().items()}  # fmt: skip

    def _save(self) -> None:
        if self.options.checkpoint_every:
            self.model.save_checkpoint(self.options.max_checkpoints_to_keep)
