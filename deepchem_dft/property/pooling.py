"""From the nodes of a graph to the graph: sums, means, maxima, attention, and pairs of nodes."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import shortest_path
from torch import Tensor, nn

from deepchem_dft.errors import InputError

#: Pairs further apart than this many bonds, or not connected, count as this far apart.
FURTHEST = 10
CHANNELS = 8


def pairs_of(edges: np.ndarray, count: int) -> np.ndarray:
    """Return all pairs of a graph's nodes with their distances in bonds.

    Parameters
    ----------
    edges : ndarray of int, shape (2, E)
        Directed or not; read as undirected.
    count : int
        Nodes.

    Returns
    -------
    ndarray of int, shape (3, count * (count - 1) / 2)
        First node, second node, bonds between them.

    Examples
    --------
    >>> pairs_of(np.array([[0, 1], [1, 2]]), 3)[2].tolist()
    [1, 2, 1]
    """
    adjacency = coo_matrix((np.ones(edges.shape[1]), tuple(edges)), shape=(count, count))
    steps = shortest_path(adjacency.tocsr(), directed=False, unweighted=True)
    first, second = np.triu_indices(count, 1)
    far = np.minimum(steps[first, second], FURTHEST)  # infinite where not connected
    return np.stack([first, second, far.astype(np.int64)])


class PairPooling(nn.Module):
    r"""Charges of the nodes, multiplied pairwise and weighed by distance.

    .. math:: m = \sum_{i<j} q_i q_j\, k(d_{ij}), \qquad \textstyle\sum_i q_i = 0

    The square of a dipole moment has this form: for point charges that add up to nothing,
    :math:`|\mu|^2 = -\sum_{i<j} q_i q_j r_{ij}^2`. Here the charges are linear functions of the
    nodes' features, and distances are counted in bonds, with a learned weight for each. Opposite
    groups on a benzene ring cancel; sums over nodes do not see that.

    Parameters
    ----------
    width : int
        Features per node.
    channels : int
        Kinds of charges.
    """

    def __init__(self, width: int, channels: int = CHANNELS) -> None:
        super().__init__()
        self.charge = nn.Linear(width, channels, bias=False)
        # Between a chain that is stretched (square of the distance) and one that is coiled.
        start = -((torch.arange(FURTHEST + 1.0) / 3) ** 1.5)
        self.kernel = nn.Parameter(start[:, None] * (1 + 0.1 * torch.randn(FURTHEST + 1, channels)))
        self.width = 2 * channels

    def forward(self, nodes: Tensor, sample: Tensor, count: int, pairs: Tensor) -> Tensor:
        """Return per graph ``m`` over the number of nodes, and its signed root, (B, 2 channels).

        Parameters
        ----------
        nodes : Tensor, shape (N, width)
        sample : Tensor of int, shape (N,)
            Graph of each node.
        count : int
            B, the number of graphs.
        pairs : Tensor of int, shape (3, P)
            As of :func:`pairs_of`, with nodes numbered through the batch.
        """
        charges = self.charge(nodes)
        empty = charges.new_zeros(count, charges.shape[1])
        atoms = empty[:, :1].index_add(0, sample, torch.ones_like(charges[:, :1])).clamp_min(1)
        charges = charges - (empty.index_add(0, sample, charges) / atoms)[sample]
        first, second, far = pairs
        moment = empty.index_add(0, sample[first], charges[first] * charges[second] * self.kernel[far])
        small = 1e-4  # the root's slope is infinite at 0
        root = moment.sign() * ((moment.abs() + small).sqrt() - small**0.5)
        return torch.cat([moment / atoms, root], dim=1)


#: What a graph can be summed up by.
KINDS = ("mean", "sum", "max", "attention", "pairs")


class Pooling(nn.Module):
    """Sum up the nodes of every graph, in one or several ways side by side.

    Nodes of different graphs never mix, and there is no padding that could be counted in.

    Parameters
    ----------
    kinds : sequence of {"mean", "sum", "max", "attention", "pairs"}
        ``"sum"`` is divided by 10, so that it is of the size of the others for usual molecules;
        ``"attention"`` is a mean with learned weights; ``"pairs"`` multiplies nodes by their
        distance, see :class:`~deepchem_dft.property.pooling.PairPooling`.
    width : int
        Features per node.

    Raises
    ------
    InputError
        For another kind, or none.

    Examples
    --------
    >>> pool = Pooling(["mean", "max"], width=1)
    >>> pool(torch.tensor([[1.0], [3.0], [-5.0]]), torch.tensor([0, 0, 1]), 2)
    tensor([[ 2.,  3.],
            [-5., -5.]])
    """

    def __init__(self, kinds: Sequence[str], width: int) -> None:
        super().__init__()
        kinds = [kinds] if isinstance(kinds, str) else list(kinds)
        wrong = [k for k in kinds if k not in KINDS]
        if wrong or not kinds:
            raise InputError(
                f"unknown pooling {wrong or kinds}", field="pooling", remedy=f"choose from {', '.join(KINDS)}"
            )
        self.kinds = kinds
        self.score = nn.Linear(width, 1) if "attention" in kinds else None
        self.pairs = PairPooling(width) if "pairs" in kinds else None
        #: Numbers per graph.
        self.width = sum(self.pairs.width if self.pairs and k == "pairs" else width for k in kinds)

    def forward(self, nodes: Tensor, sample: Tensor, count: int, pairs: Tensor | None = None) -> Tensor:
        """Return (B, ``self.width``) of nodes (N, width) that belong to graphs ``sample`` (N,)."""
        return torch.cat([self._pool(kind, nodes, sample, count, pairs) for kind in self.kinds], dim=1)

    def _pool(self, kind: str, nodes: Tensor, sample: Tensor, count: int, pairs: Tensor | None) -> Tensor:
        if kind == "pairs":
            assert self.pairs is not None and pairs is not None
            return self.pairs(nodes, sample, count, pairs)
        if kind == "max":
            return _extreme(nodes, sample, count)
        if kind == "attention":
            assert self.score is not None
            score = self.score(nodes)
            # Softmax does not depend on the shift; without it exp could overflow.
            shift = _extreme(score.detach(), sample, count)
            weight = torch.exp(score - shift[sample])
            return _sum(weight * nodes, sample, count) / _sum(weight, sample, count)
        total = _sum(nodes, sample, count)
        if kind == "sum":
            return total / 10
        return total / _sum(torch.ones_like(nodes[:, :1]), sample, count)


def _sum(values: Tensor, sample: Tensor, count: int) -> Tensor:
    return values.new_zeros(count, values.shape[1]).index_add(0, sample, values)


def _extreme(values: Tensor, sample: Tensor, count: int) -> Tensor:
    start = values.new_full((count, values.shape[1]), -torch.inf)
    return start.scatter_reduce(0, sample[:, None].expand_as(values), values, "amax")
