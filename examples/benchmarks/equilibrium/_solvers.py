"""The solvers of this package and of other libraries, called alike and watched alike."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import torch
from torch import Tensor

from deepchem_dft.equilibrium import Solver, fixed_point

Map = Callable[[Tensor], Tensor]
Solve = Callable[[Map, Tensor], object]


def optional(name: str):
    """Return a module, or None if it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


class Watch:
    """Calls a map and notes when every sample has once been below a relative residual."""

    def __init__(self, f: Map, tol: float) -> None:
        self._f, self._tol, self.calls = f, tol, 0
        self._open: Tensor | None = None
        self.arrived: int | None = None

    @property
    def open(self) -> int:
        """How many samples have never been there."""
        return 0 if self._open is None else int(self._open.sum())

    def __call__(self, z: Tensor) -> Tensor:
        image = self._f(z)
        self.calls += 1
        if self._open is None:
            self._open = torch.ones(len(image), dtype=torch.bool)
        self._open &= ~((image - z).norm(dim=-1) < self._tol * image.norm(dim=-1))
        if self.arrived is None and not bool(self._open.any()):
            self.arrived = self.calls
        return image


def of_ours(solver: Solver, tol: float, limit: int, fallback: bool = False) -> Solve:
    def solve(f, z0):
        fixed_point(f, z0, solver=solver, tol=tol, max_iter=limit, fallback=fallback)

    return solve


def of_torchdeq(name: str, tol: float, limit: int, **options) -> Solve | None:
    modules = {"fixed_point_iter": "fp_iter", "anderson_solver": "anderson", "broyden_solver": "broyden"}
    module = optional("torchdeq.solver." + modules[name])

    def solve(f, z0):
        getattr(module, name)(f, z0, max_iter=limit, tol=tol, stop_mode="rel", **options)

    return solve if module else None


def of_xitorch(method: str, tol: float, limit: int, **options) -> Solve | None:
    module = optional("xitorch.optimize")

    def solve(f, z0):
        # One system of all samples: tolerances are absolute and on everything together.
        module.equilibrium(
            lambda z: f(z), z0, method=method, maxiter=limit, f_tol=tol, x_tol=float("inf"), **options
        )

    return solve if module else None
