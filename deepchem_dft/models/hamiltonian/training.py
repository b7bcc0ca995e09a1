"""The training of a HamiltonianModel: batches, rates, averages, validation, and what it knows."""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from deepchem.data import Dataset
from deepchem.models.optimizers import Adam
from torch import Tensor

from deepchem_dft.equilibrium import Equilibrium
from deepchem_dft.errors import FunctionalError
from deepchem_dft.fitting import progress as fitting
from deepchem_dft.fitting.loop import TrainingLoop
from deepchem_dft.fitting.options import FitOptions
from deepchem_dft.fitting.ordering import seeded_batches
from deepchem_dft.models.hamiltonian.predicting import named
from deepchem_dft.models.hamiltonian.samples import Batch

if TYPE_CHECKING:
    from deepchem_dft.models.hamiltonian.model import HamiltonianModel


@dataclass
class HamiltonianEpoch(fitting.Epoch):
    """What happened in one epoch.

    Attributes
    ----------
    epoch : int
        From 1.
    step : int
        Steps of the optimiser so far, those of earlier trainings included.
    learning_rate : float
        Of the last step.
    loss : float
        Mean over samples, each at the parameters it was evaluated with.
    train_mae : float
        Microhartree; mean absolute error of the elements of H, likewise; nan without labels.
    valid_mae : float or None
        Microhartree; of the averaged parameters on the validation set.
    score : float or None
        What selects the best parameters: ``valid_mae``, or the metric asked for.
    best : bool
        Whether that is the lowest so far.
    unconverged : float
        Share of samples without a fixed point, or without its gradient; they teach nothing.
    iterations : float
        Evaluations of the feedback per sample; 0 for forms without.
    seconds : float
        CPU time.
    """

    step: int = 0
    learning_rate: float = 0.0
    train_mae: float = math.nan
    valid_mae: float | None = None
    unconverged: float = 0.0
    iterations: float = 0.0


@dataclass
class HamiltonianProgress(fitting.Progress):
    """What a checkpoint must hold for training to go on as if it had never stopped.

    Attributes
    ----------
    epoch : int
        Completed, of this training.
    history : list of HamiltonianEpoch
        Of this and earlier trainings.
    best : Best or None
        Averaged parameters of the best validation.
    last : dict or None
        Parameters as the optimiser left them, while the model has averaged or best ones.
    steps : int
        Taken, of this training.
    warm : int
        Taken by the optimiser since it was new.
    average : dict or None
        Averaged parameters; None before the first step.
    """

    steps: int = 0
    warm: int = 0
    average: fitting.Parameters | None = None

    report = HamiltonianEpoch

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "HamiltonianProgress":
        """Undo :meth:`to_dict`."""
        data = fitting.with_best(data, "best_mae")
        if "trained" in data:  # as written by version 0.1
            data["last"] = data.pop("trained")
        return super().from_dict(data)


#: The rate never falls below this share of what it was.
_LEAST = 1e-3


class FusedAdam(Adam):
    """DeepChem's Adam, updating all parameters in one call: they are many and small."""

    def _create_pytorch_optimizer(self, params: Any) -> torch.optim.Optimizer:
        rate: Any = getattr(self.learning_rate, "initial_rate", self.learning_rate)  # of a schedule
        return torch.optim.Adam(params, rate, (self.beta1, self.beta2), self.epsilon, fused=True)


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


class HamiltonianTrainer(TrainingLoop):
    """Train a model on a data set.

    Parameters
    ----------
    model : HamiltonianModel
    options : FitOptions
    dataset : Dataset
    valid : Dataset, optional
    """

    clock = staticmethod(time.process_time)
    model: "HamiltonianModel"

    def __init__(
        self, model: "HamiltonianModel", options: FitOptions, dataset: Dataset, valid: Dataset | None = None
    ) -> None:
        super().__init__(model, options)
        self.dataset, self._held_out = dataset, valid
        # DeepChem's data sets without y, which a sample holds here, have weights of 0.
        self.weighted = bool(np.any(dataset.w))
        self.per_epoch = math.ceil(len(dataset) / model.batch_size)
        self._sums, self._rate = _Sums(), 0.0

    def train(self) -> None:
        """Train; averages predict in the end, also if it is interrupted."""
        model = self.model
        if not bool(model.model.fitted):
            model.preparation.measure(named(self.dataset))
            model.model.fitted.fill_(True)
        if self._held_out is not None:
            self.valid = model.prepared(self._held_out, label=True)
        trained = dict(model.model.named_parameters())
        self.names = [n for n, p in trained.items() if p.requires_grad]
        self.trained = [trained[n] for n in self.names]
        model.training = True
        try:
            super().train()
        finally:
            model.training = False
            self._settle()

    def take_best(self) -> bool:
        """Tell that :meth:`train` has chosen the parameters that predict already."""
        return True

    def _settle(self) -> None:
        """Take the parameters that predict: the best, or else the averaged ones."""
        progress = self.progress
        best = progress.best if self.options.restore_best else None
        chosen = progress.average if best is None else best.parameters
        if chosen is not None:
            progress.last = parameters_of(self.model.model)
            self.model.model.load_state_dict(chosen, strict=False)

    def batches(self) -> Iterator[tuple[Batch, Tensor]]:
        """Yield batches and the weights of their samples."""
        model = self.model
        self._sums = _Sums()
        model.model.train()
        model.model.search.tol = model.train_tol
        batches = self.dataset.iterbatches(model.batch_size, deterministic=self.options.deterministic)
        for x, _, w, ids in seeded_batches(batches, (model.seed, self.progress.epoch)):
            weights = np.asarray(w, dtype=float).reshape(len(x), -1).mean(1)
            weights = weights if self.weighted else np.ones(len(x))
            samples = [
                model.preparation(sample, str(name), model.hamiltonian_loss.needs_labels)
                for sample, name, weight in zip(x, ids, weights)
                if weight
            ]
            if samples:
                yield (
                    Batch.of(samples, model.device),
                    torch.from_numpy(weights[weights != 0]).to(model.device),
                )

    def report(self) -> HamiltonianEpoch:
        """Turn the sums of the epoch into its report."""
        progress, sums = self.progress, self._sums
        for found in sums.found:  # a backward pass may still have changed it
            sums.unconverged += int((~found.converged).sum())
            sums.iterations += int(found.iterations.sum())
        progress.epoch += 1
        count = max(sums.samples, 1)
        return HamiltonianEpoch(
            progress.epoch,
            sums.loss / count,
            step=self.model.get_global_step(),
            learning_rate=self._rate,
            train_mae=1e6 * sums.error / sums.labelled if sums.labelled else math.nan,
            unconverged=sums.unconverged / count,
            iterations=sums.iterations / count,
        )

    def logged(self, report: HamiltonianEpoch) -> dict[str, float | None]:
        """Return what of a report goes into logs."""
        return {
            "loss": report.loss,
            "H_microhartree": report.train_mae,
            "valid_H_microhartree": report.valid_mae,
            "valid_score": report.score,
            "unconverged": report.unconverged,
        }

    def step(self, batch: tuple[Batch, Tensor]) -> None:
        """Change the parameters by the gradient of one batch."""
        self._step(*batch, self._sums)

    def _step(self, batch: Batch, weights: Tensor, sums: _Sums) -> None:
        model, optimizer = self.model, self.model._pytorch_optimizer
        elements, found = model.model(batch.graph)
        losses, errors = model.hamiltonian_loss(batch, elements)
        count = len(batch.samples)
        # An unconverged prediction has no gradient that means anything.
        valued = losses if found is None else torch.where(found.converged, losses, 0.0)
        loss = (weights * valued).sum() / count
        if not torch.isfinite(loss):
            bad = [s.name for s, one in zip(batch.samples, losses.tolist()) if not math.isfinite(one)]
            raise FunctionalError(
                "the loss is not finite",
                entry=", ".join(bad[:3]) or None,
                field="loss",
                remedy="restore a checkpoint, and use a lower learning rate or max_grad_norm",
            )
        if model.regularization_loss is not None:
            loss = loss + model.regularization_loss()
        optimizer.zero_grad()
        loss.backward()
        if model.max_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.trained, model.max_grad_norm)
        self._rate = self._set_rate(optimizer)
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

    def _set_rate(self, optimizer: torch.optim.Optimizer) -> float:
        """Rise over the first steps of the optimiser, fall over this training."""
        model = self.model
        if model._lr_schedule is None:  # else DeepChem's schedule decides
            total = max(self.last_epoch * self.per_epoch, 1)
            left = max(1.0 - self.progress.steps / total, 0.0)
            factor = min(1.0, (self.progress.warm + 1) / max(model.warmup, 1))
            factor *= max(left**model.decay, _LEAST)
            for group in optimizer.param_groups:
                group["lr"] = factor * float(model.optimizer.learning_rate)
        return float(optimizer.param_groups[0]["lr"])

    def _average(self) -> None:
        model, progress = self.model, self.progress
        current = [p.detach() for p in self.trained]
        if progress.average is None:
            progress.average = {n: p.clone() for n, p in zip(self.names, current)}
            return
        # Over fewer steps at first, when each is better than the one before.
        keep = min(model.ema, (1 + progress.steps) / (10 + progress.steps))
        torch._foreach_lerp_([progress.average[n] for n in self.names], current, 1.0 - keep)

    def validate(self, report: HamiltonianEpoch) -> None:
        """Check the averaged parameters by the error of H, or by the metric asked for."""
        model, progress = self.model, self.progress
        assert progress.average is not None
        trained = parameters_of(model.model)
        model.model.load_state_dict(progress.average, strict=False)
        try:
            pairs = [
                (s.label.flatten(), p.change.flatten())
                for s, p in zip(self.valid, model.predicted(self.valid))
                if s.label is not None
            ]
        finally:
            model.model.load_state_dict(trained, strict=False)
            model.model.train()
            model.model.search.tol = model.train_tol
        errors = [(label - found).abs().mean() for label, found in pairs]
        report.score = report.valid_mae = 1e6 * float(torch.stack(errors).mean())
        if self.options.metric is not None:
            y, p = (torch.cat(part).cpu().numpy()[:, None] for part in zip(*pairs))
            report.score = self.options.score(y, p, np.ones_like(y))

    def parameters(self) -> dict[str, Tensor]:
        """Return the averaged ones, which predict."""
        assert self.progress.average is not None
        return self.progress.average


def parameters_of(module: torch.nn.Module) -> dict[str, Tensor]:
    """Return copies of a module's parameters, without buffers."""
    return {name: p.detach().clone() for name, p in module.named_parameters()}
