"""A cell's fixed point, and a prediction made of it."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from deepchem_dft.checks import tolerance, whole
from deepchem_dft.equilibrium import Adjoint, Equilibrium, Implicit, Solver, fixed_point, jacobian_norm
from deepchem_dft.equilibrium.result import Status, code
from deepchem_dft.property.cells import Cell


@dataclass
class Settings:
    """How fixed points are found and differentiated; see ``fixed_point``.

    Attributes
    ----------
    solver : str or Solver
    adjoint : str or Adjoint
    tol : float
        On the relative residual of every sample, where a prediction is made.
    train_tol : float
        The same while training, where gradients need not be as exact.
    max_iter : int
        Evaluations at most.
    """

    solver: str | Solver
    adjoint: str | Adjoint
    tol: float
    train_tol: float
    max_iter: int

    def __post_init__(self) -> None:
        tolerance(tol=self.tol, train_tol=self.train_tol)
        whole(1, max_iter=self.max_iter)


@dataclass
class SolveCount:
    """What solving took.

    Attributes
    ----------
    batches, samples : int
    evaluations : int
        Evaluations of the cell, summed over batches: each lasts until its slowest sample is done.
    iterations : int
        Evaluations that samples needed, summed over samples.
    codes : list of Tensor
        How the samples of every batch ended; a backward pass may still change it.
    """

    batches: int = 0
    samples: int = 0
    evaluations: int = 0
    iterations: int = 0
    codes: list[Tensor] = field(default_factory=list, repr=False)

    def add(self, found: Equilibrium) -> None:
        """Count a batch."""
        self.batches += 1
        self.samples += len(found.converged)
        self.evaluations += found.evaluations
        self.iterations += int(found.iterations.sum())
        self.codes.append(found.codes)

    @property
    def unconverged(self) -> int:
        """Samples without a fixed point or, after a backward pass, without a gradient."""
        return sum(int((codes != code(Status.CONVERGED)).sum()) for codes in self.codes)

    @property
    def unconverged_fraction(self) -> float:
        """Their share; 0 if there were no samples."""
        return self.unconverged / max(self.samples, 1)


class LastSolutions:
    """The last fixed point of every sample, by name: where the next search for it begins.

    Parameters
    ----------
    limit : int
        Bytes; what does not fit is not kept.

    Examples
    --------
    >>> last = LastSolutions()
    >>> last.keep(["a", "b"], torch.ones(3, 2), torch.tensor([0, 0, 1]), torch.tensor([True, False]))
    >>> last.start(["b", "a"], torch.zeros(3, 2), torch.tensor([0, 1, 1])).tolist()  # b was not found
    [[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]]
    """

    def __init__(self, limit: int = 1 << 30) -> None:
        self._known: dict[Hashable, Tensor] = {}
        self._left = limit

    def start(self, names: Sequence[Hashable], start: Tensor, segments: Tensor | None) -> Tensor:
        """Return the start of a batch, with what is known of its samples in place."""
        parts = list(_by_sample(start, segments, len(names)))
        for number, name in enumerate(names):
            known = self._known.get(name)
            if known is not None and known.shape == parts[number].shape:
                parts[number] = known.to(start)
        return torch.cat(parts)

    def keep(
        self, names: Sequence[Hashable], state: Tensor, segments: Tensor | None, converged: Tensor
    ) -> None:
        """Remember the fixed points that were found; of others, what was known before is forgotten."""
        state = state.detach()
        for name, part, good in zip(names, _by_sample(state, segments, len(names)), converged.tolist()):
            old = self._known.pop(name, None)
            self._left += 0 if old is None else old.nbytes
            if good and part.nbytes <= self._left:
                self._known[name], self._left = part.clone(), self._left - part.nbytes


def _by_sample(state: Tensor, segments: Tensor | None, samples: int) -> tuple[Tensor, ...]:
    """Return the rows of each sample; those of a graph lie together."""
    if segments is None:
        return state.split(1)
    return state.split(torch.bincount(segments, minlength=samples).tolist())


@dataclass
class Prediction:
    """What the network makes of a batch.

    Attributes
    ----------
    output : Tensor, shape (B, n_outputs)
        Before any softmax.
    embedding : Tensor, shape (B, n_summary)
        The fixed points, summed up per sample.
    found : Equilibrium
    penalty : Tensor, scalar
        To be added to a loss.
    """

    output: Tensor
    embedding: Tensor
    found: Equilibrium = field(repr=False)
    penalty: Tensor


class EquilibriumNetwork(nn.Module):
    """Solve for the fixed point of a cell and read the prediction off it.

    Parameters
    ----------
    cell : Cell
    n_outputs : int
    hidden : int
        Width of the layer between fixed point and prediction; 0: none.
    dropout : float
        There, in training. Never inside the cell: a map that changes has no fixed point.
    settings : Settings
    jacobian_weight : float
        Of the mean square of the cell's Jacobian at the fixed point, in ``penalty``.
    seed : int
        Of dropout and of the probes of the Jacobian; with :attr:`draw` it fixes all random numbers.
    """

    def __init__(
        self,
        cell: Cell,
        n_outputs: int,
        settings: Settings,
        hidden: int = 64,
        dropout: float = 0.0,
        jacobian_weight: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.cell, self.settings = cell, settings
        self.dropout, self.jacobian_weight = dropout, jacobian_weight
        self.seed = seed
        #: Number of the training step, which random numbers depend on: a resumed run repeats them.
        self.draw = 0
        self.count = SolveCount()
        #: What the samples of the batch at hand are called; None: all begin at the cell's start.
        self.names: Sequence[Hashable] | None = None
        self.last = LastSolutions()
        self.epochs = nn.Parameter(torch.zeros((), dtype=torch.float64), requires_grad=False)
        width = cell.n_summary
        self.hidden = nn.Linear(width, hidden) if hidden else None
        self.out = nn.Linear(hidden or width, n_outputs)

    def forward(self, batch: Any) -> Prediction:
        """Return the prediction for a batch of the cell's kind of input."""
        settings = self.settings
        problem = self.cell.problem(batch)
        adjoint = settings.adjoint
        if adjoint == "implicit":  # one sample that has no gradient should not end a training run
            adjoint = Implicit(on_failure="drop")
        names, start = self.names, problem.start
        if names is not None:
            start = self.last.start(names, start, problem.segments)
        found = fixed_point(
            problem.step,
            start,
            problem.params,
            solver=settings.solver,
            adjoint=adjoint,
            tol=settings.train_tol if self.training else settings.tol,
            max_iter=settings.max_iter,
            segments=problem.segments,
        )
        if names is not None:
            self.last.keep(names, found.state, problem.segments, found.converged)
        self.count.add(found)
        embedding = self.cell.summary(found.state, batch)
        generator = None
        penalty = embedding.new_zeros(())
        if self.training:
            generator = torch.Generator().manual_seed(hash((self.seed, self.draw)) % 2**63)
            if self.jacobian_weight:
                penalty = self.jacobian_weight * jacobian_norm(
                    lambda z: problem.step(z, *problem.params),
                    found.state,
                    segments=problem.segments,
                    generator=generator,
                )
        features = self._drop(embedding, generator)
        if self.hidden is not None:
            features = self._drop(torch.relu(self.hidden(features)), generator)
        return Prediction(self.out(features), embedding, found, penalty)

    def __getstate__(self) -> dict[str, Any]:
        # solutions belong to this process
        return {**super().__getstate__(), "last": LastSolutions(), "names": None}

    def _drop(self, features: Tensor, generator: torch.Generator | None) -> Tensor:
        if generator is None or not self.dropout:
            return features
        kept = torch.rand(features.shape, generator=generator) >= self.dropout
        return features * kept.to(features) / (1 - self.dropout)
