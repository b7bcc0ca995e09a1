"""A fixed point as a PyTorch module."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from deepchem_dft.checks import tolerance, whole
from deepchem_dft.equilibrium.adjoints import Adjoint, get_adjoint
from deepchem_dft.equilibrium.regularisation import jacobian_norm, spectral_norm
from deepchem_dft.equilibrium.result import Equilibrium
from deepchem_dft.equilibrium.solve import fixed_point
from deepchem_dft.equilibrium.solvers import Solver, get_solver


class DEQLayer(nn.Module):
    """Returns the state at which a cell has nothing left to change.

    Parameters
    ----------
    cell : nn.Module
        ``cell(z, *inputs)`` returns a state like ``z``.
    solver : str or Solver
    adjoint : str or Adjoint
    tol : float
    max_iter : int
    fallback : bool
        All as for :func:`fixed_point`.
    jacobian_weight : float
        Of the Jacobian's mean square in :meth:`penalty`: asks for an easy fixed point.
    spectral_weight : float
        Of the squared excess of the Jacobian's largest singular value over ``spectral_bound``:
        asks for a contraction.
    spectral_bound : float

    References
    ----------
    S. Bai, J. Z. Kolter and V. Koltun, Deep equilibrium models, NeurIPS 32 (2019).

    Examples
    --------
    >>> import torch
    >>> class Cell(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.linear = nn.Linear(4, 4)
    ...     def forward(self, z, x):
    ...         return torch.tanh(0.5 * self.linear(z) + x)
    >>> layer = DEQLayer(Cell(), tol=1e-5)
    >>> x = torch.randn(8, 4)
    >>> found = layer(torch.zeros(8, 4), x)
    >>> found.state.shape, layer.unconverged_fraction
    (torch.Size([8, 4]), 0.0)
    """

    def __init__(
        self,
        cell: nn.Module,
        *,
        solver: str | Solver = "anderson",
        adjoint: str | Adjoint = "implicit",
        tol: float = 1e-5,
        max_iter: int = 100,
        fallback: bool = True,
        jacobian_weight: float = 0.0,
        spectral_weight: float = 0.0,
        spectral_bound: float = 0.95,
    ) -> None:
        super().__init__()
        get_solver(solver), get_adjoint(adjoint)  # a mistake should show here
        tolerance(tol=tol)
        whole(1, max_iter=max_iter)
        self.cell = cell
        self.solver, self.adjoint = solver, adjoint
        self.tol, self.max_iter, self.fallback = tol, max_iter, fallback
        self.jacobian_weight = jacobian_weight
        self.spectral_weight, self.spectral_bound = spectral_weight, spectral_bound
        self._lost: Tensor | int = 0
        self._seen = 0

    def forward(
        self, z0: Any, *inputs: Any, segments: Any = None, error: Callable[[Any, Any], Tensor] | None = None
    ) -> Equilibrium:
        """Solve ``z = cell(z, *inputs)`` from ``z0``; see :func:`fixed_point`."""
        found = fixed_point(
            self.cell,
            z0,
            inputs,
            solver=self.solver,
            adjoint=self.adjoint,
            tol=self.tol,
            max_iter=self.max_iter,
            fallback=self.fallback,
            segments=segments,
            error=error,
        )
        # Added up on the device, so that counting never waits for it.
        self._lost = self._lost + (~found.converged).sum()
        self._seen += len(found.converged)
        return found

    def penalty(
        self, found: Equilibrium, *inputs: Any, segments: Any = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return what to add to a loss so that fixed points stay easy to find, a scalar.

        Parameters
        ----------
        found : Equilibrium
            Where the Jacobian is measured.
        inputs
            Those ``found`` was solved with.
        segments : optional
            Likewise.
        generator : torch.Generator, optional
            Of the random vectors that the Jacobian is probed with.
        """

        def f(z):
            return self.cell(z, *inputs)

        total = found.residual.new_zeros(())
        if self.jacobian_weight:
            total = total + self.jacobian_weight * jacobian_norm(
                f, found.state, segments=segments, generator=generator
            )
        if self.spectral_weight:
            largest = spectral_norm(f, found.state, segments=segments, generator=generator)
            excess = largest - self.spectral_bound
            total = total + self.spectral_weight * excess.clamp_min(0.0).square().mean()
        return total

    @property
    def unconverged_fraction(self) -> float:
        """Share of samples that did not converge since :meth:`start_epoch`; NaN if none came."""
        return int(self._lost) / self._seen if self._seen else float("nan")

    def start_epoch(self) -> None:
        """Forget which samples converged."""
        self._lost, self._seen = 0, 0
