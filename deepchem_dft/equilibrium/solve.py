"""``fixed_point(f, z0)``: a self-consistent state as a layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from deepchem_dft.equilibrium.adjoints import Adjoint, get_adjoint
from deepchem_dft.equilibrium.adjoints.base import Problem
from deepchem_dft.equilibrium.packing import Packing
from deepchem_dft.equilibrium.result import Equilibrium
from deepchem_dft.equilibrium.solvers import Pulay, Solver, chain_of
from deepchem_dft.errors import InputError


def fixed_point(
    f: Callable[..., Any],
    z0: Any,
    params: Sequence[Any] = (),
    *,
    solver: str | Solver = "anderson",
    adjoint: str | Adjoint = "implicit",
    tol: float = 1e-6,
    max_iter: int = 200,
    fallback: bool = True,
    segments: Any = None,
    error: Callable[[Any, Any], Tensor] | None = None,
) -> Equilibrium:
    """Find ``z = f(z, *params)`` for every sample of a batch.

    Samples are independent: each has its own history and stopping, is frozen once it has
    converged, and comes out the same whatever else is in the batch. Gradients reach everything
    ``f`` depends on, whether it was passed in ``params`` or captured, in training and evaluation
    mode alike (not inside ``torch.no_grad``).

    Parameters
    ----------
    f : callable
        ``f(z, *params)`` returns a state like ``z``, row by row.
    z0 : Tensor, or nested dict, list or tuple of Tensor
        The start; leading dimension the batch. Floating-point or complex, any device.
    params : sequence
        Further arguments of ``f``.
    solver : str or Solver
        "anderson", "broyden", "damped" or "diis", or one with settings of your own:
        ``Anderson(window=20)``.
    adjoint : str or Adjoint
        How gradients are made: "implicit" (exact at the fixed point), "truncated" (cheap) or
        "unrolled" (of the iteration itself), or one with settings: ``Truncated(steps=5)``.
    tol : float
        On the relative residual ``|f(z) - z| / (|f(z)| + 1e-9)`` of every sample. 0: make
        ``max_iter`` evaluations.
    max_iter : int
        Bound on evaluations of ``f``.
    fallback : bool
        Whether samples that get lost or stuck go on with another solver (Anderson or DIIS, then
        Broyden, then damped iteration) from their best iterate.
    segments : Tensor of int, shape (N,), optional
        For graphs: the sample each row of the state belongs to. One per tensor, structured like
        ``z0``, if they differ.
    error : callable, optional
        For "diis": ``error(z, f(z))``, shape (B, ...), is what vanishes at the fixed point; the
        difference of the two unless given.

    Returns
    -------
    Equilibrium
        Converged or not: see ``status``.

    Raises
    ------
    InputError
        If arguments do not make sense, or ``f`` returns something of another shape.
    GradientNotConverged
        From the backward pass, in place of a gradient that would be wrong.

    Examples
    --------
    >>> import torch
    >>> a = torch.tensor([[0.5], [0.9]], dtype=torch.float64, requires_grad=True)
    >>> found = fixed_point(lambda z, a: torch.cos(a * z), torch.zeros_like(a), (a,), tol=1e-12)
    >>> [str(s) for s in found.status], found.iterations.tolist()
    (['converged', 'converged'], [9, 10])
    >>> found.state.sum().backward()
    >>> z = found.state.detach()
    >>> slope = -z * torch.sin(a * z) / (1 + a * torch.sin(a * z))
    >>> bool((a.grad - slope).abs().max() < 1e-12)
    True
    """
    packing = Packing(z0, segments)
    solvers = chain_of(solver, fallback)
    _check(tol, max_iter, packing, error, solvers[0])

    leaves, structure = tree_flatten(tuple(params))
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]

    def step(matrix: Tensor, *inputs: Tensor) -> Tensor:
        filled = list(leaves)
        for place, tensor in zip(places, inputs, strict=True):
            filled[place] = tensor
        return packing.pack(f(packing.unpack(matrix), *tree_unflatten(filled, structure)))

    def wrong(matrix: Tensor, image: Tensor) -> Tensor:
        assert error is not None
        return error(packing.unpack(matrix), packing.unpack(image)).reshape(packing.samples, -1)

    problem = Problem(
        step, tuple(leaves[i] for i in places), packing.pack(z0), solvers, tol, max_iter,
        packing.eps, None if error is None else wrong)
    state, trace = get_adjoint(adjoint).solve(problem)
    return Equilibrium(
        packing.unpack(state), trace.converged, trace.residual, trace.iterations,
        len(trace.history), trace.history, trace.codes,
        [packing.unpack(z) for z in trace.iterates] or None)


def _check(
    tol: float, max_iter: int, packing: Packing, error: Any, solver: Solver
) -> None:
    if not (tol == 0.0 or packing.eps < tol < 1.0):
        raise InputError(
            f"a relative residual of {tol:g} cannot be reached with numbers exact to "
            f"{packing.eps:.1g}", field="tol", remedy="use a larger tol, or float64")
    if max_iter < 1:
        raise InputError(f"max_iter is {max_iter}", field="max_iter", remedy="at least 1")
    if error is not None and not isinstance(solver, Pulay):
        raise InputError("only solver='diis' looks at an error of your own", field="error",
                         remedy="leave error out, or use solver='diis'")
