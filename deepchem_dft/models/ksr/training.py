"""How a KSRModel is trained: L-BFGS that can be resumed, Adam, validation, several seeds."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from deepchem_dft.errors import CheckpointError, FunctionalError, InputError
from deepchem_dft.fitting.loop import TrainingLoop
from deepchem_dft.fitting.options import FitOptions
from deepchem_dft.fitting.ordering import batches, epoch_order
from deepchem_dft.fitting.progress import copies
from deepchem_dft.lattice.step import Molecules
from deepchem_dft.models.ksr.loss import KSRStage, Separability
from deepchem_dft.models.ksr.progress import KSREpoch, Record
from deepchem_dft.models.ksr.samples import KSRSamples

LOGGER = logging.getLogger("deepchem_dft.models")

#: Corrections that L-BFGS remembers. SciPy's usual 10 and the 20 of the paper converge more slowly.
_MEMORY = 100


class _Chunk(NamedTuple):
    """Molecules side by side, with all that their loss needs."""

    molecules: Molecules
    energy: Tensor
    weight: Tensor
    density: Tensor | None
    start: Tensor | None


class KSRTrainer(TrainingLoop):
    """Trains the functional of a model; all that changes is in the model and its progress.

    Parameters
    ----------
    model : KSRModel
    options : FitOptions
    samples : KSRSamples
    valid : KSRSamples, optional
    stages : sequence of KSRStage
        For each seed one after the other.
    by_loss : bool
        Whether the training loss in the last stage chooses the parameters, and not validation.
    """

    clock = staticmethod(time.process_time)

    def __init__(
        self,
        model: Any,
        options: FitOptions,
        samples: KSRSamples,
        valid: KSRSamples | None,
        stages: Sequence[KSRStage],
        *,
        by_loss: bool = False,
    ) -> None:
        super().__init__(model, options, samples if by_loss else valid)
        self.samples, self.stages, self.by_loss = samples, stages, by_loss
        self.trained = [p for p in model.functional.parameters() if p.requires_grad]
        if not self.trained:
            raise InputError(
                "the functional has no parameters to train",
                field="functional",
                remedy="use 'global', 'gradient', 'local' or a network",
            )
        self.stage, self.loss = stages[0], model.ksr_loss
        self._separability: Separability | None = None
        self._total = 0.0

    def train(self) -> None:
        """Train all seeds that are left, each through all stages."""
        if self.progress.stage >= len(self.stages):
            raise InputError(
                f"the run is in stage {self.progress.stage + 1} of {len(self.stages)}",
                field="stages",
                remedy="give the stages it was begun with",
            )
        while True:
            progress = self.progress
            try:
                self._train_stage()
                while progress.stage + 1 < len(self.stages):
                    progress.next_stage()
                    self.model.new_optimizer()
                    self._train_stage()
            except (InputError, FunctionalError) as error:
                # A few initial weights lead nowhere. Others may do; if none does, say why.
                progress.failures[str(progress.seed)] = str(error)
                LOGGER.warning("seed %d failed: %s", progress.seed, error)
                if not progress.seeds_left and progress.best is None:
                    raise
            if not progress.seeds_left:
                break
            self.model.start_seed(progress.seeds_left.pop(0))

    def _train_stage(self) -> None:
        """Train one stage of one seed until it has had its epochs."""
        model, samples = self.model, self.samples
        self.stage = stage = self.stages[self.progress.stage]
        self.last_epoch = stage.epochs
        self.loss = stage.loss(model.ksr_loss)
        self.loss.discounts(stage.iterations or model.network.iterations)
        self._separability = None
        if self._separability_weight:
            densities = model.network.exact_densities(samples.entries)
            self._separability = Separability(model.functional, samples.systems, densities)
        if model.method == "lbfgs":
            self._lbfgs()
        else:
            super().train()
        if self.progress.epoch < stage.epochs and self.stopped:
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
            network.molecules(entries),
            samples.energy[rows],
            samples.weight[rows] / len(samples),
            network.exact_densities(entries) if self.loss.density_weight > 0 else None,
            network.start(entries, self.stage.start),
        )

    def _loss(self, chunk: _Chunk) -> Tensor:
        stage, network = self.stage, self.model.network
        iterations = stage.iterations or network.iterations
        burn_in = 0 if stage.iterations and stage.burn_in is None else stage.burn_in
        trajectory = network.run(
            chunk.molecules, iterations, chunk.start, last=iterations - self.loss.skip, burn_in=burn_in
        )
        return (chunk.weight * self.loss(trajectory, chunk.energy, chunk.density)).sum()

    def _backward(self, chunks: Sequence[_Chunk]) -> float:
        """Add the gradient of some samples' loss to the parameters'; return the loss."""
        total = 0.0
        for chunk in chunks:
            loss = self._loss(chunk)
            if not torch.isfinite(loss):
                raise FunctionalError(
                    "the loss is not finite",
                    field="functional",
                    remedy="use other initial weights, or a lower learning rate",
                )
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
        for parameter in self.trained:
            parameter.grad = None

    # -- L-BFGS --------------------------------------------------------------------------------

    def _flat(self) -> Tensor:
        return torch.cat([p.detach().flatten() for p in self.trained])

    def _assign(self, x: np.ndarray) -> None:
        sizes = [p.numel() for p in self.trained]
        with torch.no_grad():
            for p, part in zip(self.trained, torch.from_numpy(x.copy()).split(sizes)):
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
                record.gradients.append(
                    torch.cat(
                        [
                            torch.zeros(p.numel(), dtype=torch.float64)
                            if p.grad is None
                            else p.grad.flatten()
                            for p in self.trained
                        ]
                    )
                )
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
            progress.evaluations, self._total = asked, loss
            self.model._global_step += 1
            self.after_step()
            self.end_epoch()
            if self.stopped:
                raise StopIteration  # as SciPy wants it
            if progress.epoch < self.stage.epochs:
                self.begin_epoch()

        if done >= self.stage.epochs or self.stopped:
            return
        self.begin_epoch()
        result = minimize(
            value,
            record.start.numpy(),
            jac=True,
            method="L-BFGS-B",
            callback=accepted,
            options={
                "maxiter": self.stage.epochs,
                "maxfun": 10**9,
                "maxcor": _MEMORY,
                "ftol": 0.0,
                "gtol": 1e-14,
            },
        )
        self._assign(result.x)
        if epoch < self.stage.epochs and not self.stopped:
            LOGGER.info(
                "seed %d: L-BFGS ended after %d iterations (%s)", progress.seed, epoch, result.message
            )

    # -- Adam ----------------------------------------------------------------------------------

    def batches(self) -> Iterator[np.ndarray]:
        """Yield the rows of batches of the present epoch."""
        progress = self.progress
        order = epoch_order(len(self.samples), progress.seed, progress.epoch, self.options.deterministic)
        self._total = 0.0
        yield from batches(order, self.model.batch_size)

    def step(self, batch: np.ndarray) -> None:
        """Take one step of DeepChem's optimiser."""
        model = self.model
        self._zero()
        self._total += self._backward([self._chunk(batch)])
        scale = len(self.samples) / len(batch)  # the mean of the batch, for the size of the step
        for parameter in self.trained:
            if parameter.grad is not None:
                parameter.grad *= scale
        model._pytorch_optimizer.step()
        if model._lr_schedule is not None:
            model._lr_schedule.step()
        model._global_step += 1
        self.progress.evaluations += 1

    # -- every epoch ---------------------------------------------------------------------------

    def report(self) -> KSREpoch:
        """Return what there is to say of the epoch just done."""
        progress = self.progress
        progress.epoch += 1
        return KSREpoch(
            progress.epoch,
            self._total,
            seed=progress.seed,
            stage=progress.stage + 1,
            evaluations=progress.evaluations,
        )

    def validate(self, report: KSREpoch) -> None:
        """Check by the error of the energies, by the metric asked for, or by the loss itself."""
        if self.by_loss:  # stages may weigh losses differently
            report.score = report.loss if self.progress.stage == len(self.stages) - 1 else None
            return
        valid, metric = self.valid, self.options.metric
        prediction, y = self.model._energies(valid.entries), valid.energy.numpy()[:, None]
        report.score = (
            float(np.abs(prediction - y).mean())
            if metric is None
            else self.options.score(y, prediction, np.ones_like(y))
        )

    def parameters(self) -> dict[str, Tensor]:
        """Return those of the functional."""
        return self.model.functional.state_dict()

    def take(self, parameters: Mapping[str, Tensor]) -> None:
        """Give them to the functional."""
        self.model.functional.load_state_dict(parameters)

    def take_best(self) -> bool:
        """Take the best of all seeds, keeping the last parameters of the last one."""
        if self.progress.best is None:
            return False
        self.progress.last = copies(self.parameters())
        self.take(self.progress.best.parameters)
        return True

    def logged(self, report: KSREpoch) -> dict[str, float | None]:
        """Return what of a report goes into logs."""
        return {"seed": report.seed, "stage": report.stage, **super().logged(report)}
