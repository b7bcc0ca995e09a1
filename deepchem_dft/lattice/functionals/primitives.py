"""Operations that potentials on the grid are made of, cheap and with cheap derivatives."""

from typing import Any

import torch
from scipy.fft import next_fast_len
from torch import Tensor


def silu(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return x sigmoid(x) and its derivative, both differentiable once.

    Examples
    --------
    >>> x = torch.linspace(-3, 3, 5, dtype=torch.float64, requires_grad=True)
    >>> value, slope = silu(x)
    >>> bool(torch.allclose(value, torch.nn.functional.silu(x)))
    True
    >>> bool(torch.allclose(slope, torch.autograd.grad(value.sum(), x)[0]))
    True
    """
    return _SiLU.apply(x)


class _SiLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        s = torch.sigmoid(x)
        t = torch.addcmul(s, s, s, value=-1)  # s (1 - s), the derivative of s
        slope = torch.addcmul(s, x, t)
        ctx.save_for_backward(x, s, t, slope)
        return x * s, slope

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        x, s, t, slope = ctx.saved_tensors
        curvature = torch.addcmul(t + t, x * t, 1 - 2 * s)
        return torch.addcmul(gradients[0] * slope, gradients[1], curvature)


def spread(density: Tensor, spectra: Tensor) -> Tensor:
    """Return the convolutions of densities with even kernels.

    Parameters
    ----------
    density : Tensor, shape (B, n)
    spectra : Tensor, shape (C, L // 2 + 1)
        Of the kernels: see :func:`~deepchem_dft.lattice.interaction.even_spectrum`.

    Returns
    -------
    Tensor, shape (B, C, n)
        sum_j k_c(|i - j|) n_j; no factor of the spacing.

    Examples
    --------
    >>> from deepchem_dft.lattice.interaction import even_spectrum
    >>> n = torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64)
    >>> kernels = torch.tensor([[2.0, 1.0, 0.5], [1.0, 0.0, 0.0]], dtype=torch.float64)
    >>> spread(n, even_spectrum(kernels)).round(decimals=12).abs().tolist()
    [[[1.0, 2.0, 1.0], [0.0, 1.0, 0.0]]]
    """
    return _Spread.apply(density, spectra)


def gather(values: Tensor, spectra: Tensor) -> Tensor:
    """Return sum_c k_c * g_c of (B, C, n) values: (B, n), the adjoint of :func:`spread`."""
    return _Gather.apply(values, spectra)


# The derivatives of <g, k * n> with respect to n and k are gather(g, k) and overlap(g, n), and
# those of both are made of the three again. PyTorch's own would be transforms of complex numbers.


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, n: Tensor, k: Tensor) -> Tensor:
        ctx.save_for_backward(n, k)
        return _inverse(_transform(n)[:, None] * k[..., None], n)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        n, k = ctx.saved_tensors
        if torch.is_grad_enabled():
            return _Gather.apply(gradients[0], k), _Overlap.apply(gradients[0], n)
        transformed = _transform(gradients[0])  # the same for both
        return _gathered(transformed, k, n), _overlapped(transformed, n)


class _Gather(torch.autograd.Function):
    """(B, C, n) and (C, L // 2 + 1) to (B, n): the sum over c of k_c * g_c."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, k: Tensor) -> Tensor:
        transformed = _transform(g)
        ctx.save_for_backward(g, k, transformed)
        return _gathered(transformed, k, g)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        g, k, transformed = ctx.saved_tensors
        if torch.is_grad_enabled():
            return _Spread.apply(gradients[0], k), _Overlap.apply(g, gradients[0])
        return (_Spread.apply(gradients[0], k), _overlapped(transformed, gradients[0]))


class _Overlap(torch.autograd.Function):
    """(B, C, n) and (B, n) to (C, L // 2 + 1): the derivative of <g, k * n> by k's spectrum."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, n: Tensor) -> Tensor:
        ctx.save_for_backward(g, n)
        return _overlapped(_transform(g), n)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        g, n = ctx.saved_tensors
        return _Spread.apply(n, gradients[0]), _Gather.apply(g, gradients[0])


def _gathered(transformed: Tensor, k: Tensor, like: Tensor) -> Tensor:
    return _inverse((transformed * k[..., None]).sum(1), like)


def _overlapped(transformed: Tensor, n: Tensor) -> Tensor:
    product, length = (transformed * _transform(n)[:, None]).sum(0), _length(n)
    out = (product[..., 0] + product[..., 1]) * (2 / length)
    out[:, 0] /= 2  # every other frequency stands for its negative as well
    if length % 2 == 0:
        out[:, -1] /= 2
    return out


def _length(values: Tensor) -> int:
    return next_fast_len(2 * values.shape[-1] - 1, real=True)


def _transform(values: Tensor) -> Tensor:
    """Return real and imaginary parts of the spectrum, (..., L // 2 + 1, 2)."""
    return torch.view_as_real(torch.fft.rfft(values, _length(values)))


def _inverse(spectrum: Tensor, like: Tensor) -> Tensor:
    values = torch.fft.irfft(torch.view_as_complex(spectrum), _length(like))
    return values[..., : like.shape[-1]]
