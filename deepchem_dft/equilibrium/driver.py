"""Runs solvers on a batch: stopping, best iterates, survival and change of method, per sample."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.linalg import vector_norm

from deepchem_dft.equilibrium.result import Status, code
from deepchem_dft.equilibrium.solvers import Solver
from deepchem_dft.equilibrium.solvers.base import Run

#: States smaller than this count as zero when residuals are made relative.
FLOOR = 1e-9
# A residual so many times the first one will not come back.
_LOST = 1e6
# A round through all methods has to lower the residual by this factor to be worth another.
_WORTHWHILE = 0.5

Map = Callable[[Tensor], Tensor]


@dataclass
class Trace:
    """A finished solve; rows are samples."""

    z: Tensor  # (B, D), best iterates
    residual: Tensor  # (B,), relative, at z
    codes: Tensor  # (B,), numbers of statuses
    iterations: Tensor  # (B,)
    history: Tensor  # (evaluations, B)
    iterates: list[Tensor]  # every z, if asked for
    broken: Tensor  # (B,), whether f was NaN or infinite anywhere

    @property
    def converged(self) -> Tensor:
        """Mask of shape (B,)."""
        return self.codes == code(Status.CONVERGED)


def relative_to_image(image: Tensor) -> Tensor:
    """Size that residuals are compared with, shape (B,): that of ``f(z)``."""
    return vector_norm(image, dim=1) + FLOOR


def drive(
    f: Map,
    z: Tensor,
    solvers: Sequence[Solver],
    *,
    tol: float,
    max_iter: int,
    size: Callable[[Tensor], Tensor] = relative_to_image,
    error: Callable[[Tensor, Tensor], Tensor] | None = None,
    keep: bool = False,
    linger: bool = False,
) -> Trace:
    """Iterate until every sample has converged or cannot be helped.

    A sample whose iterates get lost, become NaN or make no progress goes back to its best iterate
    and on to the next solver, round and round as long as a round brings it closer. What happens to
    one sample never depends on another. Differentiable through the iterates if gradients are on.

    Parameters
    ----------
    f : callable
        (B, D) to (B, D), row by row.
    z : Tensor, shape (B, D)
        The start.
    solvers : sequence of Solver
        In the order they are tried.
    tol : float
        On ``|f(z) - z| / size(f(z))``.
    max_iter : int
        Bound on evaluations.
    size : callable
        (B, D) to (B,).
    error : callable, optional
        ``(z, f(z))`` to errors (B, E), for solvers that mix by them.
    keep : bool
        Whether to return every iterate.
    linger : bool
        Whether samples that have converged go on, until they leave ``tol`` again.
    """
    progress = _SampleProgress(z, solvers, linger)
    runs: list[Run | None] = [None] * len(solvers)
    iterates: list[Tensor] = []
    for evaluation in range(1, max_iter + 1):
        image = f(z)
        residual = image - z
        if keep:
            iterates.append(z)
        progress.note(z, residual, size(image.detach()), tol)
        if evaluation == max_iter or not bool(progress.active.any()):
            break
        z, residual, restart = progress.put_back(z, residual)
        if restart is not None and not bool(progress.active.any()):
            break
        wrong = residual if error is None else error(z, z + residual)
        proposal = progress.best
        for number, solver in enumerate(solvers):
            rows = progress.in_stage(number)
            if not bool(rows.any()):
                continue
            run = runs[number] = runs[number] or solver.start()
            proposal = _choose(rows, run(z, residual, wrong, restart), proposal)
        z = proposal
    return progress.close(iterates)


def _choose(rows: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Return the new value for some rows, the old one for the others."""
    return new if bool(rows.all()) else torch.where(rows[:, None], new, old)


class _SampleProgress:
    """What is known of every sample; all tensors have a row per sample."""

    def __init__(self, z: Tensor, solvers: Sequence[Solver], linger: bool) -> None:
        def full(value, dtype=None):
            return torch.full((len(z),), value, dtype=dtype or z.dtype, device=z.device)

        self.active = full(True, torch.bool)
        self._linger, self._settled = linger, full(False, torch.bool)
        self.best, self._best_residual = z, torch.zeros_like(z)
        self._norm = full(torch.inf)  # at the best iterate
        self._limit: Tensor | None = None
        self._codes = full(code(Status.MAX_ITERATIONS), torch.long)
        self._stage = full(0, torch.long)
        self._waited = full(0, torch.long)
        self._round = full(torch.inf)  # residual when the round began
        self._several = len(solvers) > 1
        self._patience = torch.tensor([s.patience for s in solvers], device=z.device)
        self._poisoned = False
        # Per evaluation: who was active, and the residuals.
        self._present: list[Tensor] = []
        self._norms: list[Tensor] = []
        self._relatives: list[Tensor] = []

    def in_stage(self, number: int) -> Tensor:
        """Return the samples that a solver is to move on, mask of shape (B,)."""
        if not self._several:
            return self.active
        return self.active & (self._stage == number)

    def note(self, z: Tensor, residual: Tensor, size: Tensor, tol: float) -> None:
        """Take an evaluation into account; samples that have converged stop, or settle."""
        norm = vector_norm(residual.detach(), dim=1)
        relative = norm / size
        done = relative < tol
        if self._linger:  # who has left again stops where it was last
            self.active = self.active & (done | ~self._settled)
        done = self.active & done
        self._present.append(self.active)
        self._norms.append(norm)
        self._relatives.append(relative)
        if self._limit is None:
            self._limit = _LOST * norm
        better = self.active & (norm < self._norm) | done
        self._norm = torch.where(better, norm, self._norm)
        self.best = _choose(better, z, self.best)
        self._best_residual = _choose(better, residual, self._best_residual)
        if self._several:
            self._waited = (self._waited + 1).masked_fill(better, 0)
        self._codes = self._codes.masked_fill(done, code(Status.CONVERGED))
        if self._linger:
            self._settled = self._settled | done
        else:
            self.active = self.active & ~done

    def put_back(self, z: Tensor, residual: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return samples that are lost or stuck to their best iterate, for the next method.

        Returns
        -------
        z, residual : Tensor, shape (B, D)
            Finite.
        restart : Tensor of bool, shape (B,), or None
            Who was returned, if anybody.
        """
        assert self._limit is not None
        norm = self._norms[-1]
        lost = self.active & ~(self._settled | (norm <= self._limit))  # also where either is NaN
        turn = lost
        if self._several:
            turn = lost | self.active & (self._waited >= self._patience[self._stage])
        if not bool(turn.any()):
            if self._poisoned:  # samples that ended in NaN must not reach a solver
                residual = torch.where(self.active[:, None], residual, 0.0)
            return z, residual, None
        broken = lost & ~torch.isfinite(norm)
        self._poisoned = self._poisoned or bool(broken.any())
        stage = self._stage + turn
        again = stage == len(self._patience)
        hopeless = again & ~(self._norm < _WORTHWHILE * self._round)
        hopeless = hopeless | lost & self._norm.isinf()
        self._round = torch.where(again, self._norm, self._round)
        self._stage = stage.masked_fill(again, 0)
        self._waited = self._waited.masked_fill(turn, 0)
        self._codes = self._codes.masked_fill(hopeless, code(Status.STALLED))
        self._codes = self._codes.masked_fill(hopeless & lost, code(Status.DIVERGED))
        self._codes = self._codes.masked_fill(hopeless & broken, code(Status.NOT_FINITE))
        self.active = self.active & ~hopeless
        back = (turn | ~self.active)[:, None]
        return (torch.where(back, self.best, z), torch.where(back, self._best_residual, residual), turn)

    def close(self, iterates: list[Tensor]) -> Trace:
        """Sum up."""
        present, norms = torch.stack(self._present), torch.stack(self._norms)
        relatives, count = torch.stack(self._relatives), present.sum(0)
        finite = torch.isfinite(norms)
        # Where the best iterate was: the last one if converged.
        best = torch.where(present & finite, norms, torch.inf).argmin(0)
        best = torch.where(self._codes == code(Status.CONVERGED), count - 1, best)
        never = self._norm.isinf()
        codes = self._codes.masked_fill(never, code(Status.NOT_FINITE))
        residual = relatives.gather(0, best[None])[0].masked_fill(never, torch.inf)
        return Trace(
            self.best,
            residual,
            codes,
            count,
            torch.where(present, relatives, torch.nan),
            iterates,
            (present & ~finite).any(0),
        )
