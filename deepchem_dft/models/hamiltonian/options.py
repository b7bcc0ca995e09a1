"""Arguments of a HamiltonianModel that travel together; the model takes each by its name as well."""

from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from deepchem_dft.equilibrium import Adjoint, Solver
from deepchem_dft.equilibrium.adjoints import get_adjoint
from deepchem_dft.equilibrium.solvers import get_solver
from deepchem_dft.errors import InputError

Options = TypeVar("Options")


@dataclass(frozen=True)
class NetworkOptions:
    """The size of the network.

    Parameters
    ----------
    width, layers, hidden : int
        Channels, rounds of messages, width of the networks of invariants.
    cutoff : float
        Bohr; pairs of atoms further apart keep the guess.
    n_radial : int
        Radial functions.
    feedback_width : int
        Channels of what is fed back, in equilibrium forms.
    bound : float or None
        Slope of the feedback at most; below 1 there is exactly one fixed point, whatever the
        weights. None: no bound; watch ``unconverged`` in the history.
    """

    width: int = 32
    layers: int = 2
    hidden: int = 128
    cutoff: float = 15.0
    n_radial: int = 16
    feedback_width: int = 16
    bound: float | None = 0.9

    def __post_init__(self) -> None:
        for name, value in (("width", self.width), ("layers", self.layers + 1)):
            if value < 1:
                raise InputError(f"{name} is too small", field=name)
        if not self.cutoff > 0:
            raise InputError(f"cutoff={self.cutoff} is not possible", field="cutoff", remedy="use cutoff > 0")


@dataclass(frozen=True)
class SearchOptions:
    """How fixed points are found and differentiated, in equilibrium forms.

    Parameters
    ----------
    solver : {"anderson", "broyden", "damped"} or Solver
    adjoint : {"implicit", "truncated", "unrolled"} or Adjoint
    tol, train_tol : float, optional
        Relative residual of a fixed point; default 1e-5 and 1e-4, in float64 1e-10 for both.
    max_iter : int
        Evaluations of the feedback at most.
    """

    solver: str | Solver = "anderson"
    adjoint: str | Adjoint = "implicit"
    tol: float | None = None
    train_tol: float | None = None
    max_iter: int = 50

    def __post_init__(self) -> None:
        get_solver(self.solver)
        get_adjoint(self.adjoint)


@dataclass(frozen=True)
class StepOptions:
    """How parameters are changed, step by step.

    Parameters
    ----------
    warmup : int
        Steps over which the learning rate rises.
    decay : float
        The rate falls like (1 - t)^decay over a training; 0: not at all.
    ema : float
        Share of the old in averages of the parameters, which are what predicts; 0: no averages.
    max_grad_norm : float, optional
        Longer gradients are cut: the first are a thousand times as long as later ones, and Adam
        would remember them for as many steps.
    """

    warmup: int = 100
    decay: float = 1.0
    ema: float = 0.99
    max_grad_norm: float | None = 50.0

    def __post_init__(self) -> None:
        if not (0 <= self.ema < 1 and self.decay >= 0):
            raise InputError(
                f"ema={self.ema}, decay={self.decay} are not possible",
                field="ema",
                remedy="use 0 <= ema < 1, decay >= 0",
            )


def chosen(kind: type[Options], given: Options | None, kwargs: dict[str, Any]) -> Options:
    """Return a group of options, with those that ``kwargs`` names taken out of there and changed.

    Raises
    ------
    InputError
        If what is given is of another kind.

    Examples
    --------
    >>> rest = {"warmup": 5, "seed": 1}
    >>> chosen(StepOptions, None, rest).warmup, rest
    (5, {'seed': 1})
    """
    if given is not None and not isinstance(given, kind):
        raise InputError(
            f"a {type(given).__name__} is no {kind.__name__}", remedy=f"use {kind.__name__}(...)"
        )
    named = {f.name: kwargs.pop(f.name) for f in fields(kind) if f.name in kwargs}  # type: ignore[arg-type]
    return kind(**named) if given is None else replace(given, **named)  # type: ignore[type-var]
