"""Derivatives that functionals give, against finite differences of what they give."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from deepchem_dft.scf.conformance.samples import Sample, energy_of
from deepchem_dft.xc.base import XCFunctional

# Of the way from one density to another, and Bohr.
_STEP, _MOVE = 0.02, 1e-3
# Of a parameter; and Ha for one, below which errors are not relative. For double and single precision.
_PARAMETER_STEP, _SLOPE = {True: 1e-4, False: 1e-2}, {True: 1e-3, False: 0.1}


def first(xc: XCFunctional, sample: Sample) -> float:
    """Error of the potential along a change of the density, relative to the change of the energy."""

    def energy(t: float) -> float:
        with torch.no_grad():
            return float(energy_of(xc, _at(sample, t)))

    return _error(float((_slope(xc, sample.rho, sample) * sample.direction).sum()), _difference(energy))


def second(xc: XCFunctional, sample: Sample) -> float:
    """Error of the kernel along changes of the density, relative."""
    other = sample.direction.flip(0) if len(sample.direction) > 1 else 0.3 * sample.rho
    rho = sample.rho.detach().requires_grad_()
    with torch.enable_grad():
        slope = _slope(xc, rho, sample, create_graph=True)
        exact = 0.0
        if slope.requires_grad:
            product = torch.autograd.grad((slope * other).sum(), rho, allow_unused=True)[0]
            exact = 0.0 if product is None else float((product * sample.direction).sum())

    def along(t: float) -> float:
        at = _at(sample, t)
        return float((_slope(xc, at.rho, at) * other).sum())

    return _error(exact, _difference(along))


def parameters(xc: XCFunctional, sample: Sample) -> float:
    """Error of the gradient by trainable parameters, relative; infinite if one is not registered."""
    trained = [p for p in xc.parameters() if p.requires_grad]
    with torch.enable_grad():
        energy = energy_of(xc, sample)
    strangers = [t for t in _leaves(energy) if not any(t is p for p in trained)]
    if strangers:
        return float("inf")
    worst = 0.0
    slopes: Any = [None] * len(trained)
    if energy.requires_grad:
        slopes = torch.autograd.grad(energy, trained, allow_unused=True)
    generator = torch.Generator().manual_seed(0)
    for parameter, slope in zip(trained, slopes, strict=True):  # one by one: errors may not hide
        direction = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        direction = direction.to(parameter.device) / max(direction.numel() ** 0.5, 1.0)
        exact = 0.0 if slope is None else float((slope * direction).sum())
        double = parameter.dtype == torch.float64
        numeric = _difference(_along(xc, sample, parameter, direction), _PARAMETER_STEP[double])
        worst = max(worst, _error(exact, numeric, _SLOPE[double]))
    return worst


def _along(
    xc: XCFunctional, sample: Sample, parameter: Tensor, direction: Tensor
) -> Callable[[float], float]:
    def energy(t: float) -> float:
        before = parameter.detach().clone()
        with torch.no_grad():
            parameter.add_(t * direction)
            found = float(energy_of(xc, sample))
            parameter.copy_(before)
        return found

    return energy


def geometry(xc: XCFunctional, sample: Sample) -> float:
    """Error of the derivatives by points, weights and nuclei, each alone, relative (Bohr)."""
    seen = sample.quadrature.detached(requires_grad=True)
    names = ("points", "weights", "positions")
    with torch.enable_grad():
        energy = energy_of(xc, replace(sample, quadrature=seen))
    leaves = [getattr(seen, name) for name in names]
    slopes: Any = [None] * len(names)
    if energy.requires_grad:
        slopes = torch.autograd.grad(energy, leaves, allow_unused=True)
    worst = 0.0
    for name, leaf, slope in zip(names, leaves, slopes, strict=True):
        direction = _smooth_change(name, sample)
        exact = 0.0 if slope is None else float((slope * direction).sum())

        def moved(t: float, name=name, leaf=leaf, direction=direction) -> float:
            there = replace(sample.quadrature, **{name: leaf.detach() + t * _MOVE * direction})
            with torch.no_grad():
                return float(energy_of(xc, replace(sample, quadrature=there))) / _MOVE

        worst = max(worst, _error(exact, _difference(moved, 1.0)))
    return worst


def _smooth_change(name: str, sample: Sample) -> Tensor:
    q = sample.quadrature
    if name == "weights":
        return q.weights * torch.sin(q.points[:, 0])
    where = getattr(q, name)
    return torch.stack([torch.sin(where[:, 1]), torch.cos(where[:, 2]), torch.sin(where[:, 0] + 1.0)], 1)


def _at(sample: Sample, t: float) -> Sample:
    return replace(sample, rho=sample.rho + t * sample.direction)


def _slope(xc: XCFunctional, rho: Tensor, sample: Sample, create_graph: bool = False) -> Tensor:
    with torch.enable_grad():
        leaf = rho if create_graph else rho.detach().requires_grad_()
        energy = energy_of(xc, replace(sample, rho=leaf))
        found = None
        if energy.requires_grad:
            found = torch.autograd.grad(energy, leaf, create_graph=create_graph, allow_unused=True)[0]
    return torch.zeros_like(rho) if found is None else found


def _difference(function: Callable[[float], float], step: float = _STEP) -> float:
    """Five-point central difference at 0."""
    up, down, far, back = (function(s * step) for s in (1, -1, 2, -2))
    return (8.0 * (up - down) - (far - back)) / (12.0 * step)


def _error(exact: float, numeric: float, least: float = 1e-3) -> float:
    return abs(exact - numeric) / max(abs(exact), abs(numeric), least)


def _leaves(energy: Tensor) -> Iterator[Tensor]:
    """Yield all tensors that want a gradient and that an energy was computed from."""
    seen, waiting = set(), [energy.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            yield node.variable
        waiting.extend(following for following, _ in node.next_functions)
