"""Maps whose fixed points are features, with bounded slopes: of graphs, vectors and pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from deepchem_dft.errors import InputError
from deepchem_dft.property.graphs import GraphBatch
from deepchem_dft.property.pooling import Pooling
from deepchem_dft.property.scaling import Standardize


def shrink(matrices: Sequence[Tensor], bound: float | None, patches: int = 1) -> list[Tensor]:
    r"""Scale matrices down until their spectral norms add up to at most a bound.

    .. math:: s = \min(1, L / \textstyle\sum_k \sqrt p\,\|W_k\|_2), \qquad W_k \to s\,W_k

    Then a sum of the maps :math:`z \to W_k z` changes no faster than ``bound``. Matrices that obey
    the bound are returned as they are.

    Parameters
    ----------
    matrices : sequence of Tensor
        Each (n, m), or a convolution's (n, m, ...) weight, taken as a matrix of n rows.
    bound : float or None
        None leaves them alone.
    patches : int
        Elements of a convolution's window, p: a pixel is in as many windows, so the norm of a
        convolution is at most :math:`\sqrt p` times that of its matrix. 1 for ordinary matrices.

    Returns
    -------
    list of Tensor
        Differentiable, also through the norms.

    Examples
    --------
    >>> wide, narrow = shrink([torch.eye(3) * 4, torch.eye(3)], bound=0.5)
    >>> round(wide[0, 0].item(), 3), round(narrow[0, 0].item(), 3)
    (0.4, 0.1)
    """
    if bound is None:
        return list(matrices)
    norms = [torch.linalg.matrix_norm(m.flatten(1), ord=2) for m in matrices]
    total = torch.stack(norms).sum() * patches**0.5
    scale = bound / total.clamp_min(bound)
    return [m * scale for m in matrices]


def start(bound: float | None, *shape: int, parts: int = 1) -> nn.Parameter:
    """Return a random matrix, or kernel, well below a bound that it shares with other parts.

    At the bound its singular values, all equal, would make a kink of the norm.
    """
    norm = 0.7 * (1.0 if bound is None else bound) / parts
    return nn.Parameter(norm * nn.init.orthogonal_(torch.empty(*shape)))


@dataclass
class CellProblem:
    """The fixed point that one batch asks for.

    Attributes
    ----------
    step : callable
        ``step(z, *params)``, the map.
    start : Tensor
        State to start from.
    params : tuple of Tensor
        Everything in the map that gradients flow to.
    segments : Tensor of int or None
        Sample of each row of the state; None if rows are samples.
    samples : int
        How many there are.
    """

    step: Callable[..., Tensor]
    start: Tensor
    params: tuple[Tensor, ...]
    segments: Tensor | None
    samples: int


class Cell(nn.Module):
    """What a kind of input has to offer: its fixed-point problem, and a summary of the solution.

    Attributes
    ----------
    n_summary : int
        Numbers per sample that the prediction is made of.
    """

    n_summary: int

    def problem(self, batch: Any) -> CellProblem:
        """Return the map of a batch, its weights bounded and its input encoded once and for all."""
        raise NotImplementedError

    def summary(self, state: Tensor, batch: Any) -> Tensor:
        """Return (B, n_summary) of a fixed point."""
        raise NotImplementedError


def layer_bound(bound: float | None, layers: int) -> float | None:
    """Return the bound of one of several layers, so that all together obey ``bound``.

    Raises
    ------
    InputError
        If there are no layers, or the bound is not positive.
    """
    if layers < 1:
        raise InputError(f"{layers} layers", field="layers", remedy="use 1 or more")
    if bound is None:
        return None
    if not bound > 0:
        raise InputError(
            f"a bound of {bound}", field="bound", remedy="below 1 for a contraction; None for no bound"
        )
    return float(bound) ** (1 / layers)


class GraphCell(Cell):
    r"""Message passing until nothing changes any more.

    .. math:: z_i \to \tanh\Big(W z_i + U \sum_{j \to i}
              \frac{g_{ij}}{\sqrt{d_i d_j}} \odot z_j + x_i\Big)

    with the input :math:`x_i` of a node and gates :math:`g_{ij}` between -1 and 1, both made of
    the features of nodes and edges, and the numbers of edges :math:`d`. The normalised adjacency
    has norm 1 at most, so with :math:`\|W\| + \|U\|` below 1 the map is a contraction: it has one
    fixed point, and every solver finds it. What is passed on in one evaluation goes one bond
    further; the fixed point knows the whole graph.

    Parameters
    ----------
    n_features, n_edge_features, n_global_features : int
        Widths of the input.
    width : int
        Features of the state per node.
    layers : int
        Rounds of message passing in one evaluation.
    bound : float or None
        Upper bound on how fast the map changes, :math:`\|\partial f / \partial z\|`.
    pooling : sequence of str
        See :class:`~deepchem_dft.property.pooling.Pooling`.

    References
    ----------
    Gu, Chang, Zhu, Sojoudi, El Ghaoui, Implicit Graph Neural Networks, NeurIPS 2020.
    """

    def __init__(
        self,
        n_features: int,
        n_edge_features: int = 0,
        n_global_features: int = 0,
        width: int = 64,
        layers: int = 1,
        bound: float | None = 0.9,
        pooling: tuple[str, ...] = ("mean", "sum", "max"),
    ) -> None:
        super().__init__()
        self.sizes = (n_features, n_edge_features, n_global_features)
        self.bound = layer_bound(bound, layers)
        self.own, self.others = (
            nn.ParameterList(start(self.bound, width, width, parts=2) for _ in range(layers))
            for _ in range(2)
        )
        self.encode = nn.Sequential(nn.Linear(n_features, width), nn.ReLU())
        self.bonds = nn.Linear(n_edge_features, width) if n_edge_features else None
        self.gates = nn.Linear(2 * width + n_edge_features, layers * width)
        self.inject = nn.Linear(2 * width, layers * width)
        self.pool = Pooling(pooling, width)
        self.standardize = Standardize(n_global_features)
        self.n_summary = self.pool.width + n_global_features

    def problem(self, batch: GraphBatch) -> CellProblem:
        """Return the map on the nodes of all graphs, shape (N, width)."""
        source, target = batch.source, batch.target
        nodes = self.encode(batch.nodes)
        count, width = nodes.shape
        layers = len(self.own)

        ones = nodes.new_ones(len(source))
        out = nodes.new_zeros(count).index_add(0, source, ones)
        into = nodes.new_zeros(count).index_add(0, target, ones)
        share = (out[source] * into[target]).rsqrt()[:, None]

        ends = torch.cat([nodes[source], nodes[target], batch.edges], dim=1)
        gates = (torch.tanh(self.gates(ends)) * share).split(width, dim=1)
        near = nodes[source] if self.bonds is None else nodes[source] * self.bonds(batch.edges)
        around = torch.zeros_like(nodes).index_add(0, target, near * share)
        inputs = self.inject(torch.cat([nodes, around], dim=1)).split(width, dim=1)
        pairs = [shrink(pair, self.bound) for pair in zip(self.own, self.others, strict=True)]
        matrices = [matrix for pair in pairs for matrix in pair]

        def step(z: Tensor, *params: Tensor) -> Tensor:
            inputs, gates = params[:layers], params[layers : 2 * layers]
            for k in range(layers):
                own, others = params[2 * layers + 2 * k : 2 * layers + 2 * k + 2]
                messages = torch.zeros_like(z).index_add(0, target, z[source] * gates[k])
                z = torch.tanh(z @ own.T + messages @ others.T + inputs[k])
            return z

        return CellProblem(
            step, torch.zeros_like(nodes), (*inputs, *gates, *matrices), batch.sample, len(batch)
        )

    def summary(self, state: Tensor, batch: GraphBatch) -> Tensor:
        """Return pooled features of the nodes, and the graph's own features, standardised."""
        pooled = self.pool(state, batch.sample, len(batch), batch.pairs)
        return torch.cat([pooled, self.standardize(batch.overall)], dim=1)


class DenseCell(Cell):
    r"""The fixed point of a dense layer, for fingerprints and descriptors.

    .. math:: z \to \tanh(W z + x)

    with the input :math:`x` a linear function of the features, standardised by the mean and
    spread of the first data set the model is trained on; a missing value (NaN) counts as the mean.

    Parameters
    ----------
    n_features : int
        Width of the input.
    width, layers, bound
        As for :class:`GraphCell`.
    """

    def __init__(self, n_features: int, width: int = 64, layers: int = 1, bound: float | None = 0.9) -> None:
        super().__init__()
        self.bound = layer_bound(bound, layers)
        self.standardize = Standardize(n_features)
        self.weights = nn.ParameterList(start(self.bound, width, width) for _ in range(layers))
        self.inject = nn.Linear(n_features, layers * width)
        self.n_summary = width

    def problem(self, batch: Tensor) -> CellProblem:
        """Return the map of a batch of features (B, n_features)."""
        inputs = self.inject(self.standardize(batch)).chunk(len(self.weights), dim=1)
        matrices = [shrink([weight], self.bound)[0] for weight in self.weights]

        def step(z: Tensor, *params: Tensor) -> Tensor:
            half = len(params) // 2
            for x, weight in zip(params[:half], params[half:], strict=True):
                z = torch.tanh(z @ weight.T + x)
            return z

        return CellProblem(step, torch.zeros_like(inputs[0]), (*inputs, *matrices), None, len(batch))

    def summary(self, state: Tensor, batch: Tensor) -> Tensor:
        """Return the fixed point itself."""
        return state


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
