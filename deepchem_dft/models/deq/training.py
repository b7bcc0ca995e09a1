"""How a DEQModel is trained: batches in an order of the seed's, steps, validation."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from deepchem.data import Dataset

from deepchem_dft.errors import FunctionalError
from deepchem_dft.fitting import progress as fitting
from deepchem_dft.fitting.loop import TrainingLoop
from deepchem_dft.fitting.options import FitOptions
from deepchem_dft.property import SolveCount

if TYPE_CHECKING:
    from deepchem_dft.models.deq.model import DEQModel

#: Probabilities below this are taken for this in a validation score.
_SMALLEST = 1e-12


@dataclass
class DEQEpoch(fitting.Epoch):
    """What happened in one epoch.

    Attributes
    ----------
    epoch : int
        From 1.
    loss : float
        Mean over samples and tasks, each at the parameters it was evaluated with.
    unconverged : float
        Share of samples for which no fixed point, or no gradient, was found.
    evaluations : float
        Evaluations of the cell per batch: until its slowest sample was done.
    iterations : float
        Evaluations per sample.
    score : float or None
        Of the validation, lower is better: the loss there, or the metric asked for.
    best : bool
        Whether that is the best so far.
    seconds : float
        Wall time.
    """

    unconverged: float = 0.0
    evaluations: float = 0.0
    iterations: float = 0.0


@dataclass
class DEQProgress(fitting.Progress):
    """What a checkpoint must hold for training to go on as if it had never stopped."""

    report = DEQEpoch


class DEQTrainer(TrainingLoop):
    """Trains a ``DEQModel``.

    Parameters
    ----------
    model : DEQModel
    options : FitOptions
    dataset : Dataset
    valid : Dataset, optional
    """

    model: "DEQModel"

    def __init__(
        self, model: "DEQModel", options: FitOptions, dataset: Dataset, valid: Dataset | None = None
    ) -> None:
        super().__init__(model, options, valid)
        self.dataset, self.count = dataset, SolveCount()

    def batches(self) -> Iterator[Any]:
        """Yield the batches of an epoch."""
        model = self.model
        self.count, model._losses = SolveCount(), []
        for batch in model.default_generator(self.dataset, deterministic=self.options.deterministic):
            # Whoever validates in a callback leaves evaluation mode and a count of its own behind.
            model.model.train()
            model.network.count = self.count
            yield batch

    def step(self, batch: Any) -> None:
        """Take one step of DeepChem's optimiser."""
        model = self.model
        inputs, labels, weights = model._prepare_batch(batch)
        outputs = model.model(inputs[0])
        loss = (self.options.loss or model._loss_fn)(
            [outputs[i] for i in model._loss_outputs], labels, weights
        )
        if self.options.loss is not None:
            model._losses.append(loss.detach() * len(outputs[0]))
        if not bool(torch.isfinite(loss.detach())):
            raise FunctionalError(
                "the loss is not a number", field="loss", remedy="lower the learning rate, or bound the cell"
            )
        optimizer, schedule = model._pytorch_optimizer, model._lr_schedule
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if schedule is not None:
            schedule.step()
        model._global_step += 1

    def report(self) -> DEQEpoch:
        """Return what there is to say of the epoch just done."""
        model, count, progress = self.model, self.count, self.progress
        with torch.no_grad():
            model.network.epochs += 1
        progress.epoch += 1
        samples, model.network.count = max(count.samples, 1), count
        return DEQEpoch(
            progress.epoch,
            float(sum(model._losses)) / samples,
            unconverged=count.unconverged_fraction,
            evaluations=count.evaluations / max(count.batches, 1),
            iterations=count.iterations / samples,
        )

    def validate(self, report: DEQEpoch) -> None:
        """Check by the loss on the validation set, or by the metric asked for."""
        model, valid = self.model, self.valid
        count = model.network.count
        found = model.predict(valid)
        model.network.count = count
        y, w = np.asarray(valid.y, dtype=float), np.asarray(valid.w, dtype=float)
        if self.options.metric is not None:
            report.score = self.options.score(y, found, w)
            return
        if model.mode == "regression":
            errors = (found - y) ** 2
        else:
            label = np.where(np.isfinite(y), y, 0).astype(int)
            chosen = np.take_along_axis(found, label[:, :, None], 2)[:, :, 0]
            errors = -np.log(np.maximum(chosen, _SMALLEST))
        known = np.broadcast_to(w.reshape(len(w), -1), errors.shape)
        score = float(np.where(known != 0, errors * known, 0.0).mean())
        report.score = score if math.isfinite(score) else math.inf

    def logged(self, report: DEQEpoch) -> dict[str, float | None]:
        """Return what of a report goes into logs."""
        return {
            **super().logged(report),
            "unconverged": report.unconverged,
            "evaluations": report.evaluations,
            "iterations": report.iterations,
        }
