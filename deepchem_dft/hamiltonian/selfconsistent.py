"""Any map of Hamiltonians made self-consistent: ``H = module(geometry, S, H)``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from deepchem_dft.checks import positive
from deepchem_dft.equilibrium import Adjoint, Equilibrium, Implicit, Solver, fixed_point
from deepchem_dft.errors import InputError


@dataclass
class Search:
    """Arguments of `fixed_point`.

    Attributes
    ----------
    solver : str or Solver
    adjoint : str or Adjoint
        "implicit" here leaves out molecules whose gradient does not converge, with a warning: one
        of them should not end a training run.
    tol : float
    max_iter : int
    """

    solver: str | Solver = "anderson"
    adjoint: str | Adjoint = "implicit"
    tol: float = 1e-5
    max_iter: int = 50

    def __call__(self, step: Callable[..., Any], start: Any, params: Any, segments: Any) -> Equilibrium:
        """Solve ``z = step(z, *params)``."""
        adjoint = Implicit(on_failure="drop") if self.adjoint == "implicit" else self.adjoint
        return fixed_point(
            step,
            start,
            params,
            solver=self.solver,
            adjoint=adjoint,
            tol=self.tol,
            max_iter=self.max_iter,
            segments=segments,
        )


#: Hartree. A state beyond this is no Hamiltonian (1s of the heaviest element: 5e3), but running
#: away, until steps look small in comparison.
_RUNAWAY = 1e4


class SelfConsistent(nn.Module):
    """Wrap a map of Hamiltonians, a network or a physical one, so that it returns a fixed point.

    Every molecule is solved by itself. What is sought is ``H - H_guess``. Gradients reach the
    weights of the module, overlaps and guesses, by ``search.adjoint``.

    An arbitrary map need not have a fixed point, nor just one. Damping
    (``Search(solver=Damped(0.3))``) and bounded steps change the way to it, not where it is;
    molecules that do not get there are reported.

    Parameters
    ----------
    module : nn.Module or callable
        ``module(geometry, overlap, hamiltonian)`` is called for one molecule at a time, with
        (nao, nao) tensors, and returns the next Hamiltonian (Hartree), whose symmetric part counts.
        ``geometry`` is whatever the caller passes on: a `HamiltonianSample`, a graph.
    search : Search, optional
        ``tol`` is in Hartree: the norm of ``module(H) - H``, divided by that of ``H - H_guess``
        where it exceeds 1 Hartree.
    max_step : float, optional
        Hartree; longer steps, by their largest element, are shortened to it.

    Raises
    ------
    InputError
        If ``max_step`` is not positive.

    Examples
    --------
    Two sites that repel their own electrons, hopping 1 Ha, repulsion 1.5 Ha:

    >>> def mean_field(sites, overlap, h):
    ...     orbital = torch.linalg.eigh(h).eigenvectors[:, 0]
    ...     return sites + torch.diag(1.5 * orbital.square())
    >>> sites = torch.tensor([[0.5, -1.0], [-1.0, -0.5]], dtype=torch.float64)
    >>> solve = SelfConsistent(mean_field)
    >>> (hamiltonian,), found = solve([sites], [torch.eye(2).double()], [sites])
    >>> bool((mean_field(sites, None, hamiltonian) - hamiltonian).abs().max() < 1e-5)
    True
    >>> found.converged.tolist(), [str(status) for status in found.status]
    ([True], ['converged'])
    """

    def __init__(
        self,
        module: Callable[[Any, Tensor, Tensor], Tensor],
        search: Search | None = None,
        *,
        max_step: float | None = None,
    ) -> None:
        super().__init__()
        if max_step is not None:
            positive(max_step=max_step)
        self.module = module
        self.search = search or Search()
        self.max_step = max_step

    def forward(
        self, geometries: Sequence[Any], overlaps: Sequence[Tensor], guesses: Sequence[Tensor]
    ) -> tuple[list[Tensor], Equilibrium]:
        """Return self-consistent Hamiltonians, and how they were found, molecule by molecule.

        Parameters
        ----------
        geometries : sequence
            Passed on to the module.
        overlaps, guesses : sequence of Tensor, shape (nao, nao)
            Of any sizes, one type; guesses in Hartree.

        Returns
        -------
        hamiltonians : list of Tensor, shape (nao, nao)
            Hartree. The closest that was found where ``found.converged`` is False.
        found : Equilibrium
        """
        if not len(geometries) == len(overlaps) == len(guesses) > 0:
            raise InputError(
                f"{len(geometries)} geometries, {len(overlaps)} overlaps and {len(guesses)} guesses",
                field="guesses",
                remedy="give one of each for every molecule, and at least one",
            )

        def step(state: list[Tensor], overlaps: list[Tensor], guesses: list[Tensor]) -> list[Tensor]:
            rows = zip(geometries, overlaps, guesses, map(_without_unit, state))
            return [_with_unit(x + self._change(geometry, s, guess, x)) for geometry, s, guess, x in rows]

        overlaps, guesses = list(overlaps), list(guesses)
        start = [_with_unit(torch.zeros_like(guess)) for guess in guesses]
        found = self.search(
            step,
            start,
            (overlaps, guesses),
            [torch.full((1,), i, device=guess.device) for i, guess in enumerate(guesses)],
        )
        return [guess + _without_unit(x) for guess, x in zip(guesses, found.state)], found

    def _change(self, geometry: Any, overlap: Tensor, guess: Tensor, x: Tensor) -> Tensor:
        image = self.module(geometry, overlap, guess + x)
        if image.shape != guess.shape:
            raise InputError(
                f"the module returns shape {tuple(image.shape)}, not {tuple(guess.shape)}",
                field="module",
                remedy="return the whole matrix of the molecule",
            )
        change = 0.5 * (image + image.mT) - guess - x
        if bool(x.detach().abs().amax() > _RUNAWAY):
            change = change * torch.nan
        if self.max_step is None:
            return change
        longest = change.detach().abs().amax()
        return change * (self.max_step / longest.clamp_min(self.max_step))


def _with_unit(x: Tensor) -> Tensor:
    """Append 1 Hartree to a state: what a residual is relative to, where the rest is smaller."""
    return torch.cat([x.flatten(), x.new_ones(1)])[None]


def _without_unit(row: Tensor) -> Tensor:
    n = round((row.shape[1] - 1) ** 0.5)
    return row[0, :-1].view(n, n)
