"""A convolution whose fixed point is a picture's features."""

from __future__ import annotations

from math import gcd

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from deepchem_dft.property.bounded import shrink, start
from deepchem_dft.property.cells import Cell, CellProblem, layer_bound

#: Features are solved for on a grid of about so many pixels along an edge.
_GRID = 16


class ImageCell(Cell):
    r"""The fixed point of a convolution.

    .. math:: z \to \tanh(K * z + x)

    with 3 x 3 kernels K, and the input x made of the picture by two convolutions with group
    normalisation, the second of which reduces it to about 16 x 16 pixels. The norm of a
    convolution is at most 3 times that of its kernel as a matrix, which keeps the map below
    ``bound``; group normalisation inside it would undo that.

    Parameters
    ----------
    shape : tuple of int
        (channels, height, width) of the pictures.
    width : int
        Channels of the state.
    layers, bound
        As for :class:`~deepchem_dft.property.cells.GraphCell`.
    """

    def __init__(
        self, shape: tuple[int, ...], width: int = 64, layers: int = 1, bound: float | None = 0.9
    ) -> None:
        super().__init__()
        self.bound = layer_bound(bound, layers)
        channels, *edges = shape
        stride = max(1, round(max(edges) / _GRID))
        self.inject = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            nn.GroupNorm(gcd(8, width), width),
            nn.ReLU(),
            nn.Conv2d(width, width * layers, 3, stride=stride, padding=1),
            nn.GroupNorm(gcd(8, width) * layers, width * layers),
        )
        self.kernels = nn.ParameterList(start(self.bound, width, width, 3, 3, parts=3) for _ in range(layers))
        self.n_summary = 2 * width

    def problem(self, batch: Tensor) -> CellProblem:
        """Return the map on states (B, width, height, width of the grid)."""
        inputs = self.inject(batch).chunk(len(self.kernels), dim=1)
        kernels = [shrink([kernel], self.bound, patches=9)[0] for kernel in self.kernels]

        def step(z: Tensor, *params: Tensor) -> Tensor:
            half = len(params) // 2
            for x, kernel in zip(params[:half], params[half:], strict=True):
                z = torch.tanh(conv2d(z, kernel, padding=1) + x)
            return z

        return CellProblem(step, torch.zeros_like(inputs[0]), (*inputs, *kernels), None, len(batch))

    def summary(self, state: Tensor, batch: Tensor) -> Tensor:
        """Return mean and maximum of every channel."""
        return torch.cat([state.mean((2, 3)), state.amax((2, 3))], dim=1)
