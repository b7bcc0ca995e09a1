"""Measures of a map's Jacobian at a state, differentiable, to keep fixed points easy to find."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from deepchem_dft.checks import whole
from deepchem_dft.equilibrium.packing import Packing


def jacobian_norm(
    f: Callable[[Any], Any],
    state: Any,
    *,
    probes: int = 1,
    segments: Any = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Estimate the mean square of the Jacobian's rows, ``|J|_F^2`` per number in the state.

    Unbiased (Hutchinson's estimator with normal probes), differentiable with respect to everything
    ``f`` depends on; the state counts as fixed.

    Parameters
    ----------
    f : callable
        A state to a state.
    state : Tensor or nested dict, list or tuple of Tensor
    probes : int
        Random vectors, each one product with the Jacobian.
    segments : optional
        As for ``fixed_point``.
    generator : torch.Generator, optional

    Returns
    -------
    Tensor, scalar

    References
    ----------
    S. Bai, V. Koltun and J. Z. Kolter, Stabilizing equilibrium models by Jacobian
    regularization, ICML 139, 554 (2021).

    Examples
    --------
    >>> W = torch.diag(torch.tensor([0.5, -0.5]))
    >>> value = jacobian_norm(lambda z: z @ W, torch.zeros(1000, 2))
    >>> bool((value - 0.25).abs() < 0.03)
    True
    """
    whole(1, probes=probes)
    packing = Packing(state, segments)
    point, image = _evaluate(f, state, packing)
    total = image.new_zeros(())
    for _ in range(probes):
        probe = _random(image, generator)
        total = total + _pull(image, point, probe).square().sum()
    return total / (probes * max(packing.numel, 1))


def spectral_norm(
    f: Callable[[Any], Any],
    state: Any,
    *,
    steps: int = 10,
    segments: Any = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Largest singular value of the Jacobian of every sample, by power iteration from below.

    Below 1 the map contracts and plain iteration converges. Differentiable with respect to
    everything ``f`` depends on; the state and the singular vectors count as fixed.

    Parameters
    ----------
    f, state, segments, generator
        As for :func:`jacobian_norm`.
    steps : int
        Products with ``J J^T``.

    Returns
    -------
    Tensor, shape (B,)

    Examples
    --------
    >>> W = torch.tensor([[0.0, 3.0], [0.5, 0.0]], dtype=torch.float64)
    >>> spectral_norm(lambda z: z @ W, torch.zeros(1, 2, dtype=torch.float64))
    tensor([3.], dtype=torch.float64)
    """
    whole(1, steps=steps)
    packing = Packing(state, segments)
    point, image = _evaluate(f, state, packing)
    left = _random(image, generator)
    # The map u -> J^T u is linear in u: its own transpose is u -> J u.
    slot = torch.zeros_like(image, requires_grad=True)
    pulled = _pull(image, point, slot)
    for _ in range(steps):
        right = _normalised(_pull(image, point, _normalised(left)).detach())
        if not pulled.requires_grad:
            break
        (left,) = torch.autograd.grad(pulled, slot, right, retain_graph=True)
    return _pull(image, point, _normalised(left)).norm(dim=1)


def _evaluate(f: Callable[[Any], Any], state: Any, packing: Packing) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        point = packing.pack(state).detach().requires_grad_()
        return point, packing.pack(f(packing.unpack(point)))


def _random(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return normal numbers, drawn where the generator is: on the CPU the same for any device."""
    where = "cpu" if generator is None else generator.device
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=where).to(like.device)


def _pull(image: Tensor, point: Tensor, vector: Tensor) -> Tensor:
    """Return ``J^T vector``, differentiable."""
    if not image.requires_grad:
        return torch.zeros_like(image)
    (result,) = torch.autograd.grad(image, point, vector, create_graph=True, allow_unused=True)
    return torch.zeros_like(image) if result is None else result


def _normalised(rows: Tensor) -> Tensor:
    length = rows.norm(dim=1, keepdim=True)
    return rows / torch.where(length > 0.0, length, 1.0)
