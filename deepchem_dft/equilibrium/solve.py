"""``fixed_point(f, z0)``: a self-consistent state as a layer."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from deepchem_dft.checks import reachable, tolerance, whole
from deepchem_dft.equilibrium.adjoints import Adjoint, get_adjoint
from deepchem_dft.equilibrium.adjoints.base import FixedPointProblem
from deepchem_dft.equilibrium.packing import Packing
from deepchem_dft.equilibrium.result import Equilibrium
from deepchem_dft.equilibrium.solvers import Pulay, Solver, chain_of
from deepchem_dft.errors import InputError


def fixed_point(
    f: Callable[..., Any],
    z0: Any,
    params: Iterable[Any] = (),
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
        ``f(z, *params)`` returns a new state like ``z``, row by row, and leaves ``z`` as it is.
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
        On the relative residual ``|f(z) - z| / (|f(z)| + 1e-9)`` of every sample. 0: go on
        until only rounding is left, below 9e-16 in float64 and 5e-7 in float32 (unrolled damped
        iteration: even then).
    max_iter : int
        Bound on evaluations of ``f``.
    fallback : bool
        Whether samples that get lost or stuck go on with another solver (Anderson or DIIS, then
        Broyden, then damped iteration) from their best iterate.
    segments : Tensor of int, shape (N,), optional
        For graphs: the sample each row of the state belongs to. One per tensor, structured like
        ``z0``, if they differ.
    error : callable, optional
        For "diis": ``error(z, f(z))``, shape (B, ...) and of any type, is what vanishes at the
        fixed point; the difference of the two unless given.

    Returns
    -------
    Equilibrium
        Converged or not: see ``status``.

    Raises
    ------
    InputError
        If arguments do not make sense, or ``f`` returns something of another shape or changes
        ``z`` in place.
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
    tolerance(tol=tol)
    whole(1, max_iter=max_iter)
    solvers, rule = chain_of(solver, fallback), get_adjoint(adjoint)
    _check(f, params, error, solvers[0])
    packing = Packing(z0, segments)
    reachable(tol, packing.rounding)

    leaves, structure = tree_flatten(tuple(params))
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]

    def step(matrix: Tensor, *inputs: Tensor) -> Tensor:
        filled = list(leaves)
        for place, tensor in zip(places, inputs, strict=True):
            filled[place] = tensor
        arguments = tree_unflatten(filled, structure)
        return packing.pack(_lend("f", lambda z: f(packing.unpack(z), *arguments), matrix))

    def wrong(matrix: Tensor, image: Tensor) -> Tensor:
        assert error is not None
        return packing.pack_error(
            _lend("error", lambda z, fz: error(packing.unpack(z), packing.unpack(fz)), matrix, image)
        )

    problem = FixedPointProblem(
        step,
        tuple(leaves[i] for i in places),
        packing.pack(z0),
        solvers,
        tol,
        max_iter,
        packing.eps,
        packing.rounding,
        None if error is None else wrong,
    )
    state, trace = rule.solve(problem)
    return Equilibrium(
        packing.unpack(state),
        trace.converged,
        trace.residual,
        trace.iterations,
        len(trace.history),
        trace.history,
        trace.codes,
        [packing.unpack(z) for z in trace.iterates] or None,
    )


def _lend(name: str, use: Callable[..., Any], *matrices: Tensor) -> Any:
    """Call a function of the user's with matrices that it must not change."""
    if matrices[0].is_inference():  # these do not count changes
        return use(*(matrix.clone() for matrix in matrices))
    before = [matrix._version for matrix in matrices]
    result = use(*matrices)
    if before != [matrix._version for matrix in matrices]:
        raise InputError(
            f"{name} changes its argument in place",
            field=name,
            remedy="compute a new tensor: 0.5 * z instead of z.mul_(0.5)",
        )
    return result


def _check(f: Any, params: Any, error: Any, solver: Solver) -> None:
    if not callable(f):
        raise InputError(
            f"f is a {type(f).__name__}", field="f", remedy="a function that takes a state and returns one"
        )
    if isinstance(params, (Tensor, str, Mapping)) or not isinstance(params, Iterable):
        raise InputError(
            f"params is a {type(params).__name__}",
            field="params",
            remedy="a sequence of the further arguments of f: (x,) for a single one",
        )
    if error is None:
        return
    if not callable(error):
        raise InputError(
            f"error is a {type(error).__name__}", field="error", remedy="a function of z and f(z)"
        )
    if not isinstance(solver, Pulay):
        raise InputError(
            "only solver='diis' looks at an error of your own",
            field="error",
            remedy="leave error out, or use solver='diis'",
        )
