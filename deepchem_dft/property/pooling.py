"""From the nodes of a graph to the graph: sums, means, maxima and attention within segments."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from deepchem_dft.errors import InputError
from deepchem_dft.property.pairs import PairPooling

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
        distance, see :class:`~deepchem_dft.property.pairs.PairPooling`.
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
