"""Fixed-point problems with known answers."""

import pytest
import torch
from torch import Tensor


@pytest.fixture
def problem():
    """Return a function: kind, spectral radius, seed to a map and its start."""

    def build(
        kind: str,
        radius: float,
        seed: int = 0,
        samples: int = 32,
        size: int = 64,
        dtype: torch.dtype = torch.float64,
    ):
        generator = torch.Generator().manual_seed(seed)
        W = torch.randn(size, size, generator=generator, dtype=torch.float64)
        if kind == "antisymmetric":
            W = W - W.T
        W = (W * radius / torch.linalg.eigvals(W).abs().max()).to(dtype)
        b = torch.randn(samples, size, generator=generator, dtype=torch.float64).to(dtype)

        def f(z: Tensor) -> Tensor:
            z = z @ W.T + b
            return torch.tanh(z) if kind == "tanh" else z

        f.W, f.b = W, b
        return f, torch.zeros_like(b)

    return build


@pytest.fixture
def cell():
    """A small smooth map with trainable arguments: ``tanh(z w + x)``, three samples of four."""
    generator = torch.Generator().manual_seed(1)
    w = (0.25 * torch.randn(4, 4, generator=generator, dtype=torch.float64)).requires_grad_()
    x = torch.randn(3, 4, generator=generator, dtype=torch.float64).requires_grad_()

    def f(z: Tensor, w: Tensor, x: Tensor) -> Tensor:
        return torch.tanh(z @ w + x)

    return f, torch.zeros(3, 4, dtype=torch.float64), w, x
