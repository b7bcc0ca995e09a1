"""Learned functions of coordinates in [0, 1] that vanish at the uniform gas."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from deepchem_dft.errors import FunctionalError
from deepchem_dft.xc.networks import ACTIVATIONS, DTYPES, perceptron


class Factor(nn.Module):
    """A function of k coordinates, minus its value where the leading ones are the uniform gas's.

    Attributes
    ----------
    size : int
        Number of coordinates.
    uniform : Tensor or None
        Values of the leading coordinates in the uniform gas.
    """

    uniform: Tensor | None

    def __init__(self, size: int, uniform: Sequence[float] | None) -> None:
        super().__init__()
        self.size = size
        values = None if uniform is None else torch.tensor(uniform, dtype=torch.float64)
        self.register_buffer("uniform", values, persistent=False)

    def _value(self, coordinates: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, coordinates: Tensor) -> Tensor:
        """Return values (G,) at coordinates (k, G)."""
        value = self._value(coordinates)
        if self.uniform is None:
            return value
        fixed = self.uniform.to(coordinates.dtype)[:, None]
        rest = coordinates[len(fixed) :]
        if not len(rest):
            return value - self._value(fixed)
        return value - self._value(torch.cat([fixed.expand(-1, rest.shape[1]), rest]))


class NetworkFactor(Factor):
    """A perceptron of coordinates scaled to [-1, 1]."""

    def __init__(
        self,
        size: int,
        hidden: Sequence[int],
        activation: str,
        dtype: str,
        uniform: Sequence[float] | None,
        zero_last: bool,
        seed: int | None,
    ) -> None:
        super().__init__(size, uniform)
        # a constant would cancel in the difference to the uniform gas
        self.layers = perceptron(
            [size, *hidden, 1],
            activation,
            bias_last=uniform is None,
            zero_last=zero_last,
            dtype=DTYPES[dtype],
            seed=seed,
        )

    def _value(self, coordinates: Tensor) -> Tensor:
        x = (2.0 * coordinates - 1.0).T.to(next(self.layers.parameters()).dtype)
        return self.layers(x)[:, 0].to(coordinates.dtype)


class PolynomialFactor(Factor):
    """Products of Legendre polynomials up to a total degree, linear in its coefficients."""

    def __init__(self, size: int, degree: int, uniform: Sequence[float] | None) -> None:
        super().__init__(size, uniform)
        self.degree = degree
        orders = [o for o in product(range(degree + 1), repeat=size) if sum(o) <= degree]
        if uniform is not None:  # what does not depend on the leading coordinates cancels
            orders = [o for o in orders if any(o[: len(uniform)])]
        self.orders = orders
        self.coefficients = nn.Parameter(torch.zeros(len(orders), dtype=torch.float64))

    def _value(self, coordinates: Tensor) -> Tensor:
        x = 2.0 * coordinates - 1.0
        powers = [torch.ones_like(x), x]
        for k in range(1, self.degree):  # Bonnet's recursion
            powers.append(((2 * k + 1) * x * powers[k] - k * powers[k - 1]) / (k + 1))
        total = torch.zeros_like(x[0])
        for coefficient, order in zip(self.coefficients, self.orders):
            term = coefficient.to(x.dtype)
            for axis, k in enumerate(order):
                if k:
                    term = term * powers[k][axis]
            total = total + term
        return total


def make_factor(
    size: int,
    *,
    hidden: Sequence[int],
    activation: str,
    degree: int | None,
    dtype: str,
    uniform: Sequence[float] | None,
    zero_last: bool,
    seed: int | None,
) -> Factor:
    """Return a factor of ``size`` coordinates; of none, one without parameters.

    Raises
    ------
    FunctionalError
        For options that cannot be.

    Examples
    --------
    >>> options = dict(hidden=[8], activation="silu", dtype="float64", zero_last=False, seed=0)
    >>> factor = make_factor(2, degree=None, uniform=[0.0, 0.5], **options)
    >>> factor(torch.tensor([[0.0], [0.5]], dtype=torch.float64)).item()
    0.0
    >>> sum(p.numel() for p in make_factor(2, degree=3, uniform=None, **options).parameters())
    10
    """
    if size == 0:
        return Factor(0, None)
    if degree is not None:
        if isinstance(degree, bool) or not isinstance(degree, int) or not 1 <= degree <= 12:
            raise _bad("degree", degree, "a whole number from 1 to 12")
        return PolynomialFactor(size, degree, uniform)
    if str(activation).lower() not in ACTIVATIONS:
        raise _bad("activation", activation, f"one of {', '.join(ACTIVATIONS)}")
    if dtype not in DTYPES:
        raise _bad("dtype", dtype, "float64 or float32")
    if not isinstance(hidden, (list, tuple)) or not all(
        isinstance(h, int) and not isinstance(h, bool) and h > 0 for h in hidden
    ):
        raise _bad("hidden", hidden, "a list of positive widths such as [16, 16]")
    return NetworkFactor(size, hidden, str(activation).lower(), dtype, uniform, zero_last, seed)


def _bad(field: str, value: Any, remedy: str) -> FunctionalError:
    return FunctionalError(f"{value!r} is not a usable value", field=field, remedy=remedy)
